/* The seam to the kernel: a driver submits requests, waits, and answers with completions. Two
 * implementations, io_uring and epoll, that behave the same.
 *
 * Lifetimes
 *  1. A request (zm_op) belongs to the caller and is embedded in the caller's object. From the
 *     call that starts it until its completion was reaped it is `in_flight`: neither it nor any
 *     memory it names may go away, and it is not started again.
 *  2. Each started request is completed exactly once, cancelled ones too (res = -ECANCELED, or the
 *     real result when that came first).
 *  3. A driver is closed only with in_flight == 0.
 *
 * Threads. "Locked" functions need the lock of the socket that owns the driver. wait() is called
 * *without* it, by at most one thread at a time (the caller sees to that); wake() by anybody. Other
 * threads may call the locked functions, reap() excepted, while one waits.
 */
#ifndef ZM_DRIVER_DRIVER_H
#define ZM_DRIVER_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

typedef struct zm_driver zm_driver;

typedef struct zm_op zm_op;
struct zm_op {
    /* Of the caller, who runs it with the result of each completion: the driver never does. */
    void (*done)(zm_op *op, int32_t res);
    void *owner;       /* caller's */
    bool whole;        /* of the caller, a hint for send: complete when all bytes are moved, so
                          that one wake-up does for many steps. Fewer bytes may still come. */
    bool in_flight;    /* driver's */
    uint8_t dry;       /* driver's: that many receives in a row left nothing behind */
    uint8_t request;   /* driver's: which call started it */
    bool polled;       /* driver's: its descriptor is polled, then it is started again */
    uint32_t thread;   /* driver's: zm_thread_id() that started it */
    int fd;            /* driver's */
    void *buffer;      /* driver's */
    size_t size;       /* driver's */
    zm_op *next, *prev; /* driver's */
};

/* res: bytes (recv, send), descriptor (accept), 0 (connect), or -errno.
 * recv: 0 is the end of the stream. */
typedef struct zm_completion {
    zm_op *op;
    int32_t res;
} zm_completion;

typedef enum zm_driver_kind { ZM_DRIVER_IO_URING = 1, ZM_DRIVER_EPOLL = 2 } zm_driver_kind;

/* Resolves liburing's functions from the shared object at `path` and tries a ring. 0, or -errno
 * and the reason, for a person, in zm_uring_reason() (never NULL; "" when usable). */
int zm_uring_load(const char *path);
/* The same with system calls of our own, where python-liburing cannot be loaded. */
int zm_uring_do_without(void);
const char *zm_uring_reason(void);

/* 0 or -errno (-EMFILE, -ENOMEM, -EPERM ...). */
int zm_driver_open(zm_driver_kind kind, zm_driver **out_driver);
void zm_driver_close(zm_driver *taken);
/* Of one that is not used now: can it be used? Not if the process has locked itself in since. */
bool zm_driver_usable(const zm_driver *driver);

/* Of one in use: has the process locked itself in, and will nothing be started any more? No system
 * call, so that it may not be known yet. Any thread. */
bool zm_driver_is_shut(const zm_driver *driver);
/* In the child of a fork, in its atfork handler: what the drivers share is the parent's. */
void zm_driver_after_fork(void);

/* Readable (poll, epoll, select) while completions wait to be reaped; not for certain between a
 * wait() and the reap that has to follow it. */
int zm_driver_fd(const zm_driver *driver);
/* Requests started and not yet reaped. Locked. */
unsigned zm_driver_in_flight(const zm_driver *driver);
/* How often it was waited in and reaped, about. Any thread. */
uint64_t zm_driver_entries(const zm_driver *driver);

/* Does a request complete in the thread that started it (zm_op.thread), which has to go through the
 * kernel for that? Else in whichever reaps. */
bool zm_driver_is_thread_bound(const zm_driver *driver);

/* --- start a request. Locked. They are queued and reach the kernel with submit() or wait();
 *     they do not fail (what the kernel refuses comes as a completion). ------------------------ */
void zm_driver_recv(zm_driver *driver, zm_op *op, int fd, void *lent, size_t size);
/* `lent` (header and vectors) and the bytes stay valid until the completion. MSG_NOSIGNAL. */
void zm_driver_send(zm_driver *driver, zm_op *op, int fd, struct msghdr *lent);
/* Accepts one connection: SOCK_CLOEXEC | SOCK_NONBLOCK. The peer's address is asked for later. */
void zm_driver_accept(zm_driver *driver, zm_op *op, int fd);
/* `lent` address valid until the completion. */
void zm_driver_connect(zm_driver *driver, zm_op *op, int fd, const struct sockaddr *lent,
                       socklen_t size);
/* Asks for the end of a request in flight; its completion tells what became of it. */
void zm_driver_cancel(zm_driver *driver, zm_op *op);

/* Pushes queued requests to the kernel; does not wait. Locked. Completions that are there at once
 * can be reaped after it. */
void zm_driver_submit(zm_driver *driver);
/* The same by one who reaps before he gives up the lock, if zm_driver_reap_pays(): the descriptor
 * need not tell of what is there at once. Locked; not while another thread is in wait(). */
void zm_driver_push(zm_driver *driver);
/* Takes up to `count` completions; returns how many. Locked; not while another thread is in
 * wait(). Runs what the kernel left to run in this thread, if anything, first. */
int zm_driver_reap(zm_driver *driver, zm_completion *out, int count);
/* A fact: a completion is there, so that nobody needs to sleep. No system call; what the kernel has
 * not handed over yet is not counted, but makes the descriptor readable. Any thread. */
bool zm_driver_ready(const zm_driver *driver);
/* A hint, which may be wrong either way: a reap, with the system call that it may take, is likely
 * to find something. Nothing that sleeps may depend on it. Any thread. */
bool zm_driver_reap_pays(const zm_driver *driver);

/* Waits until a completion can be reaped, wake() was called, `deadline_ns` came (< 0: none) or a
 * signal. Polls for up to `spin_ns` first, without sleeping. Before giving up the lock the caller
 * calls wait_prepare() (locked), which takes what must be submitted with the wait.
 * 0: something may be there; -ETIMEDOUT; -EINTR. */
void zm_driver_wait_prepare(zm_driver *driver);
int zm_driver_wait(zm_driver *driver, int64_t deadline_ns, int64_t spin_ns);
/* Makes the present wait(), or the next one, return. Any thread, no lock. Also makes fd readable
 * until the next wait() or reap(). */
void zm_driver_wake(zm_driver *driver);

#endif
