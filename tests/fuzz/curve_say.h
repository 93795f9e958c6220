/* The steps that an input of the CURVE targets is made of. */
#ifndef ZM_FUZZ_CURVE_SAY_H
#define ZM_FUZZ_CURVE_SAY_H

#include "curve_peer.h"

typedef struct curve_talk {
    talk t;
    curve_peer peer;
    size_t heard; /* cursor of talk_hear() */
} curve_talk;

/* Begins with the peer's greeting. */
void curve_begin(curve_talk *c, setup *how);
/* The peer says its next handshake command as it should be. */
void curve_shake_hands(curve_talk *c);
/* Says what the rest of the input asks for, step by step. First byte:
 *   & 07   0  u8 size, bytes as they are
 *          1  u8 flags, u8 size, body: a frame
 *          2  the next handshake command; u8 size, properties
 *          3  HELLO, or WELCOME
 *          4  INITIATE, or READY; u8 size, properties
 *          5  MESSAGE: u8 flags, u8 size, text
 *          6  the same with a leap of the counter: i8 leap
 *          7  the same with 8 times the text
 *   & 08   a change before sealing: u16 place, u8 xor
 *   & 10   a change after sealing: u16 place, u8 xor
 *   & 20   i8 bytes more
 *   & 40   the wrong key
 *   & 80   u8 flags of the frame */
void curve_say(curve_talk *c, input *in);
/* Looks at all that the session said, and ends. */
void curve_end(curve_talk *c);

#endif
