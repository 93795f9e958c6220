/* What Python calls of a socket through cffi, by its handle (engine.h), and may wait for. What may
 * be tried first with the GIL held is in the files it calls. */
#include <errno.h>
#include <string.h>

#include "../api.h"
#include "../base/check.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../context/handles.h"
#include "../engine.h"
#include "../pipe/peer.h"
#include "drive.h"
#include "endpoint.h"
#include "options.h"
#include "pattern.h"
#include "socket.h"
#include "transfer.h"
#include "wakeup.h"

int64_t zm_socket_new(int64_t context, int type)
{
    return zm_socket_new_for(context, type, false);
}

int zm_socket_close(int64_t socket)
{
    return zm_socket_close_for(socket, false);
}

int zm_socket_bind(int64_t socket, const char *endpoint)
{
    return zm_socket_bind_for(socket, endpoint, false);
}

int zm_socket_connect(int64_t socket, const char *endpoint)
{
    return zm_socket_connect_for(socket, endpoint, false);
}

int zm_socket_unbind(int64_t socket, const char *endpoint)
{
    return zm_endpoint_term(socket, endpoint, false);
}

int zm_socket_disconnect(int64_t socket, const char *endpoint)
{
    return zm_endpoint_term(socket, endpoint, false);
}

int zm_socket_set(int64_t socket, int option, const void *value, size_t size)
{
    return zm_socket_set_for(socket, option, value, size, false);
}

int zm_socket_get(int64_t socket, int option, void *out_value, size_t *inout_size)
{
    return zm_socket_get_for(socket, option, out_value, inout_size, false);
}

int zm_socket_monitor(int64_t socket, const char *endpoint, int events)
{
    return zm_socket_monitor_for(socket, endpoint, events, false);
}

int zm_socket_peer_state(int64_t handle, const void *routing_id, size_t size)
{
    zm_socket *s;
    int rc = zm_socket_lock_for(handle, false, &s);
    if (rc != 0)
        return rc;
    rc = zm_socket_enter_locked(s);
    if (rc == 0 && s->type != ZM_ROUTER)
        rc = -ENOTSUP;
    if (rc == 0) {
        zm_peer *peer = s->pattern->peer_of_id(s, routing_id, size);
        if (!peer)
            rc = -EHOSTUNREACH;
        else if (zm_peer_can_write_locked(peer))
            rc = ZM_POLLOUT;
    }
    zm_socket_lock_give(s);
    return rc;
}

/* The call's wait: until `event` is possible, or the deadline of its direction. */
static int wait_or_again(zm_socket *s, int event, int64_t deadline) ZM_LOCKED
{
    if (deadline == 0)
        return -EAGAIN;
    return zm_socket_wait_locked(s, event, deadline);
}

int zm_socket_send(int64_t handle, const void *data, size_t size, int flags)
{
    zm_socket *s = zm_socket_lock(handle);
    if (!s)
        return -ENOTSOCK;
    zm_outgoing message = {.data = data, .size = size, .more = flags & ZM_SNDMORE};
    int64_t deadline = flags & ZM_DONTWAIT ? 0 : zm_socket_deadline_locked(s, ZM_POLLOUT);
    int rc;
    do
        rc = zm_socket_send_patiently_locked(s, &message);
    while (rc == -EAGAIN && (rc = wait_or_again(s, ZM_POLLOUT, deadline)) == 0);
    if (rc == 0 && zm_socket_sent_locked(s))
        zm_socket_flush_locked(s);
    zm_socket_leave(s);
    return rc;
}

int zm_socket_recv(int64_t handle, void *out, size_t size, int flags)
{
    zm_socket *s = zm_socket_lock(handle);
    if (!s)
        return -ENOTSOCK;
    zm_part part;
    int64_t deadline = flags & ZM_DONTWAIT ? 0 : zm_socket_deadline_locked(s, ZM_POLLIN);
    int rc;
    do {
        rc = zm_socket_enter_locked(s);
        if (rc == 0)
            rc = zm_socket_recv_part_locked(s, &part);
    } while (rc == -EAGAIN && (rc = wait_or_again(s, ZM_POLLIN, deadline)) == 0);
    if (rc == 0) {
        memcpy(out, part.data, part.size < size ? part.size : size);
        rc = part.size > INT32_MAX ? INT32_MAX : (int) part.size;
        zm_socket_recv_done_locked(s);
    }
    zm_socket_leave(s);
    return rc;
}

int zm_socket_stats(int64_t handle, zm_stats *out)
{
    zm_socket *s = zm_socket_lock(handle);
    if (!s)
        return -ENOTSOCK;
    *out = s->stats;
    out->connections = s->connection_count;
    out->out_queued = out->in_queued = 0;
    ZM_LIST_EACH (node, &s->peers)
        zm_peer_count_queued_locked(ZM_CONTAINER(node, zm_peer, link), &out->in_queued,
                                    &out->out_queued);
    zm_socket_lock_give(s);
    return 0;
}
