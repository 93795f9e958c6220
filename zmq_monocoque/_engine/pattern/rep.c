/* REP: strict turns of request and reply, each with the envelope that its request came in. */
#include <errno.h>
#include <string.h>

#include "../api.h"
#include "../base/block.h"
#include "../base/errors.h"
#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "../socket/pattern.h"
#include "../socket/socket.h"
#include "shared.h"

typedef struct rep {
    bool reply_started; /* the envelope of a request was read, its body follows */
    bool owing;         /* a reply */
    zm_peer *reply_peer; /* whom the request came from; NULL: it is gone */
    zm_frames envelope;
} rep;

/* Keeps one frame of the envelope, with memory of its own. */
static int keep(rep *own, const zm_frame *frame)
{
    zm_block *copy = zm_block_new(frame->size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy->data, frame->data, frame->size);
    int rc = zm_frames_push(&own->envelope, (zm_frame){copy->data, frame->size, copy, ZM_MORE});
    if (rc < 0)
        zm_block_unref(copy);
    return rc;
}

/* Reads the envelope of the next request: all frames up to the first empty one (S-71). */
static int start_reading(zm_socket *s) ZM_LOCKED
{
    rep *own = s->state;
    zm_frame frame;
    zm_peer *peer;
    for (bool dropped = false;; dropped = true) {
        if (zm_fair_recv_locked(s, &frame, &peer) < 0)
            return zm_fair_nothing_left_locked(s, dropped);
        zm_frames_clear(&own->envelope);
        while (frame.flags & ZM_MORE) {
            bool bottom = frame.size == 0;
            int rc = keep(own, &frame);
            if (rc < 0) {
                zm_fair_drop_rest_locked(s, &frame); /* the next read begins a message */
                return rc;
            }
            zm_frame_drop(&frame);
            if (bottom) {
                own->reply_peer = peer;
                own->reply_started = true;
                return 0;
            }
            if (zm_fair_recv_locked(s, &frame, &peer) < 0)
                return -EAGAIN;
        }
        zm_frame_drop(&frame); /* no empty frame: not a request */
    }
}

static int rep_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer) ZM_LOCKED
{
    rep *own = s->state;
    if (own->owing)
        return zm_recv_nothing(-EFSM, out_frame, out_peer);
    if (!own->reply_started) {
        int rc = start_reading(s);
        if (rc < 0)
            return zm_recv_nothing(rc, out_frame, out_peer);
    }
    int rc = zm_fair_recv_locked(s, out_frame, out_peer);
    if (rc < 0)
        return rc;
    if (!(out_frame->flags & ZM_MORE)) {
        own->reply_started = false;
        own->owing = true;
    }
    return 0;
}

/* 0, or ZM_LATER. */
static int write_envelope(zm_socket *s) ZM_LOCKED
{
    rep *own = s->state;
    zm_peer *peer = own->reply_peer;
    int found = peer && !zm_peer_is_ended_locked(peer) ? zm_peer_find_room_locked(peer)
                                                       : -EHOSTUNREACH;
    if (found == ZM_LATER)
        return ZM_LATER;
    if (peer && found < 0) {
        peer = own->reply_peer = NULL;
        s->stats.messages_dropped++;
    }
    while (own->envelope.count) {
        zm_frame frame = zm_frames_take(&own->envelope);
        if (peer && zm_peer_write_locked(peer, frame.data, frame.size, NULL, true) < 0)
            peer = own->reply_peer = NULL;
        zm_frame_drop(&frame);
    }
    return 0;
}

static int rep_send(zm_socket *s, const zm_outgoing *m) ZM_LOCKED
{
    rep *own = s->state;
    if (!own->owing)
        return -EFSM;
    if (own->envelope.count && write_envelope(s) == ZM_LATER)
        return ZM_LATER;
    zm_peer *peer = own->reply_peer;
    if (peer && zm_peer_write_locked(peer, m->data, m->size, m->block, m->more) < 0)
        own->reply_peer = NULL;
    if (!m->more) {
        own->owing = false;
        own->reply_peer = NULL;
    }
    return 0;
}

static bool rep_can_send(zm_socket *s)
{
    const rep *own = s->state;
    return own->owing;
}

static bool rep_can_recv(zm_socket *s) ZM_LOCKED
{
    const rep *own = s->state;
    return !own->owing && zm_fair_can_recv_locked(s);
}

static void rep_detached(zm_peer *peer) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    rep *own = s->state;
    if (own->reply_peer == peer)
        own->reply_peer = NULL;
    if (s->receiving_from == peer)
        own->reply_started = false;
}

static void rep_closed(zm_socket *s)
{
    rep *own = s->state;
    zm_frames_fini(&own->envelope);
}

const zm_pattern zm_pattern_rep = {
    .state_size = sizeof(rep),
    .answers_zap = true,
    .send = rep_send,
    .recv = rep_recv,
    .can_send = rep_can_send,
    .can_recv = rep_can_recv,
    .attached = zm_probe_locked,
    .detached = rep_detached,
    .readable = zm_fair_readable,
    .writable = zm_forget_nothing,
    .closed = rep_closed,
};
