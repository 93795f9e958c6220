/* What the lane's files share.
 *
 * The lane is the CPython extension that carries what is called once a message: send, recv and
 * Frame. It knows the engine only as the table of api.h, and the Python package only as a set of
 * hooks. A *binding* is one pair of the two, with the SocketBase and Frame types made for it, so
 * that one process can hold several (our own classes, and those of a real pyzmq).
 *
 * The GIL is held everywhere in the lane except round api->wait(), api->flush() and api->poll(),
 * where a call that does not wait would have to (LANE_CALL), round the copy of a large body, and in
 * release.c's callbacks. No Python code runs, and nothing
 * that may start a garbage collection is called, between api->recv_begin() and api->recv_end(). */
#ifndef ZM_LANE_BINDING_H
#define ZM_LANE_BINDING_H

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
#define LANE_SHARE_MIN_BYTES ((Py_ssize_t) 8 * 1024)
/* From here on a received body is copied with the socket unlocked and without the GIL. */
#define LANE_UNLOCK_MIN_BYTES ((size_t) 256 * 1024)

/* So many options' kinds are remembered: all of libzmq's. */
enum { LANE_OPTIONS = 128 };

/* --- lane.c: the binding ---------------------------------------------------------------------- */

typedef struct lane_binding {
    PyObject_HEAD
    const zm_api *api;
    PyObject *hooks;
    PyTypeObject *socket_type, *frame_type;
    PyObject *own_send, *own_recv; /* socket_type's, to see whether a subclass has its own */
    PyTypeObject *frame_class;     /* what recv(copy=False) makes; asked for when needed */
    PyObject *finished_tracker;    /* asked for when needed */
    uint8_t option_kinds[LANE_OPTIONS]; /* of the options from 0; 0: to be asked for */
} lane_binding;

/* What a socket option's value is. */
typedef enum lane_option_kind { LANE_INT = 1, LANE_INT64, LANE_BYTES } lane_option_kind;

/* Interned names of arguments and methods; made once a process. */
typedef struct lane_names {
    PyObject *data, *msg_parts, *flags, *copy, *track, *routing_id, *group, *nbytes;
    PyObject *copy_threshold, *messages, *max, *multipart;
    PyObject *send, *recv, *getsockopt, *set, *is_set;
    PyObject *binding, *error, *frame_class, *event, *tracker, *get_finished_tracker, *gc_refs;
    PyObject *gcref, *option_type, *fileno, *sockets, *timeout;
    PyObject *option, *optval, *addr, *events, *linger;
} lane_names;
extern lane_names lane_name;

/* A flag of send(), recv() and their relatives, beside those of zmq.h: DONTWAIT, and "nothing could
 * be done" is the answer LANE_NOTHING instead of an exception, which takes microseconds to make. */
#define LANE_QUIET (1 << 30)
#define LANE_NOTHING Py_NotImplemented

/* The binding a type made by lane_*_type_new(), or a subclass of one, belongs to: a new reference,
 * or NULL with an exception. */
lane_binding *lane_binding_of(PyTypeObject *type);

/* Raises the exception of an errno (> 0), and remembers it as the thread's last. Always NULL. */
PyObject *lane_raise(lane_binding *binding, int error);

/* The exception that is set, if any, while other Python code runs. */
typedef struct lane_exception {
    PyObject *type, *value, *traceback; /* from Python 3.12 on only `value` */
} lane_exception;

static inline lane_exception lane_exception_keep(void)
{
    lane_exception kept = {0};
#if PY_VERSION_HEX >= 0x030C0000
    kept.value = PyErr_GetRaisedException();
#else
    PyErr_Fetch(&kept.type, &kept.value, &kept.traceback);
#endif
    return kept;
}

static inline void lane_exception_restore(lane_exception taken)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(taken.value);
#else
    PyErr_Restore(taken.type, taken.value, taken.traceback);
#endif
}

/* Hooks. New references; NULL with an exception. */
PyObject *lane_event_new(lane_binding *binding);
PyObject *lane_tracker_new(lane_binding *binding, PyObject *event);
/* Of a list of trackers. */
PyObject *lane_tracker_of_all(lane_binding *binding, PyObject *trackers);
PyObject *lane_finished_tracker(lane_binding *binding);
/* A borrowed reference, NULL with an exception. */
PyTypeObject *lane_frame_class(lane_binding *binding);
/* 0: with an exception. */
lane_option_kind lane_option_kind_of(lane_binding *binding, int option);
/* 0, or -1 with an exception. */
int lane_copy_threshold(lane_binding *binding, Py_ssize_t *out);

/* A call of the table that takes `brief`: with the GIL, and where it would wait, again without it.
 * `call` is written with `brief`, and otherwise with what needs no GIL. */
#define LANE_CALL(status, call)                                                                    \
    do {                                                                                           \
        bool brief = true;                                                                         \
        (status) = (call);                                                                         \
        if ((status) == ZM_LATER) {                                                                \
            brief = false;                                                                         \
            Py_BEGIN_ALLOW_THREADS                                                                 \
            (status) = (call);                                                                     \
            Py_END_ALLOW_THREADS                                                                   \
        }                                                                                          \
    } while (0)

/* --- lane.c: arguments ------------------------------------------------------------------------ */

typedef struct lane_signature {
    const char *function;
    PyObject **names[6]; /* in order of position */
    int count;
    int required;
    bool open; /* further keywords are ignored */
} lane_signature;

/* Spreads a vectorcall's arguments over `values`, which the caller has set to NULL; borrowed. 0, or
 * -1 with TypeError. */
int lane_arguments(const lane_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames, PyObject **values);
/* NULL values leave `out` as it is. 0, or -1 with an exception. */
int lane_int(PyObject *value, int *out);
int lane_size(PyObject *value, Py_ssize_t *out);
int lane_bool(PyObject *value, bool *out);
/* A number of the engine's, for a socket or a context. */
int lane_handle(PyObject *value, int64_t *out);

/* The table at `address`, if it is the one we were built for, else NULL with ImportError. */
const zm_api *lane_api_at(PyObject *address);

/* --- signals.c: waits and signal handlers ----------------------------------------------------- */

typedef struct lane_signals {
    bool mine; /* this thread runs the handlers; else there is nothing to do */
    bool installed;
    int64_t began;
    int64_t before;
} lane_signals;

int lane_signals_init(void);
/* Round a call of the engine that may wait. `costly`: to begin anew after a look would take longer
 * than to be told from the start. May run handlers that are due: 0, or -1 with what one raised, and
 * then there is nothing to end. */
int lane_signals_begin(const zm_api *api, lane_signals *out, bool costly);
/* `interrupted`: the call answered -EINTR, and will probably be made again. */
void lane_signals_end(const zm_api *api, const lane_signals *state, bool interrupted);

PyObject *lane_interruptible(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *lane_signals_after_fork(PyObject *module, PyObject *unused);

/* --- release.c: Python objects whose memory the engine holds ---------------------------------- */

struct lane_hold;
/* What the engine has let go of and no thread with the GIL has yet looked at. */
extern _Atomic(struct lane_hold *) lane_released;

/* A block over the memory of `bytes`; keeps a reference to it until it is released. */
zm_block *lane_hold_bytes(const zm_api *api, PyObject *bytes);
/* A block over `object`'s memory, shown in gc.refs until it is released; then `event` (may be NULL)
 * is set. A view with an owner is taken, on success only. */
zm_block *lane_hold_foreign(lane_binding *binding, PyObject *object, Py_buffer *view,
                            PyObject *event);
/* A block of `size` bytes of its own, filled from `data`. */
zm_block *lane_hold_copy(const zm_api *api, const void *data, Py_ssize_t size);

/* Finishes what was released: runs destructors and sets events, hence any Python code; keeps the
 * exception that is set. Answers how many. Call with the GIL and without any lock. */
Py_ssize_t lane_drain(void);

static inline void lane_drain_if_due(void)
{
    if (atomic_load_explicit(&lane_released, memory_order_relaxed))
        lane_drain();
}

/* Between these two, what this thread releases is not announced to anybody: it calls
 * lane_drain_if_due() itself before its call into the lane ends. */
void lane_release_here_begin(void);
void lane_release_here_end(void);
/* Gives a reference back, and finishes at once what that releases. */
void lane_block_unref(const zm_api *api, zm_block *taken);

/* Adds drain(), wait_event() and the exit handler to the module. 0, or -1 with an exception. */
int lane_release_init(PyObject *module);

/* --- frame.c ---------------------------------------------------------------------------------- */

typedef struct lane_frame {
    PyObject_HEAD
    lane_binding *binding;
    const uint8_t *data; /* in `block` or `storage`; never NULL */
    Py_ssize_t size;
    zm_block *block;         /* one reference; NULL: a short body in `storage`, or none */
    void *storage;           /* PyMem_Malloc()ed; NULL: none */
    zm_metadata *metadata;   /* one reference, or NULL */
    PyObject *source;        /* the bytes a zero-copy frame was made from */
    PyObject *bytes;         /* .bytes, once it was asked for */
    PyObject *view_ref;      /* weak reference to .buffer */
    PyObject *tracker, *tracker_event;
    PyObject *weakrefs;
    bool more;
} lane_frame;

PyTypeObject *lane_frame_type_new(PyObject *module);
/* A received body as the binding's frame class. Takes `block` and `metadata` in any case. */
PyObject *lane_frame_received(lane_binding *binding, zm_block *taken_block, const uint8_t *data,
                              size_t size, zm_metadata *taken_metadata, bool more, bool track);

/* --- socket.c --------------------------------------------------------------------------------- */

PyTypeObject *lane_socket_type_new(PyObject *module);

/* --- poll.c ----------------------------------------------------------------------------------- */

/* zmq_poll(). `timeout` in ms; NULL, None and negative: without limit. */
PyObject *lane_poll(lane_binding *binding, PyObject *sockets, PyObject *timeout);

#endif
