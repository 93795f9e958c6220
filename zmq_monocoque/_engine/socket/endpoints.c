/* bind(), connect() and their ends, of any transport; and the end of all with their socket. */
#include <errno.h>
#include <string.h>

#include "../api.h"
#include "../base/check.h"
#include "../base/errors.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../base/names.h"
#include "../connection/connection.h"
#include "../context/handles.h"
#include "../driver/address.h"
#include "../pipe/inproc.h"
#include "drive.h"
#include "endpoint.h"
#include "order.h"
#include "socket.h"
#include "wakeup.h"

int zm_endpoint_open(int64_t handle, const char *text, bool bind, bool brief)
{
    if (!zm_order_settle(false, brief))
        return ZM_LATER;
    zm_socket *s;
    int rc = zm_socket_lock_for(handle, brief, &s);
    if (rc != 0)
        return rc;
    rc = zm_socket_enter_locked(s);
    bool ipv6 = s->options.tuning.ipv6;
    zm_socket_lock_give(s);
    if (rc < 0)
        return rc;
    zm_address address;
    if (brief && bind && zm_address_asks(text))
        return ZM_LATER;
    rc = zm_address_parse(text, bind, ipv6, &address);
    if (rc < 0)
        return rc;
    rc = zm_socket_lock_for(handle, brief, &s);
    if (rc != 0)
        return rc;
    rc = zm_socket_enter_locked(s);
    if (rc == 0) {
        if (address.transport == ZM_INPROC)
            rc = bind ? zm_inproc_bind_locked(s, &address) : zm_inproc_connect_locked(s, &address);
        else
            rc = bind ? zm_listener_bind_locked(s, &address)
                      : zm_connecter_connect_locked(s, &address);
    }
    zm_socket_in_passing_locked(s);
    if (s->driver)
        zm_drive_once_locked(s);
    zm_socket_lock_give(s);
    return rc;
}

/* Closes all with this text. False: there is none. */
static bool close_by_text(zm_socket *s, const char *text) ZM_LOCKED
{
    bool found = false;
    zm_name *name = zm_names_find(&s->endpoint_names, text), *next;
    for (; name; name = next) {
        next = zm_names_next(name);
        zm_endpoint *ep = ZM_CONTAINER(name, zm_endpoint, by_text);
        if (ep->state == ZM_ENDPOINT_CLOSING || ep->lingering)
            continue;
        found = true;
        if (s->options.reconnect_stop & ZM_RECONNECT_STOP_AFTER_DISCONNECT)
            ep->options.reconnect_ivl_ms = -1;
        ep->ops->let_go(ep, s->options.linger_ms);
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
    if (rc != 0)
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
            zm_socket_lock_give(s);
            if (brief && zm_address_asks(text))
                return ZM_LATER;
            bool known = zm_address_meant(text, ipv6, meant, sizeof meant) == 0;
            rc = zm_socket_lock_for(handle, brief, &s);
            if (rc != 0)
                return rc;
            rc = zm_socket_enter_locked(s);
            found = rc == 0 && known && close_by_text(s, meant);
        }
        if (rc == 0 && !found)
            rc = -ENOENT;
    }
    zm_socket_in_passing_locked(s);
    zm_drive_once_locked(s);
    zm_socket_lock_give(s);
    return rc;
}

int zm_socket_endpoints(int64_t handle, char *out, size_t size)
{
    zm_socket *s = zm_socket_lock(handle);
    if (!s)
        return -ENOTSOCK;
    size_t at = 0;
    ZM_LIST_EACH (node, &s->endpoints) {
        zm_endpoint *ep = ZM_CONTAINER(node, zm_endpoint, link);
        size_t length = strlen(ep->text);
        if (ep->state == ZM_ENDPOINT_CLOSING || ep->lingering || at + length + 2 > size)
            continue;
        memcpy(out + at, ep->text, length);
        at += length;
        out[at++] = '\n';
    }
    if (size)
        out[at] = 0;
    zm_socket_lock_give(s);
    return 0;
}

void zm_endpoints_close_locked(zm_socket *s)
{
    int linger_ms = s->options.linger_ms;
    ZM_LIST_EACH (node, &s->endpoints) {
        zm_endpoint *ep = ZM_CONTAINER(node, zm_endpoint, link);
        bool let_go = ep->lingering && ep->conn && zm_conn_is_leaving_locked(ep->conn);
        if (!let_go) /* by a disconnect() before */
            ep->ops->let_go(ep, linger_ms);
    }
    /* Connections whose listener was closed before linger already; the rest go now. */
    ZM_LIST_EACH (node, &s->conns) {
        zm_conn *conn = ZM_CONTAINER(node, zm_conn, link);
        if (!zm_conn_is_leaving_locked(conn) && conn->state != ZM_CONN_CLOSING && !conn->endpoint)
            zm_conn_close_locked(conn);
    }
}
