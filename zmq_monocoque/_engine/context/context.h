/* Contexts: their sockets, inproc names, drivers that are kept and I/O threads. A context is in a
 * slot that stays for ever, and is kept alive by its sockets. */
#ifndef ZM_CONTEXT_CONTEXT_H
#define ZM_CONTEXT_CONTEXT_H

#include "../base/list.h"
#include "../base/lock.h"
#include "../base/names.h"
#include "../driver/driver.h"
#include "../objects.h"

enum {
    ZM_IO_THREADS_MAX = 64,
    ZM_CPUS_MAX = 1024,
    ZM_SPARE_DRIVERS = 4,
    ZM_RETRY_NS = 50 * 1000 /* before the next look at what another thread has locked */
};
#define ZM_NO_THREAD UINT32_MAX

#define ZM_OF_CONTEXT ZM_GUARDED_BY(zm_a_context)

struct zm_context {
    struct zm_context *next_free; /* of the slot, while it is free */
    zm_lock lock;
    _Atomic uint32_t generation;
    uint32_t index;
    _Atomic bool ended;           /* shutdown() or term() was called */
    _Atomic uint32_t socket_count; /* open and lingering */
    _Atomic uint32_t departures;   /* counts up when one goes: the wait word of term() */
    ZM_OF_CONTEXT zm_list sockets;
    ZM_OF_CONTEXT zm_names names; /* inproc names that are bound, or waited for */
    ZM_OF_CONTEXT zm_list waited_names;
    ZM_OF_CONTEXT int io_threads, max_sockets, max_msg_size, thread_priority, thread_policy;
    ZM_OF_CONTEXT int zero_copy;
    ZM_OF_CONTEXT bool blocky, ipv6;
    ZM_OF_CONTEXT bool cpus[ZM_CPUS_MAX]; /* THREAD_AFFINITY_CPU_ADD */
    ZM_OF_CONTEXT char thread_prefix[17];
    ZM_OF_CONTEXT zm_io_thread *threads[ZM_IO_THREADS_MAX];
    ZM_OF_CONTEXT uint32_t next_thread;
    /* Drivers of closed sockets, for the next ones: io_uring takes 60 us to make and to end. */
    ZM_OF_CONTEXT zm_driver *spares[ZM_SPARE_DRIVERS];
    ZM_OF_CONTEXT uint32_t spare_count;
    ZM_OF_CONTEXT int64_t spares_until;
};

/* The three of base/lock.h, for the lock of a context. */
static inline void zm_context_lock_take(zm_context *context)
    ZM_TAKES(zm_a_context) ZM_LOCKS_UNCHECKED
{
    zm_lock_take(&context->lock);
}
static inline bool zm_context_lock_try(zm_context *context)
    ZM_TAKES_IF(true, zm_a_context) ZM_LOCKS_UNCHECKED
{
    return zm_lock_try(&context->lock);
}
static inline void zm_context_lock_give(zm_context *context)
    ZM_GIVES(zm_a_context) ZM_LOCKS_UNCHECKED
{
    zm_lock_give(&context->lock);
}

int zm_context_set_for(int64_t context, int option, int value, bool brief);
int zm_context_get_for(int64_t context, int option, int *out_value, bool brief);

/* For socket: the context is kept alive by its sockets. */
void zm_context_driver_back(zm_context *context, zm_driver *taken);
void zm_context_socket_gone(zm_context *context);

/* A driver for s (made when it is first needed). 0 or -errno. */
int zm_socket_need_driver_locked(zm_socket *s) ZM_LOCKED;

#endif
