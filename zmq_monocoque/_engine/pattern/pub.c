/* PUB and XPUB: who wants a message, found by its first frame, and the subscription messages that
 * an XPUB's application reads. */
#include <errno.h>
#include <string.h>

#include "../api.h"
#include "../base/alloc.h"
#include "../base/block.h"
#include "../base/check.h"
#include "../base/list.h"
#include "../connection/connection.h"
#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "../route/subscription_index.h"
#include "../socket/drive.h"
#include "../socket/option_rows.h"
#include "../socket/options.h"
#include "../socket/pattern.h"
#include "../socket/socket.h"
#include "../socket/transfer.h"
#include "../socket/wakeup.h"
#include "../zmtp/session.h"
#include "dist.h"
#include "shared.h"

typedef struct publisher {
    zm_subscription_index *subscriptions;
    zm_subscription_index *manual_subscriptions; /* XPUB_MANUAL: what peers asked for */
    zm_dist to;
    zm_frames pending; /* XPUB: subscription messages for the application */
    zm_peer **pending_peers; /* beside `pending`: whose they are; NULL: of a peer that is gone */
    uint32_t pending_peer_capacity, pending_first;
    uint32_t pending_let_in;  /* beyond RCVHWM, since something was sent */
    bool pending_blocked;     /* user messages wait until these are read, or something is sent */
    zm_peer *last_subscriber; /* XPUB_MANUAL: whose message was read last */
} publisher;

/* What is kept of a peer. */
typedef struct subscriber {
    uint64_t subscriptions, topic_bytes; /* what it has asked for */
    uint64_t pending;                    /* its own, among publisher.pending */
    bool inside_arriving, user_message; /* of the multipart message that arrives */
    bool matched;                       /* INVERT_MATCHING: does not get this message */
} subscriber;

static subscriber *subscriber_of(const zm_peer *peer)
{
    return zm_peer_state(peer);
}

static int opened(zm_socket *s)
{
    publisher *own = s->state;
    own->subscriptions = zm_subscriptions_new();
    own->manual_subscriptions = zm_subscriptions_new();
    if (own->subscriptions && own->manual_subscriptions)
        return 0;
    zm_subscriptions_free(own->subscriptions);
    zm_subscriptions_free(own->manual_subscriptions);
    return -ENOMEM;
}

static void closed(zm_socket *s)
{
    publisher *own = s->state;
    zm_frames_fini(&own->pending);
    zm_free(own->pending_peers);
    zm_dist_fini(&own->to);
    zm_subscriptions_free(own->subscriptions);
    zm_subscriptions_free(own->manual_subscriptions);
}

/* --- subscription messages for the application ----------------------------------------------- */

/* pending_peers[pending_first + i] belongs to the i-th pending message. */
static int remember_peer(publisher *own, zm_peer *peer)
{
    uint32_t i = own->pending_first + own->pending.count - 1;
    if (i >= own->pending_peer_capacity) {
        /* Mostly read: the rest moves to the front. Else more room. */
        uint32_t capacity = own->pending_peer_capacity ? own->pending_peer_capacity : 16;
        if (own->pending_first < capacity / 2)
            capacity *= 2;
        zm_peer **peers = zm_alloc(capacity * sizeof *peers);
        if (!peers)
            return -ENOMEM;
        uint32_t kept = own->pending.count - 1;
        if (kept)
            memcpy(peers, own->pending_peers + own->pending_first, kept * sizeof *peers);
        zm_free(own->pending_peers);
        own->pending_peers = peers;
        own->pending_peer_capacity = capacity;
        own->pending_first = 0;
        i = kept;
    }
    own->pending_peers[i] = peer;
    return 0;
}

/* Queues one frame for the application; `mark` (-1: none) goes in front of the data. 0, or
 * -EMSGSIZE: the peer has as many there as it may. */
static int queue_pending(zm_socket *s, zm_peer *peer, int mark, const uint8_t *data, size_t size,
                         bool more) ZM_LOCKED
{
    publisher *own = s->state;
    subscriber *from = peer ? subscriber_of(peer) : NULL;
    size_t marks = mark >= 0;
    if (peer && peer->conn && from->pending >= (uint64_t) peer->conn->limits.pending)
        return -EMSGSIZE;
    zm_block *text = zm_block_new(size + marks);
    if (!text)
        return 0;
    if (marks)
        text->data[0] = (uint8_t) mark;
    memcpy(text->data + marks, data, size);
    zm_frame frame = {text->data, text->size, text, more ? ZM_MORE : 0};
    if (zm_frames_push(&own->pending, frame) < 0) {
        zm_block_unref(text);
        return 0;
    }
    if (remember_peer(own, peer) < 0) {
        zm_frames_drop_newest(&own->pending, 1);
        return 0;
    }
    if (from)
        from->pending++;
    zm_socket_notify_locked(s);
    return 0;
}

static int tell(zm_socket *s, zm_peer *peer, bool subscribe, const uint8_t *topic,
                size_t size) ZM_LOCKED
{
    if (s->type != ZM_XPUB || s->closing)
        return 0;
    return queue_pending(s, peer, subscribe, topic, size, false);
}

/* --- subscriptions --------------------------------------------------------------------------- */

static bool manual(const zm_socket *s) ZM_LOCKED
{
    return s->options.xpub_manual || s->options.xpub_manual_last_value;
}

/* As zm_subscriptions_add(); -EMSGSIZE: the peer has as many as it may. */
static int add(zm_subscription_index *index, zm_peer *peer, const uint8_t *topic,
               size_t size) ZM_LOCKED
{
    subscriber *from = subscriber_of(peer);
    const zm_limits *limits = peer->conn ? &peer->conn->limits : NULL;
    if (limits
        && (from->subscriptions >= (uint64_t) limits->subscriptions
            || from->topic_bytes + size > (uint64_t) limits->topics)
        && !zm_subscriptions_has(index, topic, size, peer->index))
        return -EMSGSIZE;
    int rc = zm_subscriptions_add(index, topic, size, peer->index);
    if (rc >= 0) {
        from->subscriptions++;
        from->topic_bytes += size;
    }
    return rc;
}

/* As zm_subscriptions_remove(). */
static int take_out(zm_subscription_index *index, zm_peer *peer, const uint8_t *topic, size_t size)
{
    subscriber *from = subscriber_of(peer);
    int rc = zm_subscriptions_remove(index, topic, size, peer->index);
    /* An application that was in manual mode may have subscribed in the peer's name. */
    if (rc >= 0 && from->subscriptions && from->topic_bytes >= size) {
        from->subscriptions--;
        from->topic_bytes -= size;
    }
    return rc;
}

static int subscription(zm_peer *peer, bool subscribe, const uint8_t *topic, size_t size) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    publisher *own = s->state;
    const zm_options *o = &s->options;
    if (peer->conn)
        zm_conn_settled_locked(peer->conn);
    /* Manual: the application decides. What the peer asked for is kept, to be told when it
     * leaves. */
    zm_subscription_index *index = manual(s) ? own->manual_subscriptions : own->subscriptions;
    int rc = subscribe ? add(index, peer, topic, size) : take_out(index, peer, topic, size);
    if (rc == -EMSGSIZE)
        return rc;
    /* Also of the end of what the peer never had, as libzmq. */
    bool told = manual(s) || rc == 1
                || (subscribe ? o->xpub_verbose || o->xpub_verboser : rc < 0 || o->xpub_verboser);
    return told ? tell(s, peer, subscribe, topic, size) : 0;
}

static int set_option(zm_socket *s, int option, const void *value, size_t size)
{
    publisher *own = s->state;
    zm_peer *peer = own->last_subscriber;
    if (option != SUBSCRIBE && option != UNSUBSCRIBE)
        return -EINVAL;
    if (!peer)
        return 0; /* it is gone: nothing to do (S-81) */
    if (option == SUBSCRIBE) {
        int rc = zm_subscriptions_add(own->subscriptions, value, size, peer->index);
        return rc == -ENOMEM ? rc : 0;
    }
    zm_subscriptions_remove(own->subscriptions, value, size, peer->index);
    return 0;
}

typedef struct departure {
    zm_socket *s;
    bool verboser, tell;
} departure;

static void topic_left(void *context, const uint8_t *topic, size_t size, bool last) ZM_LOCKED
{
    departure *d = context;
    if (d->tell && (last || d->verboser))
        tell(d->s, NULL, false, topic, size);
}

static void detached(zm_peer *peer) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    publisher *own = s->state;
    subscriber *from = subscriber_of(peer);
    departure d = {s, s->options.xpub_verboser, !manual(s)};
    zm_subscriptions_remove_peer(own->subscriptions, peer->index, topic_left, &d);
    d.tell = d.verboser = manual(s);
    zm_subscriptions_remove_peer(own->manual_subscriptions, peer->index, topic_left, &d);
    if (own->last_subscriber == peer)
        own->last_subscriber = NULL;
    for (uint32_t i = 0; i < own->pending.count && from->pending; i++)
        if (own->pending_peers[own->pending_first + i] == peer) {
            own->pending_peers[own->pending_first + i] = NULL;
            from->pending--;
        }
    zm_dist_forget(&own->to, peer);
}

static void attached(zm_peer *peer) ZM_LOCKED
{
    const zm_options *o = &peer->socket->options;
    if (o->has_welcome)
        zm_peer_write_locked(peer, o->xpub_welcome.data, o->xpub_welcome.size, NULL, false);
}

/* Is the application so far behind that further user messages have to wait in their queues? */
static bool pending_full(const zm_socket *s) ZM_LOCKED
{
    const publisher *own = s->state;
    return s->options.rcvhwm > 0
           && own->pending.count >= (uint64_t) s->options.rcvhwm + own->pending_let_in;
}

/* A frame from a subscriber: bytes 1 and 0 in front mean a subscription, as peers before ZMTP 3.1
 * send them (S-78); the rest is for an XPUB's application. */
static int take_frame(zm_peer *peer, const uint8_t *data, size_t size, bool more) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    subscriber *from = subscriber_of(peer);
    bool first = !from->inside_arriving;
    from->inside_arriving = more;
    bool subscribes = size && data[0] <= 1;
    if (first)
        from->user_message = !subscribes && s->options.only_first_subscribe;
    if (subscribes && !from->user_message)
        return subscription(peer, data[0], data + 1, size - 1);
    return s->type == ZM_XPUB ? queue_pending(s, peer, -1, data, size, more) : 0;
}

/* The parts of an XPUB's message wait in the peer's queue until all are there: parts of others may
 * come in between, and the rest may never come. A PUB keeps nothing of them. */
static int arrived(zm_peer *peer, zm_event *event) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    publisher *own = s->state;
    if (s->type == ZM_XPUB && (event->more || peer->in_staged)) {
        uint64_t pending = subscriber_of(peer)->pending + peer->in_staged;
        return pending < (uint64_t) peer->conn->limits.pending ? 1 : -EMSGSIZE;
    }
    int rc = take_frame(peer, event->data, event->size, event->more);
    if (rc == 0 && !event->more && pending_full(s))
        peer->conn->stopped = own->pending_blocked = true;
    return rc;
}

/* A whole message of many parts is there. inproc: what is in the link takes effect at once,
 * subscriptions always, the rest while the pending messages have room. */
static void readable(zm_peer *peer) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    publisher *own = s->state;
    while (zm_peer_can_read_locked(peer)) {
        unsigned flags = zm_frames_at(&peer->in, 0)->flags;
        bool marked = flags & (ZM_SUBSCRIBE_FRAME | ZM_CANCEL_FRAME);
        if (peer->inproc && !marked && !peer->reading && pending_full(s)) {
            own->pending_blocked = true;
            return;
        }
        zm_frame frame;
        zm_peer_read_locked(peer, &frame);
        /* A subscription too many, as a part of a message, is just not taken. */
        if (marked)
            subscription(peer, flags & ZM_SUBSCRIBE_FRAME, frame.data, frame.size);
        else
            take_frame(peer, frame.data, frame.size, flags & ZM_MORE);
        zm_frame_drop(&frame);
    }
}

static void disconnected(zm_peer *peer)
{
    subscriber_of(peer)->inside_arriving = false;
}

/* The application has caught up: peers whose messages waited go on. */
static void unblock(zm_socket *s) ZM_LOCKED
{
    publisher *own = s->state;
    own->pending_blocked = false;
    ZM_LIST_EACH (node, &s->peers) {
        zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
        if (peer->inproc && zm_peer_is_attached_locked(peer))
            readable(peer);
        else if (peer->conn && peer->conn->stopped)
            zm_conn_wants_recv_locked(peer->conn);
    }
}

/* --- publishing ------------------------------------------------------------------------------ */

/* Behind user messages that wait there may be subscriptions. With each message that an application
 * publishes without reading, as many are let in as RCVHWM holds (libzmq: the same). */
static void let_in(zm_socket *s) ZM_LOCKED
{
    publisher *own = s->state;
    own->pending_let_in = own->pending.count;
    unblock(s);
}

static void wants(void *context, uint32_t index) ZM_LOCKED
{
    zm_socket *s = context;
    publisher *own = s->state;
    zm_dist_add(&own->to, s->peer_table[index].peer);
}

static void wants_not(void *context, uint32_t index) ZM_LOCKED
{
    zm_socket *s = context;
    subscriber_of(s->peer_table[index].peer)->matched = true;
}

/* INVERT_MATCHING: all but those with a subscription that matches. */
static void find_others(zm_socket *s, const zm_outgoing *m) ZM_LOCKED
{
    publisher *own = s->state;
    zm_subscriptions_match(own->subscriptions, m->data, m->size, wants_not, s);
    ZM_LIST_EACH (node, &s->peers) {
        zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
        if (!subscriber_of(peer)->matched && peer->state == ZM_PIPE_ATTACHED)
            zm_dist_add(&own->to, peer);
        subscriber_of(peer)->matched = false;
    }
}

/* *out_most: messages in the longest queue of a match, over a connection. */
static int find_matches(zm_socket *s, const zm_outgoing *m, uint32_t *out_most) ZM_LOCKED
{
    publisher *own = s->state;
    zm_dist *to = &own->to;
    ZM_POISON(out_most);
    int rc = zm_dist_begin_locked(to, s);
    if (rc < 0)
        return rc;
    if (ZM_LIKELY(!s->options.invert_matching))
        zm_subscriptions_match(own->subscriptions, m->data, m->size, wants, s);
    else
        find_others(s, m);
    uint32_t most = 0;
    for (uint32_t i = 0; i < to->count; i++)
        most = to->peers[i]->out.count > most ? to->peers[i]->out.count : most;
    *out_most = most;
    if (s->options.xpub_manual_last_value && own->last_subscriber) {
        bool wanted = false;
        for (uint32_t i = 0; i < to->count; i++)
            wanted |= to->peers[i] == own->last_subscriber;
        to->count = 0;
        if (wanted)
            zm_dist_add(to, own->last_subscriber);
    }
    return 0;
}

static int pub_send(zm_socket *s, const zm_outgoing *m) ZM_LOCKED
{
    publisher *own = s->state;
    if (!own->to.sending) {
        if (ZM_UNLIKELY(own->pending_blocked))
            let_in(s);
        bool burst = s->burst.on;
        if (!burst)
            zm_drive_peek_locked(s); /* peers that have subscribed by now get this message, too */
        if (ZM_UNLIKELY(s->newcomers) && zm_drive_may_let_in_locked(s))
            return ZM_LATER;
        uint32_t most;
        int rc = find_matches(s, m, &most);
        if (rc == 0 && burst && !own->to.count) {
            zm_drive_peek_locked(s);
            rc = find_matches(s, m, &most);
        }
        if (rc < 0)
            return rc;
        if (ZM_UNLIKELY(s->options.xpub_manual_last_value))
            own->last_subscriber = NULL; /* one of all again, also if there is no room (S-82) */
        if (s->options.xpub_nodrop || ZM_UNLIKELY(zm_are_many_locked(s, most)))
            rc = zm_dist_find_room_locked(&own->to, s->options.xpub_nodrop);
        if (rc < 0)
            return rc;
    }
    zm_dist_send_locked(&own->to, s, m);
    return 0;
}

/* --- reading --------------------------------------------------------------------------------- */

static int xpub_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer) ZM_LOCKED
{
    publisher *own = s->state;
    if (!own->pending.count)
        return zm_recv_nothing(-EAGAIN, out_frame, out_peer);
    *out_frame = zm_frames_take(&own->pending);
    *out_peer = own->last_subscriber = own->pending_peers[own->pending_first++];
    if (*out_peer)
        subscriber_of(*out_peer)->pending--;
    if (!own->pending.count)
        own->pending_first = 0;
    if (own->pending.count <= (uint32_t) s->options.rcvhwm / 2) {
        own->pending_let_in = 0;
        if (own->pending_blocked)
            unblock(s);
    }
    return 0;
}

static bool xpub_can_recv(zm_socket *s)
{
    const publisher *own = s->state;
    return own->pending.count > 0;
}

static size_t topics(const zm_socket *s)
{
    const publisher *own = s->state;
    return zm_subscriptions_count(own->subscriptions);
}

const zm_pattern zm_pattern_pub = {
    .state_size = sizeof(publisher),
    .peer_size = sizeof(subscriber),
    .never_reads = true,
    .conflates = true,
    .connects_once = true,
    .looks_before_send = true,
    .send = pub_send,
    .recv = zm_no_recv,
    .can_send = zm_always,
    .can_recv = zm_never,
    .attached = attached,
    .detached = detached,
    .readable = readable,
    .writable = zm_forget_nothing,
    .arrived = arrived,
    .subscription = subscription,
    .disconnected = disconnected,
    .opened = opened,
    .closed = closed,
    .set_option = set_option,
    .topics = topics,
};

const zm_pattern zm_pattern_xpub = {
    .state_size = sizeof(publisher),
    .peer_size = sizeof(subscriber),
    .looks_before_send = true,
    .send = pub_send,
    .recv = xpub_recv,
    .can_send = zm_always,
    .can_recv = xpub_can_recv,
    .attached = attached,
    .detached = detached,
    .readable = readable,
    .writable = zm_forget_nothing,
    .arrived = arrived,
    .subscription = subscription,
    .disconnected = disconnected,
    .opened = opened,
    .closed = closed,
    .set_option = set_option,
    .topics = topics,
};
