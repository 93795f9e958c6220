/* A try of a driver before it is used: what the core asks of it, with the flags that it uses, on
 * descriptors like its own. The names of kernel versions are guesses for the reader; what counts is
 * what this kernel does. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "../base/clock.h"
#include "../base/fds.h"
#include "driver_private.h"
#include "sandbox.h"

/* As often as it takes for a receive to be asked for in each way that the driver has. */
enum { ROUNDS = 6 };
#define PATIENCE_NS (5000 * ZM_MS)

typedef struct probe {
    zm_driver *driver;
    zm_op accepts, connects, receives, sends;
    zm_completion done;
    int listener, client, server;
    struct sockaddr_un address;
    socklen_t address_size;
    char got;
    struct iovec vector;
    struct msghdr header;
} probe;

/* The next completion, `until_ns` at the latest. */
static bool next(probe *p, int64_t until_ns)
{
    do {
        if (zm_driver_reap(p->driver, &p->done, 1))
            return true;
        zm_driver_wait_prepare(p->driver);
        zm_driver_wait(p->driver, until_ns, 0);
    } while (zm_now_ns() < until_ns);
    return zm_driver_reap(p->driver, &p->done, 1);
}

/* Does a wait end by its time, and is nothing complete? A signal, or what is left of a wake, may
 * end one all the same. */
static bool rests(probe *p)
{
    for (int tries = 0; tries < 3; tries++) {
        if (zm_driver_reap(p->driver, &p->done, 1))
            return false;
        zm_driver_wait_prepare(p->driver);
        if (zm_driver_wait(p->driver, zm_now_ns(), 0) == -ETIMEDOUT)
            return !zm_driver_reap(p->driver, &p->done, 1);
    }
    return false;
}

/* Does the kernel wait with a request, instead of leaving that to the driver? */
static bool waits_with(probe *p, const zm_op *op)
{
    zm_driver_submit(p->driver);
    return rests(p) && op->in_flight && !op->polled;
}

static bool ends(probe *p, const zm_op *op, int32_t res)
{
    return next(p, zm_now_ns() + PATIENCE_NS) && p->done.op == op && p->done.res == res;
}

static const char *try_waking(probe *p)
{
    for (int i = 0; i < 3; i++) {
        if (!rests(p))
            return "it cannot watch a descriptor for more than one event: Linux 5.13 is needed";
        zm_driver_wake(p->driver);
        zm_driver_wait_prepare(p->driver);
        if (zm_driver_wait(p->driver, zm_now_ns() + PATIENCE_NS, 0) != 0)
            return "a wait is not woken";
    }
    return rests(p) ? NULL : "a wait is woken for ever";
}

static const char *try_accepting(probe *p)
{
    zm_driver_accept(p->driver, &p->accepts, p->listener);
    if (!waits_with(p, &p->accepts))
        return "it does not wait for connections to a socket that is non-blocking: Linux 5.19 is "
               "needed";
    zm_driver_connect(p->driver, &p->connects, p->client, (struct sockaddr *) &p->address,
                      p->address_size);
    for (int i = 0; i < 2; i++) {
        if (!next(p, zm_now_ns() + PATIENCE_NS) || p->done.res < 0)
            return "it does not connect";
        if (p->done.op == &p->accepts)
            p->server = p->done.res;
    }
    return NULL;
}

static const char *try_moving(probe *p)
{
    p->vector = (struct iovec){.iov_base = "x", .iov_len = 1};
    p->header = (struct msghdr){.msg_iov = &p->vector, .msg_iovlen = 1};
    for (int i = 0; i < ROUNDS; i++) {
        zm_driver_recv(p->driver, &p->receives, p->server, &p->got, 1);
        if (!waits_with(p, &p->receives))
            return "it does not wait for what is to be received";
        p->sends.whole = i % 2;
        zm_driver_send(p->driver, &p->sends, p->client, &p->header);
        bool one = next(p, zm_now_ns() + PATIENCE_NS) && p->done.res == 1;
        if (!one || !next(p, zm_now_ns() + PATIENCE_NS) || p->done.res != 1)
            return "it does not send and receive";
    }
    return NULL;
}

static const char *try_cancelling(probe *p)
{
    zm_driver_recv(p->driver, &p->receives, p->server, &p->got, 1);
    if (!waits_with(p, &p->receives))
        return "it does not wait for what is to be received";
    zm_driver_cancel(p->driver, &p->receives);
    return ends(p, &p->receives, -ECANCELED) ? NULL : "it does not cancel";
}

static const char *try_all(probe *p)
{
    const char *why = try_waking(p);
    if (!why)
        why = try_accepting(p);
    if (!why)
        why = try_moving(p);
    return why ? why : try_cancelling(p);
}

static int nonblocking_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        zm_fd_own(fd);
    return fd;
}

/* A listener whose name the kernel chooses. */
static bool open_sockets(probe *p)
{
    p->listener = nonblocking_socket();
    p->client = nonblocking_socket();
    p->address.sun_family = AF_UNIX;
    p->address_size = sizeof p->address;
    return p->listener >= 0 && p->client >= 0
           && bind(p->listener, (struct sockaddr *) &p->address, sizeof(sa_family_t)) == 0
           && listen(p->listener, 1) == 0
           && getsockname(p->listener, (struct sockaddr *) &p->address, &p->address_size) == 0;
}

/* What is in flight after a failure; its memory may not go before. */
static void end_requests(probe *p)
{
    zm_driver_cancel(p->driver, &p->accepts);
    zm_driver_cancel(p->driver, &p->connects);
    zm_driver_cancel(p->driver, &p->receives);
    zm_driver_cancel(p->driver, &p->sends);
    while (zm_driver_in_flight(p->driver) && next(p, zm_now_ns() + PATIENCE_NS))
        if (p->done.op == &p->accepts && p->done.res >= 0)
            p->server = p->done.res;
}

/* Takes an unused driver. NULL: it is all that it promises; else, for a person, what it does not
 * do. */
static const char *try_driver(zm_driver *taken)
{
    static probe p; /* requests that never end keep their memory */
    p = (probe){.driver = taken, .listener = -1, .client = -1, .server = -1};
    const char *why = open_sockets(&p) ? try_all(&p) : "it cannot be tried: there are no sockets";
    end_requests(&p);
    zm_fd_close(p.listener);
    zm_fd_close(p.client);
    zm_fd_close(p.server);
    if (!zm_driver_in_flight(taken))
        zm_driver_close(taken);
    return why;
}

static int try_uring(int rc)
{
    if (rc < 0)
        return rc;
    zm_driver *driver;
    zm_uring_refuse(0, NULL);
    rc = zm_driver_open(ZM_DRIVER_IO_URING, &driver);
    if (rc < 0)
        return zm_uring_refuse(rc, zm_uring_why_not(rc));
    const char *lack = try_driver(driver);
    if (!lack)
        return 0;
    char why[200];
    snprintf(why, sizeof why, "this kernel's io_uring is not enough: %s", lack);
    return zm_uring_refuse(-ENOSYS, why);
}

/* Is whoever asks for a ring killed? Then nobody asks, and this is the reason. */
static bool is_deadly(void)
{
    static const long calls[] = {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register};
    if (!zm_sandbox_kills(calls, ZM_COUNT(calls)))
        return false;
    zm_uring_refuse(-EPERM, "io_uring is forbidden here: the seccomp filter kills for it");
    return true;
}

int zm_uring_load(const char *path)
{
    return is_deadly() ? -EPERM : try_uring(zm_uring_try_ring(path));
}

int zm_uring_do_without(void)
{
    return is_deadly() ? -EPERM : try_uring(zm_uring_try_ring_alone());
}
