/* The staged greeting, which finds out how old the peer is, and the identity frame that 1.0 and
 * 2.0 peers send in place of a handshake (RFC 13, 15, 23).
 *
 * What the peer's first bytes tell, and what they are answered with:
 *   first byte not FF           1.0, anonymous   the body of our identity frame
 *   FF, bit 0 of byte 9 clear   1.0, anonymous   the same
 *   FF ... 7F                   versioned        03, then, once the peer's major is there:
 *     major 0, 1                1.0, 2.0         our socket type, our identity frame
 *     major 2, 3, ...           3.x              the other 53 bytes of our greeting
 * The 10 bytes that we send first are, to an anonymous 1.0 peer, the header of our identity
 * frame: a long length of routing_id_size + 1, and flags. So only the body is owed to it. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire_order.h"
#include "framing.h"
#include "mechanism.h"
#include "session_private.h"

enum {
    SIGNATURE_SIZE = 10,
    GREETING_REST_SIZE = 64 - SIGNATURE_SIZE - 1, /* minor, mechanism, as-server, filler */
    MECHANISM_AT = 1,                             /* in the rest */
    TYPE_PUB = 1,
    TYPE_XPUB = 9,
};

static int put(zm_session *session, const void *bytes, size_t size)
{
    uint8_t *out = zm__session_out(session, size);
    if (!out)
        return -ENOMEM;
    if (size)
        memcpy(out, bytes, size);
    session->out_size += size;
    return 0;
}

static int put_identity_body(zm_session *session)
{
    return put(session, session->config.routing_id, session->config.routing_id_size);
}

static int put_identity_frame(zm_session *session)
{
    uint8_t header[ZM__V1_HEADER_MAX];
    size_t header_size = zm__frame_header(session, header, 0, session->config.routing_id_size);
    int answer = put(session, header, header_size);
    return answer < 0 ? answer : put_identity_body(session);
}

int zm__greeting_start(zm_session *session)
{
    uint8_t signature[SIGNATURE_SIZE] = {0xFF};
    zm_store_u64(signature + 1, (uint64_t) session->config.routing_id_size + 1);
    signature[9] = 0x7F;
    session->stage = ZM__SIGNATURE;
    return put(session, signature, sizeof signature);
}

static int refused(zm_session *session)
{
    return zm__session_break(session, -EPROTO, ZM_FAULT_SILENT, 0);
}

static ssize_t identity_next(zm_session *session, const uint8_t *data, size_t size, zm_event *event)
{
    zm__frame frame = {0};
    ssize_t total = zm__frame_next(session, data, size, &frame);
    if (total >= 0 && frame.size > (uint64_t) session->config.max_metadata)
        return zm__session_break(session, -EMSGSIZE, ZM_FAULT_SILENT, 0);
    if (total <= 0)
        return total;
    session->peer_routing_id = zm_alloc(frame.size);
    if (!session->peer_routing_id)
        return zm__session_break(session, -ENOMEM, ZM_FAULT_NONE, 0);
    memcpy(session->peer_routing_id, data + frame.header_size, frame.size);
    session->peer_routing_id_size = frame.size;

    /* An anonymous peer of a publisher does not forward its subscriptions, and so is taken to
     * want everything. That is told as an event of its own, which must consume something: the
     * last byte of this frame (which has at least two) is left for it. */
    int type = session->config.socket_type;
    bool phantom = session->stage == ZM__ANONYMOUS_IDENTITY
                   && (type == TYPE_PUB || type == TYPE_XPUB);
    zm__session_activate(session, event);
    if (phantom) {
        session->stage = ZM__PHANTOM;
        return total - 1;
    }
    return total;
}

static ssize_t anonymous_start(zm_session *session, const uint8_t *data, size_t size,
                               zm_event *event)
{
    if (session->config.refuse_old)
        return refused(session);
    session->version = ZM_WIRE_1_0;
    session->phase = ZM_HANDSHAKE;
    session->stage = ZM__ANONYMOUS_IDENTITY;
    int answer = put_identity_body(session);
    return answer < 0 ? answer : identity_next(session, data, size, event);
}

static ssize_t signature_next(zm_session *session, const uint8_t *data, size_t size,
                              zm_event *event)
{
    if (size > 0 && data[0] != 0xFF)
        return anonymous_start(session, data, size, event);
    if (size < SIGNATURE_SIZE)
        return zm__session_need(session, SIGNATURE_SIZE);
    if (!(data[SIGNATURE_SIZE - 1] & 1))
        return anonymous_start(session, data, size, event);
    session->stage = ZM__MAJOR;
    int answer = put(session, "\x03", 1);
    return answer < 0 ? answer : SIGNATURE_SIZE;
}

static int put_greeting_rest(zm_session *session)
{
    uint8_t rest[GREETING_REST_SIZE] = {1};
    const zm__mechanism *mechanism = zm__mechanism_find(session->config.mechanism);
    memcpy(rest + MECHANISM_AT, mechanism->name, sizeof mechanism->name);
    return put(session, rest, sizeof rest);
}

static ssize_t major_next(zm_session *session, const uint8_t *data, size_t size)
{
    if (size < 1)
        return zm__session_need(session, 1);
    int answer;
    if (data[0] <= 1) {
        if (session->config.refuse_old)
            return refused(session);
        uint8_t type = (uint8_t) session->config.socket_type;
        session->version = data[0] == 0 ? ZM_WIRE_1_0 : ZM_WIRE_2_0;
        session->stage = ZM__SOCKET_TYPE;
        answer = put(session, &type, 1);
    } else {
        /* 3.0 is told by the minor, which only major 3 defines. */
        session->version = data[0] == 3 ? ZM_WIRE_3_0 : ZM_WIRE_3_1;
        session->stage = ZM__GREETING_REST;
        answer = put_greeting_rest(session);
    }
    return answer < 0 ? answer : 1;
}

/* The peer's socket type is not looked at: libzmq's own numbers go beyond RFC 15's. */
static ssize_t socket_type_next(zm_session *session, size_t size)
{
    if (size < 1)
        return zm__session_need(session, 1);
    session->phase = ZM_HANDSHAKE;
    session->stage = ZM__IDENTITY;
    int answer = put_identity_frame(session);
    return answer < 0 ? answer : 1;
}

static ssize_t rest_next(zm_session *session, const uint8_t *data, size_t size, zm_event *event)
{
    if (size < GREETING_REST_SIZE)
        return zm__session_need(session, GREETING_REST_SIZE);
    if (session->version == ZM_WIRE_3_0 && data[0] != 0)
        session->version = ZM_WIRE_3_1;
    const zm__mechanism *mechanism = zm__mechanism_find(session->config.mechanism);
    if (memcmp(data + MECHANISM_AT, mechanism->name, sizeof mechanism->name) != 0)
        return zm__session_break(session, -EPROTO, ZM_FAULT_PROTOCOL, ZM__MECHANISM_MISMATCH);
    session->phase = ZM_HANDSHAKE;
    session->stage = ZM__COMMANDS;
    int answer = mechanism->start(session, event);
    return answer < 0 ? answer : GREETING_REST_SIZE;
}

ssize_t zm__greeting_next(zm_session *session, const uint8_t *data, size_t size, zm_event *event)
{
    switch ((zm__stage) session->stage) {
    case ZM__SIGNATURE:
        return signature_next(session, data, size, event);
    case ZM__MAJOR:
        return major_next(session, data, size);
    case ZM__SOCKET_TYPE:
        return socket_type_next(session, size);
    case ZM__GREETING_REST:
        return rest_next(session, data, size, event);
    default:
        return identity_next(session, data, size, event);
    }
}
