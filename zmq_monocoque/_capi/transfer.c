/* Sends and receives. Between recv_begin() and recv_end() the engine's socket is locked: memory is
 * taken and bytes are copied there, and nothing else. */
#include "capi.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

static int as_int(size_t size)
{
    return size > INT_MAX ? INT_MAX : (int) size;
}

/* Waits, if it may, because of a call that answered -EAGAIN. 0: try again; -errno. */
static int wait_for(const capi_socket *s, int event, int flags, int64_t *deadline)
{
    const zm_api *api = zm_api_get();
    if (flags & ZMQ_DONTWAIT)
        return -EAGAIN;
    if (*deadline == INT64_MIN) { /* the first time */
        *deadline = api->deadline(s->socket, s->generation, event | ZM_PATIENT);
        capi_forget_signals();
    }
    if (*deadline == 0)
        return -EAGAIN;
    int rc;
    do
        rc = api->wait(s->socket, s->generation, event, *deadline);
    while (capi_again(rc));
    return rc;
}

/* --- sending --------------------------------------------------------------------------------- */

/* `block` NULL: the bytes are copied. Else a reference is taken, on success. */
static int send_part(const capi_socket *s, const void *data, size_t size, zm_block *block,
                     int flags)
{
    const zm_api *api = zm_api_get();
    int64_t deadline = INT64_MIN;
    int rc;
    do {
        if (block)
            rc = api->send_block(s->socket, s->generation, block, size,
                                 (flags & ZM_SNDMORE) | ZM_PATIENT);
        else
            rc = api->send(s->socket, s->generation, data, size, (flags & ZM_SNDMORE) | ZM_PATIENT);
    } while (rc == -EAGAIN && (rc = wait_for(s, ZM_POLLOUT, flags, &deadline)) == 0);
    if (rc < 0)
        return rc;
    if (rc == ZM_SEND_FLUSH)
        api->flush(s->socket, s->generation);
    return as_int(size);
}

CAPI int zmq_send(void *handle, const void *buf, size_t len, int flags)
{
    capi_socket s;
    if (!capi_socket_of(handle, &s))
        return -1;
    if (!buf && len)
        return capi_refuse(EFAULT);
    return capi_answer(send_part(&s, buf ? buf : "", len, NULL, flags));
}

CAPI int zmq_msg_send(zmq_msg_t *msg, void *handle, int flags)
{
    capi_socket s;
    if (!capi_socket_of(handle, &s))
        return -1;
    capi_message *m = capi_message_of(msg);
    if (!m)
        return capi_refuse(EFAULT);
    zm_block *block = capi_message_share(m);
    int rc = send_part(&s, capi_message_data(m), capi_message_size(m), block, flags);
    if (rc >= 0)
        capi_message_empty(m);
    else if (block)
        zm_block_unref(block);
    return capi_answer(rc);
}

CAPI int zmq_send_const(void *handle, const void *buf, size_t len, int flags)
{
    zmq_msg_t msg;
    capi_socket s;
    if (!capi_socket_of(handle, &s))
        return -1;
    if (!buf && len)
        return capi_refuse(EFAULT);
    zmq_msg_init_data(&msg, (void *) (uintptr_t) buf, len, NULL, NULL);
    return zmq_msg_send(&msg, handle, flags);
}

CAPI int zmq_sendmsg(void *handle, zmq_msg_t *msg, int flags)
{
    return zmq_msg_send(msg, handle, flags);
}

CAPI int zmq_sendiov(void *handle, struct iovec *iov, size_t count, int flags)
{
    capi_socket s;
    int rc = -1;
    if (!capi_socket_of(handle, &s))
        return -1;
    if (!count || !iov)
        return capi_refuse(EINVAL);
    for (size_t i = 0; i < count; i++) {
        rc = zmq_send(handle, iov[i].iov_base, iov[i].iov_len,
                      i + 1 < count ? flags : flags & ~ZMQ_SNDMORE);
        if (rc < 0)
            break;
    }
    return rc;
}

/* --- receiving ------------------------------------------------------------------------------- */

/* The next part, with the socket locked: 0. Else -errno, and nothing is locked. */
static int begin(const capi_socket *s, int flags, zm_part *out_part)
{
    int64_t deadline = INT64_MIN;
    int rc;
    do
        rc = zm_api_get()->recv_begin(s->socket, s->generation, ZM_PATIENT, out_part);
    while (rc == -EAGAIN && (rc = wait_for(s, ZM_POLLIN, flags, &deadline)) == 0);
    return rc;
}

CAPI int zmq_recv(void *handle, void *buf, size_t len, int flags)
{
    capi_socket s;
    zm_part part;
    if (!capi_socket_of(handle, &s))
        return -1;
    if (!buf && len)
        return capi_refuse(EFAULT);
    int rc = begin(&s, flags, &part);
    if (rc < 0)
        return capi_refuse(-rc);
    size_t size = part.size;
    if (size && len)
        memcpy(buf, part.data, size < len ? size : len);
    zm_api_get()->recv_end(s.socket, &part);
    return as_int(size);
}

CAPI int zmq_msg_recv(zmq_msg_t *msg, void *handle, int flags)
{
    capi_socket s;
    zm_part part;
    if (!capi_socket_of(handle, &s))
        return -1;
    capi_message *m = capi_message_of(msg);
    if (!m)
        return capi_refuse(EFAULT);
    capi_message_prepare(m);
    int rc = begin(&s, flags, &part);
    if (rc < 0) {
        capi_message_empty(m);
        return capi_refuse(-rc);
    }
    rc = capi_message_receive(m, &part);
    zm_api_get()->recv_end(s.socket, &part);
    return rc < 0 ? capi_refuse(-rc) : as_int(capi_message_size(m));
}

CAPI int zmq_recvmsg(void *handle, zmq_msg_t *msg, int flags)
{
    return zmq_msg_recv(msg, handle, flags);
}

CAPI int zmq_recviov(void *handle, struct iovec *iov, size_t *count, int flags)
{
    capi_socket s;
    if (!capi_socket_of(handle, &s))
        return -1;
    if (!count || !*count || !iov)
        return capi_refuse(EINVAL);
    size_t room = *count;
    *count = 0;
    bool more = true;
    for (size_t i = 0; more && i < room; i++) {
        zm_part part;
        int rc = begin(&s, flags, &part);
        if (rc < 0)
            return capi_refuse(-rc);
        more = part.more;
        iov[i].iov_len = part.size;
        iov[i].iov_base = malloc(part.size ? part.size : 1); /* the program frees it */
        if (iov[i].iov_base && part.size)
            memcpy(iov[i].iov_base, part.data, part.size);
        zm_api_get()->recv_end(s.socket, &part);
        if (!iov[i].iov_base)
            return capi_refuse(ENOMEM);
        ++*count;
    }
    return as_int(*count);
}
