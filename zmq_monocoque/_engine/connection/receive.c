/* What a connection receives: bytes that the kernel wrote into a slab are parsed where they are. */
#include <errno.h>
#include <string.h>

#include "../base/block.h"
#include "../base/check.h"
#include "../base/list.h"
#include "../base/timer.h"
#include "../context/context.h"
#include "../driver/address.h"
#include "../driver/driver.h"
#include "../pipe/peer.h"
#include "../socket/monitor.h"
#include "../socket/socket.h"
#include "../zmtp/session.h"
#include "connection.h"
#include "connection_private.h"

enum {
    LOWAT_BYTES = 256 * 1024, /* of a large body: received at a time, or what is left of it */
    RAW_BYTES_MAX = 8192, /* one STREAM message, as libzmq's receive buffer */
    GAP_BYTES = 4096, /* of commands between messages that may stay in memory with these */
    HEAD_BYTES = 4096, /* after a large frame: the next one's head, little of it to be copied */
};

/* A frame larger than any memory there is: refused without asking for it. */
#define FRAME_BYTES_MAX (UINT64_C(1) << 38)

/* The peer broke the protocol: no reconnect, as libzmq (finding 4). */
static void broke_rules(zm_conn *conn, int error) ZM_LOCKED
{
    if (error == -ENOMEM) {
        zm_conn_broke_locked(conn, ENOMEM); /* nobody's doing: it may come again */
        return;
    }
    if (conn->session.fault == ZM_FAULT_PROTOCOL)
        zm_conn_handshake_failed_locked(conn, ZM_HANDSHAKE_FAILED_PROTOCOL,
                                        conn->session.fault_value);
    else if (conn->session.fault == ZM_FAULT_AUTH)
        zm_conn_handshake_failed_locked(conn, ZM_HANDSHAKE_FAILED_AUTH, conn->session.fault_value);
    zm_conn_failed_locked(conn, false);
}

/* Counts a message frame. Is its message more than the peer may send? */
static bool too_much(zm_conn *conn, const zm_event *event) ZM_LOCKED
{
    uint64_t most = (uint64_t) conn->limits.message;
    conn->parts++;
    conn->part_bytes += event->size;
    bool over = conn->parts > (uint64_t) conn->limits.parts || conn->part_bytes > most;
    if (!event->more)
        conn->parts = conn->part_bytes = 0;
    if (!over)
        conn->session.message_room = most - conn->part_bytes;
    return over;
}

/* 0, or < 0: the connection is gone. `own`: a reference to the memory of the event's data, that
 * goes with the frame or away; NULL: the slab, which the caller looks after. */
static int event_arrived(zm_conn *conn, zm_event *event, zm_block *own) ZM_LOCKED
{
    zm_socket *s = conn->socket;
    int rc = 0;
    switch (event->kind) {
    case ZM_EVENT_READY:
        zm_conn_ready_locked(conn);
        rc = conn->state == ZM_CONN_CLOSING ? -ECONNABORTED : 0;
        break;
    case ZM_EVENT_MESSAGE:
        if (!conn->peer || zm_conn_is_leaving_locked(conn) || conn->peer->muted)
            break;
        if (ZM_UNLIKELY(event->more || conn->parts || event->size > (uint64_t) conn->limits.message)
            && too_much(conn, event)) {
            rc = -EMSGSIZE;
            break;
        }
        rc = s->pattern->arrived ? s->pattern->arrived(conn->peer, event) : 1;
        if (rc == 1) {
            rc = zm_peer_queue_locked(conn->peer, event->data, event->size, event->more, own);
            if (rc == 0)
                own = NULL;
        }
        break;
    case ZM_EVENT_SUBSCRIBE:
    case ZM_EVENT_CANCEL:
        if (conn->peer && !zm_conn_is_leaving_locked(conn) && s->pattern->subscription)
            rc = s->pattern->subscription(conn->peer, event->kind == ZM_EVENT_SUBSCRIBE,
                                          event->data, event->size);
        break;
    case ZM_EVENT_PING:
        if (event->value) {
            conn->ttl_ms = (int) event->value;
            conn->unsent = zm_connection_unsent(conn->fd);
            zm_conn_set_timer(conn, &conn->ttl, conn->ttl_ms);
        }
        /* At once: encrypted bytes leave in the order in which they were encrypted. */
        rc = zm_conn_take_session_output_locked(conn);
        break;
    case ZM_EVENT_ZAP:
        rc = conn->owner->ask(conn, event);
        if (conn->session.config.mechanism == ZM_PLAIN)
            explicit_bzero((uint8_t *) (uintptr_t) event->data, event->size); /* the password */
        break;
    case ZM_EVENT_PONG:
    case ZM_EVENT_NONE:
        break;
    }
    if (own)
        zm_block_unref(own);
    if (rc < 0 && rc != -ECONNABORTED)
        zm_conn_failed_locked(conn, rc == -ENOMEM); /* nobody's doing: it may come again */
    return rc < 0 ? -ECONNABORTED : 0;
}

int zm_conn_admit_locked(zm_conn *conn, unsigned status)
{
    zm_event event;
    int rc = zm_session_zap_reply(&conn->session, status, &event);
    if (status != 200)
        zm_conn_handshake_failed_locked(conn, ZM_HANDSHAKE_FAILED_AUTH, status);
    conn->outcome_told = status == 300;
    if (rc == -EPROTO) {
        zm_conn_turn_away_locked(conn);
        return -ECONNABORTED;
    }
    if (rc < 0) {
        zm_conn_broke_locked(conn, -rc);
        return -ECONNABORTED;
    }
    return event.kind == ZM_EVENT_READY ? event_arrived(conn, &event, NULL)
                                        : zm_conn_take_session_output_locked(conn);
}

/* Messages that wait to be read hold the whole slab, so commands between them must not fill it: a
 * message moves down to the one before when more than GAP_BYTES lie in between. */
static void close_gap(zm_conn *conn, zm_event *event) ZM_LOCKED
{
    uint8_t *end = conn->slab->data + conn->slab_kept;
    if (ZM_UNLIKELY(event->data > end + GAP_BYTES)) {
        memmove(end, event->data, event->size);
        event->data = end;
    }
    conn->slab_kept = (size_t) (event->data - conn->slab->data) + event->size;
}

/* The same for what is not parsed yet, and for the room behind it. */
static void close_last_gap(zm_conn *conn) ZM_LOCKED
{
    size_t left = conn->slab_used - conn->slab_at;
    if (conn->slab_at <= conn->slab_kept + GAP_BYTES)
        return;
    memmove(conn->slab->data + conn->slab_kept, conn->slab->data + conn->slab_at, left);
    conn->slab_at = conn->slab_kept;
    conn->slab_used = conn->slab_at + left;
}

/* Parses what is in the slab. 0, or < 0: the connection is gone. */
static int parse_slab(zm_conn *conn) ZM_LOCKED
{
    zm_block *slab = conn->slab;
    bool pushed = false;
    int rc = 0;
    while (conn->slab_at < conn->slab_used && !conn->stopped) {
        zm_event event;
        uint32_t before = conn->peer ? conn->peer->in.count : 0;
        ssize_t n = zm_session_next(&conn->session, slab->data + conn->slab_at,
                                    conn->slab_used - conn->slab_at, &event);
        if (n == 0)
            break;
        if (ZM_UNLIKELY(n < 0)) {
            rc = (int) n;
            break;
        }
        conn->slab_at += (size_t) n;
        if (event.kind == ZM_EVENT_MESSAGE)
            close_gap(conn, &event);
        if (ZM_UNLIKELY((rc = event_arrived(conn, &event, NULL)) < 0))
            return rc;
        pushed |= conn->peer && conn->peer->in.count != before;
    }
    if (pushed && conn->peer)
        zm_conn_hold_slab_locked(conn, conn->peer);
    if (rc < 0) {
        broke_rules(conn, rc);
        return rc;
    }
    close_last_gap(conn);
    return zm_conn_take_session_output_locked(conn);
}

static int parse_large(zm_conn *conn) ZM_LOCKED
{
    zm_event event;
    zm_block *large = conn->large;
    ZM_DEBUG_ASSERT(conn->large_have == large->size);
    ssize_t n = zm_session_next(&conn->session, large->data, large->size, &event);
    conn->large = NULL;
    if (n < 0) {
        zm_block_unref(large);
        broke_rules(conn, (int) n);
        return (int) n;
    }
    ZM_ASSERT((size_t) n == large->size);
    int rc = event_arrived(conn, &event, large);
    return rc < 0 ? rc : zm_conn_take_session_output_locked(conn);
}

static void wants_recv_again(zm_conn *conn) ZM_LOCKED
{
    if (!conn->stopped)
        zm_conn_wants_recv_locked(conn);
}

static int raw_arrived(zm_conn *conn) ZM_LOCKED
{
    zm_block *slab = conn->slab;
    size_t at = conn->slab_at;
    conn->slab_at = conn->slab_used;
    if (!conn->peer)
        return 0;
    if (ZM_UNLIKELY(zm_peer_keep_room_locked(conn->peer) < 0)) {
        zm_conn_broke_locked(conn, ENOMEM);
        return -ECONNABORTED;
    }
    zm_event event = {
        .kind = ZM_EVENT_MESSAGE, .data = slab->data + at, .size = conn->slab_used - at};
    return event_arrived(conn, &event, zm_block_ref(slab));
}

void zm_conn_receive_done_locked(zm_op *op, int32_t res)
{
    zm_conn *conn = op->owner;
    zm_socket *s = conn->socket;
    s->moving -= conn->moving;
    conn->moving = false;
    zm_list_remove(&conn->armed_link);
    ZM_DEBUG_ASSERT(!op->in_flight);
    ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn));
    if (conn->state == ZM_CONN_CLOSING) {
        zm_conn_end_if_done_locked(conn);
        return;
    }
    if (res == -ECANCELED || res == -EINTR || res == -EAGAIN) {
        wants_recv_again(conn); /* moved to another thread, or the thread that armed it is gone */
        return;
    }
    if (res <= 0) {
        zm_conn_broke_locked(conn, res == 0 ? EPIPE : -res);
        return;
    }
    s->stats.bytes_received += (uint64_t) res;
    if (ZM_UNLIKELY(!zm_conn_is_open_locked(conn) && conn->session.config.cookies))
        zm_conn_cookies(s);
    if (ZM_UNLIKELY(conn->state == ZM_CONN_REJECTED)) {
        wants_recv_again(conn); /* nothing it says matters any more */
        return;
    }
    if (ZM_UNLIKELY(conn->silence.position | conn->ttl.position)) {
        /* Any traffic is a sign of life. */
        zm_timer_stop(&s->timers, &conn->silence);
        zm_timer_stop(&s->timers, &conn->ttl);
    }
    int rc;
    if (conn->large) {
        conn->large_have += (size_t) res;
        rc = conn->large_have < conn->large->size ? 0 : parse_large(conn);
    } else {
        conn->slab_used += (size_t) res;
        /* Nothing large behind it: whole slabs again. */
        conn->expects_large &= res == HEAD_BYTES;
        rc = conn->raw ? raw_arrived(conn) : parse_slab(conn);
    }
    if (rc == 0)
        wants_recv_again(conn);
}

/* Memory for the next receive. 0, -ENOMEM, -EMSGSIZE. */
static int make_room(zm_conn *conn, uint8_t **out_to, size_t *out_size) ZM_LOCKED
{
    ZM_DEBUG_ASSERT(!conn->recv_op.in_flight); /* the kernel writes there */
    ZM_POISON(out_to);
    ZM_POISON(out_size);
    if (conn->large) {
        *out_to = conn->large->data + conn->large_have;
        *out_size = conn->large->size - conn->large_have;
        return 0;
    }
    zm_block *slab = conn->slab;
    size_t left = conn->slab_used - conn->slab_at;
    size_t need = left && !conn->raw ? conn->session.need : 1;
    if (need > FRAME_BYTES_MAX)
        return -EMSGSIZE;
    if (need > ZM_SLAB_BYTES) {
        zm_block *large = zm_block_new(need);
        if (!large)
            return -ENOMEM;
        memcpy(large->data, slab->data + conn->slab_at, left);
        conn->slab_at = conn->slab_used;
        conn->large = large;
        conn->large_have = left;
        conn->expects_large = true;
        return make_room(conn, out_to, out_size);
    }
    if (slab && !left && atomic_load_explicit(&slab->refs, memory_order_acquire) == 1) {
        /* Everything in it was read: it is written again from the start. */
        if (slab->size < ZM_SLAB_BYTES && conn->slab_used == slab->size) {
            zm_block_unref(slab);
            conn->slab = slab = NULL; /* it was filled to the brim: a larger one */
        } else {
            conn->slab_used = conn->slab_at = conn->slab_kept = 0;
        }
    }
    if (!slab || slab->size - conn->slab_at < need
        || slab->size - conn->slab_used < slab->size / 4) {
        size_t size = (conn->slab_used || need > ZM_SLAB_FIRST) ? ZM_SLAB_BYTES : ZM_SLAB_FIRST;
        zm_block *fresh = zm_block_new(size);
        if (!fresh)
            return -ENOMEM;
        if (left)
            memcpy(fresh->data, slab->data + conn->slab_at, left);
        if (slab)
            zm_block_unref(slab);
        conn->slab = slab = fresh;
        conn->slab_used = left;
        conn->slab_at = conn->slab_kept = 0;
    }
    *out_to = slab->data + conn->slab_used;
    *out_size = slab->size - conn->slab_used;
    size_t most = conn->raw ? RAW_BYTES_MAX : conn->expects_large ? HEAD_BYTES : SIZE_MAX;
    if (*out_size > most)
        *out_size = most;
    ZM_DEBUG_ASSERT(*out_size > 0);
    return 0;
}

/* RCVHWM held, and the application has read since: parses what was left. 0, or < 0: it is gone. */
static int resume(zm_conn *conn) ZM_LOCKED
{
    conn->stopped = false;
    return conn->raw || conn->large || !conn->slab ? 0 : parse_slab(conn);
}

/* Where and how much to receive next. False: not now, or the connection is gone. */
static bool ready_to_receive(zm_conn *conn, uint8_t **out_to, size_t *out_size) ZM_LOCKED
{
    conn->wants_recv = false;
    zm_list_remove(&conn->wants_recv_link);
    if (conn->recv_op.in_flight || conn->state == ZM_CONN_CLOSING)
        return false;
    if (conn->stopped && resume(conn) < 0)
        return false;
    if (conn->stopped)
        return false;
    int rc = make_room(conn, out_to, out_size);
    if (rc < 0) {
        zm_conn_broke_locked(conn, -rc);
        return false;
    }
    zm_socket *s = conn->socket;
    if (conn->large || conn->expects_large)
        s->bulk = conn;
    else if (s->bulk == conn)
        s->bulk = NULL;
    return true;
}

void zm_conn_arm_locked(zm_conn *conn)
{
    uint8_t *to;
    size_t size;
    if (!ready_to_receive(conn, &to, &size))
        return;
    /* A large body comes in large pieces, each worth the wake-up. Not where silence is watched:
     * there every piece is a sign of life. */
    bool watched = conn->silence.position || conn->ttl.position || conn->heartbeat.position;
    size_t lowat = conn->large && !watched ? size < LOWAT_BYTES ? size : LOWAT_BYTES : 1;
    if (lowat != conn->lowat) {
        zm_connection_lowat(conn->fd, lowat);
        conn->lowat = lowat;
    }
    zm_socket *s = conn->socket;
    zm_driver_recv(s->driver, &conn->recv_op, conn->fd, to, size);
    uint32_t me = conn->recv_op.thread;
    if (ZM_UNLIKELY(s->arm_thread == ZM_NO_THREAD))
        s->arm_thread = me;
    zm_list_append(s->arm_thread == me ? &s->armed : &s->armed_elsewhere, &conn->armed_link);
}

bool zm_conn_pull_locked(zm_conn *conn)
{
    uint8_t *to;
    size_t size;
    if (!ready_to_receive(conn, &to, &size))
        return false;
    int n = zm_connection_recv(conn->fd, to, size);
    if (n == -EAGAIN) {
        zm_conn_wants_recv_locked(conn);
        return false;
    }
    zm_conn_receive_done_locked(&conn->recv_op, n);
    return true;
}
