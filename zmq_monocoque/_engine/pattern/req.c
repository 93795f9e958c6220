/* REQ: strict turns of request and reply. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "../base/clock.h"
#include "../base/errors.h"
#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "../socket/pattern.h"
#include "../socket/socket.h"
#include "../zmtp/session.h"
#include "shared.h"

typedef struct req {
    bool request_started; /* parts of a request are out, more follow */
    bool awaiting_reply, reply_started;
    uint32_t request_id;
    zm_peer *reply_peer; /* where the request went; NULL: it is gone, or nobody knows */
} req;

/* Of what arrives from a peer: how far its envelope is checked (S-69). */
typedef enum envelope { BOTTOM, AFTER_ID, BODY } envelope;

/* Replies that came before the request is out answer an earlier one. */
static void drop_waiting(zm_socket *s) ZM_LOCKED
{
    zm_frame frame;
    zm_peer *peer;
    while (zm_fair_recv_locked(s, &frame, &peer) == 0)
        zm_frame_drop(&frame);
}

static int start_request(zm_socket *s) ZM_LOCKED
{
    req *own = s->state;
    static const uint8_t none;
    zm_outgoing delimiter = {.data = &none, .size = 0, .more = true};
    zm_peer *peer = NULL; /* stays so when the request goes nowhere */
    int rc;
    own->reply_peer = NULL;
    if (s->options.req_correlate) {
        own->request_id++;
        zm_outgoing id = {.data = &own->request_id, .size = sizeof own->request_id, .more = true};
        rc = zm_balance_send_locked(s, &id, NULL);
        if (rc < 0)
            return rc;
    }
    rc = zm_balance_send_locked(s, &delimiter, &peer);
    if (rc < 0)
        return rc;
    own->reply_peer = peer;
    own->request_started = true;
    drop_waiting(s);
    return 0;
}

static int req_send(zm_socket *s, const zm_outgoing *m) ZM_LOCKED
{
    req *own = s->state;
    if (own->awaiting_reply) {
        if (!s->options.req_relaxed)
            return -EFSM;
        own->awaiting_reply = own->reply_started = false;
        own->request_started = false;
    }
    if (!own->request_started) {
        int rc = start_request(s);
        if (rc < 0)
            return rc;
    }
    int rc = zm_balance_send_locked(s, m, NULL);
    if (rc < 0) {
        own->request_started = false; /* it is gone, and the next part begins another */
        return rc;
    }
    if (!m->more) {
        own->request_started = false;
        own->awaiting_reply = true;
    }
    return 0;
}

/* Reads up to the first frame of the reply's body; whatever is not the reply is skipped (S-68). */
static int find_reply(zm_socket *s, zm_frame *frame, zm_peer **peer) ZM_LOCKED
{
    req *own = s->state;
    for (bool dropped = false;; dropped = true) {
        if (zm_fair_recv_locked(s, frame, peer) < 0)
            return zm_fair_nothing_left_locked(s, dropped);
        bool good = !own->reply_peer || *peer == own->reply_peer;
        if (good && s->options.req_correlate) {
            good = frame->flags & ZM_MORE && frame->size == sizeof own->request_id
                   && !memcmp(frame->data, &own->request_id, sizeof own->request_id);
            if (good) {
                zm_frame_drop(frame);
                if (zm_fair_recv_locked(s, frame, peer) < 0)
                    return -EAGAIN;
            }
        }
        if (good && frame->flags & ZM_MORE && frame->size == 0) {
            zm_frame_drop(frame);
            return zm_fair_recv_locked(s, frame, peer);
        }
        zm_fair_drop_rest_locked(s, frame);
    }
}

static int req_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer) ZM_LOCKED
{
    req *own = s->state;
    if (!own->awaiting_reply)
        return zm_recv_nothing(-EFSM, out_frame, out_peer);
    int rc = own->reply_started ? zm_fair_recv_locked(s, out_frame, out_peer)
                                : find_reply(s, out_frame, out_peer);
    if (rc < 0)
        return rc;
    own->reply_started = out_frame->flags & ZM_MORE;
    if (!own->reply_started)
        own->awaiting_reply = false;
    return 0;
}

static bool req_can_send(zm_socket *s) ZM_LOCKED
{
    const req *own = s->state;
    return (!own->awaiting_reply || s->options.req_relaxed) && zm_balance_can_send_locked(s);
}

static bool req_can_recv(zm_socket *s) ZM_LOCKED
{
    const req *own = s->state;
    return own->awaiting_reply && zm_fair_can_recv_locked(s);
}

static void req_detached(zm_peer *peer) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    req *own = s->state;
    if (own->reply_peer == peer)
        own->reply_peer = NULL;
    if (s->receiving_from == peer)
        own->reply_started = false;
}

/* A reply is an id or nothing, then an empty frame, then its body. Anything else is no peer of
 * a REQ: the connection ends for good (S-69). */
static int req_arrived(zm_peer *peer, zm_event *event)
{
    envelope *at = zm_peer_state(peer);
    switch (*at) {
    case BOTTOM:
        if (event->more && event->size == sizeof(uint32_t)) {
            *at = AFTER_ID;
            return 1;
        }
        if (event->more && event->size == 0) {
            *at = BODY;
            return 1;
        }
        return -EPROTO;
    case AFTER_ID:
        if (!event->more || event->size != 0)
            return -EPROTO;
        *at = BODY;
        return 1;
    default:
        if (!event->more)
            *at = BOTTOM;
        return 1;
    }
}

/* The next connection begins with an envelope. */
static void req_disconnected(zm_peer *peer)
{
    envelope *at = zm_peer_state(peer);
    *at = BOTTOM;
}

static int req_opened(zm_socket *s)
{
    req *own = s->state;
    size_t size = sizeof own->request_id;
    if (getrandom(&own->request_id, size, GRND_NONBLOCK) != (ssize_t) size)
        own->request_id = (uint32_t) zm_now_ns();
    return 0;
}

const zm_pattern zm_pattern_req = {
    .state_size = sizeof(req),
    .peer_size = sizeof(envelope),
    .connects_once = true,
    .send = req_send,
    .recv = req_recv,
    .can_send = req_can_send,
    .can_recv = req_can_recv,
    .attached = zm_balance_attached_locked,
    .detached = req_detached,
    .readable = zm_fair_readable,
    .writable = zm_balance_writable_locked,
    .arrived = req_arrived,
    .disconnected = req_disconnected,
    .opened = req_opened,
};
