/* SUB and XSUB: the socket's subscriptions, told to every publisher, and again to each that comes
 * back; and, for SUB, the filter on what arrives. */
#include "internal.h"

#include <string.h>

enum {
    SUBSCRIBE = 6,
    UNSUBSCRIBE = 7,
    MISSED_MAX = 1 << 20 /* bytes of changes that are kept for one publisher that is not there */
};

/* Will be connected, and is not. */
static bool is_awaited(const zm_peer *peer)
{
    return !peer->inproc && !(peer->conn && peer->conn->active) && !peer->ended;
}

static void forget_missed(zm_peer *peer)
{
    zm_free(peer->missed);
    peer->missed = NULL;
    peer->missed_size = peer->missed_capacity = 0;
}

static void miss(zm_peer *peer, bool subscribe, const uint8_t *topic, size_t size)
{
    size_t needed = peer->missed_size + 1 + sizeof size + size;
    if (needed > MISSED_MAX)
        peer->missed_much = true;
    if (!peer->missed_much && needed > peer->missed_capacity) {
        uint8_t *more = zm_realloc(peer->missed, needed * 2);
        if (more) {
            peer->missed = more;
            peer->missed_capacity = needed * 2;
        }
        peer->missed_much = !more;
    }
    if (peer->missed_much) {
        forget_missed(peer);
        return;
    }
    uint8_t *to = peer->missed + peer->missed_size;
    *to++ = subscribe;
    memcpy(to, &size, sizeof size);
    memcpy(to + sizeof size, topic, size);
    peer->missed_size = needed;
}

static void miss_one(void *context, const uint8_t *topic, size_t size)
{
    miss(context, true, topic, size);
}

/* Before the subscriptions change: those who are not there are to hear first what they are now. */
static void note_for_awaited(zm_socket *s)
{
    ZM_LIST_EACH (node, &s->peers) {
        zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
        if (is_awaited(peer) && !peer->missed_size && !peer->missed_much)
            zm_subscriptions_each(s->subscriptions, miss_one, peer);
    }
}

static void tell_all(zm_socket *s, bool subscribe, const uint8_t *topic, size_t size)
{
    ZM_LIST_EACH (node, &s->peers) {
        zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
        if (is_awaited(peer))
            miss(peer, subscribe, topic, size);
        else
            zm_peer_subscribe(peer, subscribe, topic, size);
    }
}

static int subscribe(zm_socket *s, const uint8_t *topic, size_t size)
{
    note_for_awaited(s);
    int rc = zm_topic_counts_add(s->subscriptions, topic, size);
    if (rc < 0)
        return rc;
    tell_all(s, true, topic, size);
    return 0;
}

/* An unknown topic is no error, and nothing is sent. */
static void unsubscribe(zm_socket *s, const uint8_t *topic, size_t size)
{
    note_for_awaited(s);
    if (zm_topic_counts_remove(s->subscriptions, topic, size) == 0)
        tell_all(s, false, topic, size);
}

static int set_option(zm_socket *s, int option, const void *value, size_t size)
{
    if (option == SUBSCRIBE)
        return subscribe(s, value, size);
    if (option == UNSUBSCRIBE) {
        unsubscribe(s, value, size);
        return 0;
    }
    return -EINVAL;
}

static void resend_one(void *context, const uint8_t *topic, size_t size)
{
    zm_peer_subscribe(context, true, topic, size);
}

static void resend(zm_peer *peer)
{
    zm_subscriptions_each(peer->socket->subscriptions, resend_one, peer);
}

static void attached(zm_peer *peer)
{
    if (!is_awaited(peer))
        resend(peer);
}

static void connected(zm_peer *peer)
{
    if (peer->inproc) /* what was written to an inproc link is still there */
        return;
    if (!peer->missed_size)
        resend(peer);
    for (size_t at = 0; at < peer->missed_size;) {
        size_t size;
        const uint8_t *entry = peer->missed + at;
        memcpy(&size, entry + 1, sizeof size);
        zm_peer_subscribe(peer, entry[0], entry + 1 + sizeof size, size);
        at += 1 + sizeof size + size;
    }
    forget_missed(peer);
    peer->missed_much = false;
}

static int opened(zm_socket *s)
{
    s->subscriptions = zm_subscriptions_new();
    return s->subscriptions ? 0 : -ENOMEM;
}

static void closed(zm_socket *s)
{
    zm_subscriptions_free(s->subscriptions);
}

/* --- SUB ------------------------------------------------------------------------------------- */

static bool matches(zm_socket *s, const zm_frame *frame)
{
    return zm_subscriptions_any(s->subscriptions, frame->data, frame->size)
           != s->options.invert_matching;
}

/* Finds the next message that is wanted, by its first frame (S-74), and drops those before it. The
 * frame stays in its peer's queue, where its memory is safe, and `receiving_from` names the peer.
 * Once found it stays the next one, whatever is unsubscribed meanwhile. */
static int find_message(zm_socket *s)
{
    zm_frame frame;
    zm_peer *peer;
    for (int steps = 0; !s->found; steps++) {
        if (!zm_fair_can_recv(s))
            return -EAGAIN;
        if (zm_socket_gives_way(s, steps)) {
            zm_socket_wake(s); /* whoever waits looks again */
            return -EAGAIN;
        }
        peer = ZM_CONTAINER(zm_turn_first(&s->readers), zm_peer, turn_in);
        if (matches(s, zm_frames_at(&peer->in, 0))) {
            s->receiving_from = peer;
            s->found = true;
            return 0;
        }
        do {
            if (zm_fair_recv(s, &frame, &peer) < 0)
                break;
            if (frame.block)
                zm_block_unref(frame.block);
        } while (frame.flags & ZM_MORE);
    }
    return 0;
}

static int sub_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer)
{
    if (!s->inside_message) {
        int rc = find_message(s);
        if (rc < 0)
            return zm_recv_nothing(rc, out_frame, out_peer);
        s->found = false;
    }
    int rc = zm_fair_recv(s, out_frame, out_peer);
    s->inside_message = rc == 0 && out_frame->flags & ZM_MORE;
    return rc;
}

static bool sub_can_recv(zm_socket *s)
{
    return s->inside_message || find_message(s) == 0;
}

/* What was found, or the rest of a message that is being read, goes with the peer. */
static void sub_detached(zm_peer *peer)
{
    zm_socket *s = peer->socket;
    if (s->receiving_from == peer)
        s->found = s->inside_message = false;
}

const zm_pattern zm_pattern_sub = {
    .send = zm_no_send,
    .recv = sub_recv,
    .can_send = zm_never,
    .can_recv = sub_can_recv,
    .attached = attached,
    .detached = sub_detached,
    .readable = zm_fair_readable,
    .writable = zm_forget_nothing,
    .connected = connected,
    .opened = opened,
    .closed = closed,
    .set_option = set_option,
};

/* --- XSUB ------------------------------------------------------------------------------------ */

/* One frame to every publisher, whole messages or nothing. */
static void send_to_all(zm_socket *s, const zm_outgoing *m, bool first, bool subscription)
{
    ZM_LIST_EACH (node, &s->peers) {
        zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
        if (!peer->attached || peer->ended || (!first && !peer->writing))
            continue;
        /* A publisher that is not there is told all subscriptions when it is. */
        if (subscription && is_awaited(peer) && !peer->told_ahead)
            continue;
        if (zm_peer_offer(peer, m->data, m->size, m->block, m->more) < 0)
            s->stats.messages_dropped++;
    }
}

/* Before anybody gets the message: 0; ZM_LATER: there may be room soon. */
static int find_room(zm_socket *s)
{
    bool later = false;
    ZM_LIST_EACH (node, &s->peers) {
        zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
        if (peer->attached && ZM_UNLIKELY(zm_peer_is_crowded(peer)))
            later |= zm_peer_find_room_locked(peer) == ZM_LATER;
    }
    return later ? ZM_LATER : 0;
}

/* A frame that starts with 1 or 0 is a subscription or its end; it, and any other, goes to all
 * publishers as it is. */
static int xsub_send(zm_socket *s, const zm_outgoing *m)
{
    const uint8_t *data = m->data;
    bool first = !s->inside_sending;
    bool subscription = m->size && data[0] <= 1;
    if (first && find_room(s) == ZM_LATER)
        return ZM_LATER;
    if (first)
        s->sending_user_message = !subscription && s->options.only_first_subscribe;
    subscription &= !s->sending_user_message;
    bool wanted = true;
    if (subscription && data[0]) {
        int rc = zm_topic_counts_add(s->subscriptions, data + 1, m->size - 1);
        if (rc < 0)
            return rc;
    } else if (subscription) {
        wanted = zm_topic_counts_remove(s->subscriptions, data + 1, m->size - 1) == 0;
    }
    if (wanted)
        send_to_all(s, m, first, subscription);
    s->inside_sending = m->more;
    return 0;
}

static void queue_one(void *context, const uint8_t *topic, size_t size)
{
    zm_peer *peer = context;
    static const uint8_t mark = 1;
    uint8_t *frame = zm_alloc(size + 1);
    if (frame) {
        frame[0] = mark;
        memcpy(frame + 1, topic, size);
        zm_peer_write(peer, frame, size + 1, NULL, false);
    }
    zm_free(frame);
}

/* Until the publisher is there, subscriptions keep their place among the messages in its queue. */
static void xsub_attached(zm_peer *peer)
{
    zm_socket *s = peer->socket;
    int hwm = s->options.sndhwm;
    if (!is_awaited(peer)) {
        resend(peer);
    } else if (!hwm || zm_subscriptions_count(s->subscriptions) < (size_t) hwm / 2) {
        zm_subscriptions_each(s->subscriptions, queue_one, peer);
        peer->told_ahead = true;
    }
}

static void xsub_connected(zm_peer *peer)
{
    if (!peer->told_ahead)
        connected(peer);
    peer->told_ahead = false;
}

const zm_pattern zm_pattern_xsub = {
    .send = xsub_send,
    .recv = zm_fair_recv,
    .can_send = zm_always,
    .can_recv = zm_fair_can_recv,
    .attached = xsub_attached,
    .detached = zm_forget_nothing,
    .readable = zm_fair_readable,
    .writable = zm_forget_nothing,
    .connected = xsub_connected,
    .opened = opened,
    .closed = closed,
};
