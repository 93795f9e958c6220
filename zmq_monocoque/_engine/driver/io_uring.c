/* The io_uring driver: one ring a driver, used by whatever thread holds the socket's lock. Set-up
 * and system calls are liburing's, found at run time; the rings are read and written here. Knows
 * requests and completions, nothing of what they are for.
 *
 * Some facts about io_uring (tests/unit/test_uring_facts.py asks the kernel for each)
 *  1. Requests enter the submission queue (SQ) by writing an entry and moving the tail; the kernel
 *     takes them, in order, in whatever thread calls enter(), under a lock of its own. Asking it to
 *     take more than there are is harmless: it takes what is there, and then *does not wait*.
 *  2. enter() that took something answers with the number taken, and hides that the wait which
 *     followed ended by a signal or by its time limit.
 *  3. A request that cannot finish at once is polled; when its descriptor becomes ready, it goes
 *     on as "task work" of the thread that submitted it. With COOP_TASKRUN (Linux 5.19) that thread
 *     is not interrupted: the work runs when it next enters or leaves the kernel, and
 *     SQ_TASKRUN shows that some thread of this ring has such work. A thread asleep is woken.
 *  4. When that thread is gone, its request completes with -ECANCELED once it would go on.
 *  5. The ring's descriptor polls readable while the completion queue (CQ) is not empty.
 *  6. Completions that do not fit into the CQ are kept by the kernel (SQ_CQ_OVERFLOW) and moved in
 *     by the next enter(GETEVENTS).
 *  7. A message posted with register(SEND_MSG_RING) (Linux 6.13) becomes a completion at once,
 *     whoever sends it. Before that it takes a ring to send one: uring_messenger.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../base/alloc.h"
#include "../base/clock.h"
#include "../base/fds.h"
#include "../base/lock.h"
#include "driver_private.h"
#include "io_uring_private.h"
#include "uring_abi.h"

enum {
    DRY = 4,           /* receives after which the next one is not expected to find anything */
};

/* How long a spinning thread leaves the kernel alone after it entered for nothing: SQ_TASKRUN may
 * stand for another thread's work. */
enum { QUIET_NS = 5000 };
/* Looks at the CQ between two looks at the clock. */
enum { LOOKS_PER_CLOCK = 16 };
/* How long a wait lasts that nobody may be able to wake. */
enum { SHUT_LOOK_NS = 20 * 1000 * 1000 };

zm_uring_liburing zm_liburing;
uint32_t zm_uring_setup_flags;
zm_uring_waking zm_uring_wakes_by;

static void uring_wake(zm_driver *driver);

/* --- the completion queue ------------------------------------------------------------------ */

/* Acquire pairs with the kernel's release of the tail: entries before it can be read. */
static inline bool has_completion(const zm_uring *u)
{
    return atomic_load_explicit(u->cq_tail, memory_order_acquire)
               != atomic_load_explicit(u->cq_head, memory_order_relaxed)
           || atomic_load_explicit(&u->stashed, memory_order_relaxed);
}

/* Has the kernel something to do, in some thread, that may bring completions? */
static inline bool kernel_has_work(const zm_uring *u)
{
    return atomic_load_explicit(u->sq_flags, memory_order_relaxed)
           & (ZM_URING_SQ_TASKRUN | ZM_URING_SQ_CQ_OVERFLOW);
}

/* The wake's completion was taken. The exchange reads what zm_driver_wake() wrote, so whatever its
 * caller did before it is seen after the reap. */
static void wake_arrived(zm_uring *u, uint32_t flags)
{
    if (u->event_fd >= 0) {
        uint64_t count;
        /* Before `waking` is cleared: a wake that comes now is part of this one. */
        ssize_t got = read(u->event_fd, &count, sizeof count);
        (void) got; /* nothing there: the poll told of a write that was read already */
        u->must_arm = !(flags & ZM_URING_CQE_MORE);
    }
    atomic_exchange(&u->waking, false);
}

/* The op that a completion is for; NULL when it was ours. */
static inline zm_op *op_of(zm_uring *u, const zm_uring_cqe *cqe)
{
    if (ZM_LIKELY(cqe->user_data >= DATA_OP_MIN))
        return (zm_op *) (uintptr_t) cqe->user_data;
    if (cqe->user_data == DATA_WAKE)
        wake_arrived(u, cqe->flags);
    return NULL;
}

static inline void complete(zm_uring *u, zm_op *op, int32_t res, uint32_t flags, zm_completion *out)
{
    ZM_OP_FROM_KERNEL(op);
    zm_driver_finish(&u->base, op);
    if (op->request == ZM_REQUEST_ACCEPT)
        zm_fd_own(res);
    if (res > 0 && !(flags & ZM_URING_CQE_SOCK_NONEMPTY))
        op->dry += op->dry < DRY;
    else
        op->dry = 0;
    out->op = op;
    out->res = res;
}

static void stash(zm_uring *u, zm_op *op, int32_t res)
{
    op->size = (size_t) res;
    op->next = NULL;
    if (u->stash_first)
        u->stash_last->next = op;
    else
        u->stash_first = op;
    u->stash_last = op;
    atomic_store_explicit(&u->stashed, true, memory_order_relaxed);
}

static int reap_stash(zm_uring *u, zm_completion *out, int count)
{
    int n = 0;
    while (n < count && u->stash_first) {
        zm_op *op = u->stash_first;
        u->stash_first = op->next;
        complete(u, op, (int32_t) op->size, ZM_URING_CQE_SOCK_NONEMPTY, &out[n++]);
    }
    if (!u->stash_first)
        atomic_store_explicit(&u->stashed, false, memory_order_relaxed);
    return n;
}

/* Release: the kernel must not write over entries that are still being read. */
static inline void set_cq_head(zm_uring *u, unsigned head)
{
    atomic_store_explicit(u->cq_head, head, memory_order_release);
}

/* Empties the CQ into the stash. Another thread may wait meanwhile, on its way into the kernel
 * because of a completion that was there: it is woken, or it would sleep. */
static void stash_completions(zm_uring *u)
{
    unsigned head = atomic_load_explicit(u->cq_head, memory_order_relaxed);
    unsigned tail = atomic_load_explicit(u->cq_tail, memory_order_acquire);
    for (; head != tail; head++) {
        const zm_uring_cqe *cqe = &u->cqes[head & u->cq_mask];
        zm_op *op = op_of(u, cqe);
        if (!op)
            continue;
        /* The size of the request goes with the result: this one is for the caller to start. */
        stash(u, op, op->polled && cqe->res >= 0 ? -EAGAIN : cqe->res);
        op->polled = false;
    }
    set_cq_head(u, head);
    uring_wake(&u->base);
}

/* --- the submission queue ------------------------------------------------------------------ */

/* Entries before `tail` that the kernel has not taken; it may be taking them right now. */
static inline unsigned left_before(const zm_uring *u, unsigned tail)
{
    int left = (int) (tail - atomic_load_explicit(u->sq_head, memory_order_acquire));
    return left > 0 ? (unsigned) left : 0;
}

/* Shows the kernel the entries that were written. */
static inline void flush(zm_uring *u)
{
    unsigned tail = atomic_load_explicit(u->sq_tail, memory_order_relaxed);
    if (tail == u->sq_next)
        return;
    uint32_t thread = zm_thread_id();
    for (; tail != u->sq_next; tail++) {
        uint64_t data = u->sqes[tail & u->sq_mask].user_data;
        if (data < DATA_OP_MIN)
            continue;
        zm_op *op = (zm_op *) (uintptr_t) data;
        op->thread = thread; /* the one that submits is the one it completes in */
        zm_driver_check_memory(op);
        ZM_OP_TO_KERNEL(op);
    }
    /* Release pairs with the kernel's acquire: it sees the entries before the tail. */
    atomic_store_explicit(u->sq_tail, u->sq_next, memory_order_release);
}

/* This thread is about to submit what another, on its way into wait(), meant to submit itself. Both
 * may happen, so nobody can tell in which thread those requests complete. */
static void disown_claimed(zm_uring *u)
{
    unsigned left = left_before(u, u->claim_tail);
    if (ZM_LIKELY(!left) || u->claim_thread == zm_thread_id())
        return;
    for (unsigned i = u->claim_tail - left; i != u->claim_tail; i++) {
        uint64_t data = u->sqes[i & u->sq_mask].user_data;
        if (data >= DATA_OP_MIN)
            ((zm_op *) (uintptr_t) data)->thread = 0;
    }
}

/* Has the kernel take every entry before `tail`. 0, or -errno: the rest stays in the queue, and a
 * completion is there, so that somebody comes to reap, which pushes again. */
static int push(zm_uring *u, unsigned tail)
{
    enum { TRIES = 64 };
    unsigned left;
    for (int tries = 0; (left = left_before(u, tail)) != 0;) {
        int rc = zm_uring_enter(u, left, 0, 0, NULL);
        if (rc >= 0 || rc == -EINTR)
            continue;
        if (rc == -EBUSY && has_completion(u))
            return rc; /* older kernels: reap first */
        bool may_pass = rc == -EAGAIN || rc == -EBUSY; /* out of memory for the moment */
        if (may_pass && ++tries < TRIES) {
            sched_yield();
            continue;
        }
        if (may_pass)
            uring_wake(&u->base);
        return rc;
    }
    return 0;
}

/* The queue of a ring that is shut: its requests have failed. A request that the kernel has cannot
 * be cancelled any more; it ends when its connection does. */
static void fail_queue(zm_uring *u)
{
    unsigned head = atomic_load_explicit(u->sq_head, memory_order_acquire);
    for (unsigned i = head; i != u->sq_next; i++) {
        const zm_uring_sqe *sqe = &u->sqes[i & u->sq_mask];
        if (sqe->user_data >= DATA_OP_MIN)
            stash(u, (zm_op *) (uintptr_t) sqe->user_data, -EPERM);
        else if (sqe->user_data == DATA_CANCEL)
            shutdown(((const zm_op *) (uintptr_t) sqe->addr)->fd, SHUT_RDWR);
    }
    u->sq_next = u->claim_tail = head;
    atomic_store_explicit(u->sq_tail, head, memory_order_release);
    uring_wake(&u->base);
}

static void uring_submit(zm_driver *driver)
{
    zm_uring *u = uring_of(driver);
    flush(u);
    if (left_before(u, u->sq_next) == 0)
        return;
    disown_claimed(u);
    if (push(u, u->sq_next) == -EBUSY) {
        stash_completions(u);
        push(u, u->sq_next);
    }
    if (ZM_UNLIKELY(atomic_load_explicit(&u->base.shut, memory_order_relaxed)))
        fail_queue(u);
}

/* A free entry, zeroed. Submits on the way when the queue is full. NULL when the kernel takes
 * nothing any more (its descriptor was closed behind our back). */
static zm_uring_sqe *next_entry(zm_uring *u)
{
    while (ZM_UNLIKELY(left_before(u, u->sq_next) >= u->sq_entries)) {
        flush(u);
        disown_claimed(u);
        int rc = push(u, u->sq_next);
        if (rc == -EBUSY || rc == -EAGAIN)
            stash_completions(u); /* a full CQ makes older kernels refuse */
        else if (zm_uring_is_forbidden(rc))
            fail_queue(u);
        else if (rc < 0)
            return NULL;
    }
    zm_uring_sqe *sqe = &u->sqes[u->sq_next++ & u->sq_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

/* Halves are swapped on big-endian machines. */
static uint32_t poll32(uint32_t events)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return events << 16 | events >> 16;
#else
    return events;
#endif
}

static void fill_entry(zm_uring_sqe *sqe, const zm_op *op)
{
    sqe->fd = op->fd;
    sqe->user_data = (uintptr_t) op;
    if (ZM_UNLIKELY(op->polled)) {
        sqe->opcode = ZM_URING_OP_POLL_ADD;
        sqe->op_flags = poll32(op->request == ZM_REQUEST_SEND ? POLLOUT : POLLIN);
        return;
    }
    sqe->addr = (uintptr_t) op->buffer;
    switch (op->request) {
    case ZM_REQUEST_RECV:
        sqe->opcode = ZM_URING_OP_RECV;
        /* An attempt that finds nothing costs as much as the poll that follows it. */
        if (op->dry == DRY && zm_uring_setup_flags & ZM_URING_SETUP_COOP_TASKRUN)
            sqe->ioprio = ZM_URING_RECV_POLL_FIRST;
        sqe->len = (uint32_t) op->size;
        break;
    case ZM_REQUEST_SEND:
        sqe->opcode = ZM_URING_OP_SENDMSG;
        sqe->len = 1;
        sqe->op_flags = MSG_NOSIGNAL | (op->whole ? MSG_WAITALL : 0);
        break;
    case ZM_REQUEST_ACCEPT:
        sqe->opcode = ZM_URING_OP_ACCEPT;
        sqe->op_flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
        break;
    default:
        ZM_ASSERT(op->request == ZM_REQUEST_CONNECT);
        sqe->opcode = ZM_URING_OP_CONNECT;
        sqe->off = op->size;
        break;
    }
}

static void uring_start(zm_driver *driver, zm_op *op)
{
    zm_uring *u = uring_of(driver);
    zm_uring_sqe *sqe = next_entry(u);
    if (ZM_LIKELY(sqe != NULL))
        fill_entry(sqe, op);
    else
        stash(u, op, -EBADF);
}

/* Does the request go on? One that the kernel would not wait with (-EAGAIN; of a connect that is an
 * answer: the peer's backlog is full) is not made again at once, which would be so for ever, but
 * when a poll says that it can be done. */
static bool goes_on(zm_op *op, int32_t res)
{
    if (op->polled) {
        op->polled = false;
        return res >= 0;
    }
    op->polled = res == -EAGAIN && op->request != ZM_REQUEST_CONNECT;
    return op->polled;
}

/* The queue keeps its order, so this never hits a later use of the same op. */
static void uring_cancel(zm_driver *driver, zm_op *op)
{
    zm_uring_sqe *sqe = next_entry(uring_of(driver));
    if (!sqe)
        return;
    sqe->opcode = ZM_URING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->addr = (uintptr_t) op;
    sqe->user_data = DATA_CANCEL;
}

void zm_uring_arm_event_fd(zm_uring *u)
{
    zm_uring_sqe *sqe = next_entry(u);
    if (!sqe)
        return;
    u->must_arm = false;
    sqe->opcode = ZM_URING_OP_POLL_ADD;
    sqe->fd = u->event_fd;
    sqe->op_flags = poll32(POLLIN);
    sqe->len = ZM_URING_POLL_MULTI;
    sqe->user_data = DATA_WAKE;
    flush(u);
    push(u, u->sq_next);
}

/* --- reaping and waiting ------------------------------------------------------------------- */

static int uring_reap(zm_driver *driver, zm_completion *out, int count)
{
    zm_uring *u = uring_of(driver);
    if (ZM_UNLIKELY(atomic_load_explicit(&u->base.shut, memory_order_relaxed)))
        fail_queue(u);
    else if (!has_completion(u) && kernel_has_work(u))
        zm_uring_enter(u, 0, 0, ZM_URING_ENTER_GETEVENTS, NULL);
    int n = ZM_UNLIKELY(u->stash_first != NULL) ? reap_stash(u, out, count) : 0;
    zm_op *going_on = NULL;
    unsigned head = atomic_load_explicit(u->cq_head, memory_order_relaxed);
    unsigned tail = atomic_load_explicit(u->cq_tail, memory_order_acquire);
    while (head != tail && n < count) {
        const zm_uring_cqe *cqe = &u->cqes[head++ & u->cq_mask];
        zm_op *op = op_of(u, cqe);
        if (!op)
            continue;
        if (ZM_UNLIKELY(op->polled || cqe->res == -EAGAIN) && goes_on(op, cqe->res)) {
            op->next = going_on;
            going_on = op;
            continue;
        }
        complete(u, op, cqe->res, cqe->flags, &out[n++]);
    }
    set_cq_head(u, head);
    if (ZM_UNLIKELY(u->must_arm))
        zm_uring_arm_event_fd(u);
    while (ZM_UNLIKELY(going_on != NULL)) {
        zm_op *op = going_on;
        going_on = op->next;
        uring_start(driver, op);
        flush(u);
    }
    /* Left over from a submission that failed: nobody waits now, so it is nobody else's. */
    u->claim_tail = atomic_load_explicit(u->sq_head, memory_order_relaxed);
    unsigned published = atomic_load_explicit(u->sq_tail, memory_order_relaxed);
    if (ZM_UNLIKELY(left_before(u, published) != 0))
        push(u, published);
    return n;
}

/* Those that the kernel had to keep are completions, too. SQ_TASKRUN is none: it may be the work of
 * another thread, and stands until more is done when that thread is gone. */
static bool uring_ready(const zm_driver *driver)
{
    const zm_uring *u = ZM_CONTAINER(driver, const zm_uring, base);
    return has_completion(u)
           || atomic_load_explicit(u->sq_flags, memory_order_relaxed) & ZM_URING_SQ_CQ_OVERFLOW;
}

static bool uring_reap_pays(const zm_driver *driver)
{
    const zm_uring *u = ZM_CONTAINER(driver, const zm_uring, base);
    return has_completion(u) || kernel_has_work(u);
}

static void uring_wait_prepare(zm_driver *driver)
{
    zm_uring *u = uring_of(driver);
    flush(u);
    u->claim_tail = u->sq_next;
    u->claim_thread = zm_thread_id();
}

/* Looks at the CQ without sleeping until `until_ns`; true when a completion came. */
static bool spin(zm_uring *u, int64_t until_ns)
{
    int64_t quiet_until_ns = 0;
    for (;;) {
        int64_t now = zm_now_ns();
        unsigned left = left_before(u, u->claim_tail);
        if (left || (kernel_has_work(u) && now >= quiet_until_ns)) {
            zm_uring_enter(u, left, 0, ZM_URING_ENTER_GETEVENTS, NULL);
            now = zm_now_ns();
            quiet_until_ns = now + QUIET_NS;
        }
        for (int looks = 0; looks < LOOKS_PER_CLOCK; looks++) {
            if (has_completion(u))
                return true;
            zm_cpu_relax();
        }
        if (now >= until_ns)
            return false;
        /* The peer we spin for may stand behind us on the same core: a round trip there took 119 us
         * without this, 17 us with it; on two cores it makes no difference. */
        if (!zm_spin_yield())
            return has_completion(u);
    }
}

/* Of a ring that is shut. Completions show on its descriptor; a wake may be forbidden, too. */
static int wait_shut(zm_uring *u, int64_t deadline_ns)
{
    struct pollfd readable = {.fd = u->base.fd, .events = POLLIN};
    int64_t left = deadline_ns < 0 ? SHUT_LOOK_NS : deadline_ns - zm_now_ns();
    if (left > SHUT_LOOK_NS)
        left = SHUT_LOOK_NS;
    struct timespec limit = {.tv_nsec = left > 0 ? left : 0};
    if (left_before(u, u->claim_tail) || has_completion(u))
        return 0;
    if (ppoll(&readable, 1, &limit, NULL) < 0)
        return -errno;
    return deadline_ns >= 0 && zm_now_ns() >= deadline_ns && !readable.revents ? -ETIMEDOUT : 0;
}

static int uring_wait(zm_driver *driver, int64_t deadline_ns, int64_t spin_ns)
{
    zm_uring *u = uring_of(driver);
    if (ZM_UNLIKELY(atomic_load_explicit(&u->base.shut, memory_order_relaxed)))
        return wait_shut(u, deadline_ns);
    if (spin_ns > 0 && !has_completion(u)) {
        int64_t until_ns = zm_now_ns() + spin_ns;
        spin(u, deadline_ns >= 0 && deadline_ns < until_ns ? deadline_ns : until_ns);
    }
    for (;;) {
        unsigned left = left_before(u, u->claim_tail);
        if (left && zm_signals_exact && push(u, u->claim_tail) == 0)
            left = 0; /* a call that submits would hide a signal: fact 2 */
        if (left == 0 && has_completion(u))
            return 0;
        zm_uring_timespec limit;
        zm_uring_wait_arg arg = {0};
        unsigned flags = ZM_URING_ENTER_GETEVENTS;
        unsigned min_complete = has_completion(u) ? 0 : 1;
        if (deadline_ns >= 0) {
            int64_t ns = deadline_ns - zm_now_ns();
            if (ns > 0) {
                limit.tv_sec = ns / 1000000000;
                limit.tv_nsec = ns % 1000000000;
                arg.timespec = (uintptr_t) &limit;
                flags |= ZM_URING_ENTER_EXT_ARG;
            } else {
                min_complete = 0;
            }
        }
        int rc = zm_uring_enter(u, left, min_complete, flags, arg.timespec ? &arg : NULL);
        if (rc >= 0 && (unsigned) rc < left)
            continue; /* another thread was faster, or only some were taken: it has not waited */
        if (rc == -EAGAIN || rc == -EBUSY) {
            /* Out of memory for the moment. What is there is reaped first: that may make room. */
            if (uring_ready(driver))
                return 0;
            if (deadline_ns >= 0 && zm_now_ns() >= deadline_ns)
                return -ETIMEDOUT;
            sched_yield();
            continue;
        }
        if (rc == -EINTR) {
            zm_signalled = true;
            push(u, u->claim_tail);
        }
        if (has_completion(u) || zm_uring_is_forbidden(rc))
            return 0;
        if (rc < 0)
            return rc == -ETIME ? -ETIMEDOUT : rc;
        if (deadline_ns >= 0 && zm_now_ns() >= deadline_ns)
            return -ETIMEDOUT;
        return left ? -EINTR : 0; /* fact 2 */
    }
}

/* --- waking -------------------------------------------------------------------------------- */

static void uring_wake(zm_driver *driver)
{
    zm_uring *u = uring_of(driver);
    if (atomic_exchange(&u->waking, true))
        return; /* its completion is there, or about to be */
    if (u->event_fd >= 0) {
        uint64_t one = 1;
        ssize_t put = write(u->event_fd, &one, sizeof one);
        (void) put; /* fails only when the count is at its end: readable anyway */
    } else if (zm_uring_post_message(u->base.fd) < 0) {
        /* Out of memory for a completion: others are there then, so nobody sleeps. */
        atomic_store(&u->waking, false);
    }
}

/* --- closing, and the table ---------------------------------------------------------------- */

static void uring_close(zm_driver *taken)
{
    zm_uring *u = uring_of(taken);
    /* In a forked child the mappings are not there (dontfork) and the descriptors are closed; both
     * addresses and numbers may be somebody else's by now. */
    if (!zm_driver_is_inherited(taken)) {
        zm_fd_release(u->ring.ring_fd);
        atomic_fetch_add_explicit(&zm_uring_exits, 1, memory_order_release);
        zm_liburing.queue_exit(&u->ring); /* closes it */
        zm_fd_close(u->event_fd);
    }
    zm_free(u);
}

static bool uring_usable(const zm_driver *driver)
{
    zm_uring *u = ZM_CONTAINER(driver, zm_uring, base);
    zm_uring_enter(u, 0, 0, ZM_URING_ENTER_GETEVENTS, NULL);
    return !atomic_load(&u->base.shut);
}

const zm_driver_ops zm_uring_ops = {
    .thread_bound = true,
    .close = uring_close,
    .usable = uring_usable,
    .start = uring_start,
    .cancel = uring_cancel,
    .submit = uring_submit,
    .push = uring_submit,
    .reap = uring_reap,
    .ready = uring_ready,
    .reap_pays = uring_reap_pays,
    .wait_prepare = uring_wait_prepare,
    .wait = uring_wait,
    .wake = uring_wake,
};
