/* What the files of zmtp/ share about one session. Nobody outside zmtp/ includes this. */
#ifndef ZM_ZMTP_SESSION_PRIVATE_H
#define ZM_ZMTP_SESSION_PRIVATE_H

#include "session.h"

/* What the next unit is. The transitions: greeting.c for all but the last, mechanism_*.c and
 * session.c for that. Each stage belongs to one phase. */
typedef enum zm__stage {
    ZM__SIGNATURE,     /* ZM_GREETING: 10 bytes, or the beginning of a 1.0 identity frame */
    ZM__MAJOR,         /* ZM_GREETING: 1 byte */
    ZM__GREETING_REST, /* ZM_GREETING: 53 bytes of a 3.x peer */
    ZM__SOCKET_TYPE,   /* ZM_GREETING: 1 byte of a 2.0 or versioned 1.0 peer */
    ZM__IDENTITY,      /* ZM_HANDSHAKE: the identity frame of a 1.0 or 2.0 peer */
    ZM__ANONYMOUS_IDENTITY, /* as ZM__IDENTITY, and the peer cannot subscribe: see greeting.c */
    ZM__PHANTOM,       /* ZM_ACTIVE: the last byte of that frame, told as a subscription */
    ZM__COMMANDS,      /* ZM_HANDSHAKE: commands of the mechanism */
    ZM__ASKED,         /* the same, and zm_session_zap_reply() is awaited */
    ZM__REFUSED_SILENTLY,      /* ZM_HANDSHAKE: status 300: the peer is told nothing */
    ZM__TRAFFIC,       /* ZM_ACTIVE */
} zm__stage;

/* ZMQ_PROTOCOL_ERROR_* (semantics.md#monitoring). */
enum {
    ZM__UNSPECIFIED = 0x10000000,
    ZM__UNEXPECTED_COMMAND = 0x10000001,
    ZM__INVALID_SEQUENCE = 0x10000002,
    ZM__KEY_EXCHANGE = 0x10000003,
    ZM__MALFORMED_COMMAND = 0x10000011,
    ZM__MALFORMED_MESSAGE = 0x10000012,
    ZM__MALFORMED_HELLO = 0x10000013,
    ZM__MALFORMED_INITIATE = 0x10000014,
    ZM__MALFORMED_ERROR = 0x10000015,
    ZM__MALFORMED_READY = 0x10000016,
    ZM__MALFORMED_WELCOME = 0x10000017,
    ZM__INVALID_METADATA = 0x10000018,
    ZM__CRYPTOGRAPHIC = 0x11000001,
    ZM__MECHANISM_MISMATCH = 0x11000002,
};

/* Breaks the session with a ZMQ_PROTOCOL_ERROR_*; -EPROTO. */
int zm__session_fault(zm_session *session, uint32_t value);
/* Asks who the peer may be; the handshake goes on with zm_session_zap_reply(). */
void zm__session_ask(zm_session *session, zm_event *event, const uint8_t *data, size_t size);

/* The session is broken for good; returns `error`. */
int zm__session_break(zm_session *session, int error, zm_fault_kind fault, uint32_t value);
/* The handshake is done. */
void zm__session_activate(zm_session *session, zm_event *event);

/* The largest body of a handshake command that has `size` bytes beside the peer's properties. */
uint64_t zm__session_with_metadata(const zm_session *session, uint64_t size);

/* Room for `size` more bytes at out + out_size, which the caller then adds to out_size.
 * NULL: memory is out, the session is broken with -ENOMEM. */
uint8_t *zm__session_out(zm_session *session, size_t size);
void zm__session_out_free(zm_session *session); /* wipes it: there may be a password in it */

/* The unit needs `total` bytes in all. Always 0, the answer of zm_session_next(). */
static inline ssize_t zm__session_need(zm_session *session, size_t total)
{
    session->need = total;
    return 0;
}

/* Takes the unit of a greeting stage or an identity frame. As zm_session_next(). */
ssize_t zm__greeting_next(zm_session *session, const uint8_t *data, size_t size, zm_event *event);
/* The first bytes to send. 0 or -ENOMEM. */
int zm__greeting_start(zm_session *session);

#endif
