/* PUB and XPUB: who wants a message, found by its first frame, and the notes on subscriptions that
 * an XPUB's application reads. */
#include "internal.h"

#include <string.h>

enum { SUBSCRIBE = 6, UNSUBSCRIBE = 7 };

static int opened(zm_socket *s)
{
    s->subscriptions = zm_subscriptions_new();
    s->manual_subscriptions = zm_subscriptions_new();
    if (s->subscriptions && s->manual_subscriptions)
        return 0;
    if (s->subscriptions)
        zm_subscriptions_free(s->subscriptions);
    return -ENOMEM;
}

static void closed(zm_socket *s)
{
    zm_frames_fini(&s->notes);
    zm_free(s->note_peers);
    zm_free(s->matches);
    zm_subscriptions_free(s->subscriptions);
    zm_subscriptions_free(s->manual_subscriptions);
}

/* --- notes for the application -------------------------------------------------------------------------- */

/* note_peers[] runs beside the ring of `notes`: whose subscription the note is about. */
static int remember_peer(zm_socket *s, zm_peer *peer)
{
    if (s->notes.count > s->note_peer_capacity) {
        uint32_t capacity = s->note_peer_capacity ? s->note_peer_capacity * 2 : 16;
        zm_peer **peers = zm_realloc(s->note_peers, capacity * sizeof *peers);
        if (!peers)
            return -ENOMEM;
        s->note_peers = peers;
        s->note_peer_capacity = capacity;
    }
    s->note_peers[s->notes.count - 1] = peer;
    return 0;
}

static void note(zm_socket *s, zm_peer *peer, bool subscribe, const uint8_t *topic, size_t size)
{
    if (s->type != ZM_XPUB || s->closing)
        return;
    zm_block *text = zm_block_new(size + 1);
    if (!text)
        return;
    text->data[0] = subscribe;
    memcpy(text->data + 1, topic, size);
    if (zm_frames_push(&s->notes, (zm_frame){text->data, text->size, text, 0}) < 0) {
        zm_block_unref(text);
        return;
    }
    if (remember_peer(s, peer) < 0) {
        zm_frames_drop_newest(&s->notes, 1);
        return;
    }
    zm_socket_ring_locked(s);
}

/* --- subscriptions -------------------------------------------------------------------------------------- */

static bool manual(const zm_socket *s)
{
    return s->options.xpub_manual || s->options.xpub_manual_last_value;
}

void zm_xpub_subscription_locked(zm_peer *peer, bool subscribe, const uint8_t *topic, size_t size)
{
    zm_socket *s = peer->socket;
    const zm_options *o = &s->options;
    if (manual(s)) {
        /* The application decides; what the peer asked for is kept for the day it goes. */
        if (subscribe)
            zm_subscriptions_add(s->manual_subscriptions, topic, size, peer->index);
        else
            zm_subscriptions_remove(s->manual_subscriptions, topic, size, peer->index);
        note(s, peer, subscribe, topic, size);
        return;
    }
    if (subscribe) {
        int rc = zm_subscriptions_add(s->subscriptions, topic, size, peer->index);
        if (rc == 1 || o->xpub_verbose || o->xpub_verboser)
            note(s, peer, true, topic, size);
        return;
    }
    int rc = zm_subscriptions_remove(s->subscriptions, topic, size, peer->index);
    if (rc == 1 || (rc == 0 && o->xpub_verboser))
        note(s, peer, false, topic, size);
}

static int set_option(zm_socket *s, int option, const void *value, size_t size)
{
    zm_peer *peer = s->last_subscriber;
    if (option != SUBSCRIBE && option != UNSUBSCRIBE)
        return -EINVAL;
    if (!peer)
        return 0; /* it is gone: nothing to do (S-81) */
    if (option == SUBSCRIBE) {
        int rc = zm_subscriptions_add(s->subscriptions, value, size, peer->index);
        return rc == -ENOMEM ? rc : 0;
    }
    zm_subscriptions_remove(s->subscriptions, value, size, peer->index);
    return 0;
}

typedef struct departure {
    zm_socket *s;
    bool verboser, tell;
} departure;

static void topic_left(void *context, const uint8_t *topic, size_t size, bool last)
{
    departure *d = context;
    if (d->tell && (last || d->verboser))
        note(d->s, NULL, false, topic, size);
}

static void detached(zm_peer *peer)
{
    zm_socket *s = peer->socket;
    departure d = {s, s->options.xpub_verboser, !manual(s)};
    zm_subscriptions_remove_peer(s->subscriptions, peer->index, topic_left, &d);
    d.tell = d.verboser = manual(s);
    zm_subscriptions_remove_peer(s->manual_subscriptions, peer->index, topic_left, &d);
    if (s->last_subscriber == peer)
        s->last_subscriber = NULL;
    for (uint32_t i = 0; i < s->notes.count; i++)
        if (s->note_peers[i] == peer)
            s->note_peers[i] = NULL;
    for (uint32_t i = 0; i < s->match_count; i++)
        if (s->matches[i] == peer)
            s->matches[i--] = s->matches[--s->match_count];
}

static void attached(zm_peer *peer)
{
    const zm_options *o = &peer->socket->options;
    if (o->has_welcome)
        zm_peer_write(peer, o->xpub_welcome.data, o->xpub_welcome.size, NULL, false);
}

/* A message from a subscriber: bytes 1 and 0 in front mean a subscription, as peers before ZMTP 3.1
 * send them (S-78); the rest is for an XPUB's application. */
static int arrived(zm_peer *peer, zm_event *event)
{
    zm_socket *s = peer->socket;
    bool first = !peer->inside_arriving;
    peer->inside_arriving = event->more;
    if (first)
        peer->user_message = false;
    bool may_subscribe = first || (!s->options.only_first_subscribe && !peer->user_message);
    if (may_subscribe && event->size && event->data[0] <= 1) {
        zm_xpub_subscription_locked(peer, event->data[0], event->data + 1, event->size - 1);
        return 0;
    }
    if (s->options.only_first_subscribe || peer->in_staged)
        peer->user_message = true;
    return s->type == ZM_XPUB;
}

/* inproc: subscriptions come as marked frames between the messages, and take effect at once. */
static void readable(zm_peer *peer)
{
    zm_socket *s = peer->socket;
    while (zm_peer_can_read(peer) && !peer->reading) {
        unsigned flags = zm_frames_at(&peer->in, 0)->flags;
        if (!(flags & (ZM_SUBSCRIBE_FRAME | ZM_CANCEL_FRAME)) && s->type == ZM_XPUB) {
            zm_turn_join(&s->readers, &peer->turn_in);
            return;
        }
        zm_frame frame = zm_peer_read(peer);
        if (flags & (ZM_SUBSCRIBE_FRAME | ZM_CANCEL_FRAME))
            zm_xpub_subscription_locked(peer, flags & ZM_SUBSCRIBE_FRAME, frame.data, frame.size);
        while (peer->reading) {
            if (frame.block)
                zm_block_unref(frame.block);
            frame = zm_peer_read(peer);
        }
        if (frame.block)
            zm_block_unref(frame.block);
    }
}

/* --- publishing ------------------------------------------------------------------------------------------ */

static void matched(void *context, uint32_t index)
{
    zm_socket *s = context;
    zm_peer *peer = s->peer_table[index];
    if (s->match_count < s->match_capacity)
        s->matches[s->match_count++] = peer;
    peer->matched = true;
}

static int find_matches(zm_socket *s, const zm_outgoing *m)
{
    if (s->match_capacity < s->peer_capacity) {
        zm_peer **matches = zm_realloc(s->matches, s->peer_capacity * sizeof *matches);
        if (!matches)
            return -ENOMEM;
        s->matches = matches;
        s->match_capacity = s->peer_capacity;
    }
    s->match_count = 0;
    zm_subscriptions_match(s->subscriptions, m->data, m->size, matched, s);
    if (s->options.invert_matching) {
        s->match_count = 0;
        ZM_LIST_EACH (node, &s->peers) {
            zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
            if (!peer->matched && peer->attached && !peer->ended)
                s->matches[s->match_count++] = peer;
            peer->matched = false;
        }
    } else {
        for (uint32_t i = 0; i < s->match_count; i++)
            s->matches[i]->matched = false;
    }
    if (s->options.xpub_manual_last_value) {
        bool wanted = false;
        for (uint32_t i = 0; i < s->match_count; i++)
            wanted |= s->matches[i] == s->last_subscriber;
        if (s->last_subscriber) {
            s->match_count = wanted;
            s->matches[0] = s->last_subscriber;
            s->last_subscriber = NULL;
        }
    }
    return 0;
}

static int pub_send(zm_socket *s, const zm_outgoing *m)
{
    if (!s->publishing) {
        int rc = find_matches(s, m);
        if (rc < 0)
            return rc;
        if (s->options.xpub_nodrop)
            for (uint32_t i = 0; i < s->match_count; i++)
                if (!zm_peer_can_write(s->matches[i]))
                    return -EAGAIN; /* to all of them or to none (S-11) */
    }
    for (uint32_t i = 0; i < s->match_count;) {
        if (zm_peer_write(s->matches[i], m->data, m->size, m->block, m->more) == 0) {
            i++;
            continue;
        }
        /* At its high-water mark, or gone: it misses this message whole. */
        s->stats.messages_dropped++;
        s->matches[i] = s->matches[--s->match_count];
    }
    s->publishing = m->more;
    return 0;
}

/* --- reading --------------------------------------------------------------------------------------------- */

static int xpub_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer)
{
    if (s->notes.count && !s->receiving_from) {
        *out_frame = zm_frames_take(&s->notes);
        s->last_subscriber = s->note_peers[0];
        memmove(s->note_peers, s->note_peers + 1, s->notes.count * sizeof *s->note_peers);
        *out_peer = s->last_subscriber;
        return 0;
    }
    int rc = zm_fair_recv(s, out_frame, out_peer);
    if (rc == 0 && (*out_peer)->inproc && !(out_frame->flags & ZM_MORE))
        readable(*out_peer);
    return rc;
}

static bool xpub_can_recv(zm_socket *s)
{
    return s->notes.count || zm_fair_can_recv(s);
}

const zm_pattern zm_pattern_pub = {
    .send = pub_send,
    .recv = zm_no_recv,
    .can_send = zm_always,
    .can_recv = zm_never,
    .attached = attached,
    .detached = detached,
    .readable = readable,
    .writable = zm_forget_nothing,
    .arrived = arrived,
    .opened = opened,
    .closed = closed,
    .set_option = set_option,
};

const zm_pattern zm_pattern_xpub = {
    .send = pub_send,
    .recv = xpub_recv,
    .can_send = zm_always,
    .can_recv = xpub_can_recv,
    .attached = attached,
    .detached = detached,
    .readable = readable,
    .writable = zm_forget_nothing,
    .arrived = arrived,
    .opened = opened,
    .closed = closed,
    .set_option = set_option,
};
