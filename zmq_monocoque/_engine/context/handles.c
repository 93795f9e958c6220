/* Handles: numbers that stay safe when they are stale. The low bits are the index of a slot, the
 * rest a generation that is never used twice in a process. Slots are never given back, so a pointer
 * to one may be kept with its generation and checked under the slot's lock.
 *
 * After a fork the child's copies of all slots are dead: their generations move, what they own is
 * left alone, and their descriptors are closed. */
#include "handles.h"

#include <errno.h>
#include <string.h>

#include "../api.h"
#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/lock.h"
#include "../driver/driver.h"
#include "../socket/socket.h"
#include "context.h"

enum { INDEX_BITS = 20, SLOTS_MAX = 1 << INDEX_BITS, CONTEXTS_MAX = 1 << 16 };

zm_socket zm_nobody; /* never open */

static zm_lock table_lock;
static _Atomic uint32_t last_generation;
static _Atomic(zm_socket *) sockets[SLOTS_MAX];
ZM_GUARDED_BY(table_lock) static uint32_t socket_slots;
ZM_GUARDED_BY(table_lock) static zm_socket *free_sockets; /* linked by next_free */
static _Atomic(zm_context *) contexts[CONTEXTS_MAX];
ZM_GUARDED_BY(table_lock) static uint32_t context_slots;
ZM_GUARDED_BY(table_lock) static zm_context *free_contexts;

uint32_t zm_generation_new(void)
{
    uint32_t generation;
    do
        generation = atomic_fetch_add(&last_generation, 1) + 1;
    while (!generation || generation == ZM_STALE);
    return generation;
}

static int64_t handle_of(uint32_t index, uint32_t generation)
{
    return (int64_t) generation << INDEX_BITS | index;
}

zm_socket *zm_socket_slot_take(void)
{
    zm_lock_take(&table_lock);
    zm_socket *s = free_sockets;
    if (s) {
        free_sockets = s->next_free;
    } else if (socket_slots < SLOTS_MAX) {
        s = zm_alloc_permanent(sizeof *s);
        if (s) {
            s->index = socket_slots;
            atomic_store(&sockets[socket_slots++], s);
        }
    }
    zm_lock_give(&table_lock);
    return s;
}

void zm_socket_slot_give(zm_socket *s)
{
    zm_lock_take(&table_lock);
    s->next_free = free_sockets;
    free_sockets = s;
    zm_lock_give(&table_lock);
}

zm_socket *zm_socket_find(int64_t handle, uint32_t *out_generation)
{
    ZM_POISON(out_generation);
    if (handle <= 0)
        return NULL;
    zm_socket *s = atomic_load(&sockets[handle & (SLOTS_MAX - 1)]);
    uint32_t generation = (uint32_t) (handle >> INDEX_BITS);
    if (!s || !generation || atomic_load(&s->generation) != generation)
        return NULL;
    *out_generation = generation;
    return s;
}

int64_t zm_socket_handle(const zm_socket *s)
{
    return handle_of(s->index, atomic_load(&s->generation));
}

int zm_socket_lock_for(int64_t handle, bool brief, zm_socket **out_socket)
{
    uint32_t generation;
    zm_socket *s = zm_socket_find(handle, &generation);
    if (!s)
        return -ENOTSOCK;
    if (!brief)
        zm_socket_lock_take(s);
    else if (!zm_socket_lock_try(s))
        return ZM_LATER;
    if (ZM_LIKELY(atomic_load_explicit(&s->generation, memory_order_relaxed) == generation)) {
        *out_socket = s;
        return 0;
    }
    zm_socket_lock_give(s);
    return -ENOTSOCK;
}

zm_socket *zm_socket_lock(int64_t handle)
{
    zm_socket *s;
    return zm_socket_lock_for(handle, false, &s) < 0 ? NULL : s;
}

void zm_sockets_driven(int64_t *out_in_flight, int64_t *out_entries)
{
    *out_in_flight = *out_entries = 0;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        zm_socket *s = atomic_load(&sockets[i]);
        if (!s)
            break;
        zm_socket_lock_take(s);
        if (s->driver) {
            *out_in_flight += zm_driver_in_flight(s->driver);
            *out_entries += (int64_t) zm_driver_entries(s->driver);
        }
        zm_socket_lock_give(s);
    }
}

zm_context *zm_context_slot_take(void)
{
    zm_lock_take(&table_lock);
    zm_context *context = free_contexts;
    if (context) {
        free_contexts = context->next_free;
    } else if (context_slots < CONTEXTS_MAX) {
        context = zm_alloc_permanent(sizeof *context);
        if (context) {
            context->index = context_slots;
            atomic_store(&contexts[context_slots++], context);
        }
    }
    zm_lock_give(&table_lock);
    return context;
}

void zm_context_slot_give(zm_context *context)
{
    zm_lock_take(&table_lock);
    context->next_free = free_contexts;
    free_contexts = context;
    zm_lock_give(&table_lock);
}

int64_t zm_context_handle(const zm_context *context)
{
    return handle_of(context->index, atomic_load(&context->generation));
}

int zm_context_lock_for(int64_t handle, bool brief, zm_context **out_context)
{
    uint32_t generation = (uint32_t) (handle >> INDEX_BITS);
    uint32_t index = (uint32_t) (handle & (SLOTS_MAX - 1));
    if (handle <= 0 || index >= CONTEXTS_MAX || !generation)
        return -EFAULT;
    zm_context *context = atomic_load(&contexts[index]);
    if (!context)
        return -EFAULT;
    if (!brief)
        zm_context_lock_take(context);
    else if (!zm_context_lock_try(context))
        return ZM_LATER;
    if (atomic_load(&context->generation) == generation) {
        *out_context = context;
        return 0;
    }
    zm_context_lock_give(context);
    return -EFAULT;
}

zm_context *zm_context_lock(int64_t handle)
{
    zm_context *context;
    return zm_context_lock_for(handle, false, &context) < 0 ? NULL : context;
}

/* In the child: other threads are gone, whatever they held is as they left it. Nothing inside a
 * slot is trusted, no memory is freed, no driver is touched. */
void zm_handles_after_fork(void) ZM_LOCKS_UNCHECKED
{
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        zm_socket *s = atomic_load(&sockets[i]);
        if (!s)
            break;
        atomic_store(&s->generation, 0);
        atomic_store(&s->lock.word, 0);
        atomic_store(&sockets[i], NULL);
    }
    for (uint32_t i = 0; i < CONTEXTS_MAX; i++) {
        zm_context *context = atomic_load(&contexts[i]);
        if (!context)
            break;
        atomic_store(&context->generation, 0);
        atomic_store(&context->lock.word, 0);
        atomic_store(&contexts[i], NULL);
    }
    atomic_store(&table_lock.word, 0);
    atomic_store(&zm_nobody.lock.word, 0);
    socket_slots = context_slots = 0;
    free_sockets = NULL;
    free_contexts = NULL;
}
