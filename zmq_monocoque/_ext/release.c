/* Python memory in the engine's hands: who keeps it alive, and how it comes back.
 *
 * The engine lets go of a block on any thread and without the GIL, so its callback only pushes the
 * hold onto a lock-free list. A thread with the GIL takes the list and finishes the holds: the next
 * call into the extension, a pending call of the interpreter (the main thread, while it runs
 * Python), or somebody who waits in wait_event() or asks by drain().
 *
 * Knows nothing of sockets and frames. */
#include "binding.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

struct ext_hold {
    struct ext_hold *next;
    const zm_api *api;
    PyObject *object; /* the bytes; or the gcref tuple, which holds the object */
    PyObject *refs;   /* the gc.refs that shows `object`; NULL: none */
    PyObject *event;  /* to be set; may be NULL */
    Py_buffer view;   /* view.obj NULL: `object` alone keeps the memory */
};

_Atomic(struct ext_hold *) ext_released;

static _Atomic bool pending_call_open;      /* between module start and interpreter exit */
static _Atomic bool pending_call_scheduled;
static _Thread_local bool released_here;

/* Waiters in wait_event() read `wakes`, look whether there is something for them, and sleep as
 * long as it is what they read: a futex, since who wakes them may have no GIL, and wakes all. */
static _Atomic uint32_t wakes;
static _Atomic int waiter_count;

/* --- coming back ------------------------------------------------------------------------------ */

static int drain_pending(void *unused)
{
    (void) unused;
    atomic_store(&pending_call_scheduled, false);
    ext_drain();
    return 0;
}

static void wake_waiters(void)
{
    if (atomic_load(&waiter_count) > 0) {
        atomic_fetch_add(&wakes, 1);
        syscall(SYS_futex, &wakes, FUTEX_WAKE_PRIVATE, INT_MAX);
    }
}

/* On any thread, without the GIL. */
static void hold_release(zm_block *taken)
{
    struct ext_hold *hold = taken->hint;
    hold->api->block_foreign_free(taken);
    struct ext_hold *head = atomic_load_explicit(&ext_released, memory_order_relaxed);
    do
        hold->next = head;
    while (!atomic_compare_exchange_weak(&ext_released, &head, hold));

    if (released_here)
        return;
    if (atomic_load(&pending_call_open) && !atomic_exchange(&pending_call_scheduled, true)) {
        if (Py_AddPendingCall(drain_pending, NULL) != 0)
            atomic_store(&pending_call_scheduled, false); /* the queue is full: the next tries */
    }
    wake_waiters();
}

static void hold_finish(struct ext_hold *hold)
{
    if (hold->refs) {
        PyObject *key = PyLong_FromVoidPtr(hold->object);
        if (!key || PyDict_DelItem(hold->refs, key) < 0)
            PyErr_Clear(); /* somebody emptied gc.refs: it is a window, not the owner */
        Py_XDECREF(key);
        Py_DECREF(hold->refs);
    }
    PyBuffer_Release(&hold->view);
    Py_DECREF(hold->object);
    if (hold->event) {
        /* Last: who sees the event set finds the object released. */
        PyObject *answer = PyObject_CallMethodNoArgs(hold->event, ext_name.set);
        if (!answer)
            PyErr_WriteUnraisable(hold->event);
        Py_XDECREF(answer);
        Py_DECREF(hold->event);
    }
    PyMem_RawFree(hold);
}

Py_ssize_t ext_drain(void)
{
    struct ext_hold *newest = atomic_exchange(&ext_released, NULL);
    if (!newest)
        return 0;
    ext_exception kept = ext_exception_keep();
    struct ext_hold *oldest = NULL;
    while (newest) {
        struct ext_hold *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    Py_ssize_t count = 0;
    while (oldest) {
        struct ext_hold *next = oldest->next;
        hold_finish(oldest);
        oldest = next;
        count++;
    }
    wake_waiters(); /* another thread may wait for an event that was just set here */
    ext_exception_restore(kept);
    return count;
}

void ext_release_here_begin(void)
{
    released_here = true;
}

void ext_release_here_end(void)
{
    released_here = false;
}

void ext_block_unref(const zm_api *api, zm_block *taken)
{
    ext_release_here_begin();
    api->block_unref(taken);
    ext_release_here_end();
    ext_drain_if_due();
}

/* --- giving away ------------------------------------------------------------------------------ */

/* A hold with its block, and nothing else filled in. */
static struct ext_hold *hold_new(const zm_api *api, const void *data, Py_ssize_t size,
                                 zm_block **out_block)
{
    struct ext_hold *hold = PyMem_RawCalloc(1, sizeof *hold);
    if (hold) {
        hold->api = api;
        *out_block = api->block_foreign(data, (size_t) size, hold_release, hold);
        if (*out_block)
            return hold;
        PyMem_RawFree(hold);
    }
    PyErr_NoMemory();
    return NULL;
}

zm_block *ext_hold_bytes(const zm_api *api, PyObject *bytes)
{
    zm_block *block;
    struct ext_hold *hold = hold_new(api, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes),
                                     &block);
    if (!hold)
        return NULL;
    hold->object = Py_NewRef(bytes);
    return block;
}

/* Of a view of plain bytes, shape and strides point into the view itself (PyBuffer_FillInfo()). */
static void view_move(Py_buffer *to, Py_buffer *from)
{
    *to = *from;
    if (from->shape == &from->len)
        to->shape = &to->len;
    if (from->strides == &from->itemsize)
        to->strides = &to->itemsize;
    from->obj = NULL;
}

zm_block *ext_hold_foreign(ext_binding *binding, PyObject *object, Py_buffer *view, PyObject *event)
{
    zm_block *block = NULL;
    PyObject *arguments[] = {binding->hooks, object, event ? event : Py_None};
    PyObject *refs = PyObject_CallMethodNoArgs(binding->hooks, ext_name.gc_refs);
    PyObject *entry = refs ? PyObject_VectorcallMethod(ext_name.gcref, arguments, 3, NULL) : NULL;
    PyObject *key = entry ? PyLong_FromVoidPtr(entry) : NULL;
    if (!key || PyDict_SetItem(refs, key, entry) < 0)
        goto out;
    struct ext_hold *hold = hold_new(binding->api, view->buf, view->len, &block);
    if (!hold) {
        PyDict_DelItem(refs, key);
        goto out;
    }
    hold->object = Py_NewRef(entry);
    hold->refs = Py_NewRef(refs);
    hold->event = Py_XNewRef(event);
    view_move(&hold->view, view);
out:
    Py_XDECREF(refs);
    Py_XDECREF(entry);
    Py_XDECREF(key);
    return block;
}

struct raw_copy {
    const zm_api *api;
    uint8_t data[];
};

static void raw_copy_release(zm_block *taken)
{
    struct raw_copy *copy = taken->hint;
    copy->api->block_foreign_free(taken);
    PyMem_RawFree(copy);
}

zm_block *ext_hold_copy(const zm_api *api, const void *data, Py_ssize_t size)
{
    struct raw_copy *copy = PyMem_RawMalloc(sizeof *copy + (size_t) size);
    if (copy) {
        copy->api = api;
        memcpy(copy->data, data, (size_t) size);
        zm_block *block = api->block_foreign(copy->data, (size_t) size, raw_copy_release, copy);
        if (block)
            return block;
        PyMem_RawFree(copy);
    }
    PyErr_NoMemory();
    return NULL;
}

/* --- seen from Python ------------------------------------------------------------------------- */

PyDoc_STRVAR(drain_doc,
"drain($module, /)\n--\n\n"
"Finishes the zero-copy messages the engine has let go of: their objects are released, their\n"
"tracker events set. Returns how many they were.");

static PyObject *module_drain(PyObject *module, PyObject *unused)
{
    (void) module, (void) unused;
    return PyLong_FromSsize_t(ext_drain());
}

static long long monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* 1: set, 0: not, -1: exception. */
static int event_is_set(PyObject *event)
{
    PyObject *answer = PyObject_CallMethodNoArgs(event, ext_name.is_set);
    if (!answer)
        return -1;
    int set = PyObject_IsTrue(answer);
    Py_DECREF(answer);
    return set;
}

/* Sleeps until there were more `wakes`, `ns` are over or a signal comes. -1: its handler raised. */
static int sleep_since(uint32_t seen, long long ns)
{
    struct timespec time = {.tv_sec = ns / 1000000000LL, .tv_nsec = ns % 1000000000LL};
    Py_BEGIN_ALLOW_THREADS
    syscall(SYS_futex, &wakes, FUTEX_WAIT_PRIVATE, seen, ns == LLONG_MAX ? NULL : &time);
    Py_END_ALLOW_THREADS
    return PyErr_CheckSignals();
}

PyDoc_STRVAR(wait_event_doc,
"wait_event($module, event, timeout=None, /)\n--\n\n"
"Waits up to `timeout` seconds (None: without limit) until `event.is_set()`, and meanwhile\n"
"finishes what the engine lets go of. Returns what is_set() said last. Who sets the event and is\n"
"not the extension, calls wake_waiters() afterwards.");

static PyObject *module_wait_event(PyObject *module, PyObject *args)
{
    (void) module;
    PyObject *event, *timeout = Py_None;
    if (!PyArg_ParseTuple(args, "O|O:wait_event", &event, &timeout))
        return NULL;
    long long end_ns = LLONG_MAX;
    if (timeout != Py_None) {
        double seconds = PyFloat_AsDouble(timeout);
        if (seconds == -1.0 && PyErr_Occurred())
            return NULL;
        if (seconds < 1e9)
            end_ns = monotonic_ns() + (long long) ((seconds > 0 ? seconds : 0) * 1e9);
    }
    int set;
    atomic_fetch_add(&waiter_count, 1); /* before the first look: from now on it is woken */
    for (;;) {
        uint32_t seen = atomic_load(&wakes);
        /* Not only if a relaxed look says so: that may be earlier than the count on other machines
         * than x86, and who released something meanwhile saw nobody to wake. */
        ext_drain();
        set = event_is_set(event);
        if (set != 0)
            break;
        long long left_ns = end_ns == LLONG_MAX ? LLONG_MAX : end_ns - monotonic_ns();
        if (left_ns <= 0)
            break;
        if (sleep_since(seen, left_ns) < 0) {
            set = -1;
            break;
        }
    }
    atomic_fetch_sub(&waiter_count, 1);
    return set < 0 ? NULL : PyBool_FromLong(set);
}

PyDoc_STRVAR(wake_waiters_doc,
"wake_waiters($module, /)\n--\n\n"
"Has everybody in wait_event() look at its event again.");

static PyObject *module_wake_waiters(PyObject *module, PyObject *unused)
{
    (void) module, (void) unused;
    wake_waiters();
    Py_RETURN_NONE;
}

/* At exit: engine threads go on releasing while the interpreter is taken apart. What they release
 * from now on is left to the end of the process. */
static PyObject *module_at_exit(PyObject *module, PyObject *unused)
{
    (void) module, (void) unused;
    atomic_store(&pending_call_open, false);
    ext_drain();
    Py_RETURN_NONE;
}

static PyMethodDef release_methods[] = {
    {"drain", module_drain, METH_NOARGS, drain_doc},
    {"wait_event", module_wait_event, METH_VARARGS, wait_event_doc},
    {"wake_waiters", module_wake_waiters, METH_NOARGS, wake_waiters_doc},
    {"_at_exit", module_at_exit, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int ext_release_init(PyObject *module)
{
    if (PyModule_AddFunctions(module, release_methods) < 0)
        return -1;
    PyObject *atexit = PyImport_ImportModule("atexit");
    PyObject *handler = atexit ? PyObject_GetAttrString(module, "_at_exit") : NULL;
    PyObject *answer = handler ? PyObject_CallMethod(atexit, "register", "O", handler) : NULL;
    Py_XDECREF(atexit);
    Py_XDECREF(handler);
    if (!answer)
        return -1;
    Py_DECREF(answer);
    /* Pending calls run in the main interpreter: holds of another one come back without them. */
    atomic_store(&pending_call_open, PyInterpreterState_Get() == PyInterpreterState_Main());
    return 0;
}
