/* The I/O thread visits sockets that nobody drives: when their driver calls, or at a time. It is
 * its context's. When it looks at which socket is guarded by its own lock, which comes after the
 * socket's. */
#ifndef ZM_CONTEXT_IO_THREAD_H
#define ZM_CONTEXT_IO_THREAD_H

#include "../objects.h"

/* What an I/O thread does, of which it knows nothing itself. */
typedef struct zm_io_work {
    /* Looks after `s`, which is locked, and sets when to look next; unlocks it. */
    void (*serve)(zm_io_thread *io_thread, zm_socket *s);
    /* At each wake. Returns when to wake for it again; ZM_FOREVER: no need. */
    int64_t (*idle)(zm_context *context, int64_t now);
} zm_io_work;

/* Starts the thread. 0 or -errno. */
int zm_io_thread_new(zm_context *context, const zm_io_work *work, zm_io_thread **out_io_thread)
    ZM_NEEDS(zm_a_context);
/* For zm_io_work, which runs before the thread sleeps: the next look at `s`, which is locked;
 * ZM_FOREVER: when the driver calls. */
void zm_io_thread_look_next(zm_io_thread *io_thread, zm_socket *s, int64_t at);
/* Unless an earlier one is set. */
void zm_io_thread_look_no_later(zm_io_thread *io_thread, zm_socket *s, int64_t at);
/* The driver of `s` calls with its next completion. */
void zm_io_thread_arm_locked(zm_io_thread *io_thread, zm_socket *s) ZM_LOCKED;
/* Does not sleep before that, unless the machine is crowded. */
void zm_io_thread_stay_awake(zm_io_thread *io_thread, int64_t until);

/* Ends the thread and frees it; no socket is with it any more. */
void zm_io_thread_free(zm_io_thread *taken);
int zm_io_thread_add_locked(zm_io_thread *io_thread, zm_socket *s) ZM_LOCKED;
void zm_io_thread_remove_locked(zm_socket *s) ZM_LOCKED;
/* zm_io_work.idle is to be called at `at` (or earlier). */
void zm_io_thread_plan(zm_io_thread *io_thread, int64_t at);
/* The I/O thread is to look after `s` at `at` (or earlier). */
void zm_io_thread_look(zm_socket *s, int64_t at);
/* An application thread is about to wait in `s`. */
void zm_io_thread_pause_locked(zm_socket *s) ZM_LOCKED;
/* An application thread stops driving `s`: what is left to do by time is the I/O thread's. */
void zm_io_thread_resume_locked(zm_socket *s) ZM_LOCKED;

/* serve.c: what it does for a socket. */
void zm_serve_locked(zm_io_thread *io_thread, zm_socket *s) ZM_GIVES(zm_a_socket);

#endif
