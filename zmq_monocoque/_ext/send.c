/* send() and send_multipart(). The common path is one call into the engine; only what must wait,
 * flush or keep memory alive goes further. */
#include "socket.h"

#include <errno.h>
#include <string.h>

enum { PARTS_ON_STACK = 8 };

static void flush(ext_socket *self)
{
    zm_socket *socket = self->socket;
    uint32_t generation = self->generation;
    Py_BEGIN_ALLOW_THREADS
    self->binding->api->flush(socket, generation);
    Py_END_ALLOW_THREADS
}

/* --- one part --------------------------------------------------------------------------------- */

/* One part on its way out. */
typedef struct outgoing {
    PyObject *object; /* what was given */
    const void *data;
    Py_ssize_t size;
    zm_block *block;  /* one reference until it is sent; NULL: the bytes are copied */
    Py_buffer view;   /* view.obj NULL: none */
    PyObject *result; /* what send() answers */
} outgoing;

static void outgoing_clear(outgoing *out, const zm_api *api)
{
    if (out->block)
        ext_block_unref(api, out->block);
    PyBuffer_Release(&out->view);
    Py_XDECREF(out->result);
    Py_XDECREF(out->object);
}

static int outgoing_from_frame(outgoing *out, ext_binding *binding, bool track)
{
    ext_frame *frame = (ext_frame *) out->object;
    out->result = ext_frame_tracker(frame);
    if (track && out->result == Py_None) {
        PyErr_SetString(PyExc_ValueError, "Not a tracked message");
        return -1;
    }
    out->data = frame->data;
    out->size = frame->size;
    /* Shared if that is cheaper, or if somebody counts on no copy. A body somewhere inside its
     * block cannot be shared. */
    if (frame->block && frame->data == frame->block->data
        && (frame->size >= EXT_SHARE_MIN_BYTES || frame->lent))
        out->block = binding->api->block_ref(frame->block);
    return 0;
}

/* Sends the memory of `object` itself. */
static int outgoing_share(outgoing *out, ext_binding *binding, bool track)
{
    PyObject *event = track ? ext_event_new(binding) : NULL;
    if (track && !event)
        return -1;
    out->result = track ? ext_tracker_new(binding, event) : Py_NewRef(Py_None);
    if (out->result) {
        Py_buffer bytes_view = {.buf = (void *) (uintptr_t) out->data, .len = out->size};
        out->block = ext_hold_foreign(binding, out->object,
                                      out->view.obj ? &out->view : &bytes_view, event);
    }
    Py_XDECREF(event);
    return out->block ? 0 : -1;
}

/* Makes ready to send `data`; what can fail for reasons of its own fails here, before anything is
 * sent. 0, or -1 with an exception; outgoing_clear() is due in both cases. */
static int outgoing_init(outgoing *out, ext_socket *self, PyObject *data, bool copy, bool track)
{
    ext_binding *binding = self->binding;
    memset(out, 0, sizeof *out);
    out->object = Py_NewRef(data);
    if (PyBytes_CheckExact(data)) {
        out->data = PyBytes_AS_STRING(data);
        out->size = PyBytes_GET_SIZE(data);
    } else if (PyObject_TypeCheck(data, binding->frame_type)) {
        return outgoing_from_frame(out, binding, track);
    } else if (PyUnicode_Check(data)) {
        PyErr_SetString(PyExc_TypeError, "unicode not allowed, use send_string");
        return -1;
    } else {
        if (PyObject_GetBuffer(data, &out->view, PyBUF_ANY_CONTIGUOUS) < 0)
            return -1;
        out->data = out->view.buf;
        out->size = out->view.len;
    }
    if (!copy && out->size >= self->copy_threshold)
        return outgoing_share(out, binding, track);
    if (out->size >= EXT_SHARE_MIN_BYTES && PyBytes_CheckExact(data)) {
        out->block = ext_hold_bytes(binding->api, data);
        if (!out->block)
            return -1;
    }
    out->result = copy ? Py_NewRef(Py_None) : ext_finished_tracker(binding);
    return out->result ? 0 : -1;
}

/* The engine's answer to one try; on success the block is gone. Between the parts of a message
 * (ZM_PATIENT) no other thread may run here, or its message could come in there. */
static int outgoing_offer(outgoing *out, ext_socket *self, int flags)
{
    const zm_api *api = self->binding->api;
    int status;
    if (!out->block) {
        while ((status = api->send(self->socket, self->generation, out->data, (size_t) out->size,
                                   flags))
               == ZM_LATER)
            ext_make_way(self);
        return status;
    }
    ext_release_here_begin();
    while ((status = api->send_block(self->socket, self->generation, out->block, (size_t) out->size,
                                     flags))
           == ZM_LATER)
        ext_make_way(self);
    if (status >= 0)
        out->block = NULL;
    ext_release_here_end();
    return status;
}

/* Sends one part, waiting if it may. 0 or ZM_SEND_FLUSH, or -1 with an exception, or -2 as
 * ext_refuse(). */
static int outgoing_send(outgoing *out, ext_socket *self, int flags)
{
    int engine_flags = flags & (ZM_SNDMORE | ZM_FOLLOWED | ZM_PATIENT);
    int status = outgoing_offer(out, self, engine_flags);
    if (status == -EAGAIN && !(flags & (ZM_DONTWAIT | EXT_QUIET))) {
        int64_t deadline = ext_deadline(self, ZM_POLLOUT);
        while (status == -EAGAIN && deadline != 0) {
            if (ext_wait_ready(self, ZM_POLLOUT, deadline) < 0)
                return -1;
            status = outgoing_offer(out, self, engine_flags);
        }
    }
    return status < 0 ? ext_refuse(self, ZM_POLLOUT, status, flags) : status;
}

static const ext_signature send_signature = {
    .function = "send",
    .names = {&ext_name.data, &ext_name.flags, &ext_name.copy, &ext_name.track,
              &ext_name.routing_id, &ext_name.group},
    .count = 6,
    .required = 1,
};

/* All but the common case. */
static PyObject *send_general(ext_socket *self, PyObject *data, int flags, bool copy, bool track)
{
    outgoing out;
    PyObject *result = NULL;
    if (outgoing_init(&out, self, data, copy, track) < 0) {
        ext_failed(self);
    } else {
        int status = outgoing_send(&out, self, flags);
        if (status == ZM_SEND_FLUSH)
            flush(self);
        result = status < 0 ? ext_refused(status) : Py_NewRef(out.result);
    }
    outgoing_clear(&out, self->binding->api);
    ext_drain_if_due();
    return result;
}

PyObject *ext_send(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_socket *self = (ext_socket *) op;
    PyObject *data;
    int flags = 0;
    bool copy = true, track = false;
    ext_drain_if_due();
    if (nargs == 1 && !kwnames) {
        data = args[0];
    } else if (nargs == 2 && !kwnames) { /* SNDMORE or DONTWAIT, mostly */
        data = args[0];
        if (ext_int(args[1], &flags) < 0)
            return NULL;
    } else {
        PyObject *values[6] = {NULL};
        if (ext_arguments(&send_signature, args, nargs, kwnames, values) < 0
            || ext_int(values[1], &flags) < 0 || ext_bool(values[2], &copy) < 0
            || ext_bool(values[3], &track) < 0)
            return NULL;
        for (int i = 4; i < 6; i++) {
            if (values[i] && values[i] != Py_None)
                return PyErr_Format(PyExc_RuntimeError,
                                    "%U is of the draft socket types, which are not built in",
                                    *send_signature.names[i]);
        }
        data = values[0];
    }
    if (PyBytes_CheckExact(data) && copy && PyBytes_GET_SIZE(data) < EXT_SHARE_MIN_BYTES) {
        int status = self->binding->api->send(self->socket, self->generation,
                                              PyBytes_AS_STRING(data),
                                              (size_t) PyBytes_GET_SIZE(data), flags & ZM_SNDMORE);
        if (status == 0)
            Py_RETURN_NONE;
        if (status == ZM_SEND_FLUSH) {
            flush(self);
            Py_RETURN_NONE;
        }
        /* -EAGAIN or worse, or ZM_LATER: nothing was taken, the general way says what follows. */
    }
    return send_general(self, data, flags, copy, track);
}

/* --- one part several ------------------------------------------------------------------------- */

/* Is every part a buffer? 0, or -1 with TypeError. */
static int parts_check(PyObject *list)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *part = PyList_GET_ITEM(list, i);
        if (PyBytes_CheckExact(part) || PyObject_CheckBuffer(part))
            continue;
        Py_INCREF(part);
        PyObject *text = PyObject_Repr(part);
        Py_DECREF(part);
        if (!text)
            return -1;
        const char *dots = PyUnicode_GET_LENGTH(text) > 32 ? "..." : "";
        PyErr_Format(PyExc_TypeError, "Frame %zd (%.32U%s) does not support the buffer interface.",
                     i, text, dots);
        Py_DECREF(text);
        return -1;
    }
    return 0;
}

/* The parts as a list of our own, which nobody else can change: checked, and not empty. */
static PyObject *parts_list(PyObject *given)
{
    PyObject *list = PySequence_List(given);
    if (!list || parts_check(list) < 0)
        goto fail;
    if (!PyList_Check(given) && !PyTuple_Check(given)) {
        /* pyzmq slices what it is given: an iterator or a set is refused, and a sequence of another
         * kind has its own idea of a slice. */
        Py_ssize_t size = PyObject_Size(given);
        PyObject *slice = size < 0 ? NULL : PySequence_GetSlice(given, 0, size);
        Py_XSETREF(list, slice ? PySequence_List(slice) : NULL);
        Py_XDECREF(slice);
        if (!list || parts_check(list) < 0)
            goto fail;
    }
    if (PyList_GET_SIZE(list) == 0) {
        PyErr_SetString(PyExc_IndexError, "a message has at least one part");
        goto fail;
    }
    return list;
fail:
    Py_XDECREF(list);
    return NULL;
}

/* A tracker that somebody may have to wait for. */
static bool is_live(ext_binding *binding, PyObject *tracker)
{
    return tracker && tracker != Py_None
           && tracker != atomic_load_explicit(&binding->finished_tracker, memory_order_acquire);
}

/* Adds a part's tracker to those of its message: the list at `all`, made when it is needed. 0, or
 * -1 with an exception. */
static int trackers_add(PyObject **all, PyObject *tracker)
{
    if (!*all && !(*all = PyList_New(0)))
        return -1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(*all); i++)
        if (PyList_GET_ITEM(*all, i) == tracker)
            return 0;
    return PyList_Append(*all, tracker);
}

/* What a message answers, given the answer of its last part, which it takes, and the trackers of
 * all parts (NULL: there are none). NULL with an exception. */
static inline PyObject *message_answer(ext_binding *binding, PyObject *taken_last,
                                       PyObject *trackers)
{
    if (!trackers)
        return taken_last;
    Py_DECREF(taken_last);
    return PyList_GET_SIZE(trackers) == 1 ? Py_NewRef(PyList_GET_ITEM(trackers, 0))
                                          : ext_tracker_of_all(binding, trackers);
}

/* Through the send() of a subclass, part by part. */
static PyObject *parts_send_overridden(ext_socket *self, PyObject *list, PyObject *flags,
                                       PyObject *copy, PyObject *track)
{
    PyObject *more = PyLong_FromLong(ZM_SNDMORE);
    PyObject *flags_more = more ? PyNumber_Or(more, flags) : NULL;
    PyObject *keywords = flags_more ? PyTuple_Pack(2, ext_name.copy, ext_name.track) : NULL;
    PyObject *result = NULL, *trackers = NULL, *finished = ext_finished_tracker(self->binding);
    Py_ssize_t count = PyList_GET_SIZE(list);
    for (Py_ssize_t i = 0; keywords && finished && i < count; i++) {
        PyObject *arguments[] = {(PyObject *) self, PyList_GET_ITEM(list, i),
                                 i + 1 < count ? flags_more : flags, copy, track};
        Py_XSETREF(result, PyObject_VectorcallMethod(ext_name.send, arguments, 3, keywords));
        if (!result)
            break;
        if (is_live(self->binding, result) && PyObject_TypeCheck(result, Py_TYPE(finished))
            && trackers_add(&trackers, result) < 0) {
            Py_CLEAR(result);
            break;
        }
    }
    /* An answer that is no tracker is the subclass's own affair. */
    if (result && (result == Py_None || PyObject_TypeCheck(result, Py_TYPE(finished))))
        result = message_answer(self->binding, result, trackers);
    Py_XDECREF(finished);
    Py_XDECREF(trackers);
    Py_XDECREF(more);
    Py_XDECREF(flags_more);
    Py_XDECREF(keywords);
    return result;
}

/* Sends a message. 0 or ZM_SEND_FLUSH, and what to answer; -1 with an exception; -2 as
 * ext_refuse().
 * All parts are made ready first, so that what can fail fails before anything is sent; and the GIL
 * is kept between parts, so that no other thread's message comes between them. */
static int parts_send(ext_socket *self, PyObject *list, int flags, bool copy, bool track,
                      PyObject **out_result)
{
    outgoing on_stack[PARTS_ON_STACK], *parts = on_stack;
    Py_ssize_t count = PyList_GET_SIZE(list), ready = 0;
    PyObject *trackers = NULL, *last = Py_None, *result = NULL;
    int answer = -1;
    if (count > PARTS_ON_STACK) {
        parts = PyMem_New(outgoing, (size_t) count);
        if (!parts) {
            PyErr_NoMemory();
            return -1;
        }
    }
    while (ready < count) {
        int rc = outgoing_init(&parts[ready], self, PyList_GET_ITEM(list, ready), copy, track);
        ready++;
        if (rc < 0) {
            ext_failed(self);
            goto out;
        }
        last = parts[ready - 1].result;
        if (is_live(self->binding, last) && trackers_add(&trackers, last) < 0)
            goto out;
    }
    result = message_answer(self->binding, Py_NewRef(last), trackers);
    if (!result)
        goto out;
    int flush_due = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        int status = outgoing_send(
            &parts[i], self, flags | (i + 1 < count ? ZM_SNDMORE : 0) | (i > 0 ? ZM_PATIENT : 0));
        if (status < 0) {
            answer = status;
            goto out;
        }
        flags &= ~EXT_QUIET;
        flush_due |= status;
    }
    answer = flush_due;
    *out_result = result;
    result = NULL;
out:
    Py_XDECREF(trackers);
    Py_XDECREF(result);
    for (Py_ssize_t i = 0; i < ready; i++)
        outgoing_clear(&parts[i], self->binding->api);
    if (parts != on_stack)
        PyMem_Free(parts);
    ext_drain_if_due();
    return answer;
}

static const ext_signature send_multipart_signature = {
    .function = "send_multipart",
    .names = {&ext_name.msg_parts, &ext_name.flags, &ext_name.copy, &ext_name.track},
    .count = 4,
    .required = 1,
    .open = true, /* pyzmq ignores routing_id, group and whatever else here */
};

PyObject *ext_send_multipart(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    ext_socket *self = (ext_socket *) op;
    PyObject *values[6] = {NULL};
    int flags = 0;
    bool copy = true, track = false;
    ext_drain_if_due();
    if (ext_arguments(&send_multipart_signature, args, nargs, kwnames, values) < 0)
        return NULL;
    int own = ext_is_own(self, ext_name.send, self->binding->own_send);
    PyObject *list = own < 0 ? NULL : parts_list(values[0]);
    if (!list)
        return NULL;
    PyObject *result = NULL;
    if (!own) {
        PyObject *zero = PyLong_FromLong(0);
        result = parts_send_overridden(self, list, values[1] ? values[1] : zero,
                                       values[2] ? values[2] : Py_True,
                                       values[3] ? values[3] : Py_False);
        Py_DECREF(zero);
    } else if (ext_int(values[1], &flags) == 0 && ext_bool(values[2], &copy) == 0
               && ext_bool(values[3], &track) == 0) {
        int status = parts_send(self, list, flags, copy, track, &result);
        if (status == ZM_SEND_FLUSH)
            flush(self);
        if (status < 0)
            result = ext_refused(status);
    }
    Py_DECREF(list);
    return result;
}

/* --- many messages ---------------------------------------------------------------------------- */

/* Can `object` be a message of one part? 0, or -1 with TypeError. */
static int single_check(PyObject *object)
{
    if (PyBytes_CheckExact(object) || PyObject_CheckBuffer(object))
        return 0;
    if (PyUnicode_Check(object))
        PyErr_SetString(PyExc_TypeError, "unicode not allowed, use bytes");
    else
        PyErr_Format(PyExc_TypeError,
                     "a message is a buffer, or a list or tuple of buffers, not %.200s",
                     Py_TYPE(object)->tp_name);
    return -1;
}

/* The messages as a list of our own, checked; those of several parts are lists of our own, too. */
static PyObject *messages_list(PyObject *given)
{
    PyObject *list = PySequence_List(given);
    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++) {
        PyObject *message = PyList_GET_ITEM(list, i);
        if (!PyList_Check(message) && !PyTuple_Check(message)) {
            if (single_check(message) < 0)
                Py_CLEAR(list);
            continue;
        }
        PyObject *parts = parts_list(message);
        if (!parts || PyList_SetItem(list, i, parts) < 0)
            Py_CLEAR(list);
    }
    return list;
}

/* Sends a message without waiting. 0 or ZM_SEND_FLUSH; -1 with an exception; -2: would block. */
static int message_offer(ext_socket *self, PyObject *message, int flags, bool copy)
{
    if (PyBytes_CheckExact(message) && copy && PyBytes_GET_SIZE(message) < EXT_SHARE_MIN_BYTES) {
        int status = self->binding->api->send(
            self->socket, self->generation, PyBytes_AS_STRING(message),
            (size_t) PyBytes_GET_SIZE(message), flags & ZM_FOLLOWED);
        if (status != ZM_LATER)
            return status < 0 ? ext_refuse(self, ZM_POLLOUT, status, flags) : status;
    }
    if (PyList_CheckExact(message)) {
        PyObject *result = NULL;
        int status = parts_send(self, message, flags, copy, false, &result);
        Py_XDECREF(result);
        return status;
    }
    outgoing out;
    int status = outgoing_init(&out, self, message, copy, false);
    if (status < 0)
        ext_failed(self);
    else
        status = outgoing_send(&out, self, flags);
    outgoing_clear(&out, self->binding->api);
    ext_drain_if_due();
    return status;
}

/* Sends `messages` from `*sent` on, and counts them there. 0: all are sent; -1 with an exception;
 * -2: the next one would block, and may not or not any longer; -3: as -1, whatever was sent. */
static int messages_send(ext_socket *self, PyObject *messages, int flags, bool copy,
                         Py_ssize_t *sent)
{
    Py_ssize_t count = PyList_GET_SIZE(messages);
    int64_t deadline = flags & (ZM_DONTWAIT | EXT_QUIET) ? 0 : -2; /* -2: not asked for yet */
    while (*sent < count) {
        int follows = *sent + 1 < count ? ZM_FOLLOWED : 0;
        int status = message_offer(self, PyList_GET_ITEM(messages, *sent), EXT_QUIET | follows,
                                   copy);
        if (status >= 0) {
            ++*sent;
            if (status == ZM_SEND_FLUSH)
                flush(self);
            continue;
        }
        if (status == -1)
            return -1;
        if (deadline == -2)
            deadline = ext_deadline(self, ZM_POLLOUT);
        if (deadline == 0)
            return -2;
        if (ext_wait_status(self, ZM_POLLOUT, deadline, &status) < 0) {
            if (status != -EAGAIN || !*sent)
                return status ? -1 : -3; /* -3: a signal handler raised it */
            PyErr_Clear();
            return -2;
        }
    }
    return 0;
}

static const ext_signature send_many_signature = {
    .function = "send_many",
    .names = {&ext_name.messages, &ext_name.flags, &ext_name.copy},
    .count = 3,
    .required = 1,
};

PyObject *ext_send_many(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_socket *self = (ext_socket *) op;
    PyObject *values[6] = {NULL};
    int flags = 0;
    bool copy = true;
    ext_drain_if_due();
    if (nargs > 1)
        return PyErr_Format(PyExc_TypeError, "send_many() takes 1 positional argument (%zd given)",
                            nargs);
    if (ext_arguments(&send_many_signature, args, nargs, kwnames, values) < 0
        || ext_int(values[1], &flags) < 0 || ext_bool(values[2], &copy) < 0)
        return NULL;
    if (flags & ZM_SNDMORE) {
        PyErr_SetString(PyExc_ValueError, "send_many() sends whole messages: SNDMORE has no place");
        return NULL;
    }
    PyObject *messages = messages_list(values[0]);
    if (!messages)
        return NULL;
    Py_ssize_t sent = 0;
    int status = messages_send(self, messages, flags, copy, &sent);
    Py_DECREF(messages);
    if (status < 0) {
        if (sent)
            flush(self); /* the last one said that another followed */
        if (status == -3 || (status == -1 && !sent))
            return NULL;
        PyErr_Clear();
        if (!sent)
            return ext_refused(ext_refuse(self, ZM_POLLOUT, -EAGAIN, flags));
    }
    return PyLong_FromSsize_t(sent);
}
