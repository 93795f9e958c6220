/* The out queue (zm_outq) against a string of bytes and a list of messages: random writes, sends
 * and failures, by a seed; with each allocation failing in turn. */
#include <errno.h>
#include <string.h>

#include "model.h"
#include "pipe/frames.h"

enum { STREAM_MAX = 1 << 22, MESSAGES_MAX = 4096, STEPS = 400, LARGE = 70000 };

/* What the queue has to hold: `size` bytes, in messages of `lengths`. */
static uint8_t stream[STREAM_MAX];
static size_t size;
static size_t lengths[MESSAGES_MAX], messages;
static size_t partial; /* of `size`, belongs to a message that is not complete */
static size_t gone_of_first;
static bool memory_was_out; /* in this run */

static void take_from_front(size_t bytes)
{
    memmove(stream, stream + bytes, size - bytes);
    size -= bytes;
}

static void take_message(void)
{
    memmove(lengths, lengths + 1, --messages * sizeof *lengths);
}

/* ZMTP 2 and 3: a flag for more, a flag for a size of eight bytes, the size, and the body. */
static void add_frame(bool more, const uint8_t *body, size_t bytes)
{
    uint8_t head[9] = {(uint8_t) ((more ? 1 : 0) | (bytes > 255 ? 2 : 0)), (uint8_t) bytes};
    size_t head_size = 2;
    if (bytes > 255) {
        for (int i = 0; i < 8; i++)
            head[1 + i] = (uint8_t) ((uint64_t) bytes >> (56 - 8 * i));
        head_size = 9;
    }
    CHECK(size + head_size + bytes < STREAM_MAX && messages < MESSAGES_MAX - 1);
    memcpy(stream + size, head, head_size);
    memcpy(stream + size + head_size, body, bytes);
    size += head_size + bytes;
    partial += head_size + bytes;
}

static void check(const zm_outq *q)
{
    static uint8_t copy[STREAM_MAX];
    CHECK(q->bytes == size && q->partial == partial && q->count == messages);
    CHECK(q->sent_of_first == gone_of_first);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < q->count; i++)
        sum += q->lengths[(q->first + i) & (q->capacity - 1)];
    CHECK(sum + partial == size + gone_of_first);
    size_t offset = random_below((uint32_t) size + 1);
    size_t wanted = random_below((uint32_t) size + 100), there = size - offset;
    size_t n = zm_outq_peek(q, offset, copy, wanted);
    CHECK(n == (wanted < there ? wanted : there) && memcmp(copy, stream + offset, n) == 0);
    /* An idle peer holds no memory; but what a failure left empty may serve the next write. */
    CHECK(size || !q->head || (q->head == q->tail && memory_was_out));
}

/* One part of a message, as zm_peer_write_locked() does it. True: memory was out, and the message
 * that was being written is gone. */
static bool write_part(zm_outq *q)
{
    static uint8_t body[LARGE];
    size_t bytes = one_in(20) ? random_below(LARGE) : one_in(8) ? 0 : random_below(300);
    bool more = one_in(3), by_reference = one_in(4);
    for (size_t i = 0; i < bytes; i += 1 + i / 8)
        body[i] = (uint8_t) random_below(256);
    int rc;
    if (by_reference) {
        zm_block *block = zm_block_new(bytes);
        if (!block)
            return true; /* the caller had none to give */
        memcpy(block->data, body, bytes);
        rc = zm_outq_write_block(q, more, zm_block_ref(block), bytes);
        if (rc < 0)
            zm_block_unref(block);
        zm_block_unref(block);
    } else {
        rc = zm_outq_write(q, more, body, bytes);
    }
    if (rc == 0 && !more)
        rc = zm_outq_commit(q);
    if (rc < 0) {
        CHECK(rc == -ENOMEM);
        zm_outq_rollback(q);
        size -= partial;
        partial = 0;
        return true;
    }
    add_frame(more, body, bytes);
    if (!more) {
        lengths[messages++] = partial;
        partial = 0;
    }
    return false;
}

static bool write_raw(zm_outq *q)
{
    uint8_t body[64];
    size_t bytes = 1 + random_below(sizeof body);
    memset(body, (int) random_below(256), bytes);
    int rc = zm_outq_raw(q, body, bytes);
    if (rc < 0)
        return true; /* nothing was added */
    memcpy(stream + size, body, bytes);
    size += bytes;
    lengths[messages++] = bytes;
    return false;
}

static void submit(zm_outq *q)
{
    struct iovec vectors[8];
    size_t limit = one_in(3) ? random_below(1000) : SIZE_MAX, bytes, seen = 0;
    int n = zm_outq_vectors(q, vectors, 1 + (int) random_below(8), limit, &bytes);
    CHECK(bytes <= limit && bytes <= size - partial && (bytes > 0) == (n > 0));
    for (int i = 0; i < n; i++) {
        CHECK(vectors[i].iov_len > 0);
        CHECK(memcmp(stream + seen, vectors[i].iov_base, vectors[i].iov_len) == 0);
        seen += vectors[i].iov_len;
    }
    CHECK(seen == bytes);
    q->submitted = bytes;
    CHECK(zm_outq_waiting(q) == size - partial - bytes);
}

/* The kernel took some of it, or all. */
static void sent(zm_outq *q)
{
    size_t bytes = one_in(2) ? q->submitted : random_below((uint32_t) q->submitted + 1);
    q->submitted = 0;
    uint32_t gone = zm_outq_consume(q, bytes), expected = 0;
    take_from_front(bytes);
    gone_of_first += bytes;
    while (messages && gone_of_first >= lengths[0]) {
        gone_of_first -= lengths[0];
        take_message();
        expected++;
    }
    CHECK(gone == expected);
}

/* The connection is gone, and with it the rest of a message that was sent in part. */
static void cut(zm_outq *q)
{
    CHECK(zm_outq_cut(q) == (gone_of_first > 0));
    if (!gone_of_first)
        return;
    take_from_front(lengths[0] - gone_of_first);
    take_message();
    gone_of_first = 0;
}

/* CONFLATE: all but what the kernel has, to the end of that message. */
static void forget_waiting(zm_outq *q)
{
    size_t kept = 0, keep_bytes = 0;
    while (keep_bytes < q->submitted + gone_of_first)
        keep_bytes += lengths[kept++];
    CHECK(zm_outq_forget_waiting(q) == messages - kept);
    messages = kept;
    size = keep_bytes - gone_of_first;
}

static void scenario(uint64_t seed)
{
    (void) seed;
    zm_outq q = {0};
    memory_was_out = false;
    size = messages = partial = gone_of_first = 0;
    for (int i = 0; i < STEPS; i++) {
        switch (random_below(10)) {
        case 0:
            if (!q.submitted)
                submit(&q);
            break;
        case 1:
            sent(&q);
            break;
        case 2:
            if (one_in(8))
                cut(&q);
            break;
        case 3:
            zm_outq_rollback(&q);
            size -= partial;
            partial = 0;
            break;
        case 4:
            if (one_in(4) && !partial)
                forget_waiting(&q);
            break;
        case 5:
            if (!partial)
                memory_was_out |= write_raw(&q);
            break;
        default:
            memory_was_out |= write_part(&q);
        }
        check(&q);
    }
    zm_outq_fini(&q);
}

int main(int argc, char **argv)
{
    run_model(argc, argv, scenario);
    return 0;
}
