/* How a connection ends: let go of by us, broken, or told apart from its peer, whose queue outlives
 * it. */
#include <errno.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/block.h"
#include "../base/check.h"
#include "../base/fds.h"
#include "../base/list.h"
#include "../base/timer.h"
#include "../context/process.h"
#include "../driver/driver.h"
#include "../engine.h"
#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "../socket/endpoint.h"
#include "../socket/monitor.h"
#include "../socket/options.h"
#include "../socket/socket.h"
#include "../socket/transfer.h"
#include "../socket/wakeup.h"
#include "../zmtp/session.h"
#include "connection.h"
#include "connection_private.h"

/* Frees bytes that went to the peer, or did not. */
void zm_conn_free_control_locked(const zm_conn *conn, uint8_t *taken, size_t size)
{
    if (taken && conn->session.config.mechanism == ZM_PLAIN)
        explicit_bzero(taken, size);
    zm_free(taken);
}

void zm_conn_handshake_over_locked(zm_conn *conn)
{
    zm_socket *s = conn->socket;
    ZM_DEBUG_ASSERT(s->handshakes >= conn->counted);
    ZM_DEBUG_ASSERT(s->handshaking_count >= zm_list_linked(&conn->handshaking_link));
    s->handshakes -= conn->counted;
    conn->counted = false;
    s->handshaking_count -= zm_list_linked(&conn->handshaking_link);
    zm_list_remove(&conn->handshaking_link);
    if (s->cookies && !s->handshakes)
        explicit_bzero(s->cookies, sizeof *s->cookies); /* no cookie is out */
}

/* Peers that a ZAP handler is asked about go last: they have shown something, and it is we whom
 * they wait for. */
bool zm_conn_drop_handshaking_locked(zm_socket *s)
{
    zm_conn *oldest = NULL;
    ZM_LIST_EACH (node, &s->handshaking) {
        zm_conn *conn = ZM_CONTAINER(node, zm_conn, handshaking_link);
        if (!oldest || (oldest->zap && !conn->zap))
            oldest = conn;
        if (!oldest->zap)
            break;
    }
    if (oldest)
        zm_conn_broke_locked(oldest, ENOBUFS);
    return oldest != NULL;
}

/* Its connecter may have another. */
void zm_conn_leave_connecter_locked(zm_conn *conn)
{
    zm_endpoint *endpoint = conn->endpoint;
    if (!endpoint || endpoint->conn != conn)
        return;
    ZM_DEBUG_ASSERT(endpoint->state == ZM_ENDPOINT_CONNECTED);
    endpoint->conn = NULL;
    zm_endpoint_become_locked(endpoint, ZM_ENDPOINT_WAITING);
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(endpoint));
}

void zm_conn_leave_endpoint_locked(zm_conn *conn)
{
    ZM_DEBUG_ASSERT(!conn->endpoint == !zm_list_linked(&conn->of_endpoint));
    ZM_DEBUG_ASSERT(!conn->endpoint || conn->endpoint->conn != conn);
    conn->endpoint = NULL;
    zm_list_remove(&conn->of_endpoint);
}

void zm_conn_stop_timers(zm_conn *conn)
{
    zm_timers *timers = &conn->socket->timers;
    zm_timer_stop(timers, &conn->handshake);
    zm_timer_stop(timers, &conn->linger);
    zm_timer_stop(timers, &conn->heartbeat);
    zm_timer_stop(timers, &conn->silence);
    zm_timer_stop(timers, &conn->ttl);
}

static void unlist(zm_conn *conn) ZM_LOCKED
{
    zm_list_remove(&conn->wants_send_link);
    zm_list_remove(&conn->wants_recv_link);
    conn->wants_send = conn->wants_recv = false;
    if (conn->socket->bulk == conn)
        conn->socket->bulk = NULL;
}

/* Nothing of it is in flight any more: the descriptor goes now, the memory when nobody up the stack
 * can be using it (zm_reap_ended_locked). */
void zm_conn_end_if_done_locked(zm_conn *conn)
{
    if (conn->state != ZM_CONN_CLOSING || conn->fd < 0 || conn->recv_op.in_flight
        || conn->send_op.in_flight)
        return;
    ZM_DEBUG_ASSERT(!conn->in_flight_peer);
    zm_fd_close(conn->fd);
    conn->fd = -1;
    zm_list_remove(&conn->link);
    zm_list_append(&conn->socket->ended, &conn->ended.link);
}

void zm_conn_free_locked(zm_ended *ended)
{
    zm_conn *conn = ZM_CONTAINER(ended, zm_conn, ended);
    zm_socket *s = conn->socket;
    ZM_DEBUG_ASSERT(conn->state == ZM_CONN_CLOSING && conn->fd < 0);
    ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn));
    if (conn->peer) {
        /* Only a lingering peer stays with its connection to the end. */
        conn->peer->conn = NULL;
        if (zm_peer_is_ended_locked(conn->peer)) /* it goes when its messages are read */
            zm_peer_ripen_locked(conn->peer);
        else
            zm_peer_free_locked(conn->peer);
    }
    if (conn->slab && !conn->raw && conn->session.phase != ZM_ACTIVE
        && conn->session.config.mechanism == ZM_PLAIN)
        explicit_bzero(conn->slab->data, conn->slab_used); /* a HELLO that was not understood */
    if (conn->slab)
        zm_block_unref(conn->slab);
    if (conn->large)
        zm_block_unref(conn->large);
    zm_bytes_clear(&conn->zap_properties);
    zm_conn_free_control_locked(conn, conn->control, conn->control_size);
    zm_conn_free_control_locked(conn, conn->flying, conn->flying_size);
    if (!conn->raw)
        zm_session_fini(&conn->session);
    zm_free(conn->recoded);
    zm_free(conn->text);
    zm_timers_release(&s->timers, ZM_CONN_TIMERS);
    s->connection_count--;
    atomic_fetch_sub(&zm_live_connections, 1);
    zm_free(conn);
}

void zm_conn_close_locked(zm_conn *conn)
{
    zm_socket *s = conn->socket;
    ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn));
    if (conn->state != ZM_CONN_CLOSING) {
        zm_conn_become_locked(conn, ZM_CONN_CLOSING);
        zm_conn_settled_locked(conn);
        if (conn->zap)
            conn->owner->forget(conn->zap);
        zm_conn_handshake_over_locked(conn);
        zm_conn_stop_timers(conn);
        unlist(conn);
        zm_conn_leave_connecter_locked(conn);
        zm_conn_leave_endpoint_locked(conn);
        if (conn->recv_op.in_flight)
            zm_driver_cancel(s->driver, &conn->recv_op);
        if (conn->send_op.in_flight)
            zm_driver_cancel(s->driver, &conn->send_op);
    }
    ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn));
    zm_conn_end_if_done_locked(conn);
}

void zm_conn_end_locked(zm_conn *conn)
{
    zm_endpoint *endpoint = conn->endpoint;
    zm_conn_close_locked(conn);
    if (!endpoint || endpoint->kind != ZM_CONNECTER)
        return;
    zm_peer *peer = endpoint->peer;
    zm_endpoint_close_locked(endpoint);
    if (peer && !peer->conn)
        zm_peer_end_locked(peer); /* it was not complete */
}

void zm_conn_finish_locked(zm_conn *conn)
{
    ZM_DEBUG_ASSERT(conn->peer && conn->endpoint);
    zm_conn_become_locked(conn, ZM_CONN_DRAINING);
    zm_conn_stop_timers(conn);
    ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn));
    if (conn->send_failed)
        zm_conn_broke_locked(conn, EPIPE);
    else
        zm_conn_wants_send_locked(conn);
}

bool zm_conn_all_sent_locked(const zm_conn *conn)
{
    return conn->send_failed
           || (!conn->send_op.in_flight && conn->control_size == 0 && conn->flying_size == 0
               && (!conn->peer || conn->peer->out.bytes == conn->peer->out.partial));
}

/* Nothing more is received for this peer. Never half a message: what is not complete is gone. */
static void drop_incomplete(zm_conn *conn, zm_peer *peer) ZM_LOCKED
{
    zm_frames_drop_newest(&peer->in, peer->in_staged);
    peer->in_staged = 0;
    if (peer->socket->pattern->disconnected)
        peer->socket->pattern->disconnected(peer);
    zm_conn_hold_slab_locked(conn, peer);
}

void zm_conn_linger_locked(zm_conn *conn, int linger_ms)
{
    zm_peer *peer = conn->peer;
    ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn));
    zm_conn_leave_endpoint_locked(conn);
    if (peer) {
        zm_peer_rollback_locked(peer);
        drop_incomplete(conn, peer);
        peer->endpoint = NULL;
        zm_peer_end_locked(peer); /* its messages are still read, as those of a lost one */
    }
    if (!zm_conn_is_open_locked(conn) || linger_ms == 0 || zm_conn_all_sent_locked(conn)) {
        zm_conn_close_locked(conn);
        return;
    }
    zm_conn_become_locked(conn, ZM_CONN_DRAINING);
    zm_conn_stop_timers(conn);
    if (linger_ms > 0)
        zm_conn_set_timer(conn, &conn->linger, linger_ms);
    zm_conn_wants_send_locked(conn);
    ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn));
}

/* The connection is over: what of its peer's queue is gone with it. A message of which anything was
 * sent is, since nothing may arrive twice. */
static void settle_queue(zm_conn *conn, zm_peer *peer, size_t sent) ZM_LOCKED
{
    zm_outq *q = &peer->out;
    size_t of_queue = sent > conn->sending_control ? sent - conn->sending_control : 0;
    q->submitted = 0;
    if (conn->recoded_sent < conn->recoded_size) {
        if (conn->recoded_sent + of_queue)
            zm_outq_consume(q, conn->recoded_from);
    } else if (of_queue && !conn->recoded_size) {
        zm_outq_consume(q, of_queue);
    }
    zm_socket_lost_locked(peer->socket, zm_outq_cut(q));
}

static void detach(zm_conn *conn) ZM_LOCKED
{
    zm_peer *peer = conn->peer;
    ZM_DEBUG_ASSERT(peer->conn == conn);
    ZM_DEBUG_ASSERT(!conn->in_flight_peer);
    conn->peer = NULL;
    peer->conn = NULL;
    if (peer->in_flight_conn)
        return; /* that one still sends from the queue, so this one has sent nothing of it */
    if (conn->send_op.in_flight) {
        conn->in_flight_peer = peer;
        peer->in_flight_conn = conn;
    } else {
        settle_queue(conn, peer, 0);
    }
}

/* The send that was in flight when its peer was detached is over. */
void zm_conn_settle_in_flight_locked(zm_conn *conn, int32_t res)
{
    zm_peer *peer = conn->in_flight_peer;
    ZM_DEBUG_ASSERT(conn->state == ZM_CONN_CLOSING && !conn->send_op.in_flight);
    ZM_DEBUG_ASSERT(peer->in_flight_conn == conn);
    conn->in_flight_peer = NULL;
    peer->in_flight_conn = NULL;
    settle_queue(conn, peer, res > 0 ? (size_t) res : 0);
    ZM_DEBUG_ASSERT(zm_peer_is_sound_locked(peer));
    if (zm_peer_is_ended_locked(peer))
        zm_peer_ripen_locked(peer);
    else
        zm_peer_drained_locked(peer);
    if (peer->conn && zm_conn_is_open_locked(peer->conn)
        && (zm_outq_waiting(&peer->out) || zm_conn_is_leaving_locked(peer->conn)))
        zm_conn_wants_send_locked(peer->conn);
}

/* The peer of a connection that ended by itself. */
static void leave_peer(zm_conn *conn) ZM_LOCKED
{
    zm_peer *peer = conn->peer;
    zm_socket *s = conn->socket;
    if (!peer)
        return;
    ZM_DEBUG_ASSERT(zm_peer_is_sound_locked(peer));
    detach(conn);
    drop_incomplete(conn, peer); /* as at the other end of it (S-20, S-51) */
    if (conn->raw)
        zm_peer_announce_end_locked(peer);
    zm_endpoint *endpoint = peer->endpoint;
    if (endpoint && !endpoint->options.immediate && !conn->raw
        && (!s->closing || endpoint->lingering)) {
        zm_peer_drained_locked(peer);
        return; /* kept for the next connection */
    }
    if (endpoint)
        endpoint->peer = NULL;
    peer->endpoint = NULL;
    zm_peer_end_locked(peer);
    ZM_DEBUG_ASSERT(zm_peer_is_sound_locked(peer));
}

void zm_conn_failed_locked(zm_conn *conn, bool reconnect)
{
    zm_socket *s = conn->socket;
    zm_endpoint *endpoint = conn->endpoint;
    if (conn->state == ZM_CONN_CLOSING)
        return;
    if (zm_conn_is_leaving_locked(conn)
        && (!endpoint || !reconnect || conn->raw || endpoint->options.immediate)) {
        zm_conn_end_locked(conn); /* what is queued has nowhere to go */
        return;
    }
    if (!zm_conn_is_leaving_locked(conn))
        zm_monitor_event(s, ZM_DISCONNECTED, (uint32_t) conn->fd, conn->text);
    leave_peer(conn);
    zm_conn_close_locked(conn);
    if (endpoint && conn->owner->lost)
        conn->owner->lost(endpoint, reconnect);
    zm_socket_notify_locked(s);
}

/* Tells the monitor, and counts: nobody came in. */
void zm_conn_handshake_failed_locked(zm_conn *conn, int event, uint32_t value)
{
    zm_stats *stats = &conn->socket->stats;
    zm_monitor_event(conn->socket, event, value, conn->text);
    if (conn->state != ZM_CONN_HANDSHAKE)
        return; /* rules are broken after the handshake, too */
    stats->handshakes_failed++;
    stats->last_handshake_event = event;
    stats->last_handshake_value = value;
}

/* The connection broke: end of stream, reset, or a timer. */
void zm_conn_broke_locked(zm_conn *conn, int error)
{
    bool handshaking = conn->state == ZM_CONN_HANDSHAKE;
    zm_endpoint *endpoint = conn->endpoint;
    if (handshaking && !conn->outcome_told)
        zm_conn_handshake_failed_locked(conn, ZM_HANDSHAKE_FAILED_NO_DETAIL, (uint32_t) error);
    bool stop = handshaking && endpoint
                && endpoint->options.reconnect_stop & ZM_RECONNECT_STOP_HANDSHAKE_FAILED;
    zm_conn_failed_locked(conn, !stop);
}

void zm_conn_refused_locked(zm_conn *conn, uint32_t protocol_error)
{
    zm_conn_handshake_failed_locked(conn, ZM_HANDSHAKE_FAILED_PROTOCOL, protocol_error);
    zm_conn_failed_locked(conn, false);
}

void zm_conn_drop_locked(zm_conn *conn)
{
    detach(conn);
    zm_conn_close_locked(conn);
}
