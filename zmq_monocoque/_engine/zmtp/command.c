/* READY and ERROR (RFC 37, "Properties" and "ERROR command"), read and written. */
#include "command.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/wire_order.h"
#include "session_private.h"

enum { PROPERTY_OVERHEAD = 1 + 4 };

static size_t property_size(const char *name, size_t value_size)
{
    return PROPERTY_OVERHEAD + strlen(name) + value_size;
}

static uint8_t *put_property(uint8_t *out, const char *name, const void *value, size_t value_size)
{
    out += zm__command_name(out, name);
    zm_store_u32(out, (uint32_t) value_size);
    out += sizeof(uint32_t);
    if (value_size)
        memcpy(out, value, value_size);
    return out + value_size;
}

size_t zm__command_properties_size(const zm_session *session)
{
    const zm_session_config *config = &session->config;
    size_t size = property_size("Socket-Type", strlen(zm_socket_type_name(config->socket_type)));
    if (zm__socket_type_has_identity(config->socket_type))
        size += property_size("Identity", config->routing_id_size);
    return size + config->metadata_size;
}

void zm__command_put_properties(const zm_session *session, uint8_t *out)
{
    const zm_session_config *config = &session->config;
    const char *type_name = zm_socket_type_name(config->socket_type);
    out = put_property(out, "Socket-Type", type_name, strlen(type_name));
    if (zm__socket_type_has_identity(config->socket_type))
        out = put_property(out, "Identity", config->routing_id, config->routing_id_size);
    if (config->metadata_size)
        memcpy(out, config->metadata, config->metadata_size);
}

uint8_t *zm__command_send(zm_session *session, const char *name, size_t size)
{
    size_t body_size = 1 + strlen(name) + size;
    uint8_t *out = zm__session_out(session, ZM_FRAME_HEADER_MAX + body_size);
    if (!out)
        return NULL;
    size_t header_size = zm_frame_header(out, ZM_FRAME_COMMAND, body_size);
    out += header_size;
    session->out_size += header_size + body_size;
    return out + zm__command_name(out, name);
}

int zm__command_send_properties(zm_session *session, const char *name)
{
    uint8_t *out = zm__command_send(session, name, zm__command_properties_size(session));
    if (!out)
        return -ENOMEM;
    zm__command_put_properties(session, out);
    return 0;
}

int zm__command_send_error(zm_session *session, unsigned status)
{
    enum { DIGITS = 3 };
    /* libzmq has a slip here, in both roles of PLAIN: `^` in place of the length and the E. */
    bool slip = session->config.mechanism == ZM_PLAIN;
    const char *name = slip ? &ZM__PLAIN_ERROR[1] : "ERROR";
    uint8_t *out = zm__command_send(session, name, 1 + DIGITS);
    if (!out)
        return -ENOMEM;
    if (slip)
        out[-(ptrdiff_t) sizeof ZM__PLAIN_ERROR + 1] = (uint8_t) ZM__PLAIN_ERROR[0];
    *out++ = DIGITS;
    for (unsigned unit = 100; unit; unit /= 10)
        *out++ = (uint8_t) ('0' + status / unit % 10);
    return 0;
}

/* Property names are compared without regard to case (RFC 37), whatever the locale. */
static bool is_name(const uint8_t *name, size_t size, const char *wanted)
{
    if (size != strlen(wanted))
        return false;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = name[i];
        uint8_t w = (uint8_t) wanted[i];
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (c != w && (!is_letter || (c | 0x20) != (w | 0x20)))
            return false;
    }
    return true;
}

/* A copy of value in *owned, in place of what was there. */
static int keep(zm_session *session, uint8_t **owned, size_t *out_size, const uint8_t *value,
                size_t size)
{
    uint8_t *copy = zm_alloc(size);
    if (!copy)
        return zm__session_break(session, -ENOMEM, ZM_FAULT_NONE, 0);
    if (size)
        memcpy(copy, value, size);
    zm_free(*owned);
    *owned = copy;
    *out_size = size;
    return 0;
}

static int bad_properties(zm_session *session)
{
    return zm__session_break(session, -EPROTO, ZM_FAULT_SILENT, 0);
}

static int take_socket_type(zm_session *session, const uint8_t *value, size_t size)
{
    char name[sizeof session->peer_socket_type] = "";
    if (size >= sizeof name || memchr(value, 0, size))
        return bad_properties(session);
    memcpy(name, value, size);
    if (!zm_session_types_match(session->config.socket_type, name))
        return bad_properties(session);
    memcpy(session->peer_socket_type, name, sizeof name);
    return 0;
}

static int take_property(zm_session *session, const uint8_t *name, size_t name_size,
                         const uint8_t *value, size_t value_size)
{
    if (is_name(name, name_size, "Socket-Type"))
        return take_socket_type(session, value, value_size);
    if (is_name(name, name_size, "Identity"))
        return keep(session, &session->peer_routing_id, &session->peer_routing_id_size, value,
                    value_size);
    return 0;
}

int zm__command_take_properties(zm_session *session, const uint8_t *data, size_t size)
{
    const uint8_t *at = data;
    size_t left = size;
    while (left > 0) {
        size_t name_size = at[0];
        if (left < PROPERTY_OVERHEAD + name_size)
            return bad_properties(session);
        const uint8_t *name = at + 1;
        size_t value_size = zm_load_u32(name + name_size);
        const uint8_t *value = name + name_size + 4;
        left -= PROPERTY_OVERHEAD + name_size;
        if (left < value_size)
            return bad_properties(session);
        int answer = take_property(session, name, name_size, value, value_size);
        if (answer < 0)
            return answer;
        at = value + value_size;
        left -= value_size;
    }
    return keep(session, &session->peer_metadata, &session->peer_metadata_size, data, size);
}

int zm__command_take_ready(zm_session *session, const uint8_t *data, size_t size)
{
    int answer = zm__command_take_properties(session, data, size);
    if (answer == -EPROTO) {
        session->fault = ZM_FAULT_PROTOCOL;
        session->fault_value = ZM__INVALID_METADATA;
    }
    return answer;
}

int zm__command_take_error(zm_session *session, const uint8_t *data, size_t size)
{
    if (size < 1 || data[0] > size - 1)
        return zm__session_break(session, -EPROTO, ZM_FAULT_PROTOCOL, ZM__MALFORMED_ERROR);
    const uint8_t *reason = data + 1;
    bool is_status = data[0] == 3 && reason[0] >= '3' && reason[0] <= '5' && reason[1] == '0'
                     && reason[2] == '0';
    if (is_status)
        return zm__session_break(session, -EPROTO, ZM_FAULT_AUTH, (reason[0] - '0') * 100u);
    return zm__session_break(session, -EPROTO, ZM_FAULT_SILENT, 0);
}
