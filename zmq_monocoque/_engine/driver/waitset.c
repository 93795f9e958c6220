#define _GNU_SOURCE
#include "waitset.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/fds.h"
#include "../base/lock.h"
#include "sandbox.h"

enum { EVENTS_MAX = 64 };

static int owned(int fd)
{
    if (fd < 0)
        return -errno;
    zm_fd_own(fd);
    return fd;
}

/* --- signalers ------------------------------------------------------------------------------ */

int zm_signaler_open(void)
{
    return owned(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

void zm_signaler_set(int signaler)
{
    uint64_t one = 1;
    ssize_t ignored = write(signaler, &one, sizeof one);
    (void) ignored; /* a full counter is as loud */
}

void zm_signaler_clear(int signaler)
{
    uint64_t count;
    ssize_t ignored = read(signaler, &count, sizeof count);
    (void) ignored; /* it was quiet already */
}

/* --- calls that not every sandbox knows ------------------------------------------------------ */

enum { UNKNOWN, NO, YES };

/* Asked once, before the process makes the calls for the first time. */
static bool may_call(_Atomic int *works, const long *calls, int count)
{
    int answer = atomic_load_explicit(works, memory_order_relaxed);
    if (answer == UNKNOWN) {
        answer = zm_sandbox_kills(calls, count) ? NO : YES;
        atomic_store_explicit(works, answer, memory_order_relaxed);
    }
    return answer == YES;
}

/* --- alarms --------------------------------------------------------------------------------- */

/* libzmq makes none of these calls, so filters that let it through may not know them. */
static _Atomic int timers_work = UNKNOWN;

static bool may_have_timers(void)
{
    static const long calls[] = {SYS_timerfd_create, SYS_timerfd_settime};
    return may_call(&timers_work, calls, ZM_COUNT(calls));
}

int zm_alarm_open(void)
{
    if (may_have_timers()) {
        int fd = owned(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
        if (fd != -EPERM && fd != -EACCES && fd != -ENOSYS)
            return fd;
        atomic_store_explicit(&timers_work, NO, memory_order_relaxed);
    }
    return zm_signaler_open();
}

bool zm_alarm_set(int alarm, int64_t at)
{
    struct itimerspec time = {0};
    if (at >= 0)
        time.it_value = (struct timespec){at / 1000000000, at % 1000000000};
    if (may_have_timers()) {
        if (timerfd_settime(alarm, TFD_TIMER_ABSTIME, &time, NULL) == 0)
            return true;
        atomic_store_explicit(&timers_work, NO, memory_order_relaxed);
    }
    uint64_t one = 1;
    return at < 0 || write(alarm, &one, sizeof one) == sizeof one; /* not to a timer */
}

void zm_alarm_clear(int alarm)
{
    zm_signaler_clear(alarm); /* a timer is read like one */
}

/* --- pipes ---------------------------------------------------------------------------------- */

int zm_pipe_open(int *out_reads, int *out_writes)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    *out_reads = owned(ends[0]);
    *out_writes = owned(ends[1]);
    return 0;
}

bool zm_pipe_wait(int reads)
{
    uint8_t bytes[64];
    ssize_t n;
    do
        n = read(reads, bytes, sizeof bytes);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

/* --- sets ----------------------------------------------------------------------------------- */

int zm_waitset_open(void)
{
    return owned(epoll_create1(EPOLL_CLOEXEC));
}

/* What a thread wrote to `owner` before it armed the descriptor is seen by the one that is told of
 * it; the kernel sees to that, and ThreadSanitizer cannot know. */
#ifdef ZM_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define PUBLISH(owner) __tsan_release(owner)
#define RECEIVE(owner) __tsan_acquire(owner)
#else
#define PUBLISH(owner) ((void) (owner))
#define RECEIVE(owner) ((void) (owner))
#endif

static int control(int waitset, int what, int fd, uint32_t events, void *owner)
{
    PUBLISH(owner);
    struct epoll_event event = {.events = events, .data.ptr = owner};
    return epoll_ctl(waitset, what, fd, &event) < 0 ? -errno : 0;
}

int zm_waitset_add(int waitset, int fd, void *owner)
{
    return control(waitset, EPOLL_CTL_ADD, fd, EPOLLIN, owner);
}

int zm_waitset_add_armed(int waitset, int fd, void *owner)
{
    return control(waitset, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, owner);
}

int zm_waitset_arm(int waitset, int fd, void *owner)
{
    return control(waitset, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, owner);
}

void zm_waitset_remove(int waitset, int fd)
{
    control(waitset, EPOLL_CTL_DEL, fd, 0, NULL);
}

/* --- signals of sets ------------------------------------------------------------------------ */

/* Linux allows a descriptor 500 ways to those who wait for it through one set of sets, 100 through
 * two, 50 through three; more are EINVAL. So only a few sets share one. */
enum { SETS_MAX = 16 };

/* A descriptor that is readable for ever. */
struct zm_ready {
    int fd;
    uint32_t sets, fork_generation;
};

static zm_lock ready_lock;
/* Has room for more sets; NULL: there is none. */
ZM_GUARDED_BY(ready_lock) static zm_ready *filling;

static zm_ready *ready_new(void)
{
    zm_ready *ready = zm_alloc(sizeof *ready);
    if (!ready)
        return NULL;
    *ready = (zm_ready){.fd = owned(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)),
                        .fork_generation = zm_fork_generation()};
    return ready;
}

int zm_waitset_signal_open(int waitset, zm_ready **out_ready)
{
    zm_lock_take(&ready_lock);
    zm_ready *ready = filling ? filling : ready_new();
    int rc = !ready ? -ENOMEM : ready->fd;
    if (rc >= 0)
        rc = control(waitset, EPOLL_CTL_ADD, ready->fd, 0, NULL);
    if (rc == 0) {
        filling = ++ready->sets < SETS_MAX ? ready : NULL;
        *out_ready = ready;
    } else if (ready && !ready->sets) {
        zm_fd_close(ready->fd);
        zm_free(ready);
    }
    zm_lock_give(&ready_lock);
    return rc;
}

void zm_waitset_signal_close(zm_ready *taken)
{
    if (!taken)
        return;
    zm_lock_take(&ready_lock);
    if (--taken->sets == 0) {
        if (filling == taken)
            filling = NULL;
        /* In a forked child it is closed, and the number may be somebody else's by now. */
        if (taken->fork_generation == zm_fork_generation())
            zm_fd_close(taken->fd);
        zm_free(taken);
    }
    zm_lock_give(&ready_lock);
}

/* There is no other thread then. */
void zm_waitset_after_fork(void) ZM_LOCKS_UNCHECKED
{
    atomic_store(&ready_lock.word, 0);
    filling = NULL;
}

void zm_waitset_signal_set(int waitset, const zm_ready *ready)
{
    control(waitset, EPOLL_CTL_MOD, ready->fd, EPOLLIN, NULL);
}

void zm_waitset_signal_set_edge(int waitset, const zm_ready *ready, int mark)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = mark};
    epoll_ctl(waitset, EPOLL_CTL_MOD, ready->fd, &event);
}

void zm_waitset_signal_clear(int waitset, const zm_ready *ready)
{
    struct epoll_event events[EVENTS_MAX];
    control(waitset, EPOLL_CTL_MOD, ready->fd, 0, NULL);
    /* The kernel forgets that it was ready when it is asked next, and until then the next set()
     * would be no edge to one who watches this set by edges. */
    epoll_wait(waitset, events, EVENTS_MAX, 0);
}

/* --- waiting --------------------------------------------------------------------------------- */

/* What is left until a deadline; never negative. */
static struct timespec left_until(int64_t until_ns)
{
    int64_t ns = until_ns > 0 ? until_ns - zm_now_ns() : 0;
    if (ns < 0)
        ns = 0;
    return (struct timespec){ns / 1000000000, ns % 1000000000};
}

#ifdef SYS_epoll_pwait2
static _Atomic int pwait2_works = UNKNOWN;

static bool may_pwait2(void)
{
    static const long call = SYS_epoll_pwait2;
    return may_call(&pwait2_works, &call, 1);
}
#endif

int zm_waitset_events(int epoll_fd, struct epoll_event *out_events, int count, int64_t until_ns)
{
    struct timespec left = left_until(until_ns < 0 ? 0 : until_ns);
    bool in_ms = until_ns < 0 || (left.tv_sec == 0 && left.tv_nsec == 0);
#ifdef SYS_epoll_pwait2
    if (!in_ms && may_pwait2()) {
        long n = syscall(SYS_epoll_pwait2, epoll_fd, out_events, count, &left, NULL, (size_t) 0);
        if (n >= 0 || errno == EINTR)
            return n < 0 ? -EINTR : (int) n;
        /* Where it is not there, or a container forbids it (EPERM), the older call does it. */
        atomic_store_explicit(&pwait2_works, NO, memory_order_relaxed);
    }
#endif
    int ms = until_ns < 0 ? -1 : (int) (left.tv_sec * 1000 + (left.tv_nsec + 999999) / 1000000);
    int ready = epoll_wait(epoll_fd, out_events, count, ms);
    return ready < 0 ? -errno : ready;
}

int zm_waitset_wait(int waitset, void **out_owners, int count, int64_t until_ns)
{
    struct epoll_event events[EVENTS_MAX];
    int n = zm_waitset_events(waitset, events, count < EVENTS_MAX ? count : EVENTS_MAX, until_ns);
    if (n < 0)
        return 0;
    for (int i = 0; i < n; i++) {
        out_owners[i] = events[i].data.ptr;
        RECEIVE(out_owners[i]);
    }
    return n;
}

static ZM_THREAD_LOCAL const sigset_t *poll_sigmask;

const void *zm_poll_sigmask_set(const void *borrowed)
{
    const void *before = poll_sigmask;
    poll_sigmask = borrowed;
    return before;
}

int zm_poll_until(struct pollfd *fds, int count, int64_t until_ns)
{
    int n;
    if (until_ns == 0 && !poll_sigmask) {
        n = poll(fds, (nfds_t) count, 0); /* a sixth cheaper */
    } else {
        struct timespec left = left_until(until_ns < 0 ? 0 : until_ns);
        n = ppoll(fds, (nfds_t) count, until_ns < 0 ? NULL : &left, poll_sigmask);
    }
    if (n >= 0)
        return n;
    zm_signalled |= errno == EINTR;
    return -errno;
}
