/* Counted memory. Knows nothing of what it is used for. */
#include "alloc.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "check.h"
#include "lock.h"

enum { COUNTS = 16, CACHE_LINE = 64 };

/* Each thread counts in one of these, and their sum is what there is: two threads that allocate for
 * each message would fetch a single counter from each other each time. */
static struct {
    _Alignas(CACHE_LINE) _Atomic int64_t live;
} counts[COUNTS];
static _Atomic int64_t fail_after = -1;

static void count(int64_t difference)
{
    /* Marks lie apart by powers of two: the high bits of a product tell them from each other. */
    uint64_t mixed = (uint64_t) zm_thread_mark() * 0x9e3779b97f4a7c15u;
    atomic_fetch_add_explicit(&counts[mixed >> 60].live, difference, memory_order_relaxed);
}

static int must_fail(void)
{
    if (ZM_LIKELY(atomic_load_explicit(&fail_after, memory_order_relaxed) < 0))
        return 0;
    return atomic_fetch_sub(&fail_after, 1) == 0;
}

static void *counted(void *p)
{
    if (p)
        count(1);
    return p;
}

void *zm_alloc(size_t bytes)
{
    return must_fail() ? NULL : counted(malloc(bytes ? bytes : 1));
}

void *zm_calloc(size_t bytes)
{
    return must_fail() ? NULL : counted(calloc(1, bytes ? bytes : 1));
}

void *zm_realloc(void *taken, size_t bytes)
{
    if (!taken)
        return zm_alloc(bytes);
    return must_fail() ? NULL : realloc(taken, bytes ? bytes : 1);
}

void zm_free(void *taken)
{
    if (!taken)
        return;
    count(-1);
    free(taken);
}

void *zm_alloc_permanent(size_t bytes)
{
    return must_fail() ? NULL : calloc(1, bytes);
}

void zm_alloc_recount(int difference)
{
    count(difference);
}

int64_t zm_alloc_live(void)
{
    int64_t live = 0;
    for (int i = 0; i < COUNTS; i++)
        live += atomic_load(&counts[i].live);
    return live;
}

int64_t zm_alloc_fail_after(int64_t n)
{
    return atomic_exchange(&fail_after, n);
}
