/* Frame: one message part as a Python object. Its body is a block of the engine's, a block over a
 * Python object's memory (zero-copy), or, when short, memory of its own. The body's place never
 * changes during the frame's life; views of it keep the frame alive.
 *
 * Knows nothing of sockets. */
#include "binding.h"

#include <errno.h>
#include <string.h>

enum { OPTION_MORE = 1, OPTION_SRCFD = 2, OPTION_SHARED = 3 }; /* zmq_msg_get(3) */

/* --- making one ------------------------------------------------------------------------------- */

/* Takes `binding`. */
static ext_frame *frame_alloc(PyTypeObject *type, ext_binding *taken)
{
    ext_frame *self = taken ? (ext_frame *) type->tp_alloc(type, 0) : NULL;
    if (!self) {
        Py_XDECREF(taken);
        return NULL;
    }
    self->binding = taken;
    self->data = (const uint8_t *) "";
    return self;
}

/* Gives a new frame a body of its own. 0, or -1 with MemoryError. */
static int frame_fill(ext_frame *self, const void *data, Py_ssize_t size)
{
    if (size >= EXT_SHARE_MIN_BYTES) {
        self->block = ext_hold_copy(self->binding->api, data, size);
        if (!self->block)
            return -1;
        self->data = self->block->data;
    } else if (size > 0) {
        self->storage = PyMem_Malloc((size_t) size);
        if (!self->storage) {
            PyErr_NoMemory();
            return -1;
        }
        memcpy(self->storage, data, (size_t) size);
        self->data = self->storage;
    }
    self->size = size;
    return 0;
}

/* Gives a new frame the memory of `object` as its body. A view with an owner is taken, on success
 * only. 0, or -1 with an exception. */
static int frame_fill_foreign(ext_frame *self, PyObject *object, Py_buffer *view, bool track)
{
    ext_binding *binding = self->binding;
    if (track) {
        self->tracker_event = ext_event_new(binding);
        if (!self->tracker_event)
            return -1;
        self->tracker = ext_tracker_new(binding, self->tracker_event);
        if (!self->tracker)
            return -1;
    }
    /* pyzmq's programs and tests count references: one in gc.refs, and one that each frame has. A
     * view with an owner already holds that second one. */
    if (!view->obj)
        self->source = Py_NewRef(object);
    self->lent = self->source || self->tracker_event;
    self->data = view->buf;
    self->size = view->len;
    self->block = ext_hold_foreign(binding, object, view, self->tracker_event);
    return self->block ? 0 : -1;
}

/* Fills a new frame from the constructor's data. 0, or -1 with an exception. */
static int frame_fill_from(ext_frame *self, PyObject *data, PyObject *copy,
                           PyObject *copy_threshold, bool track)
{
    if (PyUnicode_Check(data)) {
        PyErr_SetString(PyExc_TypeError, "Str objects not allowed: a Frame holds bytes");
        return -1;
    }
    Py_buffer view = {0};
    if (PyBytes_CheckExact(data)) { /* no export needed: bytes stay as and where they are */
        view.buf = PyBytes_AS_STRING(data);
        view.len = PyBytes_GET_SIZE(data);
    } else if (PyObject_GetBuffer(data, &view, PyBUF_ANY_CONTIGUOUS) < 0) {
        return -1;
    }
    int rc = -1;
    bool copied = true;
    if (copy == Py_None) {
        Py_ssize_t threshold = 0;
        if ((copy_threshold == Py_None ? ext_copy_threshold(self->binding, &threshold)
                                       : ext_size(copy_threshold, &threshold))
            < 0)
            goto out;
        copied = view.len < threshold;
    } else if (ext_bool(copy, &copied) < 0) {
        goto out;
    }
    if (!copied) {
        rc = frame_fill_foreign(self, data, &view, track);
    } else {
        rc = frame_fill(self, view.buf, view.len);
        if (rc == 0 && track && !(self->tracker = ext_finished_tracker(self->binding)))
            rc = -1;
    }
out:
    PyBuffer_Release(&view);
    return rc;
}

/* `kwargs` is the call's own, and keeps its values meanwhile. */
static PyObject *frame_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    ext_drain_if_due();
    PyObject *values[4] = {Py_None, Py_False, Py_None, Py_None};
    PyObject *names[4] = {ext_name.data, ext_name.track, ext_name.copy, ext_name.copy_threshold};
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (count > 4)
        return PyErr_Format(PyExc_TypeError, "Frame() takes at most 4 arguments (%zd given)",
                            count);
    for (Py_ssize_t i = 0; i < 4; i++) {
        if (i < count) {
            values[i] = PyTuple_GET_ITEM(args, i);
        } else if (kwargs) { /* other keywords are a subclass's business */
            PyObject *value = PyDict_GetItemWithError(kwargs, names[i]);
            if (value)
                values[i] = value;
            else if (PyErr_Occurred())
                return NULL;
        }
    }
    bool track = false;
    if (ext_bool(values[1], &track) < 0)
        return NULL;
    ext_frame *self = frame_alloc(type, ext_binding_of(type));
    if (!self)
        return NULL;
    int rc = 0;
    if (values[0] != Py_None)
        rc = frame_fill_from(self, values[0], values[2], values[3], track);
    else if (track && !(self->tracker = ext_finished_tracker(self->binding)))
        rc = -1;
    if (rc < 0)
        Py_CLEAR(self);
    return (PyObject *) self;
}

PyObject *ext_frame_received(ext_binding *binding, zm_block *taken_block, const uint8_t *data,
                             size_t size, zm_metadata *taken_metadata, bool more, bool track)
{
    PyTypeObject *type = ext_frame_class(binding);
    ext_frame *self = type ? frame_alloc(type, (ext_binding *) Py_NewRef(binding)) : NULL;
    if (!self) {
        ext_block_unref(binding->api, taken_block);
        if (taken_metadata)
            binding->api->metadata_unref(taken_metadata);
        return NULL;
    }
    self->block = taken_block;
    self->data = data;
    self->size = (Py_ssize_t) size;
    self->metadata = taken_metadata;
    self->more = more;
    if (track && !(self->tracker = ext_finished_tracker(binding)))
        Py_CLEAR(self);
    return (PyObject *) self;
}

PyDoc_STRVAR(fast_copy_doc,
"fast_copy($self, /)\n--\n\n"
"A frame of the same class that shares this one's body, tracker and properties.");

static PyObject *frame_fast_copy(PyObject *op, PyObject *unused)
{
    (void) unused;
    ext_frame *self = (ext_frame *) op;
    ext_frame *copy = frame_alloc(Py_TYPE(op),
                                  (ext_binding *) Py_NewRef((PyObject *) self->binding));
    if (!copy)
        return NULL;
    const zm_api *api = self->binding->api;
    if (self->block) {
        copy->block = api->block_ref(self->block);
        copy->data = self->data;
        copy->size = self->size;
    } else if (frame_fill(copy, self->data, self->size) < 0) {
        Py_DECREF(copy);
        return NULL;
    }
    if (self->metadata)
        copy->metadata = api->metadata_ref(self->metadata);
    copy->source = Py_XNewRef(self->source);
    copy->lent = self->lent;
    Py_BEGIN_CRITICAL_SECTION(op);
    copy->bytes = Py_XNewRef(self->bytes);
    copy->tracker = Py_XNewRef(self->tracker);
    copy->tracker_event = Py_XNewRef(self->tracker_event);
    copy->more = self->more;
    Py_END_CRITICAL_SECTION();
    return (PyObject *) copy;
}

/* --- the end of one --------------------------------------------------------------------------- */

static int frame_traverse(PyObject *op, visitproc visit, void *arg)
{
    ext_frame *self = (ext_frame *) op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->binding);
    Py_VISIT(self->source);
    Py_VISIT(self->bytes);
    Py_VISIT(self->view_ref);
    Py_VISIT(self->tracker);
    Py_VISIT(self->tracker_event);
    return 0;
}

/* The body stays until the end, so that a cleared frame is still a valid one. */
static int frame_clear(PyObject *op)
{
    ext_frame *self = (ext_frame *) op;
    Py_CLEAR(self->source);
    Py_CLEAR(self->bytes);
    Py_CLEAR(self->view_ref);
    Py_CLEAR(self->tracker);
    Py_CLEAR(self->tracker_event);
    return 0;
}

static void frame_dealloc(PyObject *op)
{
    ext_frame *self = (ext_frame *) op;
    PyTypeObject *type = Py_TYPE(op);
    const zm_api *api = self->binding->api;
    PyObject_GC_UnTrack(op);
    PyObject_ClearWeakRefs(op);
    frame_clear(op);
    PyMem_Free(self->storage);
    if (self->metadata)
        api->metadata_unref(self->metadata);
    /* The last reference to a block that was never sent, or has left: its object is released and
     * its event set now, not some time later. */
    if (self->block)
        ext_block_unref(api, self->block);
    Py_DECREF(self->binding);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- its body --------------------------------------------------------------------------------- */

static int frame_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    ext_frame *self = (ext_frame *) op;
    /* Writable, as pyzmq's are, whatever the body is made of. */
    return PyBuffer_FillInfo(view, op, (void *) (uintptr_t) self->data, self->size, 0, flags);
}

static Py_ssize_t frame_length(PyObject *op)
{
    return ((ext_frame *) op)->size;
}

static PyObject *frame_get_bytes(PyObject *op, void *unused)
{
    (void) unused;
    ext_frame *self = (ext_frame *) op;
    PyObject *bytes;
    Py_BEGIN_CRITICAL_SECTION(op);
    if (!self->bytes)
        self->bytes = PyBytes_FromStringAndSize((const char *) self->data, self->size);
    bytes = Py_XNewRef(self->bytes);
    Py_END_CRITICAL_SECTION();
    return bytes;
}

/* In the frame's critical section. */
static PyObject *view_of(ext_frame *self)
{
    PyObject *view = NULL;
    if (self->view_ref) {
#if PY_VERSION_HEX >= 0x030D0000
        if (PyWeakref_GetRef(self->view_ref, &view) < 0)
            return NULL;
#else
        PyObject *alive = PyWeakref_GET_OBJECT(self->view_ref);
        if (alive != Py_None)
            view = Py_NewRef(alive);
#endif
    }
    if (!view) {
        view = PyMemoryView_FromObject((PyObject *) self);
        PyObject *ref = view ? PyWeakref_NewRef(view, NULL) : NULL;
        if (!ref) {
            Py_XDECREF(view);
            return NULL;
        }
        Py_XSETREF(self->view_ref, ref);
    }
    return view;
}

static PyObject *frame_get_buffer(PyObject *op, void *unused)
{
    (void) unused;
    PyObject *view;
    Py_BEGIN_CRITICAL_SECTION(op);
    view = view_of((ext_frame *) op);
    Py_END_CRITICAL_SECTION();
    return view;
}

static bool frame_more(PyObject *op)
{
    bool more;
    Py_BEGIN_CRITICAL_SECTION(op);
    more = ((ext_frame *) op)->more;
    Py_END_CRITICAL_SECTION();
    return more;
}

static PyObject *frame_get_more(PyObject *op, void *unused)
{
    (void) unused;
    return PyBool_FromLong(frame_more(op));
}

static int frame_set_more(PyObject *op, PyObject *value, void *unused)
{
    (void) unused;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "more cannot be deleted");
        return -1;
    }
    bool more = false;
    if (ext_bool(value, &more) < 0)
        return -1;
    Py_BEGIN_CRITICAL_SECTION(op);
    ((ext_frame *) op)->more = more;
    Py_END_CRITICAL_SECTION();
    return 0;
}

PyObject *ext_frame_tracker(ext_frame *self)
{
    PyObject *tracker;
    Py_BEGIN_CRITICAL_SECTION(self);
    tracker = Py_NewRef(self->tracker ? self->tracker : Py_None);
    Py_END_CRITICAL_SECTION();
    return tracker;
}

static PyObject *frame_get_tracker(PyObject *op, void *unused)
{
    (void) unused;
    return ext_frame_tracker((ext_frame *) op);
}

static PyObject *frame_get_tracker_event(PyObject *op, void *unused)
{
    (void) unused;
    ext_frame *self = (ext_frame *) op;
    PyObject *event;
    Py_BEGIN_CRITICAL_SECTION(op);
    event = Py_NewRef(self->tracker_event ? self->tracker_event : Py_None);
    Py_END_CRITICAL_SECTION();
    return event;
}

/* What was there goes when the frame is whole again: it may run any code. */
static int frame_set_tracker(PyObject *op, PyObject *value, void *unused)
{
    (void) unused;
    PyObject *before;
    Py_BEGIN_CRITICAL_SECTION(op);
    before = ((ext_frame *) op)->tracker;
    ((ext_frame *) op)->tracker = Py_XNewRef(value);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(before);
    return 0;
}

static int frame_set_tracker_event(PyObject *op, PyObject *value, void *unused)
{
    (void) unused;
    PyObject *before;
    Py_BEGIN_CRITICAL_SECTION(op);
    before = ((ext_frame *) op)->tracker_event;
    ((ext_frame *) op)->tracker_event = Py_XNewRef(value);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(before);
    return 0;
}

/* --- its properties --------------------------------------------------------------------------- */

/* The property of the connection the frame came by; NULL: none. */
static const char *frame_property(const ext_frame *self, const char *name)
{
    return self->metadata ? self->binding->api->metadata_get(self->metadata, name) : NULL;
}

static PyObject *frame_get_number(ext_frame *self, long option)
{
    switch (option) {
    case OPTION_MORE:
        return PyLong_FromLong(frame_more((PyObject *) self));
    case OPTION_SHARED:
        return PyLong_FromLong(self->block && atomic_load(&self->block->refs) > 1);
    case OPTION_SRCFD: {
        const char *fd = frame_property(self, "__fd");
        if (fd)
            return PyLong_FromString(fd, NULL, 10);
        return ext_raise(self->binding, EINVAL);
    }
    default:
        return ext_raise(self->binding, EINVAL);
    }
}

PyDoc_STRVAR(get_doc,
"get($self, option, /)\n--\n\n"
"The `option`: a number for MORE, SRCFD and SHARED; a string for a property of the connection the\n"
"frame came by: 'Socket-Type', 'Peer-Address', 'User-Id', what the ZAP handler answered\n"
"(zmq_msg_gets(3)).\n"
"Raises ZMQError(EINVAL) if there is none.");

static PyObject *frame_get(PyObject *op, PyObject *option)
{
    ext_frame *self = (ext_frame *) op;
    if (PyLong_Check(option)) {
        int overflow;
        return frame_get_number(self, PyLong_AsLongAndOverflow(option, &overflow));
    }
    const char *name = NULL;
    Py_ssize_t size = 0;
    if (PyUnicode_Check(option)) {
        name = PyUnicode_AsUTF8AndSize(option, &size);
        if (!name)
            return NULL;
        /* Of the draft socket types; a frame of the others has none. */
        if (strcmp(name, "routing_id") == 0)
            return PyLong_FromLong(0);
        if (strcmp(name, "group") == 0)
            return PyUnicode_New(0, 0);
    } else if (PyBytes_Check(option)) {
        name = PyBytes_AS_STRING(option);
        size = PyBytes_GET_SIZE(option);
    } else {
        return PyErr_Format(PyExc_TypeError, "expected an option number or a str, got: %R", option);
    }
    const char *value = strlen(name) == (size_t) size ? frame_property(self, name) : NULL;
    if (!value)
        return ext_raise(self->binding, EINVAL);
    /* A peer chose these bytes. */
    return PyUnicode_DecodeUTF8(value, (Py_ssize_t) strlen(value), "surrogateescape");
}

PyDoc_STRVAR(set_doc,
"set($self, option, value, /)\n--\n\n"
"There is no `option` to set to a `value` on a frame: ZMQError(EINVAL). 'routing_id' and 'group',\n"
"of the draft socket types, are checked for their type and have no effect.");

static PyObject *frame_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    ext_frame *self = (ext_frame *) op;
    if (nargs != 2)
        return PyErr_Format(PyExc_TypeError, "set() takes 2 arguments (%zd given)", nargs);
    PyObject *option = args[0], *value = args[1];
    bool named = PyUnicode_Check(option);
    if (named && PyUnicode_CompareWithASCIIString(option, "group") == 0) {
        if (!PyUnicode_Check(value) && !PyBytes_Check(value))
            return PyErr_Format(PyExc_TypeError, "expected str or bytes, %.200s found",
                                Py_TYPE(value)->tp_name);
        Py_RETURN_NONE;
    }
    Py_ssize_t number = 0;
    if (ext_size(value, &number) < 0)
        return NULL;
    if (!named || PyUnicode_CompareWithASCIIString(option, "routing_id") != 0)
        return ext_raise(self->binding, EINVAL);
    if (number < 0 || number > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a routing_id has 32 bits, without a sign");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *frame_get_draft(PyObject *op, void *pattern)
{
    (void) op;
    return PyErr_Format(PyExc_RuntimeError, "%s is a draft pattern, which is not built in",
                        (const char *) pattern);
}

static int frame_set_draft(PyObject *op, PyObject *value, void *pattern)
{
    (void) value;
    frame_get_draft(op, pattern);
    return -1;
}

/* --- the type --------------------------------------------------------------------------------- */

static PyMethodDef frame_methods[] = {
    {"get", frame_get, METH_O, get_doc},
    {"set", (PyCFunction) (void (*)(void)) frame_set, METH_FASTCALL, set_doc},
    {"fast_copy", frame_fast_copy, METH_NOARGS, fast_copy_doc},
    {"__copy__", frame_fast_copy, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef frame_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ext_frame, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef frame_getset[] = {
    {"bytes", frame_get_bytes, NULL, "The body as bytes: copied once.", NULL},
    {"buffer", frame_get_buffer, NULL, "A memoryview of the body, the same while it is in use.",
     NULL},
    {"more", frame_get_more, frame_set_more, "Do more parts of this message follow?", NULL},
    {"tracker", frame_get_tracker, frame_set_tracker,
     "The MessageTracker of a tracked frame, else None.", NULL},
    {"tracker_event", frame_get_tracker_event, frame_set_tracker_event,
     "What is set when the engine is done with the body; None: the body was copied.", NULL},
    {"group", frame_get_draft, frame_set_draft, "Raises RuntimeError.", "RADIO-DISH"},
    {"routing_id", frame_get_draft, frame_set_draft, "Raises RuntimeError.", "CLIENT-SERVER"},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(frame_doc,
"Frame(data=None, track=False, copy=None, copy_threshold=None, **kwargs)\n--\n\n"
"One message part. `data` is any contiguous buffer. With copy=None it is copied if it has fewer\n"
"than `copy_threshold` bytes (default: the module's COPY_THRESHOLD). track=True gives the frame a\n"
"tracker, which is done at once if the data was copied.\n"
"Raises TypeError for str and for what is no buffer, BufferError if it is not contiguous.");

static PyType_Slot frame_slots[] = {
    {Py_tp_doc, (void *) frame_doc},
    {Py_tp_new, frame_tp_new},
    {Py_tp_dealloc, frame_dealloc},
    {Py_tp_traverse, frame_traverse},
    {Py_tp_clear, frame_clear},
    {Py_tp_methods, frame_methods},
    {Py_tp_members, frame_members},
    {Py_tp_getset, frame_getset},
    {Py_mp_length, frame_length},
    {Py_bf_getbuffer, frame_getbuffer},
    {0, NULL},
};

static PyType_Spec frame_spec = {
    .name = "zmq_monocoque._ext.Frame",
    .basicsize = sizeof(ext_frame),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = frame_slots,
};

PyTypeObject *ext_frame_type_new(PyObject *module)
{
    return (PyTypeObject *) PyType_FromModuleAndSpec(module, &frame_spec, NULL);
}
