/* Connecters: what connect() made over tcp and ipc. One connects, and again after every loss, until
 * it is told or decides to stop. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "../base/check.h"
#include "../base/clock.h"
#include "../base/fds.h"
#include "../base/names.h"
#include "../base/timer.h"
#include "../connection/connection.h"
#include "../connection/zap.h"
#include "../context/context.h"
#include "../driver/address.h"
#include "../driver/driver.h"
#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "endpoint.h"
#include "monitor.h"
#include "options.h"
#include "order.h"
#include "resolver.h"
#include "socket.h"
#include "socks.h"
#include "wakeup.h"

/* A connecter that is refused takes messages for so long, and they are lost: a program that
 * connects and sends at once does not see how fast the refusal came. libzmq's looks for ends are
 * about as far apart. */
#define REFUSED_MS 2

static void start_connect(zm_endpoint *ep) ZM_LOCKED;
static void connected(zm_endpoint *ep, int32_t res, bool timed_out) ZM_LOCKED;
static void resolved(void *owner, const zm_address *address, int result) ZM_LOCKED;
static void lost(zm_endpoint *ep, bool reconnect) ZM_LOCKED;
static const zm_endpoint_ops connecter_ops;
static const zm_conn_owner connecter_owner = {
    .lost = lost, .ask = zm_zap_ask_locked, .forget = zm_zap_free_locked};

static bool connects_already(const zm_socket *s, const char *text) ZM_LOCKED
{
    zm_name *name = zm_names_find(&s->endpoint_names, text);
    for (; name; name = zm_names_next(name)) {
        zm_endpoint *other = ZM_CONTAINER(name, zm_endpoint, by_text);
        if (other->kind == ZM_CONNECTER && other->state != ZM_ENDPOINT_CLOSING && !other->lingering)
            return true;
    }
    return false;
}

int zm_connecter_connect_locked(zm_socket *s, const zm_address *address)
{
    if (s->pattern->connects_once && connects_already(s, address->text))
        return 0;
    int rc = zm_socket_need_driver_locked(s);
    if (rc < 0)
        return rc;
    if (zm_wants_taken_id(s))
        return -EINVAL;
    zm_endpoint *ep = zm_endpoint_new_locked(s, ZM_CONNECTER, &connecter_ops, address);
    if (!ep)
        return -ENOMEM;
    zm_bytes *wanted = &s->options.connect_routing_id;
    ep->wanted_id = wanted->data;
    ep->wanted_id_size = wanted->size;
    *wanted = (zm_bytes){0};
    if (!ep->options.immediate) {
        ep->peer = zm_peer_new_locked(s);
        if (!ep->peer) {
            zm_endpoint_free_locked(ep);
            return -ENOMEM;
        }
        ep->peer->endpoint = ep;
        ep->peer->conflate = zm_conflates(s, &ep->options);
        ep->peer->raw = zm_endpoint_is_raw(ep);
        zm_endpoint_give_id_locked(ep, ep->peer);
        zm_peer_attach_locked(ep->peer);
    }
    memcpy(s->last_endpoint, ep->text, sizeof s->last_endpoint);
    ZM_DEBUG_ASSERT(s->open && ep->state == ZM_ENDPOINT_WAITING);
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(ep));
    start_connect(ep);
    zm_order_begin_locked(s);
    zm_order_last_locked(s);
    return 0;
}

/* The endpoint is over for good: nothing is sent or received through it any more. */
static void give_up(zm_endpoint *ep) ZM_LOCKED
{
    zm_peer *peer = ep->peer;
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(ep));
    ZM_DEBUG_ASSERT(!ep->conn);
    if (peer) {
        peer->endpoint = NULL;
        ep->peer = NULL;
        zm_peer_end_locked(peer);
        zm_socket_notify_locked(ep->socket);
    }
    zm_endpoint_close_locked(ep);
}

/* Unless RECONNECT_IVL says never: then what is left to send is given up. */
static void retry_later(zm_endpoint *ep) ZM_LOCKED
{
    zm_socket *s = ep->socket;
    const zm_options *o = &ep->options;
    ZM_DEBUG_ASSERT(ep->state == ZM_ENDPOINT_WAITING && ep->fd < 0);
    int64_t delay = o->reconnect_ivl_ms;
    if (delay <= 0) {
        if (ep->lingering)
            give_up(ep);
        return;
    }
    if (o->reconnect_ivl_max_ms > 0) {
        int shift = ep->attempts < 30 ? ep->attempts : 30;
        delay <<= shift;
        if (delay > o->reconnect_ivl_max_ms)
            delay = o->reconnect_ivl_max_ms;
        ep->attempts++;
    } else {
        uint32_t dice = 0;
        if (getrandom(&dice, sizeof dice, GRND_NONBLOCK) != sizeof dice)
            dice = (uint32_t) zm_now_ns();
        delay += dice % (uint32_t) o->reconnect_ivl_ms;
    }
    zm_monitor_event(s, ZM_CONNECT_RETRIED, (uint32_t) delay, ep->text);
    zm_timer_set(&s->timers, &ep->retry, zm_now_ns() + delay * ZM_MS);
}

/* An attempt to connect came to nothing: counts it. Another may follow. */
static void attempt_failed(zm_endpoint *ep, int error) ZM_LOCKED
{
    ep->socket->stats.connects_failed++;
    ep->socket->stats.last_connect_error = error;
}

static int start_resolving(zm_endpoint *ep) ZM_LOCKED
{
    zm_address address = ep->address;
    ZM_DEBUG_ASSERT(ep->state == ZM_ENDPOINT_WAITING && !ep->resolution);
    if (zm_socks_wanted(ep) && zm_socks_address(ep, &address) < 0)
        return -EINVAL;
    zm_resolution *resolution;
    int rc = zm_resolution_start(ep->socket, &address, ep->options.tuning.ipv6, ep, resolved,
                                 &resolution);
    if (rc == 0) {
        ep->resolution = resolution;
        zm_endpoint_become_locked(ep, ZM_ENDPOINT_RESOLVING);
    }
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(ep));
    return rc;
}

/* To the peer, or to the proxy on the way to it. */
static void open_connection(zm_endpoint *ep, const zm_address *address) ZM_LOCKED
{
    zm_socket *s = ep->socket;
    int fd;
    ZM_DEBUG_ASSERT(ep->fd < 0 && ep->state == ZM_ENDPOINT_WAITING);
    int rc = zm_connecter_open(address, &ep->options.tuning, &fd);
    if (rc < 0) {
        attempt_failed(ep, -rc);
        retry_later(ep);
        return;
    }
    ep->fd = fd;
    if (address->transport == ZM_IPC) {
        /* Not as a request: io_uring would ask again and again while the listener's backlog is
         * full. */
        connected(ep, zm_connecter_local(address, fd), false);
        return;
    }
    zm_monitor_event(s, ZM_CONNECT_DELAYED, EINPROGRESS, ep->text);
    s->handshakes++;
    zm_endpoint_become_locked(ep, ZM_ENDPOINT_CONNECTING);
    ep->to = address->peer;
    zm_driver_connect(s->driver, &ep->op, ep->fd, (struct sockaddr *) &ep->to, address->peer_size);
    if (ep->options.connect_timeout_ms > 0)
        zm_timer_set(&s->timers, &ep->timeout,
                     zm_now_ns() + ep->options.connect_timeout_ms * ZM_MS);
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(ep));
}

static void start_connect(zm_endpoint *ep)
{
    if (ep->state != ZM_ENDPOINT_WAITING)
        return;
    ZM_ASSERT(!ep->op.in_flight && !ep->conn && !ep->resolution);
    if (ep->address.resolved && !zm_socks_wanted(ep)) {
        open_connection(ep, &ep->address);
        return;
    }
    int rc = start_resolving(ep);
    if (rc < 0) {
        attempt_failed(ep, -rc);
        retry_later(ep);
    }
}

static void resolved(void *owner, const zm_address *address, int result)
{
    zm_endpoint *ep = owner;
    ZM_DEBUG_ASSERT(ep->state == ZM_ENDPOINT_RESOLVING);
    ep->resolution = NULL;
    zm_endpoint_become_locked(ep, ZM_ENDPOINT_WAITING);
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(ep));
    if (result == 0) {
        open_connection(ep, address); /* names are looked up anew at each attempt */
    } else {
        attempt_failed(ep, -result);
        retry_later(ep);
    }
}

/* `timed_out`: where it was cancelled, CONNECT_TIMEOUT did it. */
static void connected(zm_endpoint *ep, int32_t res, bool timed_out)
{
    zm_socket *s = ep->socket;
    int fd = ep->fd;
    ZM_DEBUG_ASSERT(ep->state == ZM_ENDPOINT_WAITING && !ep->conn);
    ZM_DEBUG_ASSERT(fd >= 0 && !ep->op.in_flight);
    if (zm_socks_busy(ep)) {
        int rc = zm_socks_step_locked(ep, res);
        if (rc == 0) {
            s->handshakes++;
            zm_endpoint_become_locked(ep, ZM_ENDPOINT_CONNECTING);
            return;
        }
        res = rc == 1 ? 0 : rc;
    } else if (res == 0 && zm_socks_wanted(ep)) {
        s->handshakes++;
        zm_endpoint_become_locked(ep, ZM_ENDPOINT_CONNECTING);
        zm_socks_start_locked(ep);
        if (!ep->timeout.position && ep->options.handshake_ivl_ms > 0)
            zm_timer_set(&s->timers, &ep->timeout,
                         zm_now_ns() + ep->options.handshake_ivl_ms * ZM_MS);
        return;
    }
    zm_timer_stop(&s->timers, &ep->timeout);
    ep->fd = -1;
    if (res == 0) {
        zm_monitor_event(s, ZM_CONNECTED, (uint32_t) fd, ep->text);
        ep->attempts = 0;
        s->stats.reconnects += ep->was_connected;
        ep->was_connected = true;
        int rc = zm_conn_open_locked(s, ep, &connecter_owner, ep->address.transport, fd);
        if (rc < 0) {
            attempt_failed(ep, -rc);
            retry_later(ep);
        }
        return;
    }
    if (res == -ECANCELED && !timed_out) {
        zm_fd_close(fd); /* the thread that started it is gone */
        start_connect(ep);
        return;
    }
    attempt_failed(ep, res == -ECANCELED ? ETIMEDOUT : -res);
    zm_monitor_event(s, ZM_CLOSED, (uint32_t) fd, ep->text);
    zm_fd_close(fd);
    if (res == -ECONNREFUSED && ep->options.reconnect_stop & ZM_RECONNECT_STOP_REFUSED)
        give_up(ep);
    else
        retry_later(ep);
}

static void connect_done(zm_op *op, int32_t res) ZM_LOCKED
{
    zm_endpoint *ep = op->owner;
    bool timed_out = ep->state == ZM_ENDPOINT_TIMED_OUT;
    ZM_DEBUG_ASSERT(timed_out || ep->state == ZM_ENDPOINT_CONNECTING
                    || ep->state == ZM_ENDPOINT_CLOSING);
    ZM_DEBUG_ASSERT(!op->in_flight && ep->socket->handshakes > 0);
    ep->socket->handshakes--;
    zm_endpoint_become_locked(ep, ZM_ENDPOINT_WAITING);
    if (ep->state == ZM_ENDPOINT_CLOSING)
        zm_endpoint_free_if_done_locked(ep);
    else
        connected(ep, res, timed_out);
}

static void lost(zm_endpoint *ep, bool reconnect)
{
    if (ep->state == ZM_ENDPOINT_CLOSING)
        return;
    bool queued = ep->peer && (zm_outq_waiting(&ep->peer->out) || ep->peer->in_flight_conn);
    if (!reconnect && ep->peer && !ep->lingering)
        zm_timer_set(&ep->socket->timers, &ep->linger, zm_now_ns() + REFUSED_MS * ZM_MS);
    else if (!reconnect || ep->options.reconnect_ivl_ms <= 0 || (ep->lingering && !queued))
        give_up(ep);
    else
        retry_later(ep);
}

static void linger_due(zm_timer *timer) ZM_LOCKED
{
    zm_endpoint *ep = timer->owner;
    if (ep->conn)
        zm_conn_end_locked(ep->conn);
    else
        give_up(ep);
}

static void timeout_due(zm_timer *timer) ZM_LOCKED
{
    zm_endpoint *ep = timer->owner;
    ZM_ASSERT(ep->state == ZM_ENDPOINT_CONNECTING);
    zm_endpoint_become_locked(ep, ZM_ENDPOINT_TIMED_OUT);
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(ep));
    if (ep->op.in_flight)
        zm_driver_cancel(ep->socket->driver, &ep->op);
}

/* Lets go of a connecter, sending what is queued within `linger_ms`. */
static void linger_connecter(zm_endpoint *ep, int linger_ms) ZM_LOCKED
{
    zm_socket *s = ep->socket;
    zm_peer *peer = ep->peer;
    zm_conn *conn = ep->conn;
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(ep));
    ZM_DEBUG_ASSERT(!conn || conn->peer == peer || !conn->peer);
    if (peer) {
        zm_peer_rollback_locked(peer);
        zm_peer_detach_locked(peer);
    }
    bool queued = peer && (zm_outq_waiting(&peer->out) || peer->in_flight_conn);
    bool trying = ep->state != ZM_ENDPOINT_WAITING
                  || (ep->retry.position && ep->options.reconnect_ivl_ms > 0);
    bool active = conn && zm_conn_is_open_locked(conn);
    if (linger_ms != 0 && (active || (queued && trying))) {
        ep->lingering = true;
        if (linger_ms > 0)
            zm_timer_set(&s->timers, &ep->linger, zm_now_ns() + linger_ms * ZM_MS);
        if (active)
            zm_conn_finish_locked(conn);
        return;
    }
    if (conn) {
        zm_conn_end_locked(conn);
        return;
    }
    peer = ep->peer;
    zm_endpoint_close_locked(ep);
    if (peer && peer->in_flight_conn)
        zm_peer_end_locked(peer);
    else if (peer)
        zm_peer_free_locked(peer);
}

static void retry_due(zm_timer *timer) ZM_LOCKED
{
    start_connect(timer->owner);
}

static const zm_endpoint_ops connecter_ops = {
    .done = connect_done,
    .retry_due = retry_due,
    .timeout_due = timeout_due,
    .linger_due = linger_due,
    .let_go = linger_connecter,
};
