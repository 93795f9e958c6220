/* The seam's own half: fills in requests, keeps the count of those in flight, and passes on to the
 * driver. Knows neither io_uring nor epoll. */
#include "driver.h"

#include <errno.h>

#include "../base/alloc.h"
#include "../base/fds.h"
#include "../base/lock.h"
#include "driver_private.h"
#include "waitset.h"

int zm_driver_open(zm_driver_kind kind, zm_driver **out_driver)
{
    ZM_POISON(out_driver);
    int rc = kind == ZM_DRIVER_IO_URING ? zm_uring_open(out_driver)
             : kind == ZM_DRIVER_EPOLL  ? zm_epoll_open(out_driver)
                                        : -EINVAL;
    if (rc == 0)
        (*out_driver)->fork_generation = zm_fork_generation();
    return rc;
}

void zm_driver_close(zm_driver *taken)
{
    /* In a forked child requests of the parent are still marked in flight; they are not ours. */
    ZM_ASSERT(taken->in_flight == 0 || zm_driver_is_inherited(taken));
    taken->ops->close(taken);
}

bool zm_driver_usable(const zm_driver *driver)
{
    return driver->ops->usable(driver);
}

bool zm_driver_is_shut(const zm_driver *driver)
{
    return atomic_load_explicit(&driver->shut, memory_order_relaxed);
}

void zm_driver_after_fork(void)
{
    zm_waitset_after_fork();
    zm_uring_messenger_forget();
}

int zm_driver_fd(const zm_driver *driver)
{
    return driver->fd;
}

unsigned zm_driver_in_flight(const zm_driver *driver)
{
    return driver->in_flight;
}

bool zm_driver_is_thread_bound(const zm_driver *driver)
{
    return driver->ops->thread_bound;
}

static inline void start(zm_driver *driver, zm_op *op, uint8_t request, int fd, void *buffer,
                         size_t size)
{
    ZM_ASSERT(!op->in_flight);
    op->in_flight = true;
    op->polled = false;
    op->request = request;
    op->thread = zm_thread_id();
    op->fd = fd;
    op->buffer = buffer;
    op->size = size;
    op->next = op->prev = NULL;
    driver->in_flight++;
    zm_driver_check_memory(op);
    driver->ops->start(driver, op);
}

void zm_driver_recv(zm_driver *driver, zm_op *op, int fd, void *lent, size_t size)
{
    ZM_ASSERT(size > 0); /* an answer of 0 means the end of the stream */
    start(driver, op, ZM_REQUEST_RECV, fd, lent, size < ZM_TRANSFER_MAX ? size : ZM_TRANSFER_MAX);
}

void zm_driver_send(zm_driver *driver, zm_op *op, int fd, struct msghdr *lent)
{
    start(driver, op, ZM_REQUEST_SEND, fd, lent, sizeof *lent);
}

void zm_driver_accept(zm_driver *driver, zm_op *op, int fd)
{
    start(driver, op, ZM_REQUEST_ACCEPT, fd, NULL, 0);
}

void zm_driver_connect(zm_driver *driver, zm_op *op, int fd, const struct sockaddr *lent,
                       socklen_t size)
{
    start(driver, op, ZM_REQUEST_CONNECT, fd, (void *) (uintptr_t) lent, size);
}

void zm_driver_cancel(zm_driver *driver, zm_op *op)
{
    if (op->in_flight)
        driver->ops->cancel(driver, op);
}

void zm_driver_submit(zm_driver *driver)
{
    driver->ops->submit(driver);
}

/* One who waits and one who reaps never meet, but others read it. */
static inline void count_entry(zm_driver *driver)
{
    uint64_t before = atomic_load_explicit(&driver->entries, memory_order_relaxed);
    atomic_store_explicit(&driver->entries, before + 1, memory_order_relaxed);
}

uint64_t zm_driver_entries(const zm_driver *driver)
{
    return atomic_load_explicit(&driver->entries, memory_order_relaxed);
}

void zm_driver_push(zm_driver *driver)
{
    driver->ops->push(driver);
}

int zm_driver_reap(zm_driver *driver, zm_completion *out, int count)
{
    count_entry(driver);
    return driver->ops->reap(driver, out, count);
}

bool zm_driver_ready(const zm_driver *driver)
{
    return driver->ops->ready(driver);
}

bool zm_driver_reap_pays(const zm_driver *driver)
{
    return driver->ops->reap_pays(driver);
}

void zm_driver_wait_prepare(zm_driver *driver)
{
    driver->ops->wait_prepare(driver);
}

int zm_driver_wait(zm_driver *driver, int64_t deadline_ns, int64_t spin_ns)
{
    count_entry(driver);
    return driver->ops->wait(driver, deadline_ns, spin_ns);
}

void zm_driver_wake(zm_driver *driver)
{
    driver->ops->wake(driver);
}
