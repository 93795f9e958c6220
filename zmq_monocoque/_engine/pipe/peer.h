/* Peers: what libzmq calls a pipe. A peer is its socket's: it owns the queues of what has arrived
 * and of what is to leave, and outlives the connections that come and go below it. The socket's
 * lock is held by whoever calls or reads any of this. */
#ifndef ZM_PIPE_PEER_H
#define ZM_PIPE_PEER_H

#include <errno.h>

#include "../base/block.h"
#include "../base/check.h"
#include "../base/list.h"
#include "../socket/socket.h"
#include "../socket/wakeup.h"
#include "frames.h"

/* A peer over something else than a connection: inproc. What is done for every message over a
 * connection is in peer.c, without a table in between. */
typedef struct zm_peer_ops {
    bool (*can_read)(zm_peer *peer);
    void (*read)(zm_peer *peer, zm_frame *out);
    bool (*can_write)(zm_peer *peer);
    int (*write)(zm_peer *peer, const void *data, size_t size, zm_block *block, unsigned flags);
    void (*rollback)(zm_peer *peer);
    void (*hwm_changed)(zm_peer *peer); /* SNDHWM, RCVHWM */
    void (*count_queued)(zm_peer *peer, uint64_t *in, uint64_t *out); /* adds its messages */
    const uint8_t *(*routing_id)(const zm_peer *peer, size_t *out_size);
    void (*close)(zm_peer *peer); /* the peer is about to be freed */
} zm_peer_ops;

/* Its changes are in state.c. In this order, so that one comparison says whether it has ended. */
typedef enum zm_pipe_state {
    ZM_PIPE_NEW,      /* the pattern does not know it yet */
    ZM_PIPE_ATTACHED, /* messages go both ways */
    ZM_PIPE_DETACHED, /* the pattern knows it no more: only what is queued is left to be sent */
    ZM_PIPE_ENDED,    /* nothing will arrive any more: detached once it is read out */
    ZM_PIPE_CLOSING   /* freed once nothing of it is in flight */
} zm_pipe_state;

struct zm_peer {
    const zm_peer_ops *ops; /* NULL: over a connection */
    ZM_HELD zm_pipe_state state;
    zm_list link; /* socket->peers */
    zm_socket *socket;
    uint32_t index;        /* in socket->peer_table */
    ZM_HELD zm_conn *conn;         /* its connection; NULL: none now, or inproc */
    ZM_HELD zm_conn *in_flight_conn; /* the one before, as long as it still sends from `out` */
    ZM_HELD zm_endpoint *endpoint; /* the connect() it belongs to, or NULL */
    zm_link *inproc;
    uint8_t side;
    ZM_HELD zm_ended ending; /* in socket->ended when it may be time to free it */

    /* Reading. Remote: `in`; inproc: the link's queue. */
    ZM_HELD zm_frames in;
    ZM_HELD uint32_t in_staged; /* newest frames, of a message that is not complete */
    ZM_HELD uint32_t in_messages; /* complete ones */
    ZM_HELD uint32_t in_unreported; /* inproc: read, and the writer not told yet */
    ZM_HELD uint32_t in_report;     /* inproc: it is told when they are so many */
    ZM_HELD bool joined;            /* inproc: the other side is there */
    zm_list turn_in;
    ZM_HELD bool reading; /* parts of a message are out, more follow */

    /* Writing. Remote: `out`; inproc: the link's queue. */
    ZM_HELD zm_outq out;
    zm_list turn_out;
    ZM_HELD bool writing;  /* parts of a message are in, more follow */
    ZM_HELD bool out_full; /* was at its HWM and is not below the low-water mark yet */
    /* inproc: there is room for so many, whatever the reader does */
    ZM_HELD uint32_t out_room;
    ZM_HELD zm_list untold_link; /* inproc: socket->untold */
    /* may still be spent on waiting for room before messages are dropped */
    ZM_HELD int64_t patience_ns;
    ZM_HELD zm_list crowded_link; /* socket->crowded */

    bool raw;         /* bytes without framing */
    bool ignored;     /* the pattern does not serve it, and never will */
    bool muted;       /* what arrives from it is dropped */
    bool conflate;
    zm_metadata *metadata;
    uint8_t *wanted_id; /* CONNECT_ROUTING_ID, owned */
    size_t wanted_id_size;
    /* Behind it: the pattern's own, see zm_peer_state(). */
};

/* Does the pattern know it? */
static inline bool zm_peer_is_attached_locked(const zm_peer *peer) ZM_LOCKED
{
    return peer->state == ZM_PIPE_ATTACHED || peer->state == ZM_PIPE_ENDED;
}
/* Does nothing arrive from it any more, nor leave for it but what is queued? */
static inline bool zm_peer_is_ended_locked(const zm_peer *peer) ZM_LOCKED
{
    return peer->state >= ZM_PIPE_ENDED;
}

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

union zm_peer_slot {
    zm_peer *peer;
    uint32_t next_free; /* likewise from 1 */
};

/* state.c */
void zm_peer_become_locked(zm_peer *peer, zm_pipe_state state) ZM_LOCKED;
/* For asserts: what holds of a peer whenever no function of peer.c is at work on it. */
bool zm_peer_is_sound_locked(const zm_peer *peer) ZM_LOCKED;

zm_peer *zm_peer_new_locked(zm_socket *s) ZM_LOCKED;
/* Tells the pattern. */
void zm_peer_attach_locked(zm_peer *peer) ZM_LOCKED;
/* Takes the peer from the pattern: the application does not see it any more. */
void zm_peer_detach_locked(zm_peer *peer) ZM_LOCKED;
/* Nothing comes or goes any more: freed once its messages are read (by zm_reap_ended_locked). */
void zm_peer_end_locked(zm_peer *peer) ZM_LOCKED;
/* Something that an ended peer may have waited for has happened: it is looked at again. */
void zm_peer_ripen_locked(zm_peer *peer) ZM_LOCKED;
/* Takes the peer from the pattern and frees it (its connection, if any, is told apart first). */
void zm_peer_free_locked(zm_peer *taken) ZM_LOCKED;
bool zm_peer_can_read_locked(zm_peer *peer) ZM_LOCKED;
bool zm_peer_can_write_locked(zm_peer *peer) ZM_LOCKED;
/* The next frame of a peer with zm_peer_can_read_locked(). */
void zm_peer_read_locked(zm_peer *peer, zm_frame *out) ZM_LOCKED;
/* One frame; the last of a message (`!more`) is committed. 0, -EAGAIN (HWM), -ENOMEM. A `block`
 * (may be NULL) is referenced, not taken. */
int zm_peer_write_locked(zm_peer *peer, const void *data, size_t size, zm_block *block,
                         bool more) ZM_LOCKED;
/* Before a pattern drops a message for want of room: makes room. 0; -EAGAIN: there is none, nor
 * will there be soon; ZM_LATER: zm_peers_await_room_locked() gives the peer a moment to read. */
int zm_peer_find_room_locked(zm_peer *peer) ZM_LOCKED;
/* Waits for the peers in socket->crowded, for at most what is left of the patience of each. Gives
 * up the lock meanwhile. */
void zm_peers_await_room_locked(zm_socket *s) ZM_LOCKED;
/* As zm_peer_write_locked(), likewise. */
static inline int zm_peer_offer_locked(zm_peer *peer, const void *data, size_t size,
                                       zm_block *block, bool more) ZM_LOCKED
{
    int rc = zm_peer_write_locked(peer, data, size, block, more);
    if (ZM_UNLIKELY(rc == -EAGAIN) && zm_peer_find_room_locked(peer) == 0)
        rc = zm_peer_write_locked(peer, data, size, block, more);
    return rc;
}
void zm_peer_rollback_locked(zm_peer *peer) ZM_LOCKED;
/* A subscription (or its end) for a publisher behind this peer. */
void zm_peer_subscribe_locked(zm_peer *peer, bool subscribe, const uint8_t *topic,
                              size_t size) ZM_LOCKED;
/* Room came back: tells the pattern when the low-water mark is reached. */
void zm_peer_drained_locked(zm_peer *peer) ZM_LOCKED;
uint32_t zm_peer_low_water(int hwm);
/* A frame has arrived over a connection. `own`: a reference to its memory, which is taken with 0;
 * NULL: the caller sees to that. 0 or -ENOMEM. */
int zm_peer_queue_locked(zm_peer *peer, const uint8_t *data, size_t size, bool more,
                         zm_block *own) ZM_LOCKED;
/* STREAM, ROUTER_RAW: an empty message tells the application that a peer came, and another one that
 * it went. For that one there is always room: it is kept when the peer comes, and by
 * zm_peer_keep_room_locked() before anything else is queued. 0 or -ENOMEM. */
int zm_peer_announce_locked(zm_peer *peer) ZM_LOCKED;
int zm_peer_keep_room_locked(zm_peer *peer) ZM_LOCKED;
void zm_peer_announce_end_locked(zm_peer *peer) ZM_LOCKED;
/* What the other side calls itself; *out_size 0: nothing, or it is not there yet. */
const uint8_t *zm_peer_own_id_locked(const zm_peer *peer, size_t *out_size) ZM_LOCKED;
void zm_peer_hwm_changed_locked(zm_peer *peer) ZM_LOCKED; /* SNDHWM, RCVHWM */
/* Adds the messages that wait. */
void zm_peer_count_queued_locked(zm_peer *peer, uint64_t *in, uint64_t *out) ZM_LOCKED;
/* The application closes its connection, with what is queued for it, and for good. */
void zm_peer_drop_locked(zm_peer *peer) ZM_LOCKED;

/* Of a remote peer: may zm_peer_can_write_locked() say no? */
static inline bool zm_peer_is_crowded_locked(const zm_peer *peer) ZM_LOCKED
{
    /* SNDHWM 0: never. */
    return peer->out_full || peer->out.count > (uint32_t) peer->socket->options.sndhwm - 1;
}

#endif
