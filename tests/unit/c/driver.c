/* Tests of the drivers behind driver/driver.h. One process a test:
 *
 *     driver io_uring|epoll TEST LIBURING [STUBS]
 *
 * STUBS is a library with the Python symbols that LIBURING wants and nobody calls. Exit 0: passed,
 * 77: not possible here (the reason is printed), else: failed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/lock.h"
#include "driver/driver.h"

#define CHECK(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "%s:%d: not so: %s (errno %d %s)\n", __FILE__, __LINE__, #x, errno, \
                    strerror(errno)); \
            _exit(1); \
        } \
    } while (0)
#define CHECK_EQUAL(a, b) \
    do { \
        long long left_ = (long long) (a), right_ = (long long) (b); \
        if (left_ != right_) { \
            fprintf(stderr, "%s:%d: %s is %lld, not %s = %lld\n", __FILE__, __LINE__, #a, left_, \
                    #b, right_); \
            _exit(1); \
        } \
    } while (0)

static const char *liburing_path;
static zm_driver_kind kind;
static zm_driver *driver;
static zm_lock lock;
#define LIMIT (zm_now_ns() + 20000 * ZM_MS)

/* --- helpers ------------------------------------------------------------------------------- */

static void open_driver(void)
{
    CHECK_EQUAL(zm_driver_open(kind, &driver), 0);
}

static void pair(int fds[2])
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    zm_fd_own(fds[0]);
    zm_fd_own(fds[1]);
}

static void close_pair(int fds[2])
{
    zm_fd_close(fds[0]);
    zm_fd_close(fds[1]);
}

static int listener(struct sockaddr_in *address, int backlog)
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

static int tcp_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0);
    zm_fd_own(fd);
    return fd;
}

/* Locked or alone: waits until exactly one completion came and returns its result. */
static int32_t result_of(zm_op *op)
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

static void nothing_completes(void)
{
    zm_completion done;
    zm_driver_submit(driver);
    CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
}

/* After wait_prepare(). -EINTR stems from the faults of kernels/shim.c. */
static void wait_for_something(int64_t spin_ns)
{
    int rc;
    do {
        rc = zm_driver_wait(driver, LIMIT, spin_ns);
    } while (rc == -EINTR);
    CHECK_EQUAL(rc, 0);
}

static bool fd_readable(void)
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

static void wait_fd_readable(void)
{
    struct pollfd p = {.fd = zm_driver_fd(driver), .events = POLLIN};
    int rc;
    while ((rc = poll(&p, 1, 20000)) < 0 && errno == EINTR) {
    }
    CHECK_EQUAL(rc, 1);
}

static pthread_t run(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, function, argument) == 0);
    return thread;
}

static struct msghdr *message(struct msghdr *header, struct iovec *vector, void *data, size_t size)
{
    *vector = (struct iovec){.iov_base = data, .iov_len = size};
    *header = (struct msghdr){.msg_iov = vector, .msg_iovlen = 1};
    return header;
}

/* --- requests ------------------------------------------------------------------------------ */

static void recv_gets_what_is_sent_before_and_after(void)
{
    int s[2];
    pair(s);
    char buffer[16];
    zm_op op = {0};

    CHECK(write(s[1], "before", 6) == 6);
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    CHECK(op.in_flight);
    CHECK_EQUAL(zm_driver_in_flight(driver), 1);
    CHECK_EQUAL(result_of(&op), 6);
    CHECK(memcmp(buffer, "before", 6) == 0);

    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    nothing_completes();
    CHECK(write(s[1], "after", 5) == 5);
    CHECK_EQUAL(result_of(&op), 5);
    CHECK(memcmp(buffer, "after", 5) == 0);

    CHECK(write(s[1], "more than fits here", 19) == 19);
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    CHECK_EQUAL(result_of(&op), 16);
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    CHECK_EQUAL(result_of(&op), 3);

    CHECK(shutdown(s[1], SHUT_WR) == 0);
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    CHECK_EQUAL(result_of(&op), 0);
    CHECK_EQUAL(zm_driver_in_flight(driver), 0);
    close_pair(s);
}

static void send_gathers_and_arrives(void)
{
    int s[2];
    pair(s);
    char got[16];
    struct iovec parts[3] = {{"one", 3}, {"", 0}, {"two", 3}};
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = 3};
    zm_op op = {0};
    zm_driver_send(driver, &op, s[0], &header);
    zm_driver_submit(driver);
    CHECK_EQUAL(result_of(&op), 6);
    CHECK_EQUAL(read(s[1], got, sizeof got), 6);
    CHECK(memcmp(got, "onetwo", 6) == 0);
    close_pair(s);
}

enum { STREAM_SIZE = 3 << 20 };

static uint8_t stream_byte(size_t i)
{
    return (uint8_t) (i * 31 + (i >> 8) * 7);
}

static void *drain(void *argument)
{
    int fd = *(int *) argument;
    uint8_t chunk[30000];
    size_t total = 0;
    while (total < STREAM_SIZE) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        CHECK(poll(&p, 1, 20000) == 1);
        ssize_t n = read(fd, chunk, sizeof chunk);
        CHECK(n > 0);
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQUAL(chunk[i], stream_byte(total + (size_t) i));
        total += (size_t) n;
    }
    return NULL;
}

static void a_full_socket_takes_a_send_in_parts(void)
{
    int s[2];
    pair(s);
    uint8_t *data = zm_alloc(STREAM_SIZE);
    for (size_t i = 0; i < STREAM_SIZE; i++)
        data[i] = stream_byte(i);
    size_t sent = 0, completions = 0;
    zm_op op = {0};
    struct msghdr header;
    struct iovec vector;
    /* Nobody reads: at last a send stays. */
    for (;;) {
        zm_completion done;
        message(&header, &vector, data + sent, STREAM_SIZE - sent);
        zm_driver_send(driver, &op, s[0], &header);
        zm_driver_submit(driver);
        if (zm_driver_reap(driver, &done, 1) == 0)
            break;
        CHECK(done.res > 0);
        sent += (size_t) done.res;
        completions++;
    }
    CHECK(sent > 0);
    pthread_t reader = run(drain, &s[1]);
    for (;;) {
        int32_t n = result_of(&op);
        CHECK(n > 0);
        sent += (size_t) n;
        completions++;
        if (sent == STREAM_SIZE)
            break;
        message(&header, &vector, data + sent, STREAM_SIZE - sent);
        zm_driver_send(driver, &op, s[0], &header);
    }
    CHECK(completions > 1);
    pthread_join(reader, NULL);
    zm_free(data);
    close_pair(s);
}

static void a_send_to_a_closed_peer_is_epipe_and_no_signal(void)
{
    int s[2];
    pair(s);
    zm_fd_close(s[1]);
    struct msghdr header;
    struct iovec vector;
    zm_op op = {0};
    zm_driver_send(driver, &op, s[0], message(&header, &vector, "x", 1));
    CHECK_EQUAL(result_of(&op), -EPIPE);
    zm_fd_close(s[0]);
}

static void accept_and_connect_meet(void)
{
    struct sockaddr_in address;
    int l = listener(&address, 8);
    int64_t owned = zm_fd_count();
    for (int accept_first = 0; accept_first < 2; accept_first++) {
        zm_op a = {0}, c = {0};
        int client = tcp_socket(), server = -1;
        if (accept_first)
            zm_driver_accept(driver, &a, l);
        zm_driver_connect(driver, &c, client, (struct sockaddr *) &address, sizeof address);
        if (!accept_first)
            zm_driver_accept(driver, &a, l);
        bool connected = false;
        int64_t deadline = LIMIT;
        while (!connected || server < 0) {
            zm_completion done;
            while (zm_driver_reap(driver, &done, 1) == 1) {
                if (done.op == &c) {
                    CHECK_EQUAL(done.res, 0);
                    connected = true;
                } else {
                    CHECK(done.res >= 0);
                    server = done.res;
                }
            }
            if (connected && server >= 0)
                break;
            zm_driver_wait_prepare(driver);
            CHECK(zm_driver_wait(driver, deadline, 0) != -ETIMEDOUT);
        }
        CHECK(fcntl(server, F_GETFD) & FD_CLOEXEC);
        CHECK(fcntl(server, F_GETFL) & O_NONBLOCK);
        CHECK_EQUAL(zm_fd_count(), owned + 2); /* client and server */
        CHECK(write(server, "hi", 2) == 2);
        char buffer[4];
        zm_driver_recv(driver, &a, client, buffer, sizeof buffer);
        CHECK_EQUAL(result_of(&a), 2);
        zm_fd_close(client);
        zm_fd_close(server);
    }
    zm_fd_close(l);
}

static void many_connections_are_all_accepted(void)
{
    enum { COUNT = 40 };
    struct sockaddr_in address;
    int l = listener(&address, COUNT), clients[COUNT];
    zm_op op = {0};
    zm_driver_accept(driver, &op, l);
    zm_driver_submit(driver);
    for (int i = 0; i < COUNT; i++) {
        clients[i] = tcp_socket();
        CHECK(connect(clients[i], (struct sockaddr *) &address, sizeof address) == 0
              || errno == EINPROGRESS);
    }
    for (int i = 0; i < COUNT; i++) {
        int fd = result_of(&op);
        CHECK(fd >= 0);
        zm_fd_close(fd);
        if (i + 1 < COUNT)
            zm_driver_accept(driver, &op, l);
    }
    for (int i = 0; i < COUNT; i++)
        zm_fd_close(clients[i]);
    zm_fd_close(l);
}

static void a_refused_connect_says_so(void)
{
    struct sockaddr_in address;
    int l = listener(&address, 1);
    zm_fd_close(l);
    zm_op op = {0};
    int fd = tcp_socket();
    zm_driver_connect(driver, &op, fd, (struct sockaddr *) &address, sizeof address);
    CHECK_EQUAL(result_of(&op), -ECONNREFUSED);
    zm_fd_close(fd);

    struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/zm"};
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    zm_driver_connect(driver, &op, fd, (struct sockaddr *) &nowhere, sizeof nowhere);
    CHECK_EQUAL(result_of(&op), -ENOENT);
    close(fd);
}

static void a_bad_descriptor_is_a_completion(void)
{
    char buffer[4];
    zm_op op = {0};
    int fd = tcp_socket();
    zm_fd_close(fd);
    zm_driver_recv(driver, &op, fd, buffer, sizeof buffer);
    CHECK_EQUAL(result_of(&op), -EBADF);
    zm_driver_accept(driver, &op, fd);
    CHECK_EQUAL(result_of(&op), -EBADF);
    zm_driver_connect(driver, &op, fd, (struct sockaddr *) &(struct sockaddr_in){0},
                      sizeof(struct sockaddr_in));
    CHECK_EQUAL(result_of(&op), -EBADF);
}

static void a_cancelled_request_completes_once(void)
{
    int s[2];
    pair(s);
    struct sockaddr_in address;
    int l = listener(&address, 1);
    char buffer[4];
    zm_op op = {0};

    zm_driver_cancel(driver, &op); /* not in flight: nothing */
    for (int submitted = 0; submitted < 2; submitted++) {
        zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
        if (submitted)
            nothing_completes();
        zm_driver_cancel(driver, &op);
        zm_driver_cancel(driver, &op);
        CHECK_EQUAL(result_of(&op), -ECANCELED);
        nothing_completes();

        zm_driver_accept(driver, &op, l);
        if (submitted)
            nothing_completes();
        zm_driver_cancel(driver, &op);
        CHECK_EQUAL(result_of(&op), -ECANCELED);
        nothing_completes();
    }

    /* The real result when that came first. */
    CHECK(write(s[1], "abc", 3) == 3);
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    zm_driver_submit(driver);
    zm_driver_cancel(driver, &op);
    CHECK_EQUAL(result_of(&op), 3);
    nothing_completes();

    /* A cancel does not reach the next use of the same op. */
    CHECK(write(s[1], "abc", 3) == 3);
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    zm_driver_submit(driver);
    zm_driver_cancel(driver, &op); /* not yet submitted */
    zm_completion done;
    while (zm_driver_reap(driver, &done, 1) == 0) {
    }
    CHECK_EQUAL(done.res, 3);
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    nothing_completes();
    CHECK(write(s[1], "d", 1) == 1);
    CHECK_EQUAL(result_of(&op), 1);
    zm_fd_close(l);
    close_pair(s);
}

static void a_connect_that_hangs_can_be_cancelled(void)
{
    struct sockaddr_in address;
    int l = listener(&address, 0), fds[8];
    int count = 0;
    zm_op op = {0};
    /* A full backlog on loopback answers nothing to the next one. */
    for (;; count++) {
        CHECK(count < 8);
        fds[count] = tcp_socket();
        zm_driver_connect(driver, &op, fds[count], (struct sockaddr *) &address, sizeof address);
        zm_driver_wait_prepare(driver);
        zm_driver_wait(driver, zm_now_ns() + 200 * ZM_MS, 0);
        zm_completion done;
        if (zm_driver_reap(driver, &done, 1) == 0)
            break;
        CHECK_EQUAL(done.res, 0);
    }
    zm_driver_cancel(driver, &op);
    CHECK_EQUAL(result_of(&op), -ECANCELED);
    for (int i = 0; i <= count; i++)
        zm_fd_close(fds[i]);
    zm_fd_close(l);
}

static void both_directions_of_a_descriptor_wait_at_once(void)
{
    int s[2];
    pair(s);
    static char bulk[1 << 20], sink[1 << 20];
    zm_op in = {0}, out = {0};
    struct msghdr header;
    struct iovec vector;
    zm_completion done;
    char buffer[4];
    zm_driver_recv(driver, &in, s[0], buffer, sizeof buffer);
    do {
        zm_driver_send(driver, &out, s[0], message(&header, &vector, bulk, sizeof bulk));
        zm_driver_submit(driver);
    } while (zm_driver_reap(driver, &done, 1) == 1);
    CHECK_EQUAL(zm_driver_in_flight(driver), 2);
    CHECK(write(s[1], "x", 1) == 1);
    CHECK_EQUAL(result_of(&in), 1);
    zm_driver_recv(driver, &in, s[0], buffer, sizeof buffer);
    nothing_completes();
    while (read(s[1], sink, sizeof sink) > 0) {
    }
    CHECK(result_of(&out) > 0);
    CHECK(write(s[1], "y", 1) == 1);
    CHECK_EQUAL(result_of(&in), 1);
    close_pair(s);
}

static void a_reused_descriptor_is_another(void)
{
    for (int owned = 0; owned < 2; owned++)
        for (int round = 0; round < 50; round++) {
            int s[2], first = -1;
            CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) == 0);
            if (owned) {
                zm_fd_own(s[0]);
                zm_fd_own(s[1]);
            }
            if (round == 0)
                first = s[0];
            CHECK(first < 0 || s[0] == first);
            char buffer[4];
            zm_op op = {0};
            zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
            nothing_completes();
            CHECK(write(s[1], "x", 1) == 1);
            CHECK_EQUAL(result_of(&op), 1);
            if (owned) {
                close_pair(s);
            } else {
                close(s[0]);
                close(s[1]);
            }
        }
}

static void more_requests_than_the_queue_holds(void)
{
    enum { COUNT = 300 };
    static int s[COUNT][2];
    static zm_op ops[COUNT];
    static char buffers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        pair(s[i]);
        zm_driver_recv(driver, &ops[i], s[i][0], &buffers[i], 1);
    }
    CHECK_EQUAL(zm_driver_in_flight(driver), COUNT);
    nothing_completes();
    for (int i = 0; i < COUNT; i++)
        CHECK(write(s[i][1], &(char){(char) i}, 1) == 1);
    int total = 0;
    bool seen[COUNT] = {0};
    int64_t deadline = LIMIT;
    while (total < COUNT) {
        zm_completion done[7];
        int n = zm_driver_reap(driver, done, 7);
        for (int i = 0; i < n; i++) {
            long which = done[i].op - ops;
            CHECK(which >= 0 && which < COUNT && !seen[which]);
            seen[which] = true;
            CHECK_EQUAL(done[i].res, 1);
            CHECK_EQUAL(buffers[which], (char) which);
        }
        total += n;
        if (n > 0 && total < COUNT && total % 70 == 0)
            wait_fd_readable(); /* while any wait to be reaped */
        if (n == 0) {
            zm_driver_wait_prepare(driver);
            CHECK(zm_driver_wait(driver, deadline, 0) != -ETIMEDOUT);
        }
    }
    for (int i = 0; i < COUNT; i++)
        close_pair(s[i]);
}

static void more_completions_than_the_queue_holds(void)
{
    enum { COUNT = 3000 };
    static zm_op ops[COUNT];
    static struct msghdr headers[COUNT];
    static struct iovec vectors[COUNT];
    static uint8_t bytes[COUNT], got[COUNT];
    int s[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) == 0);
    int size = 8 << 20;
    setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    size_t taken = 0;
    for (int i = 0; i < COUNT; i++) {
        bytes[i] = (uint8_t) i;
        zm_driver_send(driver, &ops[i], s[0], message(&headers[i], &vectors[i], &bytes[i], 1));
        if (i % 100 == 99) { /* so that the socket never fills */
            zm_driver_submit(driver);
            ssize_t n = read(s[1], got + taken, COUNT - taken);
            CHECK(n > 0);
            taken += (size_t) n;
        }
    }
    CHECK_EQUAL(taken, COUNT);
    CHECK(memcmp(bytes, got, COUNT) == 0);
    CHECK(zm_driver_ready(driver) && fd_readable());
    int total = 0;
    int64_t deadline = LIMIT;
    while (total < COUNT) {
        zm_completion done[64];
        int n = zm_driver_reap(driver, done, 64);
        for (int i = 0; i < n; i++) {
            CHECK(done[i].op == &ops[total + i]); /* in order */
            CHECK_EQUAL(done[i].res, 1);
        }
        total += n;
        if (n == 0) {
            zm_driver_wait_prepare(driver);
            CHECK(zm_driver_wait(driver, deadline, 0) != -ETIMEDOUT);
        }
    }
    nothing_completes();
    close(s[0]);
    close(s[1]);
}

/* --- waiting ------------------------------------------------------------------------------- */

static int uninterrupted_wait(int64_t deadline_ns)
{
    int rc;
    do
        rc = zm_driver_wait(driver, deadline_ns, 0);
    while (rc == -EINTR && getenv("ZM_SHIM_FAULT_EVERY"));
    return rc;
}

static void a_wait_ends_at_its_deadline(void)
{
    int s[2];
    pair(s);
    char buffer[4];
    zm_op op = {0};
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    static const int64_t spins[] = {0, 200 * ZM_US, 1000 * ZM_MS};
    for (size_t i = 0; i < ZM_COUNT(spins); i++) {
        int64_t deadline = zm_now_ns() + 30 * ZM_MS;
        int rc;
        do {
            zm_driver_wait_prepare(driver);
            rc = zm_driver_wait(driver, deadline, spins[i]);
            if (rc == 0)
                nothing_completes();
        } while (rc == 0 || rc == -EINTR);
        CHECK_EQUAL(rc, -ETIMEDOUT);
        CHECK(zm_now_ns() >= deadline);
    }
    zm_driver_wait_prepare(driver);
    CHECK_EQUAL(uninterrupted_wait(zm_now_ns() - 1), -ETIMEDOUT);
    CHECK_EQUAL(uninterrupted_wait(0), -ETIMEDOUT);
    /* What is there beats the deadline. */
    CHECK(write(s[1], "x", 1) == 1);
    zm_driver_wait_prepare(driver);
    CHECK_EQUAL(zm_driver_wait(driver, zm_now_ns() + 20000 * ZM_MS, 0), 0);
    CHECK_EQUAL(zm_driver_wait(driver, 0, 0), 0);
    CHECK_EQUAL(result_of(&op), 1);
    close_pair(s);
}

static _Atomic int phase;

static void *wakes_while_waiting(void *unused)
{
    (void) unused;
    struct timespec pause = {.tv_nsec = 2000000};
    while (atomic_load(&phase) == 0) {
        nanosleep(&pause, NULL);
        zm_driver_wake(driver);
    }
    return NULL;
}

static void a_wake_ends_the_present_or_the_next_wait(void)
{
    zm_completion done;
    for (int spin = 0; spin < 2; spin++) {
        int64_t spin_ns = spin ? 50 * ZM_MS : 0;
        for (int i = 0; i < 5; i++)
            zm_driver_wake(driver);
        CHECK(fd_readable());
        CHECK(zm_driver_ready(driver));
        zm_driver_wait_prepare(driver);
        wait_for_something(spin_ns);
        CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
        CHECK(!fd_readable());

        /* Readable until the reap, also without a wait. */
        zm_driver_wake(driver);
        wait_fd_readable();
        CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
        CHECK(!fd_readable());

        atomic_store(&phase, 0);
        pthread_t thread = run(wakes_while_waiting, NULL);
        for (int i = 0; i < 20; i++) {
            zm_driver_wait_prepare(driver);
            wait_for_something(spin_ns);
            CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
        }
        atomic_store(&phase, 1);
        pthread_join(thread, NULL);
        zm_driver_reap(driver, &done, 1);
    }
}

static _Atomic uint32_t wakes_wanted, wakes_seen;

static void *wakes_by_count(void *unused)
{
    (void) unused;
    while (atomic_load(&wakes_seen) < 3000) {
        atomic_fetch_add(&wakes_wanted, 1);
        zm_driver_wake(driver);
        uint32_t wanted = atomic_load(&wakes_wanted), seen;
        while ((seen = atomic_load(&wakes_seen)) < wanted && seen < 3000)
            CHECK(zm_futex_wait((_Atomic uint32_t *) &wakes_seen, seen, LIMIT) != -ETIMEDOUT);
    }
    return NULL;
}

/* Each wake is needed: the other side gives the next one only when this one was seen. */
static void no_wake_is_lost(void)
{
    pthread_t thread = run(wakes_by_count, NULL);
    uint32_t seen = 0;
    while (seen < 3000) {
        zm_completion done;
        zm_driver_wait_prepare(driver);
        int rc = zm_driver_wait(driver, LIMIT, seen % 3 ? 0 : 20 * ZM_US);
        CHECK(rc == 0 || rc == -EINTR);
        zm_driver_reap(driver, &done, 1);
        seen = atomic_load(&wakes_wanted);
        atomic_store(&wakes_seen, seen);
        zm_futex_wake(&wakes_seen, 1);
    }
    atomic_store(&wakes_seen, 3000);
    zm_futex_wake(&wakes_seen, 1);
    pthread_join(thread, NULL);
}

static _Atomic uint32_t commands_posted, commands_seen;
static _Atomic bool sleeper_stops;

/* As the I/O thread does: sleeps on the descriptor, reaps once, and looks at commands then. */
static void *sleeps_on_the_descriptor(void *unused)
{
    (void) unused;
    zm_completion done;
    while (!atomic_load(&sleeper_stops)) {
        wait_fd_readable();
        zm_driver_reap(driver, &done, 1);
        atomic_store(&commands_seen, atomic_load(&commands_posted));
    }
    return NULL;
}

/* Two wakes, the second at any moment of the reap that the first brings about. wait_fd_readable()
 * fails when one was lost. */
static void every_wake_makes_the_descriptor_readable(void)
{
    enum { PAIRS = 3000, GAP_NS = 30000 };
    pthread_t thread = run(sleeps_on_the_descriptor, NULL);
    unsigned seed = 1;
    for (int i = 0; i < PAIRS; i++) {
        atomic_fetch_add(&commands_posted, 1);
        zm_driver_wake(driver);
        int64_t until = zm_now_ns() + rand_r(&seed) % GAP_NS;
        while (zm_now_ns() < until)
            zm_cpu_relax();
        atomic_fetch_add(&commands_posted, 1);
        zm_driver_wake(driver);
        while (atomic_load(&commands_seen) != atomic_load(&commands_posted))
            sched_yield();
    }
    atomic_store(&sleeper_stops, true);
    zm_driver_wake(driver);
    pthread_join(thread, NULL);
    zm_completion done;
    zm_driver_reap(driver, &done, 1);
}

/* The calls that a reap makes, with a wake right before and right after each (linked by --wrap). */
static _Thread_local bool wakes_inside;

static void wake_inside(void)
{
    if (wakes_inside)
        zm_driver_wake(driver);
}

/* Of this thread, by the calls that are wrapped. */
static _Thread_local struct {
    int waits, receives, controls;
} asked;

int __real_epoll_wait(int fd, struct epoll_event *events, int count, int ms);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int count, int ms)
{
    asked.waits++;
    wake_inside();
    int n = __real_epoll_wait(fd, events, count, ms);
    wake_inside();
    return n;
}

ssize_t __real_read(int fd, void *out, size_t size);
ssize_t __wrap_read(int fd, void *out, size_t size)
{
    wake_inside();
    ssize_t n = __real_read(fd, out, size);
    wake_inside();
    return n;
}

ssize_t __real_recv(int fd, void *out, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *out, size_t size, int flags)
{
    asked.receives++;
    return __real_recv(fd, out, size, flags);
}

int __real_epoll_ctl(int set, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int set, int what, int fd, struct epoll_event *event)
{
    asked.controls++;
    return __real_epoll_ctl(set, what, fd, event);
}

/* A question that is waited for, and its answer: besides the send, epoll asks twice, once to wait
 * and once for the bytes. */
static void a_round_trip_asks_epoll_no_more_than_it_must(void)
{
    int s[2];
    pair(s);
    char buffer[16];
    struct msghdr header;
    struct iovec vector;
    zm_completion done;
    zm_op receives = {0}, sends = {0};
    zm_driver_recv(driver, &receives, s[0], buffer, sizeof buffer);
    nothing_completes();
    for (int i = 0; i < 10 && kind == ZM_DRIVER_EPOLL; i++) {
        CHECK(write(s[1], "asked", 5) == 5);
        asked.waits = asked.receives = asked.controls = 0;
        zm_driver_wait_prepare(driver);
        CHECK_EQUAL(zm_driver_wait(driver, ZM_FOREVER, 0), 0);
        CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 1);
        CHECK_EQUAL(done.res, 5);
        zm_driver_recv(driver, &receives, s[0], buffer, sizeof buffer);
        zm_driver_send(driver, &sends, s[0], message(&header, &vector, "said", 4));
        zm_driver_push(driver);
        CHECK(zm_driver_reap_pays(driver));
        CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 1);
        CHECK_EQUAL(done.res, 4);
        CHECK_EQUAL(asked.waits, 1);
        CHECK_EQUAL(asked.receives, 1);
        CHECK_EQUAL(asked.controls, 0);
        CHECK_EQUAL(read(s[1], buffer, sizeof buffer), 4);
    }
    zm_driver_cancel(driver, &receives);
    CHECK_EQUAL(result_of(&receives), -ECANCELED);
    close_pair(s);
}

static void stream(bool over_tcp, int fds[2])
{
    if (!over_tcp) {
        pair(fds);
        return;
    }
    struct sockaddr_in address;
    int l = listener(&address, 1);
    fds[1] = tcp_socket();
    CHECK(connect(fds[1], (struct sockaddr *) &address, sizeof address) == 0
          || errno == EINPROGRESS);
    struct pollfd line = {.fd = l, .events = POLLIN};
    CHECK_EQUAL(poll(&line, 1, 20000), 1);
    fds[0] = accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    CHECK(fds[0] >= 0);
    zm_fd_own(fds[0]);
    zm_fd_close(l);
}

/* The last bytes and the end behind them, however near they come, and whatever was asked meanwhile:
 * a receive that did not fill its buffer is no reason to wait for more where no more comes. */
static void the_end_is_seen_behind_the_last_bytes(void)
{
    for (int way = 0; way < 32; way++) {
        int s[2];
        stream(way & 1, s);
        char buffer[16];
        zm_op op = {0};
        zm_completion done;
        /* The slot is known, and its edges arrive. */
        zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
        nothing_completes();
        CHECK(write(s[1], "first", 5) == 5);
        CHECK_EQUAL(result_of(&op), 5);
        if (way & 2)
            zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
        CHECK(write(s[1], "last", 4) == 4);
        if (!(way & 4))
            shutdown(s[1], SHUT_WR);
        if ((way & 8) && !op.in_flight)
            CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
        if (!op.in_flight)
            zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
        CHECK_EQUAL(result_of(&op), 4);
        if (way & 16)
            zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
        if (way & 4)
            shutdown(s[1], SHUT_WR);
        if (!op.in_flight) {
            CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
            zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
        }
        CHECK_EQUAL(result_of(&op), 0);
        close_pair(s);
    }
}

static void a_wake_in_the_middle_of_a_reap_does_not_deafen_the_driver(void)
{
    zm_completion done;
    for (int i = 0; i < 5; i++) {
        zm_driver_wake(driver);
        wait_fd_readable();
        wakes_inside = true;
        CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
        wakes_inside = false;
        /* Its caller looks at what the wakes were for; the next one is heard again. */
        zm_driver_wake(driver);
        wait_fd_readable();
        CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
    }
}

static void on_signal(int number)
{
    (void) number;
}

static pthread_t main_thread;

static void *signals_main_thread(void *unused)
{
    (void) unused;
    struct timespec pause = {.tv_nsec = 5000000};
    while (atomic_load(&phase) == 0) {
        nanosleep(&pause, NULL);
        pthread_kill(main_thread, SIGUSR1);
    }
    return NULL;
}

static void a_signal_ends_a_wait_and_loses_nothing(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    main_thread = pthread_self();
    int s[2];
    pair(s);
    for (int spin = 0; spin < 2; spin++) {
        char buffer[4];
        zm_op op = {0};
        zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
        atomic_store(&phase, 0);
        pthread_t thread = run(signals_main_thread, NULL);
        int interrupted = 0;
        while (interrupted < 3) { /* the first with a request to submit */
            zm_driver_wait_prepare(driver);
            int rc = zm_driver_wait(driver, LIMIT, spin ? 100 * ZM_US : 0);
            CHECK(rc == -EINTR || (rc == 0 && getenv("ZM_SHIM_FAULT_EVERY")));
            interrupted += rc == -EINTR;
            if (rc == 0)
                nothing_completes();
        }
        atomic_store(&phase, 1);
        pthread_join(thread, NULL);
        CHECK(write(s[1], "x", 1) == 1);
        CHECK_EQUAL(result_of(&op), 1);
    }
    close_pair(s);
}

static void the_descriptor_is_readable_while_completions_wait(void)
{
    int s[2];
    pair(s);
    char buffer[4];
    zm_op op = {0};
    struct msghdr header;
    struct iovec vector;
    zm_completion done;
    CHECK(!fd_readable());
    for (int i = 0; i < 3; i++) {
        zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
        nothing_completes();
        CHECK(!fd_readable());
        CHECK(write(s[1], "x", 1) == 1);
        wait_fd_readable();
        int64_t deadline = LIMIT; /* epoll's answer may be late by some microseconds */
        while (!zm_driver_reap_pays(driver))
            CHECK(zm_now_ns() < deadline);
        CHECK_EQUAL(result_of(&op), 1);
        nothing_completes();
        CHECK(!fd_readable());

        /* Done at once. */
        zm_driver_send(driver, &op, s[0], message(&header, &vector, "y", 1));
        zm_driver_submit(driver);
        CHECK(zm_driver_ready(driver));
        CHECK(fd_readable());
        CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 1);
        CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
        CHECK(!fd_readable());
    }
    close_pair(s);
}

static zm_op three_ops[3];

static void *sends_three(void *argument)
{
    static struct msghdr headers[3];
    static struct iovec vectors[3];
    struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL); /* so that the other most likely waits; it works either way */
    zm_lock_take(&lock);
    for (int i = 0; i < 3; i++)
        zm_driver_send(driver, &three_ops[i], *(int *) argument,
                       message(&headers[i], &vectors[i], "x", 1));
    zm_driver_submit(driver);
    zm_lock_give(&lock);
    return NULL;
}

static void the_descriptor_stays_readable_after_a_reap_that_left_some(void)
{
    int s[2];
    pair(s);
    pthread_t thread = run(sends_three, &s[0]);
    zm_lock_take(&lock);
    zm_driver_wait_prepare(driver);
    zm_lock_give(&lock);
    wait_for_something(0);
    pthread_join(thread, NULL);
    for (int i = 0; i < 3; i++) {
        if (i)
            wait_fd_readable(); /* not before the reap that follows a wait */
        zm_completion done;
        CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 1);
        CHECK(done.op == &three_ops[i]);
    }
    nothing_completes();
    CHECK(!fd_readable());
    close_pair(s);
}

/* Backpressure: nobody receives, the peer goes on writing. */
static void data_nobody_asked_for_wakes_once_at_most(void)
{
    int s[2];
    pair(s);
    char buffer[8];
    zm_op op = {0};
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    nothing_completes();
    CHECK(write(s[1], "a", 1) == 1);
    CHECK_EQUAL(result_of(&op), 1);
    int returned = 0;
    for (int i = 0; i < 5; i++) {
        CHECK(write(s[1], "b", 1) == 1);
        zm_driver_wait_prepare(driver);
        returned += zm_driver_wait(driver, zm_now_ns() + 10 * ZM_MS, 0) == 0;
        nothing_completes();
    }
    CHECK(returned <= 1 || getenv("ZM_SHIM_FAULT_EVERY"));
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    CHECK_EQUAL(result_of(&op), 5);
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    nothing_completes();
    CHECK(write(s[1], "c", 1) == 1);
    CHECK_EQUAL(result_of(&op), 1);
    close_pair(s);
}

/* --- threads ------------------------------------------------------------------------------- */

static int shared_pair[2];
static char shared_buffer[4];
static zm_op shared_op;

static void *arms_and_exits(void *unused)
{
    (void) unused;
    zm_lock_take(&lock);
    zm_driver_recv(driver, &shared_op, shared_pair[0], shared_buffer, sizeof shared_buffer);
    zm_driver_submit(driver);
    CHECK_EQUAL(shared_op.thread, zm_thread_id());
    zm_lock_give(&lock);
    return NULL;
}

static void a_request_outlives_its_thread_or_is_cancelled(void)
{
    pair(shared_pair);
    for (int i = 0; i < 20; i++) {
        pthread_join(run(arms_and_exits, NULL), NULL);
        CHECK(shared_op.thread != zm_thread_id());
        CHECK(write(shared_pair[1], "x", 1) == 1);
        int32_t res = result_of(&shared_op);
        if (res == -ECANCELED) {
            zm_driver_recv(driver, &shared_op, shared_pair[0], shared_buffer, 4);
            res = result_of(&shared_op);
        }
        CHECK_EQUAL(res, 1);
    }
    close_pair(shared_pair);
}

static void *opens_driver(void *unused)
{
    (void) unused;
    open_driver();
    return NULL;
}

static void a_driver_outlives_the_thread_that_opened_it(void)
{
    zm_driver_close(driver);
    pthread_join(run(opens_driver, NULL), NULL);
    zm_completion done;
    for (int i = 0; i < 3; i++) {
        while (fd_readable())
            CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
        zm_driver_wake(driver);
        wait_fd_readable();
        zm_driver_wait_prepare(driver);
        wait_for_something(0);
        CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 0);
    }
}

struct taker {
    int number, pair[2];
};

static _Atomic int turn; /* the number of who may go on; says nothing of memory */

static void *opens_and_closes_in_turn(void *argument)
{
    struct taker *taker = argument;
    for (int i = 0; i < 8; i++) {
        while (atomic_load_explicit(&turn, memory_order_relaxed) != taker->number)
            sched_yield();
        int number = taker->number ? dup(taker->pair[0]) : -1; /* so the drivers have others */
        zm_driver *own;
        CHECK_EQUAL(zm_driver_open(kind, &own), 0);
        char buffer[4];
        zm_op op = {0};
        CHECK(write(taker->pair[1], "x", 1) == 1);
        zm_driver_recv(own, &op, taker->pair[0], buffer, sizeof buffer);
        zm_completion done;
        while (zm_driver_reap(own, &done, 1) == 0)
            zm_driver_submit(own);
        CHECK_EQUAL(done.res, 1);
        zm_driver_close(own);
        if (number >= 0)
            close(number);
        atomic_store_explicit(&turn, !taker->number, memory_order_relaxed);
    }
    return NULL;
}

/* The kernel gives the next ring the addresses of the last. */
static void a_driver_may_lie_where_one_of_another_thread_was(void)
{
    struct taker takers[] = {{.number = 0}, {.number = 1}};
    pair(takers[0].pair);
    pair(takers[1].pair);
    pthread_t first = run(opens_and_closes_in_turn, &takers[0]);
    pthread_t second = run(opens_and_closes_in_turn, &takers[1]);
    pthread_join(first, NULL);
    pthread_join(second, NULL);
    close_pair(takers[0].pair);
    close_pair(takers[1].pair);
}

/* Another thread sleeps in a futex, or computes; what it armed completes nevertheless. */
static void *arms_and_stays(void *unused)
{
    arms_and_exits(unused);
    atomic_store(&phase, 1);
    while (atomic_load(&phase) != 2) {
        if (atomic_load(&wakes_wanted))
            continue; /* busy in user space */
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void what_a_busy_or_sleeping_thread_armed_completes(void)
{
    pair(shared_pair);
    for (int busy = 0; busy < 2; busy++)
        for (int i = 0; i < 5; i++) {
            atomic_store(&wakes_wanted, (uint32_t) busy);
            atomic_store(&phase, 0);
            pthread_t thread = run(arms_and_stays, NULL);
            while (atomic_load(&phase) != 1)
                sched_yield();
            CHECK(write(shared_pair[1], "x", 1) == 1);
            CHECK_EQUAL(result_of(&shared_op), 1);
            atomic_store(&phase, 2);
            pthread_join(thread, NULL);
        }
    close_pair(shared_pair);
}

/* Also after the thread whose requests they were is gone. */
static void readiness_is_a_fact(void)
{
    zm_completion done;
    struct timespec pause = {.tv_nsec = 1000000}; /* long enough for a hint to change its mind */
    pair(shared_pair);
    for (int i = 0; i < 20; i++) {
        pthread_join(run(arms_and_exits, NULL), NULL);
        nanosleep(&pause, NULL);
        CHECK(!zm_driver_ready(driver));
        CHECK(write(shared_pair[1], "x", 1) == 1);
        int32_t res = result_of(&shared_op);
        CHECK(!zm_driver_ready(driver));
        if (res == -ECANCELED) {
            zm_driver_recv(driver, &shared_op, shared_pair[0], shared_buffer, 4);
            zm_driver_submit(driver);
            CHECK(zm_driver_ready(driver));
            CHECK_EQUAL(zm_driver_reap(driver, &done, 1), 1);
        }
        nothing_completes();
        CHECK(!fd_readable());
        nanosleep(&pause, NULL);
        CHECK(!zm_driver_ready(driver));
    }
    zm_driver_wake(driver);
    wait_fd_readable();
    CHECK(zm_driver_ready(driver));
    nothing_completes();
    CHECK(!zm_driver_ready(driver));
    close_pair(shared_pair);
}

enum { STARTERS = 4, ROUNDS = 500 };

typedef struct starter {
    int s[2];
    zm_op in, out;
    uint8_t sent, got;
    struct msghdr header;
    struct iovec vector;
    _Atomic uint32_t completions; /* of in and out, counted by the waiter */
} starter;

static _Atomic uint32_t starters_running;

static void *starts(void *argument)
{
    starter *me = argument;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        me->sent = (uint8_t) round;
        zm_lock_take(&lock);
        zm_driver_recv(driver, &me->in, me->s[0], &me->got, 1);
        if (round % 2)
            zm_driver_submit(driver);
        zm_driver_send(driver, &me->out, me->s[1], message(&me->header, &me->vector, &me->sent, 1));
        zm_driver_submit(driver);
        zm_lock_give(&lock);
        uint32_t seen;
        while ((seen = atomic_load(&me->completions)) < 2 * (round + 1))
            CHECK(zm_futex_wait(&me->completions, seen, LIMIT) != -ETIMEDOUT);
        CHECK_EQUAL(me->got, me->sent);
    }
    atomic_fetch_sub(&starters_running, 1);
    zm_driver_wake(driver);
    return NULL;
}

static void threads_start_requests_while_another_waits(void)
{
    static starter all[STARTERS];
    pthread_t threads[STARTERS];
    atomic_store(&starters_running, STARTERS);
    for (int i = 0; i < STARTERS; i++) {
        pair(all[i].s);
        all[i].in.owner = all[i].out.owner = &all[i];
        threads[i] = run(starts, &all[i]);
    }
    uint32_t total = 0, waits = 0;
    while (atomic_load(&starters_running) > 0) {
        zm_completion done[8];
        zm_lock_take(&lock);
        int n = zm_driver_reap(driver, done, 8);
        for (int i = 0; i < n; i++) {
            CHECK_EQUAL(done[i].res, 1);
            starter *who = done[i].op->owner;
            atomic_fetch_add(&who->completions, 1);
            zm_futex_wake(&who->completions, 1);
        }
        total += (uint32_t) n;
        if (n > 0) {
            zm_lock_give(&lock);
            continue;
        }
        zm_driver_wait_prepare(driver);
        zm_lock_give(&lock);
        int rc = zm_driver_wait(driver, LIMIT, ++waits % 2 ? 0 : 10 * ZM_US);
        CHECK(rc == 0 || rc == -EINTR);
    }
    CHECK_EQUAL(total, 2 * ROUNDS * STARTERS);
    for (int i = 0; i < STARTERS; i++) {
        pthread_join(threads[i], NULL);
        close_pair(all[i].s);
    }
    zm_completion done;
    zm_driver_reap(driver, &done, 1);
}

/* --- at random ----------------------------------------------------------------------------- */

static uint32_t seed;

static uint32_t dice(uint32_t sides)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 10) % sides;
}

/* Starts, cancels, writes, submits and reaps in any order: every started request completes once,
 * and the bytes come in order. */
static void any_order_of_starts_and_cancels(void)
{
    enum { PAIRS = 6, STEPS = 1000 };
    const char *given = getenv("ZM_SEED");
    seed = given ? (uint32_t) strtoul(given, NULL, 10) : (uint32_t) getpid();
    fprintf(stderr, "ZM_SEED=%u\n", seed);
    struct {
        int s[2];
        zm_op in, out;
        uint8_t buffer[8], data[8];
        struct msghdr header;
        struct iovec vector;
        uint8_t next_in, next_out;
        int started_in, done_in, started_out, done_out;
    } all[PAIRS] = {0};
    for (int i = 0; i < PAIRS; i++)
        pair(all[i].s);
    bool ending = false;
    int64_t deadline = LIMIT;
    for (int step = 0; step < STEPS || zm_driver_in_flight(driver) > 0; step++) {
        uint32_t i = dice(PAIRS);
        ending = step >= STEPS;
        if (ending)
            for (uint32_t k = 0; k < PAIRS; k++) {
                zm_driver_cancel(driver, &all[k].in);
                zm_driver_cancel(driver, &all[k].out);
            }
        switch (ending ? 5 : dice(7)) {
        case 0:
            if (!all[i].in.in_flight) {
                zm_driver_recv(driver, &all[i].in, all[i].s[0], all[i].buffer, 1 + dice(8));
                all[i].started_in++;
            }
            break;
        case 1:
            if (!all[i].out.in_flight) {
                size_t size = 1 + dice(8);
                for (size_t k = 0; k < size; k++)
                    all[i].data[k] = (uint8_t) (all[i].next_out + k);
                zm_driver_send(driver, &all[i].out, all[i].s[1],
                               message(&all[i].header, &all[i].vector, all[i].data, size));
                all[i].started_out++;
            }
            break;
        case 2:
            zm_driver_cancel(driver, dice(2) ? &all[i].in : &all[i].out);
            break;
        case 3:
            zm_driver_submit(driver);
            break;
        case 4:
            zm_driver_wake(driver);
            break;
        default: {
            zm_driver_wait_prepare(driver);
            CHECK(!ending || zm_now_ns() < deadline);
            zm_driver_wait(driver, zm_now_ns() + (dice(2) ? 0 : 200 * ZM_US), dice(2) * 20 * ZM_US);
            zm_completion done[3];
            int n = zm_driver_reap(driver, done, 1 + (int) dice(3));
            for (int d = 0; d < n; d++)
                for (int k = 0; k < PAIRS; k++) {
                    if (done[d].op == &all[k].in) {
                        all[k].done_in++;
                        CHECK(done[d].res > 0 || done[d].res == -ECANCELED);
                        for (int b = 0; b < done[d].res; b++)
                            CHECK_EQUAL(all[k].buffer[b], all[k].next_in++);
                    } else if (done[d].op == &all[k].out) {
                        all[k].done_out++;
                        CHECK(done[d].res > 0 || done[d].res == -ECANCELED);
                        if (done[d].res > 0)
                            all[k].next_out = (uint8_t) (all[k].next_out + done[d].res);
                    }
                }
        }
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        CHECK_EQUAL(all[i].started_in, all[i].done_in);
        CHECK_EQUAL(all[i].started_out, all[i].done_out);
        CHECK(all[i].started_in > 0 && all[i].started_out > 0);
        close_pair(all[i].s);
    }
    nothing_completes();
}

/* --- opening, forking ---------------------------------------------------------------------- */

static void a_forked_child_closes_its_copies_only(void)
{
    int s[2];
    pair(s);
    char buffer[4];
    zm_op op = {0};
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    nothing_completes();
    int kept = dup(s[1]); /* not the engine's */
    CHECK(zm_fd_count() >= 3);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        zm_driver_after_fork();
        zm_fd_close_all_after_fork();
        CHECK_EQUAL(zm_fd_count(), 0);
        CHECK(fcntl(s[0], F_GETFD) < 0 && fcntl(s[1], F_GETFD) < 0);
        CHECK(fcntl(zm_driver_fd(driver), F_GETFD) < 0);
        CHECK(fcntl(kept, F_GETFD) >= 0);
        int reused = open("/dev/null", O_RDONLY | O_CLOEXEC); /* an old number */
        zm_driver_close(driver);
        CHECK(fcntl(reused, F_GETFD) >= 0);
        /* And a new driver works here. */
        open_driver();
        zm_op own = {0};
        pair(s);
        zm_driver_recv(driver, &own, s[0], buffer, sizeof buffer);
        CHECK(write(s[1], "ab", 2) == 2);
        CHECK_EQUAL(result_of(&own), 2);
        zm_driver_close(driver);
        close_pair(s);
        zm_driver_after_fork();
        CHECK_EQUAL(zm_fd_count(), 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_EQUAL(status, 0);
    CHECK(write(s[1], "x", 1) == 1);
    CHECK_EQUAL(result_of(&op), 1);
    close(kept);
    close_pair(s);
}

static void opening_fails_cleanly_without_memory_or_descriptors(void)
{
    int64_t live = zm_alloc_live(), owned = zm_fd_count();
    zm_driver *other = NULL;
    int failures = 0;
    for (int n = 0;; n++) {
        zm_alloc_fail_after(n);
        int rc = zm_driver_open(kind, &other);
        zm_alloc_fail_after(-1);
        if (rc == 0)
            break;
        failures++;
        CHECK_EQUAL(rc, -ENOMEM);
        CHECK_EQUAL(zm_alloc_live(), live);
        CHECK_EQUAL(zm_fd_count(), owned);
    }
    CHECK(failures > 0);
    zm_driver_close(other);
    CHECK_EQUAL(zm_alloc_live(), live);
    CHECK_EQUAL(zm_fd_count(), owned);

    struct rlimit old, none;
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    int probe = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(probe);
    for (int allowed = 0; allowed < 3; allowed++) {
        none = old;
        none.rlim_cur = (rlim_t) (probe + allowed);
        CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
        int rc = zm_driver_open(kind, &other);
        CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
        if (rc == 0) {
            zm_driver_close(other);
            CHECK(allowed > 0);
        } else {
            CHECK_EQUAL(rc, -EMFILE);
        }
        CHECK_EQUAL(zm_alloc_live(), live);
        CHECK_EQUAL(zm_fd_count(), owned);
    }
}

static void the_descriptor_table_takes_any_number(void)
{
    int64_t owned = zm_fd_count();
    zm_fd_own(-1);
    zm_fd_close(-1);
    CHECK_EQUAL(zm_fd_release(-1), -1);
    CHECK_EQUAL(zm_fd_release(1 << 30), 1 << 30);
    zm_fd_own(2147483647); /* beyond the table: no crash */
    CHECK_EQUAL(zm_fd_generation(2147483647), 0);
    zm_fd_own(100000);
    zm_fd_own(100000);
    CHECK_EQUAL(zm_fd_count(), owned + 1);
    uint32_t first = zm_fd_generation(100000);
    CHECK(first != 0);
    CHECK_EQUAL(zm_fd_release(100000), 100000);
    CHECK_EQUAL(zm_fd_generation(100000), 0);
    zm_fd_own(100000);
    CHECK(zm_fd_generation(100000) != 0 && zm_fd_generation(100000) != first);
    zm_fd_release(100000);
    CHECK_EQUAL(zm_fd_count(), owned);
}

static void a_library_that_does_not_fit_gives_a_reason(void)
{
    CHECK(zm_uring_load(NULL) < 0);
    CHECK(strstr(zm_uring_reason(), "not installed"));
    CHECK(zm_uring_load("/nonexistent/liburing.so") < 0);
    CHECK(strstr(zm_uring_reason(), "/nonexistent/liburing.so"));
    CHECK(zm_uring_load("libm.so.6") < 0);
    CHECK(strstr(zm_uring_reason(), "does not export"));
    zm_driver *other;
    CHECK_EQUAL(zm_driver_open(ZM_DRIVER_IO_URING, &other), -ENOSYS);
    CHECK_EQUAL(zm_driver_open((zm_driver_kind) 9, &other), -EINVAL);
}

static void a_kernel_that_forbids_io_uring_gives_a_reason(void)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 425, 0, 1), /* io_uring_setup */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = ZM_COUNT(program), .filter = program};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    CHECK_EQUAL(zm_uring_load(liburing_path), -EPERM);
    CHECK(strstr(zm_uring_reason(), "kernel.io_uring_disabled"));
    zm_driver *other;
    CHECK_EQUAL(zm_driver_open(ZM_DRIVER_IO_URING, &other), -ENOSYS);
    CHECK_EQUAL(zm_driver_open(ZM_DRIVER_EPOLL, &other), 0);
    zm_driver_close(other);
}

/* --- faults, through kernels/shim.c -------------------------------------------------------- */

static void of_shim(const char *name, void *out_function)
{
    void *shim = dlopen(liburing_path, RTLD_NOW | RTLD_NOLOAD);
    void *address = shim ? dlsym(shim, name) : NULL;
    CHECK(address);
    memcpy(out_function, &address, sizeof address);
}

static void fail_next(int error, int times)
{
    void (*function)(int, int);
    of_shim("shim_fail_next", &function);
    function(error, times);
}

static void kernel_waits_with_nothing(bool on)
{
    void (*function)(bool);
    of_shim("shim_dontwait", &function);
    function(on);
}

static unsigned calls_made(void)
{
    unsigned (*function)(void);
    of_shim("shim_calls", &function);
    return function();
}

static void fault_interrupted_wait_has_submitted(void)
{
    int s[2];
    pair(s);
    char got;
    struct msghdr header;
    struct iovec vector;
    zm_op op = {0};
    zm_driver_send(driver, &op, s[0], message(&header, &vector, "x", 1));
    zm_driver_wait_prepare(driver);
    fail_next(-EINTR, 1);
    zm_driver_wait(driver, LIMIT, 0);
    CHECK_EQUAL(read(s[1], &got, 1), 1);
    CHECK_EQUAL(result_of(&op), 1);
    close_pair(s);
}

/* The time of a wait passes while the kernel has no memory for it. */
static void fault_a_wait_that_the_kernel_refuses_ends_at_its_deadline(void)
{
    static const int errors[] = {-EAGAIN, -EBUSY};
    for (size_t i = 0; i < ZM_COUNT(errors); i++) {
        fail_next(errors[i], 1000);
        unsigned before = calls_made();
        zm_driver_wait_prepare(driver);
        CHECK_EQUAL(zm_driver_wait(driver, zm_now_ns() - 1, 0), -ETIMEDOUT);
        CHECK_EQUAL(calls_made() - before, 1);
        fail_next(0, 0);
    }
}

/* What is complete is reaped before the kernel is asked again for the memory that it lacks. */
static void fault_a_wait_that_the_kernel_refuses_ends_for_what_is_there(void)
{
    int s[2];
    pair(s);
    char got[4];
    struct msghdr header;
    struct iovec vector;
    zm_op receives = {0}, sends = {0};
    zm_driver_recv(driver, &receives, s[0], got, sizeof got);
    zm_driver_submit(driver);
    CHECK(write(s[1], "x", 1) == 1);
    wait_fd_readable();
    zm_driver_send(driver, &sends, s[0], message(&header, &vector, "x", 1));
    fail_next(-EAGAIN, 1000);
    unsigned before = calls_made();
    zm_driver_wait_prepare(driver);
    CHECK_EQUAL(zm_driver_wait(driver, LIMIT, 0), 0);
    CHECK(calls_made() - before < 100);
    fail_next(0, 0);
    CHECK_EQUAL(result_of(&receives), 1);
    CHECK_EQUAL(result_of(&sends), 1);
    close_pair(s);
}

static void fault_what_the_kernel_refused_is_submitted_later(void)
{
    int s[2];
    pair(s);
    char got[8];
    struct msghdr header;
    struct iovec vector;
    zm_completion done[4];
    zm_op first = {0}, second = {0};
    zm_driver_send(driver, &first, s[0], message(&header, &vector, "x", 1));
    zm_driver_submit(driver);
    CHECK_EQUAL(read(s[1], got, sizeof got), 1);
    zm_driver_send(driver, &second, s[0], &header);
    fail_next(-EBUSY, 2);
    zm_driver_submit(driver); /* the first's completion is there */
    CHECK(read(s[1], got, sizeof got) < 0);
    wait_fd_readable();
    CHECK(zm_driver_reap(driver, done, 4) >= 1);
    CHECK_EQUAL(read(s[1], got, sizeof got), 1);
    CHECK_EQUAL(result_of(&second), 1);

    zm_driver_send(driver, &first, s[0], &header);
    fail_next(-EAGAIN, 1000); /* with nothing to reap */
    zm_driver_submit(driver);
    CHECK(read(s[1], got, sizeof got) < 0);
    fail_next(0, 0);
    wait_fd_readable();
    while (zm_driver_reap(driver, done, 4) == 0) {
    }
    CHECK_EQUAL(read(s[1], got, sizeof got), 1);
    close_pair(s);
}

/* Sleeps for a moment in the driver, which must not be busy meanwhile. */
static void nothing_is_tried_again_and_again(void)
{
    unsigned before = calls_made();
    int64_t until = zm_now_ns() + 20 * ZM_MS;
    while (zm_now_ns() < until) {
        nothing_completes();
        zm_driver_wait_prepare(driver);
        zm_driver_wait(driver, until, 0);
    }
    CHECK(calls_made() - before < 20);
}

static void fault_what_the_kernel_does_not_wait_with_is_made_when_it_can_be(void)
{
    static char bulk[1 << 20], sink[1 << 20];
    int s[2];
    struct sockaddr_in address;
    int l = listener(&address, 8);
    char buffer[4];
    zm_op op = {0};
    struct msghdr header;
    struct iovec vector;
    zm_completion done;
    pair(s);
    kernel_waits_with_nothing(true);
    for (int i = 0; i < 3; i++) {
        zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
        nothing_is_tried_again_and_again();
        if (i == 1)
            zm_driver_cancel(driver, &op);
        else
            CHECK(write(s[1], "x", 1) == 1);
        CHECK_EQUAL(result_of(&op), i == 1 ? -ECANCELED : 1);
    }

    zm_driver_accept(driver, &op, l);
    nothing_is_tried_again_and_again();
    int client = tcp_socket();
    CHECK(connect(client, (struct sockaddr *) &address, sizeof address) == 0
          || errno == EINPROGRESS);
    int fd = result_of(&op);
    CHECK(fd >= 0);
    zm_fd_close(fd);
    zm_fd_close(client);
    zm_fd_close(l);

    do {
        zm_driver_send(driver, &op, s[0], message(&header, &vector, bulk, sizeof bulk));
        zm_driver_submit(driver);
    } while (zm_driver_reap(driver, &done, 1) == 1);
    nothing_is_tried_again_and_again();
    while (read(s[1], sink, sizeof sink) > 0) {
    }
    CHECK(result_of(&op) > 0);
    kernel_waits_with_nothing(false);
    close_pair(s);
}

/* Planted errors: they must be seen. */
static void canary_close_with_a_request_in_flight(void)
{
    int s[2];
    pair(s);
    char buffer[4];
    static zm_op op;
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    zm_driver_close(driver);
}

static void canary_request_names_freed_memory(void)
{
    int s[2];
    pair(s);
    char *buffer = zm_alloc(16);
    static zm_op op;
    zm_free(buffer);
    zm_driver_recv(driver, &op, s[0], buffer, 16);
    zm_driver_submit(driver);
}

/* --- running ------------------------------------------------------------------------------- */

#define TEST(name) {#name, name}
static const struct {
    const char *name;
    void (*function)(void);
} tests[] = {
    TEST(recv_gets_what_is_sent_before_and_after),
    TEST(send_gathers_and_arrives),
    TEST(a_full_socket_takes_a_send_in_parts),
    TEST(a_send_to_a_closed_peer_is_epipe_and_no_signal),
    TEST(accept_and_connect_meet),
    TEST(many_connections_are_all_accepted),
    TEST(a_refused_connect_says_so),
    TEST(a_bad_descriptor_is_a_completion),
    TEST(a_cancelled_request_completes_once),
    TEST(a_connect_that_hangs_can_be_cancelled),
    TEST(both_directions_of_a_descriptor_wait_at_once),
    TEST(a_reused_descriptor_is_another),
    TEST(more_requests_than_the_queue_holds),
    TEST(more_completions_than_the_queue_holds),
    TEST(a_wait_ends_at_its_deadline),
    TEST(a_wake_ends_the_present_or_the_next_wait),
    TEST(no_wake_is_lost),
    TEST(every_wake_makes_the_descriptor_readable),
    TEST(a_wake_in_the_middle_of_a_reap_does_not_deafen_the_driver),
    TEST(a_round_trip_asks_epoll_no_more_than_it_must),
    TEST(the_end_is_seen_behind_the_last_bytes),
    TEST(a_signal_ends_a_wait_and_loses_nothing),
    TEST(the_descriptor_is_readable_while_completions_wait),
    TEST(the_descriptor_stays_readable_after_a_reap_that_left_some),
    TEST(data_nobody_asked_for_wakes_once_at_most),
    TEST(a_driver_outlives_the_thread_that_opened_it),
    TEST(a_driver_may_lie_where_one_of_another_thread_was),
    TEST(a_request_outlives_its_thread_or_is_cancelled),
    TEST(what_a_busy_or_sleeping_thread_armed_completes),
    TEST(readiness_is_a_fact),
    TEST(threads_start_requests_while_another_waits),
    TEST(any_order_of_starts_and_cancels),
    TEST(a_forked_child_closes_its_copies_only),
    TEST(opening_fails_cleanly_without_memory_or_descriptors),
    TEST(the_descriptor_table_takes_any_number),
    TEST(a_library_that_does_not_fit_gives_a_reason),
    TEST(a_kernel_that_forbids_io_uring_gives_a_reason),
    TEST(fault_interrupted_wait_has_submitted),
    TEST(fault_a_wait_that_the_kernel_refuses_ends_at_its_deadline),
    TEST(fault_a_wait_that_the_kernel_refuses_ends_for_what_is_there),
    TEST(fault_what_the_kernel_refused_is_submitted_later),
    TEST(fault_what_the_kernel_does_not_wait_with_is_made_when_it_can_be),
    TEST(canary_close_with_a_request_in_flight),
    TEST(canary_request_names_freed_memory),
};

int main(int argc, char **argv)
{
    if (argc < 2) {
        for (size_t i = 0; i < ZM_COUNT(tests); i++)
            puts(tests[i].name);
        return 0;
    }
    CHECK(argc >= 4);
    alarm(60);
    kind = strcmp(argv[1], "epoll") == 0 ? ZM_DRIVER_EPOLL : ZM_DRIVER_IO_URING;
    liburing_path = argv[3];
    if (argc > 4 && !dlopen(argv[4], RTLD_NOW | RTLD_GLOBAL)) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    if (kind == ZM_DRIVER_IO_URING && zm_uring_load(liburing_path) < 0) {
        printf("%s\n", zm_uring_reason());
        return 77;
    }
    for (size_t i = 0; i < ZM_COUNT(tests); i++) {
        if (strcmp(tests[i].name, argv[2]) != 0)
            continue;
        int64_t live = zm_alloc_live();
        open_driver();
        tests[i].function();
        CHECK_EQUAL(zm_driver_in_flight(driver), 0);
        zm_driver_close(driver);
        zm_driver_after_fork();
        CHECK_EQUAL(zm_fd_count(), 0);
        CHECK(zm_alloc_live() <= live + 1); /* a chunk of the descriptor table may stay */
        return 0;
    }
    fprintf(stderr, "no test %s\n", argv[2]);
    return 1;
}
