/* What patterns do that have no part in something. */
#include "shared.h"

#include <errno.h>

#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "../socket/pattern.h"
#include "../socket/socket.h"

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
