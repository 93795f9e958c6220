/* The life of an endpoint: its states, and what each may become. */
#include "../base/check.h"
#include "../connection/connection.h"
#include "../driver/driver.h"
#include "../pipe/peer.h"
#include "endpoint.h"

#define TO(state) (1u << ZM_ENDPOINT_##state)
/* What each state may become. A listener, or one of inproc, waits until it is closed. */
static const uint8_t next_states[] = {
    [ZM_ENDPOINT_WAITING] = TO(RESOLVING) | TO(CONNECTING) | TO(CONNECTED) | TO(CLOSING),
    [ZM_ENDPOINT_RESOLVING] = TO(WAITING) | TO(CLOSING),
    [ZM_ENDPOINT_CONNECTING] = TO(TIMED_OUT) | TO(WAITING) | TO(CLOSING),
    [ZM_ENDPOINT_TIMED_OUT] = TO(WAITING) | TO(CLOSING),
    [ZM_ENDPOINT_CONNECTED] = TO(WAITING) | TO(CLOSING),
    [ZM_ENDPOINT_CLOSING] = 0,
};
#undef TO

void zm_endpoint_become_locked(zm_endpoint *ep, zm_endpoint_state state)
{
    ZM_ASSERT(ep->state < ZM_COUNT(next_states));
    if (ep->state == ZM_ENDPOINT_CLOSING)
        return;
    ZM_ASSERT(next_states[ep->state] & 1u << state);
    ep->state = state;
}

#if defined(ZM_DEBUG)
bool zm_endpoint_is_sound_locked(const zm_endpoint *ep)
{
    bool connecting = ep->state == ZM_ENDPOINT_CONNECTING || ep->state == ZM_ENDPOINT_TIMED_OUT;
    bool closing = ep->state == ZM_ENDPOINT_CLOSING;
    ZM_ASSERT(!ep->conn || ep->conn->endpoint == ep);
    ZM_ASSERT(!ep->peer || ep->peer->endpoint == ep);
    ZM_ASSERT(!ep->resolution == (ep->state != ZM_ENDPOINT_RESOLVING));
    ZM_ASSERT(!ep->conn == (ep->state != ZM_ENDPOINT_CONNECTED));
    ZM_ASSERT(ep->kind == ZM_LISTENER || !ep->op.in_flight || connecting || closing);
    ZM_ASSERT(!connecting || (ep->op.in_flight && ep->fd >= 0));
    ZM_ASSERT(!ep->retry.position || ep->state == ZM_ENDPOINT_WAITING);
    ZM_ASSERT(!ep->timeout.position || ep->state == ZM_ENDPOINT_CONNECTING);
    ZM_ASSERT(!closing || (!ep->peer && !ep->linger.position));
    return true;
}
#endif
