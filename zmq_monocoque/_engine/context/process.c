/* What belongs to the process: which driver was chosen, whether waits may spin, what is alive. */
#include "process.h"

#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "../base/lock.h"
#include "../driver/driver.h"
#include "../engine.h"

_Atomic int64_t zm_live_connections, zm_live_threads, zm_live_sockets, zm_live_contexts;

static zm_driver_kind chosen = ZM_DRIVER_EPOLL;
static const char *_Atomic reason = "not initialised"; /* static text */
static bool spin_wanted = true, many_cpus;

/* Those that this process may use. */
static long processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                       : sysconf(_SC_NPROCESSORS_ONLN);
}

int zm_process_init(const char *driver, bool alone, const char *path)
{
    many_cpus = processors() > 1;
    if (!strcmp(driver, "epoll")) {
        /* A sandbox may kill whoever asks whether there is io_uring. */
        reason = "the epoll driver was asked for";
        return 0;
    }
    bool usable = (alone ? zm_uring_do_without() : zm_uring_load(path)) == 0;
    reason = zm_uring_reason();
    if (usable)
        chosen = ZM_DRIVER_IO_URING;
    if (!strcmp(driver, "io_uring"))
        return usable ? 0 : -ENOSYS;
    return *driver ? -EINVAL : 0;
}

const char *zm_driver_name(void)
{
    return chosen == ZM_DRIVER_IO_URING ? "io_uring" : "epoll";
}

const char *zm_driver_reason(void)
{
    return reason;
}

zm_driver_kind zm_driver_chosen(void)
{
    return chosen;
}

void zm_driver_refused(int error)
{
    reason = error == ENOMEM
                 ? "there was no memory for it when a socket was made later, see ulimit -l"
                 : "it was forbidden when a socket was made later";
}

void zm_spin_set(int on)
{
    spin_wanted = on;
}

bool zm_spin_allowed(void)
{
    return spin_wanted && many_cpus && !zm_spin_crowded();
}
