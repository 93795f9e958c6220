/* Chunks of a few pages, cut into equal slots. What is known of a chunk lies outside of it. */
#include "secret.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc.h"
#include "check.h"
#include "lock.h"

enum { SLOTS = 64, CHUNK_BYTES = SLOTS * ZM_SECRET_BYTES }; /* as many slots as `used` has bits */

typedef struct chunk {
    struct chunk *next;
    uint8_t *slots;
    uint64_t used;
    bool inherited; /* made before a fork: it is not locked here */
} chunk;

static zm_lock lock;
ZM_GUARDED_BY(lock) static chunk *chunks;

/* Where the advice is not known the bytes are as good as any other's. */
static void protect(void *start)
{
    mlock(start, CHUNK_BYTES);
    madvise(start, CHUNK_BYTES, MADV_DONTDUMP);
    madvise(start, CHUNK_BYTES, MADV_WIPEONFORK);
}

static chunk *chunk_new(void) ZM_NEEDS(lock)
{
    chunk *c = zm_calloc(sizeof *c);
    if (!c)
        return NULL;
    c->slots = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->slots == MAP_FAILED) {
        zm_free(c);
        return NULL;
    }
    protect(c->slots);
    c->next = chunks;
    chunks = c;
    return c;
}

void *zm_secret_new(void)
{
    void *secret = NULL;
    zm_lock_take(&lock);
    chunk *c = chunks;
    while (c && (c->inherited || c->used == UINT64_MAX))
        c = c->next;
    if (!c)
        c = chunk_new();
    if (c) {
        int slot = __builtin_ctzll(~c->used);
        c->used |= UINT64_C(1) << slot;
        secret = c->slots + slot * ZM_SECRET_BYTES;
    }
    zm_lock_give(&lock);
    return secret;
}

static bool holds(const chunk *c, const void *secret)
{
    uintptr_t at = (uintptr_t) secret, start = (uintptr_t) c->slots;
    return at >= start && at < start + CHUNK_BYTES;
}

void zm_secret_free(void *taken)
{
    if (!taken)
        return;
    explicit_bzero(taken, ZM_SECRET_BYTES);
    zm_lock_take(&lock);
    chunk **link = &chunks;
    while (*link && !holds(*link, taken))
        link = &(*link)->next;
    chunk *c = *link;
    ZM_ASSERT(c);
    c->used &= ~(UINT64_C(1) << (((uint8_t *) taken - c->slots) / ZM_SECRET_BYTES));
    if (!c->used) {
        *link = c->next;
        munmap(c->slots, CHUNK_BYTES);
        zm_free(c);
    }
    zm_lock_give(&lock);
}

/* There is no other thread then. */
void zm_secrets_after_fork(void) ZM_LOCKS_UNCHECKED
{
    atomic_store(&lock.word, 0);
    for (chunk *c = chunks; c; c = c->next)
        c->inherited = true;
}

void zm_secret_moved(void)
{
    /* The same routine in each of its ways, by size, so that it is the same registers. */
    static void *(*volatile copy)(void *, const void *, size_t) = memcpy;
    static const uint8_t zeros[512];
    uint8_t there[sizeof zeros];
    for (size_t size = 16; size <= sizeof zeros; size *= 2)
        copy(there, zeros, size);
}
