/* PUSH, PULL, DEALER, PAIR, and what the other patterns share: the load balancer (a message to the
 * next peer with room) and the fair queue (a message from the next peer that has one). */
#include "internal.h"

#define PEER_IN(node) ZM_CONTAINER(node, zm_peer, turn_in)
#define PEER_OUT(node) ZM_CONTAINER(node, zm_peer, turn_out)

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

/* --- load balancer --------------------------------------------------------------------------- */

int zm_balance_send(zm_socket *s, const zm_outgoing *m, zm_peer **out_peer)
{
    if (ZM_UNLIKELY(s->dropping)) {
        /* The peer went in the middle of this message: the rest of it goes nowhere (S-51). */
        s->dropping = m->more;
        s->stats.messages_dropped += !m->more;
        return 0;
    }
    for (;;) {
        zm_list *first = zm_turn_first(&s->writers);
        zm_peer *peer = s->sending_to ? s->sending_to : first ? PEER_OUT(first) : NULL;
        if (!peer)
            return -EAGAIN;
        int rc = zm_peer_write(peer, m->data, m->size, m->block, m->more);
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
            /* Who is told that the message is lost has no more parts of it. */
            s->dropping = m->more && rc != -ENOMEM;
            s->stats.messages_dropped += !m->more && rc != -ENOMEM;
            return rc == -ENOMEM ? rc : 0;
        }
        if (rc == -ENOMEM)
            return rc;
        zm_turn_leave(&peer->turn_out); /* full: joins again when there is room */
    }
}

bool zm_balance_can_send(zm_socket *s)
{
    zm_list *first;
    if (s->sending_to || s->dropping)
        return true;
    while ((first = zm_turn_first(&s->writers))) {
        if (zm_peer_can_write(PEER_OUT(first)))
            return true;
        zm_turn_leave(first);
    }
    return false;
}

void zm_balance_writable(zm_peer *peer)
{
    if (!peer->ignored && !peer->ended)
        zm_turn_join(&peer->socket->writers, &peer->turn_out);
}

void zm_balance_attached(zm_peer *peer)
{
    zm_probe(peer);
    zm_balance_writable(peer);
}

void zm_forget_nothing(zm_peer *peer)
{
    (void) peer;
}

void zm_probe(zm_peer *peer)
{
    if (peer->socket->options.probe_router)
        zm_peer_write(peer, "", 0, NULL, false);
}

/* --- fair queue ------------------------------------------------------------------------------ */

int zm_fair_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer)
{
    for (;;) {
        zm_list *first = zm_turn_first(&s->readers);
        zm_peer *peer = s->receiving_from ? s->receiving_from : first ? PEER_IN(first) : NULL;
        if (!peer)
            return zm_recv_nothing(-EAGAIN, out_frame, out_peer);
        if (ZM_UNLIKELY(!zm_peer_can_read(peer))) {
            zm_turn_leave(&peer->turn_in);
            s->receiving_from = NULL;
            continue;
        }
        *out_frame = zm_peer_read(peer);
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

bool zm_fair_can_recv(zm_socket *s)
{
    zm_list *first;
    if (s->receiving_from)
        return true;
    while ((first = zm_turn_first(&s->readers))) {
        if (zm_peer_can_read(PEER_IN(first)))
            return true;
        zm_turn_leave(first);
    }
    return false;
}

void zm_fair_readable(zm_peer *peer)
{
    if (!peer->ignored)
        zm_turn_join(&peer->socket->readers, &peer->turn_in);
}

/* --- the patterns ---------------------------------------------------------------------------- */

static int balanced_send(zm_socket *s, const zm_outgoing *m)
{
    return zm_balance_send(s, m, NULL);
}

const zm_pattern zm_pattern_push = {
    .send = balanced_send,
    .recv = zm_no_recv,
    .can_send = zm_balance_can_send,
    .can_recv = zm_never,
    .attached = zm_balance_attached,
    .detached = zm_forget_nothing,
    .readable = zm_forget_nothing,
    .writable = zm_balance_writable,
};

const zm_pattern zm_pattern_pull = {
    .send = zm_no_send,
    .recv = zm_fair_recv,
    .can_send = zm_never,
    .can_recv = zm_fair_can_recv,
    .attached = zm_forget_nothing,
    .detached = zm_forget_nothing,
    .readable = zm_fair_readable,
    .writable = zm_forget_nothing,
};

const zm_pattern zm_pattern_dealer = {
    .send = balanced_send,
    .recv = zm_fair_recv,
    .can_send = zm_balance_can_send,
    .can_recv = zm_fair_can_recv,
    .attached = zm_balance_attached,
    .detached = zm_forget_nothing,
    .readable = zm_fair_readable,
    .writable = zm_balance_writable,
};

/* PAIR: one peer at a time. A second one completes its handshake and is never served (S-70); one
 * that comes after the first has gone is, also while messages of the first are still unread. */
static void pair_attached(zm_peer *peer)
{
    zm_socket *s = peer->socket;
    if (s->pair && !s->pair->ended) {
        peer->ignored = true;
        return;
    }
    s->pair = peer;
    zm_balance_writable(peer);
}

static void pair_detached(zm_peer *peer)
{
    if (peer->socket->pair == peer)
        peer->socket->pair = NULL;
}

const zm_pattern zm_pattern_pair = {
    .send = balanced_send,
    .recv = zm_fair_recv,
    .can_send = zm_balance_can_send,
    .can_recv = zm_fair_can_recv,
    .attached = pair_attached,
    .detached = pair_detached,
    .readable = zm_fair_readable,
    .writable = zm_balance_writable,
};
