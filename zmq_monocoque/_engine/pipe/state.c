/* The life of a peer: its states, and what each may become. */
#include "../base/check.h"
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
