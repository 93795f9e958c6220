/* The fair queue: a message comes from the next peer that has one (libzmq: fq). */
#include <errno.h>

#include "../base/check.h"
#include "../base/list.h"
#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "../route/turn.h"
#include "../socket/socket.h"
#include "../socket/wakeup.h"
#include "shared.h"

#define PEER_OF(node) ZM_CONTAINER(node, zm_peer, turn_in)

int zm_fair_recv_locked(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer)
{
    for (;;) {
        zm_list *first = zm_turn_first(&s->readers);
        zm_peer *peer = s->receiving_from ? s->receiving_from : first ? PEER_OF(first) : NULL;
        if (!peer)
            return zm_recv_nothing(-EAGAIN, out_frame, out_peer);
        if (ZM_UNLIKELY(!zm_peer_can_read_locked(peer))) {
            zm_turn_leave(&peer->turn_in);
            s->receiving_from = NULL;
            continue;
        }
        zm_peer_read_locked(peer, out_frame);
        *out_peer = peer;
        if (out_frame->flags & ZM_MORE) {
            s->receiving_from = peer;
            return 0;
        }
        s->receiving_from = NULL;
        if (peer->in_messages)
            zm_turn_pass(&s->readers, &peer->turn_in);
        else
            zm_turn_leave(&peer->turn_in);
        return 0;
    }
}

bool zm_fair_can_recv_locked(zm_socket *s)
{
    zm_list *first;
    if (s->receiving_from)
        return true;
    while ((first = zm_turn_first(&s->readers))) {
        if (zm_peer_can_read_locked(PEER_OF(first)))
            return true;
        zm_turn_leave(first);
    }
    return false;
}

int zm_fair_nothing_left_locked(zm_socket *s, bool dropped)
{
    if (dropped && !zm_list_empty(&s->wants_recv))
        zm_socket_look_again_locked(s);
    return -EAGAIN;
}

void zm_fair_readable(zm_peer *peer)
{
    if (!peer->ignored)
        zm_turn_join(&peer->socket->readers, &peer->turn_in);
}

void zm_fair_drop_rest_locked(zm_socket *s, zm_frame *frame)
{
    zm_peer *peer;
    while (frame->flags & ZM_MORE) {
        zm_frame_drop(frame);
        if (zm_fair_recv_locked(s, frame, &peer) < 0)
            return;
    }
    zm_frame_drop(frame);
}
