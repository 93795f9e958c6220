/* What a connection sends: bytes of the session's own, and frames from where they lie in its peer's
 * queue. */
#include <errno.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/list.h"
#include "../base/secret.h"
#include "../base/wire_order.h"
#include "../driver/address.h"
#include "../driver/driver.h"
#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "../socket/options.h"
#include "../socket/order.h"
#include "../socket/socket.h"
#include "../zmtp/session.h"
#include "connection.h"
#include "connection_private.h"

enum {
    SUBMIT_BYTES_MAX = 2 << 20, /* of one send: until all of it left, it counts as queued */
    RECODE_BYTES = 64 * 1024,
    CONTROL_BYTES_MAX = 1 << 20, /* answers to a peer that asks and does not read */
    RECODED_KEEP = 128 * 1024, /* of a buffer that grew with one large message, this much stays */
};

/* No memory for what the other side waits for, or is to know: a connection that went on without it
 * would stand still, or miss messages for ever. It breaks where nobody holds on to it. */
static void starve(zm_conn *conn) ZM_LOCKED
{
    conn->starved = true;
    zm_conn_wants_send_locked(conn);
}

int zm_conn_control_locked(zm_conn *conn, const void *data, size_t size)
{
    if (conn->send_failed)
        return 0;
    if (conn->control_capacity - conn->control_size < size) {
        size_t capacity = (conn->control_size + size) * 2 + 64;
        uint8_t *control = zm_alloc(capacity);
        if (!control) {
            starve(conn);
            return -ENOMEM;
        }
        if (conn->control_size)
            memcpy(control, conn->control, conn->control_size);
        zm_conn_free_control_locked(conn, conn->control, conn->control_size);
        conn->control = control;
        conn->control_capacity = capacity;
    }
    memcpy(conn->control + conn->control_size, data, size);
    conn->control_size += size;
    zm_conn_wants_send_locked(conn);
    return 0;
}

/* 0, or < 0: the connection is gone. */
int zm_conn_take_session_output_slowly_locked(zm_conn *conn)
{
    zm_session *session = &conn->session;
    if (conn->answers > CONTROL_BYTES_MAX) {
        zm_conn_broke_locked(conn, ENOBUFS);
        return -ECONNABORTED;
    }
    conn->answers += session->out_size;
    if (zm_conn_control_locked(conn, session->out, session->out_size) == 0) {
        if (!zm_conn_is_open_locked(conn)) {
            explicit_bzero(session->out, session->out_size); /* PLAIN: the password */
            zm_secret_moved();
        }
        session->out_size = 0;
    }
    return 0;
}

void zm_conn_subscribe_locked(zm_conn *conn, bool subscribe, const uint8_t *topic, size_t size)
{
    zm_session *session = &conn->session;
    if (conn->raw)
        return;
    uint8_t *out = zm_alloc(size + 32 + zm_session_frame_bound(session, size + 16));
    if (!out) {
        starve(conn);
        return;
    }
    size_t n = zm_session_subscription(session, out, subscribe, topic, size);
    zm_conn_control_locked(conn, out, n);
    zm_free(out);
}

/* Room for `size` more bytes of `recoded`. */
static bool recoded_room(zm_conn *conn, size_t size) ZM_LOCKED
{
    size_t wanted = conn->recoded_size + size;
    if (wanted <= conn->recoded_capacity)
        return true;
    size_t capacity = wanted < RECODED_KEEP ? RECODED_KEEP : wanted + wanted / 4;
    uint8_t *recoded = zm_realloc(conn->recoded, capacity);
    if (!recoded)
        return false;
    conn->recoded = recoded;
    conn->recoded_capacity = capacity;
    return true;
}

/* Encodes whole messages from the queue into `recoded`, for a peer that does not take ZMTP 2+
 * framing as it is (ZMTP 1.0, encryption). 0 or -ENOMEM. */
static int recode(zm_conn *conn) ZM_LOCKED
{
    zm_outq *q = &conn->peer->out;
    size_t at = 0, end = q->bytes - q->partial;
    bool more = false;
    conn->recoded_size = conn->recoded_sent = 0;
    while (at < end && (more || conn->recoded_size < RECODE_BYTES)) {
        uint8_t header[ZM_FRAME_HEADER_MAX];
        zm_outq_peek(q, at, header, sizeof header);
        size_t header_size = 2, size = header[1];
        if (header[0] & ZM_FRAME_LONG) {
            size = (size_t) zm_load_u64(header + 1);
            header_size = 9;
        }
        if (!recoded_room(conn, zm_session_frame_bound(&conn->session, size)))
            return -ENOMEM;
        more = header[0] & ZM_FRAME_MORE;
        unsigned flags = more ? ZM_FRAME_MORE : 0;
        uint8_t *out = conn->recoded + conn->recoded_size;
        size_t body_at = zm_session_frame_begin(&conn->session, out, flags, size);
        zm_outq_peek(q, at + header_size, out + body_at, size);
        conn->recoded_size += zm_session_frame_end(&conn->session, out, flags, size);
        at += header_size + size;
    }
    conn->recoded_from = at;
    return 0;
}

/* Vectors for what leaves next. Control bytes go at message boundaries only, so while one
 * message is half sent and control bytes wait, no more than the rest of that message is taken. */
static int gather(zm_conn *conn) ZM_LOCKED
{
    int n = 0;
    zm_peer *peer = zm_conn_is_open_locked(conn) ? conn->peer : NULL;
    if (ZM_UNLIKELY(conn->socket->beginner) && peer && zm_order_holds_locked(conn->socket)) {
        conn->socket->held = true;
        peer = NULL;
    }
    /* A queue that an earlier connection still sends from waits until that is settled. */
    zm_outq *q = peer && !peer->in_flight_conn ? &peer->out : NULL;
    bool boundary = !q || (q->sent_of_first == 0 && conn->recoded_sent == conn->recoded_size);
    conn->sending_control = conn->sending_queue = 0;
    if (conn->flying_sent == conn->flying_size && conn->control_size && boundary) {
        zm_conn_free_control_locked(conn, conn->flying, conn->flying_size);
        conn->flying = conn->control;
        conn->flying_size = conn->control_size;
        conn->flying_sent = 0;
        conn->control = NULL;
        conn->control_size = conn->control_capacity = conn->answers = 0;
        if (conn->ping == PING_QUEUED)
            conn->ping = PING_FLIES;
    }
    if (conn->flying_sent < conn->flying_size) {
        conn->sending_control = conn->flying_size - conn->flying_sent;
        conn->vectors[n++] = (struct iovec){conn->flying + conn->flying_sent,
                                            conn->sending_control};
    }
    if (!q)
        return n;
    /* It leaves by itself: a long message behind it, in the same request, would have left when the
     * answer had long come, or would not leave at all. */
    bool is_ping = conn->ping == PING_FLIES;
    if (conn->raw || conn->session.plain_framing) {
        if (is_ping)
            return n;
        size_t limit = conn->control_size && !boundary ? q->lengths[q->first] - q->sent_of_first
                                                       : SUBMIT_BYTES_MAX;
        n += zm_outq_vectors(q, conn->vectors + n, ZM_VECTORS_MAX - n, limit, &conn->sending_queue);
        q->submitted = conn->sending_queue;
        return n;
    }
    if (conn->recoded_sent == conn->recoded_size) {
        conn->recoded_from = conn->recoded_size = conn->recoded_sent = 0;
        if (conn->recoded_capacity > RECODED_KEEP) {
            zm_free(conn->recoded);
            conn->recoded = NULL;
            conn->recoded_capacity = 0;
        }
        /* Control bytes that are encoded already go before what is encoded now. */
        if (!zm_outq_waiting(q) || conn->control_size || is_ping)
            return n;
        if (recode(conn) < 0)
            return -ENOMEM;
        q->submitted = conn->recoded_from;
    }
    conn->sending_queue = conn->recoded_size - conn->recoded_sent;
    conn->vectors[n++] = (struct iovec){conn->recoded + conn->recoded_sent, conn->sending_queue};
    return n;
}

/* Is the next to leave a message with a large body? */
static bool sends_large(const zm_conn *conn) ZM_LOCKED
{
    const zm_outq *q = conn->peer ? &conn->peer->out : NULL;
    return q && q->count && q->lengths[q->first] > ZM_SLAB_BYTES / 2;
}

void zm_conn_flush_locked(zm_conn *conn)
{
    if (conn->wants_send) {
        conn->wants_send = false;
        zm_list_remove(&conn->wants_send_link);
    }
    if (conn->starved && conn->state != ZM_CONN_CLOSING) {
        zm_conn_broke_locked(conn, ENOMEM);
        return;
    }
    if (conn->send_op.in_flight || conn->state == ZM_CONN_CLOSING || conn->send_failed)
        return;
    int n = gather(conn);
    if (n < 0) {
        zm_conn_broke_locked(conn, ENOMEM);
        return;
    }
    if (n == 0) {
        if (conn->state == ZM_CONN_DRAINING && zm_conn_all_sent_locked(conn))
            zm_conn_end_locked(conn);
        return;
    }
    if (!conn->unpaced && conn->transport == ZM_TCP && sends_large(conn)) {
        conn->unpaced = true;
        zm_connection_unpace(conn->fd);
    }
    ZM_DEBUG_ASSERT(conn->sending_control + conn->sending_queue > 0);
    ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn));
    conn->header = (struct msghdr){.msg_iov = conn->vectors, .msg_iovlen = (size_t) n};
    conn->send_op.whole = true;
    zm_driver_send(conn->socket->driver, &conn->send_op, conn->fd, &conn->header);
}

/* The other side takes nothing any more. What it sent before is still to be read, and behind it the
 * receive finds the end. Signs of life are not asked for meanwhile: that one may be far off, when
 * the application does not read. */
static void stop_sending(zm_conn *conn) ZM_LOCKED
{
    conn->send_failed = true;
    conn->control_size = 0;
    if (conn->peer && conn->recoded_size)
        conn->peer->out.submitted = conn->recoded_from;
    zm_conn_stop_timers(conn);
}

void zm_conn_send_ping_locked(zm_conn *conn, const zm_options *o)
{
    zm_session *session = &conn->session;
    zm_conn_set_timer(conn, &conn->heartbeat, o->heartbeat_ivl_ms);
    if (conn->ping != NO_PING)
        return; /* behind a large message on a slow link: one is enough */
    uint8_t *out = zm_alloc(32 + zm_session_frame_bound(session, 32));
    if (!out)
        return; /* the next one may find memory */
    size_t n = zm_session_ping(session, out, (uint32_t) o->heartbeat_ttl_ds * 100);
    zm_conn_control_locked(conn, out, n);
    zm_free(out);
    conn->ping = PING_QUEUED;
    conn->silence_ms = o->heartbeat_timeout_ms < 0 ? o->heartbeat_ivl_ms : o->heartbeat_timeout_ms;
}

/* The kernel has all of the PING: from now on an answer may be expected. */
static void ping_has_left(zm_conn *conn) ZM_LOCKED
{
    conn->ping = NO_PING;
    if (conn->silence_ms > 0 && !conn->silence.position) {
        conn->unsent = zm_connection_unsent(conn->fd);
        zm_conn_set_timer(conn, &conn->silence, conn->silence_ms);
    }
}

void zm_conn_send_done_locked(zm_op *op, int32_t res)
{
    zm_conn *conn = op->owner;
    zm_socket *s = conn->socket;
    zm_peer *peer = conn->peer;
    if (peer && !peer->in_flight_conn) /* else what is submitted is the one's before */
        peer->out.submitted = 0;
    if (conn->state == ZM_CONN_CLOSING) {
        if (conn->in_flight_peer)
            zm_conn_settle_in_flight_locked(conn, res);
        zm_conn_end_if_done_locked(conn);
        return;
    }
    if (res == -ECANCELED || res == -EINTR || res == -EAGAIN) {
        if (peer && conn->recoded_size)
            peer->out.submitted = conn->recoded_from;
        zm_conn_wants_send_locked(conn);
        return;
    }
    if (res < 0) {
        if (conn->state == ZM_CONN_ACTIVE && (res == -EPIPE || res == -ECONNRESET))
            stop_sending(conn);
        else
            zm_conn_broke_locked(conn, -res);
        return;
    }
    size_t sent = (size_t) res;
    s->stats.bytes_sent += sent;
    size_t control = sent < conn->sending_control ? sent : conn->sending_control;
    conn->flying_sent += control;
    if (conn->flying_sent == conn->flying_size && conn->flying) {
        zm_conn_free_control_locked(conn, conn->flying, conn->flying_size);
        conn->flying = NULL;
        conn->flying_size = conn->flying_sent = 0;
        if (conn->ping == PING_FLIES)
            ping_has_left(conn);
    }
    sent -= control;
    if (peer && conn->recoded_size) {
        conn->recoded_sent += sent;
        bool done = conn->recoded_sent == conn->recoded_size;
        if (done)
            zm_outq_consume(&peer->out, conn->recoded_from);
        else
            peer->out.submitted = conn->recoded_from;
    } else if (peer && sent) {
        zm_outq_consume(&peer->out, sent);
    }
    if (peer && !zm_conn_is_leaving_locked(conn))
        zm_peer_drained_locked(peer);
    if (conn->control_size || conn->flying_size || (peer && zm_outq_waiting(&peer->out))
        || conn->recoded_sent < conn->recoded_size)
        zm_conn_wants_send_locked(conn);
    else if (conn->state == ZM_CONN_DRAINING)
        zm_conn_end_locked(conn);
}
