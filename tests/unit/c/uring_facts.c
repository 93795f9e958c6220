/* Facts about io_uring that driver/io_uring.c relies on, each a process: uring_facts NAME.
 * System calls only, so that what is asked is the kernel and nothing of ours. 77: not to be had. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SKIPPED = 77, ENTRIES = 8, SEND_MSG_RING = 31 };

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "line %d: not so: %s (errno %d)\n", __LINE__, #condition, errno); \
            exit(1); \
        } \
    } while (0)

typedef struct ring {
    int fd;
    struct io_uring_params params;
    _Atomic unsigned *sq_head, *sq_tail, *sq_flags, *cq_head, *cq_tail;
    unsigned sq_mask, cq_mask;
    unsigned *array;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
} ring;

static int pair[2]; /* connected stream sockets */

static ring open_ring(unsigned flags, unsigned cq_entries)
{
    ring r = {.params = {.flags = flags | (cq_entries ? IORING_SETUP_CQSIZE : 0),
                         .cq_entries = cq_entries}};
    r.fd = (int) syscall(SYS_io_uring_setup, ENTRIES, &r.params);
    if (r.fd < 0) {
        printf("no ring with flags %#x: %s\n", flags, strerror(errno));
        exit(SKIPPED);
    }
    struct io_sqring_offsets sq = r.params.sq_off;
    struct io_cqring_offsets cq = r.params.cq_off;
    CHECK(r.params.features & IORING_FEAT_SINGLE_MMAP);
    size_t size = cq.cqes + r.params.cq_entries * sizeof *r.cqes;
    size_t other = sq.array + r.params.sq_entries * sizeof(unsigned);
    char *memory = mmap(NULL, size > other ? size : other, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_POPULATE, r.fd, IORING_OFF_SQ_RING);
    CHECK(memory != MAP_FAILED);
    r.sqes = mmap(NULL, r.params.sq_entries * sizeof *r.sqes, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_POPULATE, r.fd, IORING_OFF_SQES);
    CHECK(r.sqes != MAP_FAILED);
    r.sq_head = (_Atomic unsigned *) (memory + sq.head);
    r.sq_tail = (_Atomic unsigned *) (memory + sq.tail);
    r.sq_flags = (_Atomic unsigned *) (memory + sq.flags);
    r.array = (unsigned *) (memory + sq.array);
    r.cq_head = (_Atomic unsigned *) (memory + cq.head);
    r.cq_tail = (_Atomic unsigned *) (memory + cq.tail);
    r.cqes = (struct io_uring_cqe *) (memory + cq.cqes);
    r.sq_mask = r.params.sq_entries - 1;
    r.cq_mask = r.params.cq_entries - 1;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    return r;
}

static ring open_as_the_driver_does(void)
{
    return open_ring(
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL, 0);
}

static struct io_uring_sqe *next_entry(ring *r)
{
    unsigned tail = atomic_load(r->sq_tail), i = tail & r->sq_mask;
    memset(&r->sqes[i], 0, sizeof r->sqes[i]);
    r->array[i] = i;
    return &r->sqes[i];
}

static void publish(ring *r)
{
    atomic_fetch_add(r->sq_tail, 1);
}

static char received[64];

static void add_recv(ring *r, uint64_t data)
{
    struct io_uring_sqe *sqe = next_entry(r);
    sqe->opcode = IORING_OP_RECV;
    sqe->fd = pair[0];
    sqe->addr = (uintptr_t) received;
    sqe->len = sizeof received;
    sqe->user_data = data;
    publish(r);
}

static void add_nop(ring *r, uint64_t data)
{
    struct io_uring_sqe *sqe = next_entry(r);
    sqe->opcode = IORING_OP_NOP;
    sqe->user_data = data;
    publish(r);
}

static int enter(const ring *r, unsigned submit, unsigned min_complete, unsigned flags)
{
    long n = syscall(SYS_io_uring_enter, r->fd, submit, min_complete, flags, NULL, 0);
    return n < 0 ? -errno : (int) n;
}

static int enter_for(const ring *r, unsigned submit, unsigned min_complete, long long ns)
{
    struct __kernel_timespec limit = {ns / 1000000000, ns % 1000000000};
    struct io_uring_getevents_arg arg = {.ts = (uintptr_t) &limit};
    long n = syscall(SYS_io_uring_enter, r->fd, submit, min_complete,
                     IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof arg);
    return n < 0 ? -errno : (int) n;
}

static unsigned completions(const ring *r)
{
    return atomic_load(r->cq_tail) - atomic_load(r->cq_head);
}

/* What a completion says, without the flexible array that struct io_uring_cqe ends with. */
typedef struct answer {
    uint64_t user_data;
    int res;
} answer;

static answer take(ring *r)
{
    CHECK(completions(r) > 0);
    unsigned head = atomic_load(r->cq_head);
    const struct io_uring_cqe *at = &r->cqes[head & r->cq_mask];
    answer cqe = {at->user_data, at->res};
    atomic_store(r->cq_head, head + 1);
    return cqe;
}

static bool readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;
    do
        n = poll(&p, 1, ms);
    while (n < 0 && errno == EINTR);
    return n == 1 && p.revents & POLLIN;
}

static void write_byte(void)
{
    CHECK(write(pair[1], "x", 1) == 1);
}

static void *write_soon(void *unused)
{
    usleep(20 * 1000);
    write_byte();
    return unused;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* --- the facts ---------------------------------------------------------------------------- */

/* 1 */
static void asking_for_more_than_there_is_takes_what_is_there(void)
{
    ring r = open_as_the_driver_does();
    add_nop(&r, 1);
    CHECK(enter(&r, 5, 0, 0) == 1);
    CHECK(take(&r).user_data == 1);
    CHECK(enter(&r, 5, 0, 0) == 0);
}

static void taking_fewer_than_asked_for_does_not_wait(void)
{
    ring r = open_as_the_driver_does();
    add_recv(&r, 1);
    int64_t began = now_ns();
    int taken = enter_for(&r, 2, 1, 20 * 1000000000LL);
    CHECK(taken == 1);
    CHECK(now_ns() - began < 10 * 1000000000LL);
    CHECK(completions(&r) == 0);
}

/* 2 */
static void a_time_limit_is_hidden_by_what_was_submitted(void)
{
    ring r = open_as_the_driver_does();
    add_recv(&r, 1);
    CHECK(enter_for(&r, 1, 1, 1000000) == 1);
    CHECK(completions(&r) == 0);
    CHECK(enter_for(&r, 0, 1, 1000000) == -ETIME);
}

static void on_signal(int number)
{
    (void) number;
}

static void a_signal_is_hidden_by_what_was_submitted(void)
{
    ring r = open_as_the_driver_does();
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGALRM, &action, NULL);
    struct timespec period = {0, 20000000};
    struct itimerspec soon = {.it_value = period, .it_interval = period};
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0);
    CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
    add_recv(&r, 1);
    CHECK(enter(&r, 1, 1, IORING_ENTER_GETEVENTS) == 1);
    CHECK(completions(&r) == 0);
    CHECK(enter(&r, 0, 1, IORING_ENTER_GETEVENTS) == -EINTR);
}

/* 3 */
static void work_waits_for_the_next_enter_and_a_flag_says_so(void)
{
    ring r = open_as_the_driver_does();
    add_recv(&r, 1);
    CHECK(enter(&r, 1, 0, 0) == 1);
    CHECK(!(atomic_load(r.sq_flags) & IORING_SQ_TASKRUN));
    /* A socket that becomes readable by our own write leaves work for this very thread. The write
     * is a way into the kernel, but work is queued after it, on the way out it runs or waits. */
    write_byte();
    bool flagged = atomic_load(r.sq_flags) & IORING_SQ_TASKRUN;
    CHECK(flagged || completions(&r) == 1);
    CHECK(enter(&r, 0, 0, IORING_ENTER_GETEVENTS) == 0);
    CHECK(completions(&r) == 1);
    CHECK(!(atomic_load(r.sq_flags) & IORING_SQ_TASKRUN));
    CHECK(take(&r).res == 1);
}

static void a_sleeper_is_woken_by_its_request(void)
{
    ring r = open_as_the_driver_does();
    add_recv(&r, 1);
    pthread_t thread;
    pthread_create(&thread, NULL, write_soon, NULL);
    CHECK(enter(&r, 1, 1, IORING_ENTER_GETEVENTS) == 1);
    CHECK(take(&r).res == 1);
    pthread_join(thread, NULL);
}

/* 4 */
static void *submit_one(void *argument)
{
    CHECK(enter(argument, 1, 0, 0) == 1);
    return NULL;
}

static void a_request_whose_thread_is_gone_is_cancelled_when_it_would_go_on(void)
{
    ring r = open_as_the_driver_does();
    add_recv(&r, 7);
    pthread_t thread;
    pthread_create(&thread, NULL, submit_one, &r);
    pthread_join(thread, NULL);
    write_byte();
    CHECK(enter_for(&r, 0, 1, 10 * 1000000000LL) == 0);
    answer cqe = take(&r);
    CHECK(cqe.user_data == 7 && cqe.res == -ECANCELED);
    add_recv(&r, 8); /* nothing was lost: the byte is still there */
    CHECK(enter(&r, 1, 1, IORING_ENTER_GETEVENTS) == 1);
    CHECK(take(&r).res == 1);
}

/* 5 */
static void the_descriptor_polls_readable_while_there_are_completions(void)
{
    ring r = open_as_the_driver_does();
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, r.fd, &event) == 0);
    CHECK(!readable(r.fd, 0) && !readable(epoll, 0));
    add_nop(&r, 1);
    CHECK(enter(&r, 1, 0, 0) == 1);
    CHECK(readable(r.fd, 0) && readable(epoll, 0));
    take(&r);
    CHECK(!readable(r.fd, 0) && !readable(epoll, 0));
}

static _Atomic bool stop;

static void *arm_and_compute(void *argument)
{
    submit_one(argument);
    atomic_store(&stop, false);
    while (!atomic_load(&stop)) {
    }
    return NULL;
}

static void *arm_and_sleep(void *argument)
{
    submit_one(argument);
    atomic_store(&stop, false);
    while (!atomic_load(&stop))
        usleep(1000);
    return NULL;
}

static void armed_by(void *(*how)(void *) )
{
    ring r = open_as_the_driver_does();
    add_recv(&r, 1);
    atomic_store(&stop, true);
    pthread_t thread;
    pthread_create(&thread, NULL, how, &r);
    while (atomic_load(&stop))
        sched_yield();
    write_byte();
    CHECK(readable(r.fd, 10000));
    CHECK(take(&r).res == 1);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
}

static void what_a_computing_thread_armed_is_seen_by_poll(void)
{
    armed_by(arm_and_compute);
}

static void what_a_sleeping_thread_armed_is_seen_by_poll(void)
{
    armed_by(arm_and_sleep);
}

/* 6 */
static void completions_that_do_not_fit_are_kept(void)
{
    ring r = open_ring(IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, ENTRIES);
    CHECK(r.params.features & IORING_FEAT_NODROP);
    for (uint64_t i = 0; i < ENTRIES + 4; i++) {
        add_nop(&r, i);
        CHECK(enter(&r, 1, 0, 0) == 1);
    }
    CHECK(completions(&r) == ENTRIES);
    CHECK(atomic_load(r.sq_flags) & IORING_SQ_CQ_OVERFLOW);
    for (uint64_t i = 0; i < ENTRIES; i++)
        CHECK(take(&r).user_data == i);
    CHECK(enter(&r, 0, 0, IORING_ENTER_GETEVENTS) == 0);
    CHECK(completions(&r) == 4 && take(&r).user_data == ENTRIES);
    CHECK(!(atomic_load(r.sq_flags) & IORING_SQ_CQ_OVERFLOW));
}

/* 7 */
static int post(int fd, uint64_t data)
{
    struct io_uring_sqe sqe = {.opcode = IORING_OP_MSG_RING, .fd = fd, .off = data};
    long rc = syscall(SYS_io_uring_register, -1, SEND_MSG_RING, &sqe, 1);
    if (rc < 0 && errno == EINVAL) {
        printf("io_uring_register has no SEND_MSG_RING (Linux 6.13)\n");
        exit(SKIPPED);
    }
    return rc < 0 ? -errno : 0;
}

static void *post_from_a_thread(void *argument)
{
    usleep(20 * 1000);
    CHECK(post(((ring *) argument)->fd, 2) == 0);
    return NULL;
}

static void a_message_is_a_completion_at_once_whoever_sends_it(void)
{
    ring r = open_as_the_driver_does();
    CHECK(post(r.fd, 2) == 0);
    CHECK(completions(&r) == 1);
    CHECK(take(&r).user_data == 2);
    pthread_t thread;
    pthread_create(&thread, NULL, post_from_a_thread, &r);
    CHECK(enter(&r, 0, 1, IORING_ENTER_GETEVENTS) == 0); /* asleep, and woken */
    CHECK(take(&r).user_data == 2);
    pthread_join(thread, NULL);
}

static void a_message_from_a_ring_is_there_when_it_is_submitted(void)
{
    ring target = open_as_the_driver_does(), sender = open_as_the_driver_does();
    struct io_uring_sqe *sqe = next_entry(&sender);
    sqe->opcode = IORING_OP_MSG_RING;
    sqe->fd = target.fd;
    sqe->off = 2;
    sqe->user_data = 1;
    publish(&sender);
    CHECK(enter(&sender, 1, 0, 0) == 1);
    CHECK(completions(&target) == 1 && take(&target).user_data == 2);
    answer cqe = take(&sender);
    CHECK(cqe.user_data == 1 && cqe.res == 0);
}

/* 8 */
static void a_request_is_copied_when_it_is_taken(void)
{
    ring r = open_as_the_driver_does();
    CHECK(r.params.features & IORING_FEAT_SUBMIT_STABLE);
    add_recv(&r, 1);
    CHECK(enter(&r, 1, 0, 0) == 1);
    memset(r.sqes, 0xff, r.params.sq_entries * sizeof *r.sqes);
    write_byte();
    CHECK(enter(&r, 0, 1, IORING_ENTER_GETEVENTS) == 0);
    answer cqe = take(&r);
    CHECK(cqe.user_data == 1 && cqe.res == 1);
}

/* 9 */
static void a_cancelled_request_completes_once(void)
{
    ring r = open_as_the_driver_does();
    add_recv(&r, 100);
    struct io_uring_sqe *sqe = next_entry(&r);
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->addr = 100;
    sqe->user_data = 2;
    publish(&r);
    CHECK(enter(&r, 2, 2, IORING_ENTER_GETEVENTS) == 2);
    bool cancelled = false, answered = false;
    for (int i = 0; i < 2; i++) {
        answer cqe = take(&r);
        cancelled |= cqe.user_data == 100 && cqe.res == -ECANCELED;
        answered |= cqe.user_data == 2 && cqe.res == 0;
    }
    CHECK(cancelled && answered);
    write_byte();
    CHECK(enter(&r, 0, 0, IORING_ENTER_GETEVENTS) == 0);
    CHECK(completions(&r) == 0);
}

/* 10 */
static void a_request_in_flight_holds_its_descriptor(void)
{
    ring r = open_as_the_driver_does();
    add_recv(&r, 1);
    CHECK(enter(&r, 1, 0, 0) == 1);
    CHECK(close(pair[0]) == 0);
    CHECK(!readable(pair[1], 0)); /* its peer sees no end of the stream yet */
    write_byte();
    CHECK(enter(&r, 0, 1, IORING_ENTER_GETEVENTS) == 0);
    CHECK(take(&r).res == 1);
    CHECK(readable(pair[1], 10000)); /* now it does */
}

/* 11 */
static void a_receive_that_polls_first_takes_what_is_there(void)
{
    ring r = open_as_the_driver_does();
    write_byte();
    add_recv(&r, 1);
    r.sqes[(atomic_load(r.sq_tail) - 1) & r.sq_mask].ioprio = IORING_RECVSEND_POLL_FIRST;
    CHECK(enter(&r, 1, 0, 0) == 1);
    answer cqe = take(&r);
    CHECK(cqe.user_data == 1 && cqe.res == 1);
}

typedef struct fact {
    const char *name;
    void (*run)(void);
} fact;

#define FACT(name) {#name, name}

static const fact facts[] = {
    FACT(asking_for_more_than_there_is_takes_what_is_there),
    FACT(taking_fewer_than_asked_for_does_not_wait),
    FACT(a_time_limit_is_hidden_by_what_was_submitted),
    FACT(a_signal_is_hidden_by_what_was_submitted),
    FACT(work_waits_for_the_next_enter_and_a_flag_says_so),
    FACT(a_sleeper_is_woken_by_its_request),
    FACT(a_request_whose_thread_is_gone_is_cancelled_when_it_would_go_on),
    FACT(the_descriptor_polls_readable_while_there_are_completions),
    FACT(what_a_computing_thread_armed_is_seen_by_poll),
    FACT(what_a_sleeping_thread_armed_is_seen_by_poll),
    FACT(completions_that_do_not_fit_are_kept),
    FACT(a_message_is_a_completion_at_once_whoever_sends_it),
    FACT(a_message_from_a_ring_is_there_when_it_is_submitted),
    FACT(a_request_is_copied_when_it_is_taken),
    FACT(a_cancelled_request_completes_once),
    FACT(a_request_in_flight_holds_its_descriptor),
    FACT(a_receive_that_polls_first_takes_what_is_there),
};

int main(int count, char **arguments)
{
    for (size_t i = 0; count == 2 && i < sizeof facts / sizeof *facts; i++)
        if (!strcmp(facts[i].name, arguments[1])) {
            facts[i].run();
            return 0;
        }
    fprintf(stderr, "uring_facts NAME\n");
    return 2;
}
