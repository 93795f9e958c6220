/* Loaded before everything: whoever yields the processor in the engine gets it back late, as beside
 * somebody who computes for a slice. Python without the GIL yields for locks of its own. */
#define _GNU_SOURCE /* dladdr() */
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int count;

int sched_yield(void);
int yields(void);

int sched_yield(void)
{
    Dl_info caller;
    void *from = __builtin_return_address(0);
    if (!dladdr(from, &caller) || !strstr(caller.dli_fname, "_engine_c"))
        return (int) syscall(SYS_sched_yield);
    atomic_fetch_add(&count, 1);
    usleep(1000);
    return 0;
}

int yields(void)
{
    return atomic_load(&count);
}
