/* See harness.h. What must hold for any input: no access outside the bytes that are there (every
 * call gets a copy of just these, for the sanitizer to watch), the same outcome however the bytes
 * are cut, a need beyond what is there and within the limit, READY once and nothing but ZAP before
 * it, no event after a failure, no more sent than was asked for, and nothing left allocated, also
 * when memory runs out on the way. */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"

enum { LONG_ID = 255, METADATA_SIZE = 400 };

static void mix(uint64_t *hash, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++)
        *hash = (*hash ^ at[i]) * UINT64_C(1099511628211);
}

static void note_event(talk *t, const zm_event *event)
{
    outcome *out = &t->out;
    zm_session *session = &t->session;
    if (event->kind == ZM_EVENT_NONE)
        return;
    REQUIRE(t->ready ? event->kind != ZM_EVENT_READY && event->kind != ZM_EVENT_ZAP
                     : event->kind == ZM_EVENT_READY || event->kind == ZM_EVENT_ZAP);
    uint32_t head[3] = {(uint32_t) event->kind, event->more, event->value};
    mix(&out->events, head, sizeof head);
    mix(&out->events, &event->size, sizeof event->size);
    mix(&out->events, event->data, event->size);
    out->messages += event->kind == ZM_EVENT_MESSAGE;
    out->pings += event->kind == ZM_EVENT_PING;
    /* As the owner does: what the parts of a message take is counted. */
    if (event->kind == ZM_EVENT_MESSAGE && t->how->room) {
        uint64_t room = session->message_room;
        REQUIRE(event->size <= room || event->size < 256);
        session->message_room = !event->more         ? t->how->room
                                : event->size < room ? room - event->size
                                                     : 0;
    }
    if (event->kind == ZM_EVENT_ZAP) {
        REQUIRE(!t->asked);
        t->asked = true;
        t->wait = t->how->zap_delay;
    }
    if (event->kind == ZM_EVENT_READY) {
        REQUIRE(session->phase == ZM_ACTIVE);
        t->ready = true;
        if (t->how->room)
            session->message_room = t->how->room;
        mix(&out->events, session->peer_socket_type, sizeof session->peer_socket_type);
        mix(&out->events, session->peer_routing_id, session->peer_routing_id_size);
        mix(&out->events, session->peer_metadata, session->peer_metadata_size);
    }
}

static void take_out(talk *t)
{
    outcome *out = &t->out;
    REQUIRE(t->session.out_size <= sizeof out->sent - out->sent_size);
    memcpy(out->sent + out->sent_size, t->session.out, t->session.out_size);
    out->sent_size += t->session.out_size;
    t->session.out_size = 0;
}

static void answer_who(talk *t)
{
    zm_event event;
    t->asked = false;
    int answer = zm_session_zap_reply(&t->session, t->how->zap_status, &event);
    take_out(t);
    if (answer < 0)
        t->out.error = answer;
    else
        note_event(t, &event);
}

/* A copy that ends where the bytes end. */
static uint8_t *copy_of(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    REQUIRE(copy);
    memcpy(copy, data, size);
    return copy;
}

/* Whatever comes after the end changes nothing. */
static void prove_it_is_over(talk *t, const uint8_t *data, size_t size)
{
    static const uint8_t message[] = {0, 1, 'x'};
    const uint8_t *more[] = {data, message, data};
    size_t sizes[] = {size, sizeof message, 0};
    REQUIRE(t->session.phase == ZM_BROKEN);
    for (int i = 0; i < 3; i++) {
        zm_event event;
        uint8_t *copy = copy_of(more[i], sizes[i]);
        REQUIRE(zm_session_next(&t->session, copy, sizes[i], &event) == -EPROTO);
        REQUIRE(event.kind == ZM_EVENT_NONE);
        REQUIRE(t->session.out_size == 0);
        free(copy);
    }
}

/* Gives the session the first `there` bytes of the stream until it has no use for them. */
static void drain(talk *t, const uint8_t *stream, size_t there)
{
    while (t->out.error == 0) {
        const uint8_t *data = stream + t->out.taken;
        size_t left = there - t->out.taken;
        uint8_t *copy = copy_of(data, left);
        zm_event event;
        ssize_t answer = zm_session_next(&t->session, copy, left, &event);
        if (answer > 0) {
            REQUIRE((size_t) answer <= left);
            note_event(t, &event);
        } else {
            REQUIRE(event.kind == ZM_EVENT_NONE);
        }
        REQUIRE(answer != 0 || left == 0 || memcmp(copy, data, left) == 0);
        free(copy);
        take_out(t);
        if (answer == 0) {
            REQUIRE(t->session.need > left);
            REQUIRE(t->session.need <= LIMIT + 10 || t->how->config.max_msg_size < 0);
            return;
        }
        if (answer < 0) {
            t->out.error = answer;
            prove_it_is_over(t, data, left);
            return;
        }
        t->out.taken += (size_t) answer;
        if (t->asked && t->wait-- == 0)
            answer_who(t);
    }
}

/* All that can be sent, into buffers of just the size that is promised to be enough. */
static void encode(talk *t, const uint8_t *data, size_t size)
{
    zm_session *session = &t->session;
    uint64_t *hash = &t->out.events;
    size_t bound = zm_session_frame_bound(session, size);
    uint8_t *out = malloc(bound);
    size_t n = zm_session_frame(session, out, ZM_FRAME_MORE, data, size);
    REQUIRE(n <= bound);
    mix(hash, out, n);
    free(out);
    bound = size + 32 + zm_session_frame_bound(session, size + 16);
    out = malloc(bound);
    for (int subscribe = 0; subscribe < 2; subscribe++) {
        n = zm_session_subscription(session, out, subscribe, data, size);
        REQUIRE(n <= bound);
        mix(hash, out, n);
    }
    free(out);
    if (session->heartbeats) {
        bound = 32 + zm_session_frame_bound(session, 32);
        out = malloc(bound);
        n = zm_session_ping(session, out, (uint32_t) size * 79190);
        REQUIRE(n <= bound);
        mix(hash, out, n);
        free(out);
    }
}

void talk_begin(talk *t, const setup *how)
{
    memset(&t->out, 0, offsetof(outcome, sent));
    t->how = how;
    t->asked = t->ready = false;
    t->size = 0;
    random_restart();
    t->out.error = zm_session_init(&t->session, &how->config);
    if (t->out.error == 0)
        take_out(t);
}

bool talk_say(talk *t, const uint8_t *data, size_t size)
{
    if (t->out.error < 0 || size > sizeof t->stream - t->size)
        return false;
    memcpy(t->stream + t->size, data, size);
    t->size += size;
    drain(t, t->stream, t->size);
    return true;
}

const uint8_t *talk_hear(const talk *t, size_t *cursor, unsigned *out_flags, size_t *out_size)
{
    size_t at = *cursor ? *cursor : GREETING_SIZE;
    const uint8_t *head = t->out.sent + at;
    if (at + 2 > t->out.sent_size)
        return NULL;
    size_t header = 2, size = head[1];
    if (head[0] & ZM_FRAME_LONG) {
        header = 9;
        size = (size_t) head[7] << 8 | head[8];
    }
    REQUIRE(at + header + size <= t->out.sent_size);
    *out_flags = head[0];
    *out_size = size;
    *cursor = at + header + size;
    return head + header;
}

/* What remains to be seen when all bytes were given. */
static void finish(talk *t, const uint8_t *stream, size_t size)
{
    if (t->out.error == 0 && t->asked)
        answer_who(t);
    zm_session *session = &t->session;
    if (session->phase == ZM_ACTIVE)
        encode(t, stream, size < 700 ? size : 700);
    REQUIRE((t->out.error < 0) == (session->phase == ZM_BROKEN));
    t->out.fault = session->fault;
    t->out.fault_value = session->fault_value;
    t->out.phase = session->phase;
    t->out.version = session->version;
    zm_session_fini(session);
}

void talk_end(talk *t)
{
    finish(t, t->stream, t->size);
}

/* --- the same again -------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

enum { WHOLE = 0, AT_RANDOM = -1 };

/* `step`: bytes a piece, WHOLE or AT_RANDOM. */
static void run(talk *t, const setup *how, const uint8_t *stream, size_t size, int step)
{
    uint32_t state = how->pieces;
    talk_begin(t, how);
    if (t->out.error < 0)
        return;
    for (size_t there = 0; there < size && t->out.error == 0;) {
        size_t piece = (size_t) step;
        if (step == AT_RANDOM)
            piece = 1 + next_random(&state) % (1u << next_random(&state) % 9);
        there += piece && piece < size - there ? piece : size - there;
        drain(t, stream, there);
    }
    finish(t, stream, size);
}

static void same(const outcome *a, const outcome *b)
{
    REQUIRE(a->events == b->events);
    REQUIRE(a->error == b->error);
    REQUIRE(a->fault == b->fault);
    REQUIRE(a->fault_value == b->fault_value);
    REQUIRE(a->phase == b->phase);
    REQUIRE(a->version == b->version);
    REQUIRE(a->taken == b->taken);
    REQUIRE(a->sent_size == b->sent_size);
    REQUIRE(memcmp(a->sent, b->sent, a->sent_size) == 0);
}

void check(const setup *how, const uint8_t *stream, size_t size, const outcome *told)
{
    static talk whole, other;
    int64_t live = zm_alloc_live();
    const int steps[] = {1, 2 + how->pieces % 100, AT_RANDOM};
    run(&whole, how, stream, size, WHOLE);
    if (told)
        same(&whole.out, told);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        run(&other, how, stream, size, steps[i]);
        same(&whole.out, &other.out);
    }

    zm_alloc_fail_after(how->pieces % 16);
    run(&other, how, stream, size, WHOLE);
    zm_alloc_fail_after(-1);
    if (other.out.error == -ENOMEM)
        REQUIRE(other.out.fault == ZM_FAULT_NONE);
    else
        same(&whole.out, &other.out);
    REQUIRE(zm_alloc_live() == live);
}

/* --- configurations -------------------------------------------------------------------------- */

setup setup_of(input *in)
{
    static const int types[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 19, 20, 5};
    static const uint8_t routing_id[LONG_ID] = "routing id";
    /* One property, name "X": its value makes READY longer than what `out` begins with. */
    static const uint8_t metadata[METADATA_SIZE] = {
        1, 'X', 0, 0, (METADATA_SIZE - 6) >> 8, (METADATA_SIZE - 6) & 0xFF};
    uint8_t choice = take(in);
    return (setup){
        .config =
            {
                .socket_type = types[choice & 15],
                .refuse_old = (choice & 0xC0) == 0xC0,
                .max_msg_size = choice & 0x10 ? LIMIT : -1,
                .max_command = (choice & 0xC0) == 0x40 ? LIMIT / 5 : 0,
                .max_metadata = (choice & 0xC0) == 0x40 ? LIMIT / 5 : 0,
                .routing_id = routing_id,
                .routing_id_size = choice & 0x20 ? LONG_ID : 0,
                .metadata = metadata,
                .metadata_size = choice & 0x20 ? sizeof metadata : 0,
            },
        .room = (choice & 0xC0) == 0x80 ? LIMIT : 0,
        .pieces = take(in),
    };
}

void add_security(setup *how, zm_mechanism mechanism, uint8_t choice)
{
    static const unsigned statuses[] = {200, 300, 400, 500};
    static const uint8_t text[255] = "a user, and then a long password";
    zm_session_config *config = &how->config;
    config->mechanism = mechanism;
    config->as_server = choice & 1;
    config->zap = choice & 2;
    how->zap_status = statuses[choice >> 2 & 3];
    how->zap_delay = choice >> 4 & 3;
    config->username = text;
    config->username_size = choice & 0x40 ? sizeof text : 4;
    config->password = text;
    config->password_size = choice & 0x80 ? sizeof text : 0;
}

/* --- what a peer says ------------------------------------------------------------------------ */

void greet(uint8_t out[GREETING_SIZE], const char *mechanism, uint8_t minor)
{
    enum { MAJOR_AT = 10, MECHANISM_AT = 12 };
    memset(out, 0, GREETING_SIZE);
    out[0] = 0xFF;
    out[MAJOR_AT - 1] = 0x7F;
    out[MAJOR_AT] = 3;
    out[MAJOR_AT + 1] = minor;
    memcpy(out + MECHANISM_AT, mechanism, strlen(mechanism));
}

bool say_frame(talk *t, unsigned flags, const uint8_t *body, size_t size)
{
    uint8_t frame[ZM_FRAME_HEADER_MAX + STREAM_MAX] = {(uint8_t) flags, (uint8_t) size};
    size_t header = 2;
    if (size > STREAM_MAX)
        return false;
    if (size > 255 || flags & ZM_FRAME_LONG) {
        header = ZM_FRAME_HEADER_MAX;
        frame[0] |= ZM_FRAME_LONG;
        frame[1] = 0;
        frame[header - 2] = (uint8_t) (size >> 8);
        frame[header - 1] = (uint8_t) size;
    }
    memcpy(frame + header, body, size);
    return talk_say(t, frame, header + size);
}

const char *peer_type(int socket_type)
{
    static const char *const peers[] = {"PAIR",   "SUB",  "PUB",  "REP", "REQ", "ROUTER",
                                        "DEALER", "PUSH", "PULL", "SUB", "PUB"};
    size_t known = sizeof peers / sizeof *peers;
    return (size_t) socket_type < known ? peers[socket_type] : "";
}

void say_frames(talk *t, input *in)
{
    while (in->at < in->end) {
        enum { AS_THEY_ARE = 0x80 };
        uint8_t flags = take(in);
        size_t size;
        uint8_t wanted = take(in);
        const uint8_t *body = take_some(in, wanted, &size);
        if (!(flags & AS_THEY_ARE ? talk_say(t, body, size) : say_frame(t, flags, body, size)))
            return;
    }
}
