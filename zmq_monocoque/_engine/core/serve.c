/* What an I/O thread does for a socket while its application is away, and how it tells: a socket
 * whose application drove it a moment ago is left alone and looked at again by time, and one in
 * which a thread sleeps (it does everything itself) is left until that thread says so. */
#include "internal.h"

enum {
    PARK_NS = 500 * 1000,      /* a thread sleeps in the socket for this long: until told */
    EAGER_NS = 60 * 1000       /* after a step of a handshake: the next one comes soon */
};

/* Does the application look after the socket, and will it go on to? It drove a moment ago, or works
 * through what came with its last drive. */
static bool is_about(zm_socket *s, int64_t now, int64_t touched)
{
    bool reading = s->reads != s->reads_seen;
    s->reads_seen = s->reads;
    if (s->handshakes)
        return now - touched < ZM_STEP_NS;
    return now - touched < (reading ? ZM_QUIET_MAX_NS : s->quiet_ns);
}

/* A time for the next look at a socket, `at` or a little later: those of many sockets that are used
 * in turn, every few milliseconds, fall together in one wake. */
static int64_t together(int64_t at, int64_t quiet_ns)
{
    int64_t grid = ZM_AWAY_NS;
    if (quiet_ns < 2 * grid)
        return at;
    while (4 * grid <= quiet_ns)
        grid *= 2;
    return (at + grid - 1) / grid * grid;
}

void zm_serve(zm_io_thread *t, zm_socket *s)
{
    if (ZM_UNLIKELY(s->beginner))
        zm_order_earlier_locked(s);
    int64_t now = zm_now_ns();
    if (s->driven) {
        s->parked = now - s->waiting_since > PARK_NS;
        zm_io_thread_look_next(t, s, s->parked ? ZM_FOREVER : now + ZM_AWAY_NS);
        zm_lock_give(&s->lock);
        return;
    }
    int64_t touched = s->driven_ns;
    if (touched < s->flushed_ns)
        touched = s->flushed_ns;
    int64_t timer = zm_timers_next(&s->timers);
    if (s->open && is_about(s, now, touched) && !s->work_left && (timer < 0 || timer > now)) {
        int64_t look = zm_sooner(zm_drive_burst_locked(s, now), timer);
        int64_t quiet = s->handshakes ? touched + ZM_STEP_NS
                                      : together(touched + s->quiet_ns, s->quiet_ns);
        zm_io_thread_look_next(t, s, zm_sooner(look, quiet > now ? quiet : now + ZM_AWAY_NS));
        zm_lock_give(&s->lock);
        return;
    }
    zm_drive_for_io_thread_locked(s);
    if (s->closing && s->reap(s))
        return;
    ZM_ASSERT(s->driven || s->work_left || zm_list_empty(&s->wants_recv));
    ZM_ASSERT(s->driven || s->work_left || s->order || zm_list_empty(&s->wants_send));
    if (s->handshakes && zm_spin_allowed())
        zm_io_thread_stay_awake(t, now + EAGER_NS);
    s->look_gap = ZM_LOOK_GAP_FIRST_NS;
    zm_drive_wake_followers_locked(s);
    if (s->work_left || zm_lock_wanted(&s->lock)) {
        /* The application waits for the lock. It has its turn before the next look: whoever takes a
         * lock again at once has it again before the one who was woken runs. */
        int64_t soon = zm_now_ns() + ZM_RETRY_NS;
        timer = zm_timers_next(&s->timers);
        bool busy = s->work_left || s->order || (timer >= 0 && timer < soon);
        zm_io_thread_look_next(
            t, s, busy ? soon : zm_sooner(timer, soon - ZM_RETRY_NS + ZM_AWAY_NS));
        zm_lock_give(&s->lock);
        return;
    }
    zm_io_thread_look_next(t, s, zm_timers_next(&s->timers));
    /* A resolver asks for a look without the lock, after its command: this may have hidden it. */
    if (atomic_load(&s->attention))
        zm_io_thread_look_next(t, s, now);
    else if (ZM_UNLIKELY(s->order || s->held))
        /* What goes first was not to be had. */
        zm_io_thread_look_no_later(t, s, zm_now_ns() + ZM_RETRY_NS);
    zm_io_thread_arm(t, s);
    zm_lock_give(&s->lock);
}
