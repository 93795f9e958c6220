/* A block: reference-counted memory that message bodies live in. The bytes are written once, by
 * whoever made the block, before the block is shown to anybody else; after that they are frozen. */
#ifndef ZM_BASE_BLOCK_H
#define ZM_BASE_BLOCK_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zm_block zm_block;
struct zm_block {
    _Atomic uint32_t refs;
    size_t size;      /* bytes at data */
    size_t capacity;  /* bytes behind this header; not of foreign memory */
    uint8_t *data;    /* behind this header, or foreign memory when `release` is set */
    /* Called once, on any thread and without the GIL, when the last reference goes. NULL: the
     * memory is one piece with the header. A foreign block's release frees the header too. */
    void (*release)(zm_block *taken);
    void *hint; /* owned by the code that set `release` */
};

/* A block of `size` bytes, one reference; NULL when memory is out. */
zm_block *zm_block_new(size_t size);
/* The same, wiped when the last reference goes. */
zm_block *zm_block_new_secret(size_t size);
void zm_block_free(zm_block *taken);
/* In a forked child: another thread may have held the store. */
void zm_block_store_after_fork(void);

static inline zm_block *zm_block_ref(zm_block *borrowed)
{
    atomic_fetch_add_explicit(&borrowed->refs, 1, memory_order_relaxed);
    return borrowed;
}

/* `count` references more, for one who hands them out one by one. */
static inline void zm_block_ref_many(zm_block *borrowed, uint32_t count)
{
    atomic_fetch_add_explicit(&borrowed->refs, count, memory_order_relaxed);
}

static inline void zm_block_unref_many(zm_block *taken, uint32_t count)
{
    if (atomic_fetch_sub_explicit(&taken->refs, count, memory_order_release) == count) {
        /* Pairs with the release above: every user's last access comes before the free. */
        atomic_load_explicit(&taken->refs, memory_order_acquire);
        zm_block_free(taken);
    }
}

static inline void zm_block_unref(zm_block *taken)
{
    zm_block_unref_many(taken, 1);
}

#endif
