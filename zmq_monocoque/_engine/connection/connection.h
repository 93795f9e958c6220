/* Connections: a descriptor and its ZMTP session. A connection is its socket's, also when its
 * endpoint is gone; it owns its descriptor, its session and what the kernel was given, until
 * nothing is in flight. The socket's lock is held by whoever calls or reads any of this. */
#ifndef ZM_CONNECTION_CONNECTION_H
#define ZM_CONNECTION_CONNECTION_H

#include "../base/block.h"
#include "../base/list.h"
#include "../base/timer.h"
#include "../driver/address.h"
#include "../driver/driver.h"
#include "../socket/options.h"
#include "../socket/socket.h"
#include "../socket/wakeup.h"
#include "../zmtp/session.h"

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

/* Its changes are in state.c. */
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
    ZM_HELD zm_conn_state state;
    zm_socket *socket;
    ZM_HELD zm_endpoint *endpoint; /* listener or connecter it came from; NULL: that is gone */
    zm_list of_endpoint;   /* endpoint->conns */
    ZM_HELD zm_peer *peer;         /* NULL before the handshake (accepted), or after the end */
    ZM_HELD int fd;
    zm_transport transport;
    bool raw;       /* STREAM: no session */
    ZM_HELD bool counted;   /* in socket->handshakes */
    ZM_HELD bool newcomer;  /* in socket->newcomers */
    zm_list handshaking_link; /* socket->handshaking */
    ZM_HELD bool stopped;   /* RCVHWM: not reading */
    size_t lowat;       /* SO_RCVLOWAT of fd, as it was set last */
    ZM_HELD bool unpaced;       /* has sent a large body, see zm_connection_unpace() */
    ZM_HELD bool expects_large; /* the last frame was larger than a slab */
    ZM_HELD bool wants_send; /* in socket->wants_send */
    ZM_HELD bool wants_recv; /* in socket->wants_recv: a receive is to be armed */
    ZM_HELD bool moving;    /* its receive is cancelled to be armed by another thread */
    ZM_HELD bool outcome_told; /* ZAP status 300: how its handshake ended was told */
    ZM_HELD bool send_failed; /* a send failed: only what is still to be read is left to do */
    ZM_HELD bool starved; /* lacks memory for what it has to say, and breaks when it is to send */
    ZM_HELD zm_list wants_send_link, wants_recv_link;
    zm_list armed_link; /* while its receive is in flight */
    ZM_HELD zm_session session;
    zm_limits limits;
    ZM_HELD uint64_t parts, part_bytes; /* of the message that is arriving */
    ZM_HELD zm_peer *in_flight_peer; /* gone, but the send in flight is of its queue */
    ZM_HELD zm_op recv_op, send_op;
    ZM_HELD zm_block *slab;            /* what the kernel writes to; one reference ours */
    ZM_HELD size_t slab_used, slab_at; /* bytes received; bytes parsed */
    /* behind the newest message in it, which may still be read */
    ZM_HELD size_t slab_kept;
    ZM_HELD zm_block *large;           /* one unit that is larger than a slab */
    ZM_HELD size_t large_have;

    /* bytes of the session's own: they leave at the next message boundary */
    ZM_HELD uint8_t *control;
    ZM_HELD size_t control_size, control_capacity;
    ZM_HELD size_t answers; /* of these, bytes that the peer asked for */
    ZM_HELD uint8_t *flying; /* control bytes that are being sent */
    ZM_HELD size_t flying_size, flying_sent;
    ZM_HELD uint8_t *recoded; /* queue bytes as a peer without plain framing wants them */
    ZM_HELD size_t recoded_size, recoded_sent, recoded_capacity;
    ZM_HELD size_t recoded_from; /* bytes of the queue that `recoded` stands for */
    struct iovec vectors[ZM_VECTORS_MAX];
    struct msghdr header;
    ZM_HELD size_t sending_control, sending_queue; /* bytes in flight, in this order */

    zm_timer handshake, heartbeat, silence, ttl;
    zm_timer linger; /* DRAINING: LINGER is over; REJECTED: the peer had time to read why */
    int silence_ms, ttl_ms; /* as they were set last */
    ZM_HELD uint8_t ping;  /* on its way, see enum ping */
    ZM_HELD size_t unsent; /* in the kernel, when silence was looked at last */
    char *text; /* of the endpoint, as events tell it; owned */
    zm_zap *zap; /* while a ZAP handler is asked about the peer */
    zm_bytes zap_properties; /* what it said: User-Id and more, as READY has properties */
};

/* Is its handshake done? Then what is queued for its peer is sent. */
static inline bool zm_conn_is_open_locked(const zm_conn *conn) ZM_LOCKED
{
    return conn->state == ZM_CONN_ACTIVE || conn->state == ZM_CONN_DRAINING;
}

/* Nothing is heard of it any more, but it has still something to say. */
static inline bool zm_conn_is_leaving_locked(const zm_conn *conn) ZM_LOCKED
{
    return conn->state == ZM_CONN_DRAINING || conn->state == ZM_CONN_REJECTED;
}

/* A connection on `fd` (taken, also on failure). 0 or -errno. */
int zm_conn_open_locked(zm_socket *s, zm_endpoint *endpoint, const zm_conn_owner *owner,
                        zm_transport transport, int fd) ZM_LOCKED;
/* Bytes of the session's own (PONG, SUBSCRIBE ...), at the next message boundary. */
int zm_conn_control_locked(zm_conn *conn, const void *data, size_t size) ZM_LOCKED;
/* Ends it now: no events, no reconnect. Freed once nothing is in flight. */
void zm_conn_close_locked(zm_conn *conn) ZM_LOCKED;
/* Its connecter is let go: sends what is queued, over further connections if this one breaks, until
 * the endpoint's own time is over. */
void zm_conn_finish_locked(zm_conn *conn) ZM_LOCKED;
/* As close, and its connecter and its peer go with it. */
void zm_conn_end_locked(zm_conn *conn) ZM_LOCKED;
/* Its peer is let go: sends what is queued there, until `linger_ms` is over, then closes. */
void zm_conn_linger_locked(zm_conn *conn, int linger_ms) ZM_LOCKED;
/* The peer broke the connection or the rules. `reconnect`: the connecter tries again. */
void zm_conn_failed_locked(zm_conn *conn, bool reconnect) ZM_LOCKED;
/* A handshake ends with an errno (HANDSHAKE_FAILED_NO_DETAIL), or a ZMQ_PROTOCOL_ERROR_*. */
void zm_conn_broke_locked(zm_conn *conn, int error) ZM_LOCKED;
void zm_conn_refused_locked(zm_conn *conn, uint32_t protocol_error) ZM_LOCKED;
/* Drops the connection that has been longest in its handshake. False: there is none. */
bool zm_conn_drop_handshaking_locked(zm_socket *s) ZM_LOCKED;
/* The session's ZM_EVENT_ZAP is answered. 0, or < 0: the connection is gone. */
int zm_conn_admit_locked(zm_conn *conn, unsigned status) ZM_LOCKED;

/* Puts the connection on the list of those that want to receive. */
static inline void zm_conn_wants_recv_locked(zm_conn *conn) ZM_LOCKED
{
    if (conn->wants_recv || conn->state == ZM_CONN_CLOSING)
        return;
    conn->wants_recv = true;
    zm_list_append(&conn->socket->wants_recv, &conn->wants_recv_link);
}

/* Puts the connection on the list of those with something to send. */
static inline void zm_conn_wants_send_locked(zm_conn *conn) ZM_LOCKED
{
    if (conn->wants_send || conn->state == ZM_CONN_CLOSING)
        return;
    conn->wants_send = true;
    zm_list_append(&conn->socket->wants_send, &conn->wants_send_link);
}

#endif
