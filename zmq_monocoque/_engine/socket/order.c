/* The order of what a thread sends. Messages wait for company (transfer.c), but what a thread sent
 * on one socket, and then on another, leaves in that order, no matter which thread flushes it: the
 * thread itself, the I/O thread, or another one. Each thread has a list of its sockets with
 * something that waits, in the order in which that began; a socket is flushed after those before
 * it.
 *
 * No two sockets are locked together, except by a try. Where that fails, somebody else has the
 * socket that must go first, and what was to follow it waits for the next look. */
#include "order.h"

#include <pthread.h>

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../context/io_thread.h"
#include "pacing.h"
#include "socket.h"
#include "wakeup.h"

static zm_lock free_lock;
/* Linked by next_free; their memory stays, as that of slots does. */
ZM_GUARDED_BY(free_lock) static zm_order *free_orders;
static pthread_key_t thread_end;
static pthread_once_t key_made = PTHREAD_ONCE_INIT;
ZM_THREAD_LOCAL zm_order *zm_order_mine;

static void order_unref(zm_order *order)
{
    if (atomic_fetch_sub(&order->refs, 1) != 1)
        return;
    zm_lock_take(&free_lock);
    order->next_free = free_orders;
    free_orders = order;
    zm_lock_give(&free_lock);
}

/* What the thread has left behind is still sent in order. */
static void thread_ended(void *order)
{
    zm_order_mine = NULL;
    if (order)
        order_unref(order);
}

static void make_key(void)
{
    pthread_key_create(&thread_end, thread_ended);
}

/* The calling thread's, which no other one knows yet. NULL: memory is out. */
static zm_order *make_mine(void) ZM_LOCKS_UNCHECKED
{
    pthread_once(&key_made, make_key);
    zm_lock_take(&free_lock);
    zm_order *order = free_orders;
    if (order)
        free_orders = order->next_free;
    zm_lock_give(&free_lock);
    if (!order)
        order = zm_alloc_permanent(sizeof *order);
    if (!order)
        return NULL;
    zm_list_init(&order->bursts);
    zm_list_init(&order->begun);
    order->turns = (zm_allowance){0};
    order->spin = (zm_spin){0};
    order->thread = zm_thread_mark();
    order->newest = NULL;
    order->returns = 0;
    order->returned_ns = 0;
    atomic_store(&order->refs, 1);
    pthread_setspecific(thread_end, order);
    return zm_order_mine = order;
}

/* There is no other thread then. */
void zm_order_after_fork(void) ZM_LOCKS_UNCHECKED
{
    atomic_store(&free_lock.word, 0);
    free_orders = NULL;
    if (zm_order_mine)
        pthread_setspecific(thread_end, NULL);
    zm_order_mine = NULL;
}

bool zm_order_has_others_locked(const zm_socket *s)
{
    const zm_order *order = zm_order_mine;
    return order && atomic_load(&order->count) > (s->order == order);
}

void zm_order_enter_locked(zm_socket *s)
{
    zm_order *order = zm_order_mine ? zm_order_mine : make_mine();
    if (!order || (s->order && s->order != order))
        return; /* then it is not kept */
    order->newest = s;
    if (s->order)
        return;
    ZM_DEBUG_ASSERT(!zm_list_linked(&s->in_order));
    s->order = order;
    atomic_fetch_add(&order->refs, 1);
    zm_order_lock_take(order);
    zm_list_append(&order->bursts, &s->in_order);
    atomic_fetch_add(&order->count, 1);
    ZM_DEBUG_ASSERT(order->thread == zm_thread_mark());
    zm_order_lock_give(order);
}

void zm_order_leave_locked(zm_socket *s)
{
    zm_order *order = s->order;
    if (!order)
        return;
    s->order = NULL;
    zm_order_lock_take(order);
    ZM_DEBUG_ASSERT(zm_list_linked(&s->in_order));
    ZM_DEBUG_ASSERT(atomic_load(&order->count) > 0);
    zm_list_remove(&s->in_order);
    atomic_fetch_sub(&order->count, 1);
    zm_order_lock_give(order);
    order_unref(order);
}

void zm_order_pass_locked(zm_socket *s)
{
    if (s->closing)
        zm_io_thread_look(s, zm_now_ns());
    zm_socket_lock_give(s);
}

void zm_order_begin_locked(zm_socket *s)
{
    zm_order *order = zm_order_mine ? zm_order_mine : make_mine();
    if (!order || s->beginner)
        return;
    ZM_DEBUG_ASSERT(!zm_list_linked(&s->in_begun));
    ZM_DEBUG_ASSERT(order->thread == zm_thread_mark());
    s->beginner = order;
    atomic_fetch_add(&order->refs, 1);
    zm_order_lock_take(order);
    s->begun_ns = zm_now_ns();
    zm_list_append(&order->begun, &s->in_begun);
    atomic_fetch_add(&order->begun_count, 1);
    zm_order_lock_give(order);
}

void zm_order_begun_locked(zm_socket *s)
{
    zm_order *order = s->beginner;
    if (!order)
        return;
    s->beginner = NULL;
    zm_order_lock_take(order);
    ZM_DEBUG_ASSERT(zm_list_linked(&s->in_begun));
    ZM_DEBUG_ASSERT(atomic_load(&order->begun_count) > 0);
    zm_socket *next = s->in_begun.next == &order->begun
                          ? NULL
                          : ZM_CONTAINER(s->in_begun.next, zm_socket, in_begun);
    zm_list_remove(&s->in_begun);
    atomic_fetch_sub(&order->begun_count, 1);
    zm_order_lock_give(order);
    order_unref(order);
    if (next) {
        /* It may hold messages back. Its memory stays, and to look once too often does no harm. */
        zm_socket_wake(next);
        zm_io_thread_look(next, zm_now_ns());
    }
}

bool zm_order_holds_locked(zm_socket *s)
{
    zm_order *order = s->beginner;
    bool holds = false;
    if (ZM_LIKELY(!order))
        return false;
    int64_t since = zm_now_ns() - ZM_HOLD_NS;
    zm_order_lock_take(order);
    for (zm_list *node = order->begun.next; node != &s->in_begun && !holds; node = node->next)
        holds = ZM_CONTAINER(node, zm_socket, in_begun)->begun_ns > since;
    zm_order_lock_give(order);
    return holds;
}

bool zm_order_has_begun_locked(const zm_socket *s)
{
    const zm_order *order = zm_order_mine;
    return order && atomic_load(&order->begun_count) > (s && s->beginner == order);
}
