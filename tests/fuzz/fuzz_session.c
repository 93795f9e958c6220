/* Fuzzes one session, libFuzzer's way. Input: one byte that chooses the configuration, one that
 * chooses the pieces, and what the peer sends.
 *
 * What must hold for any input: no access outside the bytes that are there (every call gets a copy
 * of just these, for the sanitizer to watch), the same outcome whole, byte by byte and in pieces,
 * a need beyond what is there and within the limit, no more sent than a greeting and one PONG a
 * PING, and nothing left allocated, also when memory runs out on the way.
 *
 *   clang -g -fsanitize=fuzzer,address,undefined -I zmq_monocoque/_engine \
 *       tests/fuzz/fuzz_session.c zmq_monocoque/_engine/wire/[a-z]*.c \
 *       zmq_monocoque/_engine/base/{alloc,check}.c
 * With gcc: see replay.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/session.h"

enum { INPUT_MAX = 2048, LIMIT = 500, LONG_ID = 255, METADATA_SIZE = 400 };

/* Greeting, READY and its properties, and a PONG a PING. */
enum { SENT_MAX = 64 + 64 + LONG_ID + METADATA_SIZE + INPUT_MAX };

#define REQUIRE(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
            abort(); \
        } \
    } while (0)

typedef struct outcome {
    uint64_t events; /* a hash of all that was told */
    ssize_t error;
    zm_fault_kind fault;
    uint32_t fault_value;
    zm_phase phase;
    zm_wire_version version;
    size_t sent_size;
    uint8_t sent[SENT_MAX];
} outcome;

static void mix(uint64_t *hash, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++)
        *hash = (*hash ^ at[i]) * UINT64_C(1099511628211);
}

static void note_event(outcome *out, const zm_session *session, const zm_event *event)
{
    if (event->kind == ZM_EVENT_NONE)
        return;
    uint32_t head[3] = {(uint32_t) event->kind, event->more, event->value};
    mix(&out->events, head, sizeof head);
    mix(&out->events, &event->size, sizeof event->size);
    mix(&out->events, event->data, event->size);
    if (event->kind == ZM_EVENT_READY) {
        mix(&out->events, session->peer_socket_type, sizeof session->peer_socket_type);
        mix(&out->events, session->peer_routing_id, session->peer_routing_id_size);
        mix(&out->events, session->peer_metadata, session->peer_metadata_size);
    }
}

static void take_out(outcome *out, zm_session *session)
{
    REQUIRE(session->out_size <= sizeof out->sent - out->sent_size);
    memcpy(out->sent + out->sent_size, session->out, session->out_size);
    out->sent_size += session->out_size;
    session->out_size = 0;
}

/* Gives the session what is there until it has no use for it. Returns what it took. */
static size_t drain(outcome *out, zm_session *session, const uint8_t *data, size_t size)
{
    size_t taken = 0;
    for (;;) {
        size_t left = size - taken;
        uint8_t *copy = malloc(left ? left : 1);
        REQUIRE(copy);
        memcpy(copy, data + taken, left);
        zm_event event;
        ssize_t answer = zm_session_next(session, copy, left, &event);
        if (answer > 0) {
            REQUIRE((size_t) answer <= left);
            note_event(out, session, &event);
        }
        free(copy);
        take_out(out, session);
        if (answer <= 0) {
            out->error = answer;
            REQUIRE(answer < 0 || session->need > left);
            REQUIRE(answer < 0 || session->need <= LIMIT + 10 ||
                    session->config.max_msg_size < 0);
            return taken;
        }
        taken += (size_t) answer;
    }
}

/* All that can be sent, into buffers of just the size that is promised to be enough. */
static void encode(zm_session *session, const uint8_t *data, size_t size)
{
    size_t bound = zm_session_frame_bound(session, size);
    uint8_t *out = malloc(bound);
    REQUIRE(zm_session_frame(session, out, ZM_FRAME_MORE, data, size) <= bound);
    free(out);
    bound = size + 32 + zm_session_frame_bound(session, size + 16);
    out = malloc(bound);
    REQUIRE(zm_session_subscription(session, out, true, data, size) <= bound);
    REQUIRE(zm_session_subscription(session, out, false, data, size) <= bound);
    free(out);
    if (session->heartbeats) {
        bound = 32 + zm_session_frame_bound(session, 32);
        out = malloc(bound);
        REQUIRE(zm_session_ping(session, out, (uint32_t) size * 7919) <= bound);
        free(out);
    }
}

/* `step`: bytes a piece; 0: all at once. */
static void run(outcome *out, const zm_session_config *config, const uint8_t *data, size_t size,
                size_t step)
{
    memset(out, 0, sizeof *out);
    zm_session session;
    out->error = zm_session_init(&session, config);
    if (out->error < 0)
        return;
    take_out(out, &session);
    size_t taken = 0;
    for (size_t there = 0; there < size && out->error == 0;) {
        there += step && step < size - there ? step : size - there;
        taken += drain(out, &session, data + taken, there - taken);
    }
    if (session.phase == ZM_ACTIVE)
        encode(&session, data, size);
    REQUIRE((out->error < 0) == (session.phase == ZM_BROKEN));
    out->fault = session.fault;
    out->fault_value = session.fault_value;
    out->phase = session.phase;
    out->version = session.version;
    zm_session_fini(&session);
}

static void same(const outcome *a, const outcome *b)
{
    REQUIRE(a->events == b->events);
    REQUIRE(a->error == b->error);
    REQUIRE(a->fault == b->fault);
    REQUIRE(a->fault_value == b->fault_value);
    REQUIRE(a->phase == b->phase);
    REQUIRE(a->version == b->version);
    REQUIRE(a->sent_size == b->sent_size);
    REQUIRE(memcmp(a->sent, b->sent, a->sent_size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_size);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_size)
{
    static const int types[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 19, 20, 5};
    if (input_size < 2 || input_size > INPUT_MAX)
        return 0;
    static const uint8_t routing_id[LONG_ID] = "routing id";
    /* One property, name "X": its value makes READY longer than what `out` begins with. */
    static const uint8_t metadata[METADATA_SIZE] = {1, 'X', 0, 0, (METADATA_SIZE - 6) >> 8,
                                                    (METADATA_SIZE - 6) & 0xFF};
    zm_session_config config = {
        .socket_type = types[input[0] & 15],
        .refuse_old = (input[0] & 0xC0) == 0xC0,
        .max_msg_size = input[0] & 0x10 ? LIMIT : -1,
        .routing_id = routing_id,
        .routing_id_size = input[0] & 0x20 ? LONG_ID : 0,
        .metadata = metadata,
        .metadata_size = input[0] & 0x20 ? sizeof metadata : 0,
    };
    const uint8_t *data = input + 2;
    size_t size = input_size - 2;
    int64_t live = zm_alloc_live();

    static outcome whole, other;
    run(&whole, &config, data, size, 0);
    run(&other, &config, data, size, 1);
    same(&whole, &other);
    run(&other, &config, data, size, 2 + input[1] % 100);
    same(&whole, &other);

    zm_alloc_fail_after(input[1] % 8);
    run(&other, &config, data, size, 0);
    zm_alloc_fail_after(-1);
    if (other.error == -ENOMEM)
        REQUIRE(other.fault == ZM_FAULT_NONE);
    else
        same(&whole, &other);
    REQUIRE(zm_alloc_live() == live);
    return 0;
}
