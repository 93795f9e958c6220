/* What is asked of a driver, and what completes. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/un.h>

#include "drivers.h"

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

const driver_test request_tests[] = {
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
    {0},
};
