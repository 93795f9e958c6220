/* What the extension's files share.
 *
 * The extension is the CPython extension that carries what is called once a message: send, recv and
 * Frame. It knows the engine only as the table of api.h, and the Python package only as a set of
 * hooks. A *binding* is one pair of the two, with the SocketBase and Frame types made for it, so
 * that one process can hold several (our own classes, and those of a real pyzmq).
 *
 * The GIL is held everywhere in the extension except round api->wait(), api->flush() and
 * api->poll(), where a call that does not wait would have to (EXT_CALL), round the copy of a large
 * body, and in release.c's callbacks. No Python code runs, and nothing that may start a garbage
 * collection is called, between api->recv_begin() and api->recv_end().
 *
 * Where there is no GIL, the calls on a socket or frame have its critical section instead: it is
 * given up at the same places, so that what is true of one object is so with and without. What no
 * object guards is atomic, or belongs to one thread, or is made at import and stays as it is. */
#ifndef ZM_EXT_BINDING_H
#define ZM_EXT_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <structmember.h>
#include <unistd.h>

#include "api.h"

/* Below this a body is copied rather than shared: a reference costs more than the copy, and than
 * the memory that copies in a long queue take from the system again and again (ADR 10). The
 * memory of a `bytes` is shared also with copy=True, since nobody can write to it. */
#define EXT_SHARE_MIN_BYTES ((Py_ssize_t) 8 * 1024)
/* From here on a received body is copied with the socket unlocked and without the GIL. */
#define EXT_UNLOCK_MIN_BYTES ((size_t) 256 * 1024)

/* So many options' kinds are remembered: all of libzmq's. */
enum { EXT_OPTIONS = 128 };

#if PY_VERSION_HEX < 0x030D0000
#define Py_BEGIN_CRITICAL_SECTION(op) {
#define Py_END_CRITICAL_SECTION() }
#endif

/* --- module.c: the binding -------------------------------------------------------------------- */

typedef struct ext_binding {
    PyObject_HEAD
    const zm_api *api;
    PyObject *hooks;
    PyTypeObject *socket_type, *frame_type;
    PyObject *own_send, *own_recv; /* socket_type's, to see whether a subclass has its own */
    /* Asked for when they are needed, once: what recv(copy=False) makes, and the tracker. */
    _Atomic(PyObject *) frame_class, finished_tracker;
    _Atomic uint8_t option_kinds[EXT_OPTIONS]; /* of the options from 0; 0: to be asked for */
} ext_binding;

/* What a socket option's value is. */
typedef enum ext_option_kind { EXT_INT = 1, EXT_INT64, EXT_BYTES } ext_option_kind;

/* Interned names of arguments and methods; made once a process. */
typedef struct ext_names {
    PyObject *data, *msg_parts, *flags, *copy, *track, *routing_id, *group, *nbytes;
    PyObject *copy_threshold, *messages, *max, *multipart;
    PyObject *send, *recv, *getsockopt, *set, *is_set;
    PyObject *binding, *error, *frame_class, *event, *tracker, *get_finished_tracker, *gc_refs;
    PyObject *gcref, *option_type, *fileno, *sockets, *timeout;
    PyObject *explain, *explain_option, *explain_end;
    PyObject *option, *optval, *addr, *events, *linger;
} ext_names;
extern ext_names ext_name;

/* A flag of send(), recv() and their relatives, beside those of zmq.h: DONTWAIT, and "nothing could
 * be done" is the answer EXT_NOTHING instead of an exception, which takes microseconds to make. */
#define EXT_QUIET (1 << 30)
#define EXT_NOTHING Py_NotImplemented

/* The binding a type made by ext_*_type_new(), or a subclass of one, belongs to: a new reference,
 * or NULL with an exception. */
ext_binding *ext_binding_of(PyTypeObject *type);

/* Raises the exception of an errno (> 0), and remembers it as the thread's last. Always NULL. */
PyObject *ext_raise(ext_binding *binding, int error);

/* The exception that is set, if any, while other Python code runs. */
typedef struct ext_exception {
    PyObject *type, *value, *traceback; /* from Python 3.12 on only `value` */
} ext_exception;

static inline ext_exception ext_exception_keep(void)
{
    ext_exception kept = {0};
#if PY_VERSION_HEX >= 0x030C0000
    kept.value = PyErr_GetRaisedException();
#else
    PyErr_Fetch(&kept.type, &kept.value, &kept.traceback);
#endif
    return kept;
}

static inline void ext_exception_restore(ext_exception taken)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(taken.value);
#else
    PyErr_Restore(taken.type, taken.value, taken.traceback);
#endif
}

/* Hooks. New references; NULL with an exception. */
PyObject *ext_event_new(ext_binding *binding);
PyObject *ext_tracker_new(ext_binding *binding, PyObject *event);
/* Of a list of trackers. */
PyObject *ext_tracker_of_all(ext_binding *binding, PyObject *trackers);
PyObject *ext_finished_tracker(ext_binding *binding);
/* A borrowed reference, NULL with an exception. */
PyTypeObject *ext_frame_class(ext_binding *binding);
/* 0: with an exception. */
ext_option_kind ext_option_kind_of(ext_binding *binding, int option);
/* 0, or -1 with an exception. */
int ext_copy_threshold(ext_binding *binding, Py_ssize_t *out);

/* A call of the table that takes `brief`: with the GIL, and where it would wait, again without it.
 * `call` is written with `brief`, and otherwise with what needs no GIL. */
#define EXT_CALL(status, call) \
    do { \
        bool brief = true; \
        (status) = (call); \
        if ((status) == ZM_LATER) { \
            brief = false; \
            Py_BEGIN_ALLOW_THREADS(status) \
            = (call); \
            Py_END_ALLOW_THREADS \
        } \
    } while (0)

/* --- module.c: arguments ---------------------------------------------------------------------- */

typedef struct ext_signature {
    const char *function;
    PyObject **names[6]; /* in order of position */
    int count;
    int required;
    bool open; /* further keywords are ignored */
} ext_signature;

/* Spreads a vectorcall's arguments over `values`, which the caller has set to NULL; borrowed. 0, or
 * -1 with TypeError. */
int ext_arguments(const ext_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames, PyObject **values);
/* NULL values leave `out` as it is. 0, or -1 with an exception. */
int ext_int(PyObject *value, int *out);
int ext_size(PyObject *value, Py_ssize_t *out);
int ext_bool(PyObject *value, bool *out);
/* A number of the engine's, for a socket or a context. */
int ext_handle(PyObject *value, int64_t *out);

/* The table at `address`, if it is the one we were built for, else NULL with ImportError. */
const zm_api *ext_api_at(PyObject *address);

/* --- signals.c: waits and signal handlers ----------------------------------------------------- */

typedef struct ext_signals {
    bool mine; /* this thread runs the handlers; else there is nothing to do */
    bool installed;
    int64_t began;
    int64_t before;
} ext_signals;

int ext_signals_init(void);
/* Round a call of the engine that may wait. `costly`: to begin anew after a look would take longer
 * than to be told from the start. May run handlers that are due: 0, or -1 with what one raised, and
 * then there is nothing to end. */
int ext_signals_begin(const zm_api *api, ext_signals *out, bool costly);
/* `interrupted`: the call answered -EINTR, and will probably be made again. */
void ext_signals_end(const zm_api *api, const ext_signals *state, bool interrupted);

PyObject *ext_interruptible(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *ext_signals_after_fork(PyObject *module, PyObject *unused);

/* --- release.c: Python objects whose memory the engine holds ---------------------------------- */

struct ext_hold;
/* What the engine has let go of and no thread with the GIL has yet looked at. */
extern _Atomic(struct ext_hold *) ext_released;

/* A block over the memory of `bytes`; keeps a reference to it until it is released. */
zm_block *ext_hold_bytes(const zm_api *api, PyObject *bytes);
/* A block over `object`'s memory, shown in gc.refs until it is released; then `event` (may be NULL)
 * is set. A view with an owner is taken, on success only. */
zm_block *ext_hold_foreign(ext_binding *binding, PyObject *object, Py_buffer *view,
                           PyObject *event);
/* A block of `size` bytes of its own, filled from `data`. */
zm_block *ext_hold_copy(const zm_api *api, const void *data, Py_ssize_t size);

/* Finishes what was released: runs destructors and sets events, hence any Python code; keeps the
 * exception that is set. Answers how many. Call with the GIL and without any lock. */
Py_ssize_t ext_drain(void);

static inline void ext_drain_if_due(void)
{
    if (atomic_load_explicit(&ext_released, memory_order_relaxed))
        ext_drain();
}

/* Between these two, what this thread releases is not announced to anybody: it calls
 * ext_drain_if_due() itself before its call into the extension ends. */
void ext_release_here_begin(void);
void ext_release_here_end(void);
/* Gives a reference back, and finishes at once what that releases. */
void ext_block_unref(const zm_api *api, zm_block *taken);

/* Adds drain(), wait_event(), wake_waiters() and the exit handler to the module. 0, or -1 with an
 * exception. */
int ext_release_init(PyObject *module);

/* --- frame.c ---------------------------------------------------------------------------------- */

typedef struct ext_frame {
    PyObject_HEAD
    ext_binding *binding;
    const uint8_t *data; /* in `block` or `storage`; never NULL */
    Py_ssize_t size;
    zm_block *block;         /* one reference; NULL: a short body in `storage`, or none */
    void *storage;           /* PyMem_Malloc()ed; NULL: none */
    zm_metadata *metadata;   /* one reference, or NULL */
    PyObject *source;        /* the bytes a zero-copy frame was made from */
    PyObject *weakrefs;
    bool lent;               /* somebody counts on it that the body is sent without a copy */
    /* From here on in the frame's critical section. */
    PyObject *bytes;         /* .bytes, once it was asked for */
    PyObject *view_ref;      /* weak reference to .buffer */
    PyObject *tracker, *tracker_event;
    bool more;
} ext_frame;

PyTypeObject *ext_frame_type_new(PyObject *module);
/* Its tracker, or None. */
PyObject *ext_frame_tracker(ext_frame *frame);
/* A received body as the binding's frame class. Takes `block` and `metadata` in any case. */
PyObject *ext_frame_received(ext_binding *binding, zm_block *taken_block, const uint8_t *data,
                             size_t size, zm_metadata *taken_metadata, bool more, bool track);

/* --- socket.c --------------------------------------------------------------------------------- */

PyTypeObject *ext_socket_type_new(PyObject *module);

/* --- poll.c ----------------------------------------------------------------------------------- */

/* zmq_poll(). `timeout` in ms; NULL, None and negative: without limit. */
PyObject *ext_poll(ext_binding *binding, PyObject *sockets, PyObject *timeout);

#endif
