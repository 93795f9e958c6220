/* Endpoints: what bind() and connect() made. A listener accepts; a connecter connects, and again
 * after every loss, until it is told or decides to stop. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* A connecter that is refused takes messages for so long, and they are lost: a program that
 * connects and sends at once does not see how fast the refusal came. libzmq's looks for ends are
 * about as far apart. */
#define REFUSED_MS 2

/* After "out of descriptors", "no listening socket" (USE_FD): asked again at once, the kernel would
 * say the same. */
enum { ACCEPT_PAUSE_MS = 100, ACCEPT_SOON_MS = 1 };

static void start_connect(zm_endpoint *ep);
static void connected(zm_endpoint *ep, int32_t res);
static void resolved(void *owner, const zm_address *address, int result);
static void start_accept(zm_endpoint *ep);
static void accept_done(zm_op *op, int32_t res);
static void connect_done(zm_op *op, int32_t res);
static void retry_due(zm_timer *timer);
static void timeout_due(zm_timer *timer);
static void linger_due(zm_timer *timer);

/* --- life ------------------------------------------------------------------------------------ */

zm_endpoint *zm_endpoint_new_locked(zm_socket *s, zm_endpoint_kind kind,
                                    const zm_address *address)
{
    zm_endpoint *ep = zm_calloc(sizeof *ep);
    if (!ep)
        return NULL;
    ep->socket = s;
    ep->kind = kind;
    ep->address = *address;
    ep->fd = -1;
    ep->op = (zm_op){.done = kind == ZM_LISTENER ? accept_done : connect_done, .owner = ep};
    ep->retry = (zm_timer){.due = retry_due, .owner = ep};
    ep->timeout = (zm_timer){.due = timeout_due, .owner = ep};
    ep->linger = (zm_timer){.due = linger_due, .owner = ep};
    memcpy(ep->text, address->text, sizeof ep->text);
    if (zm_options_copy(&ep->options, &s->options) < 0) {
        zm_free(ep);
        return NULL;
    }
    if (zm_names_reserve(&s->endpoint_names) < 0 || zm_timers_reserve(&s->timers, 3) < 0) {
        zm_options_fini(&ep->options);
        zm_free(ep);
        return NULL;
    }
    zm_list_init(&ep->conns);
    zm_list_append(&s->endpoints, &ep->link);
    if (kind != ZM_LISTENER) /* whose text is known when it is bound */
        zm_names_add(&s->endpoint_names, &ep->by_text, ep->text);
    return ep;
}

void zm_endpoint_free_locked(zm_endpoint *ep)
{
    zm_socket *s = ep->socket;
    zm_timer_stop(&s->timers, &ep->retry);
    zm_timer_stop(&s->timers, &ep->timeout);
    zm_timer_stop(&s->timers, &ep->linger);
    zm_timers_release(&s->timers, 3);
    zm_list_remove(&ep->link);
    zm_names_remove(&s->endpoint_names, &ep->by_text);
    zm_options_fini(&ep->options);
    zm_free(ep->wanted_id);
    zm_free(ep);
}

static void free_if_done(zm_endpoint *ep)
{
    if (!ep->closing || ep->op.in_flight)
        return;
    if (ep->fd >= 0) {
        zm_monitor_event(ep->socket, ZM_CLOSED, (uint32_t) ep->fd, ep->text);
        zm_fd_close(ep->fd);
    }
    if (ep->directory[0])
        zm_listener_remove_files(ep->text, ep->directory);
    zm_endpoint_free_locked(ep);
}

void zm_endpoint_close_locked(zm_endpoint *ep)
{
    zm_socket *s = ep->socket;
    if (ep->closing)
        return;
    ep->closing = true;
    zm_resolution_drop(ep->resolution);
    ep->resolution = NULL;
    zm_timer_stop(&s->timers, &ep->retry);
    zm_timer_stop(&s->timers, &ep->timeout);
    zm_timer_stop(&s->timers, &ep->linger);
    if (ep->peer) {
        ep->peer->endpoint = NULL;
        ep->peer = NULL;
    }
    if (ep->op.in_flight)
        zm_driver_cancel(s->driver, &ep->op);
    free_if_done(ep);
}

/* --- bind ------------------------------------------------------------------------------------ */

static int listen_locked(zm_socket *s, const zm_address *address)
{
    int rc = zm_socket_need_driver_locked(s);
    if (rc < 0)
        return rc;
    zm_endpoint *ep = zm_endpoint_new_locked(s, ZM_LISTENER, address);
    if (!ep)
        return -ENOMEM;
    int fd;
    rc = zm_listener_open(address, &ep->options.tuning, ep->options.use_fd, &fd, ep->text,
                          ep->directory);
    if (rc < 0) {
        zm_monitor_event(s, ZM_CLOSED, (uint32_t) -1, "");
        zm_monitor_event(s, ZM_BIND_FAILED, (uint32_t) -rc, address->name);
        zm_endpoint_free_locked(ep);
        return rc;
    }
    ep->fd = fd;
    zm_names_add(&s->endpoint_names, &ep->by_text, ep->text);
    memcpy(s->last_endpoint, ep->text, sizeof s->last_endpoint);
    zm_monitor_event(s, ZM_LISTENING, (uint32_t) ep->fd, ep->text);
    start_accept(ep);
    return 0;
}

static void start_accept(zm_endpoint *ep)
{
    if (!ep->op.in_flight && !ep->closing)
        zm_driver_accept(ep->socket->driver, &ep->op, ep->fd);
}

static bool in_list(const int32_t *list, size_t count, int32_t value)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == value)
            return true;
    return false;
}

static bool may_connect(const zm_endpoint *ep, int fd)
{
    const zm_options *o = &ep->options;
    if (ep->address.transport == ZM_TCP) {
        for (size_t i = 0; i < o->tcp_filter_count; i++)
            if (zm_cidr_match(&o->tcp_filters[i], fd))
                return true;
        return o->tcp_filter_count == 0;
    }
    if (!o->ipc_uid_count && !o->ipc_gid_count && !o->ipc_pid_count)
        return true;
    char text[128];
    int uid, gid, pid;
    zm_peer_address(fd, ZM_IPC, text, sizeof text);
    if (sscanf(text, "localhost:%d:%d:%d", &uid, &gid, &pid) != 3)
        return false;
    return in_list(o->ipc_uids, o->ipc_uid_count, uid)
           || in_list(o->ipc_gids, o->ipc_gid_count, gid)
           || in_list(o->ipc_pids, o->ipc_pid_count, pid);
}

static void accepted(zm_endpoint *ep, int32_t res)
{
    zm_socket *s = ep->socket;
    if (res >= 0) {
        if (!may_connect(ep, res)) {
            zm_fd_close(res);
            zm_monitor_event(s, ZM_ACCEPT_FAILED, EACCES, ep->text);
        } else {
            /* The oldest goes, not the newest: who holds connections open without a word would
             * else keep everybody out. */
            while (s->handshaking_count >= (uint64_t) ep->options.limits.handshakes)
                zm_conn_drop_handshaking_locked(s);
            zm_monitor_event(s, ZM_ACCEPTED, (uint32_t) res, ep->text);
            int rc = zm_conn_open_locked(s, ep, ep->address.transport, res);
            if (rc < 0)
                zm_monitor_event(s, ZM_ACCEPT_FAILED, (uint32_t) -rc, ep->text);
        }
    } else if (res != -ECANCELED && res != -ECONNABORTED && res != -EINTR && res != -EAGAIN) {
        zm_monitor_event(s, ZM_ACCEPT_FAILED, (uint32_t) -res, ep->text);
        /* A connection in its handshake gives its descriptor to the one that needs it. The kernel
         * wants a descriptor before it looks whether there is anybody. */
        struct pollfd line = {.fd = ep->fd, .events = POLLIN};
        bool gave_way = (res == -EMFILE || res == -ENFILE) && zm_poll_until(&line, 1, 0) > 0
                        && zm_conn_drop_handshaking_locked(s);
        int64_t pause = gave_way ? ACCEPT_SOON_MS : ACCEPT_PAUSE_MS;
        zm_timer_set(&s->timers, &ep->retry, zm_now_ns() + pause * ZM_MS);
        return;
    }
    start_accept(ep);
}

static void accept_done(zm_op *op, int32_t res)
{
    zm_endpoint *ep = op->owner;
    if (!ep->closing) {
        accepted(ep, res);
        return;
    }
    if (res >= 0)
        zm_fd_close(res);
    free_if_done(ep);
}

/* --- connect --------------------------------------------------------------------------------- */

static bool connects_already(const zm_socket *s, const char *text)
{
    zm_name *name = zm_names_find(&s->endpoint_names, text);
    for (; name; name = zm_names_next(name)) {
        zm_endpoint *other = ZM_CONTAINER(name, zm_endpoint, by_text);
        if (other->kind == ZM_CONNECTER && !other->closing && !other->lingering)
            return true;
    }
    return false;
}

static int connect_locked(zm_socket *s, const zm_address *address)
{
    if (s->pattern->connects_once && connects_already(s, address->text))
        return 0;
    int rc = zm_socket_need_driver_locked(s);
    if (rc < 0)
        return rc;
    if (zm_wants_taken_id(s))
        return -EINVAL;
    zm_endpoint *ep = zm_endpoint_new_locked(s, ZM_CONNECTER, address);
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
        zm_endpoint_give_id(ep, ep->peer);
        zm_peer_attach_locked(ep->peer);
    }
    memcpy(s->last_endpoint, ep->text, sizeof s->last_endpoint);
    start_connect(ep);
    zm_order_begin_locked(s);
    return 0;
}

bool zm_endpoint_is_raw(const zm_endpoint *ep)
{
    return ep->socket->pattern->raw || ep->options.router_raw;
}

void zm_endpoint_give_id(zm_endpoint *ep, zm_peer *peer)
{
    peer->wanted_id = ep->wanted_id;
    peer->wanted_id_size = ep->wanted_id_size;
    ep->wanted_id = NULL;
    ep->wanted_id_size = 0;
}

/* The endpoint is over for good: nothing is sent or received through it any more. */
static void give_up(zm_endpoint *ep)
{
    zm_peer *peer = ep->peer;
    if (peer) {
        peer->endpoint = NULL;
        ep->peer = NULL;
        zm_peer_end_locked(peer);
        zm_socket_notify_locked(ep->socket);
    }
    zm_endpoint_close_locked(ep);
}

/* Unless RECONNECT_IVL says never: then what is left to send is given up. */
static void retry_later(zm_endpoint *ep)
{
    zm_socket *s = ep->socket;
    const zm_options *o = &ep->options;
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
static void attempt_failed(zm_endpoint *ep, int error)
{
    ep->socket->stats.connects_failed++;
    ep->socket->stats.last_connect_error = error;
}

static int start_resolving(zm_endpoint *ep)
{
    zm_address address = ep->address;
    if (zm_socks_wanted(ep) && zm_socks_address(ep, &address) < 0)
        return -EINVAL;
    zm_resolution *resolution;
    int rc = zm_resolution_start(ep->socket, &address, ep->options.tuning.ipv6, ep, resolved,
                                 &resolution);
    if (rc == 0)
        ep->resolution = resolution;
    return rc;
}

/* To the peer, or to the proxy on the way to it. */
static void open_connection(zm_endpoint *ep, const zm_address *address)
{
    zm_socket *s = ep->socket;
    int fd;
    int rc = zm_connecter_open(address, &ep->options.tuning, &fd);
    if (rc < 0) {
        attempt_failed(ep, -rc);
        retry_later(ep);
        return;
    }
    ep->fd = fd;
    ep->timed_out = false;
    if (address->transport == ZM_IPC) {
        /* Not as a request: io_uring would ask again and again while the listener's backlog is
         * full. */
        connected(ep, zm_connecter_local(address, fd));
        return;
    }
    zm_monitor_event(s, ZM_CONNECT_DELAYED, EINPROGRESS, ep->text);
    s->handshakes++;
    ep->to = address->peer;
    zm_driver_connect(s->driver, &ep->op, ep->fd, (struct sockaddr *) &ep->to,
                      address->peer_size);
    if (ep->options.connect_timeout_ms > 0)
        zm_timer_set(&s->timers, &ep->timeout,
                     zm_now_ns() + ep->options.connect_timeout_ms * ZM_MS);
}

static void start_connect(zm_endpoint *ep)
{
    if (ep->op.in_flight || ep->closing || ep->conn || ep->resolution)
        return;
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
    ep->resolution = NULL;
    if (result == 0) {
        open_connection(ep, address); /* names are looked up anew at each attempt */
    } else {
        attempt_failed(ep, -result);
        retry_later(ep);
    }
}

static void connected(zm_endpoint *ep, int32_t res)
{
    zm_socket *s = ep->socket;
    int fd = ep->fd;
    if (zm_socks_busy(ep)) {
        int rc = zm_socks_step(ep, res);
        if (rc == 0) {
            s->handshakes++;
            return;
        }
        res = rc == 1 ? 0 : rc;
    } else if (res == 0 && zm_socks_wanted(ep)) {
        s->handshakes++;
        zm_socks_start(ep);
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
        int rc = zm_conn_open_locked(s, ep, ep->address.transport, fd);
        if (rc < 0) {
            attempt_failed(ep, -rc);
            retry_later(ep);
        }
        return;
    }
    if (res == -ECANCELED && !ep->timed_out) {
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

static void connect_done(zm_op *op, int32_t res)
{
    zm_endpoint *ep = op->owner;
    ep->socket->handshakes--;
    if (ep->closing)
        free_if_done(ep);
    else
        connected(ep, res);
}

void zm_endpoint_lost_locked(zm_endpoint *ep, bool reconnect)
{
    if (ep->closing)
        return;
    bool queued = ep->peer && (zm_outq_waiting(&ep->peer->out) || ep->peer->in_flight_conn);
    if (!reconnect && ep->peer && !ep->lingering)
        zm_timer_set(&ep->socket->timers, &ep->linger, zm_now_ns() + REFUSED_MS * ZM_MS);
    else if (!reconnect || ep->options.reconnect_ivl_ms <= 0 || (ep->lingering && !queued))
        give_up(ep);
    else
        retry_later(ep);
}

static void linger_due(zm_timer *timer)
{
    zm_endpoint *ep = timer->owner;
    if (ep->conn)
        zm_conn_end_locked(ep->conn);
    else
        give_up(ep);
}

static void timeout_due(zm_timer *timer)
{
    zm_endpoint *ep = timer->owner;
    ep->timed_out = true;
    if (ep->op.in_flight)
        zm_driver_cancel(ep->socket->driver, &ep->op);
}

static void retry_due(zm_timer *timer)
{
    zm_endpoint *ep = timer->owner;
    if (ep->kind == ZM_LISTENER)
        start_accept(ep);
    else
        start_connect(ep);
}

/* --- both ------------------------------------------------------------------------------------ */

int zm_endpoint_open(int64_t handle, const char *text, bool bind, bool brief)
{
    if (!zm_order_settle(false, brief))
        return ZM_LATER;
    zm_socket *s;
    int rc = zm_socket_lock_for(handle, brief, &s);
    if (rc < 0)
        return rc;
    rc = zm_socket_enter_locked(s);
    bool ipv6 = s->options.tuning.ipv6;
    zm_lock_give(&s->lock);
    if (rc < 0)
        return rc;
    zm_address address;
    if (brief && bind && zm_address_asks(text))
        return ZM_LATER;
    rc = zm_address_parse(text, bind, ipv6, &address);
    if (rc < 0)
        return rc;
    rc = zm_socket_lock_for(handle, brief, &s);
    if (rc < 0)
        return rc;
    rc = zm_socket_enter_locked(s);
    if (rc == 0) {
        if (address.transport == ZM_INPROC)
            rc = bind ? zm_inproc_bind_locked(s, &address) : zm_inproc_connect_locked(s, &address);
        else
            rc = bind ? listen_locked(s, &address) : connect_locked(s, &address);
    }
    if (s->driver)
        zm_drive_once_locked(s);
    zm_lock_give(&s->lock);
    return rc;
}

/* Lets go of a connecter, sending what is queued within `linger_ms`. */
static void linger_connecter(zm_endpoint *ep, int linger_ms)
{
    zm_socket *s = ep->socket;
    zm_peer *peer = ep->peer;
    zm_conn *conn = ep->conn;
    if (peer) {
        zm_peer_rollback(peer);
        zm_peer_detach_locked(peer);
    }
    bool queued = peer && (zm_outq_waiting(&peer->out) || peer->in_flight_conn);
    bool trying = conn || ep->op.in_flight || ep->resolution
                  || (ep->retry.position && ep->options.reconnect_ivl_ms > 0);
    bool active = conn && conn->active;
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

static void close_listener(zm_endpoint *ep, int linger_ms)
{
    /* Its connections go with it (S-32). */
    while (!zm_list_empty(&ep->conns))
        zm_conn_linger_locked(ZM_CONTAINER(ep->conns.next, zm_conn, of_endpoint), linger_ms);
    zm_endpoint_close_locked(ep);
}

static void close_endpoint(zm_endpoint *ep, int linger_ms)
{
    if (ep->kind == ZM_LISTENER) {
        close_listener(ep, linger_ms);
    } else if (ep->kind == ZM_CONNECTER) {
        linger_connecter(ep, linger_ms);
    } else if (ep->kind == ZM_INPROC_BIND) {
        zm_inproc_unbind_locked(ep->socket, ep->text);
        zm_endpoint_free_locked(ep);
    } else {
        zm_peer *peer = ep->peer;
        zm_endpoint_free_locked(ep);
        if (peer) {
            peer->endpoint = NULL;
            zm_peer_rollback(peer);
            zm_peer_free_locked(peer);
        }
    }
}

/* Closes all with this text. False: there is none. */
static bool close_by_text(zm_socket *s, const char *text)
{
    bool found = false;
    zm_name *name = zm_names_find(&s->endpoint_names, text), *next;
    for (; name; name = next) {
        next = zm_names_next(name);
        zm_endpoint *ep = ZM_CONTAINER(name, zm_endpoint, by_text);
        if (ep->closing || ep->lingering)
            continue;
        found = true;
        if (s->options.reconnect_stop & ZM_RECONNECT_STOP_AFTER_DISCONNECT)
            ep->options.reconnect_ivl_ms = -1;
        close_endpoint(ep, s->options.linger_ms);
    }
    return found;
}

int zm_endpoint_term(int64_t handle, const char *text, bool brief)
{
    zm_address address;
    int parsed = zm_address_parse(text, false, false, &address);
    const char *mark = strstr(text, "://");
    bool nonsense = parsed == -EPROTONOSUPPORT || parsed == -ENOCOMPATPROTO || !mark || mark == text
                    || !mark[3];
    zm_socket *s;
    int rc = zm_socket_lock_for(handle, brief, &s);
    if (rc < 0)
        return rc;
    rc = zm_socket_enter_locked(s);
    if (rc == 0 && nonsense)
        rc = parsed;
    bool found = rc == 0 && close_by_text(s, text);
    if (rc == 0 && !found) {
        /* What the name stands for, then (S-31). It may have to be asked for, and IPV6 may have
         * changed since. */
        char meant[ZM_ENDPOINT_MAX];
        for (int ipv6 = 0; ipv6 < 2 && rc == 0 && !found; ipv6++) {
            zm_lock_give(&s->lock);
            if (brief && zm_address_asks(text))
                return ZM_LATER;
            bool known = zm_address_meant(text, ipv6, meant, sizeof meant) == 0;
            rc = zm_socket_lock_for(handle, brief, &s);
            if (rc < 0)
                return rc;
            rc = zm_socket_enter_locked(s);
            found = rc == 0 && known && close_by_text(s, meant);
        }
        if (rc == 0 && !found)
            rc = -ENOENT;
    }
    zm_drive_once_locked(s);
    zm_lock_give(&s->lock);
    return rc;
}

void zm_endpoints_close_locked(zm_socket *s)
{
    int linger_ms = s->options.linger_ms;
    ZM_LIST_EACH (node, &s->endpoints) {
        zm_endpoint *ep = ZM_CONTAINER(node, zm_endpoint, link);
        if (!ep->lingering || !ep->conn || !ep->conn->lingering) /* else disconnected before */
            close_endpoint(ep, linger_ms);
    }
    /* Connections whose listener was closed before linger already; the rest go now. */
    ZM_LIST_EACH (node, &s->conns) {
        zm_conn *conn = ZM_CONTAINER(node, zm_conn, link);
        if (!conn->lingering && !conn->closing && !conn->endpoint)
            zm_conn_close_locked(conn);
    }
}
