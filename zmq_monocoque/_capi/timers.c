/* zmq_timers_...: a list in the order of its deadlines. Handlers run without the lock, so that they
 * may change it. */
#include "capi.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

enum { MS = 1000000 };

typedef struct timer {
    struct timer *next;
    int id;
    size_t interval; /* ms */
    int64_t deadline;
    zmq_timer_fn *handler;
    void *argument;
} timer;

typedef struct timers {
    timer *first;
    int last_id;
} timers;

static timers *timers_lock(const void *handle, capi_cell **out_cell) ZM_TAKES_IF(true, capi_a_cell)
{
    *out_cell = capi_cell_lock(handle, CAPI_TIMERS);
    if (*out_cell)
        return (timers *) atomic_load(&(*out_cell)->object);
    errno = EFAULT;
    return NULL;
}

static int timers_unlock(capi_cell *cell, int rc) ZM_GIVES(capi_a_cell)
{
    capi_cell_unlock(cell);
    return capi_answer(rc);
}

static void insert(timers *all, timer *one) ZM_NEEDS(capi_a_cell)
{
    int64_t now = zm_now_ns();
    bool is_far = one->interval > (size_t) (INT64_MAX - now) / MS;
    one->deadline = is_far ? INT64_MAX : now + (int64_t) one->interval * MS;
    timer **at = &all->first;
    while (*at && (*at)->deadline <= one->deadline)
        at = &(*at)->next;
    one->next = *at;
    *at = one;
}

/* Takes a timer out of the list; NULL: there is none of this number. */
static timer *take_out(timers *all, int id) ZM_NEEDS(capi_a_cell)
{
    for (timer **at = &all->first; *at; at = &(*at)->next)
        if ((*at)->id == id) {
            timer *one = *at;
            *at = one->next;
            return one;
        }
    return NULL;
}

CAPI void *zmq_timers_new(void)
{
    timers *all = calloc(1, sizeof *all);
    if (!all) {
        errno = ENOMEM;
        return NULL;
    }
    capi_cell *cell = capi_cell_new(CAPI_TIMERS);
    if (cell)
        atomic_store(&cell->object, (uintptr_t) all);
    else
        free(all);
    return cell;
}

CAPI int zmq_timers_destroy(void **timers_p)
{
    capi_cell *cell;
    if (!timers_p)
        return capi_refuse(EFAULT);
    timers *all = timers_lock(*timers_p, &cell);
    if (!all)
        return -1;
    capi_cell_end(cell, CAPI_TIMERS);
    capi_cell_unlock(cell);
    for (timer *one; (one = all->first);) {
        all->first = one->next;
        free(one);
    }
    free(all);
    capi_cell_free(cell);
    *timers_p = NULL;
    return 0;
}

CAPI int zmq_timers_add(void *handle, size_t interval, zmq_timer_fn handler, void *arg)
{
    capi_cell *cell;
    timers *all = timers_lock(handle, &cell);
    if (!all)
        return -1;
    if (!handler)
        return timers_unlock(cell, -EFAULT);
    timer *one = malloc(sizeof *one);
    if (!one)
        return timers_unlock(cell, -ENOMEM);
    int id = ++all->last_id;
    *one = (timer){.id = id, .interval = interval, .handler = handler, .argument = arg};
    insert(all, one);
    return timers_unlock(cell, id);
}

CAPI int zmq_timers_cancel(void *handle, int timer_id)
{
    capi_cell *cell;
    timers *all = timers_lock(handle, &cell);
    if (!all)
        return -1;
    timer *one = take_out(all, timer_id);
    free(one);
    return timers_unlock(cell, one ? 0 : -EINVAL);
}

/* Starts a timer anew. `interval` NULL: with the one it has. */
static int restart(void *handle, int id, const size_t *interval)
{
    capi_cell *cell;
    timers *all = timers_lock(handle, &cell);
    if (!all)
        return -1;
    timer *one = take_out(all, id);
    if (one) {
        if (interval)
            one->interval = *interval;
        insert(all, one);
    }
    return timers_unlock(cell, one ? 0 : -EINVAL);
}

CAPI int zmq_timers_set_interval(void *handle, int timer_id, size_t interval)
{
    return restart(handle, timer_id, &interval);
}

CAPI int zmq_timers_reset(void *handle, int timer_id)
{
    return restart(handle, timer_id, NULL);
}

CAPI long zmq_timers_timeout(void *handle)
{
    capi_cell *cell;
    timers *all = timers_lock(handle, &cell);
    if (!all)
        return -1;
    if (!all->first)
        return timers_unlock(cell, -EINVAL);
    int64_t left = all->first->deadline - zm_now_ns();
    capi_cell_unlock(cell);
    int64_t ms = left <= 0 ? 0 : left / MS + (left % MS != 0);
    return ms > LONG_MAX ? LONG_MAX : (long) ms;
}

CAPI int zmq_timers_execute(void *handle)
{
    int64_t now = zm_now_ns();
    for (;;) {
        capi_cell *cell;
        timers *all = timers_lock(handle, &cell);
        if (!all)
            return -1;
        timer *one = all->first;
        if (!one || one->deadline > now)
            return timers_unlock(cell, 0);
        zmq_timer_fn *handler = one->handler;
        void *argument = one->argument;
        int id = one->id;
        all->first = one->next;
        insert(all, one); /* behind `now`: each runs once. The handler may cancel it */
        capi_cell_unlock(cell);
        handler(id, argument);
    }
}
