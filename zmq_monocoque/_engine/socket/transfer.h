/* What goes between a socket and its driver: receives that are armed, sends that are started, and
 * what is complete. The socket's lock is held by whoever calls or reads any of this. */
#ifndef ZM_SOCKET_TRANSFER_H
#define ZM_SOCKET_TRANSFER_H

#include "../base/check.h"
#include "../base/list.h"
#include "../driver/driver.h"
#include "../objects.h"
#include "order.h"
#include "socket.h"

/* May a loop leave the rest for later? Not that of one who goes to sleep, or while another thread
 * does: nobody would come back for it. */
typedef enum zm_patience { TO_THE_END, MAY_GIVE_WAY } zm_patience;

/* Starts the sends that are wanted (transfer.c). */
void zm_transfer_flush_some_locked(zm_socket *s, zm_patience patience) ZM_LOCKED;
static inline void zm_transfer_flush_for_locked(zm_socket *s, zm_patience patience) ZM_LOCKED
{
    if (!zm_list_empty(&s->wants_send) || ZM_UNLIKELY(s->held))
        zm_transfer_flush_some_locked(s, patience);
}
static inline void zm_transfer_flush_locked(zm_socket *s) ZM_LOCKED
{
    zm_transfer_flush_for_locked(s, TO_THE_END);
}
/* Arms all receives that are wanted, but that of `except` (NULL: all). */
void zm_transfer_arm_some_locked(zm_socket *s, const zm_conn *except,
                                 zm_patience patience) ZM_LOCKED;
static inline void zm_transfer_arm_except_locked(zm_socket *s, const zm_conn *except,
                                                 zm_patience patience) ZM_LOCKED
{
    if (!zm_list_empty(&s->wants_recv))
        zm_transfer_arm_some_locked(s, except, patience);
}
static inline void zm_transfer_arm_locked(zm_socket *s) ZM_LOCKED
{
    zm_transfer_arm_except_locked(s, s->bulk_is_left ? s->bulk : NULL, TO_THE_END);
}
/* Starts all that can be started; or some of it, if others want the lock meanwhile: then the I/O
 * thread does the rest. */
static inline void zm_transfer_start_locked(zm_socket *s) ZM_LOCKED
{
    zm_transfer_arm_locked(s);
    zm_transfer_flush_locked(s);
}
static inline void zm_transfer_start_some_locked(zm_socket *s) ZM_LOCKED
{
    zm_transfer_arm_except_locked(s, s->bulk_is_left ? s->bulk : NULL, MAY_GIVE_WAY);
    zm_transfer_flush_for_locked(s, MAY_GIVE_WAY);
}
static inline void zm_transfer_submitted_locked(zm_socket *s) ZM_LOCKED
{
    if (s->order && zm_list_empty(&s->wants_send))
        zm_order_leave_locked(s);
}
/* The kernel has what was started. */
static inline void zm_transfer_submit_locked(zm_socket *s) ZM_LOCKED
{
    zm_driver_submit(s->driver);
    zm_transfer_submitted_locked(s);
}
/* The same where what is complete is taken in at once. */
static inline void zm_transfer_push_locked(zm_socket *s) ZM_LOCKED
{
    zm_driver_push(s->driver);
    zm_transfer_submitted_locked(s);
}

/* Takes in what is complete. Returns how many. Not while another thread waits in the driver. */
int zm_transfer_reap_locked(zm_socket *s) ZM_LOCKED;

/* Pushes what waits to the kernel. */
void zm_socket_flush_locked(zm_socket *s) ZM_LOCKED;

/* Before a message for `conn` is dropped: what waits goes to the kernel, and what it has taken
 * counts no more. Frees nothing. */
void zm_drive_for_room_locked(zm_conn *conn) ZM_LOCKED;
/* After a part was written to a remote peer: 0 or ZM_SEND_FLUSH. */
int zm_socket_sent_locked(zm_socket *s) ZM_LOCKED;
/* The same of a part that others follow: ZM_SEND_FLUSH when a buffer is full. */
int zm_socket_followed_locked(zm_socket *s) ZM_LOCKED;

int64_t zm_drive_burst_locked(zm_socket *s, int64_t now) ZM_LOCKED;

/* It has subscribed, or is not waited for any longer. */
void zm_conn_settled_locked(zm_conn *conn) ZM_LOCKED;

#endif
