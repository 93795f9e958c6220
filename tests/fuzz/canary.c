/* Two files of the engine with defects planted behind them, compiled in their place: a fuzzer that
 * does not find those finds nothing. ZM_FUZZ_CANARY is the number of the one that is there. */
#include <stdlib.h>

#include "zmtp/session.h"

enum { PLANTED_SIZE = 7 }; /* of the frame body that has to be hit upon */

static int planted(void)
{
    static int number = -1;
    if (number < 0) {
        const char *text = getenv("ZM_FUZZ_CANARY");
        number = text ? atoi(text) : 0;
    }
    return number;
}

/* 1: one byte is read behind a whole frame of 7 bytes, the first of which is 80 or more.
 * 2: the header of a command of 7 bytes is taken for a whole frame when no more is there: what is
 *    told depends on how the bytes were cut. */
#define zm__frame_next genuine_frame_next
#include "zmtp/framing.c"
#undef zm__frame_next

ssize_t zm__frame_next(zm_session *session, const uint8_t *data, size_t size, zm__frame *out_frame);

ssize_t zm__frame_next(zm_session *session, const uint8_t *data, size_t size, zm__frame *out_frame)
{
    ssize_t answer = genuine_frame_next(session, data, size, out_frame);
    if (planted() == 1 && answer > 0 && out_frame->size == PLANTED_SIZE
        && data[out_frame->header_size] & 0x80)
        out_frame->flags ^= data[answer] & ZM_FRAME_MORE;
    if (planted() == 2 && answer == 0 && session->phase == ZM_ACTIVE && size == 2
        && data[1] == PLANTED_SIZE && data[0] == ZM_FRAME_COMMAND) {
        out_frame->size = 0;
        return 2;
    }
    return answer;
}

/* 3: behind a genuine tag, a MESSAGE with a reserved flag and no text is read one byte too far. */
#define zm__curve_open genuine_curve_open
#define load_u64 load_curve_u64 /* each file has its own */
#include "zmtp/mechanism_curve.c"
#undef zm__curve_open

int zm__curve_open(zm_session *session, uint8_t *body, size_t size, unsigned *out_flags)
{
    int answer = genuine_curve_open(session, body, size, out_flags);
    if (planted() == 3 && answer == 0 && size == ZM__CURVE_HEAD && body[ZM__CURVE_HEAD - 1] & 0x80)
        *out_flags ^= body[size] & ZM_FRAME_MORE;
    return answer;
}
