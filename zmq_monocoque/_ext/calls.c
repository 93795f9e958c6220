/* What is called once a socket, and does not wait: to make it and to close it, its options and its
 * endpoints. As in pyzmq, no other thread runs in between, unless one has the socket's lock or a
 * name server is to be asked. */
#include "socket.h"

#include <errno.h>
#include <string.h>

/* Options that are treated apart, whatever enum the host has. */
enum { IDENTITY = 5, LINGER = 17, CURVE_PUBLICKEY = 48, CURVE_SERVERKEY = 50 };

/* Room for a bytes option, as pyzmq has it; the engine refuses to answer a longer one (EINVAL). And
 * for a key as Z85 text, with its NUL. */
enum { OPTION_BYTES_MAX = 255, CURVE_KEY_BYTES = 41 };

/* The end of a call: whatever it let go of goes now. None, or NULL with an exception. */
static PyObject *ended(ext_socket *self, int status)
{
    ext_drain_if_due();
    return status < 0 ? ext_raised(self, status) : Py_NewRef(Py_None);
}

/* As ended(), for a call about an option, which has more to say of EINVAL. */
static PyObject *ended_option(ext_socket *self, int status, int option, PyObject *value)
{
    PyObject *result = ended(self, status);
    if (status == -EINVAL) {
        PyObject *number = PyLong_FromLong(option);
        ext_explain(self, ext_name.explain_option, number, value);
        Py_XDECREF(number);
    }
    return result;
}

/* --- its life --------------------------------------------------------------------------------- */

PyObject *ext_open(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    ext_socket *self = (ext_socket *) op;
    int64_t context = 0, handle;
    int type = 0;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "_open() takes a context and a type");
        return NULL;
    }
    if (ext_handle(args[0], &context) < 0 || ext_int(args[1], &type) < 0
        || ext_threshold_resolve(self) < 0)
        return NULL;
    const zm_api *api = self->binding->api;
    EXT_CALL(handle, api->socket_new(context, type, brief));
    if (handle < 0)
        return ext_raise(self->binding, (int) -handle);
    ext_socket_attach(self, handle);
    Py_RETURN_NONE;
}

PyObject *ext_get_closed(PyObject *op, void *unused)
{
    (void) unused;
    ext_socket *self = (ext_socket *) op;
    uint32_t generation;
    if (!self->closed && !self->binding->api->socket_find(self->handle, &generation))
        self->closed = true;
    return PyBool_FromLong(self->closed);
}

PyObject *ext_close(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {
        .function = "close",
        .names = {&ext_name.linger},
        .count = 1,
    };
    ext_socket *self = (ext_socket *) op;
    PyObject *values[6] = {NULL};
    int linger = 0, status;
    if (ext_arguments(&signature, args, nargs, kwnames, values) < 0)
        return NULL;
    bool lingers = values[0] && values[0] != Py_None;
    if (lingers && !PyLong_Check(values[0])) {
        PyErr_Format(PyExc_TypeError, "linger must be an int or None, got %R", values[0]);
        return NULL;
    }
    if (lingers && ext_int(values[0], &linger) < 0)
        return NULL;
    if (self->closed || self->pid != getpid())
        Py_RETURN_NONE;
    const zm_api *api = self->binding->api;
    int64_t handle = self->handle;
    if (lingers) /* errors are those of a socket that is gone already */
        EXT_CALL(status, api->set(handle, LINGER, &linger, sizeof linger, brief));
    ext_release_here_begin();
    EXT_CALL(status, api->socket_close(handle, brief));
    ext_release_here_end();
    if (status == 0 || status == -ENOTSOCK) {
        ext_socket_attach(self, 0);
        self->closed = true;
        status = 0;
    }
    return ended(self, status);
}

/* --- options ---------------------------------------------------------------------------------- */

PyObject *ext_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {
        .function = "set",
        .names = {&ext_name.option, &ext_name.optval},
        .count = 2,
        .required = 2,
    };
    ext_socket *self = (ext_socket *) op;
    PyObject *values[6] = {NULL}, *value;
    int option = 0, number = 0, status;
    if (ext_arguments(&signature, args, nargs, kwnames, values) < 0
        || ext_int(values[0], &option) < 0)
        return NULL;
    value = values[1];
    ext_option_kind kind = ext_option_kind_of(self->binding, option);
    if (!kind)
        return NULL;
    if (PyUnicode_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "unicode not allowed, use setsockopt_string");
        return NULL;
    }
    bool wants_bytes = kind == EXT_BYTES;
    if (wants_bytes ? !PyBytes_Check(value) : !PyLong_Check(value)) {
        PyErr_Format(PyExc_TypeError, "expected %s, got: %R", wants_bytes ? "bytes" : "int", value);
        return NULL;
    }
    int64_t wide = 0;
    if ((kind == EXT_INT && ext_int(value, &number) < 0)
        || (kind == EXT_INT64 && ext_handle(value, &wide) < 0))
        return NULL;
    const void *from = kind == EXT_INT     ? &number
                       : kind == EXT_INT64 ? (void *) &wide
                                           : PyBytes_AS_STRING(value);
    size_t size = kind == EXT_INT     ? sizeof number
                  : kind == EXT_INT64 ? sizeof wide
                                      : (size_t) PyBytes_GET_SIZE(value);
    const zm_api *api = self->binding->api;
    int64_t handle = self->handle;
    EXT_CALL(status, api->set(handle, option, from, size, brief));
    return ended_option(self, status, option, value);
}

static PyObject *get_bytes(ext_socket *self, int option)
{
    char value[OPTION_BYTES_MAX];
    bool is_key = option >= CURVE_PUBLICKEY && option <= CURVE_SERVERKEY;
    size_t size = is_key ? CURVE_KEY_BYTES : OPTION_BYTES_MAX;
    const zm_api *api = self->binding->api;
    int64_t handle = self->handle;
    int status;
    EXT_CALL(status, api->get(handle, option, value, &size, brief));
    if (status < 0)
        return ext_raised(self, status);
    /* The engine ends text with a NUL. An identity is no text and may end with one itself. */
    if (option != IDENTITY && size && value[size - 1] == '\0')
        size--;
    PyObject *bytes = PyBytes_FromStringAndSize(value, (Py_ssize_t) size);
    if (is_key)
        explicit_bzero(value, sizeof value);
    return bytes;
}

PyObject *ext_get(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {
        .function = "get",
        .names = {&ext_name.option},
        .count = 1,
        .required = 1,
    };
    ext_socket *self = (ext_socket *) op;
    PyObject *values[6] = {NULL};
    int option = 0, number = 0, status;
    int64_t wide = 0;
    if (ext_arguments(&signature, args, nargs, kwnames, values) < 0
        || ext_int(values[0], &option) < 0)
        return NULL;
    ext_option_kind kind = ext_option_kind_of(self->binding, option);
    if (!kind)
        return NULL;
    if (kind == EXT_BYTES)
        return get_bytes(self, option);
    void *into = kind == EXT_INT64 ? (void *) &wide : &number;
    size_t size = kind == EXT_INT64 ? sizeof wide : sizeof number;
    const zm_api *api = self->binding->api;
    int64_t handle = self->handle;
    EXT_CALL(status, api->get(handle, option, into, &size, brief));
    if (status < 0)
        return ended_option(self, status, option, Py_None);
    ext_drain_if_due();
    return kind == EXT_INT64 ? PyLong_FromLongLong(wide) : PyLong_FromLong(number);
}

/* --- endpoints -------------------------------------------------------------------------------- */

/* The characters of an address, which the object keeps. NULL with an exception. */
static const char *address_of(PyObject *addr)
{
    if (PyUnicode_Check(addr))
        return PyUnicode_AsUTF8(addr);
    if (PyBytes_Check(addr))
        return PyBytes_AS_STRING(addr);
    PyErr_Format(PyExc_TypeError, "Expected addr to be str, got addr=%R", addr);
    return NULL;
}

typedef int endpoint_call(int64_t socket, const char *endpoint, bool brief);

static PyObject *call_endpoint(PyObject *op, endpoint_call *call, const char *function,
                               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    const ext_signature signature = {
        .function = function,
        .names = {&ext_name.addr},
        .count = 1,
        .required = 1,
    };
    ext_socket *self = (ext_socket *) op;
    PyObject *values[6] = {NULL};
    int status;
    if (ext_arguments(&signature, args, nargs, kwnames, values) < 0)
        return NULL;
    const char *endpoint = address_of(values[0]);
    if (!endpoint)
        return NULL;
    int64_t handle = self->handle;
    EXT_CALL(status, call(handle, endpoint, brief));
    PyObject *result = ended(self, status);
    if (status == -ENOENT && call == self->binding->api->endpoint_end)
        ext_explain(self, ext_name.explain_end, values[0], NULL);
    return result;
}

#define ENDPOINT_METHOD(name, entry) \
    PyObject *ext_##name(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) \
    { \
        return call_endpoint(op, ((ext_socket *) op)->binding->api->entry, #name, args, nargs, \
                             kwnames); \
    }
ENDPOINT_METHOD(bind, bind)
ENDPOINT_METHOD(connect, connect)
ENDPOINT_METHOD(unbind, endpoint_end)
ENDPOINT_METHOD(disconnect, endpoint_end)

PyObject *ext_monitor(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {
        .function = "monitor",
        .names = {&ext_name.addr, &ext_name.events},
        .count = 2,
        .required = 1,
    };
    ext_socket *self = (ext_socket *) op;
    PyObject *values[6] = {NULL};
    int events = 0xFFFF, status;
    if (ext_arguments(&signature, args, nargs, kwnames, values) < 0
        || ext_int(values[1], &events) < 0)
        return NULL;
    const char *endpoint = values[0] == Py_None ? NULL : address_of(values[0]);
    if (!endpoint && values[0] != Py_None)
        return NULL;
    const zm_api *api = self->binding->api;
    int64_t handle = self->handle;
    EXT_CALL(status, api->monitor(handle, endpoint, events, brief));
    return ended(self, status);
}
