/* PING is `04 "PING" u16 ttl context`, PONG `04 "PONG" context`; the TTL is in tenths of a
 * second, the context at most 16 bytes. */
#include "heartbeat.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "command.h"
#include "framing.h"
#include "session_private.h"

enum {
    NAME_SIZE = 5,           /* with its length */
    TTL_AT = NAME_SIZE,
    CONTEXT_AT = TTL_AT + 2,
    CONTEXT_MAX = 16,        /* a longer one is cut, as libzmq does */
    TTL_UNIT_MS = 100,
};

int zm__heartbeat_take_ping(zm_session *session, const uint8_t *body, size_t size, zm_event *event)
{
    if (size < CONTEXT_AT)
        return 0;
    size_t context_size = size - CONTEXT_AT;
    if (context_size > CONTEXT_MAX)
        context_size = CONTEXT_MAX;
    size_t pong_size = NAME_SIZE + context_size;
    uint8_t *out = zm__session_out(session, zm_session_frame_bound(session, pong_size));
    if (!out)
        return -ENOMEM;
    uint8_t *pong = out + zm_session_frame_begin(session, out, ZM_FRAME_COMMAND, pong_size);
    zm__command_name(pong, "PONG");
    memcpy(pong + NAME_SIZE, body + CONTEXT_AT, context_size);
    session->out_size += zm_session_frame_end(session, out, ZM_FRAME_COMMAND, pong_size);

    /* In 32 bits: libzmq's 16 wrap from 65.6 s on (S-97). */
    uint32_t ttl_ds = (uint32_t) body[TTL_AT] << 8 | body[TTL_AT + 1];
    event->kind = ZM_EVENT_PING;
    event->value = ttl_ds * TTL_UNIT_MS;
    return 0;
}

size_t zm_session_ping(zm_session *session, uint8_t *out, uint32_t ttl_ms)
{
    ZM_ASSERT(session->phase == ZM_ACTIVE);
    ZM_ASSERT(session->heartbeats);
    uint32_t ttl_ds = ttl_ms / TTL_UNIT_MS;
    if (ttl_ds > UINT16_MAX)
        ttl_ds = UINT16_MAX;
    uint8_t *body = out + zm_session_frame_begin(session, out, ZM_FRAME_COMMAND, CONTEXT_AT);
    zm__command_name(body, "PING");
    body[TTL_AT] = (uint8_t) (ttl_ds >> 8);
    body[TTL_AT + 1] = (uint8_t) ttl_ds;
    return zm_session_frame_end(session, out, ZM_FRAME_COMMAND, CONTEXT_AT);
}
