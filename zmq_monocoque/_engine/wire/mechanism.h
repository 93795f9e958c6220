/* The seam between the session and a security mechanism: a table of functions, one table a
 * mechanism. */
#ifndef ZM_WIRE_MECHANISM_H
#define ZM_WIRE_MECHANISM_H

#include "session.h"

enum { ZM__MECHANISM_NAME_SIZE = 20 };

typedef struct zm__mechanism {
    uint8_t name[ZM__MECHANISM_NAME_SIZE]; /* as in the greeting, padded with zeros */
    /* The greetings have been exchanged. 0, or a negative errno with the session broken. */
    int (*start)(zm_session *session);
    /* One handshake command's body. Sets *event to READY when the handshake is done.
     * 0, or a negative errno with the session broken. */
    int (*command)(zm_session *session, const uint8_t *body, size_t size, zm_event *event);
} zm__mechanism;

extern const zm__mechanism zm__mechanism_null;

/* NULL: not supported. */
const zm__mechanism *zm__mechanism_find(zm_mechanism mechanism);

#endif
