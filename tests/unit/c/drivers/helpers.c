/* What the tests of the drivers do again and again. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "drivers.h"

const char *liburing_path;
zm_driver_kind kind;
zm_driver *driver;
zm_lock lock;

void open_driver(void)
{
    CHECK_EQUAL(zm_driver_open(kind, &driver), 0);
}

void pair(int fds[2])
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    zm_fd_own(fds[0]);
    zm_fd_own(fds[1]);
}

void close_pair(int fds[2])
{
    zm_fd_close(fds[0]);
    zm_fd_close(fds[1]);
}

int listener(struct sockaddr_in *address, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    zm_fd_own(fd);
    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof *address;
    CHECK(bind(fd, (struct sockaddr *) address, size) == 0);
    CHECK(listen(fd, backlog) == 0);
    CHECK(getsockname(fd, (struct sockaddr *) address, &size) == 0);
    return fd;
}

int tcp_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0);
    zm_fd_own(fd);
    return fd;
}

/* Locked or alone: waits until exactly one completion came and returns its result. */
int32_t result_of(zm_op *op)
{
    int64_t deadline = LIMIT;
    for (;;) {
        zm_completion done;
        int n = zm_driver_reap(driver, &done, 1);
        if (n == 1) {
            CHECK(done.op == op);
            CHECK(!op->in_flight);
            return done.res;
        }
        zm_driver_wait_prepare(driver);
        int rc = zm_driver_wait(driver, deadline, 0);
        CHECK(rc != -ETIMEDOUT);
    }
}

void nothing_completes(void)
{
    zm_completion done;
    zm_driver_submit(driver);
    CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
}

/* After wait_prepare(). -EINTR stems from the faults of kernels/shim.c. */
void wait_for_something(int64_t spin_ns)
{
    int rc;
    do {
        rc = zm_driver_wait(driver, LIMIT, spin_ns);
    } while (rc == -EINTR);
    CHECK_EQUAL(rc, 0);
}

bool fd_readable(void)
{
    struct pollfd p = {.fd = zm_driver_fd(driver), .events = POLLIN};
    CHECK(poll(&p, 1, 0) >= 0);
    bool by_poll = p.revents & POLLIN;

    fd_set set;
    FD_ZERO(&set);
    FD_SET(p.fd, &set);
    struct timeval zero = {0};
    CHECK(select(p.fd + 1, &set, NULL, NULL, &zero) >= 0);
    CHECK_EQUAL(!!FD_ISSET(p.fd, &set), by_poll);

    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p.fd, &event) == 0);
    CHECK_EQUAL(epoll_wait(ep, &event, 1, 0) == 1, by_poll);
    close(ep);
    return by_poll;
}

void wait_fd_readable(void)
{
    struct pollfd p = {.fd = zm_driver_fd(driver), .events = POLLIN};
    int rc;
    while ((rc = poll(&p, 1, 20000)) < 0 && errno == EINTR) {
    }
    CHECK_EQUAL(rc, 1);
}

pthread_t run(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, function, argument) == 0);
    return thread;
}

struct msghdr *message(struct msghdr *header, struct iovec *vector, void *data, size_t size)
{
    *vector = (struct iovec){.iov_base = data, .iov_len = size};
    *header = (struct msghdr){.msg_iov = vector, .msg_iovlen = 1};
    return header;
}
