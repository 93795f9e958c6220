/* Driving a socket: one thread at a time takes in what is complete and starts what is to be done;
 * it may wait in the kernel meanwhile, without the lock. Those that wait give up the lock. */
#ifndef ZM_SOCKET_DRIVE_H
#define ZM_SOCKET_DRIVE_H

#include "../objects.h"

/* Takes completions, commands and due timers in; arms receives; starts sends; submits. Does not
 * wait. */
void zm_drive_once_locked(zm_socket *s) ZM_LOCKED;
/* The same for one who will wait inside a call if nothing is there. */
void zm_drive_before_wait_locked(zm_socket *s) ZM_LOCKED;
/* which knows by itself when to come back */
void zm_drive_for_io_thread_locked(zm_socket *s) ZM_LOCKED;
/* Takes in what peers have sent, if anything; flushes nothing. */
void zm_drive_peek_locked(zm_socket *s) ZM_LOCKED;
/* Of a publisher: gives peers that are about to subscribe a moment to do so. Gives up the lock
 * meanwhile. */
void zm_drive_let_in_locked(zm_socket *s) ZM_LOCKED;
/* is there time for that, and for us? */
bool zm_drive_may_let_in_locked(const zm_socket *s) ZM_LOCKED;
/* As above, then waits for anything to happen. 0, -EAGAIN (deadline), -EINTR. */
int zm_drive_locked(zm_socket *s, int64_t deadline_ns) ZM_LOCKED;
/* Waits for POLLIN or POLLOUT. 0, -EAGAIN, -EINTR (a signal, or woken for nothing that the caller
 * can use), -ETERM, -EPERM (zm_socket_is_dead_locked()). */
int zm_socket_wait_locked(zm_socket *s, int event, int64_t deadline_ns) ZM_LOCKED;
/* Before a wait for a message in an event loop. 1: one is there; 0: wait; -ETERM, -ENOTSOCK. */
int zm_socket_spin_locked(zm_socket *s) ZM_LOCKED;
/* The message that the loop waited for is there. */
void zm_socket_waited_locked(zm_socket *s) ZM_LOCKED;

/* For zmq_poll: from take to leave the caller sleeps on the driver's descriptor, without the lock,
 * and nobody else reaps. Not when `driven`. After take the requests are still to be submitted. */
void zm_drive_take_locked(zm_socket *s) ZM_LOCKED;
/* `news`: something is to be reaped. */
void zm_drive_leave_locked(zm_socket *s, bool news) ZM_LOCKED;

/* Pushes what waits to the kernel, of a socket that is not locked; may give others time. Not with
 * the GIL held. */
void zm_socket_flush(zm_socket *s, uint32_t generation);

/* Nothing comes or leaves any more: the process forbade itself the calls of the driver. */
bool zm_socket_is_dead_locked(const zm_socket *s) ZM_LOCKED;

#endif
