/* Loaded before everything: whoever yields the processor gets it back late, as beside somebody who
 * computes for a slice. */
#include <stdatomic.h>
#include <unistd.h>

static atomic_int count;

int sched_yield(void);
int yields(void);

int sched_yield(void)
{
    atomic_fetch_add(&count, 1);
    usleep(1000);
    return 0;
}

int yields(void)
{
    return atomic_load(&count);
}
