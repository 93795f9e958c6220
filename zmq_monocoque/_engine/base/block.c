#include "block.h"

#include "alloc.h"
#include "check.h"

zm_block *zm_block_new(size_t size)
{
    if (size > SIZE_MAX - sizeof(zm_block))
        return NULL;
    zm_block *block = zm_alloc(sizeof *block + size);
    if (!block)
        return NULL;
    atomic_init(&block->refs, 1);
    block->size = size;
    block->data = (uint8_t *) (block + 1);
    block->release = NULL;
    block->hint = NULL;
    return block;
}

void zm_block_free(zm_block *taken)
{
    ZM_ASSERT(atomic_load(&taken->refs) == 0);
    if (taken->release)
        taken->release(taken);
    else
        zm_free(taken);
}
