/* ROUTER and STREAM: each message goes to, or comes from, the peer that its first frame names. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "../api.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/list.h"
#include "../connection/connection.h"
#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "../route/router_table.h"
#include "../route/turn.h"
#include "../socket/endpoint.h"
#include "../socket/options.h"
#include "../socket/pattern.h"
#include "../socket/socket.h"
#include "shared.h"

enum { AUTO_ID_BYTES = 5 };

typedef struct router {
    zm_router_table routes;
    uint32_t next_id;
    bool id_read;   /* the id frame was read, the message follows */
    bool body_next; /* the id frame was sent */
} router;

/* Of a peer: its routing id, and its place in the table. */
static zm_route *route_of(const zm_peer *peer)
{
    return zm_peer_state(peer);
}

static zm_peer *find(const router *own, const uint8_t *id, size_t size)
{
    zm_route *route = zm_router_table_find(&own->routes, id, size);
    return route ? zm_peer_of_state(route) : NULL;
}

static int add_auto_id(zm_peer *peer)
{
    router *own = peer->socket->state;
    int rc;
    do {
        uint32_t number = own->next_id++;
        uint8_t id[AUTO_ID_BYTES] = {0, (uint8_t) (number >> 24), (uint8_t) (number >> 16),
                                     (uint8_t) (number >> 8), (uint8_t) number};
        rc = zm_router_table_add(&own->routes, route_of(peer), id, sizeof id);
    } while (rc == -EEXIST);
    return rc;
}

/* The new peer takes the id over. The old one keeps its connection, as with libzmq (a peer that is
 * cut off reconnects, and the two would push each other out for ever), but nothing of it is
 * heard. */
static int take_over(zm_peer *peer, zm_peer *old, const uint8_t *id, size_t size) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    router *own = s->state;
    zm_router_table_remove(&own->routes, route_of(old));
    int rc = add_auto_id(old);
    if (rc < 0)
        return rc;
    old->muted = true;
    if (s->sending_to == old)
        s->sending_to = NULL;
    return zm_router_table_add(&own->routes, route_of(peer), id, size);
}

/* It is there only until a send has landed, or is about to be freed: nobody hears of it again. */
static bool is_over(zm_peer *peer) ZM_LOCKED
{
    return zm_peer_is_ended_locked(peer) && !zm_peer_can_read_locked(peer);
}

static int identify(zm_peer *peer) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    router *own = s->state;
    size_t size;
    const uint8_t *id = zm_peer_own_id_locked(peer, &size);
    if (peer->wanted_id_size) {
        id = peer->wanted_id;
        size = peer->wanted_id_size;
    }
    if (!size || size > 255)
        return add_auto_id(peer);
    int rc = zm_router_table_add(&own->routes, route_of(peer), id, size);
    if (rc != -EEXIST)
        return rc;
    zm_peer *old = find(own, id, size);
    if (is_over(old)) {
        zm_router_table_remove(&own->routes, route_of(old));
        rc = zm_router_table_add(&own->routes, route_of(peer), id, size);
    } else if (s->options.router_handover) {
        rc = take_over(peer, old, id, size);
    }
    return rc;
}

/* Can the peer be named by now? A peer of a connect() gets its name when its connection is
 * there. */
static bool known(const zm_peer *peer) ZM_LOCKED
{
    return peer->wanted_id_size || peer->conn || peer->raw || (peer->inproc && peer->joined);
}

/* Those that a message can be sent to are in `writers`, for POLLOUT under ROUTER_MANDATORY. */
static void router_writable(zm_peer *peer) ZM_LOCKED
{
    if (route_of(peer)->id_size && !zm_peer_is_ended_locked(peer))
        zm_turn_join(&peer->socket->writers, &peer->turn_out);
}

/* Has the peer a name from now on? Without memory for one, its connection ends, and may come again;
 * one that is still to be connected gets its name then. A duplicate stays connected and is never
 * served (S-61). The peer may be gone after this. */
static bool named(zm_peer *peer) ZM_LOCKED
{
    int rc = identify(peer);
    if (rc == 0)
        return true;
    if (rc == -ENOMEM && !peer->conn && !peer->inproc)
        return false;
    bool comes_again = rc == -ENOMEM && peer->conn;
    /* A raw one is another peer then, and nobody hears of this one that it went. */
    peer->ignored = !comes_again || peer->raw;
    if (comes_again)
        zm_conn_failed_locked(peer->conn, true);
    return false;
}

/* Its application hears that it is there. Without memory for that the connection ends, and may come
 * again as another peer, and nobody hears of this one. The peer may be gone after this. */
static void announce(zm_peer *peer) ZM_LOCKED
{
    if (zm_peer_announce_locked(peer) == 0)
        return;
    peer->ignored = true;
    zm_conn_failed_locked(peer->conn, true);
}

static void welcome(zm_peer *peer) ZM_LOCKED
{
    router_writable(peer);
    zm_probe_locked(peer);
    if (peer->raw && peer->conn)
        announce(peer);
}

static void router_attached(zm_peer *peer) ZM_LOCKED
{
    if (known(peer) && named(peer))
        welcome(peer);
}

static void router_connected(zm_peer *peer) ZM_LOCKED
{
    if (!route_of(peer)->id_size && !peer->ignored) {
        if (!named(peer))
            return;
        welcome(peer);
        if (zm_peer_can_read_locked(peer))
            zm_fair_readable(peer);
    } else if (peer->raw) {
        announce(peer);
    }
}

static void router_detached(zm_peer *peer) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    router *own = s->state;
    if (s->receiving_from == peer)
        own->id_read = false;
    if (s->sending_to == peer) {
        s->sending_to = NULL;
        s->dropping = true;
    }
    zm_router_table_remove(&own->routes, route_of(peer));
}

static int router_send(zm_socket *s, const zm_outgoing *m) ZM_LOCKED
{
    router *own = s->state;
    if (!own->body_next) {
        s->dropping = false;
        if (!m->more)
            return 0; /* an id alone is swallowed (S-58) */
        zm_peer *peer = find(own, m->data, m->size);
        if (peer && zm_peer_is_ended_locked(peer))
            peer = NULL;
        int found = peer ? zm_peer_find_room_locked(peer) : -EHOSTUNREACH;
        if (ZM_UNLIKELY(found == ZM_LATER))
            return ZM_LATER;
        bool room = found == 0;
        if (s->options.router_mandatory && !room)
            return found;
        s->sending_to = room ? peer : NULL;
        if (!room)
            s->stats.messages_dropped++;
        own->body_next = true;
        return 0;
    }
    own->body_next = m->more;
    zm_peer *peer = s->sending_to;
    if (!peer) {
        s->stats.messages_dropped += s->dropping && !m->more; /* it went in the middle */
        return 0;
    }
    if (!m->more)
        s->sending_to = NULL;
    int rc = zm_peer_write_locked(peer, m->data, m->size, m->block, m->more);
    if (rc == -ENOMEM) { /* the caller knows that it is lost, and sends no more of it */
        s->sending_to = NULL;
        own->body_next = false;
        return rc;
    }
    if (rc < 0) {
        s->sending_to = NULL;
        s->dropping = m->more;
        s->stats.messages_dropped += !m->more;
    }
    return 0;
}

static bool router_can_send(zm_socket *s) ZM_LOCKED
{
    const router *own = s->state;
    if (!s->options.router_mandatory || own->body_next)
        return true;
    zm_list *first;
    while ((first = zm_turn_first(&s->writers))) {
        if (zm_peer_can_write_locked(ZM_CONTAINER(first, zm_peer, turn_out)))
            return true;
        zm_turn_leave(first); /* full: joins again when there is room */
    }
    return false;
}

static int router_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer) ZM_LOCKED
{
    router *own = s->state;
    if (own->id_read) {
        int rc = zm_fair_recv_locked(s, out_frame, out_peer);
        own->id_read = rc == 0 && out_frame->flags & ZM_MORE;
        return rc;
    }
    if (!zm_fair_can_recv_locked(s))
        return zm_recv_nothing(-EAGAIN, out_frame, out_peer);
    zm_peer *peer = ZM_CONTAINER(zm_turn_first(&s->readers), zm_peer, turn_in);
    s->receiving_from = peer;
    own->id_read = true;
    const zm_route *route = route_of(peer);
    *out_frame = (zm_frame){.data = route->id, .size = route->id_size, .flags = ZM_MORE};
    *out_peer = peer;
    return 0;
}

static int router_opened(zm_socket *s)
{
    router *own = s->state;
    if (getrandom(&own->next_id, sizeof own->next_id, GRND_NONBLOCK) != sizeof own->next_id)
        own->next_id = (uint32_t) zm_now_ns();
    return 0;
}

static void router_closed(zm_socket *s)
{
    router *own = s->state;
    zm_router_table_fini(&own->routes);
}

static zm_peer *router_peer_of_id(const zm_socket *s, const uint8_t *id, size_t size)
{
    return find(s->state, id, size);
}

const zm_pattern zm_pattern_router = {
    .state_size = sizeof(router),
    .peer_size = sizeof(zm_route),
    .answers_zap = true,
    .send = router_send,
    .recv = router_recv,
    .can_send = router_can_send,
    .can_recv = zm_fair_can_recv_locked,
    .attached = router_attached,
    .detached = router_detached,
    .readable = zm_fair_readable,
    .writable = router_writable,
    .connected = router_connected,
    .opened = router_opened,
    .closed = router_closed,
    .peer_of_id = router_peer_of_id,
};

/* --- STREAM ---------------------------------------------------------------------------------- */

static void stream_attached(zm_peer *peer) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    if (!named(peer))
        return;
    const zm_route *route = route_of(peer);
    if (peer->endpoint && peer->endpoint->kind == ZM_CONNECTER)
        zm_bytes_set(&s->options.routing_id, route->id, route->id_size);
    if (peer->conn)
        announce(peer);
}

static void stream_connected(zm_peer *peer) ZM_LOCKED
{
    if (!peer->conn) /* not over inproc, as with libzmq */
        return;
    if (!route_of(peer)->id_size && !peer->ignored)
        stream_attached(peer); /* there was no memory for its name before */
    else
        announce(peer);
}

static int stream_send(zm_socket *s, const zm_outgoing *m) ZM_LOCKED
{
    router *own = s->state;
    s->dropping = false;
    if (!own->body_next) {
        if (!m->more)
            return 0;
        zm_peer *peer = find(own, m->data, m->size);
        if (!peer || zm_peer_is_ended_locked(peer))
            return -EHOSTUNREACH;
        int rc = zm_peer_find_room_locked(peer);
        if (rc < 0)
            return rc;
        s->sending_to = peer;
        own->body_next = true;
        return 0;
    }
    zm_peer *peer = s->sending_to;
    own->body_next = false;
    s->sending_to = NULL;
    if (!peer)
        return 0;
    if (m->size == 0) {
        /* The connection is closed, with what is queued for it. */
        zm_peer_drop_locked(peer);
        return 0;
    }
    /* What there is no memory for would be a hole in what the peer reads. */
    int rc = zm_peer_write_locked(peer, m->data, m->size, m->block, false);
    return rc == -ENOMEM ? rc : 0;
}

const zm_pattern zm_pattern_stream = {
    .state_size = sizeof(router),
    .peer_size = sizeof(zm_route),
    .raw = true,
    .send = stream_send,
    .recv = router_recv,
    .can_send = zm_always,
    .can_recv = zm_fair_can_recv_locked,
    .attached = stream_attached,
    .detached = router_detached,
    .readable = zm_fair_readable,
    .writable = zm_forget_nothing,
    .connected = stream_connected,
    .opened = router_opened,
    .closed = router_closed,
    .peer_of_id = router_peer_of_id,
};
