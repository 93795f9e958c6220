/* What a receive through io_uring costs over a plain one: one thread sends SIZE bytes over a tcp
 * loopback connection to itself and receives them, in each of several ways. Prints nanoseconds a
 * message, the best of many rounds.
 *
 *     gcc -O2 -o /tmp/receive tests/bench/receive_floor.c && /tmp/receive [SIZE] */
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ENTRIES = 8, ROUNDS = 100, MESSAGES = 500, RECEIVED = 1, SENT = 2 };

typedef struct ring {
    int fd;
    _Atomic unsigned *sq_tail, *cq_head, *cq_tail;
    unsigned *array;
    unsigned sq_mask, cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
} ring;

static ring r;
static int here, there; /* the two ends */
static char message[65536], received[65536];
static size_t size = 75;

static void need(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static void open_ring(void)
{
    struct io_uring_params p = {.flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG};
    r.fd = (int) syscall(SYS_io_uring_setup, ENTRIES, &p);
    need(r.fd >= 0, "io_uring_setup");
    char *memory = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof *r.cqes + 4096,
                        PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, IORING_OFF_SQ_RING);
    r.sqes = mmap(NULL, p.sq_entries * sizeof *r.sqes, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd,
                  IORING_OFF_SQES);
    need(memory != MAP_FAILED && r.sqes != MAP_FAILED, "mmap");
    r.sq_tail = (_Atomic unsigned *) (memory + p.sq_off.tail);
    r.array = (unsigned *) (memory + p.sq_off.array);
    r.cq_head = (_Atomic unsigned *) (memory + p.cq_off.head);
    r.cq_tail = (_Atomic unsigned *) (memory + p.cq_off.tail);
    r.cqes = (struct io_uring_cqe *) (memory + p.cq_off.cqes);
    r.sq_mask = p.sq_entries - 1;
    r.cq_mask = p.cq_entries - 1;
}

static void enter(unsigned submit, unsigned flags)
{
    need(syscall(SYS_io_uring_enter, r.fd, submit, 0, flags, NULL, 0) >= 0, "io_uring_enter");
}

static struct io_uring_sqe *entry(int opcode, int fd, uint64_t data)
{
    unsigned tail = atomic_load(r.sq_tail);
    struct io_uring_sqe *sqe = &r.sqes[tail & r.sq_mask];
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = (uint8_t) opcode;
    sqe->fd = fd;
    sqe->user_data = data;
    r.array[tail & r.sq_mask] = tail & r.sq_mask;
    atomic_store(r.sq_tail, tail + 1);
    return sqe;
}

/* Takes in completions until that of `data` is there. */
static struct io_uring_cqe *await(uint64_t data)
{
    for (;;) {
        unsigned head = atomic_load(r.cq_head);
        if (head == atomic_load(r.cq_tail)) {
            enter(0, IORING_ENTER_GETEVENTS);
            continue;
        }
        struct io_uring_cqe *cqe = &r.cqes[head & r.cq_mask];
        atomic_store(r.cq_head, head + 1);
        if (cqe->user_data == data)
            return cqe;
    }
}

static void by_calls(void)
{
    need(send(here, message, size, 0) == (ssize_t) size, "send");
    need(recv(there, received, sizeof received, MSG_DONTWAIT) == (ssize_t) size, "recv");
}

static void armed(unsigned poll_first)
{
    struct io_uring_sqe *sqe = entry(IORING_OP_RECV, there, RECEIVED);
    sqe->addr = (uintptr_t) received;
    sqe->len = sizeof received;
    sqe->ioprio = (uint16_t) poll_first;
    sqe = entry(IORING_OP_SEND, here, SENT);
    sqe->addr = (uintptr_t) message;
    sqe->len = (unsigned) size;
    enter(2, 0);
    need(await(RECEIVED)->res == (int) size, "receive");
}

static void by_ring(void)
{
    armed(0);
}

static void by_ring_poll_first(void)
{
    armed(IORING_RECVSEND_POLL_FIRST);
}

static void polled_by_ring(void)
{
    static int polled;
    if (!polled) {
        struct io_uring_sqe *sqe = entry(IORING_OP_POLL_ADD, there, RECEIVED);
        sqe->poll32_events = 1; /* POLLIN */
        sqe->len = IORING_POLL_ADD_MULTI;
        enter(1, 0);
    }
    need(send(here, message, size, 0) == (ssize_t) size, "send");
    polled = await(RECEIVED)->flags & IORING_CQE_F_MORE;
    need(recv(there, received, sizeof received, MSG_DONTWAIT) == (ssize_t) size, "recv");
}

static void measure(const char *name, void (*once)(void))
{
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        double began = now_ns();
        for (int i = 0; i < MESSAGES; i++)
            once();
        double each = (now_ns() - began) / MESSAGES;
        if (each < best)
            best = each;
    }
    printf("%-44s %6.0f ns\n", name, best);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        size = (size_t) atoi(argv[1]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    need(bind(listener, (struct sockaddr *) &address, length) == 0, "bind");
    need(listen(listener, 1) == 0, "listen");
    getsockname(listener, (struct sockaddr *) &address, &length);
    here = socket(AF_INET, SOCK_STREAM, 0);
    need(connect(here, (struct sockaddr *) &address, length) == 0, "connect");
    there = accept(listener, NULL, NULL);
    setsockopt(here, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    open_ring();
    measure("send() and recv()", by_calls);
    measure("a ring: receive armed, then sent", by_ring);
    measure("the same, the receive polls first", by_ring_poll_first);
    measure("a ring polls, send() and recv()", polled_by_ring);
    return 0;
}
