/* The epoll driver: the behaviour of the io_uring one where the kernel forbids or lacks that.
 *
 * A request is tried when it is started, unless it is a receive and nothing can be there. What
 * cannot finish waits for its descriptor's next edge, and is tried again in reap(), under the
 * socket's lock; wait() has no lock, so it keeps the events that it takes for the reap that
 * follows. What has finished stands in `done` until it is reaped.
 *
 * Some facts about epoll
 *  1. With EPOLLET an event comes once for every change; a try that answered EAGAIN after the
 *     registration is always followed by an event when that would change. Events that were
 *     outdated by a try are harmless: the next try answers EAGAIN.
 *  2. EPOLL_CTL_MOD looks at the descriptor anew, and tells of what is already there.
 *  3. A registration goes with the last descriptor of its file. The number may be in use again
 *     before we hear of it: hence zm_fd_generation(), and MOD, then ADD, where that is not known.
 *  4. The epoll descriptor itself polls readable while events wait. EPOLL_CTL_MOD of a descriptor
 *     that is ready is an event, by fact 2: any thread can make one without a descriptor of the
 *     driver's own, by the signal of the set.
 *  5. A receive that gets fewer bytes than it has room for has emptied the socket, and what comes
 *     after it is an edge. The end of the stream may have come before it, with the edge of the
 *     bytes: EPOLLRDHUP tells. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../base/alloc.h"
#include "../base/clock.h"
#include "../base/fds.h"
#include "../base/lock.h"
#include "driver_private.h"
#include "waitset.h"

enum { EVENTS_MAX = 64, SLOTS_MIN = 8 };

/* In events: that of the signal. */
enum { NO_SLOT = -1 };

/* After this long without asking the kernel, something may have come. */
enum { STALE_NS = 20000 };

/* A descriptor that requests were started on. It stays when they are done, because the next one is
 * probably for the same descriptor. */
typedef struct fd_slot {
    int fd; /* -1: free */
    uint32_t generation;
    uint32_t registered; /* EPOLLIN, EPOLLOUT, or both; 0: with neither, or not at all */
    zm_op *in, *out;     /* recv or accept; send or connect. NULL: none is pending */
    bool ends;           /* the kernel spoke of the stream's end */
    uint32_t emptied;    /* a receive emptied it, by fact 5, after so many asks; 0: not known */
} fd_slot;

typedef struct zm_epoll {
    zm_driver base;
    zm_ready *ready; /* the signal of the set */

    /* Guarded by lock: open addressing, a power of two. */
    fd_slot *slots;
    size_t slot_count, slots_used;

    /* Finished and not reaped, in order; op->size is the result. Guarded by lock. `has_done` is
     * what a waiter and ready() look at. */
    zm_op *done_first, *done_last;
    _Atomic bool has_done;
    bool told;          /* guarded by lock: an event was made for what is in `done` */
    _Atomic bool waking;
    _Atomic int64_t asked_ns; /* when the kernel was last asked; 0: it had more than was taken */
    _Atomic uint32_t asks;    /* how often, from 1 */

    /* Taken from the kernel and not looked at: of the one who waits, and then of who reaps. */
    int event_count;
    struct epoll_event events[EVENTS_MAX];
} zm_epoll;

static const zm_driver_ops epoll_ops;

static zm_epoll *epoll_of(zm_driver *driver)
{
    return ZM_CONTAINER(driver, zm_epoll, base);
}

/* --- finished requests --------------------------------------------------------------------- */

static void finished(zm_epoll *e, zm_op *op, int32_t res)
{
    if (op->request == ZM_REQUEST_ACCEPT)
        zm_fd_own(res);
    op->size = (size_t) res;
    op->next = NULL;
    if (e->done_first)
        e->done_last->next = op;
    else
        e->done_first = op;
    e->done_last = op;
    atomic_store_explicit(&e->has_done, true, memory_order_release);
}

/* Makes the epoll descriptor readable, and so wakes whoever waits on it. */
static void make_event(const zm_epoll *e)
{
    zm_waitset_signal_set_edge(e->base.fd, e->ready, NO_SLOT);
}

/* Makes the descriptor readable while finished requests wait to be reaped. */
static void tell(zm_epoll *e)
{
    if (!e->done_first || e->told)
        return;
    make_event(e);
    e->told = true;
}

static int take_done(zm_epoll *e, zm_completion *out, int count)
{
    int n = 0;
    while (n < count && e->done_first) {
        zm_op *op = e->done_first;
        e->done_first = op->next;
        out[n].op = op;
        out[n].res = (int32_t) op->size;
        zm_driver_finish(&e->base, op);
        n++;
    }
    if (!e->done_first) {
        atomic_store_explicit(&e->has_done, false, memory_order_release);
        e->told = false;
    }
    return n;
}

/* --- descriptors --------------------------------------------------------------------------- */

static size_t slot_hash(const zm_epoll *e, int fd)
{
    return ((uint32_t) fd * 2654435769u >> 8) & (e->slot_count - 1);
}

/* The slot of `fd`, or the free one where it would go. There is always a free one. */
static fd_slot *find_slot(const zm_epoll *e, int fd)
{
    size_t i = slot_hash(e, fd);
    while (e->slots[i].fd != fd && e->slots[i].fd != -1)
        i = (i + 1) & (e->slot_count - 1);
    return &e->slots[i];
}

static int resize_slots(zm_epoll *e, size_t count)
{
    fd_slot *old = e->slots;
    size_t old_count = e->slot_count;
    fd_slot *slots = zm_alloc(count * sizeof *slots);
    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        slots[i] = (fd_slot){.fd = -1};
    e->slots = slots;
    e->slot_count = count;
    e->slots_used = 0;
    for (size_t i = 0; i < old_count; i++) {
        /* Slots without requests are forgotten: their descriptors are probably closed. Should one
         * come back, fact 3's MOD-then-ADD finds its registration. */
        if (old[i].fd == -1 || (!old[i].in && !old[i].out))
            continue;
        *find_slot(e, old[i].fd) = old[i];
        e->slots_used++;
    }
    zm_free(old);
    return 0;
}

static size_t busy_slots(const zm_epoll *e)
{
    size_t busy = 0;
    for (size_t i = 0; i < e->slot_count; i++)
        if (e->slots[i].fd != -1 && (e->slots[i].in || e->slots[i].out))
            busy++;
    return busy;
}

/* The slot of `fd`, made when there is none; NULL when memory is out. */
static fd_slot *slot_for(zm_epoll *e, int fd)
{
    fd_slot *slot = find_slot(e, fd);
    if (slot->fd == fd)
        return slot;
    if (2 * (e->slots_used + 1) > e->slot_count) {
        size_t count = e->slot_count;
        while (4 * (busy_slots(e) + 1) > count)
            count *= 2;
        if (resize_slots(e, count) < 0)
            return NULL;
        slot = find_slot(e, fd);
    }
    *slot = (fd_slot){.fd = fd};
    e->slots_used++;
    return slot;
}

/* Do all edges of `wanted` arrive, of what has the number now? */
static bool is_armed(const fd_slot *slot, uint32_t wanted)
{
    uint32_t generation = zm_fd_generation(slot->fd);
    return generation != 0 && generation == slot->generation && (slot->registered & wanted);
}

static struct epoll_event wish(const fd_slot *slot)
{
    uint32_t end = slot->registered & EPOLLIN ? EPOLLRDHUP : 0;
    return (struct epoll_event){.events = slot->registered | end | EPOLLET, .data.fd = slot->fd};
}

/* Sees to it that the next edge of `wanted` arrives, whatever happened to the number before. */
static int arm(zm_epoll *e, fd_slot *slot, uint32_t wanted)
{
    if (is_armed(slot, wanted))
        return 0;
    uint32_t generation = zm_fd_generation(slot->fd);
    bool is_known = generation != 0 && generation == slot->generation;
    slot->generation = generation;
    slot->emptied = 0;
    slot->ends = is_known && slot->ends;
    /* Of a descriptor whose number was reused, the bits stem from the old one; a request that is
     * still pending in the other direction needs its bit all the same. */
    slot->registered = (is_known ? slot->registered : 0) | wanted | (slot->in ? EPOLLIN : 0)
                       | (slot->out ? EPOLLOUT : 0);
    struct epoll_event event = wish(slot);
    if (epoll_ctl(e->base.fd, EPOLL_CTL_MOD, slot->fd, &event) == 0)
        return 0;
    if (errno == ENOENT && epoll_ctl(e->base.fd, EPOLL_CTL_ADD, slot->fd, &event) == 0)
        return 0;
    slot->generation = 0;
    return -errno;
}

/* Events nobody waits for would wake everybody: no more of them, until arm(). */
static void disarm(zm_epoll *e, fd_slot *slot, uint32_t unwanted)
{
    slot->registered &= ~unwanted;
    struct epoll_event event = wish(slot);
    if (epoll_ctl(e->base.fd, EPOLL_CTL_MOD, slot->fd, &event) < 0)
        slot->generation = 0;
}

/* --- trying -------------------------------------------------------------------------------- */

enum { NOT_YET = INT32_MIN };

/* accept() of a listener that may be a blocking one, and stays so: it is the program's, whose
 * forked children may wait in it. One of them may be faster than we. */
static int accept_at_once(int fd)
{
    struct pollfd line = {.fd = fd, .events = POLLIN};
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -1;
    if (poll(&line, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    if (!(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), error = errno;
    if (!(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags);
    errno = error;
    return accepted;
}

/* One system call (but for an adopted listener); the result as a completion has it, or NOT_YET. */
static int32_t attempt(const zm_op *op)
{
    for (;;) {
        ssize_t rc;
        switch (op->request) {
        case ZM_REQUEST_RECV:
            rc = recv(op->fd, op->buffer, op->size, MSG_DONTWAIT);
            break;
        case ZM_REQUEST_SEND:
            rc = sendmsg(op->fd, op->buffer, MSG_DONTWAIT | MSG_NOSIGNAL);
            break;
        case ZM_REQUEST_ACCEPT:
            rc = zm_fd_is_adopted(op->fd)
                     ? accept_at_once(op->fd)
                     : accept4(op->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            break;
        default:
            /* Called again, it tells how the first call went on: 0 or EISCONN, EALREADY, or the
             * error. On a unix socket EAGAIN means a full backlog, of which no event tells: it is
             * an answer. */
            rc = connect(op->fd, op->buffer, (socklen_t) op->size);
            if (rc == 0 || errno == EISCONN)
                return 0;
            if (errno == EINPROGRESS || errno == EALREADY || errno == EINTR)
                return NOT_YET;
            return -errno;
        }
        if (rc >= 0)
            return (int32_t) rc;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return NOT_YET;
        if (errno != EINTR)
            return -errno;
    }
}

/* After a receive: by fact 5, is its socket empty? The edges of what comes next must be on their
 * way by then, so that this is for a slot that was armed before it. */
static void look_whether_emptied(const zm_epoll *e, fd_slot *slot, const zm_op *op, int32_t res)
{
    if (op->request == ZM_REQUEST_RECV)
        slot->emptied = res > 0 && (size_t) res < op->size && !slot->ends
                            ? atomic_load_explicit(&e->asks, memory_order_relaxed)
                            : 0;
}

/* Of one that is armed: nothing is there for a receive but what the next ask tells of. Once it was
 * asked, a try is the quicker way to see what came since. */
static bool is_empty(const zm_epoll *e, const fd_slot *slot)
{
    return slot->emptied && slot->emptied == atomic_load_explicit(&e->asks, memory_order_relaxed);
}

static void epoll_start(zm_driver *driver, zm_op *op)
{
    zm_epoll *e = epoll_of(driver);
    fd_slot *slot = op->request == ZM_REQUEST_RECV ? find_slot(e, op->fd) : NULL;
    bool armed = slot && slot->fd == op->fd && is_armed(slot, EPOLLIN);
    if (armed && is_empty(e, slot)) {
        ZM_ASSERT(!slot->in); /* one request a direction */
        slot->in = op;
        return;
    }
    int32_t res = attempt(op);
    if (armed)
        look_whether_emptied(e, slot, op, res);
    if (res != NOT_YET) {
        finished(e, op, res);
        return;
    }
    slot = slot_for(e, op->fd);
    if (!slot) {
        finished(e, op, -ENOMEM);
        return;
    }
    bool is_in = op->request == ZM_REQUEST_RECV || op->request == ZM_REQUEST_ACCEPT;
    zm_op **place = is_in ? &slot->in : &slot->out;
    ZM_ASSERT(!*place); /* one request a direction */
    int rc = arm(e, slot, is_in ? EPOLLIN : EPOLLOUT);
    if (rc < 0)
        finished(e, op, rc);
    else
        *place = op;
}

static void epoll_cancel(zm_driver *driver, zm_op *op)
{
    zm_epoll *e = epoll_of(driver);
    fd_slot *slot = find_slot(e, op->fd);
    if (slot->fd != op->fd)
        return; /* done already */
    zm_op **place = slot->in == op ? &slot->in : slot->out == op ? &slot->out : NULL;
    if (!place)
        return;
    *place = NULL;
    finished(e, op, -ECANCELED);
}

static void retry(zm_epoll *e, fd_slot *slot, zm_op **place)
{
    zm_op *op = *place;
    int32_t res = attempt(op);
    if (res == NOT_YET)
        return;
    look_whether_emptied(e, slot, op, res);
    *place = NULL;
    finished(e, op, res);
}

static void take_event(zm_epoll *e, const struct epoll_event *event)
{
    if (event->data.fd == NO_SLOT) {
        e->told = false; /* it is taken: the next one who sleeps needs another */
        return;
    }
    fd_slot *slot = find_slot(e, event->data.fd);
    if (slot->fd != event->data.fd)
        return; /* forgotten, or an event of the number's former owner */
    uint32_t failed = event->events & (EPOLLERR | EPOLLHUP);
    uint32_t unwanted = 0;
    if (failed || (event->events & EPOLLRDHUP)) {
        slot->ends = true;
        slot->emptied = 0;
    }
    if (slot->in && ((event->events & EPOLLIN) || failed))
        retry(e, slot, &slot->in);
    else if (!slot->in && (event->events & EPOLLIN))
        unwanted |= EPOLLIN;
    if (slot->out && ((event->events & EPOLLOUT) || failed))
        retry(e, slot, &slot->out);
    else if (!slot->out && (event->events & EPOLLOUT))
        unwanted |= EPOLLOUT;
    if (slot->registered & unwanted)
        disarm(e, slot, unwanted);
}

/* --- waiting and reaping ------------------------------------------------------------------- */

/* Takes events until `until_ns`; how many, or -errno. */
static int ask(zm_epoll *e, int64_t until_ns)
{
    int count = zm_waitset_events(e->base.fd, e->events, EVENTS_MAX, until_ns);
    e->event_count = count > 0 ? count : 0;
    uint32_t asks = atomic_load_explicit(&e->asks, memory_order_relaxed) + 1;
    atomic_store_explicit(&e->asks, asks ? asks : 1, memory_order_relaxed);
    atomic_store_explicit(&e->asked_ns, count < EVENTS_MAX ? zm_now_ns() : 0, memory_order_relaxed);
    return count;
}

/* Tries again what the kernel's events are for. */
static void use_events(zm_epoll *e)
{
    for (int i = 0; i < e->event_count; i++)
        take_event(e, &e->events[i]);
    e->event_count = 0;
}

static int epoll_reap(zm_driver *driver, zm_completion *out, int count)
{
    zm_epoll *e = epoll_of(driver);
    if (!e->done_first && !e->event_count)
        ask(e, 0);
    use_events(e);
    /* Once the events are taken: an edge that is taken while `waking` stands is of a wake that this
     * reap answers. Cleared before, a wake in between would lose its edge and stand for ever. The
     * exchange reads what wake() wrote, so that what its caller did before is seen after this. */
    if (atomic_load_explicit(&e->waking, memory_order_relaxed))
        atomic_exchange(&e->waking, false);
    int n = take_done(e, out, count);
    tell(e);
    return n;
}

static void epoll_submit(zm_driver *driver)
{
    tell(epoll_of(driver));
}

/* Everything was tried when it was started. */
static void nothing_to_push(zm_driver *driver)
{
    (void) driver;
}

static bool epoll_ready(const zm_driver *driver)
{
    const zm_epoll *e = ZM_CONTAINER(driver, const zm_epoll, base);
    return atomic_load_explicit(&e->has_done, memory_order_acquire)
           || atomic_load_explicit(&e->waking, memory_order_relaxed);
}

/* Data on a socket is not seen without a system call, so after a while the answer is "perhaps". */
static bool epoll_reap_pays(const zm_driver *driver)
{
    const zm_epoll *e = ZM_CONTAINER(driver, const zm_epoll, base);
    return epoll_ready(driver)
           || zm_now_ns() - atomic_load_explicit(&e->asked_ns, memory_order_relaxed) >= STALE_NS;
}

static int epoll_driver_wait(zm_driver *driver, int64_t deadline_ns, int64_t spin_ns)
{
    zm_epoll *e = epoll_of(driver);
    int64_t spin_until_ns = spin_ns > 0 ? zm_now_ns() + spin_ns : 0;
    for (;;) {
        if (e->event_count || atomic_load_explicit(&e->has_done, memory_order_acquire))
            return 0;
        bool spins = spin_until_ns && zm_now_ns() < spin_until_ns;
        int rc = ask(e, spins ? 0 : deadline_ns);
        if (rc > 0)
            return 0;
        if (rc < 0) {
            zm_signalled |= rc == -EINTR;
            return rc;
        }
        if (deadline_ns >= 0 && zm_now_ns() >= deadline_ns)
            return -ETIMEDOUT;
        /* The peer we spin for may stand behind us on the same core. */
        if (!zm_spin_yield())
            spin_until_ns = 0;
    }
}

static void epoll_wake(zm_driver *driver)
{
    zm_epoll *e = epoll_of(driver);
    if (!atomic_exchange(&e->waking, true))
        make_event(e);
}

/* --- opening and closing ------------------------------------------------------------------- */

static void epoll_close(zm_driver *taken)
{
    zm_epoll *e = epoll_of(taken);
    /* In a forked child they are closed, and the numbers may be somebody else's by now. */
    if (!zm_driver_is_inherited(taken))
        zm_fd_close(e->base.fd);
    zm_waitset_signal_close(e->ready);
    zm_free(e->slots);
    zm_free(e);
}

int zm_epoll_open(zm_driver **out_driver)
{
    zm_epoll *e = zm_calloc(sizeof *e);
    if (!e)
        return -ENOMEM;
    e->base.ops = &epoll_ops;
    e->base.fd = -1;
    e->asks = 1;
    int rc = resize_slots(e, SLOTS_MIN);
    if (rc == 0)
        rc = e->base.fd = zm_waitset_open();
    if (rc >= 0)
        rc = zm_waitset_signal_open(e->base.fd, &e->ready);
    if (rc < 0) {
        zm_fd_close(e->base.fd);
        zm_free(e->slots);
        zm_free(e);
        return rc;
    }
    *out_driver = &e->base;
    return 0;
}

static bool epoll_usable(const zm_driver *driver)
{
    (void) driver;
    return true;
}

static const zm_driver_ops epoll_ops = {
    .close = epoll_close,
    .usable = epoll_usable,
    .start = epoll_start,
    .cancel = epoll_cancel,
    .submit = epoll_submit,
    .push = nothing_to_push,
    .reap = epoll_reap,
    .ready = epoll_ready,
    .reap_pays = epoll_reap_pays,
    .wait_prepare = nothing_to_push,
    .wait = epoll_driver_wait,
    .wake = epoll_wake,
};
