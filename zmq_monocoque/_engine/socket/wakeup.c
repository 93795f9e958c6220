/* How a socket is told that there is something to look at: commands in its mailbox, from other
 * threads; the threads that sleep in it; and the threads that watch its descriptors from
 * outside. */
#include "wakeup.h"

#include "../base/check.h"
#include "../base/fds.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../driver/driver.h"
#include "../driver/driver_private.h"
#include "../driver/waitset.h"
#include "socket.h"

/* --- commands -------------------------------------------------------------------------------- */

static void notify_pollers(zm_socket *s)
{
    if (!atomic_load(&s->pollers))
        return;
    atomic_fetch_add(&s->tells, 1); /* before it is heard: who leaves then sees whom it was for */
    zm_signaler_set(atomic_load(&s->signaler));
}

/* The signal first: it may be heard once more than there was a reason to, but never for ever. */
static void notify_watchers(zm_socket *s)
{
    notify_pollers(s);
    int fd = atomic_load(&s->public_fd);
    if (fd >= 0) {
        zm_waitset_signal_set(fd, s->public_ready);
        atomic_store(&s->notified, true);
    }
}

void zm_socket_wake(zm_socket *s)
{
    atomic_store(&s->attention, 1);
    /* Who spins sees it, even if another thread takes the commands in first. */
    atomic_fetch_add(&s->seq, 1);
    /* Pairs with the sleeper: it counts itself first and looks at `attention` after that. */
    if (atomic_load(&s->sleeping)) {
        zm_futex_wake(&s->seq, 1 << 20);
        zm_driver *driver = atomic_load(&s->wakeable);
        if (driver)
            zm_driver_wake(driver);
    }
    if (atomic_load(&s->has_watchers))
        notify_watchers(s);
}

void zm_socket_look_again_locked(zm_socket *s)
{
    s->unseen = true;
    zm_socket_wake(s);
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

void zm_reap_ended_slowly_locked(zm_socket *s)
{
    for (int steps = 0; !zm_list_empty(&s->ended) && !zm_socket_gives_way_locked(s, steps);
         steps++) {
        zm_ended *ended = ZM_CONTAINER(s->ended.next, zm_ended, link);
        zm_list_remove(&ended->link);
        ended->reap(ended);
    }
    if (!zm_list_empty(&s->ended))
        atomic_store(&s->attention, 1); /* nobody sleeps before it is done */
}

/* The oldest command, taken out. NULL: there is none. */
static zm_command *next_command(zm_socket *s) ZM_LOCKED
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
        if (zm_socket_gives_way_locked(s, steps)) {
            command->next = s->commands_left;
            s->commands_left = command;
            zm_socket_wake(s); /* nobody sleeps before it is taken in, wherever they wait */
            break;
        }
        atomic_store(&command->posted, false);
        command->run(s, command);
    }
    /* A socket that only sends over inproc learns in no other way that a peer is gone. */
    zm_reap_ended_locked(s);
}

/* --- who watches from outside ---------------------------------------------------------------- */

void zm_socket_notify_locked(zm_socket *s)
{
    s->unseen = true;
    s->refused = false;
    /* Threads that wait inside, and this is none of them: the kernel would not tell them. */
    if (ZM_UNLIKELY(s->driven || (s->followers && !s->driver))) {
        zm_socket_wake(s);
        return;
    }
    if (ZM_LIKELY(!atomic_load_explicit(&s->has_watchers, memory_order_relaxed)))
        return;
    if (s->watcher != zm_thread_id())
        notify_watchers(s);
    else
        notify_pollers(s); /* which are other threads */
}

void zm_socket_tell_locked(zm_socket *s)
{
    if (s->public_fd >= 0)
        notify_watchers(s);
}

/* The pollers that nobody has told anything since they came are counted anew with each tell. */
static uint32_t tells_counted(zm_socket *s) ZM_LOCKED
{
    uint32_t tells = atomic_load(&s->tells);
    if (tells != s->fresh_since) {
        s->fresh_since = tells;
        s->fresh = 0;
    }
    return tells;
}

int zm_socket_poller_enters_locked(zm_socket *s, uint32_t *out_since)
{
    ZM_POISON(out_since);
    int fd = atomic_load(&s->signaler);
    if (fd < 0) {
        fd = zm_signaler_open();
        if (fd < 0)
            return fd;
        atomic_store(&s->signaler, fd);
    }
    *out_since = tells_counted(s);
    s->fresh++;
    atomic_fetch_add(&s->pollers, 1);
    atomic_store(&s->has_watchers, true);
    return fd;
}

/* The signaler stays set as long as it is for others, which may not sleep yet: for them it would be
 * lost. Those that were not meant find it set meanwhile, and look once more. */
void zm_socket_poller_leaves_locked(zm_socket *s, uint32_t since, bool was_told)
{
    uint32_t left = atomic_fetch_sub(&s->pollers, 1) - 1, tells = tells_counted(s);
    s->fresh -= since == tells;
    if (was_told && left == s->fresh) {
        zm_signaler_clear(atomic_load(&s->signaler));
        if (left && atomic_load(&s->tells) != tells)
            zm_signaler_set(atomic_load(&s->signaler)); /* it came meanwhile, and may be cleared */
    }
    if (!left && s->public_fd < 0)
        atomic_store(&s->has_watchers, false);
}

void zm_socket_fd_clear_locked(zm_socket *s)
{
    if (atomic_exchange(&s->notified, false))
        zm_waitset_signal_clear(s->public_fd, s->public_ready);
}

int zm_socket_fd_locked(zm_socket *s)
{
    if (s->public_fd >= 0)
        return s->public_fd;
    int fd = zm_waitset_open();
    if (fd < 0)
        return fd;
    int rc = zm_waitset_signal_open(fd, &s->public_ready);
    if (rc == 0 && s->driver)
        rc = zm_waitset_add(fd, zm_driver_fd(s->driver), NULL);
    if (rc < 0) {
        zm_fd_close(fd);
        zm_waitset_signal_close(s->public_ready);
        s->public_ready = NULL;
        return rc;
    }
    atomic_store(&s->public_fd, fd);
    atomic_store(&s->has_watchers, true);
    /* For what came before there was anybody to notify, if a call has taken it in since, too. */
    if (s->unseen || atomic_load(&s->attention) || atomic_load(&s->context->ended))
        notify_watchers(s);
    return fd;
}

int zm_socket_fd_extend_locked(zm_socket *s)
{
    return zm_waitset_add(s->public_fd, zm_driver_fd(s->driver), NULL);
}

void zm_drive_wake_followers_locked(zm_socket *s)
{
    notify_pollers(s);
    if (!s->followers)
        return;
    atomic_fetch_add(&s->seq, 1);
    if (atomic_load(&s->sleeping)) /* else they spin, and see it */
        zm_futex_wake(&s->seq, 1 << 20);
}
