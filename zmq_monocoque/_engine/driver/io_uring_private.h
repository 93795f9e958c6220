/* The io_uring driver's ring, shared by what uses it (io_uring.c) and what opens it and finds out
 * whether it can be had (io_uring_open.c). A ring is its socket's, whose lock is held but where it
 * says otherwise; what is mapped is shared with the kernel. Nothing else includes this. */
#ifndef ZM_DRIVER_IO_URING_PRIVATE_H
#define ZM_DRIVER_IO_URING_PRIVATE_H

#include <errno.h>
#include <stdatomic.h>

#include "driver_private.h"
#include "uring_abi.h"

/* user_data below this is ours; from here on it is the address of a zm_op. */
enum { DATA_CANCEL = 1, DATA_WAKE = 2, DATA_OP_MIN = 64 };

typedef struct zm_uring_liburing {
    int (*queue_init_params)(unsigned entries, zm_liburing_ring *ring, zm_uring_params *params);
    void (*queue_exit)(zm_liburing_ring *ring);
    int (*ring_dontfork)(zm_liburing_ring *ring);
    int (*enter2)(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                  void *argument, size_t size);
    int (*register_sync_msg)(zm_uring_sqe *sqe); /* NULL: not here */
} zm_uring_liburing;

extern zm_uring_liburing zm_liburing; /* filled in when a ring is first tried */

/* What a ring is woken by: the first of these that this kernel has. */
typedef enum zm_uring_waking {
    ZM_WAKES_BY_CALL,      /* register_sync_msg; Linux 6.13 */
    ZM_WAKES_BY_MESSENGER, /* Linux 5.18 */
    ZM_WAKES_BY_EVENT_FD   /* a descriptor more for each ring */
} zm_uring_waking;

extern zm_uring_waking zm_uring_wakes_by;

typedef struct zm_uring {
    zm_driver base;

    /* Mapped, shared with the kernel. */
    _Atomic unsigned *sq_head; /* kernel's */
    _Atomic unsigned *sq_tail; /* ours: entries before it may be taken */
    _Atomic unsigned *sq_flags;
    _Atomic unsigned *cq_head; /* ours */
    _Atomic unsigned *cq_tail; /* kernel's */
    zm_uring_sqe *sqes;
    zm_uring_cqe *cqes;
    unsigned sq_entries, sq_mask, cq_mask;

    unsigned sq_next; /* guarded by lock: where the next entry goes; *sq_tail once flushed */

    /* What wait_prepare() left for wait() to submit: the entries before claim_tail that are still
     * there. Written by the waiter, under the lock; read by it without. The next reap() ends the
     * claim: after 2^31 more requests the old claim_tail would seem to lie ahead of the queue. */
    unsigned claim_tail;
    uint32_t claim_thread;

    /* Completions taken out of a full CQ to make the kernel accept requests; op->size is the
     * result. Guarded by lock. `stashed` is what a waiter may look at. */
    zm_op *stash_first, *stash_last;
    _Atomic bool stashed;

    _Atomic bool waking; /* a wake is posted and not yet reaped */
    int event_fd; /* -1, but for ZM_WAKES_BY_EVENT_FD */
    bool must_arm; /* event_fd's poll has ended, as when the thread that armed it exits */

    zm_liburing_ring ring; /* liburing's own, for exit */
} zm_uring;

extern uint32_t zm_uring_setup_flags; /* the best that this kernel accepts */
extern const zm_driver_ops zm_uring_ops;

static inline zm_uring *uring_of(zm_driver *driver)
{
    return ZM_CONTAINER(driver, zm_uring, base);
}

/* Not for the moment: this process may not call it, and never will. */
static inline bool zm_uring_is_forbidden(int rc)
{
    return ZM_UNLIKELY(rc == -EPERM || rc == -EACCES || rc == -ENOSYS);
}

static inline int zm_uring_enter(zm_uring *u, unsigned to_submit, unsigned min_complete,
                                 unsigned flags, zm_uring_wait_arg *arg)
{
    int rc = zm_liburing.enter2((unsigned) u->base.fd, to_submit, min_complete, flags, arg,
                                arg ? sizeof *arg : 0);
    if (zm_uring_is_forbidden(rc))
        atomic_store(&u->base.shut, true);
    return rc;
}

/* uring_messenger.c. 0 or -errno. open() again does nothing. */
int zm_uring_messenger_open(void);
/* A wake by message. */
int zm_uring_post_message(int ring_fd);
/* Rings that ended. The kernel may put a new one where one that another thread used has been: that
 * this was before, it knows, and C does not unless who opens one has read this. */
extern _Atomic uint32_t zm_uring_exits;
/* Has the ring told of wakes that come by its eventfd. */
void zm_uring_arm_event_fd(zm_uring *u);

#endif
