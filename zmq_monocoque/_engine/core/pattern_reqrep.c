/* REQ and REP: strict turns of request and reply, over the load balancer and the fair queue. */
#include "internal.h"

#include <string.h>
#include <sys/random.h>

/* --- REQ ------------------------------------------------------------------------------------- */

static void forget(zm_frame *frame)
{
    if (frame->block)
        zm_block_unref(frame->block);
}

static void drop_rest(zm_socket *s, zm_frame *frame)
{
    zm_peer *peer;
    while (frame->flags & ZM_MORE) {
        forget(frame);
        if (zm_fair_recv(s, frame, &peer) < 0)
            return;
    }
    forget(frame);
}

/* Replies that came before the request is out answer an earlier one. */
static void drop_waiting(zm_socket *s)
{
    zm_frame frame;
    zm_peer *peer;
    while (zm_fair_recv(s, &frame, &peer) == 0)
        forget(&frame);
}

static int start_request(zm_socket *s)
{
    static const uint8_t none;
    zm_outgoing delimiter = {.data = &none, .size = 0, .more = true};
    zm_peer *peer = NULL; /* stays so when the request goes nowhere */
    int rc;
    s->reply_peer = NULL;
    if (s->options.req_correlate) {
        s->request_id++;
        zm_outgoing id = {.data = &s->request_id, .size = sizeof s->request_id, .more = true};
        rc = zm_balance_send(s, &id, NULL);
        if (rc < 0)
            return rc;
    }
    rc = zm_balance_send(s, &delimiter, &peer);
    if (rc < 0)
        return rc;
    s->reply_peer = peer;
    s->request_started = true;
    drop_waiting(s);
    return 0;
}

static int req_send(zm_socket *s, const zm_outgoing *m)
{
    if (s->awaiting_reply) {
        if (!s->options.req_relaxed)
            return -EFSM;
        s->awaiting_reply = s->reply_started = false;
        s->request_started = false;
    }
    if (!s->request_started) {
        int rc = start_request(s);
        if (rc < 0)
            return rc;
    }
    int rc = zm_balance_send(s, m, NULL);
    if (rc < 0) {
        s->request_started = false; /* it is gone, and the next part begins another */
        return rc;
    }
    if (!m->more) {
        s->request_started = false;
        s->awaiting_reply = true;
    }
    return 0;
}

/* Reads up to the first frame of the reply's body; whatever is not the reply is skipped (S-68). */
static int find_reply(zm_socket *s, zm_frame *frame, zm_peer **peer)
{
    for (;;) {
        int rc = zm_fair_recv(s, frame, peer);
        if (rc < 0)
            return rc;
        bool good = !s->reply_peer || *peer == s->reply_peer;
        if (good && s->options.req_correlate) {
            good = frame->flags & ZM_MORE && frame->size == sizeof s->request_id
                   && !memcmp(frame->data, &s->request_id, sizeof s->request_id);
            if (good) {
                forget(frame);
                if (zm_fair_recv(s, frame, peer) < 0)
                    return -EAGAIN;
            }
        }
        if (good && frame->flags & ZM_MORE && frame->size == 0) {
            forget(frame);
            return zm_fair_recv(s, frame, peer);
        }
        drop_rest(s, frame);
    }
}

static int req_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer)
{
    if (!s->awaiting_reply)
        return zm_recv_nothing(-EFSM, out_frame, out_peer);
    int rc = s->reply_started ? zm_fair_recv(s, out_frame, out_peer)
                              : find_reply(s, out_frame, out_peer);
    if (rc < 0)
        return rc;
    s->reply_started = out_frame->flags & ZM_MORE;
    if (!s->reply_started)
        s->awaiting_reply = false;
    return 0;
}

static bool req_can_send(zm_socket *s)
{
    return (!s->awaiting_reply || s->options.req_relaxed) && zm_balance_can_send(s);
}

static bool req_can_recv(zm_socket *s)
{
    return s->awaiting_reply && zm_fair_can_recv(s);
}

static void req_detached(zm_peer *peer)
{
    zm_socket *s = peer->socket;
    if (s->reply_peer == peer)
        s->reply_peer = NULL;
    if (s->receiving_from == peer)
        s->reply_started = false;
}

/* A reply is an id or nothing, then an empty frame, then its body. Anything else is no peer of
 * a REQ: the connection ends for good (S-69). */
static int req_arrived(zm_peer *peer, zm_event *event)
{
    enum { BOTTOM, AFTER_ID, BODY };
    switch (peer->envelope) {
    case BOTTOM:
        if (event->more && event->size == sizeof(uint32_t)) {
            peer->envelope = AFTER_ID;
            return 1;
        }
        if (event->more && event->size == 0) {
            peer->envelope = BODY;
            return 1;
        }
        return -EPROTO;
    case AFTER_ID:
        if (!event->more || event->size != 0)
            return -EPROTO;
        peer->envelope = BODY;
        return 1;
    default:
        if (!event->more)
            peer->envelope = BOTTOM;
        return 1;
    }
}

static int req_opened(zm_socket *s)
{
    if (getrandom(&s->request_id, sizeof s->request_id, GRND_NONBLOCK) != sizeof s->request_id)
        s->request_id = (uint32_t) zm_now_ns();
    return 0;
}

const zm_pattern zm_pattern_req = {
    .send = req_send,
    .recv = req_recv,
    .can_send = req_can_send,
    .can_recv = req_can_recv,
    .attached = zm_balance_attached,
    .detached = req_detached,
    .readable = zm_fair_readable,
    .writable = zm_balance_writable,
    .arrived = req_arrived,
    .opened = req_opened,
};

/* --- REP ------------------------------------------------------------------------------------- */

/* Keeps one frame of the envelope, with memory of its own. */
static int keep(zm_socket *s, const zm_frame *frame)
{
    zm_block *copy = zm_block_new(frame->size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy->data, frame->data, frame->size);
    int rc = zm_frames_push(&s->envelope, (zm_frame){copy->data, frame->size, copy, ZM_MORE});
    if (rc < 0)
        zm_block_unref(copy);
    return rc;
}

/* Reads the envelope of the next request: all frames up to the first empty one (S-71). */
static int start_reading(zm_socket *s)
{
    zm_frame frame;
    zm_peer *peer;
    for (;;) {
        int rc = zm_fair_recv(s, &frame, &peer);
        if (rc < 0)
            return rc;
        zm_frames_clear(&s->envelope);
        while (frame.flags & ZM_MORE) {
            bool bottom = frame.size == 0;
            rc = keep(s, &frame);
            if (rc < 0) {
                drop_rest(s, &frame); /* the next read begins a message */
                return rc;
            }
            forget(&frame);
            if (bottom) {
                s->reply_peer = peer;
                s->reply_started = true;
                return 0;
            }
            if (zm_fair_recv(s, &frame, &peer) < 0)
                return -EAGAIN;
        }
        forget(&frame); /* no empty frame: not a request */
    }
}

static int rep_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer)
{
    if (s->owing)
        return zm_recv_nothing(-EFSM, out_frame, out_peer);
    if (!s->reply_started) {
        int rc = start_reading(s);
        if (rc < 0)
            return zm_recv_nothing(rc, out_frame, out_peer);
    }
    int rc = zm_fair_recv(s, out_frame, out_peer);
    if (rc < 0)
        return rc;
    if (!(out_frame->flags & ZM_MORE)) {
        s->reply_started = false;
        s->owing = true;
    }
    return 0;
}

/* 0, or ZM_LATER. */
static int write_envelope(zm_socket *s)
{
    zm_peer *peer = s->reply_peer;
    int found = peer && !peer->ended ? zm_peer_find_room_locked(peer) : -EHOSTUNREACH;
    if (found == ZM_LATER)
        return ZM_LATER;
    if (peer && found < 0) {
        peer = s->reply_peer = NULL;
        s->stats.messages_dropped++;
    }
    while (s->envelope.count) {
        zm_frame frame = zm_frames_take(&s->envelope);
        if (peer && zm_peer_write(peer, frame.data, frame.size, NULL, true) < 0)
            peer = s->reply_peer = NULL;
        forget(&frame);
    }
    return 0;
}

static int rep_send(zm_socket *s, const zm_outgoing *m)
{
    if (!s->owing)
        return -EFSM;
    if (s->envelope.count && write_envelope(s) == ZM_LATER)
        return ZM_LATER;
    zm_peer *peer = s->reply_peer;
    if (peer && zm_peer_write(peer, m->data, m->size, m->block, m->more) < 0)
        s->reply_peer = NULL;
    if (!m->more) {
        s->owing = false;
        s->reply_peer = NULL;
    }
    return 0;
}

static bool rep_can_send(zm_socket *s)
{
    return s->owing;
}

static bool rep_can_recv(zm_socket *s)
{
    return !s->owing && zm_fair_can_recv(s);
}

static void rep_detached(zm_peer *peer)
{
    zm_socket *s = peer->socket;
    if (s->reply_peer == peer)
        s->reply_peer = NULL;
    if (s->receiving_from == peer)
        s->reply_started = false;
}

static void rep_closed(zm_socket *s)
{
    zm_frames_fini(&s->envelope);
}

const zm_pattern zm_pattern_rep = {
    .send = rep_send,
    .recv = rep_recv,
    .can_send = rep_can_send,
    .can_recv = rep_can_recv,
    .attached = zm_probe,
    .detached = rep_detached,
    .readable = zm_fair_readable,
    .writable = zm_forget_nothing,
    .closed = rep_closed,
};
