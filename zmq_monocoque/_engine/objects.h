/* The names of the engine's objects, and the order of their locks. Headers that only point to an
 * object include this one; what is in it is said by the header of its name.
 *
 * Locks, in the order they are taken:
 *   1. socket->lock      everything of one socket: peers, connections, endpoints, options, driver
 *   2. the lock of that socket's own monitor PAIR (which never takes another socket's lock)
 *   3. context->lock     sockets of a context, its inproc names, its I/O threads
 *   4. link->lock        the queues of one inproc link
 *   5. io_thread->lock   when an I/O thread looks after which socket
 *   6. order->lock       the sockets on which a thread has sent what has not left yet
 *
 * A function that is ZM_LOCKED is called with the socket's lock held; in a header its name ends in
 * _locked, as does that of one that gives the lock up. A field that is ZM_HELD is read and written
 * with it held. The locks of other objects are said likewise. clang checks it
 * (tests/tidy/lint_locks.py) but for two things: which socket is locked (the few functions that
 * lock two say so), and calls through a table (patterns, ops), all of which are made with the lock
 * held. */
#ifndef ZM_OBJECTS_H
#define ZM_OBJECTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api.h"
#include "base/lock.h"

/* The lock of a socket. */
extern struct zm_lock_kind zm_a_socket;
#define ZM_LOCKED ZM_NEEDS(zm_a_socket)
#define ZM_HELD ZM_GUARDED_BY(zm_a_socket)
/* Those of a context, a link, an order and an I/O thread: likewise. */
extern struct zm_lock_kind zm_a_context, zm_a_link, zm_an_order, zm_an_io_thread;

typedef struct zm_context zm_context;
typedef struct zm_io_thread zm_io_thread;
typedef struct zm_peer zm_peer;
typedef union zm_peer_slot zm_peer_slot;
typedef struct zm_command zm_command; /* of another thread, for a socket */
typedef struct zm_conn zm_conn;
typedef struct zm_endpoint zm_endpoint;
typedef struct zm_link zm_link;
typedef struct zm_resolution zm_resolution; /* of a name */
typedef struct zm_order zm_order;
typedef struct zm_zap zm_zap; /* a question that is being answered */

#endif
