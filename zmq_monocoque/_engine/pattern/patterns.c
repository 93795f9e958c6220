/* The types of sockets. */
#include "../socket/options.h"
#include "../socket/pattern.h"
#include "shared.h"

/* clang-format off */
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
/* clang-format on */

const zm_pattern *zm_pattern_of(int type)
{
    return type >= 0 && type < ZM_SOCKET_TYPES ? patterns[type] : NULL;
}
