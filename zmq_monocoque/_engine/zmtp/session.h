/* One ZMTP session, sans-IO: bytes in, events out; messages and commands in, bytes out. It knows
 * no descriptor, no clock, no thread and no socket; every change of its state is a function of its
 * state and its input. Speaks ZMTP 3.1 and 3.0, 2.0 and 1.0 (RFC 37, 23, 15, 13), as libzmq
 * does where that differs (protocol.md#where-libzmq-differs-from-the-rfcs). PLAIN and CURVE are
 * mechanisms in files of their own.
 * CURVE's nonces and keys are random, all else depends on state and input alone.
 *
 * Who is at fault: errors are always the peer's; the caller's mistakes are asserted. */
#ifndef ZM_ZMTP_SESSION_H
#define ZM_ZMTP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/wire_order.h"

typedef enum zm_mechanism { ZM_NULL = 0, ZM_PLAIN = 1, ZM_CURVE = 2 } zm_mechanism;

typedef enum zm_wire_version {
    ZM_WIRE_UNKNOWN = 0,
    ZM_WIRE_1_0,
    ZM_WIRE_2_0,
    ZM_WIRE_3_0,
    ZM_WIRE_3_1
} zm_wire_version;

typedef enum zm_phase { ZM_GREETING, ZM_HANDSHAKE, ZM_ACTIVE, ZM_BROKEN } zm_phase;

typedef enum zm_event_kind {
    ZM_EVENT_NONE,      /* bytes were consumed, nothing to tell */
    ZM_EVENT_READY,     /* handshake done: version, peer_* are final */
    ZM_EVENT_MESSAGE,   /* one message frame: data, size, more */
    ZM_EVENT_SUBSCRIBE, /* data, size: the topic (3.1 commands; 01/00 *messages* stay MESSAGE) */
    ZM_EVENT_CANCEL,
    ZM_EVENT_PING,      /* value: TTL in ms, 0 none. The PONG is already in `out` */
    ZM_EVENT_PONG,
    ZM_EVENT_ZAP, /* authenticate the peer: the session waits for zm_session_zap_reply(). data,
                     size: PLAIN: u8 n, user name, u8 n, password, for the owner to wipe; CURVE: the
                     peer's public key */
} zm_event_kind;

/* data points into the bytes that were given (decrypted in place where there is encryption). */
typedef struct zm_event {
    zm_event_kind kind;
    bool more;
    uint32_t value;
    const uint8_t *data;
    size_t size;
} zm_event;

/* Why a session broke, as the monitor tells it (semantics.md#monitoring). */
typedef enum zm_fault_kind {
    ZM_FAULT_NONE,
    ZM_FAULT_PROTOCOL,     /* HANDSHAKE_FAILED_PROTOCOL, value ZMQ_PROTOCOL_ERROR_* */
    ZM_FAULT_AUTH,         /* HANDSHAKE_FAILED_AUTH, value 300/400/500 */
    ZM_FAULT_SILENT,       /* protocol error that libzmq tells only by DISCONNECTED */
} zm_fault_kind;

/* What a CURVE server seals its cookies with (RFC 26): shared by the sessions of a socket, and
 * renewed, so that nobody who learns a key later can open old ones. */
typedef struct zm_cookie_keys {
    uint8_t now[32], before[32];
    int64_t made, before_until; /* 0: there is none */
} zm_cookie_keys;

/* Makes a key where there is none, or the present one is a minute old: that one still opens cookies
 * until it is two minutes old. `now_ns`: any clock, > 0. With libsodium only. */
void zm_cookie_keys_turn(zm_cookie_keys *keys, int64_t now_ns);

typedef struct zm_session_config {
    int socket_type;              /* ZMQ number */
    zm_mechanism mechanism;
    bool as_server;               /* PLAIN, CURVE */
    bool zap;                     /* asks who the peer may be: ZM_EVENT_ZAP. A PLAIN server always
                                     does, a PLAIN or CURVE client never */
    bool refuse_old;              /* ZAP in force: 1.0 and 2.0 peers are refused */
    int64_t max_msg_size;         /* bytes of one frame, commands too; < 0: no limit */
    int64_t max_command;          /* bytes of a command after the handshake; < 0: no limit; 0: */
    int64_t max_metadata; /* of READY's or INITIATE's properties       the defaults below */
    const uint8_t *routing_id; /* borrowed for init() */
    size_t routing_id_size; /* <= 255 */
    const uint8_t *metadata; /* extra READY properties, encoded; borrowed for init() */
    size_t metadata_size;
    /* PLAIN client; borrowed for init(), at most 255 bytes each */
    const uint8_t *username, *password;
    size_t username_size, password_size;
    /* CURVE, 32 bytes each; borrowed for init(). A server needs the secret key only; a secret key
     * that is NULL is all zeros. */
    const uint8_t *curve_public, *curve_secret, *curve_server;
    /* Server; borrowed for the session's life, and turned by the owner before the session is
     * given bytes. NULL: keys of the session's own. */
    const zm_cookie_keys *cookies;
} zm_session_config;

enum {
    ZM_SESSION_OUT_KEEP = 512,
    ZM_MAX_COMMAND = 16 << 20, /* beyond any topic */
    ZM_MAX_METADATA = 64 << 10,
};

typedef struct zm_session {
    zm_phase phase;
    zm_wire_version version;
    bool plain_framing; /* message frames of ZMTP 2+ framing pass unchanged, both ways */
    bool heartbeats; /* PING may be sent (3.x) */
    zm_fault_kind fault;
    uint32_t fault_value;

    /* Bytes for the peer that the session itself produced: take them, set out_size to 0. A PLAIN
     * client's have the password: wipe them, too. */
    uint8_t *out;
    size_t out_size, out_capacity;

    /* After ZM_EVENT_READY. All owned by the session. */
    char peer_socket_type[16]; /* "" unknown (1.0, 2.0, or not told) */
    uint8_t *peer_routing_id;
    size_t peer_routing_id_size;
    uint8_t *peer_metadata; /* READY's properties as received: u8 n, name, u32 n, value ... */
    size_t peer_metadata_size;

    /* After next() answered 0: bytes, from `data`, that the present unit needs in all; > size. */
    size_t need;

    /* Bytes that the next message frame may have, for the owner to set: more is -EMSGSIZE, as soon
     * as a long frame announces it. Frames of less than 256 bytes are the owner's to check. */
    uint64_t message_room;

    /* --- private to zmtp/ --- */
    zm_session_config config; /* pointers in it are the session's own copies */
    uint8_t stage;
    bool ready_sent, ready_received;
    void *mechanism_state;
} zm_session;

/* 0, -ENOMEM, or -ENOTSUP (mechanism). After it `out` holds the first bytes to send. On failure
 * there is nothing to free. */
int zm_session_init(zm_session *session, const zm_session_config *config);
void zm_session_fini(zm_session *session);

/* Takes one unit (a piece of greeting, one frame) from the front of data[0..size), which may be
 * changed in place.
 *   > 0  bytes consumed; *event tells
 *     0  incomplete: call again with the same bytes and more; session->need says how many
 *   < 0  broken: -EPROTO (fault, fault_value say why), -EMSGSIZE (frame over max_msg_size),
 *        -ENOMEM. `out` may hold a last ERROR command to send.
 * A unit is never half consumed, and a prefix never decides differently from the whole. `out` may
 * have grown after any answer, 0 too. */
ssize_t zm_session_next(zm_session *session, uint8_t *data, size_t size, zm_event *event);

/* The hot path of zm_session_next(), for a loop that wants it inline. Is there a whole short
 * message frame at the front? If so, zm_session_short_message() takes it. */
static inline bool zm_session_is_short_message(const zm_session *session, const uint8_t *data,
                                               size_t size)
{
    enum { NOT_SHORT = 2 | 4 }; /* ZM_FRAME_LONG, ZM_FRAME_COMMAND; reserved bits are ignored */
    /* A max_msg_size below zero becomes the largest number there is. */
    return session->plain_framing && size >= 2 && !(data[0] & NOT_SHORT) && size - 2 >= data[1]
           && data[1] <= (uint64_t) session->config.max_msg_size;
}

static inline ssize_t zm_session_short_message(const uint8_t *data, zm_event *event)
{
    event->kind = ZM_EVENT_MESSAGE;
    event->more = data[0] & 1; /* ZM_FRAME_MORE */
    event->value = 0;
    event->data = data + 2;
    event->size = data[1];
    return 2 + (ssize_t) data[1];
}

/* What was found out about the peer, after ZM_EVENT_ZAP. 200: it may come in. 300: it is told
 * nothing, and never gets in. 400, 500: it is sent an ERROR, and the session is broken (it goes to
 * the peer all the same). *event tells of READY, if that is all that was missing.
 * 0, or as zm_session_next(). Only while the session waits for it. */
int zm_session_zap_reply(zm_session *session, unsigned status, zm_event *event);

/* Is this socket type allowed to talk to the peer's (semantics.md#socket-types)? */
bool zm_session_types_match(int socket_type, const char *peer_socket_type);
/* "DEALER" for 5; NULL unknown. */
const char *zm_socket_type_name(int socket_type);

/* --- encoding, phase ZM_ACTIVE ------------------------------------------------------------- */

enum { ZM_FRAME_MORE = 1, ZM_FRAME_LONG = 2, ZM_FRAME_COMMAND = 4, ZM_FRAME_HEADER_MAX = 9 };

/* ZMTP 2+ frame header into out[0..9); returns its size: 2 or 9. `flags`: MORE, COMMAND. */
static inline size_t zm_frame_header(uint8_t *out, unsigned flags, size_t size)
{
    if (size <= 255) {
        out[0] = (uint8_t) flags;
        out[1] = (uint8_t) size;
        return 2;
    }
    out[0] = (uint8_t) (flags | ZM_FRAME_LONG);
    zm_store_u64(out + 1, (uint64_t) size);
    return 9;
}

/* The frame as this session's peer wants it, when !plain_framing (1.0, CURVE): bytes needed for a
 * body of `size`, and the writing of it; returns bytes written. */
size_t zm_session_frame_bound(const zm_session *session, size_t size);
size_t zm_session_frame(zm_session *session, uint8_t *out, unsigned flags, const uint8_t *body,
                        size_t size);
/* The same in two steps, for a body that is written where it is to be: begin() answers how far
 * behind `out` that is, end() the bytes written in all. Nothing else is encoded in between. */
size_t zm_session_frame_begin(zm_session *session, uint8_t *out, unsigned flags, size_t size);
size_t zm_session_frame_end(zm_session *session, uint8_t *out, unsigned flags, size_t size);
/* A subscription as this peer wants it: command (3.1), message (3.0, 2.0, 1.0).
 * Bound: size + 32 + zm_session_frame_bound(session, size + 16). Returns bytes written. */
size_t zm_session_subscription(zm_session *session, uint8_t *out, bool subscribe,
                               const uint8_t *topic, size_t size);
/* A PING (3.x only) with `ttl_ms` in tenths of a second (at most 6553 s); returns bytes written.
 * Bound: 32 + zm_session_frame_bound(session, 32). */
size_t zm_session_ping(zm_session *session, uint8_t *out, uint32_t ttl_ms);

#endif
