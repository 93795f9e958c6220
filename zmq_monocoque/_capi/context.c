/* Contexts: zmq_ctx_... and their older names. */
#include "capi.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static void *context_new(int io_threads)
{
    capi_start();
    capi_cell *cell = capi_cell_new(CAPI_CONTEXT);
    if (!cell)
        return NULL;
    int64_t context = zm_context_new(io_threads);
    if (context < 0) {
        capi_cell_end(cell, CAPI_CONTEXT);
        capi_cell_free(cell);
        errno = (int) -context;
        return NULL;
    }
    atomic_store(&cell->value, context);
    return cell;
}

/* The engine's handle; -1, which is nobody's: no context. */
static int64_t context_of(const void *handle)
{
    capi_cell *cell = capi_cell_of(handle, CAPI_CONTEXT);
    return cell ? atomic_load(&cell->value) : -1;
}

CAPI void *zmq_ctx_new(void)
{
    return context_new(ZMQ_IO_THREADS_DFLT);
}

CAPI void *zmq_init(int io_threads)
{
    return context_new(io_threads);
}

CAPI int zmq_ctx_term(void *handle)
{
    capi_cell *cell = capi_cell_of(handle, CAPI_CONTEXT);
    if (!cell)
        return capi_refuse(EFAULT);
    int64_t context = atomic_load(&cell->value);
    int rc;
    capi_forget_signals();
    do
        rc = zm_context_term(context, -1);
    while (capi_again(rc));
    /* EFAULT: of a forked child's parent, or another thread's call came first. */
    if ((rc == 0 || rc == -EFAULT) && capi_cell_end(cell, CAPI_CONTEXT))
        capi_cell_free(cell);
    return capi_answer(rc);
}

CAPI int zmq_term(void *handle)
{
    return zmq_ctx_term(handle);
}

CAPI int zmq_ctx_destroy(void *handle)
{
    return zmq_ctx_term(handle);
}

CAPI int zmq_ctx_shutdown(void *handle)
{
    return capi_answer(zm_context_shutdown(context_of(handle)));
}

CAPI int zmq_ctx_set(void *handle, int option, int value)
{
    return capi_answer(zm_context_set(context_of(handle), option, value));
}

CAPI int zmq_ctx_get(void *handle, int option)
{
    int value = 0;
    int rc = zm_context_get(context_of(handle), option, &value);
    return rc < 0 ? capi_answer(rc) : value;
}

CAPI int zmq_ctx_set_ext(void *handle, int option, const void *value, size_t size)
{
    int number;
    if (!value)
        return capi_refuse(EINVAL);
    if (option == ZMQ_THREAD_NAME_PREFIX && size != sizeof number)
        return capi_answer(zm_context_set_name(context_of(handle), value, size));
    if (size != sizeof number)
        return capi_refuse(EINVAL);
    memcpy(&number, value, sizeof number);
    return zmq_ctx_set(handle, option, number);
}

CAPI int zmq_ctx_get_ext(void *handle, int option, void *value, size_t *size)
{
    if (!value || !size)
        return capi_refuse(EFAULT);
    if (option == ZMQ_THREAD_NAME_PREFIX && *size != sizeof(int))
        return capi_answer(zm_context_get_name(context_of(handle), value, size));
    int number = 0;
    if (*size < sizeof number)
        return capi_refuse(EINVAL);
    int rc = zm_context_get(context_of(handle), option, &number);
    if (rc < 0)
        return capi_answer(rc);
    memcpy(value, &number, sizeof number);
    *size = sizeof number;
    return 0;
}

CAPI void *zmq_socket(void *handle, int type)
{
    capi_cell *cell = capi_cell_new(CAPI_SOCKET);
    if (!cell)
        return NULL;
    int64_t socket = zm_socket_new(context_of(handle), type);
    uint32_t generation = 0;
    zm_socket *found = socket < 0 ? NULL : zm_api_get()->socket_find(socket, &generation);
    if (!found) {
        capi_cell_end(cell, CAPI_SOCKET);
        capi_cell_free(cell);
        errno = socket < 0 ? (int) -socket : ETERM;
        return NULL;
    }
    atomic_store(&cell->object, (uintptr_t) found);
    atomic_store(&cell->value, socket);
    atomic_store(&cell->generation, generation);
    return cell;
}
