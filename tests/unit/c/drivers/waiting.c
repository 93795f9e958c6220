/* Waits, wakes, and the descriptor that tells of both. */
#define _GNU_SOURCE
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "drivers.h"

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

const driver_test waiting_tests[] = {
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
    {0},
};
