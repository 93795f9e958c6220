/* All that cffi sees, and what callers without the extension need. No GIL is held in any of it.
 *
 * Handles are numbers (index and generation), never pointers. Answers: >= 0, or a negative errno.
 * A stale context handle answers -EFAULT, a stale socket handle -ENOTSOCK. Calls that wait answer
 * -EINTR when a signal came: run Python's handlers, call again. */
#ifndef ZM_ENGINE_H
#define ZM_ENGINE_H

#include <stddef.h>
#include <stdint.h>

_Static_assert(sizeof(void *) == 8, "zmq_monocoque is for 64-bit machines: use libzmq");

/* --- start-up ------------------------------------------------------------------------------ */
/* Called once, at import. Finds liburing's functions at `liburing_path` (NULL: it is not installed)
 * and tries whether io_uring can be used here; `driver` "epoll": does neither, and makes no
 * io_uring call ever. "": io_uring where it works. -EINVAL: no such driver, as for ""; -ENOSYS:
 * io_uring was asked for and does not work, see zm_driver_reason(). */
int zm_engine_init(const char *liburing_path, const char *driver);
/* The same for a process without Python, whose liburing cannot be loaded there. */
int zm_engine_init_alone(const char *driver);
/* Which driver new contexts use: "io_uring" or "epoll". */
const char *zm_driver_name(void);
/* Why io_uring is not used, or was not for a socket that was made later; "" when it is. */
const char *zm_driver_reason(void);
/* Spin before sleeping: 0 never, 1 where it pays (default). */
void zm_spin_set(int on);
/* The thread (its id as the kernel has it) that runs Python's signal handlers. */
void zm_signals_thread(int thread);
/* For callers whose own callers are told of signals (-EINTR is also an occasion to look for one): 1
 * from now on no wait hides that a handler ran. */
void zm_signals_exact_set(int on);
/* Did a handler run in a wait of this thread, since the last time this was asked? */
int zm_signal_taken(void);
/* Address of the function table for the extension (see api.h). */
uintptr_t zm_api_address(void);

/* --- context -------------------------------------------------------------------------------- */
int64_t zm_context_new(int io_threads); /* -EINVAL: io_threads < 0 */
/* Waits until every socket is closed and lingered, then frees the context. -EINTR: call again.
 * -EFAULT: no such context (already gone). -ETIMEDOUT: `timeout_ms` passed (< 0: no limit); the
 * context then stays shut down. */
int zm_context_term(int64_t context, int timeout_ms);
/* Wakes every blocked call with ETERM; does not wait. */
int zm_context_shutdown(int64_t context);
int zm_context_set(int64_t context, int option, int value);
int zm_context_get(int64_t context, int option, int *out_value);
/* THREAD_NAME_PREFIX as text: 1 to 16 characters. *inout_size counts the NUL. */
int zm_context_set_name(int64_t context, const char *name, size_t size);
int zm_context_get_name(int64_t context, char *out_name, size_t *inout_size);
/* Writes "kind endpoint=... queued=...\n" lines about all that keeps term() waiting. The bytes of
 * the whole text, as snprintf(): it is cut when that is not less than `size`. */
int zm_context_holders(int64_t context, char *out, size_t size);

/* --- socket --------------------------------------------------------------------------------- */
int64_t zm_socket_new(int64_t context, int type);
int zm_socket_close(int64_t socket);
int zm_socket_bind(int64_t socket, const char *endpoint);
int zm_socket_unbind(int64_t socket, const char *endpoint);
int zm_socket_connect(int64_t socket, const char *endpoint);
int zm_socket_disconnect(int64_t socket, const char *endpoint);
/* As zmq_setsockopt / zmq_getsockopt: int options are 4 bytes, int64 ones 8, the rest bytes. */
int zm_socket_set(int64_t socket, int option, const void *value, size_t size);
int zm_socket_get(int64_t socket, int option, void *out_value, size_t *inout_size);
/* What unbind() and disconnect() would find, a line each, as much as fits with its NUL: 0. */
int zm_socket_endpoints(int64_t socket, char *out, size_t size);
/* Of a ROUTER's peer: ZM_POLLOUT when it has room, else 0. -ENOTSUP; -EHOSTUNREACH: no such one. */
int zm_socket_peer_state(int64_t socket, const void *routing_id, size_t size);
/* addr NULL stops the monitor. */
int zm_socket_monitor(int64_t socket, const char *endpoint, int events);
/* As zmq_send / zmq_recv, for callers without the extension (tests in C, other languages).
 * Blocking. */
int zm_socket_send(int64_t socket, const void *data, size_t size, int flags);
int zm_socket_recv(int64_t socket, void *out, size_t size, int flags);

/* Counters of one socket since it was made. */
typedef struct zm_stats {
    uint64_t peers, connections;                 /* now */
    uint64_t messages_sent, messages_received;   /* whole ones; sent: queued, not dropped since */
    uint64_t bytes_sent, bytes_received;         /* on the wire, framing included */
    uint64_t messages_dropped; /* of those to send: at HWM, without a route, or queued in vain */
    uint64_t reconnects;                         /* connections of connect() made again */
    uint64_t out_queued, in_queued;              /* messages waiting now */
    uint64_t connects_failed, handshakes_failed; /* attempts that led to no peer, both sides' */
    int last_connect_error;                      /* errno; 0: none */
    int last_handshake_event;                    /* ZMQ_EVENT_HANDSHAKE_FAILED_...; 0: none */
    uint32_t last_handshake_value;               /* of that event */
} zm_stats;
int zm_socket_stats(int64_t socket, zm_stats *out);

/* --- poll, proxy ------------------------------------------------------------------------------ */

/* The signals (a sigset_t, kept by the caller) that are blocked in the sleeps of this thread's
 * polls (api.h) instead of those it blocks itself; NULL: no others. Returns what was set before. */
const void *zm_poll_sigmask_set(const void *borrowed);

/* Forwards until the context ends (-ETERM) or a signal (-EINTR: call again). capture, control: -1
 * for none. Control commands: PAUSE RESUME TERMINATE STATISTICS; TERMINATE answers 0. */
typedef struct zm_proxy_state {
    int paused;
    uint64_t counts[8]; /* frontend recv msgs, bytes, send msgs, bytes; then backend */
} zm_proxy_state;
int zm_proxy_run(int64_t frontend, int64_t backend, int64_t capture, int64_t control,
                 zm_proxy_state *state);
/* As zm_proxy_run, and every message goes to `monitor` behind a prefix frame. */
int zm_monitored_queue_run(int64_t in, int64_t out, int64_t monitor, const void *in_prefix,
                           size_t in_prefix_size, const void *out_prefix, size_t out_prefix_size);

/* --- the rest -------------------------------------------------------------------------------- */
int zm_has(const char *capability); /* 1, 0 */
/* Where libsodium's functions are, if anywhere: a shared object. Before anything asks for CURVE. */
void zm_crypto_path(const char *path);
/* CURVE keys as 40 characters of Z85 and a NUL. 0, -ENOTSUP (no libsodium), -EINVAL (no key). */
int zm_curve_keypair(char *out_public, char *out_secret);
int zm_curve_public(char *out_public, const char *secret);
const char *zm_error_text(int error);
int zm_last_errno(void); /* of this thread */
void zm_set_last_errno(int error);

/* What is alive, for tests: every number returns to its earlier value when all is closed. */
typedef struct zm_counts {
    int64_t blocks; /* allocations */
    int64_t contexts, sockets; /* handles, and closed sockets that still linger */
    int64_t connections; /* open descriptors of peers */
    int64_t in_flight; /* requests the kernel holds */
    int64_t entries; /* how often the sockets that are there were looked after */
    int64_t threads; /* the engine's own */
} zm_counts;
void zm_counts_get(zm_counts *out);
int64_t zm_alloc_fail_after(int64_t n);

#endif
