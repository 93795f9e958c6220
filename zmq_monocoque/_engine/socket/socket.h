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
    zm_timer look;           /* io_thread->looks */
    _Atomic int64_t look_at; /* when the I/O thread looks next; ZM_FOREVER: when the driver calls */
    _Atomic uint32_t attention; /* commands, or the context ends: look before anything else */
    _Atomic uint32_t sleeping;  /* threads that wait in the driver or on seq */
    _Atomic uint32_t seq;       /* wait word of threads that do not drive */
    _Atomic(zm_command *) mailbox;

    zm_command *commands_left; /* taken from `mailbox`, oldest first, and not looked at yet */
    zm_context *context;
    int type;
    const zm_pattern *pattern;
    void *state; /* the pattern's own, of pattern->state_size; owned */
    /* Is all done, of a closing socket? Then it is destroyed, and the lock given up: true. */
    bool (*reap)(zm_socket *s);
    bool open;    /* the application has it */
    bool told;    /* a call answered that the context ends */
    bool closing; /* lingers, or waits for requests in flight */
    zm_list in_context; /* context->sockets */
    zm_options options;
    char last_endpoint[ZM_ENDPOINT_MAX];

    /* driving */
    zm_driver *driver;
    bool driven; /* a thread is in zm_driver_wait, or polls the driver's descriptor */
    uint32_t followers; /* threads that sleep on seq */
    uint32_t pollers;   /* threads in zm_poll that sleep on the signaler */
    uint32_t moving;     /* receives that are being taken over */
    uint32_t arm_thread; /* who drove last, and has the receives; ZM_NO_THREAD: nobody yet */
    zm_list armed, armed_elsewhere; /* by arm_thread, and by others: the newest at the end */
    int64_t moves_paid_ns; /* until then the time has been spent on moving receives */
    _Atomic(zm_driver *) wakeable; /* driver, while a thread sleeps in it */
    bool unseen;      /* something changed since EVENTS was read */
    uint32_t watcher; /* the thread that read EVENTS last: it need not be notified by itself */
    zm_spin spin;
    bool waits_inside; /* the application waited in a call last, not on a descriptor */
    bool bulk_is_left; /* not armed now: the wait that follows fetches it */
    zm_conn *bulk; /* a large body arrives there, or is expected; NULL: nowhere */
    zm_timers timers;
    zm_list wants_send; /* connections with something to send */
    zm_list wants_recv; /* connections whose receive is to be armed */
    zm_burst burst;
    zm_order *order;  /* of the thread whose messages wait here; NULL: none do, or they need not */
    zm_list in_order; /* order->bursts; guarded by its lock */
    zm_order *beginner; /* of the thread that connected it last, as long as that is not through */
    zm_list in_begun;   /* beginner->begun; guarded by its lock */
    int64_t begun_ns;   /* guarded by the same */
    bool held;          /* messages wait for connections that were begun earlier */
    bool flush_due; /* a peer has half of SNDHWM, and the kernel none of it */
    _Atomic int signaler;     /* eventfd, -1: not made */
    _Atomic bool signaler_wanted; /* somebody watches it */
    _Atomic bool notified;        /* and has heard it since it was cleared */
    int public_fd;            /* ZMQ_FD, -1: not made */

    /* the I/O thread's */
    zm_presence presence; /* of the application */
    bool parked;      /* a thread waits in it: the I/O thread waits to be told */
    bool watched;     /* the driver is in the I/O thread's epoll */
    bool work_left;   /* a loop gave way to those who want the lock */
    int64_t waiting_since; /* of the thread that drives */
    int64_t waiting_until; /* the timer it will wake for; ZM_FOREVER: none was set */

    /* peers */
    zm_list peers, conns, endpoints;
    zm_list ended; /* peers and connections, to be freed where nobody holds them */
    zm_list crowded; /* peers without room, which may have some in a moment */
    zm_names endpoint_names;
    zm_peer_slot *peer_table;
    uint32_t peer_capacity, peer_free; /* the first free slot, from 1; 0: none */
    uint32_t connection_count;
    uint32_t links; /* peers over inproc */
    zm_cookie_keys *cookies; /* CURVE server: NULL until the first peer comes */
    zm_list handshaking; /* accepted connections, as long as their handshake lasts; oldest first */
    uint32_t handshaking_count;
    _Atomic uint32_t questions; /* ZAP handler: asked, and not let go of */
    uint32_t handshakes; /* connects and connections that are not through yet */
    uint32_t newcomers;  /* connections that have just come, and are about to subscribe */
    zm_allowance patience;
    zm_turn readers, writers; /* fair queue, load balancer */
    zm_peer *sending_to;      /* parts of a message are out, more follow */
    zm_peer *receiving_from;
    bool dropping; /* the rest of this message goes nowhere */
    bool refused;  /* a send found no room, and nothing has changed since */
    bool more_in; /* RCVMORE */
    /* the part between recv_begin and recv_end */
    zm_frame current;

    zm_socket *monitor;
    int monitor_events;

    zm_stats stats;
};

/* A loop under the lock has made so many steps: is it time for others, who wait for the lock? Then
 * the I/O thread comes back for the rest, unless it is done before. */
enum { ZM_STEPS_MIN = 32 }; /* before those who want the lock get a turn */
static inline bool zm_socket_gives_way(zm_socket *s, int steps)
{
    if (ZM_LIKELY(steps < ZM_STEPS_MIN || !zm_lock_wanted(&s->lock)))
        return false;
    s->work_left = true;
    return true;
}

/* One more, and a queue of `count` messages is above half of SNDHWM (0: no limit)? Below that it is
 * not full, either: room comes back when it is at half. */
static inline bool zm_are_many(const zm_socket *s, uint32_t count)
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
static inline void zm_socket_lost(zm_socket *s, uint64_t count)
{
    s->stats.messages_sent -= count;
    s->stats.messages_dropped += count;
}

/* As zm_socket_enter_locked(), for options and the monitor: programs shut down with them while
 * their context ends, so they work until one of the other calls was told of the end (S-47). */
int zm_socket_enter_aside_locked(zm_socket *s);

int zm_socket_send_part_locked(zm_socket *s, const zm_outgoing *message);
/* A send answered ZM_LATER: peers get the moment that it is about. Gives up the lock meanwhile. */
void zm_socket_send_later_locked(zm_socket *s);
/* Enters and sends, with both, for those who may wait. */
int zm_socket_send_patiently_locked(zm_socket *s, const zm_outgoing *message);
int zm_socket_recv_part_locked(zm_socket *s, zm_part *out_part);
/* As above, of what has arrived already. */
int zm_socket_recv_part_queued_locked(zm_socket *s, zm_part *out_part);
void zm_socket_recv_done_locked(zm_socket *s);
int zm_socket_events_locked(zm_socket *s);
int64_t zm_socket_deadline(zm_socket *s, int direction);
int zm_socket_make(zm_context *context, int type, zm_socket **out_socket);
/* The application's part of closing; frees at once what can be freed. Gives up the lock. */
void zm_socket_close_locked(zm_socket *s);
/* Gives up the lock after a call that may have slept: the last one out of a closed socket reaps. */
static inline void zm_socket_leave(zm_socket *s)
{
    if (ZM_LIKELY(!s->closing) || !s->reap(s))
        zm_lock_give(&s->lock);
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
