/* What the extension sees of the engine: one table of functions, whose address is handed over at
 * import and whose size and version are checked there.
 *
 * A socket is named by a pointer and a generation. The memory behind the pointer is never given
 * back to the system (slots are reused), so a stale pair is answered with -ENOTSOCK, never a crash.
 * Any thread may call anything at any time; calls on one socket are serialised inside.
 *
 * Answers are >= 0, or a negative errno as pyzmq knows them (ZMQ's own, such as EFSM, included). */
#ifndef ZM_API_H
#define ZM_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/block.h"

#define ZM_API_VERSION 5u

typedef struct zm_socket zm_socket;
typedef struct zm_metadata zm_metadata; /* of a connection; reference counted, immutable */

enum { ZM_DONTWAIT = 1, ZM_SNDMORE = 2 };
enum { ZM_FOLLOWED = 1 << 29 }; /* for send: more messages follow, or else a flush */
/* For send, recv_begin, deadline: waits for the socket's lock. For callers that have no GIL, and in
 * the middle of a message, so that no other thread's parts come in between. */
enum { ZM_PATIENT = 1 << 28 };
enum { ZM_POLLIN = 1, ZM_POLLOUT = 2, ZM_POLLERR = 4, ZM_POLLPRI = 8 };
enum { ZM_SEND_FLUSH = 1 }; /* answer of send: taken, and flush() is due */

/* Answer of a call that never waits: it would have to wait, for a lock, for a name server, or for
 * the moment that a peer gets. */
enum { ZM_LATER = INT32_MIN };

/* One of what poll() watches. */
typedef struct zm_pollitem {
    int64_t socket; /* its handle; -1: `fd` */
    int fd; /* -1: nothing */
    short events, revents;
} zm_pollitem;

/* One received message part. */
typedef struct zm_part {
    const uint8_t *data; /* valid until recv_end() */
    size_t size;
    zm_block *block; /* owner of data */
    zm_metadata *metadata; /* NULL: none (inproc); valid until recv_end() */
    int more; /* 1: more parts of this message follow */
} zm_part;

/* The generation that no socket has or will have. */
#define ZM_STALE UINT32_MAX

typedef struct zm_api {
    uint32_t size; /* sizeof(zm_api) */
    uint32_t version; /* ZM_API_VERSION */

    /* A socket that is closed for good: with ZM_STALE, what stands where no socket was ever. */
    zm_socket *nobody;

    /* The socket behind a handle; NULL: none. *out_generation goes into every call below. */
    zm_socket *(*socket_find)(int64_t handle, uint32_t *out_generation);

    /* --- with the GIL held: these never wait and never run long; ZM_LATER: it is to wait,
     *     and the caller gives up the GIL, calls make_way() and tries again ------------------- */

    /* Sends one part; `flags` are of ZM_SNDMORE, ZM_FOLLOWED, ZM_PATIENT. The bytes are copied.
     * 0: taken. ZM_SEND_FLUSH: taken, and the caller now gives up the GIL and calls flush().
     * -EAGAIN: would block, nothing taken. */
    int (*send)(zm_socket *socket, uint32_t generation, const void *borrowed, size_t size,
                int flags);
    /* As send(), for a body of `size` bytes in `block`. On success the reference is taken (and
     * the block's release function called once the body has left); else the caller keeps it. */
    int (*send_block)(zm_socket *socket, uint32_t generation, zm_block *taken_on_success,
                      size_t size, int flags);
    /* The next part. 0: *out_part is filled, *the socket is locked*, and the caller reads the part
     * at once and calls recv_end(), having done nothing but copy. Else nothing is locked. `flags`
     * are ZM_PATIENT or 0. */
    int (*recv_begin)(zm_socket *socket, uint32_t generation, int flags, zm_part *out_part);
    void (*recv_end)(zm_socket *socket, zm_part *part);
    /* As recv_end(), and the next part, if it has arrived: 1, and it is as after recv_begin(). 0:
     * nothing is locked; why there is none, recv_begin() can tell. */
    int (*recv_next)(zm_socket *socket, zm_part *part);
    /* Between begin and end: a block that holds the part's bytes and outlives recv_end(): a new
     * reference where the part has a large block of its own, else a copy. NULL: memory is out. */
    zm_block *(*part_own)(const zm_part *part);
    /* The same for one who has no use for the block's own address: `part->data` is in it then. A
     * small part may keep one of up to 16 KB that it shares with others. `part->block` is NULL
     * where the reference is the part's own. */
    zm_block *(*part_take)(zm_part *part);
    /* The absolute deadline of a blocking call made now: RCVTIMEO (ZM_POLLIN) or SNDTIMEO
     * (ZM_POLLOUT) from now; -1 without limit; 0: do not block (the timeout is 0). Of a stale pair
     * -1, so that wait() tells. */
    int64_t (*deadline)(zm_socket *socket, uint32_t generation, int direction);

    /* --- with the GIL and `brief`: these never wait, but answer ZM_LATER, and are then called
     *     again without the GIL and not `brief`.
     *     By handle: a stale one is -EFAULT of a context, -ENOTSOCK of a socket. ------------- */

    /* A handle, or -errno. -EINVAL: io_threads < 0. */
    int64_t (*context_new)(int io_threads);
    int (*context_set)(int64_t context, int option, int value, bool brief);
    int (*context_get)(int64_t context, int option, int *out_value, bool brief);
    /* A handle, ZM_LATER, or -errno. */
    int64_t (*socket_new)(int64_t context, int type, bool brief);
    /* What is queued lingers in the engine. */
    int (*socket_close)(int64_t socket, bool brief);
    /* As zmq_setsockopt / zmq_getsockopt: int options are 4 bytes, int64 ones 8, the rest bytes. */
    int (*set)(int64_t socket, int option, const void *value, size_t size, bool brief);
    int (*get)(int64_t socket, int option, void *out_value, size_t *inout_size, bool brief);
    int (*bind)(int64_t socket, const char *endpoint, bool brief);
    int (*connect)(int64_t socket, const char *endpoint, bool brief);
    /* unbind() and disconnect(). */
    int (*endpoint_end)(int64_t socket, const char *endpoint, bool brief);
    /* `endpoint` NULL stops the monitor. */
    int (*monitor)(int64_t socket, const char *endpoint, int events, bool brief);

    /* What of `items` is ready, by what has been taken in already (descriptors: by the kernel).
     * Answers how many are. 0 and ZM_LATER: poll() is to look more closely. -ETERM, -ENOTSOCK. */
    int (*poll_glance)(zm_pollitem *items, int count);
    /* Does this thread run Python's signal handlers? */
    bool (*signals_are_mine)(void);
    /* Where Python is to write while such a thread is in wait(); -1: no descriptors, or memory.
     * Signals that came before this call are forgotten: the caller runs their handlers itself. */
    int (*signals_pipe)(void);
    /* How the calls of this thread that follow hear of signals that interrupted no system call. 0:
     * not at all, since it runs no handlers; < 0: by the pipe; > 0: not, so that they look after so
     * many ns. Answers how it was before. */
    int64_t (*signals_heed)(int64_t look_ns);

    /* --- without the GIL --------------------------------------------------------------------- */

    /* Returns when nobody has the socket's lock, and what a send waits for has come, or has had its
     * time: a few milliseconds. */
    void (*make_way)(zm_socket *socket, uint32_t generation);
    /* Pushes what waits to the kernel. Errors of a peer are not the caller's: always 0. */
    int (*flush)(zm_socket *socket, uint32_t generation);
    /* Drives the socket until it may be ready for `event` (ZM_POLLIN or ZM_POLLOUT: one of them).
     * 0: try again. -EAGAIN: the deadline came. -EINTR: a signal: run Python's handlers and call
     * again with the same deadline. -ETERM, -ENOTSOCK: it ended meanwhile. */
    int (*wait)(zm_socket *socket, uint32_t generation, int event, int64_t deadline_ns);
    /* For a caller that is about to wait for a message elsewhere, in an event loop: looks for it
     * for some microseconds without sleeping, if that would have paid lately. 1: there is one; 0:
     * wait; -ETERM, -ENOTSOCK. */
    int (*spin)(zm_socket *socket, uint32_t generation);

    /* Waits until something of `items` is ready, or `deadline_ns` (on now_ns()'s clock; < 0: none).
     * Answers how many are. -EINTR: run Python's handlers, and call again. -ETERM. -ENOTSOCK: a
     * socket is gone, or went meanwhile. */
    int (*poll)(zm_pollitem *items, int count, int64_t deadline_ns);

    /* --- either way -------------------------------------------------------------------------- */

    /* Foreign memory as a block with one reference. `release` is called once, on any thread and
     * without the GIL, and then calls block_foreign_free(). NULL: memory is out. */
    zm_block *(*block_foreign)(const void *data, size_t size, void (*release)(zm_block *),
                               void *hint);
    void (*block_foreign_free)(zm_block *taken);
    zm_block *(*block_ref)(zm_block *borrowed);
    void (*block_unref)(zm_block *taken);
    zm_metadata *(*metadata_ref)(zm_metadata *borrowed);
    void (*metadata_unref)(zm_metadata *taken);
    /* The property `name` of a connection ("Socket-Type", "Peer-Address", "User-Id", ...) as a
     * NUL-terminated string owned by the metadata; NULL: no such property. */
    const char *(*metadata_get)(const zm_metadata *metadata, const char *name);
    int64_t (*now_ns)(void);
    /* The text of an errno, ZMQ's own included; static. */
    const char *(*strerror)(int error);
    /* Remembers an errno as this thread's last one (zmq_errno). */
    void (*set_errno)(int error);
} zm_api;

const zm_api *zm_api_get(void);

#endif
