/* Wakes by message, also on kernels that send one only from a ring (IORING_OP_MSG_RING, Linux 5.18;
 * 6.13 has a system call for it): all rings of the process share one that does nothing else. */
#include <errno.h>
#include <sched.h>

#include "../base/fds.h"
#include "../base/lock.h"
#include "driver_private.h"
#include "io_uring_private.h"
#include "uring_abi.h"

enum { ENTRIES = 4, TRIES = 64 };

static struct {
    zm_lock lock;
    bool is_open;
    zm_liburing_ring ring;
    /* Mapped, shared with the kernel; guarded by lock. */
    _Atomic unsigned *sq_head, *sq_tail, *cq_head, *cq_tail;
} messenger;

static int open_locked(void)
{
    zm_uring_params params = {.flags = ZM_URING_SETUP_CLAMP};
    int rc = zm_liburing.queue_init_params(ENTRIES, &messenger.ring, &params);
    if (rc < 0)
        return rc;
    zm_fd_own(messenger.ring.ring_fd);
    zm_liburing.ring_dontfork(&messenger.ring);
    messenger.sq_head = (_Atomic unsigned *) messenger.ring.sq.khead;
    messenger.sq_tail = (_Atomic unsigned *) messenger.ring.sq.ktail;
    messenger.cq_head = (_Atomic unsigned *) messenger.ring.cq.khead;
    messenger.cq_tail = (_Atomic unsigned *) messenger.ring.cq.ktail;
    messenger.is_open = true;
    return 0;
}

int zm_uring_messenger_open(void)
{
    zm_lock_take(&messenger.lock);
    int rc = messenger.is_open ? 0 : open_locked();
    zm_lock_give(&messenger.lock);
    return rc;
}

/* The one entry that was written is taken by the kernel, or taken back. */
static int submit_locked(unsigned tail)
{
    int fd = messenger.ring.ring_fd, rc = 0;
    for (int tries = 0; tries < TRIES; tries++) {
        rc = zm_liburing.enter2((unsigned) fd, 1, 0, 0, NULL, 0);
        /* Acquire pairs with the kernel's release: it has read the entry. */
        if (atomic_load_explicit(messenger.sq_head, memory_order_acquire) == tail + 1)
            return 0;
        if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY)
            break;
        sched_yield();
    }
    atomic_store_explicit(messenger.sq_tail, tail, memory_order_release);
    return rc < 0 ? rc : -EAGAIN;
}

static int send_locked(const zm_uring_sqe *message)
{
    unsigned tail = atomic_load_explicit(messenger.sq_tail, memory_order_relaxed);
    messenger.ring.sq.sqes[tail & *messenger.ring.sq.kring_mask] = *message;
    atomic_store_explicit(messenger.sq_tail, tail + 1, memory_order_release);
    int rc = submit_locked(tail);
    if (rc < 0)
        return rc;
    /* It is sent inside of that call, and answered. */
    unsigned head = atomic_load_explicit(messenger.cq_head, memory_order_relaxed);
    if (head == atomic_load_explicit(messenger.cq_tail, memory_order_acquire))
        return -EAGAIN;
    rc = messenger.ring.cq.cqes[head & *messenger.ring.cq.kring_mask].res;
    atomic_store_explicit(messenger.cq_head, head + 1, memory_order_release);
    return rc;
}

int zm_uring_post_message(int ring_fd)
{
    zm_uring_sqe message = {
        .opcode = ZM_URING_OP_MSG_RING,
        .fd = ring_fd,
        .off = DATA_WAKE,
    };
    if (zm_uring_wakes_by == ZM_WAKES_BY_CALL)
        return zm_liburing.register_sync_msg(&message);
    zm_lock_take(&messenger.lock);
    int rc = messenger.is_open ? send_locked(&message) : -EBADF;
    zm_lock_give(&messenger.lock);
    return rc;
}

void zm_uring_messenger_forget(void)
{
    if (messenger.is_open)
        zm_fd_close(messenger.ring.ring_fd);
    messenger.is_open = false;
    messenger.lock = (zm_lock){0};
}
