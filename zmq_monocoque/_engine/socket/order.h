/* The order in which messages leave that a thread sends on several sockets. A zm_order belongs to
 * its thread and to each socket in one of its lists; the lists have a lock of their own. */
#ifndef ZM_SOCKET_ORDER_H
#define ZM_SOCKET_ORDER_H

#include "../base/list.h"
#include "../base/lock.h"
#include "../objects.h"
#include "pacing.h"
#include "socket.h"

struct zm_order {
    zm_order *next_free;
    uintptr_t thread; /* its mark */
    zm_socket *newest; /* the thread's own: where it sent last */
    uint32_t returns;  /* the thread's own: to sockets that wait, from others, in a row */
    int64_t returned_ns;
    _Atomic uint32_t refs; /* one of the thread, one for each socket in a list */
    zm_lock lock;
    /* sockets, by in_order, in the order in which their bursts began */
    ZM_GUARDED_BY(zm_an_order) zm_list bursts;
    _Atomic uint32_t count; /* of them; a hint for the thread */
    /* sockets, by in_begun, that the thread has connected */
    ZM_GUARDED_BY(zm_an_order) zm_list begun;
    _Atomic uint32_t begun_count;
    zm_allowance turns; /* the thread's own */
    zm_spin spin; /* the thread's own: of its waits for what it has begun */
};

/* Two of base/lock.h, for the lock of an order. */
static inline void zm_order_lock_take(zm_order *order) ZM_TAKES(zm_an_order) ZM_LOCKS_UNCHECKED
{
    zm_lock_take(&order->lock);
}
static inline void zm_order_lock_give(zm_order *order) ZM_GIVES(zm_an_order) ZM_LOCKS_UNCHECKED
{
    zm_lock_give(&order->lock);
}

extern ZM_THREAD_LOCAL zm_order *zm_order_mine; /* the calling thread's; NULL: it has none yet */

/* Did the calling thread send here last, and has nothing made it leave since? */
static inline bool zm_order_goes_on_locked(const zm_socket *s) ZM_LOCKED
{
    const zm_order *order = s->order;
    return order && order->thread == zm_thread_mark() && order->newest == s;
}
/* The calling thread's sends on `s` wait from now on, behind those that wait already. */
void zm_order_enter_locked(zm_socket *s) ZM_LOCKED;
/* Does anything the calling thread has sent wait elsewhere? */
bool zm_order_has_others_locked(const zm_socket *s) ZM_LOCKED;
/* Before the calling thread sends on `s`, having sent elsewhere last: flushes what must leave
 * before that. */
void zm_order_turn_locked(zm_socket *s) ZM_LOCKED;
/* Before the calling thread looks for messages on `s`: flushes what it has sent elsewhere, since
 * the message it looks for may be an answer to that. */
void zm_order_look_locked(zm_socket *s) ZM_LOCKED;
/* Before `s` is flushed: everything that goes first is. False: not now. */
bool zm_order_reached_locked(zm_socket *s) ZM_LOCKED;
/* Flushes what is in the list, as far as no lock is taken. */
void zm_order_flush_locked(zm_order *order, zm_socket *held) ZM_LOCKED;
/* All that the calling thread has sent leaves. `over`: it is about to wait. Takes locks, and waits
 * for them unless `brief`: neither with one held nor with the GIL. False: `brief`, and somebody has
 * one. */
bool zm_order_settle(bool over, bool brief);
/* The calling thread has connected `s`: what it does elsewhere is to come after that. */
void zm_order_begin_locked(zm_socket *s) ZM_LOCKED;
void zm_order_begun_locked(zm_socket *s) ZM_LOCKED; /* it is there, or not waited for any longer */
bool zm_order_has_begun_locked(const zm_socket *s) ZM_LOCKED; /* others than `s` */
/* Has the thread that connected `s` begun a connection before, which is not through yet? For some
 * milliseconds the messages of `s` wait for it. */
bool zm_order_holds_locked(zm_socket *s) ZM_LOCKED;
/* Before the connections of `s` make a step: the connections that the same thread began earlier
 * make one. */
void zm_order_earlier_locked(zm_socket *s) ZM_LOCKED;
/* `s` has been connected: the socket that the same thread connected last before it makes a step. A
 * peer that is near has answered meanwhile, and does so again while the thread goes on. */
void zm_order_last_locked(zm_socket *s) ZM_LOCKED;
/* zm_order_settle(), and gives the connections that the calling thread has begun, but for those of
 * `s`, a moment to be made and to send their subscriptions. `over`: the thread is going to wait in
 * `s`; they may be connections to `s` itself, so `s` makes its steps meanwhile, too. */
void zm_order_finish(zm_socket *s, bool over);
void zm_order_after_fork(void);

/* Everything that waited has left. */
void zm_order_leave_locked(zm_socket *s) ZM_LOCKED;
/* Ends a visit to `s` with another socket locked. If `s` is closed, what was taken in may have been
 * the last that it waited for; the kernel tells of it only once, so the I/O thread is asked to
 * look. */
void zm_order_pass_locked(zm_socket *s) ZM_GIVES(zm_a_socket);

#endif
