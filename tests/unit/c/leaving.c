/* A thread leaves a socket that it drove: what was started meanwhile, as the next step of a
 * connect, goes to the kernel before it does. Nobody else need ever come to send it there. */
#include "base/check.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/timer.h"
#include "connection/connection.h"
#include "context/io_thread.h"
#include "context/process.h"
#include "context/signals.h"
#include "driver/driver.h"
#include "driver/driver_private.h"
#include "driver/waitset.h"
#include "model.h"
#include "socket/drive.h"
#include "socket/order.h"
#include "socket/socket.h"
#include "socket/transfer.h"
#include "socket/wakeup.h"

static zm_socket s;
static zm_driver driver;
static int completions; /* each starts something when it is taken in */
static int started; /* and the kernel does not have it */

/* --- the driver, and what goes through it ----------------------------------------------------- */

void zm_driver_submit(zm_driver *d)
{
    CHECK(d == &driver);
    started = 0;
}

void zm_driver_push(zm_driver *d)
{
    zm_driver_submit(d);
}

int zm_transfer_reap_locked(zm_socket *socket)
{
    CHECK(socket == &s);
    if (!completions)
        return 0;
    completions--;
    started++;
    return 1;
}

bool zm_driver_reap_pays(const zm_driver *d)
{
    (void) d;
    return completions > 0;
}

int zm_driver_wait(zm_driver *d, int64_t deadline_ns, int64_t spin_ns)
{
    (void) d, (void) deadline_ns, (void) spin_ns;
    return 0;
}

void zm_driver_wait_prepare(zm_driver *d)
{
    (void) d;
    started = 0; /* wait() hands it over */
}

int zm_driver_fd(const zm_driver *d)
{
    (void) d;
    return -1;
}

bool zm_driver_is_shut(const zm_driver *d)
{
    (void) d;
    return false;
}

bool zm_driver_is_thread_bound(const zm_driver *d)
{
    (void) d;
    return false;
}

void zm_driver_cancel(zm_driver *d, zm_op *op)
{
    (void) d, (void) op;
    abort();
}

/* --- what else it calls ----------------------------------------------------------------------- */

void zm_transfer_arm_some_locked(zm_socket *socket, const zm_conn *except, zm_patience patience)
{
    (void) socket, (void) except, (void) patience;
}

void zm_transfer_flush_some_locked(zm_socket *socket, zm_patience patience)
{
    (void) socket, (void) patience;
    abort(); /* nothing is to be sent */
}

void zm_commands_take_locked(zm_socket *socket)
{
    (void) socket;
    abort(); /* there are none */
}

void zm_reap_ended_slowly_locked(zm_socket *socket)
{
    (void) socket;
    abort(); /* nothing ends */
}

void zm_drive_wake_followers_locked(zm_socket *socket)
{
    (void) socket;
}

void zm_socket_wake(zm_socket *socket)
{
    (void) socket;
    abort();
}

void zm_io_thread_look(zm_socket *socket, int64_t at)
{
    (void) socket, (void) at;
}

void zm_io_thread_pause_locked(zm_socket *socket)
{
    (void) socket;
}

void zm_io_thread_resume_locked(zm_socket *socket)
{
    (void) socket;
    CHECK(!started);
}

void zm_order_look_locked(zm_socket *socket)
{
    (void) socket;
}

void zm_order_leave_locked(zm_socket *socket)
{
    (void) socket;
    abort();
}

void zm_order_begun_locked(zm_socket *socket)
{
    (void) socket;
    abort();
}

void zm_conn_settled_locked(zm_conn *conn)
{
    (void) conn;
    abort();
}

int zm_poll_until(struct pollfd *fds, int count, int64_t until_ns)
{
    (void) fds, (void) count, (void) until_ns;
    abort();
}

bool zm_signals_sleep(zm_sleep where)
{
    (void) where;
    return true;
}

void zm_signals_awake(void)
{
}

int64_t zm_signals_look(void)
{
    return ZM_FOREVER;
}

bool zm_spin_allowed(void)
{
    return true;
}

/* --- the tests -------------------------------------------------------------------------------- */

static bool never(zm_socket *socket)
{
    (void) socket;
    return false;
}

static void start_something(zm_timer *timer)
{
    (void) timer;
    started++;
}

static void leave(bool news)
{
    zm_drive_take_locked(&s);
    zm_drive_leave_locked(&s, news);
    CHECK(!started && !s.driven);
}

static bool no_pull(zm_conn *conn)
{
    (void) conn;
    abort();
}

int main(void)
{
    static const zm_pattern pattern = {.can_recv = never, .can_send = never};
    static const zm_conn_ops ops = {.pull = no_pull};
    static zm_conn conn = {.ops = &ops, .wants_recv = true};
    zm_timer timer = {.due = start_something};
    zm_list *lists[] = {&s.wants_send, &s.wants_recv,      &s.ended, &s.armed,
                        &s.conns,      &s.armed_elsewhere, &s.peers};
    for (size_t i = 0; i < ZM_COUNT(lists); i++)
        zm_list_init(lists[i]);
    s.driver = &driver;
    s.pattern = &pattern;
    zm_socket_lock_take(&s);

    completions = 1;
    leave(true); /* as a poll does, or who waits for connections that it has begun */
    CHECK(!completions);

    CHECK(zm_timers_reserve(&s.timers, 1) == 0);
    zm_timer_set(&s.timers, &timer, zm_now_ns());
    leave(false); /* a connect that is tried again */
    CHECK(!s.timers.count);

    completions = 1;
    CHECK(zm_drive_locked(&s, ZM_FOREVER) == 0);
    CHECK(!completions && !started);

    completions = 1000; /* more than are taken in by one look */
    zm_drive_peek_locked(&s);
    CHECK(completions && !started);

    completions = 1;
    s.bulk = &conn;
    CHECK(zm_drive_locked(&s, ZM_FOREVER) == 0); /* on behalf of a large body */
    CHECK(!completions && !started);

    zm_timers_fini(&s.timers);
    return 0;
}
