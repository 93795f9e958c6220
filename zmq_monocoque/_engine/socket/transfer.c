/* What goes between a socket and its driver: completions are taken in, receives are armed, and
 * what connections have to send leaves, in the order in which a thread sent it (order.c), alone or
 * in company. Does not wait, and knows no turns: that is drive.c's. */
#include "transfer.h"

#include "../api.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../connection/connection.h"
#include "../context/context.h"
#include "../context/io_thread.h"
#include "../driver/driver.h"
#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "order.h"
#include "pacing.h"
#include "socket.h"
#include "wakeup.h"

enum {
    COMPLETIONS_MAX = 512, /* taken in at once */
    TRIES = 200,      /* for a lock: some microseconds */
    YIELDS_MAX = 50,  /* and then for one whose holder may have to get a processor first */
    RETURNS_MAX = 16, /* to earlier sockets in a row, before order gives way to batching */
    IN_A_ROW_NS = 200 * 1000
};

void zm_conn_settled_locked(zm_conn *conn)
{
    conn->socket->newcomers -= conn->newcomer;
    conn->newcomer = false;
}

/* --- in -------------------------------------------------------------------------------------- */

/* Takes in what is complete. Returns how many. Not while another thread waits in the driver. One at
 * a time: a completion may end a connection, which has to know whether its other request is still
 * in flight. */
int zm_transfer_reap_locked(zm_socket *s)
{
    zm_completion done;
    int total = 0;
    while (total < COMPLETIONS_MAX && !zm_socket_gives_way_locked(s, total)
           && zm_driver_reap(s->driver, &done, 1)) {
        done.op->done(done.op, done.res);
        total++;
        /* What the kernel had is taken in, and it was asked a moment ago. */
        if (!zm_driver_reap_pays(s->driver))
            break;
    }
    return total;
}

void zm_transfer_arm_some_locked(zm_socket *s, const zm_conn *except, zm_patience patience)
{
    zm_list *node = s->wants_recv.next;
    for (int steps = 0; node != &s->wants_recv; steps++) {
        if (patience == MAY_GIVE_WAY && zm_socket_gives_way_locked(s, steps))
            break;
        zm_conn *conn = ZM_CONTAINER(node, zm_conn, wants_recv_link);
        if (conn == except) {
            node = node->next;
            continue;
        }
        conn->ops->arm(conn);
        node = s->wants_recv.next; /* arming may end connections, others too */
    }
}

/* --- out ------------------------------------------------------------------------------------- */

/* What was held back for connections that were begun earlier. */
static void release_held(zm_socket *s) ZM_LOCKED
{
    s->held = false;
    ZM_LIST_EACH (node, &s->conns) {
        zm_conn *conn = ZM_CONTAINER(node, zm_conn, link);
        if (zm_conn_is_open_locked(conn) && conn->peer && zm_outq_waiting(&conn->peer->out))
            zm_conn_wants_send_locked(conn);
    }
}

void zm_transfer_flush_some_locked(zm_socket *s, zm_patience patience)
{
    if (ZM_UNLIKELY(s->held) && !zm_order_holds_locked(s))
        release_held(s);
    if (zm_list_empty(&s->wants_send))
        return;
    if (ZM_UNLIKELY(!zm_order_reached_locked(s))) {
        zm_io_thread_look(s, zm_now_ns() + ZM_RETRY_NS); /* somebody has what goes first */
        return;
    }
    s->flush_due = false;
    zm_list work;
    /* A list of its own: a flush may put its connection back. */
    zm_list_init(&work);
    zm_list_append_all(&work, &s->wants_send);
    for (int steps = 0; !zm_list_empty(&work); steps++) {
        if (patience == MAY_GIVE_WAY && zm_socket_gives_way_locked(s, steps))
            break;
        zm_conn *conn = ZM_CONTAINER(work.next, zm_conn, wants_send_link);
        conn->ops->flush(conn);
    }
    zm_list_append_all(&work, &s->wants_send);
    zm_list_append_all(&s->wants_send, &work);
}

/* --- both ------------------------------------------------------------------------------------ */

void zm_socket_flush_locked(zm_socket *s)
{
    if (!s->driver) {
        zm_order_leave_locked(s);
        return;
    }
    /* The receive for the answer is armed with the same system call that sends. Not while there is
     * something to read: an application that is behind does not read ahead. */
    if (s->arm_thread == zm_thread_id() && !s->bulk && !s->pattern->can_recv(s))
        zm_transfer_arm_locked(s);
    zm_transfer_flush_locked(s);
    if (s->driven)
        zm_transfer_submit_locked(s);
    else
        zm_transfer_push_locked(s);
    if (!s->driven && zm_driver_reap_pays(s->driver) && zm_transfer_reap_locked(s)) {
        /* What was sent or received only in part is started again before anybody else looks. */
        zm_transfer_start_locked(s);
        zm_transfer_submit_locked(s);
        zm_io_thread_resume_locked(s);
    }
    s->burst.flushed_ns = zm_now_ns();
}

void zm_drive_for_room_locked(zm_conn *conn)
{
    zm_socket *s = conn->socket;
    if (!zm_conn_is_open_locked(conn) || s->driven
        || (conn->send_op.in_flight && !zm_driver_reap_pays(s->driver)))
        return;
    zm_transfer_flush_locked(s);
    zm_transfer_push_locked(s);
    if (zm_transfer_reap_locked(s)) {
        zm_transfer_start_locked(s);
        zm_transfer_submit_locked(s);
    }
    s->burst.flushed_ns = zm_now_ns();
}

/* --- the order of a thread ------------------------------------------------------------------- */

/* The socket may have left the list, or be another one in the same memory, before the caller has
 * locked it: the caller looks again then. */
static zm_socket *first_of(zm_order *order)
{
    zm_order_lock_take(order);
    zm_list *node = zm_list_empty(&order->bursts) ? NULL : order->bursts.next;
    zm_order_lock_give(order);
    return node ? ZM_CONTAINER(node, zm_socket, in_order) : NULL;
}

static bool try_for_a_while(zm_socket *s, int yields) ZM_TAKES_IF(true, zm_a_socket)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (zm_socket_lock_try(s))
            return true;
        zm_cpu_relax();
    }
    while (yields--) {
        zm_spin_yield();
        if (zm_socket_lock_try(s))
            return true;
    }
    return false;
}

/* `over`: the thread stops sending there for now. */
static void flush_one(zm_socket *s, zm_order *order, bool over) ZM_LOCKED
{
    if (s->order != order)
        return;
    if (over)
        zm_burst_end(&s->burst);
    zm_socket_flush_locked(s);
    zm_order_leave_locked(s); /* also with what the kernel does not take now */
}

/* Those before `end` (NULL: all). `held` is locked, and each of them beside it, by a try. False:
 * somebody else has one of them. */
static bool flush_trying(zm_order *order, zm_socket *held, const zm_socket *end,
                         bool over) ZM_LOCKED ZM_LOCKS_UNCHECKED
{
    zm_socket *first;
    /* The I/O thread has others to look after. */
    int yields = order == zm_order_mine ? YIELDS_MAX : 0;
    while ((first = first_of(order)) && first != end) {
        if (first != held) {
            if (!try_for_a_while(first, yields))
                return false;
            zm_socket_in_passing_locked(first);
        }
        flush_one(first, order, over);
        if (first != held)
            zm_order_pass_locked(first);
    }
    return true;
}

bool zm_order_reached_locked(zm_socket *s)
{
    return !s->order || flush_trying(s->order, s, s, false);
}

void zm_order_flush_locked(zm_order *order, zm_socket *held)
{
    flush_trying(order, held, NULL, false);
}

/* The thread comes back to a socket, having sent on another meanwhile. What it sends now must
 * not leave together with what waits there, since that is before the other socket's. But a thread
 * that goes to and fro between two sockets all the time would then send each message by itself. */
static bool may_return(zm_order *order)
{
    int64_t now = zm_now_ns();
    if (now - order->returned_ns > IN_A_ROW_NS)
        order->returns = 0;
    order->returned_ns = now;
    return order->returns++ < RETURNS_MAX;
}

static ZM_APART void turn(zm_socket *s, zm_order *order) ZM_LOCKED
{
    if (ZM_UNLIKELY(s->order && s->order != order))
        zm_socket_flush_locked(s); /* what another thread sent there goes first */
    if (!order || !atomic_load(&order->count))
        return;
    if (s->links || (s->order == order && order->newest != s && may_return(order)))
        flush_trying(order, s, NULL, false);
}

void zm_order_turn_locked(zm_socket *s)
{
    zm_order *order = zm_order_mine;
    if (s->order || (order && atomic_load(&order->count)))
        turn(s, order);
}

void zm_order_look_locked(zm_socket *s)
{
    zm_order *order = zm_order_mine;
    if (order && atomic_load(&order->count))
        flush_trying(order, s, NULL, true);
}

static bool settle(zm_order *order, bool over, bool brief)
{
    zm_socket *first;
    while ((first = first_of(order))) {
        if (!brief)
            zm_socket_lock_take(first);
        else if (!zm_socket_lock_try(first))
            return false;
        zm_socket_in_passing_locked(first);
        flush_one(first, order, over);
        zm_socket_leave(first);
    }
    return true;
}

bool zm_order_settle(bool over, bool brief)
{
    zm_order *order = zm_order_mine;
    return !order || !atomic_load(&order->count) || settle(order, over, brief);
}

/* --- flushing by itself ---------------------------------------------------------------------- */

static uint32_t senders(const zm_socket *s) ZM_LOCKED
{
    uint32_t count = 0;
    ZM_LIST_EACH (node, &s->wants_send)
        count++;
    return count;
}

static inline int full(const zm_socket *s) ZM_LOCKED
{
    if (ZM_UNLIKELY(s->flush_due))
        return ZM_SEND_FLUSH;
    zm_conn *newest = ZM_CONTAINER(s->wants_send.prev, zm_conn, wants_send_link);
    size_t limit = zm_burst_bytes(s->wants_send.next != s->wants_send.prev);
    /* A full buffer leaves at once; what is in flight already takes the rest with it. */
    return newest->peer && !newest->send_op.in_flight
                   && newest->control_size + zm_outq_waiting(&newest->peer->out) >= limit
               ? ZM_SEND_FLUSH
               : 0;
}

int zm_socket_followed_locked(zm_socket *s)
{
    if (zm_list_empty(&s->wants_send))
        return 0;
    if (ZM_UNLIKELY(!s->order && zm_order_has_others_locked(s)))
        zm_order_enter_locked(s);
    return full(s);
}

/* A send that does not go on with a burst: it leaves at once, or a burst begins. */
static ZM_APART int sent_first(zm_socket *s) ZM_LOCKED
{
    if (!s->burst.on) {
        int64_t now = zm_now_ns();
        bool again = s->burst.sent_since_wait;
        if (zm_burst_send(&s->burst, now, again ? senders(s) : 0,
                          !again && s->pattern->can_recv(s))) {
            if (ZM_UNLIKELY(zm_order_has_others_locked(s)))
                zm_order_enter_locked(s); /* who comes in between flushes those first */
            return ZM_SEND_FLUSH;
        }
        zm_io_thread_look(s, now + s->burst.look_gap);
    }
    zm_order_enter_locked(s);
    return ZM_UNLIKELY(zm_order_has_begun_locked(s)) ? ZM_SEND_FLUSH : full(s);
}

int zm_socket_sent_locked(zm_socket *s)
{
    if (zm_list_empty(&s->wants_send)) /* flush() lets go first what the thread began before */
        return s->driver && zm_order_has_begun_locked(s) ? ZM_SEND_FLUSH : 0;
    return ZM_LIKELY(s->burst.on && zm_order_goes_on_locked(s)) ? full(s) : sent_first(s);
}

/* The I/O thread's look at a burst: sends what has waited long enough, and comes back as long as
 * burst lasts. Returns when to look again; ZM_FOREVER: it is over. */
int64_t zm_drive_burst_locked(zm_socket *s, int64_t now)
{
    int64_t leaves = zm_burst_look(&s->burst, now, !zm_list_empty(&s->wants_send));
    if (leaves != now)
        return leaves;
    zm_order *order = s->order;
    zm_socket_flush_locked(s);
    if (order)
        zm_order_flush_locked(order, s); /* those behind it are as old, nearly */
    return zm_burst_left(&s->burst, s->burst.flushed_ns - now);
}
