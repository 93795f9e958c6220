/* What the files of the simulated kernel share. */
#ifndef SIM_KERNEL_H
#define SIM_KERNEL_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "sim.h"

/* As the C library: -1 and errno for a negative answer. */
static inline int sim_answer(int rc)
{
    if (rc >= 0)
        return rc;
    errno = -rc;
    return -1;
}

int64_t sim_until(const struct timespec *limit);
struct epoll_event;
int sim_epoll_pwait2(int fd, struct epoll_event *out, int count, const struct timespec *limit);
long sim_futex(uint32_t *word, int what, uint32_t value, const struct timespec *until_time);
/* The last descriptor of `file` goes: no set watches it any more. */
void sim_leave_sets(sim_file *file);

#endif
