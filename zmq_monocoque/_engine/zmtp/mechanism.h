/* The seam between the session and a security mechanism: a table of functions, one table a
 * mechanism. */
#ifndef ZM_ZMTP_MECHANISM_H
#define ZM_ZMTP_MECHANISM_H

#include "session.h"

enum {
    ZM__MECHANISM_NAME_SIZE = 20,
    ZM__SHORT_COMMAND_MAX = 1024, /* without properties: the longest, a HELLO, has 518 bytes */
};

typedef struct zm__mechanism {
    uint8_t name[ZM__MECHANISM_NAME_SIZE]; /* as in the greeting, padded with zeros */
    /* Makes session->mechanism_state of what the configuration lends. 0 or -ENOMEM; NULL: nothing
     * to do. */
    int (*init)(zm_session *session, const zm_session_config *config);
    void (*fini)(zm_session *session);
    /* The greetings have been exchanged. 0, or a negative errno with the session broken. */
    int (*start)(zm_session *session, zm_event *event);
    /* The size of the largest body that can come next, and the ZMQ_PROTOCOL_ERROR_* of a larger
     * one. */
    uint32_t (*bound)(const zm_session *session, uint64_t *out_size);
    /* One handshake command's body. Sets *event to READY when the handshake is done.
     * 0, or a negative errno with the session broken. */
    int (*command)(zm_session *session, uint8_t *body, size_t size, zm_event *event);
    /* The peer may come in: goes on from zm__session_ask(). As command(). */
    int (*admitted)(zm_session *session, zm_event *event);
} zm__mechanism;

extern const zm__mechanism zm__mechanism_null, zm__mechanism_plain, zm__mechanism_curve;

/* NULL: not supported, or not here (CURVE without libsodium). */
const zm__mechanism *zm__mechanism_find(zm_mechanism mechanism);

/* --- CURVE after the handshake --------------------------------------------------------------- */

enum {
    ZM__CURVE_HEAD = 8 + 8 + 16 + 1, /* name, nonce, tag, inner flags */
};

/* Decrypts the body of a MESSAGE in place. *out_flags: ZM_FRAME_MORE, ZM_FRAME_COMMAND; the text
 * is at body + ZM__CURVE_HEAD. 0, or -EPROTO with the session broken. */
int zm__curve_open(zm_session *session, uint8_t *body, size_t size, unsigned *out_flags);
/* Makes a MESSAGE of `size` bytes that lie at body + ZM__CURVE_HEAD, in place. */
void zm__curve_seal(zm_session *session, uint8_t *body, unsigned flags, size_t size);

#endif
