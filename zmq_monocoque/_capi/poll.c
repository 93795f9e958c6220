/* zmq_poll() and zmq_ppoll(). */
#include "capi.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

enum { ITEMS_ON_STACK = 32 };

int64_t capi_deadline(long timeout)
{
    if (timeout < 0)
        return -1;
    int64_t now = zm_now_ns();
    return timeout > (INT64_MAX - now) / 1000000 ? -1 : now + timeout * 1000000;
}

int capi_poll(zmq_pollitem_t *items, int count, int64_t deadline_ns)
{
    zm_pollitem on_stack[ITEMS_ON_STACK], *wanted = on_stack;
    if (count > ITEMS_ON_STACK) {
        wanted = malloc((size_t) count * sizeof *wanted);
        if (!wanted)
            return -ENOMEM;
    }
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++) {
        capi_socket s = {.handle = -1};
        items[i].revents = 0;
        if (items[i].socket && !capi_socket_of(items[i].socket, &s))
            rc = -ENOTSOCK;
        wanted[i] = (zm_pollitem){.socket = s.handle, .fd = items[i].fd, .events = items[i].events};
    }
    const zm_api *api = zm_api_get();
    if (rc == 0)
        rc = api->poll_glance(wanted, count);
    if (rc == 0 || rc == ZM_LATER) {
        capi_forget_signals();
        do
            rc = api->poll(wanted, count, deadline_ns);
        while (capi_again(rc));
    }
    for (int i = 0; i < count && rc > 0; i++)
        items[i].revents = wanted[i].revents;
    if (wanted != on_stack)
        free(wanted);
    return rc;
}

CAPI int zmq_poll(zmq_pollitem_t *items, int nitems, long timeout)
{
    if (nitems < 0)
        return capi_refuse(EINVAL);
    if (!items && nitems)
        return capi_refuse(EFAULT);
    return capi_answer(capi_poll(items, nitems, capi_deadline(timeout)));
}

CAPI int zmq_ppoll(zmq_pollitem_t *items, int nitems, long timeout, const void *sigmask)
{
    const void *before = zm_poll_sigmask_set(sigmask);
    int rc = zmq_poll(items, nitems, timeout);
    zm_poll_sigmask_set(before);
    return rc;
}
