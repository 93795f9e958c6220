/* The heap of timers against a list: set, stopped, moved and due at random; with each allocation
 * failing in turn. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/timer.h"
#include "model.h"

enum { TIMERS_MAX = 200, STEPS = 4000, SOON = 50 };

static zm_timer timers[TIMERS_MAX];
static int64_t deadlines[TIMERS_MAX]; /* ZM_FOREVER: not set */

static int64_t earliest(uint32_t reserved)
{
    int64_t first = ZM_FOREVER;
    for (uint32_t i = 0; i < reserved; i++)
        first = zm_sooner(first, deadlines[i]);
    return first;
}

/* All that is due, one after the other, and in order. */
static void run_due(zm_timers *heap, uint32_t reserved, int64_t now)
{
    zm_timer *timer;
    while ((timer = zm_timers_due(heap, now))) {
        ptrdiff_t i = timer - timers;
        CHECK(timer->owner == &deadlines[i] && !timer->position);
        CHECK(deadlines[i] == earliest(reserved) && deadlines[i] <= now);
        deadlines[i] = ZM_FOREVER;
    }
    CHECK(earliest(reserved) == ZM_FOREVER || earliest(reserved) > now);
}

static void scenario(uint64_t seed)
{
    (void) seed;
    zm_timers heap = {0};
    uint32_t reserved = 0;
    int64_t now = 0;
    for (uint32_t i = 0; i < TIMERS_MAX; i++) {
        timers[i] = (zm_timer){.owner = &deadlines[i]};
        deadlines[i] = ZM_FOREVER;
    }
    for (int step = 0; step < STEPS; step++) {
        uint32_t i = reserved ? random_below(reserved) : 0, what = random_below(20);
        uint32_t more = 1 + random_below(4);
        if (what == 0 && reserved + more <= TIMERS_MAX) {
            if (zm_timers_reserve(&heap, more) == 0)
                reserved += more; /* else all is as before */
        } else if (what == 1 && reserved >= more) {
            for (uint32_t k = reserved - more; k < reserved; k++) {
                zm_timer_stop(&heap, &timers[k]);
                deadlines[k] = ZM_FOREVER;
            }
            zm_timers_release(&heap, more);
            reserved -= more;
        } else if (what < 4) {
            now += random_below(SOON);
            run_due(&heap, reserved, now);
        } else if (what < 8 && reserved) {
            zm_timer_stop(&heap, &timers[i]);
            deadlines[i] = ZM_FOREVER;
        } else if (reserved) {
            deadlines[i] = now + random_below(SOON);
            zm_timer_set(&heap, &timers[i], deadlines[i]);
        }
        CHECK(heap.reserved == reserved && zm_timers_next(&heap) == earliest(reserved));
    }
    zm_timers_fini(&heap);
}

int main(int argc, char **argv)
{
    run_model(argc, argv, scenario);
    return 0;
}
