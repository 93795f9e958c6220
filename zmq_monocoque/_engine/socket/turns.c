/* Turns for connections that a thread has begun: what it connected first is there first, so before
 * it waits or sends elsewhere, those connections have a moment to come about. */
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../context/handles.h"
#include "../context/io_thread.h"
#include "../context/process.h"
#include "../driver/driver.h"
#include "../driver/waitset.h"
#include "drive.h"
#include "order.h"
#include "pacing.h"
#include "socket.h"
#include "transfer.h"
#include "wakeup.h"

enum {
    BEGUN_MAX = 32, /* connecting sockets that are looked at together */
    HANDOVER_NS = 20 * 1000 * 1000 /* for the thread that waits in the driver to wake up */
};

/* The sockets at the front of the list. How many. */
static int begun(zm_order *order, zm_socket *out[BEGUN_MAX])
{
    int count = 0;
    zm_order_lock_take(order);
    ZM_LIST_EACH (node, &order->begun)
        if (count < BEGUN_MAX)
            out[count++] = ZM_CONTAINER(node, zm_socket, in_begun);
    zm_order_lock_give(order);
    return count;
}

/* Without waiting. */
static void make_step(zm_order *order, zm_socket *earlier)
{
    if (!zm_socket_lock_try(earlier))
        return;
    if (earlier->beginner == order && !earlier->driven) {
        zm_socket_in_passing_locked(earlier);
        zm_drive_for_io_thread_locked(earlier);
        zm_io_thread_resume_locked(earlier);
    }
    zm_order_pass_locked(earlier);
}

/* Locks others beside `s`, by a try. */
void zm_order_earlier_locked(zm_socket *s) ZM_LOCKS_UNCHECKED
{
    zm_socket *sockets[BEGUN_MAX];
    int count = begun(s->beginner, sockets);
    for (int i = 0; i < count && sockets[i] != s; i++)
        make_step(s->beginner, sockets[i]);
}

/* Locks another beside `s`, by a try. */
void zm_order_last_locked(zm_socket *s) ZM_LOCKS_UNCHECKED
{
    zm_order *order = s->beginner;
    if (!order)
        return;
    zm_order_lock_take(order);
    const zm_list *before = s->in_begun.prev;
    zm_socket *last = before == &order->begun ? NULL : ZM_CONTAINER(before, zm_socket, in_begun);
    zm_order_lock_give(order);
    if (last)
        make_step(order, last);
}

/* The caller waits for what comes next. */
static void take(zm_socket *s, struct pollfd *fd) ZM_LOCKED
{
    zm_drive_take_locked(s);
    zm_driver_submit(s->driver);
    s->waiting_since = zm_now_ns();
    zm_presence_drives(&s->presence, s->waiting_since);
    *fd = (struct pollfd){.fd = zm_driver_fd(s->driver), .events = POLLIN};
}

/* One step of a socket's connections. True: they are not through, and `fd` tells of the next. */
static bool take_step(zm_socket *s, const zm_order *order, struct pollfd *fd)
{
    bool waits = false;
    zm_socket_lock_take(s);
    if (s->beginner == order) {
        zm_socket_in_passing_locked(s);
        zm_drive_for_io_thread_locked(s);
        if (!s->driven && zm_now_ns() - s->begun_ns > ZM_HOLD_NS)
            zm_order_begun_locked(s);
        if (!s->beginner || s->driven) {
            zm_io_thread_resume_locked(s);
        } else {
            take(s, fd);
            waits = true;
        }
    }
    zm_socket_leave(s);
    return waits;
}

/* The same of the socket in which the caller is going to wait. */
static bool step_aside(zm_socket *s, const zm_order *order, struct pollfd *fd)
{
    zm_socket_lock_take(s);
    bool waits = s->driver && !s->driven && s->beginner != order;
    if (waits) {
        zm_drive_for_io_thread_locked(s);
        take(s, fd);
    }
    zm_socket_leave(s);
    return waits;
}

/* Their drivers stay, since the caller drives them. */
static bool any_ready(zm_socket *const *taken, int count) ZM_LOCKS_UNCHECKED
{
    for (int i = 0; i < count; i++)
        if (zm_driver_ready(taken[i]->driver))
            return true;
    return false;
}

static void end_step(zm_socket *s)
{
    zm_socket_lock_take(s);
    zm_drive_leave_locked(s, true);
    zm_socket_leave(s);
}

/* Waits for the next step of any. Looks for it without sleeping first, as long as that pays: a peer
 * on this machine answers in less time than it takes to fall asleep and to be woken. `waited` grows
 * by what it took. */
static int wait_for_step(zm_spin *spin, struct pollfd *fds, int count, int64_t until,
                         int64_t *waited)
{
    int64_t began = zm_now_ns(), spins = zm_spin_allowed() ? zm_spin_time(spin) : 0;
    int news = 0;
    if (spins)
        do
            news = zm_poll_until(fds, count, 0);
        while (!news && zm_now_ns() < zm_sooner(began + spins, until) && zm_spin_yield());
    if (!news)
        news = zm_poll_until(fds, count, until);
    int64_t took = zm_now_ns() - began;
    zm_spin_learn(spin, news > 0, took);
    *waited += took;
    return news;
}

static ZM_APART void finish_begun(zm_order *order, const zm_socket *except, zm_socket *waiter)
{
    zm_socket *sockets[BEGUN_MAX], *waiting[BEGUN_MAX + 1];
    struct pollfd fds[BEGUN_MAX + 1];
    int64_t now = zm_now_ns(), end = now + ZM_TURNS_MAX_NS, waited = 0;
    int64_t left = zm_allowance_left(&order->turns, now), until = now + left;
    while (now < until) {
        int count = begun(order, sockets), waits = 0;
        bool others = false;
        /* `except` has its turns, too, behind them: the I/O thread would not ask who was first. */
        for (int i = 0; i < count; i++)
            if (take_step(sockets[i], order, &fds[waits])) {
                others |= sockets[i] != except;
                waiting[waits++] = sockets[i];
            }
        /* Its own connections may arrive where the thread is going to wait. */
        if (waiter && step_aside(waiter, order, &fds[waits]))
            waiting[waits++] = waiter;
        int news = others;
        if (others && !any_ready(waiting, waits))
            news = wait_for_step(&order->spin, fds, waits, until, &waited);
        now = zm_now_ns();
        if (zm_spin_crowded())
            until = end; /* they have to get a processor first */
        else if (news > 0 && now + left < end)
            until = now + left;
        for (int i = 0; i < waits; i++)
            end_step(waiting[i]);
        if (!others)
            break;
    }
    zm_allowance_spend(&order->turns, now - waited, now, now >= until);
}

void zm_order_finish(zm_socket *s, bool over)
{
    zm_order *order = zm_order_mine;
    if (!order)
        return;
    if (atomic_load(&order->count))
        zm_order_settle(over, false);
    if (atomic_load(&order->begun_count))
        finish_begun(order, s, over ? s : NULL);
}

void zm_socket_flush(zm_socket *s, uint32_t generation)
{
    zm_order_finish(s, false);
    if (!zm_socket_lock_generation(s, generation))
        return;
    if (!zm_list_empty(&s->wants_send))
        zm_socket_flush_locked(s);
    /* Another thread waits in the driver, and takes in what the kernel has finished. It gets the
     * time for that; else messages would be dropped for want of room that is there already. */
    int64_t until = s->burst.flushed_ns + HANDOVER_NS;
    while (ZM_UNLIKELY(s->driven) && zm_driver_ready(s->driver) && zm_now_ns() < until) {
        zm_socket_lock_give(s);
        zm_spin_yield();
        if (!zm_socket_lock_generation(s, generation))
            return;
    }
    zm_socket_lock_give(s);
}
