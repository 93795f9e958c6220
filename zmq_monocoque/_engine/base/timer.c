#include "timer.h"

#include <errno.h>

#include "alloc.h"
#include "check.h"
#include "clock.h"

int zm_timers_reserve(zm_timers *timers, uint32_t more)
{
    uint32_t wanted = timers->reserved + more;
    if (wanted > timers->capacity) {
        uint32_t capacity = wanted < 2 * timers->capacity ? 2 * timers->capacity : wanted;
        zm_timer **heap = zm_realloc(timers->heap, (capacity + 1) * sizeof *heap);
        if (!heap)
            return -ENOMEM;
        timers->heap = heap;
        timers->capacity = capacity;
    }
    timers->reserved = wanted;
    return 0;
}

void zm_timers_release(zm_timers *timers, uint32_t less)
{
    timers->reserved -= less;
    ZM_ASSERT(timers->count <= timers->reserved);
}

static void place(zm_timers *timers, uint32_t i, zm_timer *timer)
{
    timers->heap[i] = timer;
    timer->position = i;
}

static void sift_up(zm_timers *timers, uint32_t i, zm_timer *timer)
{
    for (; i > 1 && timers->heap[i / 2]->deadline > timer->deadline; i /= 2)
        place(timers, i, timers->heap[i / 2]);
    place(timers, i, timer);
}

static void sift_down(zm_timers *timers, uint32_t i, zm_timer *timer)
{
    for (;;) {
        uint32_t child = i * 2;
        if (child > timers->count)
            break;
        if (child < timers->count
            && timers->heap[child + 1]->deadline < timers->heap[child]->deadline)
            child++;
        if (timers->heap[child]->deadline >= timer->deadline)
            break;
        place(timers, i, timers->heap[child]);
        i = child;
    }
    place(timers, i, timer);
}

void zm_timer_stop(zm_timers *timers, zm_timer *timer)
{
    uint32_t i = timer->position;
    if (!i)
        return;
    timer->position = 0;
    zm_timer *last = timers->heap[timers->count--];
    if (last == timer)
        return;
    if (i > 1 && timers->heap[i / 2]->deadline > last->deadline)
        sift_up(timers, i, last);
    else
        sift_down(timers, i, last);
}

void zm_timer_set(zm_timers *timers, zm_timer *timer, int64_t deadline)
{
    zm_timer_stop(timers, timer);
    ZM_ASSERT(timers->count < timers->reserved);
    timer->deadline = deadline;
    sift_up(timers, ++timers->count, timer);
}

int64_t zm_timers_next(const zm_timers *timers)
{
    return timers->count ? timers->heap[1]->deadline : ZM_FOREVER;
}

zm_timer *zm_timers_due(zm_timers *timers, int64_t now)
{
    if (!timers->count || timers->heap[1]->deadline > now)
        return NULL;
    zm_timer *timer = timers->heap[1];
    zm_timer_stop(timers, timer);
    return timer;
}

void zm_timers_fini(zm_timers *timers)
{
    zm_free(timers->heap);
    *timers = (zm_timers){0};
}
