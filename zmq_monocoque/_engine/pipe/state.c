/* The life of a peer: its states, and what each may become. */
#include "../base/check.h"
#include "../base/list.h"
#include "../connection/connection.h"
#include "../socket/endpoint.h"
#include "../socket/socket.h"
#include "frames.h"
#include "peer.h"

#define TO(state) (1u << ZM_PIPE_##state)
/* What each state may become. One that the pattern has no memory for is freed at once. */
static const uint8_t next_states[] = {
    [ZM_PIPE_NEW] = TO(ATTACHED) | TO(CLOSING),
    [ZM_PIPE_ATTACHED] = TO(DETACHED) | TO(ENDED),
    [ZM_PIPE_DETACHED] = TO(CLOSING),
    [ZM_PIPE_ENDED] = TO(CLOSING),
    [ZM_PIPE_CLOSING] = 0,
};
#undef TO

void zm_peer_become_locked(zm_peer *peer, zm_pipe_state state)
{
    ZM_ASSERT(peer->state < ZM_COUNT(next_states));
    ZM_ASSERT(next_states[peer->state] & 1u << state);
    peer->state = state;
}

#if defined(ZM_DEBUG)
bool zm_peer_is_sound_locked(const zm_peer *peer)
{
    const zm_conn *conn = peer->conn, *in_flight = peer->in_flight_conn;
    const zm_endpoint *endpoint = peer->endpoint;
    const zm_outq *out = &peer->out;
    ZM_ASSERT(peer->index < peer->socket->peer_capacity);
    ZM_ASSERT(peer->socket->peer_table[peer->index].peer == peer);
    ZM_ASSERT(!conn || (conn->peer == peer && !peer->ops));
    ZM_ASSERT(!in_flight || (in_flight->in_flight_peer == peer && in_flight != conn));
    ZM_ASSERT(!endpoint || endpoint->peer == peer);
    ZM_ASSERT(!peer->inproc || peer->ops);
    ZM_ASSERT(!zm_list_linked(&peer->ending.link) || zm_peer_is_ended_locked(peer));
    ZM_ASSERT(!zm_list_linked(&peer->turn_in) || zm_peer_is_attached_locked(peer));
    ZM_ASSERT(!zm_list_linked(&peer->turn_out) || peer->state == ZM_PIPE_ATTACHED);
    ZM_ASSERT(peer->in_staged <= peer->in.count);
    ZM_ASSERT(out->partial + out->submitted <= out->bytes);
    ZM_ASSERT(!out->sent_of_first || out->count);
    return true;
}
#endif
