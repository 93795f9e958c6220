/* Proxies and devices. */
#include "capi.h"

#include <errno.h>

CAPI int zmq_proxy_steerable(void *frontend, void *backend, void *capture, void *control)
{
    void *given[4] = {frontend, backend, capture, control};
    int64_t handles[4];
    if (!frontend || !backend)
        return capi_refuse(EFAULT);
    for (int i = 0; i < 4; i++) {
        capi_socket s = {.handle = -1};
        if (given[i] && !capi_socket_of(given[i], &s))
            return -1;
        handles[i] = s.handle;
    }
    zm_proxy_state state = {0};
    int rc;
    capi_forget_signals();
    do
        rc = zm_proxy_run(handles[0], handles[1], handles[2], handles[3], &state);
    while (capi_again(rc));
    return capi_answer(rc);
}

CAPI int zmq_proxy(void *frontend, void *backend, void *capture)
{
    return zmq_proxy_steerable(frontend, backend, capture, NULL);
}

CAPI int zmq_device(int type, void *frontend, void *backend)
{
    (void) type; /* what it does follows from the types of the sockets */
    return zmq_proxy_steerable(frontend, backend, NULL, NULL);
}
