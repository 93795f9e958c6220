/* Links between two sockets of a context. Each side holds one reference. The functions need the
 * lock of the socket whose peer they are about. */
#ifndef ZM_PIPE_INPROC_H
#define ZM_PIPE_INPROC_H

#include "../base/block.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../driver/address.h"
#include "../engine.h"
#include "../socket/wakeup.h"
#include "frames.h"

#define ZM_OF_LINK ZM_GUARDED_BY(zm_a_link)

typedef struct zm_link_side {
    ZM_OF_LINK zm_socket *socket; /* NULL: not bound yet, or closed */
    ZM_HELD zm_peer *peer;        /* of that socket; only it looks here */
    zm_link *link;
    zm_command command;
    ZM_OF_LINK zm_frames out;         /* written by this side, read by the other */
    ZM_OF_LINK uint32_t out_staged;   /* newest frames, of a message that is not complete */
    ZM_OF_LINK uint32_t out_fresh;    /* complete messages that the reader has not taken over */
    /* those, and the ones taken over that it has not reported as read */
    ZM_OF_LINK uint32_t out_messages;
    /* read, but less than half of both HWMs: no room yet (libzmq: the same) */
    ZM_OF_LINK uint32_t out_kept;
    ZM_OF_LINK zm_block *arena; /* where small bodies of this side live */
    ZM_OF_LINK size_t arena_used;
    ZM_OF_LINK uint32_t arena_refs; /* to it, that are not a frame's yet */
    ZM_OF_LINK int sndhwm, rcvhwm;
    ZM_HELD bool closed;     /* written with the link locked, too */
    ZM_OF_LINK bool idle;    /* has read everything: wants a command when something comes */
    ZM_OF_LINK bool blocked; /* was full: wants a command when there is room */
    /* What follows does not change once the side is there. */
    bool conflate;
    /* Of a ZAP question: called at once, in whatever thread drives. NULL: the pattern is told. */
    void (*answered)(zm_peer *asker);
    size_t routing_id_size;
    uint8_t routing_id[255];
} zm_link_side;

struct zm_link {
    zm_lock lock;
    _Atomic uint32_t refs; /* one a side that holds it, one of the context while it waits */
    ZM_GUARDED_BY(zm_a_context) zm_list waiting; /* of its name, before bind */
    char name[ZM_ENDPOINT_MAX];
    zm_link_side side[2]; /* 0 connected, 1 bound */
};

/* Two of base/lock.h, for the lock of a link. */
static inline void zm_link_lock_take(zm_link *link) ZM_TAKES(zm_a_link) ZM_LOCKS_UNCHECKED
{
    zm_lock_take(&link->lock);
}
static inline void zm_link_lock_give(zm_link *link) ZM_GIVES(zm_a_link) ZM_LOCKS_UNCHECKED
{
    zm_lock_give(&link->lock);
}

int zm_inproc_bind_locked(zm_socket *s, const zm_address *address) ZM_LOCKED;
int zm_inproc_connect_locked(zm_socket *s, const zm_address *address) ZM_LOCKED;
bool zm_inproc_can_read_locked(zm_peer *peer) ZM_LOCKED;
int zm_inproc_write_locked(zm_peer *peer, const void *data, size_t size, zm_block *block,
                           unsigned flags) ZM_LOCKED;
/* With `tells_later` set, readers that have nothing to read are not told of what is written until
 * this is called, which ends it: they have a whole burst to read then. */
void zm_inproc_tell_locked(zm_socket *s) ZM_LOCKED;
/* Joins `asker`, which is in none of its socket's lists, to the REP or ROUTER that bound `name`.
 * `answered` is called when something came back, or the other side went away. -ECONNREFUSED: nobody
 * did; -ENOMEM. */
int zm_inproc_ask_locked(zm_peer *asker, const char *name,
                         void (*answered)(zm_peer *asker)) ZM_LOCKED;
/* Connects that wait for a bind are forgotten. */
void zm_inproc_forget_waiting(zm_context *context) ZM_NEEDS(zm_a_context);
/* Lets go of the link. */
void zm_inproc_close_locked(zm_peer *peer) ZM_LOCKED;

#endif
