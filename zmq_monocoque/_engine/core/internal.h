/* The objects of core/ and what each file offers the others.
 *
 * Locks, in the order they are taken:
 *   1. socket->lock      everything of one socket: peers, connections, endpoints, options, driver
 *   2. the lock of that socket's own monitor PAIR (which never takes another socket's lock)
 *   3. context->lock     sockets of a context, its inproc names, its I/O threads
 *   4. link->lock        the queues of one inproc link
 *   5. io_thread->lock   when an I/O thread looks after which socket
 *   6. order->lock       the sockets on which a thread has sent what has not left yet
 * Functions that end in _locked need the socket's lock. */
#ifndef ZM_CORE_INTERNAL_H
#define ZM_CORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api.h"
#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/errors.h"
#include "../base/fds.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../base/names.h"
#include "../base/secret.h"
#include "../base/timer.h"
#include "../engine.h"
#include "../driver/driver.h"
#include "../driver/address.h"
#include "../driver/waitset.h"
#include "../route/router_table.h"
#include "../route/subscription_index.h"
#include "../route/turn.h"
#include "../zmtp/session.h"
#include "frames.h"
#include "options.h"
#include "pacing.h"
#include "pattern.h"

typedef struct zm_context zm_context;
typedef struct zm_io_thread zm_io_thread;
typedef struct zm_peer zm_peer;
typedef struct zm_conn zm_conn;
typedef struct zm_endpoint zm_endpoint;
typedef struct zm_link zm_link;
typedef struct zm_resolution zm_resolution; /* of a name */
typedef struct zm_order zm_order;
typedef struct zm_zap zm_zap; /* a question that is being answered */

enum { ZM_RECONNECT_STOP_REFUSED = 1, ZM_RECONNECT_STOP_HANDSHAKE_FAILED = 2,
       ZM_RECONNECT_STOP_AFTER_DISCONNECT = 4 };

/* --- connection metadata (metadata.c) -------------------------------------------------------- */

/* `more`: properties that go before the session's. */
zm_metadata *zm_metadata_new(const zm_session *session, int fd, const char *peer_address,
                             const zm_bytes *more);
zm_metadata *zm_metadata_ref(zm_metadata *borrowed);
void zm_metadata_unref(zm_metadata *taken); /* NULL allowed */
const char *zm_metadata_get(const zm_metadata *metadata, const char *name);

/* --- commands (drive.c): what other threads leave for a socket ------------------------------- */

typedef struct zm_command {
    struct zm_command *next;
    _Atomic bool posted; /* in a mailbox and not taken yet */
    void (*run)(zm_socket *s, struct zm_command *command); /* once it is taken; `s` is locked */
} zm_command;

/* --- what has ended (wakeup.c) --------------------------------------------------------------- */

/* In the list of a socket, to be freed where nobody up the stack can hold it any more. */
typedef struct zm_ended {
    zm_list link; /* socket->ended */
    void (*reap)(struct zm_ended *ended); /* it is out of the list, and may come in again */
} zm_ended;

/* --- peers (peer.c): what libzmq calls a pipe ------------------------------------------------ */

/* A peer over something else than a connection: inproc. What is done for every message over a
 * connection is in peer.c, without a table in between. */
typedef struct zm_peer_ops {
    bool (*can_read)(zm_peer *peer);
    zm_frame (*read)(zm_peer *peer);
    bool (*can_write)(zm_peer *peer);
    int (*write)(zm_peer *peer, const void *data, size_t size, zm_block *block, unsigned flags);
    void (*rollback)(zm_peer *peer);
    void (*hwm_changed)(zm_peer *peer); /* SNDHWM, RCVHWM */
    void (*count_queued)(zm_peer *peer, uint64_t *in, uint64_t *out); /* adds its messages */
    const uint8_t *(*routing_id)(const zm_peer *peer, size_t *out_size);
    void (*close)(zm_peer *peer); /* the peer is about to be freed */
} zm_peer_ops;

struct zm_peer {
    const zm_peer_ops *ops; /* NULL: over a connection */
    zm_list link; /* socket->peers */
    zm_socket *socket;
    uint32_t index;        /* in socket->peer_table */
    zm_conn *conn;         /* its connection; NULL: none now, or inproc */
    zm_conn *in_flight_conn; /* the one before, as long as it still sends from `out` */
    zm_endpoint *endpoint; /* the connect() it belongs to, or NULL */
    zm_link *inproc;
    uint8_t side;
    bool attached;  /* the pattern knows it */
    bool ended;     /* nothing will arrive any more: detached when `in` is read out */
    zm_ended ending; /* in socket->ended when it may be time to free it */

    /* Reading. Remote: `in`; inproc: the link's queue. */
    zm_frames in;
    uint32_t in_staged; /* newest frames, of a message that is not complete */
    uint32_t in_messages; /* complete ones */
    uint32_t in_unreported; /* inproc: read, and the writer not told yet */
    uint32_t in_report;     /* inproc: it is told when they are so many */
    bool joined;            /* inproc: the other side is there */
    zm_list turn_in;
    bool reading; /* parts of a message are out, more follow */

    /* Writing. Remote: `out`; inproc: the link's queue. */
    zm_outq out;
    zm_list turn_out;
    bool writing;  /* parts of a message are in, more follow */
    bool out_full; /* was at its HWM and is not below the low-water mark yet */
    int64_t patience_ns; /* may still be spent on waiting for room before messages are dropped */
    zm_list crowded_link; /* socket->crowded */

    bool raw;         /* bytes without framing */
    bool ignored;     /* the pattern does not serve it, and never will */
    bool muted;       /* what arrives from it is dropped */
    bool conflate;
    zm_metadata *metadata;
    uint8_t *wanted_id; /* CONNECT_ROUTING_ID, owned */
    size_t wanted_id_size;
    /* Behind it: the pattern's own, see zm_peer_state(). */
};

/* What the pattern keeps of this peer: pattern->peer_size bytes, zero at first. */
static inline void *zm_peer_state(const zm_peer *peer)
{
    return (void *) (uintptr_t) (peer + 1);
}
/* The peer that this is kept of. */
static inline zm_peer *zm_peer_of_state(void *state)
{
    return (zm_peer *) state - 1;
}

typedef union zm_peer_slot {
    zm_peer *peer;
    uint32_t next_free; /* likewise from 1 */
} zm_peer_slot;

zm_peer *zm_peer_new_locked(zm_socket *s);
/* Tells the pattern. */
void zm_peer_attach_locked(zm_peer *peer);
/* Takes the peer from the pattern: the application does not see it any more. */
void zm_peer_detach_locked(zm_peer *peer);
/* Nothing comes or goes any more: freed once its messages are read (by zm_reap_ended_locked). */
void zm_peer_end_locked(zm_peer *peer);
/* Something that an ended peer may have waited for has happened: it is looked at again. */
void zm_peer_ripen_locked(zm_peer *peer);
/* Takes the peer from the pattern and frees it (its connection, if any, is told apart first). */
void zm_peer_free_locked(zm_peer *taken);
bool zm_peer_can_read(zm_peer *peer);
bool zm_peer_can_write(zm_peer *peer);
/* The next frame of a peer with zm_peer_can_read(). */
zm_frame zm_peer_read(zm_peer *peer);
/* One frame; the last of a message (`!more`) is committed. 0, -EAGAIN (HWM), -ENOMEM. A `block`
 * (may be NULL) is referenced, not taken. */
int zm_peer_write(zm_peer *peer, const void *data, size_t size, zm_block *block, bool more);
/* For those who drop what a peer has no room for: makes some first. 0; -EAGAIN: there is none, nor
 * soon; ZM_LATER: zm_peers_await_room_locked() gives it a moment to read. */
int zm_peer_find_room_locked(zm_peer *peer);
/* Gives up the lock meanwhile. At most as long as their patience lasts, which each has once until
 * it has been read from. */
void zm_peers_await_room_locked(zm_socket *s);
/* As zm_peer_write(), likewise. */
static inline int zm_peer_offer(zm_peer *peer, const void *data, size_t size, zm_block *block,
                                bool more)
{
    int rc = zm_peer_write(peer, data, size, block, more);
    if (ZM_UNLIKELY(rc == -EAGAIN) && zm_peer_find_room_locked(peer) == 0)
        rc = zm_peer_write(peer, data, size, block, more);
    return rc;
}
void zm_peer_rollback(zm_peer *peer);
/* A subscription (or its end) for a publisher behind this peer. */
void zm_peer_subscribe(zm_peer *peer, bool subscribe, const uint8_t *topic, size_t size);
/* Room came back: tells the pattern when the low-water mark is reached. */
void zm_peer_drained_locked(zm_peer *peer);
uint32_t zm_peer_low_water(int hwm);
/* A frame has arrived over a connection. `own`: a reference to its memory, which is taken with 0;
 * NULL: the caller sees to that. 0 or -ENOMEM. */
int zm_peer_queue_locked(zm_peer *peer, const uint8_t *data, size_t size, bool more,
                         zm_block *own);
/* STREAM, ROUTER_RAW: an empty message tells the application that a peer came or went. */
void zm_peer_announce_locked(zm_peer *peer);
/* What the other side calls itself; *out_size 0: nothing, or it is not there yet. */
const uint8_t *zm_peer_own_id(const zm_peer *peer, size_t *out_size);
void zm_peer_hwm_changed_locked(zm_peer *peer); /* SNDHWM, RCVHWM */
/* Adds the messages that wait. */
void zm_peer_count_queued(zm_peer *peer, uint64_t *in, uint64_t *out);
/* The application closes its connection, with what is queued for it, and for good. */
void zm_peer_drop_locked(zm_peer *peer);

/* --- connections (connection.c) -------------------------------------------------------------- */

enum { ZM_SLAB_FIRST = 4096 - 64, ZM_SLAB_BYTES = 65536 - 64, ZM_VECTORS_MAX = 32 };

/* What the drive and the peers have a connection do. */
typedef struct zm_conn_ops {
    /* Parses what RCVHWM held back, and arms its receive. */
    void (*arm)(zm_conn *conn);
    /* The same, but receives what is there at once. False: nothing, or it is gone. */
    bool (*pull)(zm_conn *conn);
    /* Starts sending what waits, if nothing is in flight. */
    void (*flush)(zm_conn *conn);
    /* A subscription (or its end) leaves at the next message boundary. */
    void (*subscribe)(zm_conn *conn, bool subscribe, const uint8_t *topic, size_t size);
    /* What the peer calls itself; *out_size 0: nothing. */
    const uint8_t *(*routing_id)(const zm_conn *conn, size_t *out_size);
    /* Closes it, with what is queued for its peer, which stays. */
    void (*drop)(zm_conn *conn);
} zm_conn_ops;

/* Its changes are in connection.c. */
typedef enum zm_conn_state {
    ZM_CONN_HANDSHAKE, /* what either side says is its session's */
    ZM_CONN_ACTIVE,    /* messages go both ways */
    ZM_CONN_DRAINING,  /* let go of: only what is queued is left to be sent */
    ZM_CONN_REJECTED,  /* it may not come in, and stays until its peer has read why */
    ZM_CONN_CLOSING    /* waits for requests in flight, then is freed */
} zm_conn_state;

/* What a connection tells the one that opened it. */
typedef struct zm_conn_owner {
    /* It is over, by itself; `reconnect`: another may take its place. NULL: of no interest. */
    void (*lost)(zm_endpoint *endpoint, bool reconnect);
    /* The session's ZM_EVENT_ZAP: may the peer come in? The answer goes to zm_conn_admit_locked().
     * 0, -ENOMEM, or -ECONNABORTED: the connection is gone. */
    int (*ask)(zm_conn *conn, const zm_event *event);
    void (*forget)(zm_zap *taken); /* the question is of no interest any more */
} zm_conn_owner;

struct zm_conn {
    const zm_conn_ops *ops;
    const zm_conn_owner *owner;
    zm_ended ended;
    zm_list link; /* socket->conns */
    zm_conn_state state;
    zm_socket *socket;
    zm_endpoint *endpoint; /* listener or connecter it came from; NULL: that is gone */
    zm_list of_endpoint;   /* endpoint->conns */
    zm_peer *peer;         /* NULL before the handshake (accepted), or after the end */
    int fd;
    zm_transport transport;
    bool raw;       /* STREAM: no session */
    bool counted;   /* in socket->handshakes */
    bool newcomer;  /* in socket->newcomers */
    zm_list handshaking_link; /* socket->handshaking */
    bool stopped;   /* RCVHWM: not reading */
    size_t lowat;       /* SO_RCVLOWAT of fd, as it was set last */
    bool unpaced;       /* has sent a large body, see zm_connection_unpace() */
    bool expects_large; /* the last frame was larger than a slab */
    bool wants_send; /* in socket->wants_send */
    bool wants_recv; /* in socket->wants_recv: a receive is to be armed */
    bool moving;    /* its receive is cancelled to be armed by another thread */
    bool outcome_told; /* ZAP status 300: how its handshake ended was told */
    bool send_failed; /* a send failed: only what is still to be read is left to do */
    bool starved; /* lacks memory for what it has to say, and breaks when it is to send */
    zm_list wants_send_link, wants_recv_link;
    zm_list armed_link; /* while its receive is in flight */
    zm_session session;
    zm_limits limits;
    uint64_t parts, part_bytes; /* of the message that is arriving */
    zm_peer *in_flight_peer; /* gone, but the send in flight is of its queue */
    zm_op recv_op, send_op;
    zm_block *slab;            /* what the kernel writes to; one reference ours */
    size_t slab_used, slab_at; /* bytes received; bytes parsed */
    size_t slab_kept;          /* behind the newest message in it, which may still be read */
    zm_block *large;           /* one unit that is larger than a slab */
    size_t large_have;

    uint8_t *control; /* bytes of the session's own: they leave at the next message boundary */
    size_t control_size, control_capacity;
    size_t answers; /* of these, bytes that the peer asked for */
    uint8_t *flying; /* control bytes that are being sent */
    size_t flying_size, flying_sent;
    uint8_t *recoded; /* queue bytes as a peer without plain framing wants them */
    size_t recoded_size, recoded_sent, recoded_capacity;
    size_t recoded_from; /* bytes of the queue that `recoded` stands for */
    struct iovec vectors[ZM_VECTORS_MAX];
    struct msghdr header;
    size_t sending_control, sending_queue; /* bytes in flight, in this order */

    zm_timer handshake, heartbeat, silence, ttl;
    zm_timer linger; /* DRAINING: LINGER is over; REJECTED: the peer had time to read why */
    int silence_ms, ttl_ms; /* as they were set last */
    uint8_t ping;  /* on its way, see enum ping */
    size_t unsent; /* in the kernel, when silence was looked at last */
    char *text; /* of the endpoint, as events tell it; owned */
    zm_zap *zap; /* while a ZAP handler is asked about the peer */
    zm_bytes zap_properties; /* what it said: User-Id and more, as READY has properties */
};

/* Is its handshake done? Then what is queued for its peer is sent. */
static inline bool zm_conn_is_open(const zm_conn *conn)
{
    return conn->state == ZM_CONN_ACTIVE || conn->state == ZM_CONN_DRAINING;
}

/* Nothing is heard of it any more, but it has still something to say. */
static inline bool zm_conn_is_leaving(const zm_conn *conn)
{
    return conn->state == ZM_CONN_DRAINING || conn->state == ZM_CONN_REJECTED;
}

/* A connection on `fd` (taken, also on failure). 0 or -errno. */
int zm_conn_open_locked(zm_socket *s, zm_endpoint *endpoint, const zm_conn_owner *owner,
                        zm_transport transport, int fd);
/* It has subscribed, or is not waited for any longer. */
void zm_conn_settled_locked(zm_conn *conn);
/* Bytes of the session's own (PONG, SUBSCRIBE ...), at the next message boundary. */
int zm_conn_control_locked(zm_conn *conn, const void *data, size_t size);
/* Ends it now: no events, no reconnect. Freed once nothing is in flight. */
void zm_conn_close_locked(zm_conn *conn);
/* Its connecter is let go: sends what is queued, over further connections if this one breaks, until
 * the endpoint's own time is over. */
void zm_conn_finish_locked(zm_conn *conn);
/* As close, and its connecter and its peer go with it. */
void zm_conn_end_locked(zm_conn *conn);
/* Its peer is let go: sends what is queued there, until `linger_ms` is over, then closes. */
void zm_conn_linger_locked(zm_conn *conn, int linger_ms);
/* The peer broke the connection or the rules. `reconnect`: the connecter tries again. */
void zm_conn_failed_locked(zm_conn *conn, bool reconnect);
/* A handshake ends with an errno (HANDSHAKE_FAILED_NO_DETAIL), or a ZMQ_PROTOCOL_ERROR_*. */
void zm_conn_broke_locked(zm_conn *conn, int error);
void zm_conn_refused_locked(zm_conn *conn, uint32_t protocol_error);
/* Drops the connection that has been longest in its handshake. False: there is none. */
bool zm_conn_drop_handshaking_locked(zm_socket *s);
/* The session's ZM_EVENT_ZAP is answered. 0, or < 0: the connection is gone. */
int zm_conn_admit_locked(zm_conn *conn, unsigned status);

/* --- authentication (zap.c) ------------------------------------------------------------------ */

/* ZM_EVENT_ZAP: asks. The answer comes as a command; where there is nobody to ask, it is decided
 * here. 0, -ENOMEM, or -ECONNABORTED: the connection is gone. */
int zm_zap_ask_locked(zm_conn *conn, const zm_event *event);
/* The question is of no interest any more. */
void zm_zap_free_locked(zm_zap *taken);

/* --- endpoints (endpoints.c): listeners and connecters --------------------------------------- */

typedef enum zm_endpoint_kind {
    ZM_LISTENER, ZM_CONNECTER, ZM_INPROC_BIND, ZM_INPROC_CONNECT
} zm_endpoint_kind;

/* One message to or from a SOCKS5 proxy (socks.c). */
enum { ZM_SOCKS_BYTES = 520 };
typedef struct zm_socks {
    uint8_t stage; /* 0: not talking to a proxy */
    bool hearing;
    size_t size, done;
    struct iovec vector;
    struct msghdr header;
    uint8_t bytes[ZM_SOCKS_BYTES];
} zm_socks;

/* What a kind of endpoint does. */
typedef struct zm_endpoint_ops {
    void (*done)(zm_op *op, int32_t res); /* of its request; with each timer: NULL, it has none */
    void (*retry_due)(zm_timer *timer);
    void (*timeout_due)(zm_timer *timer);
    void (*linger_due)(zm_timer *timer);
    /* unbind(), disconnect(), or its socket is closed: sends what is queued within `linger_ms`. */
    void (*let_go)(zm_endpoint *endpoint, int linger_ms);
} zm_endpoint_ops;

/* Its changes are in endpoint.c. */
typedef enum zm_endpoint_state {
    ZM_ENDPOINT_WAITING,    /* for peers; of a connecter: for its time to try */
    ZM_ENDPOINT_RESOLVING,  /* the name of its address, or of the proxy, is looked up */
    ZM_ENDPOINT_CONNECTING, /* a connect, or an exchange with the proxy, is in flight */
    ZM_ENDPOINT_CONNECTED,  /* it has a connection, which may be in its handshake still */
    ZM_ENDPOINT_CLOSING     /* freed once nothing is in flight */
} zm_endpoint_state;

struct zm_endpoint {
    const zm_endpoint_ops *ops;
    zm_endpoint_state state;
    zm_list link; /* socket->endpoints */
    zm_name by_text; /* socket->endpoint_names */
    zm_list conns;
    zm_socket *socket;
    zm_endpoint_kind kind;
    zm_address address;
    zm_options options; /* as they were at bind() or connect() */
    char text[ZM_ENDPOINT_MAX];      /* bound: resolved; connect: as given */
    char directory[ZM_ENDPOINT_MAX]; /* made by an ipc wildcard, removed with it */
    int fd;
    zm_op op; /* accept or connect */
    struct sockaddr_storage to; /* where the connect in flight goes */
    zm_conn *conn; /* connecter's */
    zm_peer *peer; /* connecter's, kept over reconnects unless IMMEDIATE */
    zm_timer retry, timeout, linger;
    int attempts;
    bool lingering; /* disconnected, but its queue is still to be sent */
    bool timed_out; /* CONNECT_TIMEOUT cancelled the connect */
    bool was_connected; /* so that the next connection is a reconnect */
    zm_resolution *resolution;
    zm_socks socks;
    uint8_t *wanted_id;
    size_t wanted_id_size;
};

/* An entry in the socket's list. NULL: memory is out. */
zm_endpoint *zm_endpoint_new_locked(zm_socket *s, zm_endpoint_kind kind,
                                    const zm_endpoint_ops *ops, const zm_address *address);
void zm_endpoint_free_locked(zm_endpoint *taken);
/* It changes to `state`, unless it is closing. */
void zm_endpoint_become(zm_endpoint *endpoint, zm_endpoint_state state);
/* Of one that is closed. */
void zm_endpoint_free_if_done_locked(zm_endpoint *endpoint);
int zm_listener_bind_locked(zm_socket *s, const zm_address *address);
int zm_connecter_connect_locked(zm_socket *s, const zm_address *address);
/* bind() and connect(). Takes the lock itself: names are looked up without it. */
int zm_endpoint_open(int64_t socket, const char *text, bool bind, bool brief);
void zm_endpoints_close_locked(zm_socket *s);
int zm_endpoint_term(int64_t socket, const char *text, bool brief); /* unbind(), disconnect() */
bool zm_endpoint_is_raw(const zm_endpoint *endpoint); /* STREAM, ROUTER_RAW */
/* CONNECT_ROUTING_ID goes to the peer that the connect() makes. */
void zm_endpoint_give_id(zm_endpoint *endpoint, zm_peer *peer);
/* No new connections; frees it once nothing is in flight. */
void zm_endpoint_close_locked(zm_endpoint *endpoint);

/* --- names that are looked up (resolver.c) --------------------------------------------------- */

/* What came of it: 0 and `address` with what it resolved to, or -errno. `s` is locked. */
typedef void zm_resolved(void *owner, const zm_address *address, int result);
/* Looks the name in `address` up. `done` is called from a command of `s`, unless the resolution is
 * dropped before; *out_resolution is dead once it is called. 0 or -errno. */
int zm_resolution_start(zm_socket *s, const zm_address *address, bool ipv6, void *owner,
                        zm_resolved *done, zm_resolution **out_resolution);
/* Nobody waits for it any more. NULL allowed. */
void zm_resolution_drop(zm_resolution *taken);
void zm_resolver_after_fork(void);

/* --- SOCKS_PROXY (socks.c) ------------------------------------------------------------------- */

bool zm_socks_wanted(const zm_endpoint *endpoint);
/* The proxy's address, which may need resolving. 0 or -errno. */
int zm_socks_address(const zm_endpoint *endpoint, zm_address *out_proxy);
bool zm_socks_busy(const zm_endpoint *endpoint);
/* The descriptor is connected to the proxy: asks it for the destination. */
void zm_socks_start(zm_endpoint *endpoint);
/* A step is complete. 1: connected to the destination; 0: more to come; -errno: refused. */
int zm_socks_step(zm_endpoint *endpoint, int32_t res);

/* --- inproc (inproc.c) ----------------------------------------------------------------------- */

typedef struct zm_link_side {
    zm_socket *socket; /* NULL: not bound yet, or closed */
    zm_peer *peer;     /* of that socket; only it looks here */
    zm_link *link;
    zm_command command;
    zm_frames out;      /* written by this side, read by the other */
    uint32_t out_staged;   /* newest frames, of a message that is not complete */
    uint32_t out_fresh;    /* complete messages that the reader has not taken over */
    uint32_t out_messages; /* those, and the ones taken over that it has not reported as read */
    uint32_t out_kept; /* read, but less than half of both HWMs: no room yet (libzmq: the same) */
    zm_block *arena;    /* where small bodies of this side live */
    size_t arena_used;
    int sndhwm, rcvhwm;
    bool conflate;
    bool closed;
    bool idle;  /* has read everything: wants a command when something comes */
    bool blocked; /* was full: wants a command when there is room */
    /* Of a question: it is told at once, whoever drives. NULL: the pattern is. */
    void (*answered)(zm_peer *asker);
    size_t routing_id_size;
    uint8_t routing_id[255];
} zm_link_side;

struct zm_link {
    zm_lock lock;
    _Atomic uint32_t refs; /* one a side that holds it, one of the context while it waits */
    zm_list waiting;       /* of its name, before bind */
    char name[ZM_ENDPOINT_MAX];
    zm_link_side side[2]; /* 0 connected, 1 bound */
};

int zm_inproc_bind_locked(zm_socket *s, const zm_address *address);
int zm_inproc_connect_locked(zm_socket *s, const zm_address *address);
bool zm_inproc_can_read(zm_peer *peer);
int zm_inproc_write(zm_peer *peer, const void *data, size_t size, zm_block *block, unsigned flags);
/* Joins `asker`, which is in none of its socket's lists, to the REP or ROUTER that bound `name`.
 * `answered` is called when something came back, or the other side went away. -ECONNREFUSED: nobody
 * did; -ENOMEM. */
int zm_inproc_ask_locked(zm_peer *asker, const char *name, void (*answered)(zm_peer *asker));
/* Connects that wait for a bind are forgotten; the context is locked. */
void zm_inproc_forget_waiting(zm_context *context);
/* Lets go of the link. */
void zm_inproc_close_locked(zm_peer *peer);

/* --- sockets (socket.c, drive.c, transfer.c) ------------------------------------------------- */

/* May a loop leave the rest for later? Not that of one who goes to sleep, or while another thread
 * does: nobody would come back for it. */
typedef enum zm_patience { TO_THE_END, MAY_GIVE_WAY } zm_patience;

struct zm_socket {
    struct zm_socket *next_free; /* of the slot, while it is free */
    zm_lock lock;
    _Atomic uint32_t generation; /* of the handle; moves when the application closes it */
    uint32_t index;
    /* What an I/O thread may still look at when the slot is another socket's: changed under the
     * lock of that thread. */
    _Atomic(zm_io_thread *) io_thread;
    zm_timer look;           /* io_thread->looks */
    _Atomic int64_t look_at; /* when the I/O thread looks next; ZM_FOREVER: when the driver calls */
    _Atomic uint32_t attention; /* commands, or the context ends: look before anything else */
    _Atomic uint32_t sleeping;  /* threads that wait in the driver or on seq */
    _Atomic uint32_t seq;       /* wait word of threads that do not drive */
    _Atomic(zm_command *) mailbox;

    zm_command *commands_left; /* taken from `mailbox`, oldest first, and not looked at yet */
    zm_context *context;
    int type;
    const zm_pattern *pattern;
    void *state; /* the pattern's own, of pattern->state_size; owned */
    /* Is all done, of a closing socket? Then it is destroyed, and the lock given up: true. */
    bool (*reap)(zm_socket *s);
    bool open;    /* the application has it */
    bool told;    /* a call answered that the context ends */
    bool closing; /* lingers, or waits for requests in flight */
    zm_list in_context; /* context->sockets */
    zm_options options;
    char last_endpoint[ZM_ENDPOINT_MAX];

    /* driving */
    zm_driver *driver;
    bool driven; /* a thread is in zm_driver_wait, or polls the driver's descriptor */
    uint32_t followers; /* threads that sleep on seq */
    uint32_t pollers;   /* threads in zm_poll that sleep on the signaler */
    uint32_t moving;     /* receives that are being taken over */
    uint32_t arm_thread; /* who drove last, and has the receives; ZM_NO_THREAD: nobody yet */
    zm_list armed, armed_elsewhere; /* by arm_thread, and by others: the newest at the end */
    int64_t moves_paid_ns; /* until then the time has been spent on moving receives */
    _Atomic(zm_driver *) wakeable; /* driver, while a thread sleeps in it */
    bool unseen;      /* something changed since EVENTS was read */
    uint32_t watcher; /* the thread that read EVENTS last: it need not be notified by itself */
    zm_spin spin;
    bool waits_inside; /* the application waited in a call last, not on a descriptor */
    bool bulk_is_left; /* not armed now: the wait that follows fetches it */
    zm_conn *bulk; /* a large body arrives there, or is expected; NULL: nowhere */
    zm_timers timers;
    zm_list wants_send; /* connections with something to send */
    zm_list wants_recv; /* connections whose receive is to be armed */
    zm_burst burst;
    zm_order *order;  /* of the thread whose messages wait here; NULL: none do, or they need not */
    zm_list in_order; /* order->bursts; guarded by its lock */
    zm_order *beginner; /* of the thread that connected it last, as long as that is not through */
    zm_list in_begun;   /* beginner->begun; guarded by its lock */
    int64_t begun_ns;   /* guarded by the same */
    bool held;          /* messages wait for connections that were begun earlier */
    bool flush_due; /* a peer has half of SNDHWM, and the kernel none of it */
    _Atomic int signaler;     /* eventfd, -1: not made */
    _Atomic bool signaler_wanted; /* somebody watches it */
    _Atomic bool notified;        /* and has heard it since it was cleared */
    int public_fd;            /* ZMQ_FD, -1: not made */

    /* the I/O thread's */
    zm_presence presence; /* of the application */
    bool parked;      /* a thread waits in it: the I/O thread waits to be told */
    bool watched;     /* the driver is in the I/O thread's epoll */
    bool work_left;   /* a loop gave way to those who want the lock */
    int64_t waiting_since; /* of the thread that drives */
    int64_t waiting_until; /* the timer it will wake for; ZM_FOREVER: none was set */

    /* peers */
    zm_list peers, conns, endpoints;
    zm_list ended; /* peers and connections, to be freed where nobody holds them */
    zm_list crowded; /* peers without room, which may have some in a moment */
    zm_names endpoint_names;
    zm_peer_slot *peer_table;
    uint32_t peer_capacity, peer_free; /* the first free slot, from 1; 0: none */
    uint32_t connection_count;
    uint32_t links; /* peers over inproc */
    zm_cookie_keys *cookies; /* CURVE server: NULL until the first peer comes */
    zm_list handshaking; /* accepted connections, as long as their handshake lasts; oldest first */
    uint32_t handshaking_count;
    _Atomic uint32_t questions; /* ZAP handler: asked, and not let go of */
    uint32_t handshakes; /* connects and connections that are not through yet */
    uint32_t newcomers;  /* connections that have just come, and are about to subscribe */
    zm_allowance patience;
    zm_turn readers, writers; /* fair queue, load balancer */
    zm_peer *sending_to;      /* parts of a message are out, more follow */
    zm_peer *receiving_from;
    bool dropping; /* the rest of this message goes nowhere */
    bool refused;  /* a send found no room, and nothing has changed since */
    bool more_in; /* RCVMORE */
    /* the part between recv_begin and recv_end */
    zm_frame current;

    zm_socket *monitor;
    int monitor_events;

    zm_stats stats;
};

/* Puts the connection on the list of those that want to receive. */
static inline void zm_conn_wants_recv_locked(zm_conn *conn)
{
    if (conn->wants_recv || conn->state == ZM_CONN_CLOSING)
        return;
    conn->wants_recv = true;
    zm_list_append(&conn->socket->wants_recv, &conn->wants_recv_link);
}

/* Puts the connection on the list of those with something to send. */
static inline void zm_conn_wants_send_locked(zm_conn *conn)
{
    if (conn->wants_send || conn->state == ZM_CONN_CLOSING)
        return;
    conn->wants_send = true;
    zm_list_append(&conn->socket->wants_send, &conn->wants_send_link);
}

/* A loop under the lock has made so many steps: is it time for others, who wait for the lock? Then
 * the I/O thread comes back for the rest, unless it is done before. */
enum { ZM_STEPS_MIN = 32 }; /* before those who want the lock get a turn */
static inline bool zm_socket_gives_way(zm_socket *s, int steps)
{
    if (ZM_LIKELY(steps < ZM_STEPS_MIN || !zm_lock_wanted(&s->lock)))
        return false;
    s->work_left = true;
    return true;
}

/* What has ended since the last time is freed; not with a connection or peer in hand. */
void zm_reap_ended_slowly_locked(zm_socket *s);
static inline void zm_reap_ended_locked(zm_socket *s)
{
    if (ZM_UNLIKELY(!zm_list_empty(&s->ended)))
        zm_reap_ended_slowly_locked(s);
}

/* Everything that waited has left. */
void zm_order_leave_locked(zm_socket *s);

/* Starts the sends that are wanted (transfer.c). */
void zm_transfer_flush_some_locked(zm_socket *s, zm_patience patience);
static inline void zm_transfer_flush_for_locked(zm_socket *s, zm_patience patience)
{
    if (!zm_list_empty(&s->wants_send) || ZM_UNLIKELY(s->held))
        zm_transfer_flush_some_locked(s, patience);
}
static inline void zm_transfer_flush_locked(zm_socket *s)
{
    zm_transfer_flush_for_locked(s, TO_THE_END);
}
/* Arms all receives that are wanted, but that of `except` (NULL: all). */
void zm_transfer_arm_some_locked(zm_socket *s, const zm_conn *except, zm_patience patience);
static inline void zm_transfer_arm_except_locked(zm_socket *s, const zm_conn *except,
                                                 zm_patience patience)
{
    if (!zm_list_empty(&s->wants_recv))
        zm_transfer_arm_some_locked(s, except, patience);
}
static inline void zm_transfer_arm_locked(zm_socket *s)
{
    zm_transfer_arm_except_locked(s, s->bulk_is_left ? s->bulk : NULL, TO_THE_END);
}
/* Starts all that can be started; or some of it, if others want the lock meanwhile: then the I/O
 * thread does the rest. */
static inline void zm_transfer_start_locked(zm_socket *s)
{
    zm_transfer_arm_locked(s);
    zm_transfer_flush_locked(s);
}
static inline void zm_transfer_start_some_locked(zm_socket *s)
{
    zm_transfer_arm_except_locked(s, s->bulk_is_left ? s->bulk : NULL, MAY_GIVE_WAY);
    zm_transfer_flush_for_locked(s, MAY_GIVE_WAY);
}
/* The kernel has what was started. */
static inline void zm_transfer_submit_locked(zm_socket *s)
{
    zm_driver_submit(s->driver);
    if (s->order && zm_list_empty(&s->wants_send))
        zm_order_leave_locked(s);
}

/* One more, and a queue of `count` messages is above half of SNDHWM (0: no limit)? Below that it is
 * not full, either: room comes back when it is at half. */
static inline bool zm_are_many(const zm_socket *s, uint32_t count)
{
    return 2 * count >= (uint32_t) s->options.sndhwm - 1;
}

/* Of a remote peer: may zm_peer_can_write() say no? */
static inline bool zm_peer_is_crowded(const zm_peer *peer)
{
    /* SNDHWM 0: never. */
    return peer->out_full || peer->out.count > (uint32_t) peer->socket->options.sndhwm - 1;
}

/* Of peers that are made under these options, which may be older than the socket's. */
static inline bool zm_conflates(const zm_socket *s, const zm_options *options)
{
    return options->conflate && s->pattern->conflates;
}

/* CONNECT_ROUTING_ID of the connect() that is about to be: does another peer have it? */
static inline bool zm_wants_taken_id(const zm_socket *s)
{
    const zm_bytes *wanted = &s->options.connect_routing_id;
    return wanted->size && s->pattern->peer_of_id
           && s->pattern->peer_of_id(s, wanted->data, wanted->size);
}

/* `count` messages that were counted as sent will not be. */
static inline void zm_socket_lost(zm_socket *s, uint64_t count)
{
    s->stats.messages_sent -= count;
    s->stats.messages_dropped += count;
}

/* The socket of a handle, locked; NULL: stale (nothing is locked). */
zm_socket *zm_socket_lock(int64_t handle);
zm_socket *zm_socket_find(int64_t handle, uint32_t *out_generation);
int64_t zm_socket_handle(const zm_socket *s);
static inline bool zm_socket_lock_generation(zm_socket *s, uint32_t generation)
{
    zm_lock_take(&s->lock);
    if (ZM_LIKELY(atomic_load_explicit(&s->generation, memory_order_relaxed) == generation))
        return true;
    zm_lock_give(&s->lock);
    return false;
}
extern zm_socket zm_nobody; /* see api.h */
/* As zm_socket_lock(). 0; -ENOTSOCK: stale; ZM_LATER: `brief`, and somebody has the lock. */
int zm_socket_lock_for(int64_t handle, bool brief, zm_socket **out_socket);
/* As zm_socket_enter_locked(), for options and the monitor: programs shut down with them while
 * their context ends, so they work until one of the other calls was told of the end (S-47). */
int zm_socket_enter_aside_locked(zm_socket *s);

int zm_socket_send_part_locked(zm_socket *s, const zm_outgoing *message);
/* A send answered ZM_LATER: peers get the moment that it is about. Gives up the lock meanwhile. */
void zm_socket_send_later_locked(zm_socket *s);
/* Enters and sends, with both, for those who may wait. */
int zm_socket_send_patiently_locked(zm_socket *s, const zm_outgoing *message);
int zm_socket_recv_part_locked(zm_socket *s, zm_part *out_part);
/* As above, of what has arrived already. */
int zm_socket_recv_part_queued_locked(zm_socket *s, zm_part *out_part);
void zm_socket_recv_done_locked(zm_socket *s);
int zm_socket_events_locked(zm_socket *s);
int64_t zm_socket_deadline(zm_socket *s, int direction);
int zm_socket_make(zm_context *context, int type, zm_socket **out_socket);
/* The application's part of closing; frees at once what can be freed. Gives up the lock. */
void zm_socket_close_locked(zm_socket *s);
/* Gives up the lock after a call that may have slept: the last one out of a closed socket reaps. */
static inline void zm_socket_leave(zm_socket *s)
{
    if (ZM_LIKELY(!s->closing) || !s->reap(s))
        zm_lock_give(&s->lock);
}

/* A driver for s (made when it is first needed). 0 or -errno. */
int zm_socket_need_driver_locked(zm_socket *s);

/* transfer.c */
/* Takes in what is complete. Returns how many. Not while another thread waits in the driver. */
int zm_transfer_reap_locked(zm_socket *s);

/* Takes completions, commands and due timers in; arms receives; starts sends; submits. Does not
 * wait. */
void zm_drive_once_locked(zm_socket *s);
/* The same for one who will wait inside a call if nothing is there. */
void zm_drive_before_wait_locked(zm_socket *s);
void zm_drive_for_io_thread_locked(zm_socket *s); /* which knows by itself when to come back */
/* Takes in what peers have sent, if anything; flushes nothing. */
void zm_drive_peek_locked(zm_socket *s);
/* Of a publisher: gives peers that are about to subscribe a moment to do so. Gives up the lock
 * meanwhile. */
void zm_drive_let_in_locked(zm_socket *s);
bool zm_drive_may_let_in_locked(const zm_socket *s); /* is there time for that, and for us? */
/* As above, then waits for anything to happen. 0, -EAGAIN (deadline), -EINTR. */
int zm_drive_locked(zm_socket *s, int64_t deadline_ns);
/* Waits for POLLIN or POLLOUT. 0, -EAGAIN, -EINTR (a signal, or woken for nothing that the caller
 * can use), -ETERM. */
int zm_socket_wait_locked(zm_socket *s, int event, int64_t deadline_ns);
/* Before a wait for a message in an event loop. 1: one is there; 0: wait; -ETERM, -ENOTSOCK. */
int zm_socket_spin_locked(zm_socket *s);
/* The message that the loop waited for is there. */
void zm_socket_waited_locked(zm_socket *s);
/* Pushes what waits to the kernel. */
void zm_socket_flush_locked(zm_socket *s);
/* As above, of a socket that is not locked; may give others time. Not with the GIL held. */
void zm_socket_flush(zm_socket *s, uint32_t generation);
/* Before a message for `conn` is dropped: what waits goes to the kernel, and what it has taken
 * counts no more. Frees nothing. */
void zm_drive_for_room_locked(zm_conn *conn);
/* After a part was written to a remote peer: 0 or ZM_SEND_FLUSH. */
int zm_socket_sent_locked(zm_socket *s);
/* The same of a part that others follow: ZM_SEND_FLUSH when a buffer is full. */
int zm_socket_followed_locked(zm_socket *s);
/* For zmq_poll: from take to leave the caller sleeps on the driver's descriptor, without the lock,
 * and nobody else reaps. Not when `driven`. After take the requests are still to be submitted. */
void zm_drive_take_locked(zm_socket *s);
/* `news`: something is to be reaped. */
void zm_drive_leave_locked(zm_socket *s, bool news);
void zm_drive_wake_followers_locked(zm_socket *s);
int64_t zm_drive_burst_locked(zm_socket *s, int64_t now);
void zm_commands_take_locked(zm_socket *s);
/* Leaves a command, and wakes whoever waits. The caller keeps the target alive (link->lock ...). */
bool zm_socket_post(zm_socket *s, zm_command *command); /* false: it is in the mailbox already */
/* Something may have changed: whoever waits looks again. Any thread; no lock needed. */
void zm_socket_wake(zm_socket *s);
/* The application can see something new: sets the signaler, unless this is the watcher itself. */
void zm_socket_notify_locked(zm_socket *s);
int zm_socket_fd_locked(zm_socket *s);
/* The driver came after the descriptor was made. */
int zm_socket_fd_extend_locked(zm_socket *s);
int zm_socket_signaler_locked(zm_socket *s);
void zm_socket_signaler_clear_locked(zm_socket *s);

/* --- calls by handle (socket.c): see api.h --------------------------------------------------- */

int64_t zm_socket_new_for(int64_t context, int type, bool brief);
int zm_socket_close_for(int64_t socket, bool brief);
int zm_socket_bind_for(int64_t socket, const char *endpoint, bool brief);
int zm_socket_connect_for(int64_t socket, const char *endpoint, bool brief);
int zm_socket_set_for(int64_t socket, int option, const void *value, size_t size, bool brief);
int zm_socket_get_for(int64_t socket, int option, void *out_value, size_t *inout_size, bool brief);
int zm_socket_monitor_for(int64_t socket, const char *endpoint, int events, bool brief);

/* --- poll (poll.c): see api.h ---------------------------------------------------------------- */

int zm_poll_glance(zm_pollitem *items, int count);
int zm_poll(zm_pollitem *items, int count, int64_t deadline_ns);

/* --- signals (signals.c) --------------------------------------------------------------------- */

/* Where a thread is about to sleep: in a driver, on a word, or in poll() with the signaler. */
typedef struct zm_sleep {
    zm_driver *driver;
    _Atomic uint32_t *word; /* counted up for a signal */
    bool signaler;
} zm_sleep;

/* A wait of a thread that heeds signals (see api.h) goes back to its caller (-EINTR) when one came,
 * however short before: the caller runs handlers, and calls again. One who is not told looks after
 * them at this time; ZM_FOREVER: no need. */
int64_t zm_signals_look(void);
/* True: sleep, and call zm_signals_awake() after it. False: a signal came. */
bool zm_signals_sleep(zm_sleep where);
void zm_signals_awake(void);
/* To be polled for input by a thread that sleeps with the signaler; -1: it hears of no signals. */
int zm_signals_signaler(void);
/* For those who never sleep: is it time to go back to the caller? */
bool zm_signals_due(void);
int zm_signals_pipe(void);
bool zm_signals_are_mine(void);
int64_t zm_signals_heed(int64_t look_ns);
void zm_signals_after_fork(void);
/* --- the order of a thread's sends (order.c) ------------------------------------------------- */

struct zm_order {
    zm_order *next_free;
    uintptr_t thread; /* its mark */
    zm_socket *newest; /* the thread's own: where it sent last */
    uint32_t returns;  /* the thread's own: to sockets that wait, from others, in a row */
    int64_t returned_ns;
    _Atomic uint32_t refs; /* one of the thread, one for each socket in a list */
    zm_lock lock;
    zm_list bursts;         /* sockets, by in_order, in the order in which their bursts began */
    _Atomic uint32_t count; /* of them; a hint for the thread */
    zm_list begun;          /* sockets, by in_begun, that the thread has connected */
    _Atomic uint32_t begun_count;
    zm_allowance turns; /* the thread's own */
};

extern _Thread_local zm_order *zm_order_mine; /* the calling thread's; NULL: it has none yet */

/* Did the calling thread send here last, and has nothing made it leave since? */
static inline bool zm_order_goes_on(const zm_socket *s)
{
    const zm_order *order = s->order;
    return order && order->thread == zm_thread_mark() && order->newest == s;
}
/* The calling thread's sends on `s` wait from now on, behind those that wait already. */
void zm_order_enter_locked(zm_socket *s);
/* Does anything the calling thread has sent wait elsewhere? */
bool zm_order_has_others(const zm_socket *s);
/* Before the calling thread sends on `s`, where it did not send last: what must be there first is
 * flushed. */
void zm_order_turn_locked(zm_socket *s);
/* The calling thread looks for messages on `s`: what it sent leaves, since the answer to it may be
 * what it looks for. */
void zm_order_look_locked(zm_socket *s);
/* Before `s` is flushed: everything that goes first is. False: not now. */
bool zm_order_reached_locked(zm_socket *s);
/* Flushes what is in the list, as far as no lock is taken. */
void zm_order_flush_locked(zm_order *order, zm_socket *held);
/* All that the calling thread has sent leaves. `over`: it is about to wait. Takes locks, and waits
 * for them unless `brief`: neither with one held nor with the GIL. False: `brief`, and somebody has
 * one. */
bool zm_order_settle(bool over, bool brief);
/* The calling thread has connected `s`: what it does elsewhere is to come after that. */
void zm_order_begin_locked(zm_socket *s);
void zm_order_begun_locked(zm_socket *s); /* it is there, or not waited for any longer */
bool zm_order_has_begun(const zm_socket *s); /* others than `s` */
/* Has the thread that connected `s` begun a connection before, which is not through yet? For some
 * milliseconds the messages of `s` wait for it. */
bool zm_order_holds_locked(zm_socket *s);
/* Before a step of the connections of `s`: those that the same thread began earlier have one. */
void zm_order_earlier_locked(zm_socket *s);
/* zm_order_settle(), and gives the connections that the calling thread has begun, but for those of
 * `s`, a moment to come about, and their subscriptions to leave. `over`: the thread is going to
 * wait in `s`, which may be where they arrive: it takes its steps, too. */
void zm_order_finish(zm_socket *s, bool over);
void zm_order_after_fork(void);

/* --- monitor (monitor.c) --------------------------------------------------------------------- */

void zm_monitor_event(zm_socket *s, int event, uint32_t value, const char *endpoint);

enum zm_monitor_events {
    ZM_CONNECTED = 0x1, ZM_CONNECT_DELAYED = 0x2, ZM_CONNECT_RETRIED = 0x4, ZM_LISTENING = 0x8,
    ZM_BIND_FAILED = 0x10, ZM_ACCEPTED = 0x20, ZM_ACCEPT_FAILED = 0x40, ZM_CLOSED = 0x80,
    ZM_CLOSE_FAILED = 0x100, ZM_DISCONNECTED = 0x200, ZM_MONITOR_STOPPED = 0x400,
    ZM_HANDSHAKE_FAILED_NO_DETAIL = 0x800, ZM_HANDSHAKE_SUCCEEDED = 0x1000,
    ZM_HANDSHAKE_FAILED_PROTOCOL = 0x2000, ZM_HANDSHAKE_FAILED_AUTH = 0x4000
};

/* --- context, I/O thread --------------------------------------------------------------------- */

enum {
    ZM_IO_THREADS_MAX = 64,
    ZM_CPUS_MAX = 1024,
    ZM_SPARE_DRIVERS = 4,
    ZM_RETRY_NS = 50 * 1000 /* before the next look at what another thread has locked */
};
#define ZM_NO_THREAD UINT32_MAX

struct zm_context {
    struct zm_context *next_free; /* of the slot, while it is free */
    zm_lock lock;
    _Atomic uint32_t generation;
    uint32_t index;
    _Atomic bool ended;           /* shutdown() or term() was called */
    _Atomic uint32_t socket_count; /* open and lingering */
    _Atomic uint32_t departures;   /* counts up when one goes: the wait word of term() */
    zm_list sockets;
    zm_names names; /* inproc names that are bound, or waited for */
    zm_list waited_names;
    int io_threads, max_sockets, max_msg_size, thread_priority, thread_policy, zero_copy;
    bool blocky, ipv6;
    bool cpus[ZM_CPUS_MAX]; /* THREAD_AFFINITY_CPU_ADD */
    char thread_prefix[17];
    zm_io_thread *threads[ZM_IO_THREADS_MAX];
    uint32_t next_thread;
    /* Drivers of closed sockets, for the next ones: io_uring takes 60 us to make and to end. */
    zm_driver *spares[ZM_SPARE_DRIVERS];
    uint32_t spare_count;
    int64_t spares_until;
};

/* Of a socket that is closed, or whose context ends: -ENOTSOCK or -ETERM. */
static inline int zm_socket_shut_locked(zm_socket *s)
{
    if (!s->open)
        return -ENOTSOCK;
    s->told = true;
    return -ETERM;
}
/* Each call begins so: takes commands in. 0, or as zm_socket_shut_locked(). */
static inline int zm_socket_enter_locked(zm_socket *s)
{
    if (ZM_UNLIKELY(atomic_load_explicit(&s->attention, memory_order_acquire)))
        zm_commands_take_locked(s);
    if (ZM_UNLIKELY(!s->open)
        || ZM_UNLIKELY(atomic_load_explicit(&s->context->ended, memory_order_relaxed)))
        return zm_socket_shut_locked(s);
    return 0;
}

/* handles.c. NULL: stale, nothing is locked. */
zm_context *zm_context_lock(int64_t handle);
/* As zm_socket_lock_for(); -EFAULT: stale. */
int zm_context_lock_for(int64_t handle, bool brief, zm_context **out_context);
int zm_context_set_for(int64_t context, int option, int value, bool brief);
int zm_context_get_for(int64_t context, int option, int *out_value, bool brief);
int64_t zm_context_handle(const zm_context *context);
zm_context *zm_context_slot_take(void); /* NULL: no slot, or no memory */
void zm_context_slot_give(zm_context *context);
zm_socket *zm_socket_slot_take(void);
void zm_socket_slot_give(zm_socket *s);
uint32_t zm_generation_new(void);
/* For socket: the context is kept alive by its sockets. */
void zm_context_driver_back(zm_context *context, zm_driver *taken);
void zm_context_socket_gone(zm_context *context);
/* What an I/O thread does, of which it knows nothing itself. */
typedef struct zm_io_work {
    /* Looks after `s`, which is locked, and sets when to look next; unlocks it. */
    void (*serve)(zm_io_thread *io_thread, zm_socket *s);
    /* At each wake. Returns when to wake for it again; ZM_FOREVER: no need. */
    int64_t (*idle)(zm_context *context, int64_t now);
} zm_io_work;

/* Starts the thread. 0 or -errno. */
int zm_io_thread_new(zm_context *context, const zm_io_work *work, zm_io_thread **out_io_thread);
/* For zm_io_work: the next look at `s`, which is locked; ZM_FOREVER: when the driver calls. */
void zm_io_thread_look_next(zm_io_thread *io_thread, zm_socket *s, int64_t at);
/* Unless an earlier one is set. False: one is. */
bool zm_io_thread_look_no_later(zm_io_thread *io_thread, zm_socket *s, int64_t at);
/* The driver of `s` calls with its next completion. */
void zm_io_thread_arm(zm_io_thread *io_thread, zm_socket *s);
/* Does not sleep before that, unless the machine is crowded. */
void zm_io_thread_stay_awake(zm_io_thread *io_thread, int64_t until);
/* serve.c */
void zm_serve(zm_io_thread *io_thread, zm_socket *s);
/* Ends the thread and frees it; no socket is with it any more. */
void zm_io_thread_free(zm_io_thread *taken);
int zm_io_thread_add_locked(zm_io_thread *io_thread, zm_socket *s);
void zm_io_thread_remove_locked(zm_socket *s);
/* The I/O thread is to wake at `at` (or earlier). */
void zm_io_thread_plan(zm_io_thread *io_thread, int64_t at);
/* The I/O thread is to look after `s` at `at` (or earlier). */
void zm_io_thread_look(zm_socket *s, int64_t at);
/* An application thread stops driving `s`: what is left to do by time is the I/O thread's. */
void zm_io_thread_resume_locked(zm_socket *s);

/* --- process --------------------------------------------------------------------------------- */

extern _Atomic int64_t zm_live_connections, zm_live_threads, zm_live_sockets, zm_live_contexts;
/* Of all sockets: requests that the kernel holds, and entries of their drivers. */
void zm_sockets_driven(int64_t *out_in_flight, int64_t *out_entries);
zm_driver_kind zm_driver_chosen(void);
/* The chosen one could not be had, and another serves in its place: zm_driver_reason() says so. */
void zm_driver_refused(int error);
bool zm_spin_allowed(void);
int zm_process_init(const char *driver, bool alone, const char *liburing_path);
void zm_fork_install(void);
void zm_handles_after_fork(void);

#endif
