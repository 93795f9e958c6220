/* Connections: a descriptor, its ZMTP session, and the two ends of its peer's queues. Bytes
 * that the kernel wrote into a slab are parsed where they are; frames to send leave from where
 * they lie. */
#include "connection.h"

#include <errno.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/block.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/crypto.h"
#include "../base/fds.h"
#include "../base/list.h"
#include "../base/secret.h"
#include "../base/timer.h"
#include "../context/context.h"
#include "../context/process.h"
#include "../driver/address.h"
#include "../driver/driver.h"
#include "../engine.h"
#include "../pipe/frames.h"
#include "../pipe/metadata.h"
#include "../pipe/peer.h"
#include "../socket/endpoint.h"
#include "../socket/monitor.h"
#include "../socket/options.h"
#include "../socket/order.h"
#include "../socket/socket.h"
#include "../socket/transfer.h"
#include "../socket/wakeup.h"
#include "../zmtp/session.h"

enum {
    SUBMIT_BYTES_MAX = 2 << 20, /* of one send: until all of it left, it counts as queued */
    LOWAT_BYTES = 256 * 1024,   /* of a large body: received at a time, or what is left of it */
    RECODE_BYTES = 64 * 1024,
    RAW_BYTES_MAX = 8192,         /* one STREAM message, as libzmq's receive buffer */
    GAP_BYTES = 4096, /* of commands between messages that may stay in memory with these */
    HEAD_BYTES = 4096, /* after a large frame: the next one's head, little of it to be copied */
    CONTROL_BYTES_MAX = 1 << 20, /* answers to a peer that asks and does not read */
    RECODED_KEEP = 128 * 1024,   /* of a buffer that grew with one large message, this much stays */
    TIMERS = 5,      /* of each */
    FAREWELL_MS = 300 /* for a peer that was turned away to read why */
};

enum ping { NO_PING, PING_QUEUED, PING_FLIES };

/* A frame larger than any memory there is: refused without asking for it. */
#define FRAME_BYTES_MAX ((size_t) 1 << 38)

/* --- the life of a connection ----------------------------------------------------------------- */

#define TO(state) (1u << ZM_CONN_##state)
/* What each state may become. */
static const uint8_t next_states[] = {
    [ZM_CONN_HANDSHAKE] = TO(ACTIVE) | TO(REJECTED) | TO(CLOSING),
    [ZM_CONN_ACTIVE] = TO(DRAINING) | TO(CLOSING),
    [ZM_CONN_DRAINING] = TO(CLOSING),
    [ZM_CONN_REJECTED] = TO(CLOSING),
    [ZM_CONN_CLOSING] = 0,
};
#undef TO

static void become(zm_conn *conn, zm_conn_state state)
{
    ZM_ASSERT(next_states[conn->state] & 1u << state);
    conn->state = state;
}

static void broke(zm_conn *conn, int error);
static int event_arrived(zm_conn *conn, zm_event *event, zm_block *own);
static void ping_has_left(zm_conn *conn);
static void receive_done(zm_op *op, int32_t res);
static void send_done(zm_op *op, int32_t res);
static void handshake_due(zm_timer *timer);
static void heartbeat_due(zm_timer *timer);
static void silence_due(zm_timer *timer);
static void ttl_due(zm_timer *timer);
static void linger_due(zm_timer *timer);
static bool pull(zm_conn *conn);
static const zm_conn_ops conn_ops;

/* --- start ------------------------------------------------------------------------------------ */

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = zm_alloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

static void set_timer(zm_conn *conn, zm_timer *timer, int64_t ms)
{
    zm_timer_set(&conn->socket->timers, timer, zm_now_ns() + ms * ZM_MS);
}

/* 0, or < 0: the connection is gone. */
static int take_session_output(zm_conn *conn)
{
    zm_session *session = &conn->session;
    if (!session->out_size)
        return 0;
    if (conn->answers > CONTROL_BYTES_MAX) {
        broke(conn, ENOBUFS);
        return -ECONNABORTED;
    }
    conn->answers += session->out_size;
    if (zm_conn_control_locked(conn, session->out, session->out_size) == 0) {
        if (!zm_conn_is_open(conn)) {
            explicit_bzero(session->out, session->out_size); /* PLAIN: the password */
            zm_secret_moved();
        }
        session->out_size = 0;
    }
    return 0;
}

/* Frees bytes that went to the peer, or did not. */
static void free_control(const zm_conn *conn, uint8_t *taken, size_t size)
{
    if (taken && conn->session.config.mechanism == ZM_PLAIN)
        explicit_bzero(taken, size);
    zm_free(taken);
}

/* The keys that this socket's cookies are sealed with, as a server of CURVE. NULL: no memory. */
static const zm_cookie_keys *cookies(zm_socket *s)
{
    if (!s->cookies)
        s->cookies = zm_secret_new();
    if (s->cookies)
        zm_cookie_keys_turn(s->cookies, zm_now_ns());
    return s->cookies;
}

static int start_session(zm_conn *conn, const zm_options *o)
{
    zm_socket *s = conn->socket;
    zm_session_config config = {
        .socket_type = s->type,
        .mechanism = (zm_mechanism) o->mechanism,
        .as_server = o->as_server,
        .zap = zm_options_want_zap(o),
        .refuse_old = o->mechanism != ZM_NULL || o->zap_domain.size > 0,
        .max_msg_size = o->max_msg_size,
        .max_command = o->limits.command,
        .max_metadata = o->limits.metadata,
        .routing_id = o->routing_id.data,
        .routing_id_size = o->routing_id.size,
        .metadata = o->metadata.data,
        .metadata_size = o->metadata.size,
        .username = o->plain_username.data,
        .username_size = o->plain_username.size,
        .password = o->plain_password.data,
        .password_size = o->plain_password.size,
        .curve_public = o->curve_public,
        .curve_secret = o->curve_secret,
        .curve_server = o->curve_server,
    };
    if (o->mechanism == ZM_CURVE && o->as_server && zm_crypto_get()) {
        config.cookies = cookies(s);
        if (!config.cookies)
            return -ENOMEM;
    }
    int rc = zm_session_init(&conn->session, &config);
    conn->session.message_room = (uint64_t) o->limits.message;
    return rc;
}

static void handshake_over(zm_conn *conn)
{
    zm_socket *s = conn->socket;
    s->handshakes -= conn->counted;
    conn->counted = false;
    s->handshaking_count -= zm_list_linked(&conn->handshaking_link);
    zm_list_remove(&conn->handshaking_link);
    if (s->cookies && !s->handshakes)
        explicit_bzero(s->cookies, sizeof *s->cookies); /* no cookie is out */
}

/* Those whom a ZAP handler is asked about have shown something, and wait for us: they go last. */
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
        broke(oldest, ENOBUFS);
    return oldest != NULL;
}

static void ready(zm_conn *conn);
static void conn_free(zm_ended *ended);

int zm_conn_open_locked(zm_socket *s, zm_endpoint *endpoint, const zm_conn_owner *owner,
                        zm_transport transport, int fd)
{
    zm_conn *conn = zm_calloc(sizeof *conn);
    int rc = -ENOMEM;
    if (!conn)
        goto no_memory;
    conn->ops = &conn_ops;
    conn->ended.reap = conn_free;
    conn->owner = owner;
    conn->socket = s;
    conn->endpoint = endpoint;
    conn->transport = transport;
    conn->fd = fd;
    conn->lowat = 1;
    conn->raw = zm_endpoint_is_raw(endpoint);
    conn->limits = endpoint->options.limits;
    if (conn->raw)
        conn->limits.message = -1; /* what one message is, is chance there */
    conn->recv_op = (zm_op){.done = receive_done, .owner = conn};
    conn->send_op = (zm_op){.done = send_done, .owner = conn};
    conn->handshake = (zm_timer){.due = handshake_due, .owner = conn};
    conn->heartbeat = (zm_timer){.due = heartbeat_due, .owner = conn};
    conn->silence = (zm_timer){.due = silence_due, .owner = conn};
    conn->ttl = (zm_timer){.due = ttl_due, .owner = conn};
    conn->linger = (zm_timer){.due = linger_due, .owner = conn};
    zm_connection_tune(fd, transport, &endpoint->options.tuning);
    conn->text = copy_text(endpoint->text);
    if (!conn->text)
        goto no_session;
    rc = zm_timers_reserve(&s->timers, TIMERS);
    if (rc < 0)
        goto no_session;
    if (!conn->raw && (rc = start_session(conn, &endpoint->options)) < 0)
        goto no_timers;
    zm_list_append(&s->conns, &conn->link);
    zm_list_append(&endpoint->conns, &conn->of_endpoint);
    s->connection_count++;
    conn->counted = true;
    s->handshakes++;
    conn->newcomer = s->pattern->looks_before_send;
    s->newcomers += conn->newcomer;
    atomic_fetch_add(&zm_live_connections, 1);
    if (endpoint->kind == ZM_CONNECTER) {
        endpoint->conn = conn;
        zm_endpoint_become(endpoint, ZM_ENDPOINT_CONNECTED);
    } else {
        zm_list_append(&s->handshaking, &conn->handshaking_link);
        s->handshaking_count++;
    }
    if (conn->raw) {
        ready(conn); /* it may be over already, and its endpoint with it */
    } else {
        take_session_output(conn);
        if (endpoint->options.handshake_ivl_ms > 0)
            set_timer(conn, &conn->handshake, endpoint->options.handshake_ivl_ms);
    }
    zm_conn_wants_recv_locked(conn);
    /* Whoever connects speaks at once: what is there is answered along with our first bytes. */
    if (!conn->raw && endpoint->kind == ZM_LISTENER)
        pull(conn);
    return 0;

no_timers:
    zm_timers_release(&s->timers, TIMERS);
no_session:
    zm_free(conn->text);
    zm_free(conn);
no_memory:
    zm_fd_close(fd);
    return rc;
}

/* --- the end --------------------------------------------------------------------------------- */

/* Its connecter may have another. */
static void leave_connecter(zm_conn *conn)
{
    zm_endpoint *endpoint = conn->endpoint;
    if (!endpoint || endpoint->conn != conn)
        return;
    endpoint->conn = NULL;
    zm_endpoint_become(endpoint, ZM_ENDPOINT_WAITING);
}

static void leave_endpoint(zm_conn *conn)
{
    conn->endpoint = NULL;
    zm_list_remove(&conn->of_endpoint);
}

static void stop_timers(zm_conn *conn)
{
    zm_timers *timers = &conn->socket->timers;
    zm_timer_stop(timers, &conn->handshake);
    zm_timer_stop(timers, &conn->linger);
    zm_timer_stop(timers, &conn->heartbeat);
    zm_timer_stop(timers, &conn->silence);
    zm_timer_stop(timers, &conn->ttl);
}

static void unlist(zm_conn *conn)
{
    zm_list_remove(&conn->wants_send_link);
    zm_list_remove(&conn->wants_recv_link);
    conn->wants_send = conn->wants_recv = false;
    if (conn->socket->bulk == conn)
        conn->socket->bulk = NULL;
}

/* Nothing of it is in flight any more: the descriptor goes now, the memory when nobody up the stack
 * can be using it (zm_reap_ended_locked). */
static void end_if_done(zm_conn *conn)
{
    if (conn->state != ZM_CONN_CLOSING || conn->fd < 0 || conn->recv_op.in_flight
        || conn->send_op.in_flight)
        return;
    zm_fd_close(conn->fd);
    conn->fd = -1;
    zm_list_remove(&conn->link);
    zm_list_append(&conn->socket->ended, &conn->ended.link);
}

static void conn_free(zm_ended *ended)
{
    zm_conn *conn = ZM_CONTAINER(ended, zm_conn, ended);
    zm_socket *s = conn->socket;
    if (conn->peer) {
        /* Only a lingering peer stays with its connection to the end. */
        conn->peer->conn = NULL;
        if (conn->peer->ended) /* it goes when its messages are read */
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
    free_control(conn, conn->control, conn->control_size);
    free_control(conn, conn->flying, conn->flying_size);
    if (!conn->raw)
        zm_session_fini(&conn->session);
    zm_free(conn->recoded);
    zm_free(conn->text);
    zm_timers_release(&s->timers, TIMERS);
    s->connection_count--;
    atomic_fetch_sub(&zm_live_connections, 1);
    zm_free(conn);
}

void zm_conn_close_locked(zm_conn *conn)
{
    zm_socket *s = conn->socket;
    if (conn->state != ZM_CONN_CLOSING) {
        become(conn, ZM_CONN_CLOSING);
        zm_conn_settled_locked(conn);
        if (conn->zap)
            conn->owner->forget(conn->zap);
        handshake_over(conn);
        stop_timers(conn);
        unlist(conn);
        leave_connecter(conn);
        leave_endpoint(conn);
        if (conn->recv_op.in_flight)
            zm_driver_cancel(s->driver, &conn->recv_op);
        if (conn->send_op.in_flight)
            zm_driver_cancel(s->driver, &conn->send_op);
    }
    end_if_done(conn);
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
    become(conn, ZM_CONN_DRAINING);
    stop_timers(conn);
    if (conn->send_failed)
        broke(conn, EPIPE);
    else
        zm_conn_wants_send_locked(conn);
}

static bool all_sent(const zm_conn *conn)
{
    return conn->send_failed
           || (!conn->send_op.in_flight && conn->control_size == 0 && conn->flying_size == 0
               && (!conn->peer || conn->peer->out.bytes == conn->peer->out.partial));
}

/* The newest frame holds the slab for all of them: they are taken in order. */
static void hold_slab(zm_conn *conn, zm_peer *peer)
{
    if (!peer->in.count)
        return;
    zm_frame *newest = zm_frames_at(&peer->in, peer->in.count - 1);
    if (!newest->block && conn->slab) /* a notification is in no slab */
        newest->block = zm_block_ref(conn->slab);
}

/* Nothing more is received for this peer. Never half a message: what is not complete is gone. */
static void drop_incomplete(zm_conn *conn, zm_peer *peer)
{
    zm_frames_drop_newest(&peer->in, peer->in_staged);
    peer->in_staged = 0;
    if (peer->socket->pattern->disconnected)
        peer->socket->pattern->disconnected(peer);
    hold_slab(conn, peer);
}

void zm_conn_linger_locked(zm_conn *conn, int linger_ms)
{
    zm_peer *peer = conn->peer;
    leave_endpoint(conn);
    if (peer) {
        zm_peer_rollback(peer);
        drop_incomplete(conn, peer);
        peer->endpoint = NULL;
        zm_peer_end_locked(peer); /* its messages are still read, as those of a lost one */
    }
    if (!zm_conn_is_open(conn) || linger_ms == 0 || all_sent(conn)) {
        zm_conn_close_locked(conn);
        return;
    }
    become(conn, ZM_CONN_DRAINING);
    stop_timers(conn);
    if (linger_ms > 0)
        set_timer(conn, &conn->linger, linger_ms);
    zm_conn_wants_send_locked(conn);
}

/* The connection is over: what of its peer's queue is gone with it. A message of which anything was
 * sent is, since nothing may arrive twice. */
static void settle_queue(zm_conn *conn, zm_peer *peer, size_t sent)
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
    zm_socket_lost(peer->socket, zm_outq_cut(q));
}

static void detach(zm_conn *conn)
{
    zm_peer *peer = conn->peer;
    conn->peer = NULL;
    peer->conn = NULL;
    if (conn->send_op.in_flight) {
        conn->in_flight_peer = peer;
        peer->in_flight_conn = conn;
    } else {
        settle_queue(conn, peer, 0);
    }
}

/* The send that was in flight when its peer was detached is over. */
static void settle_in_flight(zm_conn *conn, int32_t res)
{
    zm_peer *peer = conn->in_flight_peer;
    conn->in_flight_peer = NULL;
    peer->in_flight_conn = NULL;
    settle_queue(conn, peer, res > 0 ? (size_t) res : 0);
    if (peer->ended)
        zm_peer_ripen_locked(peer);
    else
        zm_peer_drained_locked(peer);
    if (peer->conn && zm_conn_is_open(peer->conn)
        && (zm_outq_waiting(&peer->out) || zm_conn_is_leaving(peer->conn)))
        zm_conn_wants_send_locked(peer->conn);
}

/* The peer of a connection that ended by itself. */
static void leave_peer(zm_conn *conn)
{
    zm_peer *peer = conn->peer;
    zm_socket *s = conn->socket;
    if (!peer)
        return;
    detach(conn);
    drop_incomplete(conn, peer); /* as at the other end of it (S-20, S-51) */
    if (conn->raw)
        zm_peer_announce_locked(peer);
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
}

void zm_conn_failed_locked(zm_conn *conn, bool reconnect)
{
    zm_socket *s = conn->socket;
    zm_endpoint *endpoint = conn->endpoint;
    if (conn->state == ZM_CONN_CLOSING)
        return;
    if (zm_conn_is_leaving(conn)
        && (!endpoint || !reconnect || conn->raw || endpoint->options.immediate)) {
        zm_conn_end_locked(conn); /* what is queued has nowhere to go */
        return;
    }
    if (!zm_conn_is_leaving(conn))
        zm_monitor_event(s, ZM_DISCONNECTED, (uint32_t) conn->fd,
                         conn->text);
    leave_peer(conn);
    zm_conn_close_locked(conn);
    if (endpoint && conn->owner->lost)
        conn->owner->lost(endpoint, reconnect);
    zm_socket_notify_locked(s);
}

/* Tells the monitor, and counts: nobody came in. */
static void handshake_failed(zm_conn *conn, int event, uint32_t value)
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
static void broke(zm_conn *conn, int error)
{
    bool handshaking = conn->state == ZM_CONN_HANDSHAKE;
    zm_endpoint *endpoint = conn->endpoint;
    if (handshaking && !conn->outcome_told)
        handshake_failed(conn, ZM_HANDSHAKE_FAILED_NO_DETAIL, (uint32_t) error);
    bool stop = handshaking && endpoint
                && endpoint->options.reconnect_stop & ZM_RECONNECT_STOP_HANDSHAKE_FAILED;
    zm_conn_failed_locked(conn, !stop);
}

void zm_conn_broke_locked(zm_conn *conn, int error)
{
    broke(conn, error);
}

void zm_conn_refused_locked(zm_conn *conn, uint32_t protocol_error)
{
    handshake_failed(conn, ZM_HANDSHAKE_FAILED_PROTOCOL, protocol_error);
    zm_conn_failed_locked(conn, false);
}

/* The session has an ERROR for the peer. It leaves, and the connection with it once the peer has
 * closed its side: closing first could reset what the peer has not read yet. */
static void turn_away(zm_conn *conn)
{
    zm_socket *s = conn->socket;
    zm_endpoint *endpoint = conn->endpoint;
    zm_monitor_event(s, ZM_DISCONNECTED, (uint32_t) conn->fd, conn->text);
    if (take_session_output(conn) < 0)
        return;
    stop_timers(conn);
    handshake_over(conn);
    become(conn, ZM_CONN_REJECTED);
    leave_connecter(conn);
    leave_endpoint(conn);
    set_timer(conn, &conn->linger, FAREWELL_MS);
    if (endpoint->kind == ZM_CONNECTER) {
        conn->owner->lost(endpoint, false);
    }
}

int zm_conn_admit_locked(zm_conn *conn, unsigned status)
{
    zm_event event;
    int rc = zm_session_zap_reply(&conn->session, status, &event);
    if (status != 200)
        handshake_failed(conn, ZM_HANDSHAKE_FAILED_AUTH, status);
    conn->outcome_told = status == 300;
    if (rc == -EPROTO) {
        turn_away(conn);
        return -ECONNABORTED;
    }
    if (rc < 0) {
        broke(conn, -rc);
        return -ECONNABORTED;
    }
    return event.kind == ZM_EVENT_READY ? event_arrived(conn, &event, NULL)
                                        : take_session_output(conn);
}

/* The peer broke the protocol: no reconnect, as libzmq (finding 4). */
static void broke_rules(zm_conn *conn, int error)
{
    if (error == -ENOMEM) {
        broke(conn, ENOMEM); /* nobody's doing: it may come again */
        return;
    }
    if (conn->session.fault == ZM_FAULT_PROTOCOL)
        handshake_failed(conn, ZM_HANDSHAKE_FAILED_PROTOCOL, conn->session.fault_value);
    else if (conn->session.fault == ZM_FAULT_AUTH)
        handshake_failed(conn, ZM_HANDSHAKE_FAILED_AUTH, conn->session.fault_value);
    zm_conn_failed_locked(conn, false);
}

/* --- handshake done -------------------------------------------------------------------------- */

static void ready(zm_conn *conn)
{
    zm_socket *s = conn->socket;
    zm_endpoint *endpoint = conn->endpoint;
    char address[128];
    zm_timer_stop(&s->timers, &conn->handshake);
    if (!conn->raw && take_session_output(conn) < 0)
        return; /* our READY goes before anything the pattern says */
    zm_peer_address(conn->fd, conn->transport, address, sizeof address);
    zm_metadata *metadata = zm_metadata_new(conn->raw ? NULL : &conn->session, conn->fd,
                                            address, &conn->zap_properties);
    zm_peer *peer = endpoint->kind == ZM_CONNECTER ? endpoint->peer : NULL;
    bool fresh = !peer;
    if (metadata && fresh)
        peer = zm_peer_new_locked(s);
    if (!peer || !metadata) {
        zm_metadata_unref(metadata);
        zm_conn_failed_locked(conn, true);
        return;
    }
    zm_metadata_unref(peer->metadata);
    peer->metadata = metadata;
    peer->conn = conn;
    conn->peer = peer;
    become(conn, ZM_CONN_ACTIVE);
    handshake_over(conn);
    if (!conn->raw)
        zm_monitor_event(s, ZM_HANDSHAKE_SUCCEEDED, 0,
                         conn->text);
    if (endpoint->kind == ZM_CONNECTER) {
        endpoint->attempts = 0;
        endpoint->peer = peer;
        peer->endpoint = endpoint;
    }
    if (endpoint->lingering) {
        /* Disconnected or closed meanwhile: only what is queued is left to do. */
        zm_conn_finish_locked(conn);
        return;
    }
    peer->raw = conn->raw;
    if (fresh) {
        zm_endpoint_give_id(endpoint, peer);
        peer->conflate = zm_conflates(s, &endpoint->options);
        zm_peer_attach_locked(peer);
    } else if (s->pattern->connected && peer->attached) {
        s->pattern->connected(peer);
    }
    if (conn->state == ZM_CONN_CLOSING)
        return;
    if (!conn->raw && conn->session.heartbeats && endpoint->options.heartbeat_ivl_ms > 0)
        set_timer(conn, &conn->heartbeat, endpoint->options.heartbeat_ivl_ms);
    if (zm_outq_waiting(&peer->out))
        zm_conn_wants_send_locked(conn);
    zm_socket_notify_locked(s);
}

/* --- receiving ------------------------------------------------------------------------------- */

/* Counts a message frame. Is its message more than the peer may send? */
static bool too_much(zm_conn *conn, const zm_event *event)
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
static int event_arrived(zm_conn *conn, zm_event *event, zm_block *own)
{
    zm_socket *s = conn->socket;
    int rc = 0;
    switch (event->kind) {
    case ZM_EVENT_READY:
        ready(conn);
        rc = conn->state == ZM_CONN_CLOSING ? -ECONNABORTED : 0;
        break;
    case ZM_EVENT_MESSAGE:
        if (!conn->peer || zm_conn_is_leaving(conn) || conn->peer->muted)
            break;
        if (ZM_UNLIKELY(event->more || conn->parts
                        || event->size > (uint64_t) conn->limits.message)
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
        if (conn->peer && !zm_conn_is_leaving(conn) && s->pattern->subscription)
            rc = s->pattern->subscription(conn->peer, event->kind == ZM_EVENT_SUBSCRIBE,
                                          event->data, event->size);
        break;
    case ZM_EVENT_PING:
        if (event->value) {
            conn->ttl_ms = (int) event->value;
            conn->unsent = zm_connection_unsent(conn->fd);
            set_timer(conn, &conn->ttl, conn->ttl_ms);
        }
        /* At once: encrypted bytes leave in the order in which they were encrypted. */
        rc = take_session_output(conn);
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
        zm_conn_failed_locked(conn, false);
    return rc < 0 ? -ECONNABORTED : 0;
}

/* Messages that wait to be read hold the whole slab, so commands between them must not fill it: a
 * message moves down to the one before when more than GAP_BYTES lie in between. */
static void close_gap(zm_conn *conn, zm_event *event)
{
    uint8_t *end = conn->slab->data + conn->slab_kept;
    if (ZM_UNLIKELY(event->data > end + GAP_BYTES)) {
        memmove(end, event->data, event->size);
        event->data = end;
    }
    conn->slab_kept = (size_t) (event->data - conn->slab->data) + event->size;
}

/* The same for what is not parsed yet, and for the room behind it. */
static void close_last_gap(zm_conn *conn)
{
    size_t left = conn->slab_used - conn->slab_at;
    if (conn->slab_at <= conn->slab_kept + GAP_BYTES)
        return;
    memmove(conn->slab->data + conn->slab_kept, conn->slab->data + conn->slab_at, left);
    conn->slab_at = conn->slab_kept;
    conn->slab_used = conn->slab_at + left;
}

/* Parses what is in the slab. 0, or < 0: the connection is gone. */
static int parse_slab(zm_conn *conn)
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
        hold_slab(conn, conn->peer);
    if (rc < 0) {
        broke_rules(conn, rc);
        return rc;
    }
    close_last_gap(conn);
    return take_session_output(conn);
}

static int parse_large(zm_conn *conn)
{
    zm_event event;
    zm_block *large = conn->large;
    ssize_t n = zm_session_next(&conn->session, large->data, large->size, &event);
    conn->large = NULL;
    if (n < 0) {
        zm_block_unref(large);
        broke_rules(conn, (int) n);
        return (int) n;
    }
    ZM_ASSERT((size_t) n == large->size);
    int rc = event_arrived(conn, &event, large);
    return rc < 0 ? rc : take_session_output(conn);
}

static void wants_recv_again(zm_conn *conn)
{
    if (!conn->stopped)
        zm_conn_wants_recv_locked(conn);
}

static int raw_arrived(zm_conn *conn)
{
    zm_block *slab = conn->slab;
    size_t at = conn->slab_at;
    conn->slab_at = conn->slab_used;
    if (!conn->peer)
        return 0;
    zm_event event = {
        .kind = ZM_EVENT_MESSAGE, .data = slab->data + at, .size = conn->slab_used - at};
    return event_arrived(conn, &event, zm_block_ref(slab));
}

static void receive_done(zm_op *op, int32_t res)
{
    zm_conn *conn = op->owner;
    zm_socket *s = conn->socket;
    s->moving -= conn->moving;
    conn->moving = false;
    zm_list_remove(&conn->armed_link);
    if (conn->state == ZM_CONN_CLOSING) {
        end_if_done(conn);
        return;
    }
    if (res == -ECANCELED || res == -EINTR || res == -EAGAIN) {
        wants_recv_again(conn); /* moved to another thread, or the thread that armed it is gone */
        return;
    }
    if (res <= 0) {
        broke(conn, res == 0 ? EPIPE : -res);
        return;
    }
    s->stats.bytes_received += (uint64_t) res;
    if (ZM_UNLIKELY(!zm_conn_is_open(conn) && conn->session.config.cookies))
        cookies(s);
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
static int make_room(zm_conn *conn, uint8_t **out_to, size_t *out_size)
{
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
    return 0;
}

/* RCVHWM held, and the application has read since: parses what was left. 0, or < 0: it is gone. */
static int resume(zm_conn *conn)
{
    conn->stopped = false;
    return conn->raw || conn->large || !conn->slab ? 0 : parse_slab(conn);
}

/* Where and how much to receive next. False: not now, or the connection is gone. */
static bool ready_to_receive(zm_conn *conn, uint8_t **out_to, size_t *out_size)
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
        broke(conn, -rc);
        return false;
    }
    zm_socket *s = conn->socket;
    if (conn->large || conn->expects_large)
        s->bulk = conn;
    else if (s->bulk == conn)
        s->bulk = NULL;
    return true;
}

static void arm(zm_conn *conn)
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

static bool pull(zm_conn *conn)
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
    receive_done(&conn->recv_op, n);
    return true;
}

/* --- sending --------------------------------------------------------------------------------- */

/* No memory for what the other side waits for, or is to know: a connection that went on without it
 * would stand still, or miss messages for ever. It breaks where nobody holds on to it. */
static void starve(zm_conn *conn)
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
        free_control(conn, conn->control, conn->control_size);
        conn->control = control;
        conn->control_capacity = capacity;
    }
    memcpy(conn->control + conn->control_size, data, size);
    conn->control_size += size;
    zm_conn_wants_send_locked(conn);
    return 0;
}

static void subscribe(zm_conn *conn, bool subscribe, const uint8_t *topic, size_t size)
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
static bool recoded_room(zm_conn *conn, size_t size)
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
static int recode(zm_conn *conn)
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
            uint64_t big;
            memcpy(&big, header + 1, 8);
            size = (size_t) __builtin_bswap64(big);
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
static int gather(zm_conn *conn)
{
    int n = 0;
    zm_peer *peer = zm_conn_is_open(conn) ? conn->peer : NULL;
    if (ZM_UNLIKELY(conn->socket->beginner) && peer && zm_order_holds_locked(conn->socket)) {
        conn->socket->held = true;
        peer = NULL;
    }
    /* A queue that an earlier connection still sends from waits until that is settled. */
    zm_outq *q = peer && !peer->in_flight_conn ? &peer->out : NULL;
    bool boundary = !q || (q->sent_of_first == 0 && conn->recoded_sent == conn->recoded_size);
    conn->sending_control = conn->sending_queue = 0;
    if (conn->flying_sent == conn->flying_size && conn->control_size && boundary) {
        free_control(conn, conn->flying, conn->flying_size);
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
        conn->vectors[n++] =
            (struct iovec){conn->flying + conn->flying_sent, conn->sending_control};
    }
    if (!q)
        return n;
    if (conn->raw || conn->session.plain_framing) {
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
        if (!zm_outq_waiting(q) || conn->control_size)
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
static bool sends_large(const zm_conn *conn)
{
    const zm_outq *q = conn->peer ? &conn->peer->out : NULL;
    return q && q->count && q->lengths[q->first] > ZM_SLAB_BYTES / 2;
}

static void flush(zm_conn *conn)
{
    if (conn->wants_send) {
        conn->wants_send = false;
        zm_list_remove(&conn->wants_send_link);
    }
    if (conn->starved && conn->state != ZM_CONN_CLOSING) {
        broke(conn, ENOMEM);
        return;
    }
    if (conn->send_op.in_flight || conn->state == ZM_CONN_CLOSING || conn->send_failed)
        return;
    int n = gather(conn);
    if (n < 0) {
        broke(conn, ENOMEM);
        return;
    }
    if (n == 0) {
        if (conn->state == ZM_CONN_DRAINING && all_sent(conn))
            zm_conn_end_locked(conn);
        return;
    }
    if (!conn->unpaced && conn->transport == ZM_TCP && sends_large(conn)) {
        conn->unpaced = true;
        zm_connection_unpace(conn->fd);
    }
    conn->header = (struct msghdr){.msg_iov = conn->vectors, .msg_iovlen = (size_t) n};
    conn->send_op.whole = true;
    zm_driver_send(conn->socket->driver, &conn->send_op, conn->fd, &conn->header);
}

/* The other side takes nothing any more. What it sent before is still to be read, and behind it the
 * receive finds the end. Signs of life are not asked for meanwhile: that one may be far off, when
 * the application does not read. */
static void stop_sending(zm_conn *conn)
{
    conn->send_failed = true;
    conn->control_size = 0;
    if (conn->peer && conn->recoded_size)
        conn->peer->out.submitted = conn->recoded_from;
    stop_timers(conn);
}

static void send_done(zm_op *op, int32_t res)
{
    zm_conn *conn = op->owner;
    zm_socket *s = conn->socket;
    zm_peer *peer = conn->peer;
    if (peer)
        peer->out.submitted = 0;
    if (conn->state == ZM_CONN_CLOSING) {
        if (conn->in_flight_peer)
            settle_in_flight(conn, res);
        end_if_done(conn);
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
            broke(conn, -res);
        return;
    }
    size_t sent = (size_t) res;
    s->stats.bytes_sent += sent;
    size_t control = sent < conn->sending_control ? sent : conn->sending_control;
    conn->flying_sent += control;
    if (conn->flying_sent == conn->flying_size && conn->flying) {
        free_control(conn, conn->flying, conn->flying_size);
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
    if (peer && !zm_conn_is_leaving(conn))
        zm_peer_drained_locked(peer);
    if (conn->control_size || conn->flying_size || (peer && zm_outq_waiting(&peer->out))
        || conn->recoded_sent < conn->recoded_size)
        zm_conn_wants_send_locked(conn);
    else if (conn->state == ZM_CONN_DRAINING)
        zm_conn_end_locked(conn);
}

/* --- timers ---------------------------------------------------------------------------------- */

static void send_ping(zm_conn *conn, const zm_options *o)
{
    zm_session *session = &conn->session;
    set_timer(conn, &conn->heartbeat, o->heartbeat_ivl_ms);
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
static void ping_has_left(zm_conn *conn)
{
    conn->ping = NO_PING;
    if (conn->silence_ms > 0 && !conn->silence.position) {
        conn->unsent = zm_connection_unsent(conn->fd);
        set_timer(conn, &conn->silence, conn->silence_ms);
    }
}

/* Nothing has come for as long as HEARTBEAT_TIMEOUT, or the peer's TTL. Is that not its fault? It
 * is not heard while RCVHWM holds, nor before what it sent was looked at; and as long as it takes
 * what the kernel has for it, it is there. */
static bool not_to_blame(zm_conn *conn)
{
    size_t unsent = zm_connection_unsent(conn->fd);
    bool takes = unsent < conn->unsent;
    conn->unsent = unsent;
    return conn->stopped || takes || zm_connection_unread(conn->fd) > 0;
}

/* Nothing has come for `again_ms`. */
static void unheard(zm_conn *conn, zm_timer *timer, int again_ms)
{
    if (zm_conn_is_leaving(conn))
        zm_conn_close_locked(conn);
    else if (not_to_blame(conn))
        set_timer(conn, timer, again_ms);
    else
        broke(conn, ETIMEDOUT);
}

static void silence_due(zm_timer *timer)
{
    zm_conn *conn = timer->owner;
    unheard(conn, timer, conn->silence_ms);
}

static void ttl_due(zm_timer *timer)
{
    zm_conn *conn = timer->owner;
    unheard(conn, timer, conn->ttl_ms);
}

static void heartbeat_due(zm_timer *timer)
{
    zm_conn *conn = timer->owner;
    ZM_ASSERT(conn->state == ZM_CONN_ACTIVE);
    send_ping(conn, &conn->endpoint->options);
}

static void handshake_due(zm_timer *timer)
{
    zm_conn *conn = timer->owner;
    ZM_ASSERT(conn->state == ZM_CONN_HANDSHAKE);
    broke(conn, EAGAIN);
}

static void linger_due(zm_timer *timer)
{
    zm_conn *conn = timer->owner;
    ZM_ASSERT(zm_conn_is_leaving(conn));
    zm_conn_close_locked(conn);
}

/* --- for the drive and the peers ------------------------------------------------------------- */

static const uint8_t *routing_id(const zm_conn *conn, size_t *out_size)
{
    *out_size = conn->raw ? 0 : conn->session.peer_routing_id_size;
    return conn->session.peer_routing_id;
}

static void drop(zm_conn *conn)
{
    detach(conn);
    zm_conn_close_locked(conn);
}

static const zm_conn_ops conn_ops = {
    .arm = arm,
    .pull = pull,
    .flush = flush,
    .subscribe = subscribe,
    .routing_id = routing_id,
    .drop = drop,
};
