/* PUB and XPUB: who wants a message, found by its first frame, and the subscription messages that
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
    zm_subscriptions_free(s->subscriptions);
    zm_subscriptions_free(s->manual_subscriptions);
    return -ENOMEM;
}

static void closed(zm_socket *s)
{
    zm_frames_fini(&s->pending);
    zm_free(s->pending_peers);
    zm_free(s->matches);
    zm_subscriptions_free(s->subscriptions);
    zm_subscriptions_free(s->manual_subscriptions);
}

/* --- subscription messages for the application ----------------------------------------------- */

/* pending_peers[pending_first + i] belongs to the i-th pending message. */
static int remember_peer(zm_socket *s, zm_peer *peer)
{
    uint32_t i = s->pending_first + s->pending.count - 1;
    if (i >= s->pending_peer_capacity) {
        /* Mostly read: the rest moves to the front. Else more room. */
        uint32_t capacity = s->pending_peer_capacity ? s->pending_peer_capacity : 16;
        if (s->pending_first < capacity / 2)
            capacity *= 2;
        zm_peer **peers = zm_alloc(capacity * sizeof *peers);
        if (!peers)
            return -ENOMEM;
        if (s->pending.count > 1)
            memcpy(peers, s->pending_peers + s->pending_first,
                   (s->pending.count - 1) * sizeof *peers);
        zm_free(s->pending_peers);
        s->pending_peers = peers;
        s->pending_peer_capacity = capacity;
        s->pending_first = 0;
        i = s->pending.count - 1;
    }
    s->pending_peers[i] = peer;
    return 0;
}

/* Queues one frame for the application; `mark` (-1: none) goes in front of the data. 0, or
 * -EMSGSIZE: the peer has as many there as it may. */
static int queue_pending(zm_socket *s, zm_peer *peer, int mark, const uint8_t *data, size_t size,
                       bool more)
{
    size_t marks = mark >= 0;
    if (peer && peer->conn && peer->pending >= (uint64_t) peer->conn->limits.pending)
        return -EMSGSIZE;
    zm_block *text = zm_block_new(size + marks);
    if (!text)
        return 0;
    if (marks)
        text->data[0] = (uint8_t) mark;
    memcpy(text->data + marks, data, size);
    zm_frame frame = {text->data, text->size, text, more ? ZM_MORE : 0};
    if (zm_frames_push(&s->pending, frame) < 0) {
        zm_block_unref(text);
        return 0;
    }
    if (remember_peer(s, peer) < 0) {
        zm_frames_drop_newest(&s->pending, 1);
        return 0;
    }
    if (peer)
        peer->pending++;
    zm_socket_notify_locked(s);
    return 0;
}

static int tell(zm_socket *s, zm_peer *peer, bool subscribe, const uint8_t *topic, size_t size)
{
    if (s->type != ZM_XPUB || s->closing)
        return 0;
    return queue_pending(s, peer, subscribe, topic, size, false);
}

/* --- subscriptions --------------------------------------------------------------------------- */

static bool manual(const zm_socket *s)
{
    return s->options.xpub_manual || s->options.xpub_manual_last_value;
}

/* As zm_subscriptions_add(); -EMSGSIZE: the peer has as many as it may. */
static int add(zm_subscription_index *index, zm_peer *peer, const uint8_t *topic, size_t size)
{
    const zm_limits *limits = peer->conn ? &peer->conn->limits : NULL;
    if (limits
        && (peer->subscriptions >= (uint64_t) limits->subscriptions
            || peer->topic_bytes + size > (uint64_t) limits->topics)
        && !zm_subscriptions_has(index, topic, size, peer->index))
        return -EMSGSIZE;
    int rc = zm_subscriptions_add(index, topic, size, peer->index);
    if (rc >= 0) {
        peer->subscriptions++;
        peer->topic_bytes += size;
    }
    return rc;
}

/* As zm_subscriptions_remove(). */
static int take_out(zm_subscription_index *index, zm_peer *peer, const uint8_t *topic, size_t size)
{
    int rc = zm_subscriptions_remove(index, topic, size, peer->index);
    /* An application that was in manual mode may have subscribed in the peer's name. */
    if (rc >= 0 && peer->subscriptions && peer->topic_bytes >= size) {
        peer->subscriptions--;
        peer->topic_bytes -= size;
    }
    return rc;
}

int zm_xpub_subscription_locked(zm_peer *peer, bool subscribe, const uint8_t *topic, size_t size)
{
    zm_socket *s = peer->socket;
    const zm_options *o = &s->options;
    if (peer->conn)
        zm_conn_settled_locked(peer->conn);
    /* Manual: the application decides; what the peer asked for is kept for the day it goes. */
    zm_subscription_index *index = manual(s) ? s->manual_subscriptions : s->subscriptions;
    int rc = subscribe ? add(index, peer, topic, size) : take_out(index, peer, topic, size);
    if (rc == -EMSGSIZE)
        return rc;
    bool told = manual(s) || rc == 1
                || (subscribe ? o->xpub_verbose || o->xpub_verboser : rc == 0 && o->xpub_verboser);
    return told ? tell(s, peer, subscribe, topic, size) : 0;
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
        tell(d->s, NULL, false, topic, size);
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
    for (uint32_t i = 0; i < s->pending.count && peer->pending; i++)
        if (s->pending_peers[s->pending_first + i] == peer) {
            s->pending_peers[s->pending_first + i] = NULL;
            peer->pending--;
        }
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

/* Is the reader of these so far behind that user messages have to wait where they are? */
static bool pending_full(const zm_socket *s)
{
    return s->options.rcvhwm > 0
           && s->pending.count >= (uint64_t) s->options.rcvhwm + s->pending_let_in;
}

/* A frame from a subscriber: bytes 1 and 0 in front mean a subscription, as peers before ZMTP 3.1
 * send them (S-78); the rest is for an XPUB's application. */
static int take_frame(zm_peer *peer, const uint8_t *data, size_t size, bool more)
{
    zm_socket *s = peer->socket;
    bool first = !peer->inside_arriving;
    peer->inside_arriving = more;
    bool subscription = size && data[0] <= 1;
    if (first)
        peer->user_message = !subscription && s->options.only_first_subscribe;
    if (subscription && !peer->user_message)
        return zm_xpub_subscription_locked(peer, data[0], data + 1, size - 1);
    return s->type == ZM_XPUB ? queue_pending(s, peer, -1, data, size, more) : 0;
}

/* The parts of an XPUB's message wait in the peer's queue until all are there: parts of others may
 * come in between, and the rest may never come. A PUB keeps nothing of them. */
static int arrived(zm_peer *peer, zm_event *event)
{
    zm_socket *s = peer->socket;
    if (s->type == ZM_XPUB && (event->more || peer->in_staged))
        return peer->pending + peer->in_staged < (uint64_t) peer->conn->limits.pending ? 1
                                                                                       : -EMSGSIZE;
    int rc = take_frame(peer, event->data, event->size, event->more);
    if (rc == 0 && !event->more && pending_full(s))
        peer->conn->stopped = s->pending_blocked = true;
    return rc;
}

/* A whole message of many parts is there. inproc: what is in the link takes effect at once,
 * subscriptions always, the rest while the pending messages have room. */
static void readable(zm_peer *peer)
{
    zm_socket *s = peer->socket;
    while (zm_peer_can_read(peer)) {
        unsigned flags = zm_frames_at(&peer->in, 0)->flags;
        bool marked = flags & (ZM_SUBSCRIBE_FRAME | ZM_CANCEL_FRAME);
        if (peer->inproc && !marked && !peer->reading && pending_full(s)) {
            s->pending_blocked = true;
            return;
        }
        zm_frame frame = zm_peer_read(peer);
        /* A subscription too many, as a part of a message, is just not taken. */
        if (marked)
            zm_xpub_subscription_locked(peer, flags & ZM_SUBSCRIBE_FRAME, frame.data, frame.size);
        else
            take_frame(peer, frame.data, frame.size, flags & ZM_MORE);
        if (frame.block)
            zm_block_unref(frame.block);
    }
}

/* The application has caught up: whoever waited goes on. */
static void unblock(zm_socket *s)
{
    s->pending_blocked = false;
    ZM_LIST_EACH (node, &s->peers) {
        zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
        if (peer->inproc && peer->attached)
            readable(peer);
        else if (peer->conn && peer->conn->stopped)
            zm_conn_wants_recv_locked(peer->conn);
    }
}

/* --- publishing ------------------------------------------------------------------------------ */

/* Behind user messages that wait there may be subscriptions: who publishes and never reads lets as
 * many in with each message as RCVHWM holds (libzmq: the same). */
static void let_in(zm_socket *s)
{
    s->pending_let_in = s->pending.count;
    unblock(s);
}

static void matched(void *context, uint32_t index)
{
    zm_socket *s = context;
    zm_peer *peer = s->peer_table[index].peer;
    if (s->match_count < s->match_capacity)
        s->matches[s->match_count++] = peer;
    peer->matched = true;
}

/* *out_most: messages in the longest queue of a match, over a connection. */
static int find_matches(zm_socket *s, const zm_outgoing *m, uint32_t *out_most)
{
    ZM_POISON(out_most);
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
    }
    uint32_t most = 0;
    for (uint32_t i = 0; i < s->match_count; i++) {
        zm_peer *peer = s->matches[i];
        peer->matched = false;
        most = peer->out.count > most ? peer->out.count : most;
    }
    *out_most = most;
    if (s->options.xpub_manual_last_value) {
        bool wanted = false;
        for (uint32_t i = 0; i < s->match_count; i++)
            wanted |= s->matches[i] == s->last_subscriber;
        if (s->last_subscriber) {
            s->match_count = wanted;
            s->matches[0] = s->last_subscriber;
        }
    }
    return 0;
}

/* Before anybody gets the message: is there room for it? 0; ZM_LATER: there may be soon; -EAGAIN:
 * XPUB_NODROP sends to all or to none (S-11). */
static int find_room(zm_socket *s)
{
    bool nodrop = s->options.xpub_nodrop, later = false;
    for (uint32_t i = 0; i < s->match_count; i++) {
        if (ZM_LIKELY(!nodrop && !zm_peer_is_crowded(s->matches[i])))
            continue;
        int room = zm_peer_find_room_locked(s->matches[i]);
        if (room == -EAGAIN && nodrop)
            return -EAGAIN;
        later |= room == ZM_LATER;
    }
    return later ? ZM_LATER : 0;
}

static int pub_send(zm_socket *s, const zm_outgoing *m)
{
    if (!s->publishing) {
        if (ZM_UNLIKELY(s->pending_blocked))
            let_in(s);
        bool burst = s->burst;
        if (!burst)
            zm_drive_peek_locked(s); /* who has subscribed by now gets this message, too */
        if (ZM_UNLIKELY(s->newcomers) && zm_drive_may_let_in_locked(s))
            return ZM_LATER;
        uint32_t most;
        int rc = find_matches(s, m, &most);
        if (rc == 0 && burst && !s->match_count) {
            zm_drive_peek_locked(s);
            rc = find_matches(s, m, &most);
        }
        if (rc == 0 && (s->options.xpub_nodrop || ZM_UNLIKELY(zm_are_many(s, most))))
            rc = find_room(s);
        if (rc < 0)
            return rc;
        if (ZM_UNLIKELY(s->options.xpub_manual_last_value))
            s->last_subscriber = NULL; /* has it, and is one of all again */
    }
    for (uint32_t i = 0; i < s->match_count;) {
        if (zm_peer_offer(s->matches[i], m->data, m->size, m->block, m->more) == 0) {
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

/* --- reading --------------------------------------------------------------------------------- */

static int xpub_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer)
{
    if (!s->pending.count)
        return zm_recv_nothing(-EAGAIN, out_frame, out_peer);
    *out_frame = zm_frames_take(&s->pending);
    *out_peer = s->last_subscriber = s->pending_peers[s->pending_first++];
    if (*out_peer)
        (*out_peer)->pending--;
    if (!s->pending.count)
        s->pending_first = 0;
    if (s->pending.count <= (uint32_t) s->options.rcvhwm / 2) {
        s->pending_let_in = 0;
        if (s->pending_blocked)
            unblock(s);
    }
    return 0;
}

static bool xpub_can_recv(zm_socket *s)
{
    return s->pending.count > 0;
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
