/* Sockets. A socket is its context's, in a slot that stays for ever; it owns its peers,
 * connections, endpoints, options and driver. What other threads may read without its lock is
 * atomic, and says so. */
#ifndef ZM_SOCKET_SOCKET_H
#define ZM_SOCKET_SOCKET_H

#include "../api.h"
#include "../base/check.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../base/names.h"
#include "../base/timer.h"
#include "../driver/driver.h"
#include "../engine.h"
#include "../objects.h"
#include "../pipe/frames.h"
#include "../route/turn.h"
#include "../zmtp/session.h"
#include "options.h"
#include "pacing.h"
#include "pattern.h"

struct zm_socket {
    struct zm_socket *next_free; /* of the slot, while it is free */
    zm_lock lock;
    _Atomic uint32_t generation; /* of the handle; moves when the application closes it */
    uint32_t index;
    /* What an I/O thread may still look at when the slot is another socket's: changed under the
     * lock of that thread. */
    _Atomic(zm_io_thread *) io_thread;
    ZM_GUARDED_BY(zm_an_io_thread) zm_timer look; /* io_thread->looks */
    _Atomic int64_t look_at; /* when the I/O thread looks next; ZM_FOREVER: when the driver calls */
    _Atomic uint32_t attention; /* commands, or the context ends: look before anything else */
    _Atomic uint32_t sleeping; /* threads that wait in the driver or on seq */
    _Atomic uint32_t seq; /* wait word of threads that do not drive */
    _Atomic(zm_command *) mailbox;

    /* taken from `mailbox`, oldest first, and not looked at yet */
    ZM_HELD zm_command *commands_left;
    zm_context *context;
    int type;
    const zm_pattern *pattern;
    void *state; /* the pattern's own, of pattern->state_size; owned */
    /* Is all done, of a closing socket? Then it is destroyed, and the lock given up: true. */
    bool (*reap)(zm_socket *s);
    ZM_HELD bool open; /* the application has it */
    ZM_HELD bool told; /* a call answered that the context ends */
    ZM_HELD bool closing; /* lingers, or waits for requests in flight */
    ZM_GUARDED_BY(zm_a_context) zm_list in_context; /* context->sockets */
    ZM_HELD zm_options options;
    ZM_HELD char last_endpoint[ZM_ENDPOINT_MAX];

    /* driving */
    ZM_HELD zm_driver *driver;
    ZM_HELD bool driven; /* a thread is in zm_driver_wait, or polls the driver's descriptor */
    ZM_HELD uint32_t followers; /* threads that sleep on seq */
    _Atomic uint32_t pollers; /* threads in zm_poll that sleep on the signaler */
    _Atomic uint32_t tells; /* how often they were told */
    /* Pollers that came when `tells` was at `fresh_since`, and were not told since. */
    ZM_HELD uint32_t fresh, fresh_since;
    ZM_HELD uint32_t moving; /* receives that are being taken over */
    uint32_t arm_thread; /* who drove last, and has the receives; ZM_NO_THREAD: nobody yet */
    /* by arm_thread, and by others: the newest at the end */
    ZM_HELD zm_list armed, armed_elsewhere;
    ZM_HELD int64_t moves_paid_ns; /* until then the time has been spent on moving receives */
    _Atomic(zm_driver *) wakeable; /* driver, while a thread sleeps in it */
    ZM_HELD bool unseen; /* something changed since EVENTS was read */
    /* The thread that read EVENTS last need not be notified by itself, since it reads them again
     * before it waits: after a send or a receive, that is. ZM_NO_THREAD: nobody. */
    uint32_t watcher;
    zm_spin spin;
    bool waits_inside; /* the application waited in a call last, not on a descriptor */
    ZM_HELD bool bulk_is_left; /* not armed now: the wait that follows fetches it */
    ZM_HELD zm_conn *bulk; /* a large body arrives there, or is expected; NULL: nowhere */
    ZM_HELD zm_timers timers;
    ZM_HELD zm_list wants_send; /* connections with something to send */
    ZM_HELD zm_list wants_recv; /* connections whose receive is to be armed */
    zm_presence presence; /* of the application; polls read it with the lists before it */
    ZM_HELD zm_burst burst;
    /* of the thread whose messages wait here; NULL: none do, or they need not */
    ZM_HELD zm_order *order;
    ZM_GUARDED_BY(zm_an_order) zm_list in_order; /* order->bursts */
    /* of the thread that connected it last, as long as that is not through */
    ZM_HELD zm_order *beginner;
    ZM_GUARDED_BY(zm_an_order) zm_list in_begun; /* beginner->begun */
    int64_t begun_ns; /* written with both locks held, so read with either of them */
    ZM_HELD bool held; /* messages wait for connections that were begun earlier */
    ZM_HELD bool flush_due; /* a peer has half of SNDHWM, and the kernel none of it */
    _Atomic bool has_watchers; /* pollers, or a public_fd */
    _Atomic int signaler; /* of the pollers, -1: not made */
    _Atomic int public_fd; /* ZMQ_FD, -1: not made: a wait set of the driver, and a signal */
    struct zm_ready *public_ready; /* its signal; written before public_fd, and no more */
    _Atomic bool notified; /* the signal was set since it was cleared */

    /* the I/O thread's */
    ZM_HELD bool parked; /* a thread waits in it: the I/O thread waits to be told */
    ZM_HELD bool waited_long; /* the last wait in it was: the next begins parked */
    ZM_HELD bool watched; /* the driver is in the I/O thread's epoll */
    ZM_HELD bool work_left; /* a loop gave way to threads that want the lock */
    ZM_HELD int64_t waiting_since; /* of the thread that drives */
    ZM_HELD int64_t waiting_until; /* the timer it will wake for; ZM_FOREVER: none was set */

    /* peers */
    ZM_HELD zm_list peers, conns, endpoints;
    ZM_HELD zm_list ended; /* peers and connections, to be freed where nobody holds them */
    ZM_HELD zm_list crowded; /* peers without room, which may have some in a moment */
    ZM_HELD bool tells_later; /* who sends now calls zm_inproc_tell_locked() when it is over */
    ZM_HELD zm_list untold; /* peers over inproc whose readers are to be told */
    ZM_HELD zm_names endpoint_names;
    ZM_HELD zm_peer_slot *peer_table;
    ZM_HELD uint32_t peer_capacity, peer_free; /* the first free slot, from 1; 0: none */
    ZM_HELD uint32_t connection_count;
    ZM_HELD uint32_t links; /* peers over inproc */
    zm_cookie_keys *cookies; /* CURVE server: NULL until the first peer comes */
    /* accepted connections, as long as their handshake lasts; oldest first */
    ZM_HELD zm_list handshaking;
    ZM_HELD uint32_t handshaking_count;
    _Atomic uint32_t questions; /* ZAP handler: asked, and not let go of */
    ZM_HELD uint32_t handshakes; /* connects and connections that are not through yet */
    ZM_HELD uint32_t newcomers; /* connections that have just come, and are about to subscribe */
    zm_allowance patience;
    ZM_HELD zm_turn readers, writers; /* fair queue, load balancer */
    ZM_HELD zm_peer *sending_to; /* parts of a message are out, more follow */
    ZM_HELD zm_peer *receiving_from;
    ZM_HELD bool dropping; /* the rest of this message goes nowhere */
    ZM_HELD bool refused; /* a send found no room, and nothing has changed since */
    ZM_HELD bool more_in; /* RCVMORE */
    /* the part between recv_begin and recv_end */
    ZM_HELD zm_frame current;

    zm_socket *monitor;
    ZM_HELD int monitor_events;

    ZM_HELD zm_stats stats;
};

/* The three of base/lock.h, for the lock of a socket. */
static inline void zm_socket_lock_take(zm_socket *s) ZM_TAKES(zm_a_socket) ZM_LOCKS_UNCHECKED
{
    zm_lock_take(&s->lock);
}
static inline bool zm_socket_lock_try(zm_socket *s)
    ZM_TAKES_IF(true, zm_a_socket) ZM_LOCKS_UNCHECKED
{
    return zm_lock_try(&s->lock);
}
static inline void zm_socket_lock_give(zm_socket *s) ZM_GIVES(zm_a_socket) ZM_LOCKS_UNCHECKED
{
    zm_lock_give(&s->lock);
}

/* Tells the analysis what zm_socket.reap() has done with `true`. */
static inline void zm_socket_lock_is_given(void) ZM_GIVES(zm_a_socket) ZM_LOCKS_UNCHECKED
{
}

/* A loop under the lock has made so many steps: is it time for threads that wait for the lock? Then
 * the I/O thread comes back for the rest, unless it is done before. */
enum { ZM_STEPS_MIN = 32 }; /* before threads that want the lock get a turn */
static inline bool zm_socket_gives_way_locked(zm_socket *s, int steps) ZM_LOCKED
{
    if (ZM_LIKELY(steps < ZM_STEPS_MIN || !zm_lock_wanted(&s->lock)))
        return false;
    s->work_left = true;
    return true;
}

/* Is a queue of `count` messages above half of SNDHWM with one more (0: no limit)? A queue below
 * that is not marked as full, either: the mark goes when it is at half. */
static inline bool zm_are_many_locked(const zm_socket *s, uint32_t count) ZM_LOCKED
{
    return 2 * count >= (uint32_t) s->options.sndhwm - 1;
}

/* Of peers that are made under these options, which may be older than the socket's. */
static inline bool zm_conflates(const zm_socket *s, const zm_options *options)
{
    return options->conflate && s->pattern->conflates;
}

/* CONNECT_ROUTING_ID of the connect() that is about to be: does another peer have it? */
static inline bool zm_wants_taken_id(const zm_socket *s)
{
    const zm_bytes *wanted = &s->options.connect_routing_id;
    return wanted->size && s->pattern->peer_of_id
           && s->pattern->peer_of_id(s, wanted->data, wanted->size);
}

/* `count` messages that were counted as sent will not be. */
static inline void zm_socket_lost_locked(zm_socket *s, uint64_t count) ZM_LOCKED
{
    s->stats.messages_sent -= count;
    s->stats.messages_dropped += count;
}

/* As zm_socket_enter_locked(), for options and the monitor: programs shut down with them while
 * their context ends, so they work until one of the other calls was told of the end (S-47). */
int zm_socket_enter_aside_locked(zm_socket *s) ZM_LOCKED;

int zm_socket_send_part_locked(zm_socket *s, const zm_outgoing *message) ZM_LOCKED;
/* A send answered ZM_LATER: peers get the moment that it is about. Gives up the lock meanwhile. */
void zm_socket_send_later_locked(zm_socket *s) ZM_LOCKED;
/* Enters and sends, with the wait for a moment that ZM_LATER asks for. */
int zm_socket_send_patiently_locked(zm_socket *s, const zm_outgoing *message) ZM_LOCKED;
int zm_socket_recv_part_locked(zm_socket *s, zm_part *out_part) ZM_LOCKED;
/* As above, of what has arrived already. */
int zm_socket_recv_part_queued_locked(zm_socket *s, zm_part *out_part) ZM_LOCKED;
void zm_socket_recv_done_locked(zm_socket *s) ZM_LOCKED;
int zm_socket_events_locked(zm_socket *s) ZM_LOCKED;
int64_t zm_socket_deadline_locked(zm_socket *s, int direction) ZM_LOCKED;
int zm_socket_make(zm_context *context, int type, zm_socket **out_socket) ZM_NEEDS(zm_a_context);
/* The application's part of closing; frees at once what can be freed. Gives up the lock. */
void zm_socket_close_locked(zm_socket *s) ZM_GIVES(zm_a_socket);
/* Gives up the lock after a call that may have slept: the last one out of a closed socket reaps. */
static inline void zm_socket_leave(zm_socket *s) ZM_GIVES(zm_a_socket) ZM_LOCKS_UNCHECKED
{
    if (ZM_LIKELY(!s->closing) || !s->reap(s))
        zm_socket_lock_give(s);
}

/* By handle, see api.h: */
int64_t zm_socket_new_for(int64_t context, int type, bool brief);
int zm_socket_close_for(int64_t socket, bool brief);
int zm_socket_bind_for(int64_t socket, const char *endpoint, bool brief);
int zm_socket_connect_for(int64_t socket, const char *endpoint, bool brief);
int zm_socket_set_for(int64_t socket, int option, const void *value, size_t size, bool brief);
int zm_socket_get_for(int64_t socket, int option, void *out_value, size_t *inout_size, bool brief);
int zm_socket_monitor_for(int64_t socket, const char *endpoint, int events, bool brief);

#endif
