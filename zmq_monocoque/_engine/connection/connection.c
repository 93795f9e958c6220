/* Connections: a descriptor, its ZMTP session, and the two ends of its peer's queues. This file
 * opens them and has their timers; the others beside it are what they do. */
#include "connection.h"

#include <errno.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/fds.h"
#include "../base/list.h"
#include "../base/timer.h"
#include "../context/process.h"
#include "../driver/address.h"
#include "../driver/driver.h"
#include "../socket/endpoint.h"
#include "../socket/socket.h"
#include "connection_private.h"

/* Nothing has come for as long as HEARTBEAT_TIMEOUT, or the peer's TTL. Is that not its fault? It
 * is not heard while RCVHWM holds, nor before what it sent was looked at; and as long as it takes
 * what the kernel has for it, it is there. */
static bool not_to_blame(zm_conn *conn) ZM_LOCKED
{
    size_t unsent = zm_connection_unsent(conn->fd);
    bool takes = unsent < conn->unsent;
    conn->unsent = unsent;
    return conn->stopped || takes || zm_connection_unread(conn->fd) > 0;
}

/* Nothing has come for `again_ms`. */
static void unheard(zm_conn *conn, zm_timer *timer, int again_ms) ZM_LOCKED
{
    if (zm_conn_is_leaving_locked(conn))
        zm_conn_close_locked(conn);
    else if (not_to_blame(conn))
        zm_conn_set_timer(conn, timer, again_ms);
    else
        zm_conn_broke_locked(conn, ETIMEDOUT);
}

static void silence_due(zm_timer *timer) ZM_LOCKED
{
    zm_conn *conn = timer->owner;
    unheard(conn, timer, conn->silence_ms);
}

static void ttl_due(zm_timer *timer) ZM_LOCKED
{
    zm_conn *conn = timer->owner;
    unheard(conn, timer, conn->ttl_ms);
}

static void heartbeat_due(zm_timer *timer) ZM_LOCKED
{
    zm_conn *conn = timer->owner;
    ZM_ASSERT(conn->state == ZM_CONN_ACTIVE);
    zm_conn_send_ping_locked(conn, &conn->endpoint->options);
}

static void handshake_due(zm_timer *timer) ZM_LOCKED
{
    zm_conn *conn = timer->owner;
    ZM_ASSERT(conn->state == ZM_CONN_HANDSHAKE);
    zm_conn_broke_locked(conn, EAGAIN);
}

static void linger_due(zm_timer *timer) ZM_LOCKED
{
    zm_conn *conn = timer->owner;
    ZM_ASSERT(zm_conn_is_leaving_locked(conn));
    zm_conn_close_locked(conn);
}

static const uint8_t *routing_id(const zm_conn *conn, size_t *out_size) ZM_LOCKED
{
    *out_size = conn->raw ? 0 : conn->session.peer_routing_id_size;
    return conn->session.peer_routing_id;
}

static const zm_conn_ops conn_ops = {
    .arm = zm_conn_arm_locked,
    .pull = zm_conn_pull_locked,
    .flush = zm_conn_flush_locked,
    .subscribe = zm_conn_subscribe_locked,
    .routing_id = routing_id,
    .drop = zm_conn_drop_locked,
};

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = zm_alloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

int zm_conn_open_locked(zm_socket *s, zm_endpoint *endpoint, const zm_conn_owner *owner,
                        zm_transport transport, int fd)
{
    ZM_DEBUG_ASSERT(fd >= 0 && s->driver);
    ZM_DEBUG_ASSERT(endpoint->state == ZM_ENDPOINT_WAITING && !endpoint->conn);
    zm_conn *conn = zm_calloc(sizeof *conn);
    int rc = -ENOMEM;
    if (!conn)
        goto no_memory;
    conn->ops = &conn_ops;
    conn->ended.reap = zm_conn_free_locked;
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
    conn->recv_op = (zm_op){.done = zm_conn_receive_done_locked, .owner = conn};
    conn->send_op = (zm_op){.done = zm_conn_send_done_locked, .owner = conn};
    conn->handshake = (zm_timer){.due = handshake_due, .owner = conn};
    conn->heartbeat = (zm_timer){.due = heartbeat_due, .owner = conn};
    conn->silence = (zm_timer){.due = silence_due, .owner = conn};
    conn->ttl = (zm_timer){.due = ttl_due, .owner = conn};
    conn->linger = (zm_timer){.due = linger_due, .owner = conn};
    zm_connection_tune(fd, transport, &endpoint->options.tuning);
    conn->text = copy_text(endpoint->text);
    if (!conn->text)
        goto no_session;
    rc = zm_timers_reserve(&s->timers, ZM_CONN_TIMERS);
    if (rc < 0)
        goto no_session;
    if (!conn->raw && (rc = zm_conn_start_session_locked(conn, &endpoint->options)) < 0)
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
        zm_endpoint_become_locked(endpoint, ZM_ENDPOINT_CONNECTED);
    } else {
        zm_list_append(&s->handshaking, &conn->handshaking_link);
        s->handshaking_count++;
    }
    if (conn->raw) {
        zm_conn_ready_locked(conn); /* it may be over already, and its endpoint with it */
    } else {
        zm_conn_take_session_output_locked(conn);
        if (endpoint->options.handshake_ivl_ms > 0)
            zm_conn_set_timer(conn, &conn->handshake, endpoint->options.handshake_ivl_ms);
    }
    zm_conn_wants_recv_locked(conn);
    /* A peer that connects speaks at once: what it said is answered together with our first
     * bytes. */
    if (!conn->raw && endpoint->kind == ZM_LISTENER)
        zm_conn_pull_locked(conn);
    ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn));
    return 0;

no_timers:
    zm_timers_release(&s->timers, ZM_CONN_TIMERS);
no_session:
    zm_free(conn->text);
    zm_free(conn);
no_memory:
    zm_fd_close(fd);
    return rc;
}
