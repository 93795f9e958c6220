/* How a socket is told that there is something: by other threads, with commands; to the
 * application, by its descriptor; and of what has ended. A command belongs to the one that posts
 * it, and is not posted again before it was taken. Posting and waking need no lock. */
#ifndef ZM_SOCKET_WAKEUP_H
#define ZM_SOCKET_WAKEUP_H

#include <errno.h>

#include "../base/check.h"
#include "../base/errors.h"
#include "../base/list.h"
#include "../context/context.h"
#include "socket.h"

struct zm_command {
    struct zm_command *next;
    _Atomic bool posted; /* in a mailbox and not taken yet */
    void (*run)(zm_socket *s, struct zm_command *command); /* once it is taken; `s` is locked */
};

/* In the list of a socket, to be freed where nobody up the stack can hold it any more. */
typedef struct zm_ended {
    zm_list link; /* socket->ended */
    void (*reap)(struct zm_ended *ended); /* it is out of the list, and may come in again */
} zm_ended;

/* What has ended since the last time is freed; not with a connection or peer in hand. */
void zm_reap_ended_slowly_locked(zm_socket *s) ZM_LOCKED;
static inline void zm_reap_ended_locked(zm_socket *s) ZM_LOCKED
{
    if (ZM_UNLIKELY(!zm_list_empty(&s->ended)))
        zm_reap_ended_slowly_locked(s);
}

void zm_drive_wake_followers_locked(zm_socket *s) ZM_LOCKED;
void zm_commands_take_locked(zm_socket *s) ZM_LOCKED;
/* Leaves a command, and wakes the threads that wait. The caller keeps the target alive, as by
 * link->lock. */
bool zm_socket_post(zm_socket *s, zm_command *command); /* false: it is in the mailbox already */
/* Something may have changed: the threads that wait look again. Any thread; no lock needed. */
void zm_socket_wake(zm_socket *s);
/* A look at what there is has ended before the end: whoever waits looks again, and who is to wait
 * at a descriptor that is made later, too, whoever takes the commands in meanwhile. */
void zm_socket_look_again_locked(zm_socket *s) ZM_LOCKED;
/* The application can see something new: whoever watches from outside is told, unless
 * it is this thread. */
void zm_socket_notify_locked(zm_socket *s) ZM_LOCKED;
/* The same, also if it is this thread. */
void zm_socket_tell_locked(zm_socket *s) ZM_LOCKED;
/* The thread is in a call of another socket, or in one after which it does not read EVENTS: what
 * comes meanwhile is told to it as well. */
static inline void zm_socket_in_passing_locked(zm_socket *s) ZM_LOCKED
{
    s->watcher = ZM_NO_THREAD;
}
int zm_socket_fd_locked(zm_socket *s) ZM_LOCKED;
/* The driver came after the descriptor was made. */
int zm_socket_fd_extend_locked(zm_socket *s) ZM_LOCKED;
/* EVENTS is being read: the descriptor is quiet until there is something newer. */
void zm_socket_fd_clear_locked(zm_socket *s) ZM_LOCKED;
/* A thread that does not drive is about to sleep on a descriptor, as others may: which one, or
 * -errno. It gives *out_since back when it leaves. */
int zm_socket_poller_enters_locked(zm_socket *s, uint32_t *out_since) ZM_LOCKED;
void zm_socket_poller_leaves_locked(zm_socket *s, uint32_t since, bool was_told) ZM_LOCKED;

/* Of a socket that is closed, or whose context ends: -ENOTSOCK or -ETERM. */
static inline int zm_socket_shut_locked(zm_socket *s) ZM_LOCKED
{
    if (!s->open)
        return -ENOTSOCK;
    s->told = true;
    return -ETERM;
}
/* Each call begins so: takes commands in. 0, or as zm_socket_shut_locked(). */
static inline int zm_socket_enter_locked(zm_socket *s) ZM_LOCKED
{
    if (ZM_UNLIKELY(atomic_load_explicit(&s->attention, memory_order_acquire)))
        zm_commands_take_locked(s);
    if (ZM_UNLIKELY(!s->open)
        || ZM_UNLIKELY(atomic_load_explicit(&s->context->ended, memory_order_relaxed)))
        return zm_socket_shut_locked(s);
    return 0;
}

#endif
