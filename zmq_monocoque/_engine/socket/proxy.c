/* Proxies: messages from one socket to another, both ways, with copies to a third. */
#include <errno.h>
#include <string.h>

#include "../api.h"
#include "../base/alloc.h"
#include "../base/block.h"
#include "../base/clock.h"
#include "../base/errors.h"
#include "../base/lock.h"
#include "../context/handles.h"
#include "../context/signals.h"
#include "../engine.h"
#include "../pipe/inproc.h"
#include "drive.h"
#include "options.h"
#include "order.h"
#include "pattern.h"
#include "poll.h"
#include "socket.h"
#include "transfer.h"
#include "wakeup.h"

enum {
    BURST_MESSAGES = 1000, /* of one direction, before the other gets its turn (libzmq: the same) */
    SHARE_BYTES = 8192 /* larger parts are passed on by reference */
};

/* One part on its way: its bytes, in memory of ours or in a block that is referenced. */
typedef struct carried {
    uint8_t *buffer;
    size_t capacity;
    zm_block *block;
    zm_outgoing message;
} carried;

static bool is_shared(const zm_part *part)
{
    return part->size >= SHARE_BYTES && part->block && part->data == part->block->data;
}

static int carry(carried *c, const zm_part *part)
{
    if (is_shared(part)) {
        c->block = zm_block_ref(part->block);
        c->message.data = part->data;
    } else {
        if (part->size > c->capacity) {
            uint8_t *buffer = zm_realloc(c->buffer, part->size);
            if (!buffer)
                return -ENOMEM;
            c->buffer = buffer;
            c->capacity = part->size;
        }
        if (part->size)
            memcpy(c->buffer, part->data, part->size);
        c->message.data = c->buffer ? (const void *) c->buffer : "";
    }
    c->message.block = c->block;
    c->message.size = part->size;
    c->message.more = part->more;
    return 0;
}

static void drop(carried *c)
{
    if (c->block)
        zm_block_unref(c->block);
    c->block = NULL;
}

static int take(int64_t from, carried *c)
{
    zm_socket *s = zm_socket_lock(from);
    zm_part part;
    if (!s)
        return -ENOTSOCK;
    int rc = zm_socket_enter_locked(s);
    if (rc == 0)
        rc = zm_socket_recv_part_locked(s, &part);
    if (rc == 0) {
        rc = carry(c, &part);
        zm_socket_recv_done_locked(s);
    }
    zm_socket_lock_give(s);
    return rc;
}

static int pass(int64_t to, const zm_outgoing *message)
{
    int rc;
    zm_socket *s = zm_socket_lock(to);
    if (!s)
        return -ENOTSOCK;
    do {
        rc = zm_socket_send_patiently_locked(s, message);
        /* Room was seen before the message was taken; if it went meanwhile, the message waits, and
         * signals with it. */
        if (rc == -EAGAIN) {
            int64_t heed = zm_signals_heed(0);
            rc = zm_socket_wait_locked(s, ZM_POLLOUT, ZM_FOREVER) == -ETERM ? -ETERM : -EAGAIN;
            zm_signals_heed(heed);
        }
    } while (rc == -EAGAIN);
    if (rc == 0 && zm_socket_sent_locked(s))
        zm_socket_flush_locked(s);
    zm_socket_leave(s);
    return rc;
}

static int has_room(int64_t to)
{
    zm_socket *s = zm_socket_lock(to);
    if (!s)
        return -ENOTSOCK;
    int rc = zm_socket_enter_locked(s);
    if (rc == 0)
        rc = s->pattern->can_send(s);
    zm_socket_lock_give(s);
    return rc;
}

/* Is there room for a copy? If not, the message is not taken yet: a wait with a message in hand
 * could not go back to the caller when a signal comes. Types of sockets that drop never lack
 * room. */
static int has_room_for_copy(int64_t to)
{
    if (to < 0)
        return 1;
    zm_socket *s = zm_socket_lock(to);
    if (!s)
        return -ENOTSOCK;
    int rc = zm_socket_enter_locked(s);
    if (rc == 0)
        rc = !s->pattern->waits_to_send || s->pattern->can_send(s);
    zm_socket_lock_give(s);
    return rc;
}

/* A message that is being copied to the capture socket of a proxy, or, behind a prefix, to the
 * monitor of a monitored queue. */
typedef struct tap {
    int64_t socket; /* -1: none */
    const void *prefix;
    size_t prefix_size;
} tap;

static int tap_part(const tap *t, const zm_outgoing *message, bool first)
{
    if (t->socket < 0)
        return 0;
    if (first && t->prefix) {
        zm_outgoing prefix = {.data = t->prefix, .size = t->prefix_size, .more = true};
        int rc = pass(t->socket, &prefix);
        if (rc < 0)
            return rc;
    }
    return pass(t->socket, message);
}

/* The first two frames the other way round: from one ROUTER to another (a monitored queue). */
static int swapped(int64_t from, int64_t to, const tap *t, carried *c)
{
    carried second = {0};
    int rc = take(from, &second);
    if (rc == 0) {
        bool last = !second.message.more;
        zm_outgoing one = second.message, two = c->message;
        one.more = true;
        two.more = !last;
        rc = pass(to, &one);
        if (rc == 0)
            rc = pass(to, &two);
        if (rc == 0)
            rc = tap_part(t, &one, true);
        if (rc == 0)
            rc = tap_part(t, &two, false);
        c->message.more = !last;
        drop(&second);
    }
    zm_free(second.buffer);
    return rc;
}

/* One direction. */
typedef struct way {
    int64_t from, to;
    tap copies;
    bool swap; /* a monitored queue between two ROUTERs */
    uint64_t *in, *out; /* counts: messages and bytes */
} way;

static void count_part(const way *w, const zm_outgoing *part)
{
    w->in[0] += !part->more;
    w->out[0] += !part->more;
    w->in[1] += part->size;
    w->out[1] += part->size;
}

enum { NOTHING, THROUGH, IN_HAND };

/* A message that has arrived goes from one locked socket to another. NOTHING: none has, or there is
 * no room. IN_HAND: one of its parts is to wait, by one who can: it is in `c`. Or -errno. */
static int pass_locked(const way *w, zm_socket *from, zm_socket *to, carried *c) ZM_LOCKED
{
    zm_part part;
    int rc = zm_socket_enter_locked(from);
    if (rc == 0)
        rc = zm_socket_enter_locked(to);
    if (rc < 0)
        return rc;
    if (!to->pattern->can_send(to))
        return NOTHING;
    do {
        rc = zm_socket_recv_part_queued_locked(from, &part);
        if (rc < 0)
            return rc == -EAGAIN ? NOTHING : rc;
        zm_outgoing message = {.data = part.data, .size = part.size, .more = part.more};
        if (is_shared(&part))
            message.block = part.block;
        rc = zm_socket_send_part_locked(to, &message);
        if (rc == -EAGAIN || rc == ZM_LATER)
            rc = carry(c, &part) < 0 ? -ENOMEM : IN_HAND;
        zm_socket_recv_done_locked(from);
        if (rc != 0)
            return rc;
        count_part(w, &message);
        if (zm_socket_followed_locked(to))
            zm_socket_flush_locked(to);
    } while (part.more);
    return THROUGH;
}

static bool is_wanted(const zm_socket *from, const zm_socket *to, int steps)
{
    return steps >= ZM_STEPS_MIN && (zm_lock_wanted(&from->lock) || zm_lock_wanted(&to->lock));
}

/* Messages that need not wait, with the locks taken once for all of them, the second one by a try;
 * added to *moved. NOTHING (more), IN_HAND, -errno. */
static int stream(const way *w, carried *c, int *moved) ZM_LOCKS_UNCHECKED
{
    zm_socket *from, *to;
    zm_order_settle(false, false); /* or what is sent would have to go behind what `from` has */
    int rc = zm_socket_lock_for(w->from, false, &from);
    if (rc < 0)
        return rc;
    rc = zm_socket_lock_for(w->to, true, &to);
    if (rc < 0) {
        zm_socket_lock_give(from);
        return rc == ZM_LATER ? NOTHING : rc;
    }
    int steps = 0;
    /* A reader that was woken by the first message would take the processor for that one alone. */
    to->tells_later = true;
    do
        rc = pass_locked(w, from, to, c);
    while (rc == THROUGH && ++steps + *moved < BURST_MESSAGES && !is_wanted(from, to, steps));
    zm_socket_lock_give(from);
    zm_inproc_tell_locked(to);
    if (steps && zm_socket_sent_locked(to))
        zm_socket_flush_locked(to);
    zm_socket_leave(to);
    *moved += steps;
    return rc == THROUGH ? NOTHING : rc;
}

/* The first part of the next message, if there is room for it. IN_HAND, NOTHING, or -errno. */
static int take_first(const way *w, carried *c)
{
    /* A socket that is both sides may have room only once it has received (REP). */
    int rc = w->from == w->to ? 1 : has_room(w->to);
    if (rc > 0)
        rc = has_room_for_copy(w->copies.socket);
    if (rc <= 0)
        return rc < 0 ? rc : NOTHING;
    rc = take(w->from, c);
    if (rc < 0)
        return rc == -EAGAIN ? NOTHING : rc;
    return IN_HAND;
}

/* The part in hand goes on, and the rest of its message after it. 0, -errno. */
static int pass_rest(const way *w, carried *c)
{
    for (bool first = true;; first = false) {
        int rc;
        count_part(w, &c->message);
        if (first && w->swap && c->message.more)
            rc = swapped(w->from, w->to, &w->copies, c);
        else if ((rc = tap_part(&w->copies, &c->message, first)) == 0)
            rc = pass(w->to, &c->message);
        bool more = c->message.more;
        drop(c);
        if (rc < 0 || !more)
            return rc;
        rc = take(w->from, c);
        if (rc < 0)
            return rc;
    }
}

/* Moves up to a burst of messages. Messages moved, or -errno. */
static int move(const way *w, carried *c)
{
    bool straight = w->from != w->to && w->copies.socket < 0 && !w->swap;
    int moved = 0;
    while (moved < BURST_MESSAGES) {
        int rc = straight ? stream(w, c, &moved) : NOTHING;
        if (rc == NOTHING)
            rc = take_first(w, c);
        if (rc == NOTHING)
            break;
        if (rc == IN_HAND)
            rc = pass_rest(w, c);
        if (rc < 0)
            return rc;
        moved++;
    }
    return moved;
}

/* A command from the control socket. 1: TERMINATE; 0; -errno. */
static int command(int64_t control, zm_proxy_state *state)
{
    char text[16];
    int rc = zm_socket_recv(control, text, sizeof text, ZM_DONTWAIT);
    if (rc < 0)
        return rc == -EAGAIN ? 0 : rc;
    size_t size = (size_t) rc < sizeof text ? (size_t) rc : 0;
    int type = -1;
    size_t type_size = sizeof type;
    zm_socket_get(control, 16, &type, &type_size);
    bool statistics = size == 10 && !memcmp(text, "STATISTICS", 10);
    bool terminate = size == 9 && !memcmp(text, "TERMINATE", 9);
    if (size == 5 && !memcmp(text, "PAUSE", 5))
        state->paused = 1;
    else if (size == 6 && !memcmp(text, "RESUME", 6))
        state->paused = 0;
    rc = 0;
    if (statistics)
        for (int i = 0; i < 8 && rc == 0; i++)
            rc = zm_socket_send(control, &state->counts[i], 8, i < 7 ? ZM_SNDMORE : 0);
    else if (type == ZM_REP)
        rc = zm_socket_send(control, "", 0, 0);
    return rc < 0 ? rc : terminate;
}

/* Readable sides are asked for input; when the other side has no room, for that instead. */
static int wait_for_work(int64_t front, int64_t back, int64_t capture, int64_t control, bool paused)
{
    zm_pollitem items[5];
    int count = 0;
    int front_room = has_room(front), back_room = has_room(back);
    int copy_room = has_room_for_copy(capture);
    if (front_room < 0 || back_room < 0)
        return front_room < 0 ? front_room : back_room;
    if (copy_room < 0)
        return copy_room;
    if (!paused && !copy_room) {
        items[count++] = (zm_pollitem){.socket = capture, .events = ZM_POLLOUT};
    } else if (!paused) {
        /* Something to read and nowhere to put it: wait for the place first. */
        if (back_room || front == back)
            items[count++] = (zm_pollitem){.socket = front, .events = ZM_POLLIN};
        else
            items[count++] = (zm_pollitem){.socket = back, .events = ZM_POLLOUT};
        if (front != back) {
            if (front_room)
                items[count++] = (zm_pollitem){.socket = back, .events = ZM_POLLIN};
            else
                items[count++] = (zm_pollitem){.socket = front, .events = ZM_POLLOUT};
        }
    }
    if (control >= 0)
        items[count++] = (zm_pollitem){.socket = control, .events = ZM_POLLIN};
    return zm_poll(items, count, ZM_FOREVER);
}

static int run(int64_t front, int64_t back, const tap taps[2], int64_t control, bool swap,
               zm_proxy_state *state)
{
    carried c = {0};
    uint64_t *counts = state->counts;
    const way there = {front, back, taps[0], swap, &counts[0], &counts[6]};
    const way back_again = {back, front, taps[1], swap, &counts[4], &counts[2]};
    int rc = 0;
    while (rc == 0) {
        int moved = 0;
        if (zm_signals_due()) {
            rc = -EINTR;
            break;
        }
        if (control >= 0) {
            rc = command(control, state);
            if (rc != 0)
                break;
        }
        if (!state->paused) {
            rc = move(&there, &c);
            if (rc < 0)
                break;
            moved += rc;
            if (front != back)
                rc = move(&back_again, &c);
            if (rc < 0)
                break;
            moved += rc;
        }
        rc = 0;
        if (!moved) {
            rc = wait_for_work(front, back, taps[0].socket, control, state->paused);
            rc = rc > 0 ? 0 : rc;
        }
    }
    drop(&c);
    zm_free(c.buffer);
    return rc == 1 ? 0 : rc;
}

int zm_proxy_run(int64_t frontend, int64_t backend, int64_t capture, int64_t control,
                 zm_proxy_state *state)
{
    const tap taps[2] = {{.socket = capture}, {.socket = capture}};
    return run(frontend, backend, taps, control, false, state);
}

static int type_of(int64_t socket)
{
    int type = -1;
    size_t size = sizeof type;
    int rc = zm_socket_get(socket, 16, &type, &size);
    return rc < 0 ? rc : type;
}

int zm_monitored_queue_run(int64_t in, int64_t out, int64_t monitor, const void *in_prefix,
                           size_t in_prefix_size, const void *out_prefix, size_t out_prefix_size)
{
    const tap taps[2] = {{monitor, in_prefix, in_prefix_size},
                         {monitor, out_prefix, out_prefix_size}};
    zm_proxy_state state = {0};
    int in_type = type_of(in), out_type = type_of(out);
    if (in_type < 0 || out_type < 0)
        return in_type < 0 ? in_type : out_type;
    bool swap = in_type == ZM_ROUTER && out_type == ZM_ROUTER;
    return run(in, out, taps, -1, swap, &state);
}
