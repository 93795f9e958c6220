/* What a context shares out among its sockets: I/O threads, and drivers. */
#include <errno.h>

#include "../base/check.h"
#include "../base/clock.h"
#include "../base/errors.h"
#include "../base/lock.h"
#include "../driver/driver.h"
#include "../driver/driver_private.h"
#include "../socket/socket.h"
#include "../socket/wakeup.h"
#include "context.h"
#include "io_thread.h"
#include "process.h"

enum { SPARE_MS = 100 /* a driver that nobody asked for meanwhile is closed */ };

/* Closes spare drivers that were not needed. Returns when to come back; ZM_FOREVER: no spares. */
static int64_t trim(zm_context *context, int64_t now)
{
    zm_driver *old[ZM_SPARE_DRIVERS];
    uint32_t count = 0;
    zm_context_lock_take(context);
    int64_t until = context->spare_count ? context->spares_until : ZM_FOREVER;
    if (until >= 0 && until <= now) {
        while (context->spare_count)
            old[count++] = context->spares[--context->spare_count];
        until = ZM_FOREVER;
    }
    zm_context_lock_give(context);
    while (count)
        zm_driver_close(old[--count]);
    return until;
}

static const zm_io_work work = {.serve = zm_serve_locked, .idle = trim};

/* The I/O thread for the next socket. 0, -EMTHREAD, -errno. */
static int io_thread_for_next(zm_context *context, zm_io_thread **out_io_thread)
    ZM_NEEDS(zm_a_context)
{
    if (context->io_threads == 0)
        return -EMTHREAD;
    uint32_t count = (uint32_t) context->io_threads;
    uint32_t i = context->next_thread++ % (count < ZM_IO_THREADS_MAX ? count : ZM_IO_THREADS_MAX);
    if (!context->threads[i]) {
        zm_io_thread *io_thread;
        int rc = zm_io_thread_new(context, &work, &io_thread);
        if (rc < 0) {
            ZM_POISON(out_io_thread);
            return rc;
        }
        context->threads[i] = io_thread;
    }
    *out_io_thread = context->threads[i];
    return 0;
}

/* A driver with nothing in flight: a spare one, or a new one. 0 or -errno. */
static int take_driver(zm_context *context, zm_driver **out_driver)
{
    for (;;) {
        zm_context_lock_take(context);
        zm_driver *spare = context->spare_count ? context->spares[--context->spare_count] : NULL;
        zm_context_lock_give(context);
        if (!spare)
            break;
        if (zm_driver_usable(spare)) {
            *out_driver = spare;
            return 0;
        }
        zm_driver_close(spare);
    }
    int rc = zm_driver_open(zm_driver_chosen(), out_driver);
    /* There were rings when the engine started; since then the program may have locked itself in,
     * or reached its limit of locked memory (before Linux 5.12). */
    if (rc == -EPERM || rc == -EACCES || rc == -ENOSYS || rc == -ENOMEM) {
        zm_driver_refused(-rc);
        rc = zm_driver_open(ZM_DRIVER_EPOLL, out_driver);
    }
    return rc;
}

void zm_context_driver_back(zm_context *context, zm_driver *taken)
{
    zm_completion none;
    while (zm_driver_reap(taken, &none, 1))
        ZM_ASSERT(!"a request outlived its socket");
    zm_context_lock_take(context);
    bool room = context->spare_count < ZM_SPARE_DRIVERS;
    if (room) {
        context->spares[context->spare_count++] = taken;
        context->spares_until = zm_now_ns() + SPARE_MS * ZM_MS;
        for (int i = 0; i < ZM_IO_THREADS_MAX; i++)
            if (context->threads[i]) {
                zm_io_thread_plan(context->threads[i], context->spares_until);
                break;
            }
    }
    zm_context_lock_give(context);
    if (!room)
        zm_driver_close(taken);
}

void zm_context_socket_gone(zm_context *context)
{
    /* The last touch: term() may free everything as soon as the count is 0. The words themselves
     * stay valid, since slots do. */
    atomic_fetch_sub(&context->socket_count, 1);
    atomic_fetch_add(&context->departures, 1);
    zm_futex_wake(&context->departures, 1 << 20);
}

int zm_socket_need_driver_locked(zm_socket *s)
{
    if (s->driver)
        return 0;
    zm_io_thread *io_thread = NULL;
    zm_context_lock_take(s->context);
    int rc = io_thread_for_next(s->context, &io_thread);
    zm_context_lock_give(s->context);
    if (rc < 0)
        return rc;
    zm_driver *driver;
    rc = take_driver(s->context, &driver);
    if (rc < 0)
        return rc;
    s->driver = driver;
    rc = zm_io_thread_add_locked(io_thread, s);
    if (rc == 0 && s->public_fd >= 0)
        rc = zm_socket_fd_extend_locked(s);
    if (rc < 0) {
        zm_io_thread_remove_locked(s);
        zm_context_driver_back(s->context, s->driver);
        s->driver = NULL;
        return rc;
    }
    /* A thread may sleep on `seq` already, of a socket that had no driver. */
    zm_drive_wake_followers_locked(s);
    return 0;
}
