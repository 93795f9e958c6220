/* Handles: what leads from a number to its socket or context, or nowhere when that is gone. Slots
 * are never freed, so that a stale handle can be looked up at any time. Each takes what lock it
 * needs. */
#ifndef ZM_CONTEXT_HANDLES_H
#define ZM_CONTEXT_HANDLES_H

#include "../base/check.h"
#include "../base/lock.h"
#include "../objects.h"
#include "../socket/socket.h"

/* The socket of a handle, locked; NULL: stale (nothing is locked). */
zm_socket *zm_socket_lock(int64_t handle) ZM_TAKES_IF(true, zm_a_socket);
zm_socket *zm_socket_find(int64_t handle, uint32_t *out_generation);
int64_t zm_socket_handle(const zm_socket *s);
static inline bool zm_socket_lock_generation(zm_socket *s, uint32_t generation)
    ZM_TAKES_IF(true, zm_a_socket)
{
    zm_socket_lock_take(s);
    if (ZM_LIKELY(atomic_load_explicit(&s->generation, memory_order_relaxed) == generation))
        return true;
    zm_socket_lock_give(s);
    return false;
}
extern zm_socket zm_nobody; /* see api.h */
/* As zm_socket_lock(). 0; -ENOTSOCK: stale; ZM_LATER: `brief`, and somebody has the lock. */
int zm_socket_lock_for(int64_t handle, bool brief, zm_socket **out_socket)
    ZM_TAKES_IF(0, zm_a_socket);

/* handles.c. NULL: stale, nothing is locked. */
zm_context *zm_context_lock(int64_t handle) ZM_TAKES_IF(true, zm_a_context);
/* As zm_socket_lock_for(); -EFAULT: stale. */
int zm_context_lock_for(int64_t handle, bool brief, zm_context **out_context)
    ZM_TAKES_IF(0, zm_a_context);
int64_t zm_context_handle(const zm_context *context);
zm_context *zm_context_slot_take(void); /* NULL: no slot, or no memory */
void zm_context_slot_give(zm_context *context);
zm_socket *zm_socket_slot_take(void);
void zm_socket_slot_give(zm_socket *s);
uint32_t zm_generation_new(void);

/* Of all sockets: requests that the kernel holds, and entries of their drivers. */
void zm_sockets_driven(int64_t *out_in_flight, int64_t *out_entries);
void zm_handles_after_fork(void);

#endif
