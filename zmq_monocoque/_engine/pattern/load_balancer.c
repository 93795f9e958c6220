/* The load balancer: a message goes to the next peer with room (libzmq: lb). */
#include <errno.h>

#include "../base/check.h"
#include "../base/list.h"
#include "../pipe/peer.h"
#include "../route/turn.h"
#include "../socket/pattern.h"
#include "../socket/socket.h"
#include "shared.h"

#define PEER_OF(node) ZM_CONTAINER(node, zm_peer, turn_out)

int zm_balance_send_locked(zm_socket *s, const zm_outgoing *m, zm_peer **out_peer)
{
    if (ZM_UNLIKELY(s->dropping)) {
        /* The peer went in the middle of this message: the rest of it goes nowhere (S-51). */
        s->dropping = m->more;
        s->stats.messages_dropped += !m->more;
        return 0;
    }
    for (;;) {
        zm_list *first = zm_turn_first(&s->writers);
        zm_peer *peer = s->sending_to ? s->sending_to : first ? PEER_OF(first) : NULL;
        if (!peer)
            return -EAGAIN;
        int rc = zm_peer_write_locked(peer, m->data, m->size, m->block, m->more);
        if (ZM_LIKELY(rc == 0)) {
            if (!m->more && zm_list_linked(&peer->turn_out))
                zm_turn_pass(&s->writers, &peer->turn_out);
            s->sending_to = m->more ? peer : NULL;
            if (out_peer)
                *out_peer = peer;
            return 0;
        }
        if (s->sending_to) {
            s->sending_to = NULL;
            /* With -ENOMEM the caller knows that the message is lost, and sends no more of it. */
            s->dropping = m->more && rc != -ENOMEM;
            s->stats.messages_dropped += !m->more && rc != -ENOMEM;
            return rc == -ENOMEM ? rc : 0;
        }
        if (rc == -ENOMEM)
            return rc;
        zm_turn_leave(&peer->turn_out); /* full: joins again when there is room */
    }
}

int zm_balance_send_only_locked(zm_socket *s, const zm_outgoing *m)
{
    return zm_balance_send_locked(s, m, NULL);
}

bool zm_balance_can_send_locked(zm_socket *s)
{
    zm_list *first;
    if (s->sending_to || s->dropping)
        return true;
    while ((first = zm_turn_first(&s->writers))) {
        if (zm_peer_can_write_locked(PEER_OF(first)))
            return true;
        zm_turn_leave(first);
    }
    return false;
}

void zm_balance_writable_locked(zm_peer *peer)
{
    if (!peer->ignored && !zm_peer_is_ended_locked(peer))
        zm_turn_join(&peer->socket->writers, &peer->turn_out);
}

void zm_balance_attached_locked(zm_peer *peer)
{
    zm_probe_locked(peer);
    zm_balance_writable_locked(peer);
}

void zm_probe_locked(zm_peer *peer)
{
    if (peer->socket->options.probe_router)
        zm_peer_write_locked(peer, "", 0, NULL, false);
}
