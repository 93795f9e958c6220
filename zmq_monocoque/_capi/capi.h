/* What the files of the C face share: cells, and how the engine's answers become errno. */
#ifndef ZM_CAPI_H
#define ZM_CAPI_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api.h"
#include "base/clock.h"
#include "base/lock.h"
#include "engine.h"

#define ZMQ_BUILD_DRAFT_API
#include "include/zmq.h"

#define CAPI __attribute__((visibility("default")))

/* --- cells (handles.c) ----------------------------------------------------------------------- */

/* The first word of what a handle points to. No small numbers: programs that hold handles of
 * several libraries look at it to tell them apart. */
typedef enum capi_kind {
    CAPI_FREE = 0,
    CAPI_CONTEXT = 0x6d6f6e01,
    CAPI_SOCKET,
    CAPI_POLLER,
    CAPI_TIMERS,
    CAPI_COUNTER,
    CAPI_STOPWATCH,
    CAPI_THREAD,
} capi_kind;

typedef struct capi_cell {
    _Atomic uint32_t kind;
    zm_lock lock; /* of `object`, where it is no engine handle */
    _Atomic uint32_t generation; /* of a socket */
    uint32_t next_free;
    _Atomic uintptr_t object;    /* a zm_socket, or what the kind's file keeps */
    _Atomic int64_t value;       /* the engine's handle, or a number */
} capi_cell;

/* A cell of this kind; NULL: there is no room (errno EMFILE). */
capi_cell *capi_cell_new(capi_kind kind);
/* Takes the cell from its holder: false when another thread did, or it is of another kind. */
bool capi_cell_end(capi_cell *cell, capi_kind kind);
/* What was ended may be given out again. */
void capi_cell_free(capi_cell *cell);
extern _Atomic(capi_cell *) capi_cells; /* NULL: nothing was made yet */
extern uint32_t capi_cells_max;
/* The cell behind a program's pointer, if it is one of this kind; else NULL. */
static inline capi_cell *capi_cell_of(const void *handle, capi_kind kind)
{
    capi_cell *all = atomic_load_explicit(&capi_cells, memory_order_acquire);
    uintptr_t offset = (uintptr_t) handle - (uintptr_t) all;
    if (!all || offset >= (uintptr_t) capi_cells_max * sizeof *all || offset % sizeof *all)
        return NULL;
    capi_cell *cell = &all[offset / sizeof *all];
    return atomic_load_explicit(&cell->kind, memory_order_acquire) == kind ? cell : NULL;
}
/* Some cell's lock, for -Wthread-safety (base/lock.h). */
extern struct zm_lock_kind capi_a_cell;
/* The same with its lock held, so that nobody ends it meanwhile. */
capi_cell *capi_cell_lock(const void *handle, capi_kind kind) ZM_TAKES_IF(true, capi_a_cell);
static inline void capi_cell_unlock(capi_cell *cell) ZM_GIVES(capi_a_cell) ZM_LOCKS_UNCHECKED
{
    zm_lock_give(&cell->lock);
}

/* --- answers --------------------------------------------------------------------------------- */

/* The engine's answer as libzmq's: -1 and errno, or what it was. */
int capi_answer(int rc);
/* errno, and -1. */
int capi_refuse(int error);

/* Before a call that may wait: signals that came earlier are not its concern. */
static inline void capi_forget_signals(void)
{
    zm_signal_taken();
}

/* Is -EINTR due to a signal? If not, the call is to be made again. */
static inline bool capi_again(int rc)
{
    return rc == -EINTR && !zm_signal_taken();
}

/* --- start (start.c) ------------------------------------------------------------------------- */

/* Starts the engine, once. */
void capi_start(void);

/* --- sockets (socket.c) ---------------------------------------------------------------------- */

/* A socket as the engine's calls want it. False: no socket (errno ENOTSOCK). */
typedef struct capi_socket {
    zm_socket *socket;
    uint32_t generation;
    int64_t handle;
} capi_socket;
static inline bool capi_socket_of(const void *handle, capi_socket *out)
{
    const capi_cell *cell = capi_cell_of(handle, CAPI_SOCKET);
    if (!cell) {
        capi_refuse(ENOTSOCK);
        return false;
    }
    /* Read one by one: if it is closed and made anew meanwhile they do not fit, and the engine,
     * which compares the generation, refuses them. */
    out->socket = (zm_socket *) atomic_load_explicit(&cell->object, memory_order_relaxed);
    out->generation = atomic_load_explicit(&cell->generation, memory_order_relaxed);
    out->handle = atomic_load_explicit(&cell->value, memory_order_relaxed);
    if (out->socket && out->generation)
        return true;
    capi_refuse(ENOTSOCK);
    return false;
}

/* The absolute end of a call that lasts `timeout` ms; < 0: without end. */
int64_t capi_deadline(long timeout);
/* The engine's poll(), which goes on unless a signal came. Items as zmq_poll() has them; -errno. */
int capi_poll(zmq_pollitem_t *items, int count, int64_t deadline_ns);

/* --- messages (message.c) -------------------------------------------------------------------- */

enum { CAPI_INLINE_BYTES = 40 };

/* What a zmq_msg_t is. Owns what it points to. */
typedef struct capi_message {
    union {
        uint8_t bytes[CAPI_INLINE_BYTES];
        struct {
            zm_block *block; /* NULL: constant data of the program's */
            uint8_t *data;
            size_t size;
        };
    };
    zm_metadata *metadata; /* NULL: none */
    char *group;           /* NULL: none */
    uint32_t routing_id;   /* 0: none */
    uint8_t kind;
    uint8_t flags;
    uint8_t inline_size;
    uint8_t seal; /* a second look at whether this was initialised */
} capi_message;
_Static_assert(sizeof(capi_message) == sizeof(zmq_msg_t), "ABI");

enum { CAPI_MESSAGE_MORE = 1, CAPI_MESSAGE_SHARED = 2, CAPI_MESSAGE_FOREIGN = 4 };

enum { CAPI_CLOSED = 0, CAPI_INLINE = 0x49, CAPI_BLOCK = 0x42, CAPI_SEAL = 0xa5 };

/* The message, if it was initialised and not closed; else NULL. */
static inline capi_message *capi_message_of(const zmq_msg_t *msg)
{
    capi_message *m = (capi_message *) (uintptr_t) msg;
    bool is_one = m && m->seal == CAPI_SEAL && (m->kind == CAPI_INLINE || m->kind == CAPI_BLOCK);
    return is_one ? m : NULL;
}
/* Gives back what it owns, and makes it empty. */
void capi_message_empty(capi_message *message);
static inline const void *capi_message_data(const capi_message *m)
{
    return m->kind == CAPI_INLINE ? m->bytes : m->data;
}
static inline size_t capi_message_size(const capi_message *m)
{
    return m->kind == CAPI_INLINE ? m->inline_size : m->size;
}
/* A block of the message's bytes for send_block(), with a reference of the caller's. NULL: it is
 * cheaper to copy them, or memory is out. */
zm_block *capi_message_share(capi_message *message);
/* Before something is received into the message: a program's free function is called here, and not
 * under the socket's lock. */
void capi_message_prepare(capi_message *message);
/* The message becomes a received part, which may end now; a program that receives into one message
 * again and again keeps its memory. 0; -ENOMEM: it is empty. */
int capi_message_receive(capi_message *message, zm_part *part);

#endif
