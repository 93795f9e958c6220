/* Links between two sockets of a context. Each side holds one reference. What is in a side is
 * guarded by the link's lock but for `peer`, which is that socket's. Each is called with the
 * socket's lock. */
#ifndef ZM_PIPE_INPROC_H
#define ZM_PIPE_INPROC_H

#include "../base/block.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../driver/address.h"
#include "../engine.h"
#include "../socket/wakeup.h"
#include "frames.h"

typedef struct zm_link_side {
    zm_socket *socket; /* NULL: not bound yet, or closed */
    zm_peer *peer;     /* of that socket; only it looks here */
    zm_link *link;
    zm_command command;
    zm_frames out;      /* written by this side, read by the other */
    uint32_t out_staged;   /* newest frames, of a message that is not complete */
    uint32_t out_fresh;    /* complete messages that the reader has not taken over */
    uint32_t out_messages; /* those, and the ones taken over that it has not reported as read */
    uint32_t out_kept; /* read, but less than half of both HWMs: no room yet (libzmq: the same) */
    zm_block *arena;    /* where small bodies of this side live */
    size_t arena_used;
    uint32_t arena_refs; /* to it, that are not a frame's yet */
    int sndhwm, rcvhwm;
    bool conflate;
    bool closed;
    bool idle;  /* has read everything: wants a command when something comes */
    bool blocked; /* was full: wants a command when there is room */
    /* Of a ZAP question: called at once, in whatever thread drives. NULL: the pattern is told. */
    void (*answered)(zm_peer *asker);
    size_t routing_id_size;
    uint8_t routing_id[255];
} zm_link_side;

struct zm_link {
    zm_lock lock;
    _Atomic uint32_t refs; /* one a side that holds it, one of the context while it waits */
    zm_list waiting;       /* of its name, before bind */
    char name[ZM_ENDPOINT_MAX];
    zm_link_side side[2]; /* 0 connected, 1 bound */
};

int zm_inproc_bind_locked(zm_socket *s, const zm_address *address) ZM_LOCKED;
int zm_inproc_connect_locked(zm_socket *s, const zm_address *address) ZM_LOCKED;
bool zm_inproc_can_read_locked(zm_peer *peer) ZM_LOCKED;
int zm_inproc_write_locked(zm_peer *peer, const void *data, size_t size, zm_block *block,
                           unsigned flags) ZM_LOCKED;
/* Joins `asker`, which is in none of its socket's lists, to the REP or ROUTER that bound `name`.
 * `answered` is called when something came back, or the other side went away. -ECONNREFUSED: nobody
 * did; -ENOMEM. */
int zm_inproc_ask_locked(zm_peer *asker, const char *name, void (*answered)(zm_peer *asker))
    ZM_LOCKED;
/* Connects that wait for a bind are forgotten; the context is locked. */
void zm_inproc_forget_waiting(zm_context *context);
/* Lets go of the link. */
void zm_inproc_close_locked(zm_peer *peer) ZM_LOCKED;

#endif
