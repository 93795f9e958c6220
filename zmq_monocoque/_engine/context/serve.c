/* What an I/O thread does for a socket while its application is away. A socket that its application
 * drove a moment ago is left alone, and visited again later. A socket in which a thread sleeps is
 * left alone until that thread leaves it, since the thread does everything itself. */
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../base/timer.h"
#include "../socket/drive.h"
#include "../socket/order.h"
#include "../socket/pacing.h"
#include "../socket/socket.h"
#include "../socket/transfer.h"
#include "../socket/wakeup.h"
#include "context.h"
#include "io_thread.h"
#include "process.h"

enum { EAGER_NS = 60 * 1000 }; /* after a step of a handshake: the next one comes soon */

void zm_serve_locked(zm_io_thread *t, zm_socket *s)
{
    if (ZM_UNLIKELY(s->beginner))
        zm_order_earlier_locked(s);
    int64_t now = zm_now_ns();
    if (s->driven) {
        s->parked = zm_presence_parks(now, s->waiting_since);
        zm_io_thread_look_next(t, s, s->parked ? ZM_FOREVER : now + ZM_AWAY_NS);
        zm_socket_lock_give(s);
        return;
    }
    int64_t touched = s->presence.driven_ns;
    if (touched < s->burst.flushed_ns)
        touched = s->burst.flushed_ns;
    int64_t timer = zm_timers_next(&s->timers);
    if (s->open && zm_presence_lasts(&s->presence, now, touched, s->handshakes) && !s->work_left
        && (timer < 0 || timer > now)) {
        int64_t look = zm_sooner(zm_drive_burst_locked(s, now), timer);
        int64_t away = zm_presence_look(&s->presence, now, touched, s->handshakes);
        zm_io_thread_look_next(t, s, zm_sooner(look, away));
        zm_socket_lock_give(s);
        return;
    }
    zm_drive_for_io_thread_locked(s);
    if (s->closing && s->reap(s)) {
        zm_socket_lock_is_given();
        return;
    }
    ZM_ASSERT(s->driven || s->work_left || zm_list_empty(&s->wants_recv));
    ZM_ASSERT(s->driven || s->work_left || s->order || zm_list_empty(&s->wants_send));
    if (s->handshakes && zm_spin_allowed())
        zm_io_thread_stay_awake(t, now + EAGER_NS);
    s->burst.look_gap = ZM_LOOK_GAP_FIRST_NS;
    zm_drive_wake_followers_locked(s);
    if (s->work_left || zm_lock_wanted(&s->lock)) {
        /* The application waits for the lock, and gets it before the next look. If this thread took
         * the lock again at once, it would have it before the thread that was woken runs. */
        int64_t soon = zm_now_ns() + ZM_RETRY_NS;
        timer = zm_timers_next(&s->timers);
        bool busy = s->work_left || s->order || (timer >= 0 && timer < soon);
        zm_io_thread_look_next(t, s,
                               busy ? soon : zm_sooner(timer, soon - ZM_RETRY_NS + ZM_AWAY_NS));
        zm_socket_lock_give(s);
        return;
    }
    zm_io_thread_look_next(t, s, zm_timers_next(&s->timers));
    /* A resolver posts its command and then asks for a look, both without the lock: the line above
     * may have replaced its look by a later one. */
    if (atomic_load(&s->attention))
        zm_io_thread_look_next(t, s, now);
    else if (ZM_UNLIKELY(s->order || s->held))
        /* What goes first was not to be had. */
        zm_io_thread_look_no_later(t, s, zm_now_ns() + ZM_RETRY_NS);
    zm_io_thread_arm_locked(t, s);
    zm_socket_lock_give(s);
}
