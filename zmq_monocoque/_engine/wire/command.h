/* Commands of ZMTP 3.x: their names, the properties of READY, the reason of ERROR. Knows no
 * order of commands: that is the mechanism's. */
#ifndef ZM_WIRE_COMMAND_H
#define ZM_WIRE_COMMAND_H

#include <string.h>

#include "session.h"

/* Is the body that of the command `name`? What follows the name begins at body + 1 + its length. */
static inline bool zm__command_is(const uint8_t *body, size_t size, const char *name)
{
    size_t length = strlen(name);
    return size > length && body[0] == length && memcmp(body + 1, name, length) == 0;
}

/* Writes `u8 length, name`; returns the bytes written. */
static inline size_t zm__command_name(uint8_t *out, const char *name)
{
    size_t length = strlen(name);
    out[0] = (uint8_t) length;
    memcpy(out + 1, name, length);
    return 1 + length;
}

/* READY with this side's properties, into `out`. 0, or -ENOMEM with the session broken. */
int zm__command_send_ready(zm_session *session);

/* The peer's properties: keeps them, and what is in them about socket type and routing id.
 * 0, or a negative errno with the session broken (leftover bytes, incompatible socket type). */
int zm__command_take_properties(zm_session *session, const uint8_t *data, size_t size);

/* What follows the name ERROR: `u8 length, reason`. Always -EPROTO, with the session broken. */
int zm__command_take_error(zm_session *session, const uint8_t *data, size_t size);

/* The socket types that announce their routing id: REQ, DEALER, ROUTER. */
bool zm__socket_type_has_identity(int socket_type);

#endif
