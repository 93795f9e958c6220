/* poll(): sockets, descriptors and objects with fileno(). A look at what has been taken in already
 * keeps the GIL; what takes longer gives it up. Nothing is remembered from one call to the next: to
 * read a pair and see that it names one of our sockets costs no more than to see that it is the
 * pair of the last time. */
#include "socket.h"

#include <errno.h>

enum { LOCAL_ITEMS = 32, COSTLY_ITEMS = 8, EVENTS_MASK = 0x7FFF, NS_A_MS = 1000000 };

typedef struct polled {
    ext_binding *binding;
    int count;             /* of the two arrays, as far as they are filled */
    zm_pollitem *items;
    PyObject **subjects;   /* what stands in the answer; one reference each */
    PyTypeObject *sockets; /* the type of a socket found last, which that one keeps; or NULL */
    zm_pollitem local_items[LOCAL_ITEMS];
    PyObject *local_subjects[LOCAL_ITEMS];
} polled;

/* --- what is polled --------------------------------------------------------------------------- */

/* A number as pyzmq takes it: floats are cut. */
static int c_int(PyObject *value, int *out)
{
    if (!PyLong_Check(value) && !PyFloat_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "an integer is required");
        return -1;
    }
    return ext_int(value, out);
}

static bool is_socket(polled *p, PyObject *subject)
{
    PyTypeObject *type = Py_TYPE(subject);
    if (type == p->sockets)
        return true;
    if (!PyType_IsSubtype(type, p->binding->socket_type))
        return false;
    p->sockets = type;
    return true;
}

/* fileno() has failed: what getting the attribute raises is the caller's to see; what the call
 * raised is a ValueError. */
static void say_why(PyObject *subject)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return;
    PyErr_Clear();
    PyObject *method = PyObject_GetAttr(subject, ext_name.fileno);
    if (method)
        PyErr_SetString(PyExc_ValueError, "fileno() must return a valid integer fd");
    else if (PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Format(PyExc_TypeError,
                     "Socket must be a 0MQ socket, an integer fd or have a fileno() method: %R",
                     subject);
    Py_XDECREF(method);
}

/* The descriptor of what is no socket. Takes `subject`; a new reference to what stands for it in
 * the answer, or NULL with an exception. */
static PyObject *descriptor_of(PyObject *taken_subject, int *out_fd)
{
    PyObject *subject = taken_subject;
    if (!PyLong_Check(subject)) {
        PyObject *answer = PyObject_CallMethodNoArgs(subject, ext_name.fileno);
        PyObject *number = answer ? PyNumber_Long(answer) : NULL;
        Py_XDECREF(answer);
        if (!number)
            say_why(subject);
        Py_DECREF(subject);
        if (!number)
            return NULL;
        subject = number;
    }
    if (ext_int(subject, out_fd) < 0)
        Py_CLEAR(subject);
    return subject;
}

/* The next item: `pair` is (subject, events). 0, or -1 with an exception. */
static int item_add(polled *p, PyObject *pair)
{
    /* A list may be another thread's, too. */
    PyObject *fast = PyTuple_CheckExact(pair)  ? Py_NewRef(pair)
                     : PyList_CheckExact(pair) ? PyList_AsTuple(pair)
                                               : PySequence_Fast(pair, "a pair is required");
    if (!fast)
        return -1;
    if (PySequence_Fast_GET_SIZE(fast) != 2) {
        PyErr_Format(PyExc_ValueError, "a pair is required, not %zd values",
                     PySequence_Fast_GET_SIZE(fast));
        Py_DECREF(fast);
        return -1;
    }
    PyObject *subject = Py_NewRef(PySequence_Fast_GET_ITEM(fast, 0));
    int events = 0, rc = c_int(PySequence_Fast_GET_ITEM(fast, 1), &events);
    Py_DECREF(fast);
    if (rc < 0) {
        Py_DECREF(subject);
        return -1;
    }
    zm_pollitem *item = &p->items[p->count];
    *item = (zm_pollitem){.socket = -1, .fd = -1, .events = (short) (events & EVENTS_MASK)};
    if (is_socket(p, subject)) {
        /* A socket that is closed is never ready. */
        int64_t handle = ext_socket_handle((ext_socket *) subject);
        item->socket = handle > 0 ? handle : -1;
    } else {
        p->sockets = NULL; /* any code may run now */
        subject = descriptor_of(subject, &item->fd);
        if (!subject)
            return -1;
    }
    p->subjects[p->count++] = subject;
    return 0;
}

/* An item of somebody's list. */
static inline PyObject *list_item(PyObject *list, Py_ssize_t i)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyList_GetItemRef(list, i);
#else
    return i < PyList_GET_SIZE(list) ? Py_NewRef(PyList_GET_ITEM(list, i))
                                     : PySequence_GetItem(list, i);
#endif
}

static int polled_fill(polled *p, PyObject *sockets, Py_ssize_t count)
{
    bool is_list = PyList_CheckExact(sockets);
    for (Py_ssize_t i = 0; i < count; i++) {
        /* Code that runs on the way may shorten the list. */
        PyObject *pair = is_list ? list_item(sockets, i) : PySequence_GetItem(sockets, i);
        int rc = pair ? item_add(p, pair) : -1;
        Py_XDECREF(pair);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int polled_init(polled *p, ext_binding *binding, PyObject *sockets, Py_ssize_t count)
{
    p->binding = binding;
    p->count = 0;
    p->sockets = NULL;
    p->items = p->local_items;
    p->subjects = p->local_subjects;
    if (count > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "too many sockets");
        return -1;
    }
    if (count > LOCAL_ITEMS) {
        p->items = PyMem_New(zm_pollitem, (size_t) count);
        p->subjects = PyMem_New(PyObject *, (size_t) count);
        if (!p->items || !p->subjects) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return polled_fill(p, sockets, count);
}

static void polled_clear(polled *p)
{
    for (int i = 0; i < p->count; i++)
        Py_DECREF(p->subjects[i]);
    if (p->items != p->local_items)
        PyMem_Free(p->items);
    if (p->subjects != p->local_subjects)
        PyMem_Free(p->subjects);
}

/* --- polling ---------------------------------------------------------------------------------- */

/* A socket was closed, by whomever: it is not polled any more, and the others go on. 0, or -1 with
 * an exception: a fork made it what it is. */
static int leave_out_the_closed(polled *p)
{
    const zm_api *api = p->binding->api;
    uint32_t generation;
    for (int i = 0; i < p->count; i++) {
        zm_pollitem *item = &p->items[i];
        if (item->socket < 0 || api->socket_find(item->socket, &generation))
            continue;
        int rc = 0;
        Py_BEGIN_CRITICAL_SECTION(p->subjects[i]);
        ext_socket *subject = (ext_socket *) p->subjects[i];
        if (subject->pid != getpid())
            rc = ext_raise_status(subject, -ENOTSOCK);
        Py_END_CRITICAL_SECTION();
        if (rc < 0)
            return rc;
        item->socket = -1;
    }
    return 0;
}

/* Is there nothing left that could become ready? */
static bool is_empty(const polled *p)
{
    for (int i = 0; i < p->count; i++)
        if (p->items[i].socket >= 0 || p->items[i].fd >= 0)
            return false;
    return true;
}

/* Until something is ready, or the time is up. 0, or -1 with an exception. */
static int polled_wait(polled *p, int timeout_ms)
{
    const zm_api *api = p->binding->api;
    int64_t deadline = 0;
    bool looked = false;
    for (;;) {
        int rc = looked ? 0 : api->poll_glance(p->items, p->count);
        if (rc > 0)
            return 0;
        if (rc == 0 || rc == ZM_LATER) {
            if (!looked)
                deadline = timeout_ms < 0 ? -1 : api->now_ns() + (int64_t) timeout_ms * NS_A_MS;
            looked = true;
            ext_signals signals;
            if (ext_signals_begin(api, &signals, p->count > COSTLY_ITEMS) < 0)
                return -1;
            Py_BEGIN_ALLOW_THREADS
            rc = api->poll(p->items, p->count, deadline);
            Py_END_ALLOW_THREADS
            ext_signals_end(api, &signals, rc == -EINTR);
            ext_drain_if_due();
            if (PyErr_CheckSignals() < 0)
                return -1;
        }
        if (rc >= 0)
            return 0;
        if (rc == -ENOTSOCK) {
            if (leave_out_the_closed(p) < 0)
                return -1;
            if (looked && is_empty(p)) {
                /* The last one was closed in the middle of the wait; nothing else would end it. */
                ext_raise(p->binding, ENOTSOCK);
                return -1;
            }
        } else if (rc != -EINTR) {
            ext_raise(p->binding, -rc);
            return -1;
        }
    }
}

static PyObject *polled_answer(const polled *p)
{
    Py_ssize_t ready = 0, at = 0;
    for (int i = 0; i < p->count; i++)
        ready += p->items[i].revents != 0;
    PyObject *answer = PyList_New(ready);
    for (int i = 0; answer && i < p->count; i++) {
        if (!p->items[i].revents)
            continue;
        PyObject *mask = PyLong_FromLong(p->items[i].revents);
        PyObject *pair = mask ? PyTuple_Pack(2, p->subjects[i], mask) : NULL;
        Py_XDECREF(mask);
        if (pair)
            PyList_SET_ITEM(answer, at++, pair);
        else
            Py_CLEAR(answer);
    }
    return answer;
}

PyObject *ext_poll(ext_binding *binding, PyObject *sockets, PyObject *timeout)
{
    ext_drain_if_due();
    int timeout_ms = -1;
    Py_ssize_t count = PyObject_Size(sockets);
    if (count < 0 || (timeout && timeout != Py_None && c_int(timeout, &timeout_ms) < 0))
        return NULL;
    if (count == 0)
        return PyList_New(0);
    polled p;
    PyObject *answer = NULL;
    if (polled_init(&p, binding, sockets, count) == 0 && polled_wait(&p, timeout_ms) == 0)
        answer = polled_answer(&p);
    polled_clear(&p);
    return answer;
}
