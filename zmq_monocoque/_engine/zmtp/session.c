/* The session itself: what comes when, and what is kept. The bytes of each stage are in files of
 * their own: greeting.c, mechanism_*.c, command.c, heartbeat.c, framing.c, encoding.c; how a
 * session goes on or breaks is in session_state.c. */
#include "session.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "command.h"
#include "framing.h"
#include "heartbeat.h"
#include "mechanism.h"
#include "session_private.h"

static ssize_t next_unit(zm_session *session, uint8_t *data, size_t size, zm_event *event);

ssize_t zm_session_next(zm_session *session, uint8_t *data, size_t size, zm_event *event)
{
    if (ZM_LIKELY(zm_session_is_short_message(session, data, size)))
        return zm_session_short_message(data, event);
    *event = (zm_event){.kind = ZM_EVENT_NONE};
    return next_unit(session, data, size, event);
}

/* A command after the handshake. Unknown ones are ignored, as libzmq does (S-99). */
static int take_command(zm_session *session, const uint8_t *body, size_t size, zm_event *event)
{
    size_t name_size = 0;
    if (zm__command_is(body, size, "PING"))
        return zm__heartbeat_take_ping(session, body, size, event);
    if (zm__command_is(body, size, "PONG")) {
        event->kind = ZM_EVENT_PONG;
    } else if (zm__command_is(body, size, "SUBSCRIBE")) {
        event->kind = ZM_EVENT_SUBSCRIBE;
        name_size = 1 + strlen("SUBSCRIBE");
    } else if (zm__command_is(body, size, "CANCEL")) {
        event->kind = ZM_EVENT_CANCEL;
        name_size = 1 + strlen("CANCEL");
    }
    if (name_size) {
        event->data = body + name_size;
        event->size = size - name_size;
    }
    return 0;
}

/* Nothing is said of short messages: zm_session_short_message() takes those that are there whole
 * without a look at the room, and one of which a part is there must not fare worse. */
static bool too_long(const zm_session *session, unsigned flags, uint64_t size)
{
    enum { SHORT_MAX = 255 };
    if (flags & ZM_FRAME_COMMAND)
        return size > (uint64_t) session->config.max_command;
    return size > SHORT_MAX && size > session->message_room;
}

/* What is inside is not known yet: it may be either. */
static bool sealed_too_long(const zm_session *session, uint64_t size)
{
    uint64_t text = size > ZM__CURVE_HEAD ? size - ZM__CURVE_HEAD : 0;
    return too_long(session, 0, text) && too_long(session, ZM_FRAME_COMMAND, text);
}

static ssize_t traffic_next(zm_session *session, uint8_t *data, size_t size, zm_event *event)
{
    zm__frame frame = {0};
    bool sealed = session->config.mechanism == ZM_CURVE;
    ssize_t total = zm__frame_next(session, data, size, &frame);
    if (total < 0)
        return total;
    if (sealed ? sealed_too_long(session, frame.size) : too_long(session, frame.flags, frame.size))
        return zm__session_break(session, -EMSGSIZE, ZM_FAULT_SILENT, 0);
    if (total == 0)
        return 0;
    uint8_t *body = data + frame.header_size;
    if (sealed) {
        int answer = zm__curve_open(session, body, frame.size, &frame.flags);
        if (answer < 0)
            return answer;
        body += ZM__CURVE_HEAD;
        frame.size -= ZM__CURVE_HEAD;
        if (too_long(session, frame.flags, frame.size))
            return zm__session_break(session, -EMSGSIZE, ZM_FAULT_SILENT, 0);
    }
    if (frame.flags & ZM_FRAME_COMMAND) {
        /* 2.0 has no commands. */
        int answer = session->heartbeats ? take_command(session, body, frame.size, event) : 0;
        return answer < 0 ? answer : total;
    }
    event->kind = ZM_EVENT_MESSAGE;
    event->more = frame.flags & ZM_FRAME_MORE;
    event->data = body;
    event->size = frame.size;
    return total;
}

/* The COMMAND flag is not asked for: libzmq takes a READY without it. */
static ssize_t handshake_next(zm_session *session, uint8_t *data, size_t size, zm_event *event)
{
    const zm__mechanism *mechanism = zm__mechanism_find(session->config.mechanism);
    zm__frame frame = {0};
    uint64_t most;
    uint32_t fault = mechanism->bound(session, &most);
    ssize_t total = zm__frame_next(session, data, size, &frame);
    if (total >= 0 && frame.size > most)
        return zm__session_fault(session, fault);
    if (total <= 0)
        return total;
    uint8_t *body = data + frame.header_size;
    /* All but NULL's peers have nothing to say while they wait to be let in. */
    bool waits = session->stage != ZM__COMMANDS && session->config.mechanism != ZM_NULL;
    int answer = waits ? zm__session_fault(session, ZM__UNSPECIFIED)
                       : mechanism->command(session, body, frame.size, event);
    return answer < 0 ? answer : total;
}

/* --- who may come in ------------------------------------------------------------------------- */

int zm_session_zap_reply(zm_session *session, unsigned status, zm_event *event)
{
    ZM_ASSERT(session->stage == ZM__ASKED);
    *event = (zm_event){.kind = ZM_EVENT_NONE};
    if (status == 200) {
        session->stage = ZM__COMMANDS;
        return zm__mechanism_find(session->config.mechanism)->admitted(session, event);
    }
    if (status == 300) {
        session->stage = ZM__REFUSED_SILENTLY;
        return 0;
    }
    int answer = zm__command_send_error(session, status);
    return answer < 0 ? answer : zm__session_break(session, -EPROTO, ZM_FAULT_AUTH, status);
}

static ssize_t next_unit(zm_session *session, uint8_t *data, size_t size, zm_event *event)
{
    if (session->phase == ZM_BROKEN)
        return -EPROTO;
    switch ((zm__stage) session->stage) {
    case ZM__TRAFFIC:
        return traffic_next(session, data, size, event);
    case ZM__COMMANDS:
    case ZM__ASKED:
    case ZM__REFUSED_SILENTLY:
        return handshake_next(session, data, size, event);
    case ZM__PHANTOM:
        if (size < 1)
            return zm__session_need(session, 1);
        session->stage = ZM__TRAFFIC;
        event->kind = ZM_EVENT_SUBSCRIBE;
        event->data = data;
        return 1;
    default:
        return zm__greeting_next(session, data, size, event);
    }
}

/* --- from and to nothing -------------------------------------------------------------------- */

static uint8_t *copy_of(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = zm_alloc(size);
    if (copy && size)
        memcpy(copy, bytes, size);
    return copy;
}

int zm_session_init(zm_session *session, const zm_session_config *config)
{
    ZM_ASSERT(zm_socket_type_name(config->socket_type));
    ZM_ASSERT(config->routing_id_size <= 255);
    memset(session, 0, sizeof *session);
    const zm__mechanism *mechanism = zm__mechanism_find(config->mechanism);
    if (!mechanism)
        return -ENOTSUP;
    session->config = *config;
    session->message_room = UINT64_MAX;
    if (!config->max_command)
        session->config.max_command = ZM_MAX_COMMAND;
    if (!config->max_metadata)
        session->config.max_metadata = ZM_MAX_METADATA;
    session->config.username = session->config.password = NULL;
    session->config.curve_public = session->config.curve_secret = NULL;
    session->config.curve_server = NULL;
    session->config.routing_id = copy_of(config->routing_id, config->routing_id_size);
    session->config.metadata = copy_of(config->metadata, config->metadata_size);
    if (session->config.routing_id && session->config.metadata
        && (!mechanism->init || mechanism->init(session, config) == 0)
        && zm__greeting_start(session) == 0)
        return 0;
    zm_session_fini(session);
    return -ENOMEM;
}

void zm_session_fini(zm_session *session)
{
    if (session->mechanism_state)
        zm__mechanism_find(session->config.mechanism)->fini(session);
    zm_free((void *) (uintptr_t) session->config.routing_id);
    zm_free((void *) (uintptr_t) session->config.metadata);
    zm__session_out_free(session);
    zm_free(session->peer_routing_id);
    zm_free(session->peer_metadata);
    memset(session, 0, sizeof *session);
    session->phase = ZM_BROKEN;
}
