/* The in queue (zm_frames) against a list: frames that lie in slabs, of which the newest of a slab
 * holds it for the ones before, and frames with a block of their own. Memory may go only when
 * nobody can read it any more. With each allocation failing in turn. */
#include <errno.h>
#include <string.h>

#include "model.h"
#include "pipe/frames.h"

enum { FRAMES_MAX = 4096, STEPS = 3000, SLAB_BYTES = 64 };

typedef struct expected {
    const uint8_t *data;
    zm_block *memory;
} expected;

static expected list[FRAMES_MAX];
static uint32_t count;
static zm_block *slab; /* what is received into now; one reference ours */

/* Is `memory` held by a frame at `from` or behind it, or by the receiver? */
static bool is_held(const zm_frames *frames, uint32_t from, const zm_block *memory)
{
    for (uint32_t i = from; i < frames->count; i++)
        if (zm_frames_at(frames, i)->block == memory)
            return true;
    return memory == slab;
}

static void check(const zm_frames *frames)
{
    CHECK(frames->count == count);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(zm_frames_at(frames, i)->data == list[i].data);
        CHECK(is_held(frames, i, list[i].memory));
    }
}

/* The newest frame of the slab holds it, as in connection.c. */
static void hold_slab(zm_frames *frames)
{
    zm_frame *newest = count ? zm_frames_at(frames, count - 1) : NULL;
    if (newest && !newest->block)
        newest->block = zm_block_ref(slab);
}

/* Gives up the slab for a new one. False: memory is out, and there is none. */
static bool next_slab(zm_frames *frames)
{
    hold_slab(frames);
    if (slab)
        zm_block_unref(slab);
    slab = zm_block_new(SLAB_BYTES);
    return slab != NULL;
}

static void push(zm_frames *frames)
{
    bool own = one_in(5);
    zm_block *block = NULL;
    if (own) {
        hold_slab(frames); /* what lies in it comes before */
        block = zm_block_new(1 + random_below(300));
        if (!block)
            return;
    }
    zm_block *memory = own ? block : slab;
    zm_frame frame = {
        .data = memory->data + random_below((uint32_t) memory->size), .size = 1, .block = block};
    if (zm_frames_push(frames, frame) < 0) {
        if (block)
            zm_block_unref(block); /* it stayed ours */
        return;
    }
    CHECK(count < FRAMES_MAX);
    list[count++] = (expected){frame.data, memory};
}

static void take(zm_frames *frames)
{
    zm_frame frame = zm_frames_take(frames);
    CHECK(frame.data == list[0].data);
    CHECK(frame.block == list[0].memory || is_held(frames, 0, list[0].memory));
    volatile uint8_t byte = *frame.data; /* for the address sanitizer */
    (void) byte;
    memmove(list, list + 1, --count * sizeof *list);
    if (frame.block)
        zm_block_unref(frame.block);
}

static void scenario(uint64_t seed)
{
    (void) seed;
    zm_frames frames = {0};
    count = 0;
    slab = NULL;
    for (int i = 0; i < STEPS; i++) {
        if ((!slab || one_in(20)) && !next_slab(&frames))
            continue;
        uint32_t what = random_below(40);
        if (what == 0) {
            hold_slab(&frames);
            zm_frames_clear(&frames);
            count = 0;
        } else if (what < 4) {
            uint32_t drop = random_below(count < 5 ? count + 1 : 5);
            hold_slab(&frames);
            zm_frames_drop_newest(&frames, drop);
            count -= drop;
        } else if (what < 20 && count) {
            take(&frames);
        } else {
            push(&frames);
        }
        if (i % 16 == 0)
            check(&frames);
    }
    if (slab)
        zm_block_unref(slab);
    slab = NULL;
    /* Frames that nobody holds are of the slab that has just gone: they are not read any more. */
    zm_frames_fini(&frames);
}

int main(int argc, char **argv)
{
    run_model(argc, argv, scenario);
    return 0;
}
