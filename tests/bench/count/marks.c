/* For paths.py under callgrind: what is counted lies between two of these calls. A library of its
 * own, because valgrind's requests are instructions that only a C compiler can put down.
 *
 * Preloaded, it is also the process's monotonic clock, which can be stopped: valgrind makes
 * everything fifty times slower, and the I/O thread would find every socket left alone and do its
 * work for it, now more, now less of it. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <valgrind/callgrind.h>

static struct timespec stopped_at;
static _Atomic bool stopped;

int clock_gettime(clockid_t clock, struct timespec *out_now)
{
    if (clock == CLOCK_MONOTONIC && atomic_load(&stopped)) {
        *out_now = stopped_at;
        return 0;
    }
    return (int) syscall(SYS_clock_gettime, clock, out_now);
}

void marks_load(void)
{
    CALLGRIND_START_INSTRUMENTATION;
}

void marks_stop_clock(bool stop)
{
    clock_gettime(CLOCK_MONOTONIC, &stopped_at);
    atomic_store(&stopped, stop);
}

void marks_begin(void)
{
    CALLGRIND_ZERO_STATS;
}

void marks_end(const char *name)
{
    CALLGRIND_DUMP_STATS_AT(name);
}
