/* Blocks, and a small store of large ones: memory fresh from the system is paid for page by page,
 * which for a megabyte takes longer than to fill it. */
#include "block.h"

#include <string.h>

#include "alloc.h"
#include "check.h"
#include "lock.h"

enum {
    STORE_BLOCKS = 8,
    STORE_BYTES_MIN = 128 * 1024,       /* smaller ones are quick enough from the system */
    STORE_BYTES_MAX = 8 * 1024 * 1024   /* of one block; eight of them are all that is kept */
};

static zm_lock store_lock;
static zm_block *store[STORE_BLOCKS];
static int stored;

/* What ASan cannot follow through the store it is not given. */
#ifdef ZM_ASAN
static const bool storing = false;
#else
static const bool storing = true;
#endif

static bool storable(size_t size)
{
    return storing && size >= STORE_BYTES_MIN && size <= STORE_BYTES_MAX;
}

/* A stored block with room for `size` and not much more; NULL: none. */
static zm_block *from_store(size_t size)
{
    zm_block *found = NULL;
    zm_lock_take(&store_lock);
    for (int i = stored - 1; i >= 0 && !found; i--)
        if (store[i]->capacity >= size && store[i]->capacity / 2 <= size) {
            found = store[i];
            store[i] = store[--stored];
        }
    zm_lock_give(&store_lock);
    return found;
}

static bool to_store(zm_block *block)
{
    zm_lock_take(&store_lock);
    bool room = stored < STORE_BLOCKS;
    if (room)
        store[stored++] = block;
    zm_lock_give(&store_lock);
    return room;
}

zm_block *zm_block_new(size_t size)
{
    if (size > SIZE_MAX - sizeof(zm_block))
        return NULL;
    zm_block *block = storable(size) ? from_store(size) : NULL;
    if (block) {
        zm_alloc_recount(1);
    } else {
        block = zm_alloc(sizeof *block + size);
        if (!block)
            return NULL;
        block->capacity = size;
    }
    atomic_init(&block->refs, 1);
    block->size = size;
    block->data = (uint8_t *) (block + 1);
    block->release = NULL;
    block->hint = NULL;
    return block;
}

static void wipe(zm_block *taken)
{
    explicit_bzero(taken->data, taken->size);
    zm_free(taken);
}

zm_block *zm_block_new_secret(size_t size)
{
    zm_block *block = zm_block_new(size);
    if (block)
        block->release = wipe;
    return block;
}

void zm_block_free(zm_block *taken)
{
    ZM_ASSERT(atomic_load(&taken->refs) == 0);
    if (taken->release)
        taken->release(taken);
    else if (storable(taken->capacity) && to_store(taken))
        zm_alloc_recount(-1);
    else
        zm_free(taken);
}

void zm_block_store_after_fork(void)
{
    atomic_store(&store_lock.word, 0);
}
