/* SUB and XSUB: the socket's subscriptions, told to every publisher, and again to each that comes
 * back; and, for SUB, the filter on what arrives. */
#include <errno.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/list.h"
#include "../connection/connection.h"
#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "../route/subscription_index.h"
#include "../route/turn.h"
#include "../socket/endpoint.h"
#include "../socket/option_rows.h"
#include "../socket/pattern.h"
#include "../socket/socket.h"
#include "../socket/wakeup.h"
#include "dist.h"
#include "shared.h"

enum {
    MISSED_MAX = 1 << 20 /* bytes of changes that are kept for one publisher that is not there */
};

typedef struct subscriber {
    zm_subscription_index *subscriptions; /* counted */
    /* SUB */
    bool found;          /* the next message of `receiving_from` is wanted */
    bool inside_message; /* parts of a message were read, more follow */
    /* XSUB */
    zm_dist to;
    bool sending_user_message;
} subscriber;

/* What is kept of a peer: subscriptions and cancellations while it was not there. It is told all of
 * them, in order. */
typedef struct publisher {
    uint8_t *missed; /* a byte for which of the two, the size, and the topic; owned */
    size_t missed_size, missed_capacity;
    bool missed_much; /* too much to keep: it is told what is subscribed to when it comes */
    bool told_ahead;  /* XSUB: its queue has the subscriptions already */
} publisher;

static publisher *publisher_of(const zm_peer *peer)
{
    return zm_peer_state(peer);
}

/* Will be connected, and is not. */
static bool is_awaited(const zm_peer *peer) ZM_LOCKED
{
    return peer->state == ZM_PIPE_ATTACHED && !peer->inproc
           && !(peer->conn && zm_conn_is_open_locked(peer->conn));
}

static void forget_missed(publisher *awaited)
{
    zm_free(awaited->missed);
    awaited->missed = NULL;
    awaited->missed_size = awaited->missed_capacity = 0;
}

static void miss(publisher *awaited, bool subscribe, const uint8_t *topic, size_t size)
{
    size_t needed = awaited->missed_size + 1 + sizeof size + size;
    if (needed > MISSED_MAX)
        awaited->missed_much = true;
    if (!awaited->missed_much && needed > awaited->missed_capacity) {
        uint8_t *more = zm_realloc(awaited->missed, needed * 2);
        if (more) {
            awaited->missed = more;
            awaited->missed_capacity = needed * 2;
        }
        awaited->missed_much = !more;
    }
    if (awaited->missed_much) {
        forget_missed(awaited);
        return;
    }
    uint8_t *to = awaited->missed + awaited->missed_size;
    *to++ = subscribe;
    memcpy(to, &size, sizeof size);
    memcpy(to + sizeof size, topic, size);
    awaited->missed_size = needed;
}

static void miss_one(void *context, const uint8_t *topic, size_t size)
{
    miss(context, true, topic, size);
}

/* Before the subscriptions change: a publisher that is not there is to hear the present ones
 * first. */
static void note_for_awaited(zm_socket *s) ZM_LOCKED
{
    const subscriber *own = s->state;
    ZM_LIST_EACH (node, &s->peers) {
        zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
        publisher *to = publisher_of(peer);
        if (is_awaited(peer) && !to->missed_size && !to->missed_much)
            zm_subscriptions_each(own->subscriptions, miss_one, to);
    }
}

static void tell_all(zm_socket *s, bool subscribe, const uint8_t *topic, size_t size) ZM_LOCKED
{
    ZM_LIST_EACH (node, &s->peers) {
        zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
        if (is_awaited(peer))
            miss(publisher_of(peer), subscribe, topic, size);
        else
            zm_peer_subscribe_locked(peer, subscribe, topic, size);
    }
}

static int subscribe(zm_socket *s, const uint8_t *topic, size_t size) ZM_LOCKED
{
    subscriber *own = s->state;
    note_for_awaited(s);
    int rc = zm_topic_counts_add(own->subscriptions, topic, size);
    if (rc < 0)
        return rc;
    tell_all(s, true, topic, size);
    return 0;
}

/* An unknown topic is no error, and nothing is sent. */
static void unsubscribe(zm_socket *s, const uint8_t *topic, size_t size) ZM_LOCKED
{
    subscriber *own = s->state;
    note_for_awaited(s);
    if (zm_topic_counts_remove(own->subscriptions, topic, size) == 0)
        tell_all(s, false, topic, size);
}

static int set_option(zm_socket *s, int option, const void *value, size_t size) ZM_LOCKED
{
    if (option == SUBSCRIBE)
        return subscribe(s, value, size);
    if (option == UNSUBSCRIBE) {
        unsubscribe(s, value, size);
        return 0;
    }
    return -EINVAL;
}

static void resend_one(void *context, const uint8_t *topic, size_t size) ZM_LOCKED
{
    zm_peer_subscribe_locked(context, true, topic, size);
}

static void resend(zm_peer *peer)
{
    const subscriber *own = peer->socket->state;
    zm_subscriptions_each(own->subscriptions, resend_one, peer);
}

static void attached(zm_peer *peer) ZM_LOCKED
{
    if (!is_awaited(peer))
        resend(peer);
}

static void connected(zm_peer *peer) ZM_LOCKED
{
    if (peer->inproc) /* what was written to an inproc link is still there */
        return;
    publisher *from = publisher_of(peer);
    if (!from->missed_size)
        resend(peer);
    for (size_t at = 0; at < from->missed_size;) {
        size_t size;
        const uint8_t *entry = from->missed + at;
        memcpy(&size, entry + 1, sizeof size);
        zm_peer_subscribe_locked(peer, entry[0], entry + 1 + sizeof size, size);
        at += 1 + sizeof size + size;
    }
    forget_missed(from);
    from->missed_much = false;
}

static int opened(zm_socket *s)
{
    subscriber *own = s->state;
    own->subscriptions = zm_subscriptions_new();
    return own->subscriptions ? 0 : -ENOMEM;
}

static void closed(zm_socket *s)
{
    subscriber *own = s->state;
    zm_dist_fini(&own->to);
    zm_subscriptions_free(own->subscriptions);
}

static size_t topics(const zm_socket *s)
{
    const subscriber *own = s->state;
    return zm_subscriptions_count(own->subscriptions);
}

/* --- SUB ------------------------------------------------------------------------------------- */

static bool matches(zm_socket *s, const zm_frame *frame) ZM_LOCKED
{
    const subscriber *own = s->state;
    return zm_subscriptions_any(own->subscriptions, frame->data, frame->size)
           != s->options.invert_matching;
}

/* Finds the next message that is wanted, by its first frame (S-74), and drops those before it. The
 * frame stays in its peer's queue, where its memory is safe, and `receiving_from` names the peer.
 * Once found it stays the next one, whatever is unsubscribed meanwhile. */
static int find_message(zm_socket *s) ZM_LOCKED
{
    subscriber *own = s->state;
    zm_frame frame;
    zm_peer *peer;
    for (int steps = 0; !own->found; steps++) {
        if (!zm_fair_can_recv_locked(s))
            return zm_fair_nothing_left_locked(s, steps > 0);
        if (zm_socket_gives_way_locked(s, steps)) {
            zm_socket_look_again_locked(s);
            return -EAGAIN;
        }
        peer = ZM_CONTAINER(zm_turn_first(&s->readers), zm_peer, turn_in);
        if (matches(s, zm_frames_at(&peer->in, 0))) {
            s->receiving_from = peer;
            own->found = true;
            return 0;
        }
        if (zm_fair_recv_locked(s, &frame, &peer) == 0)
            zm_fair_drop_rest_locked(s, &frame);
    }
    return 0;
}

static int sub_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer) ZM_LOCKED
{
    subscriber *own = s->state;
    if (!own->inside_message) {
        int rc = find_message(s);
        if (rc < 0)
            return zm_recv_nothing(rc, out_frame, out_peer);
        own->found = false;
    }
    int rc = zm_fair_recv_locked(s, out_frame, out_peer);
    own->inside_message = rc == 0 && out_frame->flags & ZM_MORE;
    return rc;
}

static bool sub_can_recv(zm_socket *s) ZM_LOCKED
{
    const subscriber *own = s->state;
    return own->inside_message || find_message(s) == 0;
}

/* What was found, or the rest of a message that is being read, goes with the peer. */
static void sub_detached(zm_peer *peer) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    subscriber *own = s->state;
    if (s->receiving_from == peer)
        own->found = own->inside_message = false;
    forget_missed(publisher_of(peer));
}

const zm_pattern zm_pattern_sub = {
    .state_size = sizeof(subscriber),
    .peer_size = sizeof(publisher),
    .conflates = true,
    .connects_once = true,
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
    .topics = topics,
};

/* --- XSUB ------------------------------------------------------------------------------------ */

/* To every publisher that is there. A publisher that is not is told all subscriptions when it
 * comes, and is sent the rest then. */
static int find_publishers(zm_socket *s, bool subscription) ZM_LOCKED
{
    subscriber *own = s->state;
    int rc = zm_dist_begin_locked(&own->to, s);
    if (rc < 0)
        return rc;
    ZM_LIST_EACH (node, &s->peers) {
        zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
        bool told_later = subscription && is_awaited(peer) && !publisher_of(peer)->told_ahead;
        if (peer->state == ZM_PIPE_ATTACHED && !told_later)
            zm_dist_add(&own->to, peer);
    }
    return zm_dist_find_room_locked(&own->to, false);
}

/* A frame that starts with 1 or 0 is a subscription or its end; it, and any other, goes to all
 * publishers as it is. */
static int xsub_send(zm_socket *s, const zm_outgoing *m) ZM_LOCKED
{
    subscriber *own = s->state;
    const uint8_t *data = m->data;
    bool subscription = m->size && data[0] <= 1;
    if (!own->to.sending) {
        own->sending_user_message = !subscription && s->options.only_first_subscribe;
        int rc = find_publishers(s, subscription);
        if (rc < 0)
            return rc;
    }
    subscription &= !own->sending_user_message;
    if (subscription && data[0]) {
        int rc = zm_topic_counts_add(own->subscriptions, data + 1, m->size - 1);
        if (rc < 0)
            return rc;
    } else if (subscription && zm_topic_counts_remove(own->subscriptions, data + 1, m->size - 1)) {
        own->to.sending = m->more;
        return 0;
    }
    zm_dist_send_locked(&own->to, s, m);
    return 0;
}

static void queue_one(void *context, const uint8_t *topic, size_t size) ZM_LOCKED
{
    zm_peer *peer = context;
    static const uint8_t mark = 1;
    uint8_t *frame = zm_alloc(size + 1);
    if (frame) {
        frame[0] = mark;
        memcpy(frame + 1, topic, size);
        zm_peer_write_locked(peer, frame, size + 1, NULL, false);
    }
    zm_free(frame);
}

/* Until the publisher is there, subscriptions keep their place among the messages in its queue. */
static void tell_ahead(zm_peer *peer) ZM_LOCKED
{
    const subscriber *own = peer->socket->state;
    size_t hwm = (size_t) peer->socket->options.sndhwm;
    if (peer->writing
        || (hwm && zm_subscriptions_count(own->subscriptions) + peer->out.count >= hwm / 2))
        return;
    zm_subscriptions_each(own->subscriptions, queue_one, peer);
    publisher_of(peer)->told_ahead = true;
}

static void xsub_attached(zm_peer *peer) ZM_LOCKED
{
    if (is_awaited(peer))
        tell_ahead(peer);
    else
        resend(peer);
}

/* It is told again, should it come back. */
static void xsub_disconnected(zm_peer *peer) ZM_LOCKED
{
    const zm_endpoint *endpoint = peer->endpoint;
    if (endpoint && !endpoint->options.immediate && is_awaited(peer))
        tell_ahead(peer);
}

static void xsub_connected(zm_peer *peer) ZM_LOCKED
{
    if (!publisher_of(peer)->told_ahead)
        connected(peer);
    publisher_of(peer)->told_ahead = false;
}

static void xsub_detached(zm_peer *peer)
{
    const zm_socket *s = peer->socket;
    subscriber *own = s->state;
    zm_dist_forget(&own->to, peer);
    forget_missed(publisher_of(peer));
}

const zm_pattern zm_pattern_xsub = {
    .state_size = sizeof(subscriber),
    .peer_size = sizeof(publisher),
    .send = xsub_send,
    .recv = zm_fair_recv_locked,
    .can_send = zm_always,
    .can_recv = zm_fair_can_recv_locked,
    .attached = xsub_attached,
    .detached = xsub_detached,
    .readable = zm_fair_readable,
    .writable = zm_forget_nothing,
    .connected = xsub_connected,
    .disconnected = xsub_disconnected,
    .opened = opened,
    .closed = closed,
    .topics = topics,
};
