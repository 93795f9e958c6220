/* The table by which a socket knows its pattern: what a type of socket (PUSH, SUB ...) does with
 * messages and peers. The engine names no pattern. Their files are in pattern/, one a family.
 *
 * Each function is called with the socket's lock. What a pattern keeps lies in zm_socket.state and
 * behind each peer (zm_peer_state()). The socket owns that memory; the pattern owns what it refers
 * to. */
#ifndef ZM_SOCKET_PATTERN_H
#define ZM_SOCKET_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api.h"
#include "../pipe/frames.h"
#include "../zmtp/session.h"

typedef struct zm_peer zm_peer;

typedef struct zm_outgoing {
    const void *data;
    size_t size;
    zm_block *block; /* holds data, or NULL: copy */
    bool more;
} zm_outgoing;

typedef struct zm_pattern {
    size_t state_size, peer_size; /* bytes it keeps of a socket, and of each peer; zero at first */
    bool never_reads; /* recv() refuses */
    bool waits_to_send; /* send() waits for a peer with room: it neither drops nor refuses */
    /* Sends or receives whole messages without an envelope, so that CONFLATE has an effect (S-12).
     * Every type of socket takes the option. */
    bool conflates;
    bool connects_once; /* a second connect() to the same endpoint does nothing */
    bool raw; /* its peers speak no ZMTP, whatever the options say */
    bool answers_zap; /* may be a ZAP handler */
    /* A peer that has connected is about to subscribe, and gets a moment for that before the next
     * message. */
    bool looks_before_send;

    /* 0, -EAGAIN, -errno; ZM_LATER: zm_socket_send_later_locked(), then again; not in the middle of
     * a message. Nothing is kept of `message` but after 0. */
    int (*send)(zm_socket *s, const zm_outgoing *message);
    /* 0: *out_frame is the caller's; out_peer: whom it came from (may be NULL). -errno: neither
     * means anything, and nothing in them is owed to anybody. */
    int (*recv)(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer);
    bool (*can_send)(zm_socket *s);
    bool (*can_recv)(zm_socket *s);
    void (*attached)(zm_peer *peer);
    void (*detached)(zm_peer *peer); /* the peer goes: nothing is kept of it any more */
    void (*readable)(zm_peer *peer); /* a complete message is there, none was before */
    void (*writable)(zm_peer *peer); /* room again */
    /* A frame arrives from a remote peer. 0 taken, 1: queue it, < 0: the peer broke the rules.
     * NULL: it is queued as it is. */
    int (*arrived)(zm_peer *peer, zm_event *event);
    /* A remote peer subscribes, or takes it back. 0; -EMSGSIZE: it may not have so many. NULL: that
     * means nothing here. */
    int (*subscription)(zm_peer *peer, bool subscribe, const uint8_t *topic, size_t size);
    /* The connection of a kept peer is back, or there for the first time. NULL: nothing to do. */
    void (*connected)(zm_peer *peer);
    /* It ends: the rest of a message that is arriving will not come. NULL: nothing to do. */
    void (*disconnected)(zm_peer *peer);
    int (*opened)(zm_socket *s); /* 0 or -ENOMEM (nothing is left); NULL: nothing to do */
    void (*closed)(zm_socket *s); /* frees what the state refers to; NULL: nothing to do */
    /* Options that are actions: SUBSCRIBE, UNSUBSCRIBE. NULL: none. */
    int (*set_option)(zm_socket *s, int option, const void *value, size_t size);
    size_t (*topics)(const zm_socket *s); /* TOPICS_COUNT; NULL: 0 */
    /* The peer of this routing id; NULL: there is none. NULL: peers have no routing ids. */
    zm_peer *(*peer_of_id)(const zm_socket *s, const uint8_t *id, size_t size);
} zm_pattern;

/* By type of socket; NULL: there is no such type. */
const zm_pattern *zm_pattern_of(int type);

#endif
