/* Loaded before everything: whoever yields the processor waits for it, though not as long as beside
 * somebody who computes (late_yield.c). */
#include <unistd.h>

int sched_yield(void);

int sched_yield(void)
{
    usleep(100);
    return 0;
}
