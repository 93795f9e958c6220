/* Driving: the one place where a socket's requests are submitted, waited for and taken in, by
 * whichever thread is at hand: an application thread inside a call, or the I/O thread. At most one
 * thread waits in the driver (`driven`); others that want to wait sleep on `seq` until it has
 * looked. Nobody reaps while another thread waits, so no wake-up can be lost.
 *
 * What is started and taken in meanwhile is transfer.c's, how it is woken wakeup.c's. */
#include "drive.h"

#include <errno.h>

#include "../api.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../base/timer.h"
#include "../connection/connection.h"
#include "../context/io_thread.h"
#include "../context/process.h"
#include "../context/signals.h"
#include "../driver/driver.h"
#include "../driver/waitset.h"
#include "order.h"
#include "pacing.h"
#include "socket.h"
#include "transfer.h"
#include "wakeup.h"

enum {
    TIMERS_MAX = 64,
    TIMERS_A_CALL = 4, /* an application does no more of the I/O thread's work at once */
    LOOKS_A_YIELD = 8,
    ROUNDS_MAX = 8,
    HELD_LOOK_NS = 1000 * 1000, /* between looks whether messages are still to be held back */
    HOMECOMING_NS = 200 * 1000, /* for the thread that armed a receive to let it go */
    MOVE_PRICE_NS = 20 * 1000, /* of one receive: ten times what it takes */
    MOVES_MIN = 8,
    MOVES_MAX = 256,
    PULL_NS = 60 * 1000,        /* between two pieces of a large body */
    PULL_MAX_NS = 2000 * 1000 /* then signals and other threads have their turn */
};

/* The timers that are left over are still due, so the next wait ends at once. */
static void run_timers(zm_socket *s, int most) ZM_LOCKED
{
    if (!s->timers.count)
        return;
    int64_t now = zm_now_ns();
    zm_timer *timer;
    while (most-- && (timer = zm_timers_due(&s->timers, now)))
        timer->due(timer);
}

/* Takes in and starts what there is, and `timers` timers that are due. */
static void drive(zm_socket *s, int timers) ZM_LOCKED
{
    s->work_left = false;
    if (atomic_load_explicit(&s->attention, memory_order_acquire))
        zm_commands_take_locked(s);
    if (!s->driver) {
        zm_reap_ended_locked(s);
        return;
    }
    run_timers(s, timers);
    zm_burst_end(&s->burst);
    if (s->driven) {
        zm_transfer_start_locked(s);
        zm_transfer_submit_locked(s);
        int64_t timer = zm_timers_next(&s->timers);
        if (zm_sooner(timer, s->waiting_until) != s->waiting_until)
            zm_socket_wake(s); /* it was set after that thread fell asleep */
        return;
    }
    int rounds = 0;
    bool news;
    do {
        zm_transfer_start_some_locked(s);
        zm_transfer_push_locked(s);
        news = (!rounds || zm_driver_reap_pays(s->driver)) && zm_transfer_reap_locked(s);
    } while (news && ++rounds < ROUNDS_MAX && !zm_lock_wanted(&s->lock));
    /* A wake that was reaped is gone: what it was for is looked at now. */
    bool commands = atomic_load_explicit(&s->attention, memory_order_acquire);
    if (ZM_UNLIKELY(commands))
        zm_commands_take_locked(s);
    if (ZM_UNLIKELY(commands || news)) {
        /* Nothing is left unstarted that nobody would come back for. */
        zm_transfer_start_some_locked(s);
        zm_transfer_submit_locked(s);
    }
    if (ZM_UNLIKELY(s->beginner) && !s->handshakes && !s->held && zm_list_empty(&s->wants_send))
        zm_order_begun_locked(s);
    if (ZM_UNLIKELY(s->held))
        zm_io_thread_look(s, zm_now_ns() + HELD_LOOK_NS);
    zm_reap_ended_locked(s);
}

void zm_drive_for_io_thread_locked(zm_socket *s)
{
    drive(s, TIMERS_MAX);
}

/* How many receives may be moved now: as many as the time since the last ones pays for. A few of
 * many would not be worth the trip. */
static int moves_paid_for(zm_socket *s, int64_t now) ZM_LOCKED
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
 * takes them over, or each message would wake the other thread first. The receives that were armed
 * last are moved first, and only as many as pay for themselves: two threads that take turns on a
 * thousand idle peers do not move all of them each time. A receive that stays behind wakes the
 * thread it is with once, and is then armed by the thread that drives. Returns how many are being
 * moved. */
static int take_over_receives(zm_socket *s) ZM_LOCKED
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

/* As take_over_receives(), and waits a moment until they have been moved, so that this look sees
 * what a peer has sent by now. */
static void bring_receives_home(zm_socket *s) ZM_LOCKED
{
    if (!take_over_receives(s))
        return;
    zm_transfer_submit_locked(s);
    int64_t until = zm_now_ns() + HOMECOMING_NS;
    while (s->moving && zm_now_ns() < until)
        if (!zm_transfer_reap_locked(s))
            zm_spin_yield();
}

void zm_drive_peek_locked(zm_socket *s)
{
    if (!s->driver || s->driven)
        return;
    bring_receives_home(s);
    int rounds = 0;
    bool news;
    do {
        zm_transfer_arm_locked(s);
        zm_transfer_push_locked(s);
        news = zm_transfer_reap_locked(s);
    } while (news && ++rounds < ROUNDS_MAX);
    if (ZM_UNLIKELY(news))
        zm_transfer_submit_locked(s);
    zm_reap_ended_locked(s);
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
        zm_transfer_submit_locked(s);
        s->waiting_since = now;
        zm_socket_lock_give(s);
        bool news = zm_poll_until(&fd, 1, until) > 0;
        zm_socket_lock_take(s);
        zm_drive_leave_locked(s, true);
        now = zm_now_ns();
        if (s->moving || zm_spin_crowded())
            until = end; /* some thread, here or at the peer, has to get a processor first */
        else if (news && now + left < end)
            until = now + left;
    }
    zm_allowance_spend(&s->patience, began, now, s->newcomers);
    if (s->newcomers)
        ZM_LIST_EACH (node, &s->conns)
            zm_conn_settled_locked(ZM_CONTAINER(node, zm_conn, link));
    if (!s->driven) {
        zm_transfer_start_locked(s);
        zm_transfer_submit_locked(s);
    }
    zm_io_thread_resume_locked(s);
}

void zm_drive_once_locked(zm_socket *s)
{
    zm_order_look_locked(s);
    if (s->driver && !s->driven)
        bring_receives_home(s);
    drive(s, TIMERS_A_CALL);
    zm_io_thread_resume_locked(s);
}

static int64_t spin_time(const zm_socket *s) ZM_LOCKED
{
    int64_t spin = zm_spin_time(&s->spin);
    return spin && !s->bulk && zm_spin_allowed() ? spin : 0;
}

void zm_socket_waited_locked(zm_socket *s)
{
    zm_spin_loop_ends(&s->spin, zm_now_ns());
}

int zm_socket_spin_locked(zm_socket *s)
{
    int64_t now = zm_now_ns(), spin = spin_time(s), until = now + spin;
    s->watcher = zm_thread_id();
    zm_spin_loop_begins(&s->spin, now, spin > 0);
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
        int credit = s->spin.credit;
        zm_drive_locked(s, until);
        s->waits_inside = false;
        s->spin.credit = credit; /* whether it paid, the end of the whole wait tells */
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

/* As zm_socket_wake() has it: counted first, and `attention` is looked at after that. */
static int sleep_for_attention(zm_socket *s, uint32_t seen, int64_t deadline_ns)
{
    int rc = 0;
    atomic_fetch_add(&s->sleeping, 1);
    if (!atomic_load(&s->attention))
        rc = zm_futex_wait(&s->seq, seen, deadline_ns);
    atomic_fetch_sub(&s->sleeping, 1);
    return rc;
}

/* Waits without the driver: it has none, or another thread waits in it. `seen`: `seq` before the
 * caller's last look, which may have asked for another one. */
static int follow(zm_socket *s, uint32_t seen, int64_t deadline_ns) ZM_LOCKED
{
    int64_t began = zm_now_ns(), spin = spin_time(s);
    int rc = 0;
    if (zm_signals_sleep((zm_sleep){.word = &s->seq})) {
        s->followers++;
        zm_socket_lock_give(s);
        /* Not counted as asleep while it spins: nobody is to call the kernel to wake it. */
        if (!spin || !spin_for_attention(s, seen, began + spin))
            rc = sleep_for_attention(s, seen, deadline_ns);
        zm_signals_awake();
        zm_socket_lock_take(s);
        s->followers--;
    }
    zm_spin_learn(&s->spin, rc == 0, zm_now_ns() - began);
    return rc == -ETIMEDOUT ? -EAGAIN : rc;
}

/* The caller leaves the kernel to `s` alone until zm_drive_leave_locked(). */
void zm_drive_take_locked(zm_socket *s)
{
    ZM_ASSERT(!s->driven);
    ZM_DEBUG_ASSERT(s->driver && !atomic_load(&s->wakeable));
    zm_io_thread_pause_locked(s);
    take_over_receives(s);
    zm_transfer_start_locked(s);
    if (s->order)
        zm_transfer_submit_locked(s); /* before others can flush what is to come behind it */
    s->driven = true;
    s->waiting_until = zm_timers_next(&s->timers);
    if (ZM_UNLIKELY(s->held))
        s->waiting_until = zm_sooner(s->waiting_until, zm_now_ns() + HELD_LOOK_NS);
    zm_burst_end(&s->burst);
    atomic_store(&s->wakeable, s->driver);
    atomic_fetch_add(&s->sleeping, 1);
}

void zm_drive_leave_locked(zm_socket *s, bool news)
{
    ZM_DEBUG_ASSERT(s->driven);
    ZM_DEBUG_ASSERT(atomic_load(&s->wakeable) == s->driver && atomic_load(&s->sleeping) > 0);
    atomic_fetch_sub(&s->sleeping, 1);
    atomic_store(&s->wakeable, NULL);
    s->driven = false;
    if (news)
        zm_transfer_reap_locked(s);
    if (atomic_load(&s->attention))
        zm_commands_take_locked(s);
    run_timers(s, TIMERS_MAX);
    zm_reap_ended_locked(s);
    /* The next step of a connect, or an accept, which that has started, may be all that there is to
     * wait for: no connection is listed that the I/O thread would come back for. */
    zm_transfer_submit_locked(s);
    zm_drive_wake_followers_locked(s);
    zm_io_thread_resume_locked(s);
}

/* Fetches a large body call by call as it arrives, instead of sleeping until it has: the sender
 * then finds nobody to wake, which costs it more than the bytes (ADR 10). Goes on for `patience_ns`
 * after each piece, until `deadline_ns`. The lock is held meanwhile. True: the caller looks before
 * it waits. */
static bool pull_body(zm_socket *s, int64_t patience_ns, int64_t deadline_ns) ZM_LOCKED
{
    zm_conn *conn = s->bulk;
    if (!conn || !conn->wants_recv || !zm_spin_allowed())
        return false;
    zm_transfer_arm_except_locked(s, conn, TO_THE_END);
    zm_transfer_flush_locked(s);
    zm_transfer_submit_locked(s);
    int64_t now = zm_now_ns(), until = now + patience_ns;
    int64_t end = zm_sooner(deadline_ns, now + PULL_MAX_NS);
    for (;; now = zm_now_ns()) {
        bool news = atomic_load_explicit(&s->attention, memory_order_acquire)
                    || (zm_driver_reap_pays(s->driver) && zm_transfer_reap_locked(s))
                    || s->bulk != conn || !conn->wants_recv;
        if (news || now >= end)
            return true;
        if (conn->ops->pull(conn)) {
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
    /* An application that has the descriptor may wait there next: then the receive has to be armed,
     * to wake it. */
    s->bulk_is_left = s->waits_inside && s->public_fd < 0 && zm_spin_allowed();
    zm_presence_drives(&s->presence, zm_now_ns());
    zm_drive_once_locked(s);
    /* An application that never waits, but asks again and again, makes progress, too. */
    if (s->bulk_is_left && !s->driven && !s->pattern->can_recv(s)) {
        pull_body(s, 0, ZM_FOREVER);
        zm_transfer_submit_locked(s);
    }
    s->bulk_is_left = false;
}

static int wait_in_driver(zm_socket *s, int64_t deadline_ns) ZM_LOCKED
{
    bool readable = s->pattern->can_recv(s);
    s->waits_inside = true;
    if (pull_body(s, PULL_NS, deadline_ns)) {
        zm_transfer_submit_locked(s);
        zm_presence_drives(&s->presence, zm_now_ns());
        zm_reap_ended_locked(s);
        return 0;
    }
    zm_drive_take_locked(s);
    int rc = 0;
    /* Two things do not wake this thread: a command that came before `sleeping` was counted; and
     * messages that are in memory already, which RCVHWM held back until now. */
    if (!atomic_load(&s->attention) && s->pattern->can_recv(s) == readable
        && zm_signals_sleep((zm_sleep){.driver = s->driver})) {
        int64_t spin = spin_time(s);
        int64_t began = zm_now_ns();
        s->waiting_since = began;
        int64_t until = zm_sooner(deadline_ns, s->waiting_until);
        zm_driver *driver = s->driver; /* it stays, as long as the socket is driven */
        zm_driver_wait_prepare(driver);
        zm_socket_lock_give(s);
        rc = zm_driver_wait(driver, until, spin);
        zm_signals_awake();
        zm_socket_lock_take(s);
        int64_t now = zm_now_ns();
        zm_spin_learn(&s->spin, rc == 0, now - began);
        zm_presence_drives(&s->presence, now);
        if (rc == -ETIMEDOUT)
            rc = deadline_ns >= 0 && now >= deadline_ns ? -EAGAIN : 0;
    } else {
        zm_transfer_submit_locked(s);
    }
    zm_drive_leave_locked(s, true);
    return rc;
}

int zm_drive_locked(zm_socket *s, int64_t deadline_ns)
{
    if (!s->driver || s->driven) {
        bool readable = s->pattern->can_recv(s);
        if (s->driver) {
            zm_transfer_start_locked(s);
            zm_transfer_submit_locked(s);
        }
        uint32_t seen = atomic_load(&s->seq);
        return s->pattern->can_recv(s) == readable ? follow(s, seen, deadline_ns) : 0;
    }
    return wait_in_driver(s, deadline_ns);
}

bool zm_socket_is_dead_locked(const zm_socket *s)
{
    return s->driver && !s->links && zm_driver_is_shut(s->driver);
}

/* POLLOUT may stand though a send has just been refused: to one peer of several that is full
 * (ROUTER_MANDATORY, STREAM, XPUB_NODROP). Its caller waits for a change. */
static bool able(zm_socket *s, int event) ZM_LOCKED
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
        if (ZM_UNLIKELY(zm_socket_is_dead_locked(s)))
            return -EPERM;
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
