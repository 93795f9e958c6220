/* zmq_poller_...: a list of what is polled, kept between the calls. */
#include "capi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    void *socket; /* NULL: the descriptor is meant */
    int fd;
    void *user_data;
    short events;
} entry;

typedef struct poller {
    entry *entries;
    size_t count, capacity;
} poller;

enum { EVENTS = ZMQ_POLLIN | ZMQ_POLLOUT | ZMQ_POLLERR | ZMQ_POLLPRI };

/* The poller behind a handle, locked; NULL, errno EFAULT: there is none. */
static poller *poller_lock(const void *handle, capi_cell **out_cell) ZM_TAKES_IF(true, capi_a_cell)
{
    *out_cell = capi_cell_lock(handle, CAPI_POLLER);
    if (*out_cell)
        return (poller *) atomic_load(&(*out_cell)->object);
    errno = EFAULT;
    return NULL;
}

static int poller_unlock(capi_cell *cell, int rc) ZM_GIVES(capi_a_cell)
{
    capi_cell_unlock(cell);
    return capi_answer(rc);
}

static entry *find(poller *p, const void *socket, int fd) ZM_NEEDS(capi_a_cell)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->entries[i].socket == socket && (socket || p->entries[i].fd == fd))
            return &p->entries[i];
    return NULL;
}

CAPI void *zmq_poller_new(void)
{
    poller *p = calloc(1, sizeof *p);
    if (!p) {
        errno = ENOMEM;
        return NULL;
    }
    capi_cell *cell = capi_cell_new(CAPI_POLLER);
    if (cell)
        atomic_store(&cell->object, (uintptr_t) p);
    else
        free(p);
    return cell;
}

CAPI int zmq_poller_destroy(void **poller_p)
{
    capi_cell *cell;
    if (!poller_p)
        return capi_refuse(EFAULT);
    poller *p = poller_lock(*poller_p, &cell);
    if (!p)
        return -1;
    capi_cell_end(cell, CAPI_POLLER);
    capi_cell_unlock(cell);
    free(p->entries);
    free(p);
    capi_cell_free(cell);
    *poller_p = NULL;
    return 0;
}

CAPI int zmq_poller_size(void *handle)
{
    capi_cell *cell;
    poller *p = poller_lock(handle, &cell);
    if (!p)
        return -1;
    return poller_unlock(cell, (int) p->count);
}

static int add(poller *p, entry one) ZM_NEEDS(capi_a_cell)
{
    if (one.events & ~EVENTS || find(p, one.socket, one.fd))
        return -EINVAL;
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 8;
        entry *entries = realloc(p->entries, capacity * sizeof *entries);
        if (!entries)
            return -ENOMEM;
        p->entries = entries;
        p->capacity = capacity;
    }
    p->entries[p->count++] = one;
    return 0;
}

static int change(poller *p, const void *socket, int fd, short events) ZM_NEEDS(capi_a_cell)
{
    entry *one = find(p, socket, fd);
    if (!one || events & ~EVENTS)
        return -EINVAL;
    one->events = events;
    return 0;
}

static int take(poller *p, const void *socket, int fd) ZM_NEEDS(capi_a_cell)
{
    entry *one = find(p, socket, fd);
    if (!one)
        return -EINVAL;
    size_t behind = (size_t) (p->entries + p->count - (one + 1));
    memmove(one, one + 1, behind * sizeof *one);
    p->count--;
    return 0;
}

/* A closed socket can still be taken out. */
static int check(const void *socket)
{
    capi_socket s;
    return capi_socket_of(socket, &s) ? 0 : -ENOTSOCK;
}

CAPI int zmq_poller_add(void *handle, void *socket, void *user_data, short events)
{
    capi_cell *cell;
    poller *p = poller_lock(handle, &cell);
    if (!p)
        return -1;
    int rc = check(socket);
    if (rc == 0)
        rc = add(p, (entry){.socket = socket, .fd = -1, .user_data = user_data, .events = events});
    return poller_unlock(cell, rc);
}

CAPI int zmq_poller_modify(void *handle, void *socket, short events)
{
    capi_cell *cell;
    poller *p = poller_lock(handle, &cell);
    if (!p)
        return -1;
    int rc = check(socket);
    return poller_unlock(cell, rc < 0 ? rc : change(p, socket, -1, events));
}

CAPI int zmq_poller_remove(void *handle, void *socket)
{
    capi_cell *cell;
    poller *p = poller_lock(handle, &cell);
    if (!p)
        return -1;
    bool known = socket && find(p, socket, -1);
    int rc = known ? 0 : check(socket);
    return poller_unlock(cell, rc < 0 ? rc : take(p, socket, -1));
}

CAPI int zmq_poller_add_fd(void *handle, zmq_fd_t fd, void *user_data, short events)
{
    capi_cell *cell;
    poller *p = poller_lock(handle, &cell);
    if (!p)
        return -1;
    entry one = {.fd = fd, .user_data = user_data, .events = events};
    return poller_unlock(cell, fd < 0 ? -EBADF : add(p, one));
}

CAPI int zmq_poller_modify_fd(void *handle, zmq_fd_t fd, short events)
{
    capi_cell *cell;
    poller *p = poller_lock(handle, &cell);
    if (!p)
        return -1;
    return poller_unlock(cell, fd < 0 ? -EBADF : change(p, NULL, fd, events));
}

CAPI int zmq_poller_remove_fd(void *handle, zmq_fd_t fd)
{
    capi_cell *cell;
    poller *p = poller_lock(handle, &cell);
    if (!p)
        return -1;
    return poller_unlock(cell, fd < 0 ? -EBADF : take(p, NULL, fd));
}

CAPI int zmq_poller_fd(void *handle, zmq_fd_t *fd)
{
    capi_cell *cell;
    poller *p = poller_lock(handle, &cell);
    if (!p)
        return -1;
    /* Only a poller of thread-safe sockets has one, and there are none of those. */
    return poller_unlock(cell, fd ? -EINVAL : -EFAULT);
}

/* --- waiting --------------------------------------------------------------------------------- */

/* What the poller had when the wait began: it may change meanwhile. */
typedef struct snapshot {
    entry *entries;
    zmq_pollitem_t *items;
    int count;
} snapshot;

static int snapshot_take(const poller *p, snapshot *out) ZM_NEEDS(capi_a_cell)
{
    out->count = (int) p->count;
    out->entries = malloc((p->count + 1) * sizeof *out->entries);
    out->items = malloc((p->count + 1) * sizeof *out->items);
    if (!out->entries || !out->items) {
        free(out->entries);
        free(out->items);
        return -ENOMEM;
    }
    for (int i = 0; i < out->count; i++) {
        out->entries[i] = p->entries[i];
        out->items[i] = (zmq_pollitem_t){
            .socket = p->entries[i].socket, .fd = p->entries[i].fd, .events = p->entries[i].events};
    }
    return 0;
}

static bool waits_for_something(const poller *p) ZM_NEEDS(capi_a_cell)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->entries[i].events)
            return true;
    return false;
}

CAPI int zmq_poller_wait_all(void *handle, zmq_poller_event_t *events, int n_events, long timeout)
{
    capi_cell *cell;
    poller *p = poller_lock(handle, &cell);
    if (!p)
        return -1;
    snapshot shot = {0};
    int rc = events ? 0 : -EFAULT;
    if (rc == 0 && n_events < 0)
        rc = -EINVAL;
    if (rc == 0 && timeout < 0 && !waits_for_something(p))
        rc = -EFAULT; /* it would never end */
    if (rc == 0)
        rc = snapshot_take(p, &shot);
    capi_cell_unlock(cell);
    if (rc < 0)
        return capi_answer(rc);
    rc = capi_poll(shot.items, shot.count, capi_deadline(timeout));
    int found = 0;
    for (int i = 0; rc > 0 && i < shot.count && found < n_events; i++) {
        if (!shot.items[i].revents)
            continue;
        events[found++] = (zmq_poller_event_t){.socket = shot.entries[i].socket,
                                               .fd = shot.entries[i].fd,
                                               .user_data = shot.entries[i].user_data,
                                               .events = shot.items[i].revents};
    }
    free(shot.entries);
    free(shot.items);
    if (rc < 0)
        return capi_answer(rc);
    return found ? found : capi_refuse(EAGAIN);
}

CAPI int zmq_poller_wait(void *handle, zmq_poller_event_t *event, long timeout)
{
    int rc = zmq_poller_wait_all(handle, event, 1, timeout);
    if (rc < 0 && event && errno != EFAULT)
        *event = (zmq_poller_event_t){.fd = -1};
    return rc > 0 ? 0 : rc;
}
