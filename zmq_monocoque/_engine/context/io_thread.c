/* The I/O thread: a thread without Python that visits sockets while the application is away. What
 * it does in a socket is a function that it is given (zm_io_work). It never waits for a socket's
 * lock: a socket whose lock is taken is visited again a little later.
 *
 * For every socket of an I/O thread one of these holds: its driver is armed in the wait set, or it
 * is `parked`, or `look_at` names a time. Times are a heap: a wake costs nothing for those that are
 * not due. */
#include "io_thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/fds.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../base/timer.h"
#include "../driver/driver.h"
#include "../driver/waitset.h"
#include "../socket/pacing.h"
#include "../socket/socket.h"
#include "context.h"
#include "process.h"

enum { BEST_NICE = -20, EVENTS_MAX = 64, DUE_MAX = 128 };

/* In wakes_at: before it sleeps, it looks at all that is asked for. */
enum { AWAKE };

struct zm_io_thread {
    zm_context *context;
    const zm_io_work *work;
    pthread_t thread;
    int waitset, alarm;
    _Atomic bool stop;
    int policy, priority; /* of the thread; -1: as the thread that starts it */
    int64_t eager_until; /* of the thread's own: it does not sleep before that */
    zm_lock lock; /* of what follows, and of which sockets are ours */
    /* the sockets' `look`: those with a time in `look_at` */
    ZM_GUARDED_BY(zm_an_io_thread) zm_timers looks;
    ZM_GUARDED_BY(zm_an_io_thread) int64_t idle_at; /* zm_io_work.idle is due; ZM_FOREVER: never */
    ZM_GUARDED_BY(zm_an_io_thread) int64_t wakes_at; /* by itself; ZM_FOREVER: never */
    ZM_GUARDED_BY(zm_an_io_thread) int64_t alarm_at; /* ZM_FOREVER: it is not set */
};

static void lock_take(zm_io_thread *t) ZM_TAKES(zm_an_io_thread) ZM_LOCKS_UNCHECKED
{
    zm_lock_take(&t->lock);
}

static void lock_give(zm_io_thread *t) ZM_GIVES(zm_an_io_thread) ZM_LOCKS_UNCHECKED
{
    zm_lock_give(&t->lock);
}

/* Times may be ZM_FOREVER. */
static bool is_sooner(int64_t at, int64_t than)
{
    return zm_sooner(at, than) != than;
}

/* What the thread is to be awake for. */
static int64_t next_due(const zm_io_thread *t) ZM_NEEDS(zm_an_io_thread)
{
    return zm_sooner(zm_timers_next(&t->looks), t->idle_at);
}

/* Timers were forbidden since the alarm was opened. False: nor can another be had. */
static bool replace_alarm(zm_io_thread *t) ZM_NEEDS(zm_an_io_thread)
{
    int other = zm_alarm_open();
    if (other < 0)
        return false;
    if (zm_waitset_add(t->waitset, other, NULL) < 0) {
        zm_fd_close(other);
        return false;
    }
    zm_waitset_remove(t->waitset, t->alarm);
    zm_fd_close(t->alarm);
    t->alarm = other;
    return true;
}

/* Where there are no timers it rings now, and the thread sleeps until that time by itself. Where it
 * cannot be set, who asks next tries again. */
static void set_alarm(zm_io_thread *t, int64_t at) ZM_NEEDS(zm_an_io_thread)
{
    if (zm_alarm_set(t->alarm, at) || (replace_alarm(t) && zm_alarm_set(t->alarm, at)))
        t->alarm_at = at;
}

/* Something is due at `at`. An alarm that is set to an earlier time does for everyone who asks
 * meanwhile. It is a timer of the kernel's, so that the thread wakes once, at that time: not now as
 * well, to hear of it. */
static void wake_at(zm_io_thread *t, int64_t at) ZM_NEEDS(zm_an_io_thread)
{
    if (is_sooner(at, t->wakes_at) && is_sooner(at, t->alarm_at))
        set_alarm(t, at);
}

void zm_io_thread_plan(zm_io_thread *t, int64_t at)
{
    lock_take(t);
    t->idle_at = zm_sooner(t->idle_at, at);
    wake_at(t, at);
    lock_give(t);
}

static bool is_set_before(const zm_socket *s, int64_t at)
{
    int64_t set = atomic_load(&s->look_at);
    return set >= 0 && set <= at;
}

/* The I/O thread has the socket. */
static void set_look(zm_io_thread *t, zm_socket *s, int64_t at) ZM_NEEDS(zm_an_io_thread)
{
    atomic_store(&s->look_at, at);
    if (at == ZM_FOREVER)
        zm_timer_stop(&t->looks, &s->look);
    else
        zm_timer_set(&t->looks, &s->look, at);
}

/* Moves the look to `at` unless an earlier one is set, or the socket is not with `t` any more.
 * A thread that asks for a look may do this while an I/O thread does, which found the socket's lock
 * taken: neither may undo what the other has set. */
void zm_io_thread_look_no_later(zm_io_thread *t, zm_socket *s, int64_t at)
{
    lock_take(t);
    if (atomic_load(&s->io_thread) == t && !is_set_before(s, at)) {
        set_look(t, s, at);
        wake_at(t, at);
    }
    lock_give(t);
}

/* The next look, of a socket that is locked. */
void zm_io_thread_look_next(zm_io_thread *t, zm_socket *s, int64_t at)
{
    lock_take(t);
    set_look(t, s, at);
    lock_give(t);
}

/* The kernel tells of the next completion. A socket that is gone before was never watched. */
void zm_io_thread_arm_locked(zm_io_thread *t, zm_socket *s)
{
    int fd = zm_driver_fd(s->driver);
    int rc = s->watched ? zm_waitset_arm(t->waitset, fd, s)
                        : zm_waitset_add_armed(t->waitset, fd, s);
    if (ZM_LIKELY(rc == 0))
        s->watched = true;
    else
        zm_io_thread_look_no_later(t, s, zm_now_ns() + ZM_AWAY_NS); /* no memory */
}

void zm_io_thread_stay_awake(zm_io_thread *t, int64_t until)
{
    t->eager_until = until;
}

void zm_io_thread_look(zm_socket *s, int64_t at)
{
    zm_io_thread *t = atomic_load(&s->io_thread);
    if (t && !is_set_before(s, at))
        zm_io_thread_look_no_later(t, s, at);
}

/* A wait that follows a long one is expected to be as long. The look that was asked for in between
 * would wake the I/O thread only to find the next wait: of each socket that is polled, after each
 * message that was long in coming. */
void zm_io_thread_pause_locked(zm_socket *s)
{
    zm_io_thread *t = atomic_load_explicit(&s->io_thread, memory_order_relaxed);
    if (!t || !s->waited_long || atomic_load(&s->look_at) == ZM_FOREVER)
        return;
    s->waited_long = false;
    s->parked = true;
    lock_take(t);
    set_look(t, s, ZM_FOREVER);
    /* Nor is the alarm wanted, where others do not need it soon. */
    int64_t next = next_due(t);
    if (t->alarm_at >= 0 && is_sooner(t->alarm_at + ZM_AWAY_NS, next))
        set_alarm(t, is_sooner(next, t->wakes_at) ? next : ZM_FOREVER);
    lock_give(t);
}

void zm_io_thread_resume_locked(zm_socket *s)
{
    if (!atomic_load_explicit(&s->io_thread, memory_order_relaxed))
        return;
    if (s->parked || !zm_list_empty(&s->wants_recv) || !zm_list_empty(&s->wants_send)) {
        int64_t now = zm_now_ns();
        s->waited_long = s->parked && zm_presence_parks(now, s->waiting_since);
        s->parked = false;
        zm_io_thread_look(s, now + ZM_AWAY_NS);
    }
    if (s->work_left)
        zm_io_thread_look(s, zm_now_ns() + ZM_RETRY_NS);
    int64_t timer = zm_timers_next(&s->timers);
    if (timer >= 0)
        zm_io_thread_look(s, timer);
}

static void visit(zm_io_thread *t, zm_socket *s)
{
    if (!zm_socket_lock_try(s)) {
        zm_io_thread_look_no_later(t, s, zm_now_ns() + ZM_RETRY_NS);
        return;
    }
    /* The slot may be another socket's by now. */
    if (atomic_load(&s->io_thread) == t) {
        t->work->serve(t, s);
        zm_socket_lock_is_given();
    } else {
        zm_socket_lock_give(s);
    }
}

/* Visits the sockets that are due, the earliest first; only so many at once that sockets of which
 * the kernel tells get their turn as well. */
static void look_around(zm_io_thread *t)
{
    zm_socket *due[DUE_MAX];
    int count = 0;
    int64_t now = zm_now_ns();
    zm_timer *look;
    lock_take(t);
    while (count < DUE_MAX && (look = zm_timers_due(&t->looks, now))) {
        due[count] = look->owner;
        atomic_store(&due[count++]->look_at, ZM_FOREVER); /* the visit sets the next one */
    }
    t->idle_at = ZM_FOREVER;
    lock_give(t);
    for (int i = 0; i < count; i++)
        visit(t, due[i]);
}

/* Until when it may sleep. From here on who asks for something earlier sets the alarm. */
static int64_t fall_asleep(zm_io_thread *t)
{
    int64_t idle_at = t->work->idle(t->context, zm_now_ns());
    lock_take(t);
    t->idle_at = zm_sooner(t->idle_at, idle_at);
    t->wakes_at = next_due(t);
    if (t->alarm_at >= 0 && !is_sooner(t->wakes_at, t->alarm_at))
        t->wakes_at = ZM_FOREVER; /* the alarm comes first */
    int64_t until = t->wakes_at;
    lock_give(t);
    return until;
}

static void wake_up(zm_io_thread *t)
{
    lock_take(t);
    t->wakes_at = AWAKE;
    lock_give(t);
}

static void hear_alarm(zm_io_thread *t)
{
    lock_take(t);
    zm_alarm_clear(t->alarm);
    t->alarm_at = ZM_FOREVER;
    lock_give(t);
}

/* THREAD_SCHED_POLICY and THREAD_PRIORITY, of the calling thread. Policies without priorities get
 * the best nice value instead (libzmq: the same). What is not permitted has no effect. */
static void schedule(int policy, int priority)
{
    struct sched_param param;
    int now;
    if (policy < 0 && priority < 0)
        return;
    pthread_getschedparam(pthread_self(), &now, &param);
    if (policy < 0)
        policy = now;
    bool by_nice = policy != SCHED_FIFO && policy != SCHED_RR;
    if (by_nice)
        param.sched_priority = 0;
    else if (priority >= 0)
        param.sched_priority = priority;
    pthread_setschedparam(pthread_self(), policy, &param);
    if (by_nice && priority >= 0)
        setpriority(PRIO_PROCESS, 0, BEST_NICE); /* of this thread; glibc 2.28 has no gettid() */
}

static void *run(void *argument)
{
    zm_io_thread *t = argument;
    void *owners[EVENTS_MAX];
    schedule(t->policy, t->priority);
    while (!atomic_load(&t->stop)) {
        look_around(t);
        int64_t until = fall_asleep(t);
        bool eager = t->eager_until && zm_now_ns() < t->eager_until && !zm_spin_crowded();
        int n = zm_waitset_wait(t->waitset, owners, EVENTS_MAX, eager ? 0 : until);
        if (eager && n == 0)
            zm_spin_yield();
        wake_up(t);
        for (int i = 0; i < n; i++) {
            if (owners[i])
                visit(t, owners[i]);
            else
                hear_alarm(t);
        }
    }
    atomic_fetch_sub(&zm_live_threads, 1);
    return NULL;
}

/* THREAD_AFFINITY_CPU_ADD; nothing chosen: the thread runs anywhere. */
static void bind_to_cpus(pthread_t thread, const bool *cpus)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (size_t i = 0; i < ZM_CPUS_MAX; i++)
        if (cpus[i])
            CPU_SET(i, &set);
    if (CPU_COUNT(&set))
        pthread_setaffinity_np(thread, sizeof set, &set);
}

int zm_io_thread_new(zm_context *context, const zm_io_work *work, zm_io_thread **out_io_thread)
{
    ZM_POISON(out_io_thread);
    zm_io_thread *t = zm_alloc(sizeof *t);
    if (!t)
        return -ENOMEM;
    *t = (zm_io_thread){
        .context = context,
        .work = work,
        .alarm = -1,
        .policy = context->thread_policy,
        .priority = context->thread_priority,
        .idle_at = ZM_FOREVER,
        .wakes_at = AWAKE,
        .alarm_at = ZM_FOREVER,
    };
    t->waitset = zm_waitset_open();
    int rc = t->waitset;
    if (rc >= 0)
        rc = t->alarm = zm_alarm_open();
    if (rc >= 0)
        rc = zm_waitset_add(t->waitset, t->alarm, NULL);
    if (rc < 0)
        goto fail;
    zm_fds_make_room(t->waitset);
    /* Signals are for the application's threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&t->thread, NULL, run, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0)
        goto fail;
    bind_to_cpus(t->thread, context->cpus);
    const char *prefix = context->thread_prefix;
    char name[16];
    snprintf(name, sizeof name, "%.7s%szm-io", prefix, *prefix ? "/" : "");
    pthread_setname_np(t->thread, name);
    atomic_fetch_add(&zm_live_threads, 1);
    *out_io_thread = t;
    return 0;
fail:
    if (t->waitset >= 0)
        zm_fd_close(t->waitset);
    if (t->alarm >= 0)
        zm_fd_close(t->alarm);
    zm_free(t);
    return rc;
}

void zm_io_thread_free(zm_io_thread *taken) ZM_LOCKS_UNCHECKED
{
    atomic_store(&taken->stop, true);
    lock_take(taken);
    set_alarm(taken, 1); /* long past */
    lock_give(taken);
    pthread_join(taken->thread, NULL);
    zm_fd_close(taken->waitset);
    zm_fd_close(taken->alarm);
    zm_timers_fini(&taken->looks);
    zm_free(taken);
}

int zm_io_thread_add_locked(zm_io_thread *t, zm_socket *s)
{
    s->parked = s->waited_long = s->watched = false;
    s->burst.look_gap = ZM_LOOK_GAP_FIRST_NS;
    lock_take(t);
    int rc = zm_timers_reserve(&t->looks, 1);
    if (rc == 0) {
        s->look = (zm_timer){.owner = s};
        atomic_store(&s->look_at, ZM_FOREVER);
        atomic_store(&s->io_thread, t);
    }
    lock_give(t);
    /* Whoever opened it may do more than that, and close it. */
    if (rc == 0)
        zm_io_thread_look(s, zm_presence_first_look(zm_now_ns()));
    return rc;
}

void zm_io_thread_remove_locked(zm_socket *s)
{
    zm_io_thread *t = atomic_load(&s->io_thread);
    if (!t)
        return;
    if (s->watched)
        zm_waitset_remove(t->waitset, zm_driver_fd(s->driver));
    s->watched = false;
    lock_take(t);
    zm_timer_stop(&t->looks, &s->look);
    zm_timers_release(&t->looks, 1);
    atomic_store(&s->io_thread, NULL);
    lock_give(t);
}
