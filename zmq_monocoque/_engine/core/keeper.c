/* The keeper: a thread without Python that looks after sockets while the application is away:
 * accepts, handshakes, reconnects, heartbeats, flushes, lingers. It competes with nobody: a socket
 * whose application drove it a moment ago is left alone and looked at again by time, one whose lock
 * is taken likewise, and one in which a thread sleeps (it does everything itself) is left until that
 * thread says so.
 *
 * For every socket of a keeper holds: its ring is armed in the epoll, or it is `parked`, or
 * `look_at` names a time. */
#include "internal.h"

#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    QUIET_NS = 1000 * 1000,      /* the application drove within this: leave it alone */
    PARK_NS = 5 * 1000 * 1000,   /* a thread sleeps in the socket for this long: until told */
    RETRY_NS = 200 * 1000,       /* the lock was taken */
    EVENTS_MAX = 64,
    DUE_MAX = 128
};

/* planned: no look can come too early to be told of. */
#define AWAKE INT64_MAX

struct zm_keeper {
    zm_context *context;
    pthread_t thread;
    int epoll_fd, wake_fd;
    _Atomic int64_t planned; /* when it wakes by itself; AWAKE: it is looking around right now */
    _Atomic bool stop;
    zm_lock lock; /* sockets */
    zm_list sockets;
};

static void wake(zm_keeper *k)
{
    uint64_t one = 1;
    ssize_t ignored = write(k->wake_fd, &one, sizeof one);
    (void) ignored; /* a full counter wakes as well */
}

void zm_keeper_look(zm_socket *s, int64_t at)
{
    zm_keeper *k = s->keeper;
    if (!k)
        return;
    int64_t now_planned = atomic_load(&s->look_at);
    if (now_planned >= 0 && now_planned <= at)
        return;
    atomic_store(&s->look_at, at);
    /* Pairs with the keeper: it says when it will wake before it sleeps, and looks after saying
     * that it is awake. */
    if (atomic_load(&k->planned) > at)
        wake(k);
}

void zm_keeper_resume_locked(zm_socket *s)
{
    if (!s->keeper)
        return;
    if (s->parked || !zm_list_empty(&s->hungry) || !zm_list_empty(&s->dirty)) {
        s->parked = false;
        zm_keeper_look(s, zm_now_ns() + QUIET_NS);
    }
    int64_t timer = zm_timers_next(&s->timers);
    if (timer >= 0)
        zm_keeper_look(s, timer);
}

static void watch(zm_keeper *k, zm_socket *s)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = s};
    epoll_ctl(k->epoll_fd, EPOLL_CTL_MOD, zm_driver_fd(s->driver), &event);
}

static int64_t sooner(int64_t a, int64_t b)
{
    if (a < 0)
        return b;
    return b < 0 || a < b ? a : b;
}

/* Looks after one socket, which is locked; unlocks it. */
static void serve(zm_keeper *k, zm_socket *s)
{
    int64_t now = zm_now_ns();
    if (s->driven) {
        s->parked = now - s->waiting_since > PARK_NS;
        atomic_store(&s->look_at, s->parked ? ZM_FOREVER : now + QUIET_NS);
        zm_lock_give(&s->lock);
        return;
    }
    int64_t touched = atomic_load(&s->driven_ns);
    if (touched < s->flushed_ns)
        touched = s->flushed_ns;
    if (s->open && now - touched < QUIET_NS) {
        int64_t look = sooner(zm_drive_burst_locked(s, now), zm_timers_next(&s->timers));
        atomic_store(&s->look_at, sooner(look, touched + QUIET_NS));
        zm_lock_give(&s->lock);
        return;
    }
    zm_drive_once_locked(s);
    if (s->closing && zm_socket_reap_locked(s))
        return;
    ZM_ASSERT(s->driven || (zm_list_empty(&s->hungry) && zm_list_empty(&s->dirty)));
    s->look_gap = ZM_LOOK_GAP_FIRST_NS;
    zm_drive_wake_followers_locked(s);
    atomic_store(&s->look_at, zm_timers_next(&s->timers));
    watch(k, s);
    zm_lock_give(&s->lock);
}

static void visit(zm_keeper *k, zm_socket *s)
{
    if (!zm_lock_try(&s->lock)) {
        atomic_store(&s->look_at, zm_now_ns() + RETRY_NS);
        return;
    }
    /* The slot may be another socket's by now. */
    if (s->keeper == k)
        serve(k, s);
    else
        zm_lock_give(&s->lock);
}

static int wait_for_events(zm_keeper *k, struct epoll_event *events, int64_t until)
{
    struct timespec left = {0};
    if (until >= 0) {
        int64_t ns = until - zm_now_ns();
        if (ns > 0)
            left = (struct timespec){ns / 1000000000, ns % 1000000000};
    }
#ifdef SYS_epoll_pwait2
    long n = syscall(SYS_epoll_pwait2, k->epoll_fd, events, EVENTS_MAX, until < 0 ? NULL : &left,
                     NULL, (size_t) 0);
    if (n >= 0 || errno != ENOSYS)
        return n < 0 ? 0 : (int) n;
#endif
    int ms = until < 0 ? -1 : (int) (left.tv_sec * 1000 + (left.tv_nsec + 999999) / 1000000);
    int count = epoll_wait(k->epoll_fd, events, EVENTS_MAX, ms);
    return count < 0 ? 0 : count;
}

/* Visits what is due. Returns when to wake next. */
static int64_t look_around(zm_keeper *k)
{
    zm_socket *due[DUE_MAX];
    for (;;) {
        int count = 0;
        int64_t now = zm_now_ns(), next = ZM_FOREVER;
        zm_lock_take(&k->lock);
        ZM_LIST_EACH (node, &k->sockets) {
            zm_socket *s = ZM_CONTAINER(node, zm_socket, in_keeper);
            int64_t at = atomic_load(&s->look_at);
            if (at >= 0 && at <= now && count < DUE_MAX)
                due[count++] = s;
            else
                next = sooner(next, at);
        }
        zm_lock_give(&k->lock);
        if (!count)
            return next;
        for (int i = 0; i < count; i++)
            visit(k, due[i]);
    }
}

static void *keep(void *argument)
{
    zm_keeper *k = argument;
    struct epoll_event events[EVENTS_MAX];
    while (!atomic_load(&k->stop)) {
        atomic_store(&k->planned, AWAKE);
        int64_t next = look_around(k);
        /* A look asked for while looking around came with a wake. */
        atomic_store(&k->planned, next < 0 ? AWAKE - 1 : next);
        int n = wait_for_events(k, events, next);
        atomic_store(&k->planned, AWAKE);
        for (int i = 0; i < n; i++) {
            zm_socket *s = events[i].data.ptr;
            uint64_t count;
            if (s)
                visit(k, s);
            else if (read(k->wake_fd, &count, sizeof count) < 0)
                continue;
        }
    }
    atomic_fetch_sub(&zm_live_threads, 1);
    return NULL;
}

int zm_keeper_new(zm_context *context, zm_keeper **out_keeper)
{
    zm_keeper *k = zm_calloc(sizeof *k);
    if (!k)
        return -ENOMEM;
    int rc = 0;
    k->context = context;
    zm_list_init(&k->sockets);
    k->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    k->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN};
    if (k->epoll_fd < 0 || k->wake_fd < 0
        || epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, k->wake_fd, &event) < 0) {
        rc = -errno;
        goto fail;
    }
    /* Signals are for the application's threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&k->thread, NULL, keep, k);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0)
        goto fail;
    const char *prefix = context->thread_prefix;
    char name[16];
    snprintf(name, sizeof name, "%.7s%szm-keep", prefix, *prefix ? "/" : "");
    pthread_setname_np(k->thread, name);
    zm_fd_own(k->epoll_fd);
    zm_fd_own(k->wake_fd);
    atomic_fetch_add(&zm_live_threads, 1);
    *out_keeper = k;
    return 0;
fail:
    if (k->epoll_fd >= 0)
        close(k->epoll_fd);
    if (k->wake_fd >= 0)
        close(k->wake_fd);
    zm_free(k);
    return rc;
}

void zm_keeper_free(zm_keeper *taken)
{
    atomic_store(&taken->stop, true);
    wake(taken);
    pthread_join(taken->thread, NULL);
    zm_fd_close(taken->epoll_fd);
    zm_fd_close(taken->wake_fd);
    zm_free(taken);
}

int zm_keeper_add_locked(zm_keeper *k, zm_socket *s)
{
    /* Not armed yet: the keeper arms it when it looks. */
    struct epoll_event event = {.events = EPOLLONESHOT, .data.ptr = s};
    if (epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, zm_driver_fd(s->driver), &event) < 0)
        return -errno;
    s->keeper = k;
    s->parked = false;
    s->look_gap = ZM_LOOK_GAP_FIRST_NS;
    atomic_store(&s->look_at, ZM_FOREVER);
    zm_lock_take(&k->lock);
    zm_list_append(&k->sockets, &s->in_keeper);
    zm_lock_give(&k->lock);
    zm_keeper_look(s, zm_now_ns() + QUIET_NS);
    return 0;
}

void zm_keeper_remove_locked(zm_socket *s)
{
    zm_keeper *k = s->keeper;
    if (!k)
        return;
    epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, zm_driver_fd(s->driver), NULL);
    zm_lock_take(&k->lock);
    zm_list_remove(&s->in_keeper);
    zm_lock_give(&k->lock);
    s->keeper = NULL;
}
