/* Sockets: closing, endpoints, options, monitors. */
#include "capi.h"

#include <errno.h>
#include <string.h>

CAPI int zmq_close(void *handle)
{
    capi_socket s;
    capi_cell *cell = capi_cell_of(handle, CAPI_SOCKET);
    if (!cell || !capi_socket_of(handle, &s) || !capi_cell_end(cell, CAPI_SOCKET))
        return capi_refuse(ENOTSOCK);
    int rc = zm_socket_close(s.handle);
    capi_cell_free(cell);
    return capi_answer(rc);
}

typedef int (*on_endpoint)(int64_t socket, const char *endpoint);

static int with_endpoint(void *handle, const char *addr, on_endpoint call)
{
    capi_socket s;
    if (!capi_socket_of(handle, &s))
        return -1;
    return addr ? capi_answer(call(s.handle, addr)) : capi_refuse(EINVAL);
}

CAPI int zmq_bind(void *handle, const char *addr)
{
    return with_endpoint(handle, addr, zm_socket_bind);
}

CAPI int zmq_connect(void *handle, const char *addr)
{
    return with_endpoint(handle, addr, zm_socket_connect);
}

CAPI int zmq_unbind(void *handle, const char *addr)
{
    return with_endpoint(handle, addr, zm_socket_unbind);
}

CAPI int zmq_disconnect(void *handle, const char *addr)
{
    return with_endpoint(handle, addr, zm_socket_disconnect);
}

CAPI int zmq_setsockopt(void *handle, int option, const void *value, size_t size)
{
    capi_socket s;
    if (!capi_socket_of(handle, &s))
        return -1;
    if (!value && size)
        return capi_refuse(EINVAL);
    return capi_answer(zm_socket_set(s.handle, option, value, size));
}

CAPI int zmq_getsockopt(void *handle, int option, void *value, size_t *size)
{
    capi_socket s;
    if (!capi_socket_of(handle, &s))
        return -1;
    if (!value || !size)
        return capi_refuse(EFAULT);
    size_t room = *size;
    int rc = zm_socket_get(s.handle, option, value, size);
    /* A program may have made room for a larger number. */
    if (rc == 0 && *size < room)
        memset((char *) value + *size, 0, room - *size);
    return capi_answer(rc);
}

CAPI int zmq_socket_monitor_versioned(void *handle, const char *addr, uint64_t events, int version,
                                      int type)
{
    capi_socket s;
    if (!capi_socket_of(handle, &s))
        return -1;
    /* The events of version 2, and monitors that are no PAIR, are drafts of libzmq's. */
    if (version != ZMQ_CURRENT_EVENT_VERSION || type != ZMQ_PAIR || events > INT32_MAX)
        return capi_refuse(EINVAL);
    return capi_answer(zm_socket_monitor(s.handle, addr, (int) events));
}

CAPI int zmq_socket_monitor(void *handle, const char *addr, int events)
{
    return zmq_socket_monitor_versioned(handle, addr, (uint64_t) events, ZMQ_CURRENT_EVENT_VERSION,
                                        ZMQ_PAIR);
}

/* --- drafts ---------------------------------------------------------------------------------- */

static int refuse_draft(void *handle)
{
    capi_socket s;
    return capi_socket_of(handle, &s) ? capi_refuse(ENOTSUP) : -1;
}

CAPI int zmq_socket_monitor_pipes_stats(void *handle)
{
    capi_socket s;
    /* No monitor can ask for them: that is of version 2. */
    return capi_socket_of(handle, &s) ? capi_refuse(EINVAL) : -1;
}

CAPI int zmq_socket_get_peer_state(void *handle, const void *routing_id, size_t size)
{
    capi_socket s;
    if (!capi_socket_of(handle, &s))
        return -1;
    if (!routing_id && size)
        return capi_refuse(EFAULT);
    return capi_answer(zm_socket_peer_state(s.handle, routing_id ? routing_id : "", size));
}

CAPI int zmq_join(void *handle, const char *group)
{
    (void) group;
    return refuse_draft(handle);
}

CAPI int zmq_leave(void *handle, const char *group)
{
    (void) group;
    return refuse_draft(handle);
}

CAPI uint32_t zmq_connect_peer(void *handle, const char *addr)
{
    (void) addr;
    refuse_draft(handle);
    return 0;
}

CAPI int zmq_disconnect_peer(void *handle, uint32_t routing_id)
{
    (void) routing_id;
    return refuse_draft(handle);
}
