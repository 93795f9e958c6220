/* The only clock: CLOCK_MONOTONIC in nanoseconds. */
#ifndef ZM_BASE_CLOCK_H
#define ZM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define ZM_MS 1000000LL
#define ZM_US 1000LL
#define ZM_FOREVER ((int64_t) -1)

static inline int64_t zm_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Of two times, each of which may be ZM_FOREVER. */
static inline int64_t zm_sooner(int64_t a, int64_t b)
{
    if (a < 0)
        return b;
    return b < 0 || a < b ? a : b;
}

/* The absolute deadline `ms` from now; ms < 0 is ZM_FOREVER. */
static inline int64_t zm_deadline_ms(int64_t ms)
{
    return ms < 0 ? ZM_FOREVER : zm_now_ns() + ms * ZM_MS;
}

#endif
