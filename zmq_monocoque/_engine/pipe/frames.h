/* Queues of frames. zm_frames: received frames, by reference to the memory they arrived in.
 * zm_outq: frames to send, already in ZMTP 2+ framing, so that the kernel can have them as they
 * are. */
#ifndef ZM_PIPE_FRAMES_H
#define ZM_PIPE_FRAMES_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "../base/block.h"
#include "../base/check.h"

enum { ZM_MORE = 1, ZM_COMMAND = 4, ZM_SUBSCRIBE_FRAME = 16, ZM_CANCEL_FRAME = 32 };

typedef struct zm_frame {
    const uint8_t *data;
    size_t size;
    /* A reference that goes with this frame; NULL: a later frame of the same queue holds the
     * memory for this one too (frames are taken in order). */
    zm_block *block;
    unsigned flags;
} zm_frame;

typedef struct zm_frames {
    zm_frame *ring; /* `capacity` entries, a power of two */
    uint32_t capacity, first, count;
} zm_frames;

/* Room for `more` frames: to push them does not fail. 0 or -ENOMEM. */
int zm_frames_reserve(zm_frames *frames, uint32_t more);
/* 0 or -ENOMEM (then the frame's block stays the caller's). */
int zm_frames_push_slow(zm_frames *frames, zm_frame frame);

static inline int zm_frames_push(zm_frames *frames, zm_frame frame)
{
    if (frames->count == frames->capacity)
        return zm_frames_push_slow(frames, frame);
    /* Field by field: copied whole, it would be read back in other pieces than it was just written
     * in, and a processor waits for that. */
    zm_frame *to = &frames->ring[(frames->first + frames->count++) & (frames->capacity - 1)];
    to->data = frame.data;
    to->size = frame.size;
    to->block = frame.block;
    to->flags = frame.flags;
    return 0;
}

static inline zm_frame *zm_frames_at(const zm_frames *frames, uint32_t i)
{
    return &frames->ring[(frames->first + i) & (frames->capacity - 1)];
}

/* The caller owns what the frame refers to. Not empty. */
static inline zm_frame zm_frames_take(zm_frames *frames)
{
    ZM_DEBUG_ASSERT(frames->count > 0);
    zm_frame frame = frames->ring[frames->first];
    frames->first = (frames->first + 1) & (frames->capacity - 1);
    frames->count--;
    return frame;
}

/* Drops the `count` newest frames. References they hold move to the newest one left (or go). */
void zm_frames_drop_newest(zm_frames *frames, uint32_t count);
void zm_frames_clear(zm_frames *frames);
void zm_frames_fini(zm_frames *frames);

typedef struct zm_chunk zm_chunk;

/* A byte stream of whole messages, cut where the kernel took some of it.
 * Invariant: sum of lengths[] + partial == bytes + sent_of_first. */
typedef struct zm_outq {
    zm_chunk *head, *tail;
    size_t bytes;     /* in the queue, partial message included */
    size_t partial;   /* of those, belong to a message that is not complete */
    size_t submitted; /* of those, the kernel has now (from the front) */
    size_t sent_of_first; /* bytes of the first message that are gone already */
    uint64_t *lengths; /* ring: bytes of each complete message */
    uint32_t capacity, first, count;
} zm_outq;

/* Adds one frame to the message that is being written. 0 or -ENOMEM (nothing added). */
int zm_outq_write(zm_outq *q, unsigned flags, const void *borrowed, size_t size);
/* As write, the body by reference, which is taken on success. */
int zm_outq_write_block(zm_outq *q, unsigned flags, zm_block *taken_on_success, size_t size);
/* Room for the length of one more message. 0 or -ENOMEM. */
int zm_outq_widen(zm_outq *q);
/* The message is complete. 0 or -ENOMEM (then the caller rolls back). */
static inline int zm_outq_commit(zm_outq *q)
{
    if (q->count == q->capacity && zm_outq_widen(q) < 0)
        return -ENOMEM;
    ZM_DEBUG_ASSERT(q->partial + q->submitted <= q->bytes);
    q->lengths[(q->first + q->count++) & (q->capacity - 1)] = q->partial;
    q->partial = 0;
    return 0;
}
/* Adds bytes that are a message of their own, without framing (STREAM). 0 or -ENOMEM. */
int zm_outq_raw(zm_outq *q, const void *borrowed, size_t size);
/* Forgets the message that is being written. */
void zm_outq_rollback(zm_outq *q);
/* Forgets complete messages that the kernel does not have, and returns how many; for CONFLATE. */
uint32_t zm_outq_forget_waiting(zm_outq *q);

static inline size_t zm_outq_waiting(const zm_outq *q)
{
    return q->bytes - q->partial - q->submitted;
}

/* The bytes that may be submitted now, at most `limit`. Call with nothing submitted. Returns the
 * number of vectors; *out_bytes their sum. */
int zm_outq_vectors(const zm_outq *q, struct iovec *vectors, int count, size_t limit,
                    size_t *out_bytes);
/* The kernel took `bytes` from the front. Returns how many messages are gone whole. */
uint32_t zm_outq_consume(zm_outq *q, size_t bytes);
/* The connection is gone: forgets a message that was sent in part. Returns how many that was. */
uint32_t zm_outq_cut(zm_outq *q);
/* Copies up to `size` bytes from `offset` behind the front; for sessions that re-encode. */
size_t zm_outq_peek(const zm_outq *q, size_t offset, void *out, size_t size);
void zm_outq_fini(zm_outq *q);

#endif
