/* How a session goes on or breaks, and the bytes that it has for its peer: what the files of all
 * stages stand on. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "session_private.h"

void zm__session_ask(zm_session *session, zm_event *event, const uint8_t *data, size_t size)
{
    ZM_ASSERT(session->stage == ZM__COMMANDS);
    session->stage = ZM__ASKED;
    event->kind = ZM_EVENT_ZAP;
    event->data = data;
    event->size = size;
}

void zm__session_activate(zm_session *session, zm_event *event)
{
    ZM_ASSERT(session->phase == ZM_HANDSHAKE);
    session->phase = ZM_ACTIVE;
    session->stage = ZM__TRAFFIC;
    session->plain_framing = session->version != ZM_WIRE_1_0
                             && session->config.mechanism != ZM_CURVE;
    session->heartbeats = session->version >= ZM_WIRE_3_0;
    event->kind = ZM_EVENT_READY;
}

int zm__session_break(zm_session *session, int error, zm_fault_kind fault, uint32_t value)
{
    ZM_ASSERT(session->phase != ZM_BROKEN);
    ZM_ASSERT(error < 0);
    session->phase = ZM_BROKEN;
    session->plain_framing = false;
    session->heartbeats = false;
    session->fault = fault;
    session->fault_value = value;
    return error;
}

int zm__session_fault(zm_session *session, uint32_t value)
{
    return zm__session_break(session, -EPROTO, ZM_FAULT_PROTOCOL, value);
}

/* There may be a password in it. */
void zm__session_out_free(zm_session *session)
{
    if (session->out)
        explicit_bzero(session->out, session->out_size);
    zm_free(session->out);
}

uint8_t *zm__session_out(zm_session *session, size_t size)
{
    size_t wanted = session->out_size + size;
    bool grow = wanted > session->out_capacity;
    bool shrink = wanted <= ZM_SESSION_OUT_KEEP && session->out_capacity > ZM_SESSION_OUT_KEEP;
    if (grow || shrink) {
        size_t capacity = ZM_SESSION_OUT_KEEP;
        while (capacity < wanted)
            capacity *= 2;
        uint8_t *out = zm_alloc(capacity);
        if (!out) {
            zm__session_break(session, -ENOMEM, ZM_FAULT_NONE, 0);
            return NULL;
        }
        if (session->out_size)
            memcpy(out, session->out, session->out_size);
        zm__session_out_free(session);
        session->out = out;
        session->out_capacity = capacity;
    }
    return session->out + session->out_size;
}

uint64_t zm__session_with_metadata(const zm_session *session, uint64_t size)
{
    uint64_t most = (uint64_t) session->config.max_metadata;
    return most > UINT64_MAX - size ? UINT64_MAX : size + most;
}
