/* Handles of the C face: addresses of cells in one mapping that is never unmapped. A program may
 * look at one (czmq does), pass a wrong one or one that was closed, and is told so. */
#include "capi.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

enum {
    CELLS_MAX = 1 << 22, /* 128 MB of addresses; memory only where they were used */
    CELLS_MIN = 1 << 12, /* where addresses are limited */
    REST = 8192          /* cells that are given out before an ended one is again */
};
#define NONE UINT32_MAX

static zm_lock lock;
_Atomic(capi_cell *) capi_cells;
uint32_t capi_cells_max;
ZM_GUARDED_BY(lock) static uint32_t used; /* cells that were given out at least once */
ZM_GUARDED_BY(lock) static uint32_t free_first = NONE, free_last = NONE, free_count;

static void unlock_in_child(void)
{
    atomic_store(&lock.word, 0);
}

static bool map_locked(void) ZM_NEEDS(lock)
{
    for (uint32_t count = CELLS_MAX; count >= CELLS_MIN; count /= 2) {
        void *at = mmap(NULL, count * sizeof(capi_cell), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED)
            continue;
        capi_cells_max = count;
        pthread_atfork(NULL, NULL, unlock_in_child);
        atomic_store_explicit(&capi_cells, at, memory_order_release);
        return true;
    }
    return false;
}

static capi_cell *take_locked(void) ZM_NEEDS(lock)
{
    capi_cell *all = atomic_load_explicit(&capi_cells, memory_order_relaxed);
    if (!all && !map_locked())
        return NULL;
    all = atomic_load_explicit(&capi_cells, memory_order_relaxed);
    if (free_count > REST || (used == capi_cells_max && free_count)) {
        capi_cell *cell = &all[free_first];
        free_first = cell->next_free;
        free_count--;
        return cell;
    }
    return used < capi_cells_max ? &all[used++] : NULL;
}

capi_cell *capi_cell_new(capi_kind kind)
{
    zm_lock_take(&lock);
    capi_cell *cell = take_locked();
    zm_lock_give(&lock);
    if (!cell) {
        errno = EMFILE;
        return NULL;
    }
    atomic_store(&cell->generation, 0);
    atomic_store(&cell->object, 0);
    atomic_store(&cell->value, 0);
    atomic_store(&cell->kind, kind);
    return cell;
}

bool capi_cell_end(capi_cell *cell, capi_kind kind)
{
    uint32_t expected = kind;
    return atomic_compare_exchange_strong(&cell->kind, &expected, CAPI_FREE);
}

void capi_cell_free(capi_cell *cell)
{
    zm_lock_take(&lock);
    capi_cell *all = atomic_load_explicit(&capi_cells, memory_order_relaxed);
    uint32_t index = (uint32_t) (cell - all);
    cell->next_free = NONE;
    if (free_count++)
        all[free_last].next_free = index;
    else
        free_first = index;
    free_last = index;
    zm_lock_give(&lock);
}

capi_cell *capi_cell_lock(const void *handle, capi_kind kind) ZM_LOCKS_UNCHECKED
{
    capi_cell *cell = capi_cell_of(handle, kind);
    if (!cell)
        return NULL;
    zm_lock_take(&cell->lock);
    if (atomic_load(&cell->kind) == kind)
        return cell;
    zm_lock_give(&cell->lock);
    return NULL;
}

int capi_refuse(int error)
{
    errno = error;
    return -1;
}

int capi_answer(int rc)
{
    return rc < 0 ? capi_refuse(-rc) : rc;
}
