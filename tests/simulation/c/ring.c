/* io_uring, as driver/io_uring.c sees it through the functions of driver/uring_calls.c, in whose
 * place these are linked: rings in memory, requests that wait, task work of the thread that
 * submitted them, completions that overflow. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "driver/uring_abi.h"
#include "driver/uring_calls.h"
#include "kernel.h"
#include "sim.h"

typedef struct ring ring;
typedef struct sim_work request;

struct sim_work {
    sim_waiter waiter;
    request *next, *prev;  /* of the ring */
    request *next_work;    /* of a thread */
    ring *of;
    sim_file *file;
    sim_thread *thread;
    zm_uring_sqe sqe;
    struct msghdr message;
    struct iovec *parts;
    size_t sent;
    bool queued; /* as task work */
    bool multi, cancelled, waits;
};

typedef struct overflow {
    struct overflow *next;
    zm_uring_cqe cqe;
} overflow;

struct ring {
    sim_file file;
    unsigned sq_head, sq_tail, sq_flags, cq_head, cq_tail, mask, entries, cq_mask, cq_entries;
    uint32_t setup;
    zm_uring_sqe *sqes;
    zm_uring_cqe *cqes;
    request *requests;
    overflow *kept, *kept_last;
    int with_work; /* requests that are task work of some thread */
};

static unsigned read_word(const unsigned *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static uint32_t ring_mask(sim_file *file)
{
    ring *r = (ring *) file;
    return (read_word(&r->cq_head) != r->cq_tail || r->kept ? POLLIN : 0) | POLLOUT;
}

static void ring_closed(sim_file *file)
{
    sim_leave_sets(file);
}

static const sim_kind ring_kind = {"ring", ring_mask, ring_closed};

/* --- completions ----------------------------------------------------------------------------- */

static bool put_completion(ring *r, const zm_uring_cqe *cqe)
{
    if (r->cq_tail - read_word(&r->cq_head) == r->cq_entries)
        return false;
    r->cqes[r->cq_tail & r->cq_mask] = *cqe;
    __atomic_store_n(&r->cq_tail, r->cq_tail + 1, __ATOMIC_SEQ_CST);
    return true;
}

static void complete(ring *r, uint64_t data, int res, uint32_t flags)
{
    zm_uring_cqe cqe = {data, res, flags};
    sim_step_said("ring %d: %s completes: %d", r->file.fd, data < 64 ? "own" : "request", res);
    if (r->kept || !put_completion(r, &cqe)) {
        overflow *o = malloc(sizeof *o);
        *o = (overflow) {NULL, cqe};
        if (r->kept)
            r->kept_last->next = o;
        else
            r->kept = o;
        r->kept_last = o;
        r->sq_flags |= ZM_URING_SQ_CQ_OVERFLOW;
    }
    sim_changed(&r->file);
    sim_wake_key(r, 1 << 20);
}

static void bring_in_kept(ring *r)
{
    while (r->kept && put_completion(r, &r->kept->cqe)) {
        overflow *o = r->kept;
        r->kept = o->next;
        free(o);
    }
    if (!r->kept)
        r->sq_flags &= ~(unsigned) ZM_URING_SQ_CQ_OVERFLOW;
}

/* --- requests -------------------------------------------------------------------------------- */

static void end_request(request *q, int res, uint32_t flags)
{
    ring *r = q->of;
    sim_listen_no_more(&q->waiter);
    if (q->prev)
        q->prev->next = q->next;
    else
        r->requests = q->next;
    if (q->next)
        q->next->prev = q->prev;
    complete(r, q->sqe.user_data, res, flags);
    if (q->file)
        sim_let_go(q->file);
    free(q->parts);
    free(q);
}

/* What was sent before it was called off is not unsent. */
static void call_off(request *q)
{
    end_request(q, q->sent ? (int) q->sent : -ECANCELED, 0);
}

static uint32_t wanted(const request *q)
{
    switch (q->sqe.opcode) {
    case ZM_URING_OP_POLL_ADD:
        return q->sqe.op_flags | POLLERR | POLLHUP;
    case ZM_URING_OP_SENDMSG:
    case ZM_URING_OP_CONNECT:
        return POLLOUT | POLLERR | POLLHUP;
    default:
        return POLLIN | POLLERR | POLLHUP;
    }
}

static void queue_work(request *q)
{
    sim_thread *t = q->thread;
    if (q->queued)
        return;
    q->queued = true;
    q->next_work = NULL;
    if (t->work)
        t->work_last->next_work = q;
    else
        t->work = q;
    t->work_last = q;
    q->of->with_work++;
    if (q->of->setup & ZM_URING_SETUP_TASKRUN_FLAG)
        q->of->sq_flags |= ZM_URING_SQ_TASKRUN;
    sim_wake(t);
}

static void request_changed(sim_waiter *waiter, sim_file *file)
{
    request *q = waiter->owner;
    if (!(file->kind->mask(file) & wanted(q)))
        return;
    if (q->thread->done) /* what goes on does so in a thread that is gone */
        call_off(q);
    else
        queue_work(q);
}

static int go_on_sending(request *q)
{
    struct msghdr rest = q->message;
    struct iovec parts[64];
    size_t skip = q->sent, n = 0;
    for (size_t i = 0; i < q->message.msg_iovlen && n < 64; i++) {
        struct iovec part = q->parts[i];
        if (skip >= part.iov_len) {
            skip -= part.iov_len;
            continue;
        }
        part.iov_base = (char *) part.iov_base + skip;
        part.iov_len -= skip;
        skip = 0;
        parts[n++] = part;
    }
    rest.msg_iov = parts;
    rest.msg_iovlen = n;
    return sim_socket_send(q->file, &rest);
}

static size_t message_size(const request *q)
{
    size_t size = 0;
    for (size_t i = 0; i < q->message.msg_iovlen; i++)
        size += q->parts[i].iov_len;
    return size;
}

/* True: it is over. */
static bool attempt(request *q)
{
    const zm_uring_sqe *sqe = &q->sqe;
    bool more = false;
    int rc;
    switch (sqe->opcode) {
    case ZM_URING_OP_POLL_ADD: {
        uint32_t mask = q->file->kind->mask(q->file) & wanted(q);
        if (!mask)
            return false;
        if (q->multi) {
            complete(q->of, sqe->user_data, (int) mask, ZM_URING_CQE_MORE);
            return false;
        }
        end_request(q, (int) mask, 0);
        return true;
    }
    case ZM_URING_OP_RECV:
        rc = sim_socket_recv(q->file, (void *) (uintptr_t) sqe->addr, sqe->len, &more);
        break;
    case ZM_URING_OP_SENDMSG:
        rc = go_on_sending(q);
        if (rc > 0) {
            q->sent += (size_t) rc;
            if (q->sent < message_size(q) && (sqe->op_flags & MSG_WAITALL))
                return attempt(q);
            rc = (int) q->sent;
        } else if (rc < 0 && rc != -EAGAIN && q->sent) {
            rc = (int) q->sent;
        }
        break;
    case ZM_URING_OP_ACCEPT:
        rc = sim_socket_accept(q->file, (int) sqe->op_flags);
        break;
    default:
        rc = sim_socket_connect(q->file, (void *) (uintptr_t) sqe->addr, (uint32_t) sqe->off);
        if (rc == -EISCONN && q->waits)
            rc = 0;
        if (rc == -EINPROGRESS || rc == -EALREADY) {
            q->waits = true;
            return false;
        }
        end_request(q, rc, 0);
        return true;
    }
    if (rc == -EAGAIN)
        return false;
    end_request(q, rc, more ? ZM_URING_CQE_SOCK_NONEMPTY : 0);
    return true;
}

bool sim_has_task_work(const sim_thread *thread)
{
    return thread->work != NULL;
}

void sim_run_task_work(void)
{
    sim_thread *me = sim_current;
    while (me->work) {
        request *q = me->work;
        me->work = q->next_work;
        q->queued = false;
        if (--q->of->with_work == 0)
            q->of->sq_flags &= ~(unsigned) ZM_URING_SQ_TASKRUN;
        if (q->cancelled)
            call_off(q);
        else
            attempt(q);
    }
}

void sim_thread_left_rings(sim_thread *thread)
{
    while (thread->work) {
        request *q = thread->work;
        thread->work = q->next_work;
        q->queued = false;
        if (--q->of->with_work == 0)
            q->of->sq_flags &= ~(unsigned) ZM_URING_SQ_TASKRUN;
        call_off(q);
    }
}

static void cancel(ring *r, const zm_uring_sqe *sqe)
{
    request *q = r->requests;
    while (q && q->sqe.user_data != sqe->addr)
        q = q->next;
    if (!q) {
        complete(r, sqe->user_data, -ENOENT, 0);
        return;
    }
    complete(r, sqe->user_data, 0, 0);
    if (q->queued) /* it is about to go on in its thread: there it ends, or is what it became */
        q->cancelled = sim_below(2);
    else
        call_off(q);
}

static void issue(ring *r, const zm_uring_sqe *sqe)
{
    if (sqe->opcode == ZM_URING_OP_ASYNC_CANCEL) {
        cancel(r, sqe);
        return;
    }
    sim_file *file = sim_file_of(sqe->fd);
    if (sqe->opcode == ZM_URING_OP_MSG_RING) {
        bool can = PLAN->driver != 2 && file && file->kind == &ring_kind;
        if (can)
            complete((ring *) file, sqe->off, (int) sqe->len, 0);
        complete(r, sqe->user_data, can ? 0 : -EINVAL, 0);
        return;
    }
    if (!file) {
        complete(r, sqe->user_data, -EBADF, 0);
        return;
    }
    if (sqe->opcode != ZM_URING_OP_CONNECT && sqe->opcode != ZM_URING_OP_POLL_ADD
        && sim_chance(PLAN->stray)) {
        TALLY->strays++; /* the kernel would rather not wait with it */
        complete(r, sqe->user_data, sim_below(2) && sqe->opcode == ZM_URING_OP_RECV ? -EINTR
                                                                                    : -EAGAIN, 0);
        return;
    }
    sim_step_said("ring %d: request %u on %d", r->file.fd, sqe->opcode, sqe->fd);
    request *q = calloc(1, sizeof *q);
    q->of = r;
    q->file = file;
    file->holds++;
    q->thread = sim_current;
    q->sqe = *sqe;
    q->multi = sqe->opcode == ZM_URING_OP_POLL_ADD && (sqe->len & ZM_URING_POLL_MULTI);
    q->waiter = (sim_waiter) {.changed = request_changed, .owner = q};
    if (sqe->opcode == ZM_URING_OP_SENDMSG) {
        q->message = *(const struct msghdr *) (uintptr_t) sqe->addr;
        q->parts = calloc(q->message.msg_iovlen + 1, sizeof *q->parts);
        memcpy(q->parts, q->message.msg_iov, q->message.msg_iovlen * sizeof *q->parts);
    }
    q->next = r->requests;
    if (q->next)
        q->next->prev = q;
    r->requests = q;
    bool poll_first = sqe->opcode == ZM_URING_OP_RECV && sqe->ioprio & ZM_URING_RECV_POLL_FIRST;
    uint32_t mask = file->kind->mask(file);
    if (!(poll_first && !(mask & POLLIN)) && attempt(q))
        return;
    sim_listen_to(file, &q->waiter);
    if (file->kind->mask(file) & wanted(q) && !q->multi && sqe->opcode != ZM_URING_OP_CONNECT)
        queue_work(q); /* there is more than attempt() saw, such as less than is enough to poll */
}

static int submit(ring *r, unsigned most)
{
    unsigned n = 0;
    while (n < most && r->sq_head != read_word(&r->sq_tail)) {
        zm_uring_sqe sqe = r->sqes[r->sq_head & r->mask];
        __atomic_store_n(&r->sq_head, r->sq_head + 1, __ATOMIC_SEQ_CST);
        n++;
        issue(r, &sqe);
    }
    return (int) n;
}

/* --- what driver/uring_calls.c has ----------------------------------------------------------- */

int zm_uring_calls_init(unsigned entries, zm_liburing_ring *out, zm_uring_params *params)
{
    const uint32_t old = ZM_URING_SETUP_CQSIZE | ZM_URING_SETUP_CLAMP;
    sim_syscall();
    if (PLAN->driver == 2 && params->flags & ~old)
        return -EINVAL;
    ring *r = calloc(1, sizeof *r);
    int fd = sim_fd_new(&r->file, &ring_kind);
    if (fd < 0)
        return fd;
    TALLY->rings++;
    r->setup = params->flags;
    r->entries = entries;
    r->mask = entries - 1;
    bool chosen = params->flags & ZM_URING_SETUP_CQSIZE && PLAN->driver != 2;
    r->cq_entries = chosen ? params->cq_entries : 2 * entries;
    r->cq_mask = r->cq_entries - 1;
    r->sqes = calloc(entries, sizeof *r->sqes);
    r->cqes = calloc(r->cq_entries, sizeof *r->cqes);
    params->sq_entries = entries;
    params->cq_entries = r->cq_entries;
    params->features = ZM_URING_FEATURE_NODROP | ZM_URING_FEATURE_SUBMIT_STABLE |
                       ZM_URING_FEATURE_FAST_POLL | ZM_URING_FEATURE_EXT_ARG;
    memset(out, 0, sizeof *out);
    out->ring_fd = out->enter_ring_fd = fd;
    out->flags = params->flags;
    out->features = params->features;
    out->sq.khead = &r->sq_head;
    out->sq.ktail = &r->sq_tail;
    out->sq.kflags = &r->sq_flags;
    out->sq.kring_mask = &r->mask;
    out->sq.kring_entries = &r->entries;
    out->sq.sqes = r->sqes;
    out->sq.ring_mask = r->mask;
    out->sq.ring_entries = entries;
    out->cq.khead = &r->cq_head;
    out->cq.ktail = &r->cq_tail;
    out->cq.kring_mask = &r->cq_mask;
    out->cq.kring_entries = &r->cq_entries;
    out->cq.cqes = r->cqes;
    out->cq.ring_mask = r->cq_mask;
    out->cq.ring_entries = r->cq_entries;
    return 0;
}

void sim_ring_dies(sim_file *file)
{
    ring *r = (ring *) file;
    if (file->kind != &ring_kind)
        return;
    for (request *q = r->requests, *next; q; q = next) {
        next = q->next;
        sim_listen_no_more(&q->waiter);
        if (q->file)
            sim_let_go(q->file);
    }
    r->requests = NULL;
}

void zm_uring_calls_exit(zm_liburing_ring *given)
{
    sim_syscall();
    ring *r = (ring *) sim_file_of(given->ring_fd);
    if (!r)
        return;
    sim_ring_dies(&r->file);
    sim_fd_close(given->ring_fd);
}

int zm_uring_calls_dontfork(zm_liburing_ring *given)
{
    (void) given;
    return 0;
}

int zm_uring_calls_enter2(unsigned fd, unsigned to_submit, unsigned least, unsigned flags,
                                 void *argument, size_t size)
{
    (void) size;
    sim_syscall();
    ring *r = (ring *) sim_file_of((int) fd);
    if (!r)
        return -EBADF;
    sim_run_task_work();
    int64_t until = SIM_NEVER;
    if (flags & ZM_URING_ENTER_EXT_ARG && argument) {
        const zm_uring_wait_arg *arg = argument;
        const zm_uring_timespec *limit = (const void *) (uintptr_t) arg->timespec;
        if (limit)
            until = sim_clock + limit->tv_sec * SIM_S + limit->tv_nsec;
    }
    int submitted = submit(r, to_submit), rc = 0;
    if (!(flags & ZM_URING_ENTER_GETEVENTS) || (unsigned) submitted < to_submit) {
        sim_run_task_work();
        return submitted;
    }
    for (;;) {
        bring_in_kept(r);
        sim_run_task_work();
        if (r->cq_tail - read_word(&r->cq_head) >= least)
            break;
        if (sim_clock >= until) {
            rc = -ETIME;
            break;
        }
        if (sim_chance(PLAN->stray)) {
            TALLY->strays++;
            rc = -EINTR;
            break;
        }
        sim_block(r, until);
    }
    return submitted ? submitted : rc;
}

int zm_uring_calls_sync_msg(zm_uring_sqe *sqe)
{
    sim_syscall();
    if (PLAN->driver == 2)
        return -EINVAL;
    ring *r = (ring *) sim_file_of(sqe->fd);
    if (!r)
        return -EBADF;
    complete(r, sqe->off, (int) sqe->len, 0);
    sim_run_task_work();
    return 0;
}
