/* Counted memory. Knows nothing of what it is used for. */
#include "alloc.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "check.h"

static _Atomic int64_t live;
static _Atomic int64_t fail_after = -1;

static int must_fail(void)
{
    if (ZM_LIKELY(atomic_load_explicit(&fail_after, memory_order_relaxed) < 0))
        return 0;
    return atomic_fetch_sub(&fail_after, 1) == 0;
}

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
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
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(taken);
}

void *zm_alloc_permanent(size_t bytes)
{
    return must_fail() ? NULL : calloc(1, bytes);
}

void zm_alloc_recount(int difference)
{
    atomic_fetch_add_explicit(&live, difference, memory_order_relaxed);
}

int64_t zm_alloc_live(void)
{
    return atomic_load(&live);
}

int64_t zm_alloc_fail_after(int64_t n)
{
    return atomic_exchange(&fail_after, n);
}
