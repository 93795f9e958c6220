/* zmq_poll: many sockets and descriptors at once. The sockets are driven from here while the thread
 * sleeps on the descriptors of their drivers; a socket that another thread drives, or that has no
 * driver, is watched by its signaler. */
#include "poll.h"

#include <errno.h>

#include "../api.h"
#include "../base/alloc.h"
#include "../base/clock.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../context/handles.h"
#include "../context/signals.h"
#include "../driver/driver.h"
#include "../driver/waitset.h"
#include "drive.h"
#include "order.h"
#include "pacing.h"
#include "socket.h"
#include "wakeup.h"

enum { LOCAL_ITEMS = 32, ASKED_AT_ONCE = 8 };

typedef struct watch {
    zm_socket *socket; /* NULL: a plain descriptor */
    uint32_t generation;
    bool driving; /* zm_drive_take_locked() was called */
    bool counted; /* in socket->pollers */
    uint32_t since; /* what that is given back with */
    bool silent; /* the kernel was asked already, and has nothing for the driver */
} watch;

static short check_socket(zm_socket *s, short wanted)
{
    return (short) ((wanted & ZM_POLLIN && s->pattern->can_recv(s) ? ZM_POLLIN : 0)
                    | (wanted & ZM_POLLOUT && s->pattern->can_send(s) ? ZM_POLLOUT : 0));
}

/* A socket that lacks something of what is wanted, while others are ready: may a look at the kernel
 * bring it? */
static bool may_have_news(const zm_socket *s) ZM_LOCKED
{
    return s->driver && !s->driven
           && (zm_driver_reap_pays(s->driver) || !zm_list_empty(&s->wants_recv)
               || !zm_list_empty(&s->wants_send));
}

static bool lacks(const zm_pollitem *item)
{
    return item->events & ~item->revents & (ZM_POLLIN | ZM_POLLOUT);
}

/* Whether a look at a socket that lacks something takes in what the kernel has. */
typedef enum look_depth { TAKEN_IN, NEWS, KERNEL } look_depth;

/* The descriptor by which the kernel can be asked for it, among others; -1: there is none. */
static int asked_by(const zm_socket *s, const zm_pollitem *item) ZM_LOCKED
{
    bool asks = lacks(item) && s->driver && !s->driven && !zm_driver_is_thread_bound(s->driver);
    return asks ? zm_driver_fd(s->driver) : -1;
}

/* The kernel was asked, and there is nothing to be started: a look would find nothing. */
static bool is_silent(const zm_socket *s, const watch *w) ZM_LOCKED
{
    return w->silent && s->driver && !zm_driver_ready(s->driver) && !s->beginner && !s->held
           && zm_list_empty(&s->wants_recv) && zm_list_empty(&s->wants_send);
}

/* `asked` may be NULL. */
static int look(zm_pollitem *item, const watch *w, struct pollfd *asked, look_depth depth)
{
    zm_socket *s = w->socket;
    if (!zm_socket_lock_generation(s, w->generation))
        return -ENOTSOCK;
    int rc = zm_socket_enter_locked(s);
    if (rc == 0) {
        item->revents = check_socket(s, item->events);
        if (lacks(item) && (depth == KERNEL || (depth == NEWS && may_have_news(s)))) {
            zm_presence_drives(&s->presence, zm_now_ns());
            s->waits_inside = false;
            if (is_silent(s, w)) {
                zm_burst_end(&s->burst);
            } else {
                zm_drive_once_locked(s);
                item->revents = check_socket(s, item->events);
            }
        }
        if (asked)
            asked->fd = asked_by(s, item);
    }
    zm_socket_lock_give(s);
    return rc;
}

/* `asked`: NULL, or where the descriptors go by which the kernel can be asked for them. */
static int look_at_all(zm_pollitem *items, watch *watches, struct pollfd *asked, int count,
                       look_depth depth)
{
    int ready = 0;
    for (int i = 0; i < count; i++) {
        if (asked)
            asked[i] = (struct pollfd){.fd = -1, .events = POLLIN};
        if (!watches[i].socket)
            continue;
        int rc = look(&items[i], &watches[i], asked ? &asked[i] : NULL, depth);
        if (rc < 0)
            return rc;
        ready += items[i].revents != 0;
    }
    return ready;
}

/* Before a look at many sockets: one poll() for the descriptors of all drivers, where each driver
 * would ask the kernel by itself. */
static void ask_at_once(watch *watches, struct pollfd *asked, int count)
{
    bool asks = false;
    for (int i = 0; i < count; i++)
        asks |= asked[i].fd >= 0;
    if (asks && zm_poll_until(asked, count, 0) >= 0)
        for (int i = 0; i < count; i++)
            watches[i].silent = asked[i].fd >= 0 && !asked[i].revents;
}

/* Readies one socket for sleeping. 1: it has something already; 0; -errno. */
static int prepare(const zm_pollitem *item, watch *w, struct pollfd *fd, int64_t now,
                   int64_t *until)
{
    zm_socket *s = w->socket;
    if (!zm_socket_lock_generation(s, w->generation))
        return -ENOTSOCK;
    int rc = 0;
    fd->events = POLLIN;
    fd->revents = 0;
    if (s->driver && !s->driven) {
        zm_drive_take_locked(s);
        s->waiting_since = now;
        zm_driver_submit(s->driver);
        w->driving = true;
        fd->fd = zm_driver_fd(s->driver);
        *until = zm_sooner(*until, s->waiting_until);
        rc = zm_driver_ready(s->driver) ? 1 : zm_socket_is_dead_locked(s) ? -EPERM : 0;
    } else {
        rc = zm_socket_poller_enters_locked(s, &w->since);
        if (rc >= 0) {
            w->counted = true;
            fd->fd = rc;
            rc = 0;
        }
    }
    /* What has come since the last look is seen here; of what comes later, the signaler tells. */
    if (rc == 0 && (atomic_load(&s->attention) || check_socket(s, item->events)))
        rc = 1;
    zm_socket_lock_give(s);
    return rc;
}

static void finish(watch *w, const struct pollfd *fd, int64_t now)
{
    zm_socket *s = w->socket;
    if (!w->driving && !w->counted)
        return;
    /* The generation may have moved; what prepare() took keeps the socket from being reaped. */
    zm_socket_lock_take(s);
    if (w->driving)
        zm_drive_leave_locked(s, fd->revents || zm_driver_ready(s->driver));
    if (w->counted)
        zm_socket_poller_leaves_locked(s, w->since, fd->revents);
    zm_presence_drives(&s->presence, now);
    w->driving = w->counted = false;
    zm_socket_leave(s);
}

static bool is_plain(const zm_pollitem *item)
{
    return item->socket < 0;
}

static void plain_setup(const zm_pollitem *item, struct pollfd *fd)
{
    fd->fd = item->fd;
    fd->revents = 0;
    fd->events = (short) ((item->events & ZM_POLLIN ? POLLIN : 0)
                          | (item->events & ZM_POLLOUT ? POLLOUT : 0)
                          | (item->events & ZM_POLLPRI ? POLLPRI : 0));
}

/* What the kernel said of one. True: something. */
static bool plain_result(zm_pollitem *item, const struct pollfd *fd)
{
    short events = fd->revents, seen = 0;
    seen |= events & POLLIN ? ZM_POLLIN : 0;
    seen |= events & POLLOUT ? ZM_POLLOUT : 0;
    seen |= events & POLLPRI ? ZM_POLLPRI : 0;
    seen |= events & ~(POLLIN | POLLOUT | POLLPRI) ? ZM_POLLERR : 0;
    item->revents = seen;
    return seen != 0;
}

static int plain_descriptors(zm_pollitem *items, const struct pollfd *fds, int count)
{
    int ready = 0;
    for (int i = 0; i < count; i++)
        ready += is_plain(&items[i]) && plain_result(&items[i], &fds[i]);
    return ready;
}

/* Asks the kernel about the plain descriptors, LOCAL_ITEMS at a time. How many are ready. */
static int plain_now(zm_pollitem *items, int count)
{
    struct pollfd fds[LOCAL_ITEMS];
    int at[LOCAL_ITEMS], used = 0, ready = 0;
    for (int i = 0; i < count; i++) {
        if (is_plain(&items[i])) {
            plain_setup(&items[i], &fds[used]);
            at[used++] = i;
        }
        if (used < LOCAL_ITEMS && (i + 1 < count || !used))
            continue;
        int rc = zm_poll_until(fds, used, 0);
        for (int k = 0; k < used && rc > 0; k++)
            ready += plain_result(&items[at[k]], &fds[k]);
        used = 0;
    }
    return ready;
}

/* One round of sleeping. Ready items, 0, or -errno. `fds` has room for one more than `count`. */
static int round_of(zm_pollitem *items, watch *watches, struct pollfd *fds, int count,
                    int64_t deadline_ns)
{
    int64_t until = deadline_ns, now = zm_now_ns();
    bool ready_now = false;
    int rc = 0, prepared = 0;
    for (; prepared < count && rc >= 0; prepared++) {
        if (is_plain(&items[prepared])) {
            plain_setup(&items[prepared], &fds[prepared]);
            continue;
        }
        rc = prepare(&items[prepared], &watches[prepared], &fds[prepared], now, &until);
        ready_now |= rc == 1;
    }
    if (rc >= 0) {
        fds[count] = (struct pollfd){.fd = zm_signals_signaler(), .events = POLLIN};
        bool sleeps = !ready_now && zm_signals_sleep((zm_sleep){.signaler = true});
        rc = zm_poll_until(fds, count + 1, sleeps ? until : 0);
        if (sleeps)
            zm_signals_awake();
    }
    int slept = rc;
    now = zm_now_ns();
    for (int i = 0; i < prepared; i++)
        if (watches[i].socket)
            finish(&watches[i], &fds[i], now);
    if (slept < 0 && slept != -EINTR)
        return slept;
    int ready = slept == -EINTR ? 0 : plain_descriptors(items, fds, count);
    rc = look_at_all(items, watches, NULL, count, TAKEN_IN);
    if (rc < 0)
        return rc;
    ready += rc;
    return ready == 0 && slept == -EINTR ? -EINTR : ready;
}

static int poll_all(zm_pollitem *items, watch *watches, struct pollfd *fds, int count,
                    int64_t deadline_ns)
{
    bool sleeps = deadline_ns < 0 || zm_now_ns() < deadline_ns;
    struct pollfd *asked = count >= ASKED_AT_ONCE ? fds : NULL;
    int ready = look_at_all(items, watches, asked, count, TAKEN_IN);
    if (ready >= 0) {
        if (asked)
            ask_at_once(watches, asked, count);
        ready = look_at_all(items, watches, NULL, count, ready ? NEWS : KERNEL);
    }
    if (ready < 0)
        return ready;
    if (ready > 0 || !sleeps)
        return ready + plain_now(items, count);
    ready = round_of(items, watches, fds, count, zm_sooner(deadline_ns, zm_signals_look()));
    if (ready != 0)
        return ready;
    return deadline_ns >= 0 && zm_now_ns() >= deadline_ns ? 0 : -EINTR;
}

int zm_poll_glance(zm_pollitem *items, int count)
{
    int ready = 0;
    bool plain = false, news = false;
    int64_t now = 0; /* read when it is wanted, and once: there may be many that lack something */
    for (int i = 0; i < count; i++) {
        items[i].revents = 0;
        if (is_plain(&items[i])) {
            plain = true;
            continue;
        }
        zm_socket *s;
        int rc = zm_socket_lock_for(items[i].socket, true, &s);
        if (rc != 0)
            return rc;
        rc = zm_socket_enter_locked(s);
        if (rc == 0) {
            items[i].revents = check_socket(s, items[i].events);
            ready += items[i].revents != 0;
            if (!news && lacks(&items[i])) {
                now = now ? now : zm_now_ns();
                news = zm_is_stale(now, s->presence.driven_ns, count) && may_have_news(s);
            }
        }
        zm_socket_lock_give(s);
        if (rc < 0)
            return rc;
    }
    if (!ready)
        return 0;
    if (news)
        return ZM_LATER;
    return plain ? ready + plain_now(items, count) : ready;
}

int zm_poll(zm_pollitem *items, int count, int64_t deadline_ns)
{
    watch local_watches[LOCAL_ITEMS], *watches = local_watches;
    struct pollfd local_fds[LOCAL_ITEMS + 1], *fds = local_fds; /* and one for signals */
    if (count < 0)
        return -EINVAL;
    if (count > LOCAL_ITEMS) {
        watches = zm_alloc((size_t) count * sizeof *watches);
        fds = zm_alloc((size_t) (count + 1) * sizeof *fds);
    }
    int rc = watches && fds ? 0 : -ENOMEM;
    for (int i = 0; i < count && rc == 0; i++) {
        watches[i] = (watch){0};
        items[i].revents = 0;
        if (is_plain(&items[i]))
            continue;
        watches[i].socket = zm_socket_find(items[i].socket, &watches[i].generation);
        if (!watches[i].socket)
            rc = -ENOTSOCK;
    }
    if (rc == 0) {
        zm_order_finish(NULL, true);
        rc = poll_all(items, watches, fds, count, deadline_ns);
    }
    if (watches != local_watches)
        zm_free(watches);
    if (fds != local_fds)
        zm_free(fds);
    return rc;
}
