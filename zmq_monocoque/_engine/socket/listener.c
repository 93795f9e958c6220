/* Listeners: what bind() made over tcp and ipc. One accepts as long as it is there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../base/check.h"
#include "../base/clock.h"
#include "../base/fds.h"
#include "../base/list.h"
#include "../base/names.h"
#include "../base/timer.h"
#include "../connection/connection.h"
#include "../connection/zap.h"
#include "../context/context.h"
#include "../driver/address.h"
#include "../driver/driver.h"
#include "../driver/waitset.h"
#include "endpoint.h"
#include "monitor.h"
#include "options.h"
#include "socket.h"

/* After "out of descriptors", "no listening socket" (USE_FD): asked again at once, the kernel would
 * say the same. */
enum { ACCEPT_PAUSE_MS = 100, ACCEPT_SOON_MS = 1 };

static const zm_endpoint_ops listener_ops;
/* It has nothing to learn of a connection that is lost. */
static const zm_conn_owner listener_owner = {.ask = zm_zap_ask_locked,
                                             .forget = zm_zap_free_locked};

static void start_accept(zm_endpoint *ep) ZM_LOCKED
{
    if (!ep->op.in_flight && ep->state != ZM_ENDPOINT_CLOSING)
        zm_driver_accept(ep->socket->driver, &ep->op, ep->fd);
}

int zm_listener_bind_locked(zm_socket *s, const zm_address *address)
{
    int rc = zm_socket_need_driver_locked(s);
    if (rc < 0)
        return rc;
    zm_endpoint *ep = zm_endpoint_new_locked(s, ZM_LISTENER, &listener_ops, address);
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

static void accepted(zm_endpoint *ep, int32_t res) ZM_LOCKED
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
            int rc = zm_conn_open_locked(s, ep, &listener_owner, ep->address.transport, res);
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

static void accept_done(zm_op *op, int32_t res) ZM_LOCKED
{
    zm_endpoint *ep = op->owner;
    if (ep->state != ZM_ENDPOINT_CLOSING) {
        accepted(ep, res);
        return;
    }
    if (res >= 0)
        zm_fd_close(res);
    zm_endpoint_free_if_done_locked(ep);
}

static void close_listener(zm_endpoint *ep, int linger_ms) ZM_LOCKED
{
    /* Its connections go with it (S-32). */
    while (!zm_list_empty(&ep->conns))
        zm_conn_linger_locked(ZM_CONTAINER(ep->conns.next, zm_conn, of_endpoint), linger_ms);
    zm_endpoint_close_locked(ep);
}

static void retry_due(zm_timer *timer) ZM_LOCKED
{
    start_accept(timer->owner);
}

static const zm_endpoint_ops listener_ops = {
    .done = accept_done,
    .retry_due = retry_due,
    .let_go = close_listener,
};
