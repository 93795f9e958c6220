/* PAIR: one peer at a time. A second one completes its handshake and is never served (S-70); one
 * that comes after the first has gone is, also while messages of the first are still unread. */
#include "../pipe/peer.h"
#include "../socket/pattern.h"
#include "../socket/socket.h"
#include "shared.h"

typedef struct pair {
    zm_peer *peer; /* the one that is served; NULL: none */
} pair;

static void pair_attached(zm_peer *peer) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    pair *own = s->state;
    if (own->peer && !zm_peer_is_ended_locked(own->peer)) {
        peer->ignored = true;
        return;
    }
    own->peer = peer;
    zm_balance_writable_locked(peer);
}

static void pair_detached(zm_peer *peer)
{
    pair *own = peer->socket->state;
    if (own->peer == peer)
        own->peer = NULL;
}

const zm_pattern zm_pattern_pair = {
    .state_size = sizeof(pair),
    .waits_to_send = true,
    .send = zm_balance_send_only_locked,
    .recv = zm_fair_recv_locked,
    .can_send = zm_balance_can_send_locked,
    .can_recv = zm_fair_can_recv_locked,
    .attached = pair_attached,
    .detached = pair_detached,
    .readable = zm_fair_readable,
    .writable = zm_balance_writable_locked,
};
