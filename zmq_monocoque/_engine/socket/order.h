/* The order in which leaves what a thread sends on several sockets. An order is its thread's, and
 * of each socket that is in one of its lists; the lists have a lock of their own. */
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
    zm_list bursts;         /* sockets, by in_order, in the order in which their bursts began */
    _Atomic uint32_t count; /* of them; a hint for the thread */
    zm_list begun;          /* sockets, by in_begun, that the thread has connected */
    _Atomic uint32_t begun_count;
    zm_allowance turns; /* the thread's own */
};

extern ZM_THREAD_LOCAL zm_order *zm_order_mine; /* the calling thread's; NULL: it has none yet */

/* Did the calling thread send here last, and has nothing made it leave since? */
static inline bool zm_order_goes_on(const zm_socket *s) ZM_LOCKED
{
    const zm_order *order = s->order;
    return order && order->thread == zm_thread_mark() && order->newest == s;
}
/* The calling thread's sends on `s` wait from now on, behind those that wait already. */
void zm_order_enter_locked(zm_socket *s) ZM_LOCKED;
/* Does anything the calling thread has sent wait elsewhere? */
bool zm_order_has_others(const zm_socket *s) ZM_LOCKED;
/* Before the calling thread sends on `s`, where it did not send last: what must be there first is
 * flushed. */
void zm_order_turn_locked(zm_socket *s) ZM_LOCKED;
/* The calling thread looks for messages on `s`: what it sent leaves, since the answer to it may be
 * what it looks for. */
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
bool zm_order_has_begun(const zm_socket *s) ZM_LOCKED; /* others than `s` */
/* Has the thread that connected `s` begun a connection before, which is not through yet? For some
 * milliseconds the messages of `s` wait for it. */
bool zm_order_holds_locked(zm_socket *s) ZM_LOCKED;
/* Before a step of the connections of `s`: those that the same thread began earlier have one. */
void zm_order_earlier_locked(zm_socket *s) ZM_LOCKED;
/* zm_order_settle(), and gives the connections that the calling thread has begun, but for those of
 * `s`, a moment to come about, and their subscriptions to leave. `over`: the thread is going to
 * wait in `s`, which may be where they arrive: it takes its steps, too. */
void zm_order_finish(zm_socket *s, bool over);
void zm_order_after_fork(void);

/* Everything that waited has left. */
void zm_order_leave_locked(zm_socket *s) ZM_LOCKED;
/* The end of a visit to `s`, with another socket locked: what was taken in may have been the last
 * that a closed one waited for, and the kernel tells nobody of it a second time. */
void zm_order_pass_locked(zm_socket *s) ZM_GIVES(zm_a_socket);

#endif
