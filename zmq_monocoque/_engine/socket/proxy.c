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
#include "drive.h"
#include "options.h"
#include "pattern.h"
#include "poll.h"
#include "socket.h"
#include "transfer.h"
#include "wakeup.h"

enum {
    BURST_MESSAGES = 1000, /* of one direction, before the other gets its turn (libzmq: the same) */
    SHARE_BYTES = 8192     /* larger parts are passed on by reference */
};

/* One part on its way: its bytes, in memory of ours or in a block that is referenced. */
typedef struct carried {
    uint8_t *buffer;
    size_t capacity;
    zm_block *block;
    zm_outgoing message;
} carried;

static int carry(carried *c, const zm_part *part)
{
    if (part->size >= SHARE_BYTES && part->block && part->data == part->block->data) {
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

/* Moves up to a burst of messages. Messages moved, or -errno. counts: messages and bytes in and
 * out; NULL: not counted. */
static int move(int64_t from, int64_t to, const tap *t, bool swap, carried *c, uint64_t *in,
                uint64_t *out)
{
    int moved = 0;
    while (moved < BURST_MESSAGES) {
        /* A socket that is both sides may have room only once it has received (REP). */
        int rc = from == to ? 1 : has_room(to);
        if (rc > 0)
            rc = has_room_for_copy(t->socket);
        if (rc <= 0)
            return rc < 0 ? rc : moved;
        rc = take(from, c);
        if (rc == -EAGAIN)
            return moved;
        if (rc < 0)
            return rc;
        bool first = true;
        for (;;) {
            if (in) {
                in[1] += c->message.size;
                out[1] += c->message.size;
            }
            if (first && swap && c->message.more)
                rc = swapped(from, to, t, c);
            else if ((rc = tap_part(t, &c->message, first)) == 0)
                rc = pass(to, &c->message);
            bool more = c->message.more;
            drop(c);
            first = false;
            if (rc < 0 || !more)
                break;
            rc = take(from, c);
            if (rc < 0)
                break;
        }
        if (rc < 0)
            return rc;
        if (in) {
            in[0]++;
            out[0]++;
        }
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
static int wait_for_work(int64_t front, int64_t back, int64_t capture, int64_t control,
                         bool paused)
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
            uint64_t *counts = state->counts;
            rc = move(front, back, &taps[0], swap, &c, &counts[0], &counts[6]);
            if (rc < 0)
                break;
            moved += rc;
            if (front != back)
                rc = move(back, front, &taps[1], swap, &c, &counts[4], &counts[2]);
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
