/* What the drivers share, and how driver.c reaches them. Nothing outside driver/ includes this. */
#ifndef ZM_DRIVER_DRIVER_PRIVATE_H
#define ZM_DRIVER_DRIVER_PRIVATE_H

#include "driver.h"

#include <limits.h>
#include <stdatomic.h>

#include "../base/check.h"
#include "../base/fds.h"

/* zm_op.request */
enum { ZM_REQUEST_RECV = 1, ZM_REQUEST_SEND, ZM_REQUEST_ACCEPT, ZM_REQUEST_CONNECT };

/* One call moves at most this much (Linux MAX_RW_COUNT). */
enum { ZM_TRANSFER_MAX = INT_MAX & ~4095 };

typedef struct zm_driver_ops {
    bool thread_bound; /* requests complete in the thread that started them */
    void (*close)(zm_driver *taken);
    bool (*usable)(const zm_driver *driver);
    /* The op is filled: request, fd, buffer, size. */
    void (*start)(zm_driver *driver, zm_op *op);
    void (*cancel)(zm_driver *driver, zm_op *op);
    void (*submit)(zm_driver *driver);
    void (*push)(zm_driver *driver);
    int (*reap)(zm_driver *driver, zm_completion *out, int count);
    bool (*ready)(const zm_driver *driver);
    bool (*reap_pays)(const zm_driver *driver);
    void (*wait_prepare)(zm_driver *driver);
    int (*wait)(zm_driver *driver, int64_t deadline_ns, int64_t spin_ns);
    void (*wake)(zm_driver *driver);
} zm_driver_ops;

/* The head of every driver. */
struct zm_driver {
    const zm_driver_ops *ops;
    int fd;
    unsigned in_flight; /* guarded by the socket's lock */
    uint32_t fork_generation; /* of the process that opened it */
    /* The process locked itself in: the kernel takes nothing any more from here. What it has
     * already goes on to complete; all else is answered by -EPERM. */
    _Atomic bool shut;
    _Atomic uint64_t entries; /* waits and reaps; to see whether it is busy */
};

int zm_uring_open(zm_driver **out_driver);
/* The functions of liburing from the shared object at `path`, or system calls of our own, make a
 * ring that has what is needed. 0, or -errno and the reason. */
int zm_uring_try_ring(const char *path);
int zm_uring_try_ring_alone(void);
/* io_uring is not used, and why; always `rc`. NULL: it is used from now on. */
int zm_uring_refuse(int rc, const char *why);
const char *zm_uring_why_not(int rc); /* for a person: what the errno of a ring's making says */
/* The ring that wakes others goes with the process that made it. */
void zm_uring_messenger_forget(void);
int zm_epoll_open(zm_driver **out_driver);

/* The completion of `op` is being handed over. */
static inline void zm_driver_finish(zm_driver *driver, zm_op *op)
{
    ZM_ASSERT(op->in_flight);
    ZM_ASSERT(driver->in_flight > 0);
    op->in_flight = false;
    driver->in_flight--;
}

/* Was the driver opened by a parent of this process? Then nothing of the kernel's is touched. */
static inline bool zm_driver_is_inherited(const zm_driver *driver)
{
    return driver->fork_generation != zm_fork_generation();
}

/* Under AddressSanitizer: aborts with the address's history when memory that a request names is
 * not valid. The kernel's own accesses are invisible to it, so this is the last place to look. */
#ifdef ZM_ASAN
void zm_driver_check_memory(const zm_op *op);
#else
static inline void zm_driver_check_memory(const zm_op *op)
{
    (void) op;
}
#endif

/* ThreadSanitizer does not see that the kernel carries an op from the thread that submits it to
 * the one that reaps it. */
#ifdef ZM_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define ZM_OP_TO_KERNEL(op) __tsan_release(op)
#define ZM_OP_FROM_KERNEL(op) __tsan_acquire(op)
#else
#define ZM_OP_TO_KERNEL(op) ((void) 0)
#define ZM_OP_FROM_KERNEL(op) ((void) 0)
#endif

#endif
