/* SocketBase: the type, and what its calls have in common. */
#include "socket.h"

#include <errno.h>

/* No threshold was set: take the module's when the handle is attached. */
#define THRESHOLD_UNSET PY_SSIZE_T_MIN

/* --- waiting, failing ------------------------------------------------------------------------- */

void ext_make_way(ext_socket *self)
{
    zm_socket *socket = self->socket;
    uint32_t generation = self->generation;
    Py_BEGIN_ALLOW_THREADS
    self->binding->api->make_way(socket, generation);
    Py_END_ALLOW_THREADS
}

int64_t ext_deadline(ext_socket *self, int direction)
{
    int64_t deadline;
    while ((deadline = self->binding->api->deadline(self->socket, self->generation, direction))
           == ZM_LATER)
        ext_make_way(self);
    return deadline;
}

static bool is_alive(const ext_socket *self)
{
    uint32_t generation;
    return self->binding->api->socket_find(self->handle, &generation) != NULL;
}

/* The exception that is set says that a fork made the socket what it is. */
static void say_made_before_fork(void)
{
    ext_exception kept = ext_exception_keep();
    PyObject *text = PyObject_GetAttrString(kept.value, "strerror");
    PyObject *more = NULL;
    if (text)
        more = PyUnicode_FromFormat("%S: the socket was made before a fork, and is the parent's",
                                    text);
    if (!more || PyObject_SetAttrString(kept.value, "strerror", more) < 0)
        PyErr_Clear(); /* the host's exceptions have another text, or none */
    Py_XDECREF(text);
    Py_XDECREF(more);
    ext_exception_restore(kept);
}

void ext_explain(ext_socket *self, PyObject *method, PyObject *first, PyObject *second)
{
    ext_exception kept = ext_exception_keep();
    PyObject *arguments[] = {(PyObject *) self, kept.value, first, second};
    PyObject *done = first ? PyObject_VectorcallMethod(method, arguments, second ? 4 : 3, NULL)
                           : NULL;
    if (!done)
        PyErr_Clear(); /* a class without it, or memory is out: the error stays as it is */
    Py_XDECREF(done);
    ext_exception_restore(kept);
}

/* `event`: which way the message was to go. */
static void explain_message(ext_socket *self, int event)
{
    PyObject *number = PyLong_FromLong(event);
    ext_explain(self, ext_name.explain, number, NULL);
    Py_XDECREF(number);
}

int ext_raise_status(ext_socket *self, int status)
{
    ext_raise(self->binding, -status);
    if (status == -ENOTSOCK && self->pid && self->pid != getpid())
        say_made_before_fork();
    return -1;
}

PyObject *ext_raised(ext_socket *self, int status)
{
    ext_raise_status(self, status);
    return NULL;
}

PyObject *ext_failed(ext_socket *self)
{
    if (is_alive(self))
        return NULL;
    PyErr_Clear();
    return ext_raised(self, -ENOTSOCK);
}

int ext_refuse(ext_socket *self, int event, int status, int flags)
{
    if (status == -EAGAIN && flags & EXT_QUIET)
        return -2;
    ext_raise_status(self, status);
    if (status != -EAGAIN) /* to poll so is common, and has to be quick */
        explain_message(self, event);
    return -1;
}

int ext_wait_ready(ext_socket *self, int event, int64_t deadline)
{
    int status;
    return ext_wait_status(self, event, deadline, &status);
}

int ext_wait_status(ext_socket *self, int event, int64_t deadline, int *out_status)
{
    int status;
    ext_signals signals;
    *out_status = 0;
    if (ext_signals_begin(self->binding->api, &signals, false) < 0)
        return -1;
    /* Another thread may attach something else meanwhile, or nothing. */
    zm_socket *socket = self->socket;
    uint32_t generation = self->generation;
    Py_BEGIN_ALLOW_THREADS
    status = self->binding->api->wait(socket, generation, event, deadline);
    Py_END_ALLOW_THREADS
    ext_signals_end(self->binding->api, &signals, status == -EINTR);
    if (PyErr_CheckSignals() < 0)
        return -1;
    ext_drain_if_due();
    if (status >= 0 || status == -EINTR)
        return 0;
    *out_status = status;
    ext_raise_status(self, status);
    explain_message(self, event);
    return -1;
}

int ext_is_own(ext_socket *self, PyObject *name, PyObject *own)
{
    if (Py_TYPE(self) == self->binding->socket_type)
        return 1;
    PyObject *method = PyObject_GetAttr((PyObject *) Py_TYPE(self), name);
    if (!method)
        return -1;
    Py_DECREF(method);
    return method == own;
}

/* --- the object ------------------------------------------------------------------------------- */

static PyObject *socket_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void) args, (void) kwargs; /* of the subclass's __init__ */
    ext_binding *binding = ext_binding_of(type);
    ext_socket *self = binding ? (ext_socket *) type->tp_alloc(type, 0) : NULL;
    if (!self) {
        Py_XDECREF(binding);
        return NULL;
    }
    self->binding = binding;
    self->socket = binding->api->nobody;
    self->generation = ZM_STALE;
    self->handle = -1;
    self->closed = true;
    self->copy_threshold = THRESHOLD_UNSET;
    return (PyObject *) self;
}

static int socket_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((ext_socket *) op)->binding);
    return 0;
}

static void socket_dealloc(PyObject *op)
{
    ext_socket *self = (ext_socket *) op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    PyObject_ClearWeakRefs(op);
    Py_DECREF(self->binding);
    type->tp_free(op);
    Py_DECREF(type);
}

int ext_threshold_resolve(ext_socket *self)
{
    return self->copy_threshold == THRESHOLD_UNSET
               ? ext_copy_threshold(self->binding, &self->copy_threshold)
               : 0;
}

void ext_socket_attach(ext_socket *self, int64_t handle)
{
    uint32_t generation;
    zm_socket *socket = self->binding->api->socket_find(handle, &generation);
    self->handle = handle;
    self->pid = getpid();
    self->closed = false;
    self->generation = socket ? generation : ZM_STALE;
    if (socket)
        self->socket = socket;
}

PyDoc_STRVAR(attach_doc,
"_zm_attach($self, handle, /)\n--\n\n"
"Names the engine's socket this one stands for. A handle that names nothing is remembered, and\n"
"every call then raises ZMQError(ENOTSOCK). copy_threshold, if not set before, is taken from the\n"
"module now.");

static PyObject *socket_attach(PyObject *op, PyObject *handle)
{
    ext_socket *self = (ext_socket *) op;
    int64_t number = 0;
    if (ext_handle(handle, &number) < 0 || ext_threshold_resolve(self) < 0)
        return NULL;
    ext_socket_attach(self, number);
    Py_RETURN_NONE;
}

static PyObject *socket_get_own_closed(PyObject *op, void *unused)
{
    (void) unused;
    return PyBool_FromLong(((ext_socket *) op)->closed);
}

static PyObject *socket_get_pid(PyObject *op, void *unused)
{
    (void) unused;
    return PyLong_FromLong(((ext_socket *) op)->pid);
}

static PyObject *socket_get_underlying(PyObject *op, void *unused)
{
    (void) unused;
    return PyLong_FromLongLong(((ext_socket *) op)->handle);
}

static PyObject *socket_get_copy_threshold(PyObject *op, void *unused)
{
    (void) unused;
    ext_socket *self = (ext_socket *) op;
    return ext_threshold_resolve(self) < 0 ? NULL : PyLong_FromSsize_t(self->copy_threshold);
}

static int socket_set_copy_threshold(PyObject *op, PyObject *value, void *unused)
{
    (void) unused;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "copy_threshold cannot be deleted");
        return -1;
    }
    Py_ssize_t threshold = 0;
    if (ext_size(value, &threshold) < 0)
        return -1;
    ((ext_socket *) op)->copy_threshold = threshold;
    return 0;
}

PyDoc_STRVAR(get_int_doc,
"_zm_get_int($self, option, /)\n--\n\n"
"An option whose value is an int (zmq_getsockopt(3)).");

static PyObject *socket_get_int(PyObject *op, PyObject *option)
{
    ext_socket *self = (ext_socket *) op;
    int number = 0, value = 0;
    if (ext_int(option, &number) < 0)
        return NULL;
    const zm_api *api = self->binding->api;
    int64_t handle = self->handle;
    size_t size = sizeof value;
    int status;
    EXT_CALL(status, api->get(handle, number, &value, &size, brief));
    return status < 0 ? ext_raised(self, status) : PyLong_FromLong(value);
}

PyDoc_STRVAR(plain_lookup_doc,
"_zm_plain_lookup($type, /)\n--\n\n"
"From here on attributes of this class's sockets are found as those of object are: __getattr__ is\n"
"not asked for what is not found, and stays a method that can be called. For a class in which all\n"
"that __getattr__ knows stands as well: Python then finds methods at a fraction of the price.");

static PyObject *socket_plain_lookup(PyObject *type, PyObject *unused)
{
    (void) unused;
    ((PyTypeObject *) type)->tp_getattro = PyObject_GenericGetAttr;
    PyType_Modified((PyTypeObject *) type);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(spin_doc,
"_zm_spin($self, /)\n--\n\n"
"Before a wait for a message in an event loop: looks for it for some microseconds, if that would\n"
"have paid lately. True when there is one.");

static PyObject *socket_spin(PyObject *op, PyObject *unused)
{
    (void) unused;
    ext_socket *self = (ext_socket *) op;
    zm_socket *socket = self->socket;
    uint32_t generation = self->generation;
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = self->binding->api->spin(socket, generation);
    Py_END_ALLOW_THREADS
    /* What is wrong, the call that is waited with finds out. */
    return PyBool_FromLong(status != 0);
}

PyDoc_STRVAR(send_doc,
"send($self, data, flags=0, copy=True, track=False, routing_id=None, group=None)\n--\n\n"
"Sends one message part, `data`: a contiguous buffer of any item size, or a Frame. `flags`:\n"
"DONTWAIT, SNDMORE when another part follows (zmq_msg_send(3)).\n\n"
"`copy` False sends the object's own memory from copy_threshold bytes on; with `track` True a\n"
"MessageTracker is returned, which is done when the object may be changed again. A Frame answers\n"
"with its own tracker. `routing_id` and `group` are for draft types of sockets.\n"
"Raises Again if it would block (DONTWAIT, SNDTIMEO), TypeError, BufferError, ValueError for\n"
"track=True with an untracked Frame, RuntimeError for routing_id and group.");

PyDoc_STRVAR(send_multipart_doc,
"send_multipart($self, msg_parts, flags=0, copy=True, track=False, **kwargs)\n--\n\n"
"Sends a message of several parts, all or none; else as `send`. Returns what the `send` of the\n"
"last part would, but the tracker is one of all parts. `msg_parts` is a sequence that can be\n"
"sliced.\n"
"Raises TypeError if a part is no buffer, BufferError if one is not contiguous, IndexError if\n"
"there are none, Again.");

PyDoc_STRVAR(recv_doc,
"recv($self, flags=0, copy=True, track=False)\n--\n\n"
"The next message part as bytes, or with `copy` False as a Frame, which with `track` True has a\n"
"tracker that is done (zmq_msg_recv(3)). `flags`: DONTWAIT.\n"
"Raises Again if there is none (DONTWAIT, RCVTIMEO).");

PyDoc_STRVAR(recv_multipart_doc,
"recv_multipart($self, flags=0, copy=True, track=False)\n--\n\n"
"A list of all parts of the next message; else as `recv`.");

PyDoc_STRVAR(send_many_doc,
"send_many($self, messages, *, flags=0, copy=True)\n--\n\n"
"Sends `messages` one after the other, in few system calls: each is a buffer or Frame, or a list\n"
"or tuple of them for a message of several parts. `flags` and `copy` as of `send`. Returns how\n"
"many were sent: fewer than all only if the next one would block (DONTWAIT, or SNDTIMEO, which\n"
"counts once for all), or failed.\n"
"Raises only if none was sent, what send() and send_multipart() raise; TypeError, BufferError and\n"
"IndexError for what is no message, and ValueError for SNDMORE, before any is sent.\n"
"Does not call the send() of a subclass.");

PyDoc_STRVAR(recv_many_doc,
"recv_many($self, max, *, flags=0, copy=True, multipart=False)\n--\n\n"
"Waits for one message as `recv` does, and answers a list of those that are there by then, up to\n"
"`max`.\n"
"A message of one part is bytes, or a Frame with `copy` False; one of several parts a list of\n"
"them. With `multipart` True each message is a list.\n"
"Raises ValueError if `max` is less than 1, Again if there is none (DONTWAIT, RCVTIMEO).\n"
"Does not call the recv() of a subclass.");

PyDoc_STRVAR(recv_into_doc,
"recv_into($self, buffer, /, *, nbytes=0, flags=0)\n--\n\n"
"Receives the next part into `buffer`, writable and contiguous, up to `nbytes` bytes (0: all of\n"
"it); the rest of the part is lost. Returns the size of the whole part. `flags`: DONTWAIT.\n"
"Raises ValueError if nbytes does not fit the buffer, BufferError, TypeError, Again.");

PyDoc_STRVAR(open_doc,
"_zm_open($self, context, type, /)\n--\n\n"
"Makes a socket of a `type` in the engine's `context`, and attaches it (zmq_socket(3)).");

PyDoc_STRVAR(close_doc,
"close($self, linger=None)\n--\n\n"
"Closes the socket; what is queued may still leave for LINGER ms (`linger` sets it).\n\n"
"Twice is fine, and in a forked child it does nothing. Source: zmq_close(3).");

PyDoc_STRVAR(set_doc,
"set($self, option, optval)\n--\n\n"
"Sets an `option` of the socket, a SocketOption, to `optval`, as `socket.linger = 0` does.\n\n"
"An int or, for options of bytes or text, bytes; the page of socket options has the range, the\n"
"unit and the default of each. Raises ZMQError(EINVAL) for an unknown option, one of another type\n"
"of socket, and a value outside its range; TypeError for a value of another type; OverflowError\n"
"for an int that the option has no room for. Source: zmq_setsockopt(3).");

PyDoc_STRVAR(get_doc,
"get($self, option)\n--\n\n"
"The value of an `option` of the socket, a SocketOption: an int, or bytes for bytes and text.\n\n"
"Keys of CURVE come as Z85 text of 40 characters. Raises ZMQError(EINVAL) for an unknown option,\n"
"one of another type of socket, and one that can only be set. Source: zmq_getsockopt(3).");

PyDoc_STRVAR(bind_doc,
"_zm_bind($self, addr)\n--\n\n"
"Accepts peers on an endpoint. Source: zmq_bind(3).");

PyDoc_STRVAR(connect_doc,
"connect($self, addr)\n--\n\n"
"Connects to an endpoint, now or when it comes up. Source: zmq_connect(3).");

PyDoc_STRVAR(unbind_doc,
"unbind($self, addr)\n--\n\n"
"Ends a `bind`; ZMQError(ENOENT) when there is none to `addr`. Source: zmq_unbind(3).");

PyDoc_STRVAR(disconnect_doc,
"disconnect($self, addr)\n--\n\n"
"Ends a `connect`; ZMQError(ENOENT) as `unbind`. Source: zmq_disconnect(3).");

PyDoc_STRVAR(monitor_doc,
"monitor($self, addr, events=65535)\n--\n\n"
"Publishes what happens to the connections, those of `events` (default: all), on a PAIR bound to\n"
"`addr` (inproc).\n\n"
"None stops it. Source: zmq_socket_monitor(3).");

/* A call in its object's critical section; with a GIL it is the call itself. */
#ifdef Py_GIL_DISABLED
#define ALONE(type, call, parameters, arguments) \
    static type call##_alone parameters \
    { \
        type answer; \
        Py_BEGIN_CRITICAL_SECTION(op); \
        answer = call arguments; \
        Py_END_CRITICAL_SECTION(); \
        return answer; \
    }
#define NAME_ALONE(call) call##_alone
#else
#define ALONE(type, call, parameters, arguments)
#define NAME_ALONE(call) call
#endif

#define ALONE_FAST(call) \
    ALONE(PyObject *, call, \
          (PyObject * op, PyObject *const *args, Py_ssize_t nargs, PyObject *names), \
          (op, args, nargs, names))
#define ALONE_ONE(call) \
    ALONE(PyObject *, call, (PyObject * op, PyObject * argument), (op, argument))
#define ALONE_GET(call) ALONE(PyObject *, call, (PyObject * op, void *unused), (op, unused))

ALONE_FAST(ext_send)
ALONE_FAST(ext_recv)
ALONE_FAST(ext_send_multipart)
ALONE_FAST(ext_recv_multipart)
ALONE_FAST(ext_recv_into)
ALONE_FAST(ext_send_many)
ALONE_FAST(ext_recv_many)
ALONE_FAST(ext_close)
ALONE_FAST(ext_set)
ALONE_FAST(ext_get)
ALONE_FAST(ext_bind)
ALONE_FAST(ext_connect)
ALONE_FAST(ext_unbind)
ALONE_FAST(ext_disconnect)
ALONE_FAST(ext_monitor)
ALONE(PyObject *, ext_open, (PyObject * op, PyObject *const *args, Py_ssize_t nargs),
      (op, args, nargs))
ALONE_ONE(socket_attach)
ALONE_ONE(socket_get_int)
ALONE_ONE(socket_spin)
ALONE_GET(ext_get_closed)
ALONE_GET(socket_get_own_closed)
ALONE_GET(socket_get_pid)
ALONE_GET(socket_get_underlying)
ALONE_GET(socket_get_copy_threshold)
ALONE(int, socket_set_copy_threshold, (PyObject * op, PyObject *value, void *unused),
      (op, value, unused))

#define METHOD(name, call, flags, doc) \
    {name, (PyCFunction) (void (*)(void)) NAME_ALONE(call), flags, doc}
#define FAST_METHOD(name) METHOD(#name, ext_##name, METH_FASTCALL | METH_KEYWORDS, name##_doc)

static PyMethodDef socket_methods[] = {
    FAST_METHOD(send),
    FAST_METHOD(recv),
    FAST_METHOD(send_multipart),
    FAST_METHOD(recv_multipart),
    FAST_METHOD(recv_into),
    FAST_METHOD(send_many),
    FAST_METHOD(recv_many),
    FAST_METHOD(close),
    FAST_METHOD(set),
    FAST_METHOD(get),
    FAST_METHOD(connect),
    FAST_METHOD(unbind),
    FAST_METHOD(disconnect),
    FAST_METHOD(monitor),
    METHOD("_zm_bind", ext_bind, METH_FASTCALL | METH_KEYWORDS, bind_doc),
    METHOD("_zm_open", ext_open, METH_FASTCALL, open_doc),
    METHOD("_zm_attach", socket_attach, METH_O, attach_doc),
    METHOD("_zm_get_int", socket_get_int, METH_O, get_int_doc),
    METHOD("_zm_spin", socket_spin, METH_NOARGS, spin_doc),
    {"_zm_plain_lookup", socket_plain_lookup, METH_NOARGS | METH_CLASS, plain_lookup_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef socket_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ext_socket, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef socket_getset[] = {
    {"_closed", NAME_ALONE(socket_get_own_closed), NULL,
     "Was it closed through this object? See `closed`.", NULL},
    {"_zm_pid", NAME_ALONE(socket_get_pid), NULL, NULL, NULL},
    {"closed", NAME_ALONE(ext_get_closed), NULL,
     "Is the socket closed, by whomever? Asks the engine, so it is true of shadows, too.", NULL},
    {"underlying", NAME_ALONE(socket_get_underlying), NULL,
     "The engine's number for this socket, from which another Socket can be made.", NULL},
    {"copy_threshold", NAME_ALONE(socket_get_copy_threshold), NAME_ALONE(socket_set_copy_threshold),
     "With copy=False, messages of fewer bytes are copied all the same.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot socket_slots[] = {
    {Py_tp_doc, "The calls of a socket that are made once a message."},
    {Py_tp_new, socket_tp_new},
    {Py_tp_dealloc, socket_dealloc},
    {Py_tp_traverse, socket_traverse},
    {Py_tp_methods, socket_methods},
    {Py_tp_members, socket_members},
    {Py_tp_getset, socket_getset},
    {0, NULL},
};

static PyType_Spec socket_spec = {
    .name = "zmq_monocoque._ext.SocketBase",
    .basicsize = sizeof(ext_socket),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = socket_slots,
};

PyTypeObject *ext_socket_type_new(PyObject *module)
{
    return (PyTypeObject *) PyType_FromModuleAndSpec(module, &socket_spec, NULL);
}
