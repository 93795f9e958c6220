/* Several threads on one driver. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>

#include "drivers.h"

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

static _Atomic int phase;
static _Atomic bool computes;

/* Another thread sleeps in a futex, or computes; what it armed completes nevertheless. */
static void *arms_and_stays(void *unused)
{
    arms_and_exits(unused);
    atomic_store(&phase, 1);
    while (atomic_load(&phase) != 2) {
        if (atomic_load(&computes))
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
            atomic_store(&computes, busy);
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

const driver_test thread_tests[] = {
    TEST(a_driver_outlives_the_thread_that_opened_it),
    TEST(a_driver_may_lie_where_one_of_another_thread_was),
    TEST(a_request_outlives_its_thread_or_is_cancelled),
    TEST(what_a_busy_or_sleeping_thread_armed_completes),
    TEST(readiness_is_a_fact),
    TEST(threads_start_requests_while_another_waits),
    {0},
};
