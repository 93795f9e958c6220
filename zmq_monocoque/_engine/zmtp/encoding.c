/* Messages and subscriptions as bytes, with the framing and encryption that were agreed on. */
#include <string.h>

#include "base/check.h"
#include "command.h"
#include "framing.h"
#include "mechanism.h"
#include "session.h"
#include "session_private.h"

/* Bytes between a frame's header and its text. */
static size_t inner_head(const zm_session *session)
{
    return session->config.mechanism == ZM_CURVE ? ZM__CURVE_HEAD : 0;
}

size_t zm_session_frame_bound(const zm_session *session, size_t size)
{
    return ZM__V1_HEADER_MAX + inner_head(session) + size;
}

size_t zm_session_frame_begin(zm_session *session, uint8_t *out, unsigned flags, size_t size)
{
    ZM_ASSERT(session->phase == ZM_ACTIVE);
    size_t head = inner_head(session);
    /* The flags of an encrypted frame are inside, for the peer alone to see. */
    return zm__frame_header(session, out, head ? 0 : flags, head + size) + head;
}

size_t zm_session_frame_end(zm_session *session, uint8_t *out, unsigned flags, size_t size)
{
    size_t head = inner_head(session);
    if (!head)
        return zm__frame_header(session, out, flags, size) + size;
    size_t header_size = zm__frame_header(session, out, 0, head + size);
    zm__curve_seal(session, out + header_size, flags, size);
    return header_size + head + size;
}

size_t zm_session_frame(zm_session *session, uint8_t *out, unsigned flags, const uint8_t *body,
                        size_t size)
{
    size_t at = zm_session_frame_begin(session, out, flags, size);
    if (size)
        memcpy(out + at, body, size);
    return zm_session_frame_end(session, out, flags, size);
}

size_t zm_session_subscription(zm_session *session, uint8_t *out, bool subscribe,
                               const uint8_t *topic, size_t size)
{
    ZM_ASSERT(session->phase == ZM_ACTIVE);
    const char *name = subscribe ? "SUBSCRIBE" : "CANCEL";
    bool is_command = session->version == ZM_WIRE_3_1;
    size_t prefix_size = is_command ? 1 + strlen(name) : 1;
    unsigned flags = is_command ? ZM_FRAME_COMMAND : 0;
    uint8_t *at = out + zm_session_frame_begin(session, out, flags, prefix_size + size);
    if (is_command)
        zm__command_name(at, name);
    else
        at[0] = subscribe;
    if (size)
        memcpy(at + prefix_size, topic, size);
    return zm_session_frame_end(session, out, flags, prefix_size + size);
}
