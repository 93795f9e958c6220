/* The keeper: a thread without Python that looks after sockets while the application is away:
 * accepts, handshakes, reconnects, heartbeats, flushes, lingers. It competes with nobody: a socket
 * whose application drove it a moment ago is left alone and looked at again by time, one whose lock
 * is taken likewise, and one in which a thread sleeps (it does everything itself) is left until
 * that thread says so.
 *
 * For every socket of a keeper holds: its ring is armed in the epoll, or it is `parked`, or
 * `look_at` names a time. Times are a heap: a wake costs nothing for those that are not due. */
#include "internal.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    AWAY_NS = 1000 * 1000,       /* before a socket that was left alone is looked at again */
    PARK_NS = 5 * 1000 * 1000,   /* a thread sleeps in the socket for this long: until told */
    EAGER_NS = 60 * 1000,        /* after a step of a handshake: the next one comes soon */
    STEP_NS = 250 * 1000,        /* for a thread that has begun a handshake, to go on with it */
    BEST_NICE = -20,
    EVENTS_MAX = 64,
    DUE_MAX = 128
};

/* planned: no look can come too early to be told of. */
#define AWAKE INT64_MAX

struct zm_keeper {
    zm_context *context;
    pthread_t thread;
    int watch, bell;
    _Atomic int64_t planned; /* when it wakes by itself; AWAKE: it is looking around right now */
    _Atomic bool stop;
    int policy, priority; /* of the thread; -1: as the thread that starts it */
    int64_t eager_until; /* of the thread's own: it does not sleep before that */
    zm_lock lock;        /* looks, and which sockets are ours */
    zm_timers looks;     /* the sockets' `look`: those with a time in `look_at` */
};

void zm_keeper_plan(zm_keeper *k, int64_t at)
{
    /* Pairs with the keeper: it says when it will wake before it sleeps, and looks after saying
     * that it is awake. */
    if (atomic_load(&k->planned) > at)
        zm_bell_ring(k->bell);
}

static bool is_set_before(const zm_socket *s, int64_t at)
{
    int64_t set = atomic_load(&s->look_at);
    return set >= 0 && set <= at;
}

/* The keeper is locked, and has the socket. */
static void set_look(zm_keeper *k, zm_socket *s, int64_t at)
{
    atomic_store(&s->look_at, at);
    if (at == ZM_FOREVER)
        zm_timer_stop(&k->looks, &s->look);
    else
        zm_timer_set(&k->looks, &s->look, at);
}

/* Moves the look to `at` unless an earlier one is set, or the socket is not with `k` any more.
 * Whoever asks for a look and a keeper that found the socket's lock taken do this at the same time,
 * and neither may undo the other's. */
static bool look_no_later(zm_keeper *k, zm_socket *s, int64_t at)
{
    zm_lock_take(&k->lock);
    bool earlier = atomic_load(&s->keeper) == k && !is_set_before(s, at);
    if (earlier)
        set_look(k, s, at);
    zm_lock_give(&k->lock);
    return earlier;
}

/* The next look, of a socket that is locked. */
static void look_next(zm_keeper *k, zm_socket *s, int64_t at)
{
    zm_lock_take(&k->lock);
    set_look(k, s, at);
    zm_lock_give(&k->lock);
}

/* The kernel tells of the next completion. A socket that is gone before was never watched. */
static void arm(zm_keeper *k, zm_socket *s)
{
    int fd = zm_driver_fd(s->driver);
    int rc = s->watched ? zm_watch_arm(k->watch, fd, s) : zm_watch_add_armed(k->watch, fd, s);
    if (ZM_LIKELY(rc == 0))
        s->watched = true;
    else
        look_no_later(k, s, zm_now_ns() + AWAY_NS); /* no memory */
}

void zm_keeper_look(zm_socket *s, int64_t at)
{
    zm_keeper *k = atomic_load(&s->keeper);
    if (k && !is_set_before(s, at) && look_no_later(k, s, at))
        zm_keeper_plan(k, at);
}

void zm_keeper_resume_locked(zm_socket *s)
{
    if (!atomic_load_explicit(&s->keeper, memory_order_relaxed))
        return;
    if (s->parked || !zm_list_empty(&s->hungry) || !zm_list_empty(&s->dirty)) {
        s->parked = false;
        zm_keeper_look(s, zm_now_ns() + AWAY_NS);
    }
    if (s->work_left)
        zm_keeper_look(s, zm_now_ns() + ZM_RETRY_NS);
    int64_t timer = zm_timers_next(&s->timers);
    if (timer >= 0)
        zm_keeper_look(s, timer);
}

/* Does the application look after the socket, and will it go on to? It drove a moment ago, or works
 * through what came with its last drive. */
static bool is_about(zm_socket *s, int64_t now, int64_t touched)
{
    bool reading = s->reads != s->reads_seen;
    s->reads_seen = s->reads;
    if (s->handshakes)
        return now - touched < STEP_NS;
    return now - touched < (reading ? ZM_QUIET_MAX_NS : s->quiet_ns);
}

/* A time for the next look at a socket, `at` or a little later: those of many sockets that are used
 * in turn, every few milliseconds, fall together in one wake. */
static int64_t together(int64_t at, int64_t quiet_ns)
{
    int64_t grid = AWAY_NS;
    if (quiet_ns < 2 * grid)
        return at;
    while (4 * grid <= quiet_ns)
        grid *= 2;
    return (at + grid - 1) / grid * grid;
}

/* Looks after one socket, which is locked; unlocks it. */
static void serve(zm_keeper *k, zm_socket *s)
{
    int64_t now = zm_now_ns();
    if (s->driven) {
        s->parked = now - s->waiting_since > PARK_NS;
        look_next(k, s, s->parked ? ZM_FOREVER : now + AWAY_NS);
        zm_lock_give(&s->lock);
        return;
    }
    int64_t touched = s->driven_ns;
    if (touched < s->flushed_ns)
        touched = s->flushed_ns;
    int64_t timer = zm_timers_next(&s->timers);
    if (s->open && is_about(s, now, touched) && !s->work_left && (timer < 0 || timer > now)) {
        int64_t look = zm_sooner(zm_drive_burst_locked(s, now), timer);
        int64_t quiet = s->handshakes ? touched + STEP_NS
                                      : together(touched + s->quiet_ns, s->quiet_ns);
        look_next(k, s, zm_sooner(look, quiet > now ? quiet : now + AWAY_NS));
        zm_lock_give(&s->lock);
        return;
    }
    zm_drive_for_keeper_locked(s);
    if (s->closing && zm_socket_reap_locked(s))
        return;
    ZM_ASSERT(s->driven || s->work_left || zm_list_empty(&s->hungry));
    ZM_ASSERT(s->driven || s->work_left || s->order || zm_list_empty(&s->dirty));
    if (s->handshakes && zm_spin_allowed())
        k->eager_until = now + EAGER_NS;
    s->look_gap = ZM_LOOK_GAP_FIRST_NS;
    zm_drive_wake_followers_locked(s);
    if (s->work_left || zm_lock_wanted(&s->lock)) {
        /* The application waits for the lock. It has its turn before the next look: whoever takes a
         * lock again at once has it again before the one who was woken runs. */
        int64_t soon = zm_now_ns() + ZM_RETRY_NS;
        timer = zm_timers_next(&s->timers);
        bool busy = s->work_left || s->order || (timer >= 0 && timer < soon);
        look_next(k, s, busy ? soon : zm_sooner(timer, soon - ZM_RETRY_NS + AWAY_NS));
        zm_lock_give(&s->lock);
        return;
    }
    look_next(k, s, zm_timers_next(&s->timers));
    /* A resolver asks for a look without the lock, after its mail: this may have hidden it. */
    if (atomic_load(&s->attention))
        look_next(k, s, now);
    else if (ZM_UNLIKELY(s->order || s->held))
        look_no_later(k, s, zm_now_ns() + ZM_RETRY_NS); /* what goes first was not to be had */
    arm(k, s);
    zm_lock_give(&s->lock);
}

static void visit(zm_keeper *k, zm_socket *s)
{
    if (!zm_lock_try(&s->lock)) {
        look_no_later(k, s, zm_now_ns() + ZM_RETRY_NS);
        return;
    }
    if (ZM_UNLIKELY(s->beginner))
        zm_order_earlier_locked(s);
    /* The slot may be another socket's by now. */
    if (atomic_load(&s->keeper) == k)
        serve(k, s);
    else
        zm_lock_give(&s->lock);
}

/* Visits what is due, the earliest first; not more at once than leaves those that the kernel tells
 * of their turn. Returns when to wake next. */
static int64_t look_around(zm_keeper *k)
{
    zm_socket *due[DUE_MAX];
    int count = 0;
    int64_t now = zm_now_ns();
    zm_timer *look;
    zm_lock_take(&k->lock);
    while (count < DUE_MAX && (look = zm_timers_due(&k->looks, now))) {
        due[count] = look->owner;
        atomic_store(&due[count++]->look_at, ZM_FOREVER); /* the visit sets the next one */
    }
    zm_lock_give(&k->lock);
    for (int i = 0; i < count; i++)
        visit(k, due[i]);
    zm_lock_take(&k->lock);
    int64_t next = zm_timers_next(&k->looks);
    zm_lock_give(&k->lock);
    return next;
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
        setpriority(PRIO_PROCESS, (id_t) gettid(), BEST_NICE);
}

static void *keep(void *argument)
{
    zm_keeper *k = argument;
    void *owners[EVENTS_MAX];
    schedule(k->policy, k->priority);
    while (!atomic_load(&k->stop)) {
        atomic_store(&k->planned, AWAKE);
        int64_t next = zm_sooner(look_around(k), zm_context_trim(k->context, zm_now_ns()));
        /* A look asked for while looking around came with a wake. */
        atomic_store(&k->planned, next < 0 ? AWAKE - 1 : next);
        bool eager = k->eager_until && zm_now_ns() < k->eager_until && !zm_spin_crowded();
        int n = zm_watch_wait(k->watch, owners, EVENTS_MAX, eager ? 0 : next);
        if (eager && n == 0)
            zm_spin_yield();
        atomic_store(&k->planned, AWAKE);
        for (int i = 0; i < n; i++) {
            if (owners[i])
                visit(k, owners[i]);
            else
                zm_bell_clear(k->bell);
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

int zm_keeper_new(zm_context *context, zm_keeper **out_keeper)
{
    ZM_POISON(out_keeper);
    zm_keeper *k = zm_calloc(sizeof *k);
    if (!k)
        return -ENOMEM;
    k->context = context;
    k->policy = context->thread_policy;
    k->priority = context->thread_priority;
    k->bell = -1;
    k->watch = zm_watch_open();
    int rc = k->watch;
    if (rc >= 0)
        rc = k->bell = zm_bell_open();
    if (rc >= 0)
        rc = zm_watch_add(k->watch, k->bell, NULL);
    if (rc < 0)
        goto fail;
    /* Signals are for the application's threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&k->thread, NULL, keep, k);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0)
        goto fail;
    bind_to_cpus(k->thread, context->cpus);
    const char *prefix = context->thread_prefix;
    char name[16];
    snprintf(name, sizeof name, "%.7s%szm-keep", prefix, *prefix ? "/" : "");
    pthread_setname_np(k->thread, name);
    atomic_fetch_add(&zm_live_threads, 1);
    *out_keeper = k;
    return 0;
fail:
    if (k->watch >= 0)
        zm_fd_close(k->watch);
    if (k->bell >= 0)
        zm_fd_close(k->bell);
    zm_free(k);
    return rc;
}

void zm_keeper_free(zm_keeper *taken)
{
    atomic_store(&taken->stop, true);
    zm_bell_ring(taken->bell);
    pthread_join(taken->thread, NULL);
    zm_fd_close(taken->watch);
    zm_fd_close(taken->bell);
    zm_timers_fini(&taken->looks);
    zm_free(taken);
}

int zm_keeper_add_locked(zm_keeper *k, zm_socket *s)
{
    s->parked = s->watched = false;
    s->look_gap = ZM_LOOK_GAP_FIRST_NS;
    zm_lock_take(&k->lock);
    int rc = zm_timers_reserve(&k->looks, 1);
    if (rc == 0) {
        s->look = (zm_timer){.owner = s};
        atomic_store(&s->look_at, ZM_FOREVER);
        atomic_store(&s->keeper, k);
    }
    zm_lock_give(&k->lock);
    /* Whoever opened it may do more than that, and close it. */
    if (rc == 0)
        zm_keeper_look(s, zm_now_ns() + STEP_NS);
    return rc;
}

void zm_keeper_remove_locked(zm_socket *s)
{
    zm_keeper *k = atomic_load(&s->keeper);
    if (!k)
        return;
    if (s->watched)
        zm_watch_remove(k->watch, zm_driver_fd(s->driver));
    s->watched = false;
    zm_lock_take(&k->lock);
    zm_timer_stop(&k->looks, &s->look);
    zm_timers_release(&k->looks, 1);
    atomic_store(&s->keeper, NULL);
    zm_lock_give(&k->lock);
}
