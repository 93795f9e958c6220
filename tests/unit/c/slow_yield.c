/* Loaded before everything: whoever yields the processor waits for long to get it back. */
#include <unistd.h>

int sched_yield(void);

int sched_yield(void)
{
    usleep(500);
    return 0;
}
