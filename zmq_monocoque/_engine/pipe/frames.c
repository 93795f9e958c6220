#include "frames.h"

#include <errno.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/block.h"
#include "../base/check.h"
#include "../zmtp/session.h"

/* --- received frames ----------------------------------------------------------------------- */

enum { FRAMES_MIN = 8 };

static int grow(zm_frames *frames)
{
    uint32_t capacity = frames->capacity ? frames->capacity * 2 : FRAMES_MIN;
    zm_frame *ring = zm_alloc(capacity * sizeof *ring);
    if (!ring)
        return -ENOMEM;
    for (uint32_t i = 0; i < frames->count; i++)
        ring[i] = *zm_frames_at(frames, i);
    zm_free(frames->ring);
    frames->ring = ring;
    frames->capacity = capacity;
    frames->first = 0;
    return 0;
}

int zm_frames_reserve(zm_frames *frames, uint32_t more)
{
    int rc = 0;
    while (rc == 0 && frames->capacity - frames->count < more)
        rc = grow(frames);
    return rc;
}

int zm_frames_push_slow(zm_frames *frames, zm_frame frame)
{
    int rc = grow(frames);
    if (rc == 0)
        frames->ring[frames->count++] = frame;
    return rc;
}

void zm_frames_drop_newest(zm_frames *frames, uint32_t count)
{
    ZM_DEBUG_ASSERT(count <= frames->count);
    while (count--) {
        zm_frame *gone = zm_frames_at(frames, --frames->count);
        if (!gone->block)
            continue;
        zm_frame *before = frames->count ? zm_frames_at(frames, frames->count - 1) : NULL;
        if (before && !before->block)
            before->block = gone->block;
        else
            zm_block_unref(gone->block);
    }
}

void zm_frames_clear(zm_frames *frames)
{
    while (frames->count) {
        zm_frame frame = zm_frames_take(frames);
        if (frame.block)
            zm_block_unref(frame.block);
    }
}

void zm_frames_fini(zm_frames *frames)
{
    zm_frames_clear(frames);
    zm_free(frames->ring);
    memset(frames, 0, sizeof *frames);
}

/* --- frames to send ------------------------------------------------------------------------ */

/* Idle peers hold no chunk; the first is small, because most peers say little. */
enum { CHUNK_FIRST = 1024 - 64, CHUNK_BYTES = 64 * 1024 - 64, LENGTHS_MIN = 8 };

struct zm_chunk {
    zm_chunk *next;
    size_t start, end; /* bytes of data that wait */
    size_t capacity;   /* 0: data belongs to block */
    zm_block *block;
    uint8_t *data;
};

static void chunk_free(zm_chunk *taken)
{
    if (taken->block)
        zm_block_unref(taken->block);
    zm_free(taken);
}

static void append(zm_outq *q, zm_chunk *taken)
{
    taken->next = NULL;
    if (q->tail)
        q->tail->next = taken;
    else
        q->head = taken;
    q->tail = taken;
}

/* An empty chunk at the end. NULL: memory is out. */
static uint8_t *new_chunk(zm_outq *q, size_t capacity)
{
    zm_chunk *chunk = zm_alloc(sizeof *chunk + capacity);
    if (!chunk)
        return NULL;
    chunk->start = chunk->end = 0;
    chunk->capacity = capacity;
    chunk->block = NULL;
    chunk->data = (uint8_t *) (chunk + 1);
    append(q, chunk);
    return chunk->data;
}

/* Room for `size` contiguous bytes at the end; NULL: memory is out. */
static uint8_t *room(zm_outq *q, size_t size)
{
    zm_chunk *tail = q->tail;
    if (ZM_LIKELY(tail && tail->capacity - tail->end >= size && tail->capacity))
        return tail->data + tail->end;
    size_t capacity = q->bytes < CHUNK_FIRST ? CHUNK_FIRST : CHUNK_BYTES;
    if (capacity < size)
        capacity = size > CHUNK_BYTES ? size : CHUNK_BYTES;
    return new_chunk(q, capacity);
}

/* As room(), for the header of a body that follows by reference: no more than that. */
static uint8_t *room_for_header(zm_outq *q)
{
    zm_chunk *tail = q->tail;
    if (tail && tail->capacity && tail->capacity - tail->end >= ZM_FRAME_HEADER_MAX)
        return tail->data + tail->end;
    return new_chunk(q, ZM_FRAME_HEADER_MAX);
}

static void added(zm_outq *q, size_t size)
{
    q->tail->end += size;
    q->bytes += size;
    q->partial += size;
}

int zm_outq_write(zm_outq *q, unsigned flags, const void *borrowed, size_t size)
{
    uint8_t *out = room(q, size + ZM_FRAME_HEADER_MAX);
    if (!out)
        return -ENOMEM;
    size_t header = zm_frame_header(out, flags, size);
    if (size)
        memcpy(out + header, borrowed, size);
    added(q, header + size);
    return 0;
}

int zm_outq_write_block(zm_outq *q, unsigned flags, zm_block *taken_on_success, size_t size)
{
    zm_chunk *body = zm_alloc(sizeof *body);
    if (!body)
        return -ENOMEM;
    uint8_t *out = room_for_header(q);
    if (!out) {
        zm_free(body);
        return -ENOMEM;
    }
    added(q, zm_frame_header(out, flags, size));
    body->start = body->end = 0;
    body->capacity = 0;
    body->block = taken_on_success;
    body->data = taken_on_success->data;
    append(q, body);
    added(q, size);
    return 0;
}

int zm_outq_widen(zm_outq *q)
{
    uint32_t capacity = q->capacity ? q->capacity * 2 : LENGTHS_MIN;
    uint64_t *lengths = zm_alloc(capacity * sizeof *lengths);
    if (!lengths)
        return -ENOMEM;
    for (uint32_t i = 0; i < q->count; i++)
        lengths[i] = q->lengths[(q->first + i) & (q->capacity - 1)];
    zm_free(q->lengths);
    q->lengths = lengths;
    q->capacity = capacity;
    q->first = 0;
    return 0;
}

int zm_outq_raw(zm_outq *q, const void *borrowed, size_t size)
{
    ZM_ASSERT(!q->partial);
    uint8_t *out = room(q, size);
    if (!out || (q->count == q->capacity && zm_outq_widen(q) < 0))
        return -ENOMEM;
    memcpy(out, borrowed, size);
    added(q, size);
    return zm_outq_commit(q);
}

/* Cuts the stream behind its first `keep` bytes. */
static void truncate_to(zm_outq *q, size_t keep)
{
    size_t left = keep;
    zm_chunk **slot = &q->head, *last = NULL;
    while (*slot) {
        zm_chunk *chunk = *slot;
        size_t here = chunk->end - chunk->start;
        if (left == 0) {
            *slot = chunk->next;
            chunk_free(chunk);
            continue;
        }
        if (here > left) {
            chunk->end = chunk->start + left;
            here = left;
        }
        left -= here;
        last = chunk;
        slot = &chunk->next;
    }
    q->tail = last;
    q->bytes = keep;
}

void zm_outq_rollback(zm_outq *q)
{
    if (!q->partial)
        return;
    ZM_DEBUG_ASSERT(q->partial + q->submitted <= q->bytes);
    truncate_to(q, q->bytes - q->partial);
    q->partial = 0;
}

uint32_t zm_outq_forget_waiting(zm_outq *q)
{
    ZM_ASSERT(!q->partial);
    size_t keep = q->submitted, seen = 0;
    uint32_t kept = 0;
    /* What was submitted ends at a message boundary, minus what is gone of the first one. */
    while (seen < keep + q->sent_of_first)
        seen += q->lengths[(q->first + kept++) & (q->capacity - 1)];
    keep = seen - (seen ? q->sent_of_first : 0);
    uint32_t forgotten = q->count - kept;
    q->count = kept;
    truncate_to(q, keep);
    return forgotten;
}

int zm_outq_vectors(const zm_outq *q, struct iovec *vectors, int count, size_t limit,
                    size_t *out_bytes)
{
    ZM_DEBUG_ASSERT(!q->submitted);
    size_t left = q->bytes - q->partial, taken = 0;
    if (left > limit)
        left = limit;
    int n = 0;
    for (zm_chunk *chunk = q->head; chunk && left && n < count; chunk = chunk->next) {
        size_t here = chunk->end - chunk->start;
        if (here > left)
            here = left;
        if (!here)
            continue;
        vectors[n].iov_base = chunk->data + chunk->start;
        vectors[n++].iov_len = here;
        left -= here;
        taken += here;
    }
    *out_bytes = taken;
    return n;
}

uint32_t zm_outq_consume(zm_outq *q, size_t bytes)
{
    ZM_ASSERT(bytes <= q->bytes - q->partial);
    size_t left = bytes;
    q->bytes -= bytes;
    while (left) {
        zm_chunk *chunk = q->head;
        size_t here = chunk->end - chunk->start;
        if (here > left) {
            chunk->start += left;
            break;
        }
        left -= here;
        if (chunk == q->tail && chunk->capacity) {
            chunk->start = chunk->end = 0; /* kept for what comes next */
            break;
        }
        q->head = chunk->next;
        if (!q->head)
            q->tail = NULL;
        chunk_free(chunk);
    }
    /* A zero-size body chunk at the front goes with its header. */
    while (q->head && q->head != q->tail && q->head->start == q->head->end) {
        zm_chunk *chunk = q->head;
        q->head = chunk->next;
        chunk_free(chunk);
    }
    if (!q->bytes && q->head) {
        /* An idle peer holds no memory. */
        while (q->head) {
            zm_chunk *chunk = q->head;
            q->head = chunk->next;
            chunk_free(chunk);
        }
        q->tail = NULL;
    }
    uint32_t gone = 0;
    size_t done = q->sent_of_first + bytes;
    while (q->count) {
        uint64_t length = q->lengths[q->first];
        if (length > done)
            break;
        done -= length;
        gone++;
        q->first = (q->first + 1) & (q->capacity - 1);
        q->count--;
    }
    q->sent_of_first = done;
    ZM_DEBUG_ASSERT(!done || (q->count && done < q->lengths[q->first]));
    return gone;
}

uint32_t zm_outq_cut(zm_outq *q)
{
    uint32_t cut = 0;
    q->submitted = 0;
    if (q->sent_of_first)
        cut = zm_outq_consume(q, q->lengths[q->first] - q->sent_of_first);
    ZM_ASSERT(!q->sent_of_first);
    return cut;
}

size_t zm_outq_peek(const zm_outq *q, size_t offset, void *out, size_t size)
{
    uint8_t *to = out;
    size_t copied = 0;
    for (zm_chunk *chunk = q->head; chunk && copied < size; chunk = chunk->next) {
        size_t here = chunk->end - chunk->start;
        if (offset >= here) {
            offset -= here;
            continue;
        }
        size_t n = here - offset;
        if (n > size - copied)
            n = size - copied;
        memcpy(to + copied, chunk->data + chunk->start + offset, n);
        copied += n;
        offset = 0;
    }
    return copied;
}

void zm_outq_fini(zm_outq *q)
{
    while (q->head) {
        zm_chunk *chunk = q->head;
        q->head = chunk->next;
        chunk_free(chunk);
    }
    zm_free(q->lengths);
    memset(q, 0, sizeof *q);
}
