/* zmq_poll: many sockets and descriptors at once. The sockets are driven from here while the thread
 * sleeps on the descriptors of their drivers; a socket that another thread drives, or that has no
 * driver, is watched by its doorbell. */
#include "internal.h"

enum { LOCAL_ITEMS = 32 };

typedef struct watch {
    zm_socket *socket; /* NULL: a plain descriptor */
    uint32_t generation;
    bool driving; /* zm_drive_take_locked() was called */
    bool counted; /* in socket->pollers */
} watch;

static short check_socket(zm_socket *s, short wanted)
{
    return (short) (zm_socket_events_locked(s) & wanted);
}

/* Looks at one socket. `drive`: takes in what the kernel has first. */
static int look(zm_pollitem *item, watch *w, bool drive)
{
    zm_socket *s = w->socket;
    if (!zm_socket_lock_generation(s, w->generation))
        return -ENOTSOCK;
    int rc = zm_socket_enter_locked(s);
    if (rc == 0) {
        item->revents = check_socket(s, item->events);
        if (!item->revents && drive) {
            zm_socket_driven_locked(s, zm_now_ns());
            s->waits_inside = false;
            zm_drive_once_locked(s);
            item->revents = check_socket(s, item->events);
        }
    }
    zm_lock_give(&s->lock);
    return rc;
}

static int look_at_all(zm_pollitem *items, watch *watches, int count, bool drive)
{
    int ready = 0;
    for (int i = 0; i < count; i++) {
        if (!watches[i].socket)
            continue;
        int rc = look(&items[i], &watches[i], drive);
        if (rc < 0)
            return rc;
        ready += items[i].revents != 0;
    }
    return ready;
}

/* Readies one socket for sleeping. 1: it has something already; 0; -errno. */
static int prepare(const zm_pollitem *item, watch *w, struct pollfd *fd, int64_t *until)
{
    zm_socket *s = w->socket;
    if (!zm_socket_lock_generation(s, w->generation))
        return -ENOTSOCK;
    int rc = 0;
    fd->events = POLLIN;
    if (s->driver && !s->driven) {
        zm_drive_take_locked(s);
        s->waiting_since = zm_now_ns();
        zm_driver_submit(s->driver);
        w->driving = true;
        fd->fd = zm_driver_fd(s->driver);
        *until = zm_sooner(*until, s->waiting_until);
        rc = zm_driver_ready(s->driver);
    } else {
        int bell = zm_socket_doorbell_locked(s);
        if (bell < 0) {
            rc = bell;
        } else {
            s->pollers++;
            w->counted = true;
            fd->fd = bell;
        }
    }
    /* What came since the last look, taken in by whomever, is seen here or rings from here on. */
    if (rc == 0 && (atomic_load(&s->attention) || check_socket(s, item->events)))
        rc = 1;
    zm_lock_give(&s->lock);
    return rc;
}

static void finish(watch *w)
{
    zm_socket *s = w->socket;
    if (!w->driving && !w->counted)
        return;
    /* The generation may have moved; what prepare() took keeps the socket from being reaped. */
    zm_lock_take(&s->lock);
    if (w->driving)
        zm_drive_leave_locked(s);
    if (w->counted) {
        s->pollers--;
        zm_socket_doorbell_clear_locked(s);
        if (!s->pollers && s->public_fd < 0)
            atomic_store(&s->bell_wanted, false);
    }
    zm_socket_driven_locked(s, zm_now_ns());
    w->driving = w->counted = false;
    zm_socket_leave(s);
}

static int plain_descriptors(zm_pollitem *items, const watch *watches, const struct pollfd *fds,
                             int count)
{
    int ready = 0;
    for (int i = 0; i < count; i++) {
        if (watches[i].socket)
            continue;
        short events = fds[i].revents, seen = 0;
        seen |= events & POLLIN ? ZM_POLLIN : 0;
        seen |= events & POLLOUT ? ZM_POLLOUT : 0;
        seen |= events & POLLPRI ? ZM_POLLPRI : 0;
        seen |= events & ~(POLLIN | POLLOUT | POLLPRI) ? ZM_POLLERR : 0;
        items[i].revents = seen;
        ready += seen != 0;
    }
    return ready;
}

static void plain_setup(const zm_pollitem *item, struct pollfd *fd)
{
    fd->fd = item->fd;
    fd->events = (short) ((item->events & ZM_POLLIN ? POLLIN : 0)
                          | (item->events & ZM_POLLOUT ? POLLOUT : 0)
                          | (item->events & ZM_POLLPRI ? POLLPRI : 0));
}

/* One round of sleeping. Ready items, 0, or -errno. */
static int round_of(zm_pollitem *items, watch *watches, struct pollfd *fds, int count,
                    int64_t deadline_ns)
{
    int64_t until = deadline_ns;
    bool now = false;
    int rc = 0, prepared = 0;
    for (; prepared < count && rc >= 0; prepared++) {
        fds[prepared].revents = 0;
        if (!watches[prepared].socket) {
            plain_setup(&items[prepared], &fds[prepared]);
            continue;
        }
        rc = prepare(&items[prepared], &watches[prepared], &fds[prepared], &until);
        now |= rc == 1;
    }
    if (rc >= 0)
        rc = zm_poll_until(fds, count, now ? 0 : until);
    int slept = rc;
    for (int i = 0; i < prepared; i++)
        if (watches[i].socket)
            finish(&watches[i]);
    if (slept < 0 && slept != -EINTR)
        return slept;
    int ready = slept == -EINTR ? 0 : plain_descriptors(items, watches, fds, count);
    rc = look_at_all(items, watches, count, false);
    if (rc < 0)
        return rc;
    ready += rc;
    return ready == 0 && slept == -EINTR ? -EINTR : ready;
}

static int poll_all(zm_pollitem *items, watch *watches, struct pollfd *fds, int count,
                    int64_t deadline_ns)
{
    int ready = look_at_all(items, watches, count, true);
    bool plain = false;
    for (int i = 0; i < count; i++)
        plain |= watches[i].socket == NULL;
    if (ready != 0 && !plain)
        return ready;
    if (ready < 0)
        return ready;
    if (ready > 0)
        deadline_ns = 0; /* only what the plain descriptors say is missing */
    int64_t look = zm_now_ns() + ZM_SIGNAL_LOOK_NS;
    ready = round_of(items, watches, fds, count,
                     deadline_ns >= 0 && deadline_ns < look ? deadline_ns : look);
    if (ready != 0)
        return ready;
    return deadline_ns >= 0 && zm_now_ns() >= deadline_ns ? 0 : -EINTR;
}

int zm_poll(zm_pollitem *items, int count, int64_t deadline_ns)
{
    watch local_watches[LOCAL_ITEMS], *watches = local_watches;
    struct pollfd local_fds[LOCAL_ITEMS], *fds = local_fds;
    if (count < 0)
        return -EINVAL;
    if (count > LOCAL_ITEMS) {
        watches = zm_alloc((size_t) count * sizeof *watches);
        fds = zm_alloc((size_t) count * sizeof *fds);
    }
    int rc = watches && fds ? 0 : -ENOMEM;
    for (int i = 0; i < count && rc == 0; i++) {
        watches[i] = (watch){0};
        items[i].revents = 0;
        if (items[i].socket == -1)
            continue;
        watches[i].socket = zm_socket_find(items[i].socket, &watches[i].generation);
        if (!watches[i].socket)
            rc = -ENOTSOCK;
    }
    if (rc == 0)
        rc = poll_all(items, watches, fds, count, deadline_ns);
    if (watches != local_watches)
        zm_free(watches);
    if (fds != local_fds)
        zm_free(fds);
    return rc;
}

int64_t zm_clock_ns(void)
{
    return zm_now_ns();
}
