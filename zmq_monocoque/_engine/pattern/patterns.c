/* The types of sockets, and what those do that have no part in something. */
#include "shared.h"

static const zm_pattern *const patterns[ZM_SOCKET_TYPES] = {
    [ZM_PAIR] = &zm_pattern_pair,
    [ZM_PUB] = &zm_pattern_pub,
    [ZM_SUB] = &zm_pattern_sub,
    [ZM_REQ] = &zm_pattern_req,
    [ZM_REP] = &zm_pattern_rep,
    [ZM_DEALER] = &zm_pattern_dealer,
    [ZM_ROUTER] = &zm_pattern_router,
    [ZM_PULL] = &zm_pattern_pull,
    [ZM_PUSH] = &zm_pattern_push,
    [ZM_XPUB] = &zm_pattern_xpub,
    [ZM_XSUB] = &zm_pattern_xsub,
    [ZM_STREAM] = &zm_pattern_stream,
};

const zm_pattern *zm_pattern_of(int type)
{
    return type >= 0 && type < ZM_SOCKET_TYPES ? patterns[type] : NULL;
}

int zm_no_send(zm_socket *s, const zm_outgoing *message)
{
    (void) s;
    (void) message;
    return -ENOTSUP;
}

int zm_no_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer)
{
    (void) s;
    return zm_recv_nothing(-ENOTSUP, out_frame, out_peer);
}

bool zm_never(zm_socket *s)
{
    (void) s;
    return false;
}

bool zm_always(zm_socket *s)
{
    (void) s;
    return true;
}

void zm_forget_nothing(zm_peer *peer)
{
    (void) peer;
}
