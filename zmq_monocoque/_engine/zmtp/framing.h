/* Frames of ZMTP 1.0 (RFC 13) and of 2.0 and later (RFC 15, 23): where one begins and ends.
 * Knows headers and sizes, not what a body means. */
#ifndef ZM_ZMTP_FRAMING_H
#define ZM_ZMTP_FRAMING_H

#include "session.h"

enum { ZM__V1_HEADER_MAX = 10 };

typedef struct zm__frame {
    unsigned flags;     /* ZM_FRAME_MORE, ZM_FRAME_COMMAND; reserved bits removed */
    size_t header_size;
    size_t size;        /* of the body */
} zm__frame;

/* The frame at the front of data, in the framing of session->version.
 *   > 0  bytes of header and body, all there
 *     0  incomplete, session->need is set
 *   < 0  -EPROTO, -EMSGSIZE: the session is broken */
ssize_t zm__frame_next(zm_session *session, const uint8_t *data, size_t size, zm__frame *out_frame);

/* Writes the header of a frame with a body of `size` in the framing of session->version into
 * out[0..10); returns the bytes written. */
size_t zm__frame_header(const zm_session *session, uint8_t *out, unsigned flags, size_t size);

#endif
