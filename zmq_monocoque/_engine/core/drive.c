/* Driving: the one place where a socket's requests are submitted, waited for and taken in, by
 * whichever thread is at hand: an application thread inside a call, or the I/O thread. At most one
 * thread waits in the driver (`driven`); others that want to wait sleep on `seq` until it has
 * looked. Nobody reaps while another thread waits, so no wake-up can be lost.
 *
 * Also here: commands from other threads, and the wake-ups of whoever watches from outside. */
#include "internal.h"

enum {
    COMPLETIONS_MAX = 512, /* taken in at once */
    STEPS_MIN = 32,        /* of any loop under the lock, before those who want it get a turn */
    TIMERS_MAX = 64,
    TIMERS_A_CALL = 4, /* an application does no more of the I/O thread's work at once */
    SPIN_NS = 60 * 1000,        /* a little more than one loopback round trip's work */
    SPIN_PAYS_NS = 150 * 1000,  /* a wait that ended within this would have been worth a spin */
    LOOP_PAYS_NS = 250 * 1000,  /* the same of a wait in an event loop, which is slower to wake */
    SPIN_CREDIT_MAX = 16,
    SPIN_DEBT = 8, /* waits in an event loop before a spin that failed is tried again */
    LOOKS_A_YIELD = 8,
    ROUNDS_MAX = 8,
    HELD_LOOK_NS = 1000 * 1000, /* between looks whether messages are still to be held back */
    HANDOVER_NS = 20 * 1000 * 1000, /* for the thread that waits in the driver to wake up */
    HOMECOMING_NS = 200 * 1000, /* for the thread that armed a receive to let it go */
    MOVE_PRICE_NS = 20 * 1000, /* of one receive: ten times what it takes */
    MOVES_MIN = 8,
    MOVES_MAX = 256,
    PULL_NS = 60 * 1000,        /* between two pieces of a large body */
    PULL_MAX_NS = 2000 * 1000,  /* then signals and other threads have their turn */
    PAUSE_NS = 100 * 1000,      /* sends further apart than this are not a burst */
    PAUSE_PEER_NS = 1000,       /* and this for every peer that the last one was encoded for */
    FLUSH_BYTES = 64 * 1024,
    FLUSH_MANY_BYTES = 128 * 1024, /* of each of several peers */
    LOOK_GAP_MAX_NS = 1000 * 1000
};

/* May a loop leave the rest for later? Not that of one who goes to sleep, or while another thread
 * does: nobody would come back for it. */
typedef enum zm_patience { TO_THE_END, MAY_GIVE_WAY } zm_patience;

/* --- commands -------------------------------------------------------------------------------- */

/* The signaler first: it may be heard once more than there was a reason to, but never for ever. */
static void notify_watchers(zm_socket *s)
{
    zm_signaler_set(atomic_load(&s->signaler));
    atomic_store(&s->notified, true);
}

void zm_socket_wake(zm_socket *s)
{
    atomic_store(&s->attention, 1);
    /* Pairs with the sleeper: it counts itself first and looks at `attention` after that. */
    if (atomic_load(&s->sleeping)) {
        atomic_fetch_add(&s->seq, 1);
        zm_futex_wake(&s->seq, 1 << 20);
        zm_driver *driver = atomic_load(&s->wakeable);
        if (driver)
            zm_driver_wake(driver);
    }
    if (atomic_load(&s->signaler_wanted)) {
        notify_watchers(s);
    }
}

bool zm_socket_post(zm_socket *s, zm_command *command)
{
    if (atomic_exchange(&command->posted, true))
        return false;
    zm_command *head = atomic_load_explicit(&s->mailbox, memory_order_relaxed);
    do
        command->next = head;
    while (!atomic_compare_exchange_weak(&s->mailbox, &head, command));
    zm_socket_wake(s);
    return true;
}

bool zm_socket_gives_way(zm_socket *s, int steps)
{
    if (ZM_LIKELY(steps < STEPS_MIN || !zm_lock_wanted(&s->lock)))
        return false;
    s->work_left = true;
    return true;
}

/* What has ended since the last time is freed here, where nobody holds it any more. */
static void reap_ended(zm_socket *s)
{
    if (ZM_UNLIKELY(!zm_list_empty(&s->ended_conns)))
        zm_conns_reap_locked(s);
    if (ZM_UNLIKELY(!zm_list_empty(&s->ended_peers)))
        zm_peers_reap_locked(s);
}

/* The oldest command, taken out. NULL: there is none. */
static zm_command *next_command(zm_socket *s)
{
    if (!s->commands_left && atomic_load(&s->mailbox)) {
        zm_command *newest = atomic_exchange(&s->mailbox, NULL);
        while (newest) {
            zm_command *next = newest->next;
            newest->next = s->commands_left;
            s->commands_left = newest;
            newest = next;
        }
    }
    zm_command *command = s->commands_left;
    if (command)
        s->commands_left = command->next;
    return command;
}

void zm_commands_take_locked(zm_socket *s)
{
    atomic_store(&s->attention, 0);
    zm_command *command;
    for (int steps = 0; (command = next_command(s)); steps++) {
        if (zm_socket_gives_way(s, steps)) {
            command->next = s->commands_left;
            s->commands_left = command;
            atomic_store(&s->attention, 1); /* nobody sleeps before it is taken in */
            break;
        }
        atomic_store(&command->posted, false);
        command->run(s, command);
    }
    /* A socket that only sends over inproc learns in no other way that a peer is gone. */
    reap_ended(s);
}

/* --- who watches from outside ---------------------------------------------------------------- */

void zm_socket_notify_locked(zm_socket *s)
{
    s->unseen = true;
    s->refused = false;
    if (ZM_UNLIKELY(atomic_load_explicit(&s->signaler_wanted, memory_order_relaxed))
        && s->watcher != zm_thread_id()) {
        notify_watchers(s);
    }
}

int zm_socket_signaler_locked(zm_socket *s)
{
    int fd = atomic_load(&s->signaler);
    if (fd < 0) {
        fd = zm_signaler_open();
        if (fd < 0)
            return fd;
        atomic_store(&s->signaler, fd);
    }
    atomic_store(&s->signaler_wanted, true);
    return fd;
}

void zm_socket_signaler_clear_locked(zm_socket *s)
{
    if (atomic_exchange(&s->notified, false))
        zm_signaler_clear(atomic_load(&s->signaler));
}

int zm_socket_fd_locked(zm_socket *s)
{
    if (s->public_fd >= 0)
        return s->public_fd;
    int signaler = zm_socket_signaler_locked(s);
    if (signaler < 0)
        return signaler;
    int fd = zm_waitset_open();
    if (fd < 0)
        return fd;
    int rc = zm_waitset_add(fd, signaler, NULL);
    if (rc == 0 && s->driver)
        rc = zm_waitset_add(fd, zm_driver_fd(s->driver), NULL);
    if (rc < 0) {
        zm_fd_close(fd);
        return rc;
    }
    s->public_fd = fd;
    if (s->unseen || atomic_load(&s->attention))
        notify_watchers(s); /* for what came before there was anybody to notify */
    return fd;
}

int zm_socket_fd_extend_locked(zm_socket *s)
{
    return zm_waitset_add(s->public_fd, zm_driver_fd(s->driver), NULL);
}

/* --- completions ----------------------------------------------------------------------------- */

/* Takes in what is complete. Returns how many. Not while another thread waits in the driver. One at
 * a time: what one completion ends must still count the other as in flight. */
static int reap(zm_socket *s)
{
    zm_completion done;
    int total = 0;
    while (total < COMPLETIONS_MAX && !zm_socket_gives_way(s, total)
           && zm_driver_reap(s->driver, &done, 1)) {
        done.op->done(done.op, done.res);
        total++;
    }
    return total;
}

/* What was held back for connections that were begun earlier. */
static void release_held(zm_socket *s)
{
    s->held = false;
    ZM_LIST_EACH (node, &s->conns) {
        zm_conn *conn = ZM_CONTAINER(node, zm_conn, link);
        if (conn->active && conn->peer && zm_outq_waiting(&conn->peer->out))
            zm_conn_wants_send_locked(conn);
    }
}

static ZM_APART void flush_some_senders(zm_socket *s, zm_patience patience)
{
    if (ZM_UNLIKELY(s->held) && !zm_order_holds_locked(s))
        release_held(s);
    if (zm_list_empty(&s->wants_send))
        return;
    if (ZM_UNLIKELY(!zm_order_reached_locked(s))) {
        zm_io_thread_look(s, zm_now_ns() + ZM_RETRY_NS); /* somebody has what goes first */
        return;
    }
    s->flush_due = false;
    zm_list work;
    /* A list of its own: a flush may put its connection back. */
    zm_list_init(&work);
    zm_list_append_all(&work, &s->wants_send);
    for (int steps = 0; !zm_list_empty(&work); steps++) {
        if (patience == MAY_GIVE_WAY && zm_socket_gives_way(s, steps))
            break;
        zm_conn_flush_locked(ZM_CONTAINER(work.next, zm_conn, wants_send_link));
    }
    zm_list_append_all(&work, &s->wants_send);
    zm_list_append_all(&s->wants_send, &work);
}

static inline void flush_senders_for(zm_socket *s, zm_patience patience)
{
    if (!zm_list_empty(&s->wants_send) || ZM_UNLIKELY(s->held))
        flush_some_senders(s, patience);
}

static void flush_senders(zm_socket *s)
{
    flush_senders_for(s, TO_THE_END);
}

/* All but `except` (NULL: all). */
static void arm_receivers_except(zm_socket *s, const zm_conn *except, zm_patience patience)
{
    zm_list *node = s->wants_recv.next;
    for (int steps = 0; node != &s->wants_recv; steps++) {
        if (patience == MAY_GIVE_WAY && zm_socket_gives_way(s, steps))
            break;
        zm_conn *conn = ZM_CONTAINER(node, zm_conn, wants_recv_link);
        if (conn == except) {
            node = node->next;
            continue;
        }
        zm_conn_arm_locked(conn);
        node = s->wants_recv.next; /* arming may end connections, others too */
    }
}

static void arm_receivers(zm_socket *s)
{
    arm_receivers_except(s, s->bulk_is_left ? s->bulk : NULL, TO_THE_END);
}

/* Those that are left are due still: whoever asks for the next one comes back at once. */
static void run_timers(zm_socket *s, int most)
{
    if (!s->timers.count)
        return;
    int64_t now = zm_now_ns();
    zm_timer *timer;
    while (most-- && (timer = zm_timers_due(&s->timers, now)))
        timer->due(timer);
}

/* The kernel has what was started. */
static void submit(zm_socket *s)
{
    zm_driver_submit(s->driver);
    if (s->order && zm_list_empty(&s->wants_send))
        zm_order_leave_locked(s);
}

/* Starts all that can be started. */
static void start(zm_socket *s)
{
    arm_receivers(s);
    flush_senders(s);
}

/* The same, of which the I/O thread does the rest if others want the lock meanwhile. */
static void start_some(zm_socket *s)
{
    arm_receivers_except(s, s->bulk_is_left ? s->bulk : NULL, MAY_GIVE_WAY);
    flush_senders_for(s, MAY_GIVE_WAY);
}

/* Takes in and starts what there is, and `timers` timers that are due. */
static void drive(zm_socket *s, int timers)
{
    s->work_left = false;
    if (atomic_load_explicit(&s->attention, memory_order_acquire))
        zm_commands_take_locked(s);
    if (!s->driver) {
        reap_ended(s);
        return;
    }
    run_timers(s, timers);
    s->burst = s->sent_since_wait = false;
    if (s->driven) {
        start(s);
        submit(s);
        int64_t timer = zm_timers_next(&s->timers);
        if (zm_sooner(timer, s->waiting_until) != s->waiting_until)
            zm_socket_wake(s); /* it was set after that thread fell asleep */
        return;
    }
    int rounds = 0;
    bool news;
    do {
        start_some(s);
        submit(s);
        news = reap(s);
    } while (news && ++rounds < ROUNDS_MAX && !zm_lock_wanted(&s->lock));
    /* A wake that was reaped is gone: what it was for is looked at now. */
    bool commands = atomic_load_explicit(&s->attention, memory_order_acquire);
    if (ZM_UNLIKELY(commands))
        zm_commands_take_locked(s);
    if (ZM_UNLIKELY(commands || news)) {
        start_some(s); /* nothing is left unstarted that nobody would come back for */
        submit(s);
    }
    if (ZM_UNLIKELY(s->beginner) && !s->handshakes && !s->held && zm_list_empty(&s->wants_send))
        zm_order_begun_locked(s);
    if (ZM_UNLIKELY(s->held))
        zm_io_thread_look(s, zm_now_ns() + HELD_LOOK_NS);
    reap_ended(s);
}

void zm_drive_for_io_thread_locked(zm_socket *s)
{
    drive(s, TIMERS_MAX);
}

/* How many receives may be moved now: as many as the time since the last ones pays for. A few of
 * many would not be worth the trip. */
static int moves_paid_for(zm_socket *s, int64_t now)
{
    int64_t most = now - MOVES_MAX * MOVE_PRICE_NS;
    if (s->moves_paid_ns < most)
        s->moves_paid_ns = most;
    int paid = (int) ((now - s->moves_paid_ns) / MOVE_PRICE_NS);
    if (paid >= MOVES_MIN)
        return paid;
    const zm_list *node = &s->armed_elsewhere;
    for (int i = 0; i <= paid; i++)
        if ((node = node->next) == &s->armed_elsewhere)
            return paid;
    return 0;
}

/* Armed receives complete in the thread that armed them; one that is about to sleep, or to look,
 * takes them over, or each message would wake another thread first. Those that came last go first,
 * and no more than pays: whoever has a thousand idle peers and shares them with another thread in
 * turn does not move them at each turn. Those that stay behind wake the thread they are with once,
 * and are armed anew by the one that drives then. Returns how many are on their way. */
static int take_over_receives(zm_socket *s)
{
    uint32_t me = zm_thread_id();
    if (s->arm_thread != me) {
        zm_list_append_all(&s->armed_elsewhere, &s->armed);
        s->arm_thread = me;
    }
    if (zm_list_empty(&s->armed_elsewhere) || !zm_driver_is_thread_bound(s->driver))
        return 0;
    int moved = 0;
    for (int left = moves_paid_for(s, zm_now_ns()); left && !zm_list_empty(&s->armed_elsewhere);
         left--) {
        zm_list *node = s->armed_elsewhere.prev;
        zm_conn *conn = ZM_CONTAINER(node, zm_conn, armed_link);
        zm_list_remove(node);
        zm_list_append(s->armed.next, node); /* before the first, so that the order stays */
        if (conn->recv_op.thread == me || conn->moving)
            continue;
        conn->moving = true;
        s->moving++;
        moved++;
        zm_driver_cancel(s->driver, &conn->recv_op);
    }
    s->moves_paid_ns += moved * MOVE_PRICE_NS;
    return moved;
}

/* As take_over_receives(), and waits a moment until they are here: what a peer has sent by now is
 * seen by this look, not by the next. */
static void bring_receives_home(zm_socket *s)
{
    if (!take_over_receives(s))
        return;
    submit(s);
    int64_t until = zm_now_ns() + HOMECOMING_NS;
    while (s->moving && zm_now_ns() < until)
        if (!reap(s))
            zm_spin_yield();
}

void zm_drive_peek_locked(zm_socket *s)
{
    if (!s->driver || s->driven)
        return;
    bring_receives_home(s);
    int rounds = 0;
    do {
        arm_receivers(s);
        submit(s);
    } while (reap(s) && ++rounds < ROUNDS_MAX);
    reap_ended(s);
    zm_io_thread_resume_locked(s);
}

bool zm_drive_may_let_in_locked(const zm_socket *s)
{
    return s->driver && !s->driven && zm_allowance_left(&s->patience, zm_now_ns()) > 0;
}

void zm_drive_let_in_locked(zm_socket *s)
{
    int64_t began = zm_now_ns(), now = began, end = now + ZM_TURNS_MAX_NS;
    int64_t left = zm_allowance_left(&s->patience, now), until = now + left;
    if (!s->driver || s->driven || now >= until)
        return;
    while (s->newcomers && !s->driven && now < until) {
        struct pollfd fd = {.fd = zm_driver_fd(s->driver), .events = POLLIN};
        zm_drive_take_locked(s);
        submit(s);
        s->waiting_since = now;
        zm_lock_give(&s->lock);
        bool news = zm_poll_until(&fd, 1, until) > 0;
        zm_lock_take(&s->lock);
        zm_drive_leave_locked(s, true);
        now = zm_now_ns();
        if (s->moving || zm_spin_crowded())
            until = end; /* a thread of ours, or theirs, has to get a processor first */
        else if (news && now + left < end)
            until = now + left;
    }
    zm_allowance_spend(&s->patience, began, now, s->newcomers);
    if (s->newcomers)
        ZM_LIST_EACH (node, &s->conns)
            zm_conn_settled_locked(ZM_CONTAINER(node, zm_conn, link));
    if (!s->driven) {
        start(s);
        submit(s);
    }
    zm_io_thread_resume_locked(s);
}

void zm_socket_driven_locked(zm_socket *s, int64_t now)
{
    int64_t gap = now - s->driven_ns;
    s->driven_ns = now;
    /* Who comes back every few milliseconds, to many sockets in turn, is not away meanwhile. */
    if (gap < ZM_QUIET_MAX_NS / 2 && 2 * gap > s->quiet_ns)
        s->quiet_ns = 2 * gap;
    else if (s->quiet_ns > ZM_QUIET_NS)
        s->quiet_ns -= s->quiet_ns / 64;
}

void zm_drive_once_locked(zm_socket *s)
{
    zm_order_look_locked(s);
    if (s->driver && !s->driven)
        bring_receives_home(s);
    drive(s, TIMERS_A_CALL);
    zm_io_thread_resume_locked(s);
}

void zm_socket_flush_locked(zm_socket *s)
{
    if (!s->driver) {
        zm_order_leave_locked(s);
        return;
    }
    /* Along with what leaves, in one call: what the answer is received into. Not while there is
     * something to read: nobody who is behind reads ahead. */
    if (s->arm_thread == zm_thread_id() && !s->bulk && !s->pattern->can_recv(s))
        arm_receivers(s);
    flush_senders(s);
    submit(s);
    if (!s->driven && zm_driver_reap_pays(s->driver) && reap(s)) {
        /* What was taken only in part goes on; whoever looks next finds it in flight. */
        start(s);
        submit(s);
        zm_io_thread_resume_locked(s);
    }
    s->flushed_ns = zm_now_ns();
}

void zm_drive_for_room_locked(zm_conn *conn)
{
    zm_socket *s = conn->socket;
    if (!conn->active || s->driven
        || (conn->send_op.in_flight && !zm_driver_reap_pays(s->driver)))
        return;
    flush_senders(s);
    submit(s);
    if (reap(s)) {
        start(s);
        submit(s);
    }
    s->flushed_ns = zm_now_ns();
}

void zm_socket_flush(zm_socket *s, uint32_t generation)
{
    zm_order_finish(s, false);
    if (!zm_socket_lock_generation(s, generation))
        return;
    if (!zm_list_empty(&s->wants_send))
        zm_socket_flush_locked(s);
    /* The thread that waits in the driver takes in what the kernel has finished. It gets the time
     * for that, or messages would be dropped for those that are gone already. */
    int64_t until = s->flushed_ns + HANDOVER_NS;
    while (ZM_UNLIKELY(s->driven) && zm_driver_ready(s->driver) && zm_now_ns() < until) {
        zm_lock_give(&s->lock);
        zm_spin_yield();
        if (!zm_socket_lock_generation(s, generation))
            return;
    }
    zm_lock_give(&s->lock);
}

/* Did a wait of this length pay, or would a spin have? Learned, because nobody can tell before. */
static void learn_to_spin(zm_socket *s, bool woken, int64_t waited_ns)
{
    if (woken && waited_ns < SPIN_PAYS_NS)
        s->spin_credit += s->spin_credit < SPIN_CREDIT_MAX;
    else if (s->spin_credit > 0)
        s->spin_credit -= s->spin_credit > 4 ? 4 : s->spin_credit;
}

static int64_t spin_time(const zm_socket *s)
{
    return s->spin_credit > 0 && !s->bulk && zm_spin_allowed() ? SPIN_NS : 0;
}

void zm_socket_waited_locked(zm_socket *s)
{
    int64_t waited_ns = zm_now_ns() - s->loop_wait_ns;
    s->loop_wait_ns = 0;
    if (waited_ns < (s->loop_spun ? SPIN_PAYS_NS : LOOP_PAYS_NS))
        s->spin_credit += s->spin_credit < SPIN_CREDIT_MAX;
    else if (s->spin_credit > 4)
        s->spin_credit -= 4;
    else if (s->loop_spun)
        s->spin_credit = -SPIN_DEBT;
}

int zm_socket_spin_locked(zm_socket *s)
{
    int64_t now = zm_now_ns(), spin = spin_time(s), until = now + spin;
    s->watcher = zm_thread_id();
    s->loop_wait_ns = now;
    s->loop_spun = spin > 0;
    for (;;) {
        int rc = zm_socket_enter_locked(s);
        if (rc < 0)
            return rc;
        if (s->pattern->can_recv(s)) {
            zm_socket_waited_locked(s);
            return 1;
        }
        if (now >= until)
            return 0;
        int credit = s->spin_credit;
        zm_drive_locked(s, until);
        s->waits_inside = false;
        s->spin_credit = credit; /* whether it paid, the end of the whole wait tells */
        now = zm_now_ns();
    }
}

/* Looks for attention without sleeping. Yields between looks: the thread that is waited for may
 * need this very processor. */
static bool spin_for_attention(zm_socket *s, uint32_t seen, int64_t until_ns)
{
    do {
        for (int looks = 0; looks < LOOKS_A_YIELD; looks++) {
            if (atomic_load_explicit(&s->attention, memory_order_acquire)
                || atomic_load_explicit(&s->seq, memory_order_acquire) != seen)
                return true;
            zm_cpu_relax();
        }
        if (!zm_spin_yield())
            return false;
    } while (zm_now_ns() < until_ns);
    return false;
}

/* Waits without the driver: it has none, or another thread waits in it. */
static int follow(zm_socket *s, int64_t deadline_ns)
{
    uint32_t seen = atomic_load(&s->seq);
    int64_t began = zm_now_ns(), spin = spin_time(s);
    atomic_fetch_add(&s->sleeping, 1);
    int rc = 0;
    if (!atomic_load(&s->attention) && zm_signals_sleep((zm_sleep) {.word = &s->seq})) {
        s->followers++;
        zm_lock_give(&s->lock);
        if (!spin || !spin_for_attention(s, seen, began + spin))
            rc = zm_futex_wait(&s->seq, seen, deadline_ns);
        zm_signals_awake();
        zm_lock_take(&s->lock);
        s->followers--;
    }
    atomic_fetch_sub(&s->sleeping, 1);
    learn_to_spin(s, rc == 0, zm_now_ns() - began);
    return rc == -ETIMEDOUT ? -EAGAIN : rc;
}

void zm_drive_wake_followers_locked(zm_socket *s)
{
    if (s->pollers) {
        notify_watchers(s);
    }
    if (!s->followers)
        return;
    atomic_fetch_add(&s->seq, 1);
    zm_futex_wake(&s->seq, 1 << 20);
}

/* The caller leaves the kernel to `s` alone until zm_drive_leave_locked(). */
void zm_drive_take_locked(zm_socket *s)
{
    ZM_ASSERT(!s->driven);
    take_over_receives(s);
    start(s);
    if (s->order)
        submit(s); /* before others can flush what is to come behind it */
    s->driven = true;
    s->waiting_until = zm_timers_next(&s->timers);
    if (ZM_UNLIKELY(s->held))
        s->waiting_until = zm_sooner(s->waiting_until, zm_now_ns() + HELD_LOOK_NS);
    s->burst = s->sent_since_wait = false;
    atomic_store(&s->wakeable, s->driver);
    atomic_fetch_add(&s->sleeping, 1);
}

void zm_drive_leave_locked(zm_socket *s, bool news)
{
    atomic_fetch_sub(&s->sleeping, 1);
    atomic_store(&s->wakeable, NULL);
    s->driven = false;
    if (news)
        reap(s);
    if (atomic_load(&s->attention))
        zm_commands_take_locked(s);
    run_timers(s, TIMERS_MAX);
    reap_ended(s);
    zm_drive_wake_followers_locked(s);
    zm_io_thread_resume_locked(s);
}

/* Fetches a large body call by call as it arrives, instead of sleeping until it has: the sender
 * then finds nobody to wake, which costs it more than the bytes (ADR 10). Goes on for `patience_ns`
 * after each piece, until `deadline_ns`. The lock is held meanwhile. True: the caller looks before
 * it waits. */
static bool pull_body(zm_socket *s, int64_t patience_ns, int64_t deadline_ns)
{
    zm_conn *conn = s->bulk;
    if (!conn || !conn->wants_recv || !zm_spin_allowed())
        return false;
    arm_receivers_except(s, conn, TO_THE_END);
    flush_senders(s);
    submit(s);
    int64_t now = zm_now_ns(), until = now + patience_ns;
    int64_t end = zm_sooner(deadline_ns, now + PULL_MAX_NS);
    for (;; now = zm_now_ns()) {
        bool news = atomic_load_explicit(&s->attention, memory_order_acquire)
                    || (zm_driver_reap_pays(s->driver) && reap(s)) || s->bulk != conn
                    || !conn->wants_recv;
        if (news || now >= end)
            return true;
        if (zm_conn_pull_locked(conn)) {
            if (s->pattern->can_recv(s))
                return true;
            until = now + patience_ns;
        } else if (now >= until || !zm_spin_yield()) {
            return false;
        }
    }
}

void zm_drive_before_wait_locked(zm_socket *s)
{
    /* Whoever has the descriptor may wait there next, and be woken by what is armed. */
    s->bulk_is_left = s->waits_inside && s->public_fd < 0 && zm_spin_allowed();
    zm_socket_driven_locked(s, zm_now_ns());
    zm_drive_once_locked(s);
    /* One who does not wait after all, but asks again and again, gets on, too. */
    if (s->bulk_is_left && !s->driven && !s->pattern->can_recv(s))
        pull_body(s, 0, ZM_FOREVER);
    s->bulk_is_left = false;
}

static int wait_in_driver(zm_socket *s, int64_t deadline_ns)
{
    bool readable = s->pattern->can_recv(s);
    s->waits_inside = true;
    if (pull_body(s, PULL_NS, deadline_ns)) {
        zm_socket_driven_locked(s, zm_now_ns());
        reap_ended(s);
        return 0;
    }
    zm_drive_take_locked(s);
    int rc = 0;
    /* A command that came before `sleeping` was counted did not wake anybody, nor does what RCVHWM
     * held back and what a receive, once it is to be armed again, finds in its memory. */
    if (!atomic_load(&s->attention) && s->pattern->can_recv(s) == readable
        && zm_signals_sleep((zm_sleep) {.driver = s->driver})) {
        int64_t spin = spin_time(s);
        int64_t began = zm_now_ns();
        s->waiting_since = began;
        int64_t until = zm_sooner(deadline_ns, s->waiting_until);
        zm_driver_wait_prepare(s->driver);
        zm_lock_give(&s->lock);
        rc = zm_driver_wait(s->driver, until, spin);
        zm_signals_awake();
        zm_lock_take(&s->lock);
        int64_t now = zm_now_ns();
        learn_to_spin(s, rc == 0, now - began);
        zm_socket_driven_locked(s, now);
        if (rc == -ETIMEDOUT)
            rc = deadline_ns >= 0 && now >= deadline_ns ? -EAGAIN : 0;
    } else {
        submit(s);
    }
    zm_drive_leave_locked(s, true);
    return rc;
}

int zm_drive_locked(zm_socket *s, int64_t deadline_ns)
{
    if (!s->driver || s->driven) {
        bool readable = s->pattern->can_recv(s);
        if (s->driver) {
            start(s);
            submit(s);
        }
        return s->pattern->can_recv(s) == readable ? follow(s, deadline_ns) : 0;
    }
    return wait_in_driver(s, deadline_ns);
}

/* POLLOUT may stand though a send has just been refused: to one peer of several that is full
 * (ROUTER_MANDATORY, STREAM, XPUB_NODROP). Its caller waits for a change. */
static bool able(zm_socket *s, int event)
{
    return event == ZM_POLLIN ? s->pattern->can_recv(s) : !s->refused && s->pattern->can_send(s);
}

int zm_socket_wait_locked(zm_socket *s, int event, int64_t deadline_ns)
{
    bool waited = false;
    for (;;) {
        int rc = zm_socket_enter_locked(s);
        if (rc < 0)
            return rc;
        if (able(s, event))
            return 0;
        if (deadline_ns >= 0 && zm_now_ns() >= deadline_ns) {
            zm_drive_once_locked(s);
            return able(s, event) ? 0 : -EAGAIN;
        }
        if (waited) {
            s->refused = false; /* tried again, whatever it was that came */
            return -EINTR;
        }
        waited = true;
        zm_drive_locked(s, zm_sooner(deadline_ns, zm_signals_look()));
    }
}

/* --- flushing by itself ---------------------------------------------------------------------- */

/* The time between two sends includes the second one itself: to a thousand peers it takes longer
 * than any pause, and sends to many are those that gain most by waiting for company. */
static int64_t pause_ns(const zm_socket *s)
{
    int64_t pause = PAUSE_NS;
    ZM_LIST_EACH (node, &s->wants_send)
        pause += PAUSE_PEER_NS;
    return pause;
}

static inline int full(const zm_socket *s)
{
    if (ZM_UNLIKELY(s->flush_due))
        return ZM_SEND_FLUSH;
    zm_conn *newest = ZM_CONTAINER(s->wants_send.prev, zm_conn, wants_send_link);
    size_t limit = s->wants_send.next == s->wants_send.prev ? FLUSH_BYTES : FLUSH_MANY_BYTES;
    /* A full buffer leaves at once; what is in flight already takes the rest with it. */
    return newest->peer && !newest->send_op.in_flight
                   && newest->control_size + zm_outq_waiting(&newest->peer->out) >= limit
               ? ZM_SEND_FLUSH
               : 0;
}

int zm_socket_followed_locked(zm_socket *s)
{
    if (zm_list_empty(&s->wants_send))
        return 0;
    if (ZM_UNLIKELY(!s->order && zm_order_has_others(s)))
        zm_order_enter_locked(s);
    return full(s);
}

/* A send that does not go on with a burst: it leaves at once, or a burst begins. */
static ZM_APART int sent_first(zm_socket *s)
{
    if (!s->burst) {
        int64_t now = zm_now_ns();
        bool at_once = s->sent_since_wait ? now - s->flushed_ns > pause_ns(s)
                                          : !s->pattern->can_recv(s);
        s->sent_since_wait = true;
        s->flushed_ns = now;
        if (at_once) {
            if (ZM_UNLIKELY(zm_order_has_others(s)))
                zm_order_enter_locked(s); /* who comes in between flushes those first */
            return ZM_SEND_FLUSH;
        }
        s->burst = true;
        zm_io_thread_look(s, now + s->look_gap);
    }
    zm_order_enter_locked(s);
    return ZM_UNLIKELY(zm_order_has_begun(s)) ? ZM_SEND_FLUSH : full(s);
}

int zm_socket_sent_locked(zm_socket *s)
{
    if (zm_list_empty(&s->wants_send)) /* flush() lets go first what the thread began before */
        return s->driver && zm_order_has_begun(s) ? ZM_SEND_FLUSH : 0;
    return ZM_LIKELY(s->burst && zm_order_goes_on(s)) ? full(s) : sent_first(s);
}

/* The I/O thread's look at a burst: sends what has waited long enough, and comes back as long as
 * burst lasts. Returns when to look again; ZM_FOREVER: it is over. */
int64_t zm_drive_burst_locked(zm_socket *s, int64_t now)
{
    if (!s->burst)
        return ZM_FOREVER;
    if (zm_list_empty(&s->wants_send)) {
        s->burst = false;
        s->look_gap = ZM_LOOK_GAP_FIRST_NS;
        return ZM_FOREVER;
    }
    if (now - s->flushed_ns < s->look_gap) {
        /* The application flushes by itself: it is in full swing, so look less often. */
        if (s->look_gap < LOOK_GAP_MAX_NS)
            s->look_gap *= 2;
        return s->flushed_ns + s->look_gap;
    }
    zm_order *order = s->order;
    zm_socket_flush_locked(s);
    if (order)
        zm_order_flush_locked(order, s); /* those behind it are as old, nearly */
    /* To many peers it takes long: most of the time is to be left to the application. */
    int64_t took = s->flushed_ns - now;
    s->look_gap = ZM_LOOK_GAP_FIRST_NS * 4;
    if (s->look_gap < took * 4)
        s->look_gap = took * 4;
    return s->flushed_ns + s->look_gap;
}
