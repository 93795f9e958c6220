/* What the fuzz targets share: a session is given the same bytes in several ways, and has to tell
 * and answer the same each time.
 *
 * Input of every target: one byte that chooses the configuration, one that chooses the pieces, and
 * what the target makes of the rest. */
#ifndef ZM_FUZZ_HARNESS_H
#define ZM_FUZZ_HARNESS_H

#include <stdio.h>
#include <stdlib.h>

#include "zmtp/session.h"

enum {
    INPUT_MIN = 3,     /* bytes; others are not run */
    INPUT_MAX = 2048,
    STREAM_MAX = 6000, /* bytes that a peer says in one run */
    LIMIT = 500,       /* max_msg_size, message_room: bytes, where they are set */
};

#define REQUIRE(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
            abort(); \
        } \
    } while (0)

/* What libFuzzer calls, or replay.c. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

/* The targets, each in a file of its own. They get INPUT_MIN to INPUT_MAX bytes. */
void fuzz_greeting(const uint8_t *bytes, size_t size);
void fuzz_framing(const uint8_t *bytes, size_t size);
void fuzz_commands(const uint8_t *bytes, size_t size);
void fuzz_null(const uint8_t *bytes, size_t size);
void fuzz_plain(const uint8_t *bytes, size_t size);
void fuzz_curve(const uint8_t *bytes, size_t size);
void fuzz_curve_stream(const uint8_t *bytes, size_t size);

/* --- reading the input ----------------------------------------------------------------------- */

typedef struct input {
    const uint8_t *at, *end;
} input;

/* The next byte; 0 behind the end. */
static inline uint8_t take(input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* As many of the next `wanted` bytes as there are. */
static inline const uint8_t *take_some(input *in, size_t wanted, size_t *out_size)
{
    const uint8_t *at = in->at;
    size_t left = (size_t) (in->end - at);
    *out_size = wanted < left ? wanted : left;
    in->at += *out_size;
    return at;
}

/* --- one run --------------------------------------------------------------------------------- */

typedef struct setup {
    zm_session_config config;
    unsigned zap_status; /* the answer to ZM_EVENT_ZAP */
    unsigned zap_delay;  /* units that the session takes before it comes */
    uint64_t room;       /* bytes of a message; 0: no limit */
    uint8_t pieces;      /* chooses how the stream is cut */
} setup;

enum {
    /* Greeting, HELLO or READY with its properties, INITIATE; and a PONG a PING, which is not
     * longer than that by more than the eight bytes of a longer header. */
    SENT_MAX = 2048 + STREAM_MAX,
};

typedef struct outcome {
    uint64_t events; /* a hash of all that was told */
    unsigned messages, pings;
    ssize_t error;
    zm_fault_kind fault;
    uint32_t fault_value;
    zm_phase phase;
    zm_wire_version version;
    size_t taken; /* bytes of the stream */
    size_t sent_size;
    uint8_t sent[SENT_MAX];
} outcome;

/* A session and what it was told, byte by byte. */
typedef struct talk {
    const setup *how;
    zm_session session;
    bool asked, ready;
    unsigned wait; /* units until the session hears about its peer */
    outcome out;
    size_t size;
    uint8_t stream[STREAM_MAX];
} talk;

void talk_begin(talk *t, const setup *how);
/* More of the stream. False: it was not given; there is no room, or the session is broken. */
bool talk_say(talk *t, const uint8_t *data, size_t size);
/* The session's next frame (after its greeting of 64 bytes) from *cursor on, which begins as 0.
 * NULL: none. */
const uint8_t *talk_hear(const talk *t, size_t *cursor, unsigned *out_flags, size_t *out_size);
void talk_end(talk *t);

/* Holds one stream against itself: whole, byte by byte, in equal and in random pieces, and with
 * memory running out. `told`: how it went before, or NULL. */
void check(const setup *how, const uint8_t *stream, size_t size, const outcome *told);

/* The configuration of the first two bytes (0 where there are none):
 *   byte 0   & 0F socket type, & 10 limit of a frame, & 20 long routing id and metadata,
 *            & C0: 40 limits of commands and metadata, 80 limit of a message, C0 refuses old peers
 *   byte 1   pieces */
setup setup_of(input *in);
/* The third byte, for targets with a handshake:
 *   & 01 as server, & 02 asks who the peer is, & 0C status, & 30 delay of the answer */
void add_security(setup *how, zm_mechanism mechanism, uint8_t choice);

/* --- what a peer says ------------------------------------------------------------------------ */

enum { GREETING_SIZE = 64 };

/* A greeting of 3.`minor`. */
void greet(uint8_t out[GREETING_SIZE], const char *mechanism, uint8_t minor);
/* A frame of ZMTP 2 and later; `flags` go out as they are, with LONG where it has to be. */
bool say_frame(talk *t, unsigned flags, const uint8_t *body, size_t size);
/* The socket type of a peer that a socket of this type talks to. */
const char *peer_type(int socket_type);

/* Says what the rest of the input asks for, frame by frame: u8 flags, u8 size, body. With flags &
 * 80: u8 size, bytes as they are. */
void say_frames(talk *t, input *in);

/* --- crypto.c -------------------------------------------------------------------------------- */

/* Random bytes begin again: each run gets the same. */
void random_restart(void);

#endif
