/* recv(), recv_multipart() and recv_into(). Between recv_begin() and recv_end() the engine's socket
 * is locked: there, memory is taken and bytes are copied, and nothing else. */
#include "socket.h"

#include <errno.h>
#include <string.h>

enum { OPTION_RCVMORE = 13 };

/* --- one part --------------------------------------------------------------------------------- */

static int incoming_try(ext_socket *self, int flags, zm_part *out_part)
{
    const zm_api *api = self->binding->api;
    int status;
    while ((status = api->recv_begin(self->socket, self->generation, flags & ZM_PATIENT, out_part))
           == ZM_LATER)
        ext_make_way(self);
    return status;
}

/* Begins to receive a part, waiting if it may. 0: the part is there and *the socket is locked*; -1
 * with an exception; -2: as ext_refuse(). */
static int incoming_begin(ext_socket *self, int flags, zm_part *out_part)
{
    int status = incoming_try(self, flags, out_part);
    if (status == 0)
        return 0;
    if (status == -EAGAIN && !(flags & (ZM_DONTWAIT | EXT_QUIET))) {
        int64_t deadline = ext_deadline(self, ZM_POLLIN);
        while (status == -EAGAIN && deadline != 0) {
            if (ext_wait_ready(self, ZM_POLLIN, deadline) < 0)
                return -1;
            status = incoming_try(self, flags, out_part);
        }
    }
    return status < 0 ? ext_refuse(self, ZM_POLLIN, status, flags) : 0;
}

/* A part whose body outlives recv_end(). */
typedef struct incoming {
    zm_block *block; /* one reference */
    const uint8_t *data;
    size_t size;
    zm_metadata *metadata; /* one reference, or NULL */
    bool more;
} incoming;

/* Ends the part, and keeps what it brought. 0, or -1 with MemoryError. Nothing here lets another
 * thread run. */
static int incoming_take(const zm_api *api, zm_socket *socket, zm_part *part, incoming *out)
{
    *out = (incoming){.block = api->part_own(part), .size = part->size, .more = part->more};
    if (out->block) { /* a reference to the part's own block, or a copy */
        out->data = out->block == part->block ? part->data : out->block->data;
        out->metadata = part->metadata ? api->metadata_ref(part->metadata) : NULL;
    }
    api->recv_end(socket, part);
    if (out->block)
        return 0;
    PyErr_NoMemory();
    return -1;
}

static void incoming_clear(const zm_api *api, incoming *in)
{
    api->block_unref(in->block);
    if (in->metadata)
        api->metadata_unref(in->metadata);
}

/* The body into memory of ours, with the socket unlocked. Other threads run meanwhile, but not
 * between the parts of a message: they could take the next one. */
static void incoming_copy_out(const zm_api *api, incoming *in, void *out, size_t size)
{
    if (in->more) {
        memcpy(out, in->data, size);
    } else {
        Py_BEGIN_ALLOW_THREADS
        memcpy(out, in->data, size);
        Py_END_ALLOW_THREADS
    }
    incoming_clear(api, in);
}

/* A body too large to copy while the socket is locked. Ends the part. */
static PyObject *incoming_bytes_large(const zm_api *api, zm_socket *socket, zm_part *part)
{
    incoming in;
    if (incoming_take(api, socket, part, &in) < 0)
        return NULL;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t) in.size);
    if (bytes)
        incoming_copy_out(api, &in, PyBytes_AS_STRING(bytes), in.size);
    else
        incoming_clear(api, &in);
    return bytes;
}

/* The part as bytes. Ends it. */
static inline PyObject *incoming_bytes(const zm_api *api, zm_socket *socket, zm_part *part)
{
    if (part->size >= EXT_UNLOCK_MIN_BYTES)
        return incoming_bytes_large(api, socket, part);
    PyObject *bytes = PyBytes_FromStringAndSize((const char *) part->data, (Py_ssize_t) part->size);
    api->recv_end(socket, part);
    return bytes;
}

/* The part as a Frame. Ends it: the object is made when the socket is unlocked again, because that
 * may start a garbage collection. */
static PyObject *incoming_frame(ext_socket *self, zm_part *part, bool track)
{
    incoming in;
    if (incoming_take(self->binding->api, self->socket, part, &in) < 0)
        return NULL;
    return ext_frame_received(self->binding, in.block, in.data, in.size, in.metadata, in.more,
                              track);
}

static const ext_signature recv_signature = {
    .function = "recv",
    .names = {&ext_name.flags, &ext_name.copy, &ext_name.track},
    .count = 3,
};

PyObject *ext_recv(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_socket *self = (ext_socket *) op;
    int flags = 0;
    bool copy = true, track = false;
    zm_part part;
    ext_drain_if_due();
    if (nargs == 1 && !kwnames) { /* DONTWAIT, mostly */
        if (ext_int(args[0], &flags) < 0)
            return NULL;
    } else if (nargs || kwnames) {
        PyObject *values[6] = {NULL};
        if (ext_arguments(&recv_signature, args, nargs, kwnames, values) < 0
            || ext_int(values[0], &flags) < 0 || ext_bool(values[1], &copy) < 0
            || ext_bool(values[2], &track) < 0)
            return NULL;
    }
    int refused = incoming_begin(self, flags, &part);
    if (refused < 0)
        return ext_refused(refused);
    return copy ? incoming_bytes(self->binding->api, self->socket, &part)
                : incoming_frame(self, &part, track);
}

/* --- several ---------------------------------------------------------------------------------- */

/* The message whose first part is begun, all parts of it, in `list`. NULL with an exception. */
static PyObject *parts_to_list(ext_socket *self, PyObject *taken_list, int flags, zm_part *part)
{
    for (;;) {
        bool more = part->more;
        PyObject *bytes = incoming_bytes(self->binding->api, self->socket, part);
        int rc = bytes ? PyList_Append(taken_list, bytes) : -1;
        Py_XDECREF(bytes);
        if (rc < 0)
            break;
        if (!more)
            return taken_list;
        if (incoming_begin(self, (flags & ~EXT_QUIET) | ZM_PATIENT, part) < 0)
            break;
    }
    Py_DECREF(taken_list);
    return NULL;
}

/* No other thread may run between the parts of a message, or it could take some of them. So what
 * may start a garbage collection, and thereby any Python code, comes before the first part or after
 * the last. */
static PyObject *parts_recv_bytes(ext_socket *self, int flags)
{
    PyObject *list = PyList_New(0);
    zm_part part;
    int refused = list ? incoming_begin(self, flags, &part) : -1;
    if (refused < 0) {
        Py_XDECREF(list);
        return ext_refused(refused);
    }
    return parts_to_list(self, list, flags, &part);
}

/* All parts of a message; `first`: it is begun already, or NULL. The number of them, `out_parts` to
 * be freed with PyMem_Free(); or -1 with an exception, or -2 as ext_refuse(). */
static Py_ssize_t parts_take(ext_socket *self, int flags, zm_part *first, incoming **out_parts)
{
    incoming *parts = NULL;
    Py_ssize_t count = 0, room = 0;
    bool more = true;
    int refused = 0;
    while (more) {
        zm_part part;
        if (count == room) { /* with the first part locked, perhaps */
            room = room ? 2 * room : 4;
            incoming *wider = PyMem_Realloc(parts, (size_t) room * sizeof *parts);
            if (!wider) {
                if (count == 0 && first)
                    self->binding->api->recv_end(self->socket, first);
                PyErr_NoMemory();
                refused = -1;
                goto fail;
            }
            parts = wider;
        }
        if (count == 0 && first)
            part = *first;
        else
            refused = incoming_begin(self, flags, &part);
        if (refused == 0)
            refused = incoming_take(self->binding->api, self->socket, &part, &parts[count]);
        if (refused < 0)
            goto fail;
        more = parts[count++].more;
        flags = (flags & ~EXT_QUIET) | ZM_PATIENT;
    }
    *out_parts = parts;
    return count;
fail:
    while (count)
        incoming_clear(self->binding->api, &parts[--count]);
    PyMem_Free(parts);
    return refused;
}

static PyObject *parts_recv_frames(ext_socket *self, int flags, zm_part *first, bool track)
{
    incoming *parts = NULL;
    Py_ssize_t count = parts_take(self, flags, first, &parts);
    if (count < 0)
        return ext_refused((int) count);
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; i < count; i++) {
        incoming *in = &parts[i];
        if (!list) {
            incoming_clear(self->binding->api, in);
            continue;
        }
        PyObject *frame = ext_frame_received(self->binding, in->block, in->data, in->size,
                                             in->metadata, in->more, track);
        if (frame)
            PyList_SET_ITEM(list, i, frame);
        else
            Py_CLEAR(list);
    }
    PyMem_Free(parts);
    return list;
}

/* Through the recv() of a subclass, part by part. */
static PyObject *parts_recv_overridden(ext_socket *self, PyObject *flags, PyObject *copy,
                                       PyObject *track)
{
    PyObject *keywords = PyTuple_Pack(2, ext_name.copy, ext_name.track);
    PyObject *option = PyLong_FromLong(OPTION_RCVMORE);
    PyObject *list = keywords && option ? PyList_New(0) : NULL;
    int more = list ? 1 : 0;
    while (more > 0) {
        PyObject *arguments[] = {(PyObject *) self, flags, copy, track};
        PyObject *part = PyObject_VectorcallMethod(ext_name.recv, arguments, 2, keywords);
        int rc = part ? PyList_Append(list, part) : -1;
        Py_XDECREF(part);
        PyObject *answer = rc < 0 ? NULL
                                  : PyObject_CallMethodOneArg((PyObject *) self,
                                                              ext_name.getsockopt, option);
        more = answer ? PyObject_IsTrue(answer) : -1;
        Py_XDECREF(answer);
    }
    if (more < 0)
        Py_CLEAR(list);
    Py_XDECREF(keywords);
    Py_XDECREF(option);
    return list;
}

static const ext_signature recv_multipart_signature = {
    .function = "recv_multipart",
    .names = {&ext_name.flags, &ext_name.copy, &ext_name.track},
    .count = 3,
};

PyObject *ext_recv_multipart(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    ext_socket *self = (ext_socket *) op;
    PyObject *values[6] = {NULL};
    int flags = 0;
    bool copy = true, track = false;
    ext_drain_if_due();
    if (ext_arguments(&recv_multipart_signature, args, nargs, kwnames, values) < 0)
        return NULL;
    int own = ext_is_own(self, ext_name.recv, self->binding->own_recv);
    if (own < 0)
        return NULL;
    if (!own) {
        PyObject *zero = PyLong_FromLong(0);
        PyObject *list = parts_recv_overridden(self, values[0] ? values[0] : zero,
                                               values[1] ? values[1] : Py_True,
                                               values[2] ? values[2] : Py_False);
        Py_DECREF(zero);
        return list;
    }
    if (ext_int(values[0], &flags) < 0 || ext_bool(values[1], &copy) < 0
        || ext_bool(values[2], &track) < 0)
        return NULL;
    return copy ? parts_recv_bytes(self, flags) : parts_recv_frames(self, flags, NULL, track);
}

/* --- many messages ---------------------------------------------------------------------------- */

/* How messages are wanted. */
typedef struct incoming_batch {
    PyObject *list;
    PyObject *spare; /* a list for a message of several parts, made while nothing is locked */
    Py_ssize_t max;
    bool copy, multipart;
} incoming_batch;

/* The message whose first part is begun. NULL with an exception. */
static PyObject *batch_message(ext_socket *self, incoming_batch *batch, int flags, zm_part *part)
{
    bool several = part->more || batch->multipart;
    if (batch->copy && !several)
        return incoming_bytes(self->binding->api, self->socket, part);
    if (!batch->copy)
        return several ? parts_recv_frames(self, flags, part, false)
                       : incoming_frame(self, part, false);
    PyObject *list = batch->spare;
    batch->spare = NULL;
    return parts_to_list(self, list, flags, part);
}

/* Takes what there is, from the part that is begun on. 0, or -1 with an exception. */
static int batch_fill(ext_socket *self, incoming_batch *batch, int flags, zm_part *part)
{
    const zm_api *api = self->binding->api;
    bool plain = batch->copy && !batch->multipart;
    do {
        bool locked = true;
        while (locked) {
            PyObject *message;
            /* What is small stays locked: bytes start no garbage collection. */
            bool stays = plain && !part->more && part->size < EXT_UNLOCK_MIN_BYTES;
            if (stays)
                message = PyBytes_FromStringAndSize((const char *) part->data,
                                                    (Py_ssize_t) part->size);
            else
                message = batch_message(self, batch, flags, part);
            int rc = message ? PyList_Append(batch->list, message) : -1;
            Py_XDECREF(message);
            bool full = PyList_GET_SIZE(batch->list) >= batch->max;
            if (stays && (rc < 0 || full))
                api->recv_end(self->socket, part);
            if (rc < 0 || full)
                return rc;
            locked = stays && api->recv_next(self->socket, part);
        }
        if (!batch->spare && !(batch->spare = PyList_New(0)))
            return -1;
    } while (incoming_try(self, 0, part) == 0);
    return 0;
}

static const ext_signature recv_many_signature = {
    .function = "recv_many",
    .names = {&ext_name.max, &ext_name.flags, &ext_name.copy, &ext_name.multipart},
    .count = 4,
    .required = 1,
};

PyObject *ext_recv_many(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_socket *self = (ext_socket *) op;
    PyObject *values[6] = {NULL};
    int flags = 0;
    incoming_batch batch = {.copy = true};
    ext_drain_if_due();
    if (nargs > 1)
        return PyErr_Format(PyExc_TypeError, "recv_many() takes 1 positional argument (%zd given)",
                            nargs);
    if (ext_arguments(&recv_many_signature, args, nargs, kwnames, values) < 0
        || ext_size(values[0], &batch.max) < 0 || ext_int(values[1], &flags) < 0
        || ext_bool(values[2], &batch.copy) < 0 || ext_bool(values[3], &batch.multipart) < 0)
        return NULL;
    if (batch.max < 1)
        return PyErr_Format(PyExc_ValueError, "max=%zd: at least one message", batch.max);
    batch.list = PyList_New(0);
    batch.spare = batch.list ? PyList_New(0) : NULL;
    PyObject *result = NULL;
    zm_part part;
    int refused = batch.spare ? incoming_begin(self, flags, &part) : -1;
    if (refused < 0)
        result = ext_refused(refused);
    else if (batch_fill(self, &batch, flags, &part) == 0)
        result = Py_NewRef(batch.list);
    Py_XDECREF(batch.list);
    Py_XDECREF(batch.spare);
    return result;
}

/* --- into a buffer ---------------------------------------------------------------------------- */

static const ext_signature recv_into_signature = {
    .function = "recv_into",
    .names = {&ext_name.nbytes, &ext_name.flags},
    .count = 2,
};

PyObject *ext_recv_into(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_socket *self = (ext_socket *) op;
    PyObject *values[6] = {NULL};
    Py_ssize_t limit = 0;
    int flags = 0;
    ext_drain_if_due();
    if (nargs != 1)
        return PyErr_Format(PyExc_TypeError,
                            "recv_into() takes exactly 1 positional argument (%zd given)", nargs);
    /* The buffer stands before the keywords' values; it takes no part in their reading. */
    if (kwnames && ext_arguments(&recv_into_signature, args + 1, 0, kwnames, values) < 0)
        return NULL;
    if (ext_size(values[0], &limit) < 0 || ext_int(values[1], &flags) < 0)
        return NULL;
    Py_buffer view;
    if (PyObject_GetBuffer(args[0], &view, PyBUF_ANY_CONTIGUOUS | PyBUF_WRITABLE) < 0)
        return ext_failed(self);
    PyObject *result = NULL;
    if (limit < 0 || limit > view.len) {
        PyErr_Format(PyExc_ValueError, "nbytes=%zd does not fit a buffer of %zd bytes", limit,
                     view.len);
        ext_failed(self);
        goto out;
    }
    size_t room = (size_t) (limit ? limit : view.len);
    zm_part part;
    int refused = incoming_begin(self, flags, &part);
    if (refused < 0) {
        result = ext_refused(refused);
        goto out;
    }
    size_t size = part.size, copied = size < room ? size : room;
    const zm_api *api = self->binding->api;
    if (copied < EXT_UNLOCK_MIN_BYTES) {
        if (copied)
            memcpy(view.buf, part.data, copied);
        api->recv_end(self->socket, &part);
    } else {
        incoming in;
        if (incoming_take(api, self->socket, &part, &in) < 0)
            goto out;
        incoming_copy_out(api, &in, view.buf, copied);
    }
    result = PyLong_FromSize_t(size);
out:
    PyBuffer_Release(&view);
    return result;
}
