/* Timers: a binary heap of deadlines. Room is reserved when a timer's owner is made, so that
 * setting one cannot fail. */
#ifndef ZM_BASE_TIMER_H
#define ZM_BASE_TIMER_H

#include <stdint.h>

typedef struct zm_timer {
    int64_t deadline;
    uint32_t position; /* in the heap, from 1; 0: not set */
    void *owner;
    /* Whoever takes the timer out calls it; the timer is not set then. */
    void (*due)(struct zm_timer *timer);
} zm_timer;

typedef struct zm_timers {
    zm_timer **heap;
    uint32_t count, reserved, capacity;
} zm_timers;

/* Room for `more` timers. 0 or -ENOMEM. */
int zm_timers_reserve(zm_timers *timers, uint32_t more);
/* The room of `less` of them, which are stopped. */
void zm_timers_release(zm_timers *timers, uint32_t less);
/* Also moves one that is set. */
void zm_timer_set(zm_timers *timers, zm_timer *timer, int64_t deadline);
void zm_timer_stop(zm_timers *timers, zm_timer *timer); /* nothing if it is not set */
int64_t zm_timers_next(const zm_timers *timers); /* ZM_FOREVER: none */
zm_timer *zm_timers_due(zm_timers *timers, int64_t now); /* taken out; NULL: none */
void zm_timers_fini(zm_timers *timers);

#endif
