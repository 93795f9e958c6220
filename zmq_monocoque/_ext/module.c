/* The module: makes bindings (an engine's table and a set of hooks), turns errnos into exceptions
 * by asking the hooks, and reads arguments. Nothing here is called on the common path of a message
 * except ext_arguments(). */
#include "binding.h"

#include <errno.h>
#include <string.h>

ext_names ext_name;

static int names_init(void)
{
    static const struct {
        PyObject **slot;
        const char *text;
    } table[] = {
        {&ext_name.data, "data"},
        {&ext_name.msg_parts, "msg_parts"},
        {&ext_name.flags, "flags"},
        {&ext_name.copy, "copy"},
        {&ext_name.track, "track"},
        {&ext_name.routing_id, "routing_id"},
        {&ext_name.group, "group"},
        {&ext_name.nbytes, "nbytes"},
        {&ext_name.copy_threshold, "copy_threshold"},
        {&ext_name.messages, "messages"},
        {&ext_name.max, "max"},
        {&ext_name.multipart, "multipart"},
        {&ext_name.send, "send"},
        {&ext_name.recv, "recv"},
        {&ext_name.getsockopt, "getsockopt"},
        {&ext_name.set, "set"},
        {&ext_name.is_set, "is_set"},
        {&ext_name.binding, "_zm_binding"},
        {&ext_name.error, "error"},
        {&ext_name.frame_class, "frame_class"},
        {&ext_name.event, "event"},
        {&ext_name.tracker, "tracker"},
        {&ext_name.get_finished_tracker, "finished_tracker"},
        {&ext_name.gc_refs, "gc_refs"},
        {&ext_name.gcref, "gcref"},
        {&ext_name.option_type, "option_type"},
        {&ext_name.option, "option"},
        {&ext_name.optval, "optval"},
        {&ext_name.addr, "addr"},
        {&ext_name.events, "events"},
        {&ext_name.linger, "linger"},
        {&ext_name.fileno, "fileno"},
        {&ext_name.sockets, "sockets"},
        {&ext_name.timeout, "timeout"},
        {&ext_name.explain, "_zm_explain"},
        {&ext_name.explain_option, "_zm_explain_option"},
        {&ext_name.explain_end, "_zm_explain_end"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!*table[i].slot && !(*table[i].slot = PyUnicode_InternFromString(table[i].text)))
            return -1;
    }
    return 0;
}

/* --- arguments -------------------------------------------------------------------------------- */

static int argument_index(const ext_signature *signature, PyObject *name)
{
    for (int i = 0; i < signature->count; i++) {
        if (name == *signature->names[i])
            return i;
    }
    for (int i = 0; i < signature->count; i++) {
        if (PyUnicode_Compare(name, *signature->names[i]) == 0)
            return i;
    }
    return -1;
}

int ext_arguments(const ext_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames, PyObject **values)
{
    if (nargs > signature->count) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional arguments (%zd given)",
                     signature->function, signature->count, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++)
        values[i] = args[i];
    Py_ssize_t keyword_count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = 0; i < keyword_count; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        int index = argument_index(signature, name);
        if (index < 0) {
            if (signature->open)
                continue;
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R",
                         signature->function, name);
            return -1;
        }
        if (values[index]) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument %R",
                         signature->function, name);
            return -1;
        }
        values[index] = args[nargs + i];
    }
    for (int i = 0; i < signature->required; i++) {
        if (!values[i]) {
            PyErr_Format(PyExc_TypeError, "%s() missing a required argument: %R",
                         signature->function, *signature->names[i]);
            return -1;
        }
    }
    return 0;
}

int ext_size(PyObject *value, Py_ssize_t *out)
{
    if (!value)
        return 0;
    if (PyLong_Check(value)) {
        *out = PyLong_AsSsize_t(value);
    } else {
        /* pyzmq takes floats (and cuts them) where it wants ints. */
        PyObject *number = PyFloat_Check(value) ? PyNumber_Long(value) : PyNumber_Index(value);
        if (!number) {
            if (PyErr_ExceptionMatches(PyExc_TypeError))
                PyErr_Format(PyExc_TypeError, "an integer is required, not %.200s",
                             Py_TYPE(value)->tp_name);
            return -1;
        }
        *out = PyLong_AsSsize_t(number);
        Py_DECREF(number);
    }
    return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

int ext_int(PyObject *value, int *out)
{
    Py_ssize_t wide = *out;
    if (ext_size(value, &wide) < 0)
        return -1;
    if (wide < INT_MIN || wide > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "value too large for a C int");
        return -1;
    }
    *out = (int) wide;
    return 0;
}

int ext_handle(PyObject *value, int64_t *out)
{
    *out = PyLong_AsLongLong(value);
    return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

int ext_bool(PyObject *value, bool *out)
{
    if (!value)
        return 0;
    int truth = value == Py_True ? 1 : value == Py_False ? 0 : PyObject_IsTrue(value);
    if (truth < 0)
        return -1;
    *out = truth;
    return 0;
}

/* --- hooks ------------------------------------------------------------------------------------ */

PyObject *ext_raise(ext_binding *binding, int error)
{
    binding->api->set_errno(error);
    PyObject *number = PyLong_FromLong(error);
    if (!number)
        return NULL;
    PyObject *exception = PyObject_CallMethodOneArg(binding->hooks, ext_name.error, number);
    Py_DECREF(number);
    if (!exception)
        return NULL;
    if (PyExceptionInstance_Check(exception))
        PyErr_SetObject((PyObject *) Py_TYPE(exception), exception);
    else
        PyErr_Format(PyExc_TypeError, "the hook error() made %R, not an exception", exception);
    Py_DECREF(exception);
    return NULL;
}

PyObject *ext_event_new(ext_binding *binding)
{
    return PyObject_CallMethodNoArgs(binding->hooks, ext_name.event);
}

PyObject *ext_tracker_new(ext_binding *binding, PyObject *event)
{
    return PyObject_CallMethodOneArg(binding->hooks, ext_name.tracker, event);
}

PyObject *ext_tracker_of_all(ext_binding *binding, PyObject *trackers)
{
    PyObject *hook = PyObject_GetAttr(binding->hooks, ext_name.tracker);
    PyObject *arguments = hook ? PyList_AsTuple(trackers) : NULL;
    PyObject *tracker = arguments ? PyObject_CallObject(hook, arguments) : NULL;
    Py_XDECREF(hook);
    Py_XDECREF(arguments);
    return tracker;
}

/* Keeps what a hook answered, unless another thread was first. What is kept stays. */
static PyObject *keep_first(_Atomic(PyObject *) *slot, PyObject *taken)
{
    PyObject *first = NULL;
    if (atomic_compare_exchange_strong(slot, &first, taken))
        return taken;
    Py_DECREF(taken);
    return first;
}

PyObject *ext_finished_tracker(ext_binding *binding)
{
    PyObject *tracker = atomic_load_explicit(&binding->finished_tracker, memory_order_acquire);
    if (!tracker) {
        tracker = PyObject_CallMethodNoArgs(binding->hooks, ext_name.get_finished_tracker);
        if (!tracker)
            return NULL;
        tracker = keep_first(&binding->finished_tracker, tracker);
    }
    return Py_NewRef(tracker);
}

PyTypeObject *ext_frame_class(ext_binding *binding)
{
    PyObject *kept = atomic_load_explicit(&binding->frame_class, memory_order_acquire);
    if (kept)
        return (PyTypeObject *) kept;
    PyObject *type = PyObject_CallMethodNoArgs(binding->hooks, ext_name.frame_class);
    if (!type)
        return NULL;
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *) type, binding->frame_type)) {
        PyErr_Format(PyExc_TypeError, "the hook frame_class() gave %R, no subclass of our Frame",
                     type);
        Py_DECREF(type);
        return NULL;
    }
    return (PyTypeObject *) keep_first(&binding->frame_class, type);
}

ext_option_kind ext_option_kind_of(ext_binding *binding, int option)
{
    bool remembered = option >= 0 && option < EXT_OPTIONS;
    ext_option_kind kind =
        remembered ? atomic_load_explicit(&binding->option_kinds[option], memory_order_relaxed) : 0;
    if (kind)
        return kind;
    PyObject *number = PyLong_FromLong(option);
    PyObject *name = number
                         ? PyObject_CallMethodOneArg(binding->hooks, ext_name.option_type, number)
                         : NULL;
    Py_XDECREF(number);
    const char *text = name ? PyUnicode_AsUTF8(name) : NULL;
    if (text)
        kind = !strcmp(text, "bytes") ? EXT_BYTES : !strcmp(text, "int64") ? EXT_INT64 : EXT_INT;
    Py_XDECREF(name);
    if (kind && remembered)
        atomic_store_explicit(&binding->option_kinds[option], (uint8_t) kind, memory_order_relaxed);
    return kind;
}

int ext_copy_threshold(ext_binding *binding, Py_ssize_t *out)
{
    PyObject *value = PyObject_CallMethodNoArgs(binding->hooks, ext_name.copy_threshold);
    if (!value)
        return -1;
    int rc = ext_size(value, out);
    Py_DECREF(value);
    return rc;
}

/* --- the binding ------------------------------------------------------------------------------ */

static int binding_traverse(PyObject *op, visitproc visit, void *arg)
{
    ext_binding *self = (ext_binding *) op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->hooks);
    Py_VISIT(self->socket_type);
    Py_VISIT(self->frame_type);
    Py_VISIT(self->own_send);
    Py_VISIT(self->own_recv);
    Py_VISIT(atomic_load(&self->frame_class));
    Py_VISIT(atomic_load(&self->finished_tracker));
    return 0;
}

/* Sockets and frames keep their binding and may be used by finalizers after this: what they call
 * (the hooks) and compare with (the types) stays until the binding itself goes. The cycles are
 * broken at the types, whose own clear drops the binding. */
static int binding_clear(PyObject *op)
{
    ext_binding *self = (ext_binding *) op;
    Py_XDECREF(atomic_exchange(&self->frame_class, NULL));
    Py_XDECREF(atomic_exchange(&self->finished_tracker, NULL));
    return 0;
}

static void binding_dealloc(PyObject *op)
{
    ext_binding *self = (ext_binding *) op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    binding_clear(op);
    Py_CLEAR(self->hooks);
    Py_CLEAR(self->own_send);
    Py_CLEAR(self->own_recv);
    Py_CLEAR(self->socket_type);
    Py_CLEAR(self->frame_type);
    type->tp_free(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(poll_doc,
"poll($self, sockets, timeout=-1)\n--\n\n"
"zmq_poll() of this binding's sockets.");

static PyObject *binding_poll(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    static const ext_signature signature = {
        .function = "poll",
        .names = {&ext_name.sockets, &ext_name.timeout},
        .count = 2,
        .required = 1,
    };
    PyObject *values[6] = {NULL};
    if (ext_arguments(&signature, args, nargs, kwnames, values) < 0)
        return NULL;
    return ext_poll((ext_binding *) op, values[0], values[1]);
}

static int nargs_check(const char *function, Py_ssize_t nargs, Py_ssize_t wanted)
{
    if (nargs == wanted)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments (%zd given)", function, wanted, nargs);
    return -1;
}

PyDoc_STRVAR(context_new_doc,
"context_new($self, io_threads, /)\n--\n\n"
"The handle of a new context.");

static PyObject *binding_context_new(PyObject *op, PyObject *threads)
{
    ext_binding *self = (ext_binding *) op;
    int number = 0;
    if (ext_int(threads, &number) < 0)
        return NULL;
    int64_t handle = self->api->context_new(number);
    return handle < 0 ? ext_raise(self, (int) -handle) : PyLong_FromLongLong(handle);
}

PyDoc_STRVAR(context_set_doc,
"context_set($self, context, option, value, /)\n--\n\n"
"zmq_ctx_set(3).");

static PyObject *binding_context_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    ext_binding *self = (ext_binding *) op;
    int64_t context = 0;
    int option = 0, value = 0, status;
    if (nargs_check("context_set", nargs, 3) < 0 || ext_handle(args[0], &context) < 0
        || ext_int(args[1], &option) < 0 || ext_int(args[2], &value) < 0)
        return NULL;
    EXT_CALL(status, self->api->context_set(context, option, value, brief));
    return status < 0 ? ext_raise(self, -status) : Py_NewRef(Py_None);
}

PyDoc_STRVAR(context_get_doc,
"context_get($self, context, option, /)\n--\n\n"
"zmq_ctx_get(3).");

static PyObject *binding_context_get(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    ext_binding *self = (ext_binding *) op;
    int64_t context = 0;
    int option = 0, value = 0, status;
    if (nargs_check("context_get", nargs, 2) < 0 || ext_handle(args[0], &context) < 0
        || ext_int(args[1], &option) < 0)
        return NULL;
    EXT_CALL(status, self->api->context_get(context, option, &value, brief));
    return status < 0 ? ext_raise(self, -status) : PyLong_FromLong(value);
}

static PyMethodDef binding_methods[] = {
    {"context_new", binding_context_new, METH_O, context_new_doc},
    {"context_set", (PyCFunction) (void (*)(void)) binding_context_set, METH_FASTCALL,
     context_set_doc},
    {"context_get", (PyCFunction) (void (*)(void)) binding_context_get, METH_FASTCALL,
     context_get_doc},
    {"poll", (PyCFunction) (void (*)(void)) binding_poll, METH_FASTCALL | METH_KEYWORDS, poll_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot binding_slots[] = {
    {Py_tp_doc, "An engine's function table and the Python hooks it works with."},
    {Py_tp_methods, binding_methods},
    {Py_tp_traverse, binding_traverse},
    {Py_tp_clear, binding_clear},
    {Py_tp_dealloc, binding_dealloc},
    {0, NULL},
};

static PyType_Spec binding_spec = {
    .name = "zmq_monocoque._ext.Binding",
    .basicsize = sizeof(ext_binding),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = binding_slots,
};

ext_binding *ext_binding_of(PyTypeObject *type)
{
    PyObject *binding = PyObject_GetAttr((PyObject *) type, ext_name.binding);
    if (binding && Py_TYPE(binding)->tp_dealloc != binding_dealloc) {
        PyErr_Format(PyExc_TypeError, "%.200s._zm_binding is not a binding", type->tp_name);
        Py_CLEAR(binding);
    }
    return (ext_binding *) binding;
}

/* --- the module ------------------------------------------------------------------------------- */

typedef struct {
    PyTypeObject *binding_type;
} module_state;

/* Is the table at `address` the one we were built for? Else ImportError. */
const zm_api *ext_api_at(PyObject *address)
{
    const zm_api *api = PyLong_AsVoidPtr(address);
    if (!api) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ImportError, "the engine's function table has no address");
        return NULL;
    }
    if (api->size != sizeof(zm_api) || api->version != ZM_API_VERSION) {
        PyErr_Format(PyExc_ImportError,
                     "the engine's function table has version %u and %u bytes, the extension was "
                     "built for version %u and %zu bytes: build both again",
                     api->version, api->size, ZM_API_VERSION, sizeof(zm_api));
        return NULL;
    }
    return api;
}

static int hooks_check(PyObject *hooks)
{
    PyObject *needed[] = {ext_name.error,   ext_name.frame_class,          ext_name.event,
                          ext_name.tracker, ext_name.get_finished_tracker, ext_name.gc_refs,
                          ext_name.gcref,   ext_name.copy_threshold,       ext_name.option_type};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        PyObject *hook = PyObject_GetAttr(hooks, needed[i]);
        if (!hook)
            return -1;
        Py_DECREF(hook);
    }
    return 0;
}

PyDoc_STRVAR(bind_doc,
"bind($module, api_address, hooks, /)\n--\n\n"
"Makes a pair of classes, (SocketBase, Frame), over the engine whose function table is at\n"
"`api_address`.\n\n"
"`hooks` is an object with these callables, looked up when they are needed:\n"
"  error(errno) -> the exception to raise\n"
"  frame_class() -> what recv(copy=False) makes, a subclass of this Frame\n"
"  event() -> a new event, with set() and is_set()\n"
"  tracker(*watched) -> a MessageTracker of events and other trackers\n"
"  finished_tracker() -> the tracker that is always done\n"
"  copy_threshold() -> bytes from which copy=False does not copy\n"
"  option_type(option) -> 'int', 'int64', 'bytes' or 'fd'; does not change\n"
"  gc_refs() -> the dict that shows what is in the engine's hands\n"
"  gcref(object, event) -> the entry to put into it\n\n"
"Raises ImportError if the table is not the one the extension was built for, AttributeError if a\n"
"hook is missing.");

static PyObject *module_bind(PyObject *module, PyObject *args)
{
    PyObject *address, *hooks;
    if (!PyArg_ParseTuple(args, "O!O:bind", &PyLong_Type, &address, &hooks))
        return NULL;
    const zm_api *api = ext_api_at(address);
    if (!api || hooks_check(hooks) < 0)
        return NULL;
    module_state *state = PyModule_GetState(module);
    ext_binding *self = (ext_binding *) state->binding_type->tp_alloc(state->binding_type, 0);
    if (!self)
        return NULL;
    PyObject *pair = NULL;
    self->api = api;
    self->hooks = Py_NewRef(hooks);
    self->socket_type = ext_socket_type_new(module);
    self->frame_type = self->socket_type ? ext_frame_type_new(module) : NULL;
    if (!self->frame_type)
        goto out;
    PyObject *socket_type = (PyObject *) self->socket_type;
    PyObject *frame_type = (PyObject *) self->frame_type;
    self->own_send = PyObject_GetAttr(socket_type, ext_name.send);
    self->own_recv = PyObject_GetAttr(socket_type, ext_name.recv);
    if (self->own_send && self->own_recv
        && PyObject_SetAttr(socket_type, ext_name.binding, (PyObject *) self) == 0
        && PyObject_SetAttr(frame_type, ext_name.binding, (PyObject *) self) == 0)
        pair = PyTuple_Pack(2, socket_type, frame_type);
out:
    Py_DECREF(self);
    return pair;
}

/* The names, the list of released holds and what waiters sleep on are one a process, and what is in
 * them belongs to one interpreter: the first that imports the extension. Cython, and with it pyzmq,
 * does the same. */
static int only_interpreter_check(void)
{
    static _Atomic int64_t owner = -1;
    int64_t expected = -1, mine = PyInterpreterState_GetID(PyInterpreterState_Get());
    if (mine < 0)
        return -1;
    if (atomic_compare_exchange_strong(&owner, &expected, mine) || expected == mine)
        return 0;
    PyErr_SetString(PyExc_ImportError,
                    "zmq_monocoque can be imported by one interpreter of a process only, and "
                    "another one has imported it before");
    return -1;
}

static int module_exec(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    if (only_interpreter_check() < 0 || names_init() < 0 || ext_signals_init() < 0)
        return -1;
    state->binding_type = (PyTypeObject *) PyType_FromModuleAndSpec(module, &binding_spec, NULL);
    if (!state->binding_type)
        return -1;
    return ext_release_init(module);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    module_state *state = PyModule_GetState(module);
    Py_VISIT(state->binding_type);
    return 0;
}

static int module_clear(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->binding_type);
    return 0;
}

PyDoc_STRVAR(interruptible_doc,
"interruptible($module, api_address, call, /, *args)\n--\n\n"
"Answers call(*args), an engine call that may wait. Called by the thread that runs signal\n"
"handlers, it goes back to its caller (-EINTR) for a signal that comes at any moment. Handlers\n"
"that are due may run first, and what they raise gets out.");

PyDoc_STRVAR(signals_after_fork_doc,
"signals_after_fork($module, /)\n--\n\n"
"In a forked child: Python no longer writes to its parent.");

static PyMethodDef module_methods[] = {
    {"bind", module_bind, METH_VARARGS, bind_doc},
    {"interruptible", (PyCFunction) (void (*)(void)) ext_interruptible, METH_FASTCALL,
     interruptible_doc},
    {"signals_after_fork", ext_signals_after_fork, METH_NOARGS, signals_after_fork_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    /* Refuses interpreters with a GIL of their own; only_interpreter_check() does the others. */
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "zmq_monocoque._ext",
    .m_doc = "send, recv and Frame over the engine's function table.",
    .m_size = sizeof(module_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__ext(void)
{
    return PyModuleDef_Init(&module_def);
}
