/* Commands of ZMTP 3.x: their names, the properties of READY, the reason of ERROR. Knows no
 * order of commands: that is the mechanism's. */
#ifndef ZM_ZMTP_COMMAND_H
#define ZM_ZMTP_COMMAND_H

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

/* This side's properties, as READY and INITIATE carry them: their size, and the writing of them. */
size_t zm__command_properties_size(const zm_session *session);
void zm__command_put_properties(const zm_session *session, uint8_t *out);

/* Puts the frame of a command with `size` bytes behind its name into `out`; answers where those are
 * to be written. NULL: -ENOMEM, with the session broken. */
uint8_t *zm__command_send(zm_session *session, const char *name, size_t size);
/* READY or INITIATE with this side's properties. 0, or -ENOMEM with the session broken. */
int zm__command_send_properties(zm_session *session, const char *name);
/* How libzmq spells the name of PLAIN's ERROR, length and all (4.3.5, both roles). */
#define ZM__PLAIN_ERROR "^RROR"
/* ERROR with a status as its reason. As above. */
int zm__command_send_error(zm_session *session, unsigned status);

/* The peer's properties: keeps them, and what is in them about socket type and routing id.
 * 0, or a negative errno with the session broken (leftover bytes, incompatible socket type). */
int zm__command_take_properties(zm_session *session, const uint8_t *data, size_t size);

/* The same for the READY of a PLAIN or CURVE server, where libzmq tells what is wrong with them. */
int zm__command_take_ready(zm_session *session, const uint8_t *data, size_t size);

/* What follows the name ERROR: `u8 length, reason`. Always -EPROTO, with the session broken. */
int zm__command_take_error(zm_session *session, const uint8_t *data, size_t size);

/* The socket types that announce their routing id: REQ, DEALER, ROUTER. */
bool zm__socket_type_has_identity(int socket_type);

#endif
