/* Frame headers, read and written. The common frame never comes here: zm_session_next() takes
 * short plain frames itself. */
#include "framing.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/wire_order.h"
#include "session_private.h"

/* RFC 23: the long size has 63 bits. Also what keeps header + body within size_t. */
static const uint64_t long_size_end = (uint64_t) 1 << 63;

static int bad_frame(zm_session *session, int error)
{
    return zm__session_break(session, error, ZM_FAULT_SILENT, 0);
}

/* A limit below zero becomes the largest number there is. */
static bool too_large(const zm_session *session, uint64_t body_size)
{
    return body_size > (uint64_t) session->config.max_msg_size;
}

static ssize_t whole(zm_session *session, size_t size, const zm__frame *frame)
{
    size_t total = frame->header_size + frame->size;
    return size < total ? zm__session_need(session, total) : (ssize_t) total;
}

/* L flags body, or FF u64(L) flags body, where L counts the flags too. */
static ssize_t v1_next(zm_session *session, const uint8_t *data, size_t size, zm__frame *out_frame)
{
    if (size == 0)
        return zm__session_need(session, 2);
    uint64_t length = data[0];
    size_t flags_at = 1;
    if (length == 0xFF) {
        flags_at = 9;
        if (size < flags_at)
            return zm__session_need(session, ZM__V1_HEADER_MAX);
        length = zm_load_u64(data + 1);
    }
    if (length == 0 || length >= long_size_end)
        return bad_frame(session, -EPROTO);
    if (too_large(session, length - 1))
        return bad_frame(session, -EMSGSIZE);
    out_frame->header_size = flags_at + 1;
    out_frame->size = (size_t) (length - 1);
    out_frame->flags = size > flags_at ? data[flags_at] & ZM_FRAME_MORE : 0;
    return whole(session, size, out_frame);
}

static ssize_t v2_next(zm_session *session, const uint8_t *data, size_t size, zm__frame *out_frame)
{
    if (size == 0)
        return zm__session_need(session, 2);
    size_t header_size = data[0] & ZM_FRAME_LONG ? 9 : 2;
    if (size < header_size)
        return zm__session_need(session, header_size);
    uint64_t body_size = header_size == 2 ? data[1] : zm_load_u64(data + 1);
    if (body_size >= long_size_end)
        return bad_frame(session, -EPROTO);
    if (too_large(session, body_size))
        return bad_frame(session, -EMSGSIZE);
    out_frame->flags = data[0] & (ZM_FRAME_MORE | ZM_FRAME_COMMAND);
    out_frame->header_size = header_size;
    out_frame->size = (size_t) body_size;
    return whole(session, size, out_frame);
}

ssize_t zm__frame_next(zm_session *session, const uint8_t *data, size_t size, zm__frame *out_frame)
{
    ssize_t total = session->version == ZM_WIRE_1_0 ? v1_next(session, data, size, out_frame)
                                                    : v2_next(session, data, size, out_frame);
    if (total < 0)
        ZM_POISON(out_frame);
    return total;
}

size_t zm__frame_header(const zm_session *session, uint8_t *out, unsigned flags, size_t size)
{
    if (session->version != ZM_WIRE_1_0)
        return zm_frame_header(out, flags, size);
    if (size < 254) {
        out[0] = (uint8_t) (size + 1);
        out[1] = (uint8_t) flags;
        return 2;
    }
    out[0] = 0xFF;
    zm_store_u64(out + 1, (uint64_t) size + 1);
    out[9] = (uint8_t) flags;
    return ZM__V1_HEADER_MAX;
}
