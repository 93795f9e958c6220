/* inproc: two sockets of one context, joined by a link with a queue each way. The writer puts
 * frames into its queue; the reader takes all complete messages over at once and reads them
 * without a lock. What the other side is to know comes as a command. */
#include "inproc.h"

#include <errno.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/block.h"
#include "../base/check.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../base/names.h"
#include "../context/context.h"
#include "../driver/address.h"
#include "../driver/driver.h"
#include "../socket/endpoint.h"
#include "../socket/options.h"
#include "../socket/socket.h"
#include "../socket/wakeup.h"
#include "frames.h"
#include "peer.h"

enum {
    ARENA_BYTES = 16 * 1024 - 64,
    SMALL_BYTES = 4096,
    REPORT_MESSAGES = 256, /* read before the writer is told, at most */
    UNLIMITED_ROOM = 1024, /* until the link is looked at again */
    /* at a ZAP handler; a question whose asker is gone counts until it is read */
    QUESTIONS_MAX = 8192
};

/* What a link needs to know of one of its sockets, as it was at bind() or connect(). */
typedef struct side_facts {
    int sndhwm, rcvhwm;
    bool conflate;
    size_t routing_id_size;
    uint8_t routing_id[255];
} side_facts;

/* A name that a socket has bound, or that connects wait for. */
typedef struct zm_inproc_name {
    zm_name by_name;  /* context->names */
    zm_list waited;   /* context->waited_names, while links wait */
    zm_socket *socket; /* NULL: nobody has bound it yet */
    zm_list waiting;  /* links, the oldest first; the context has a reference to each */
    side_facts facts;
    char name[ZM_ENDPOINT_MAX];
} zm_inproc_name;

static void link_told(zm_socket *s, zm_command *command) ZM_LOCKED;
static const zm_peer_ops link_ops;
static const zm_endpoint_ops bind_ops, connect_ops;

static void drop_arena(zm_link_side *side) ZM_NEEDS(zm_a_link)
{
    if (side->arena)
        zm_block_unref_many(side->arena, side->arena_refs);
    side->arena = NULL;
}

/* With the last reference nobody else knows it. */
static void link_unref(zm_link *taken) ZM_LOCKS_UNCHECKED
{
    if (atomic_fetch_sub(&taken->refs, 1) != 1)
        return;
    for (int i = 0; i < 2; i++) {
        zm_frames_fini(&taken->side[i].out);
        drop_arena(&taken->side[i]);
    }
    zm_free(taken);
}

static zm_link_side *mine(zm_peer *peer)
{
    return &peer->inproc->side[peer->side];
}

static zm_link_side *other(zm_peer *peer)
{
    return &peer->inproc->side[!peer->side];
}

/* That side is to look at the link. The link is locked, so the socket cannot let go meanwhile; a
 * command that is under way holds a reference. */
static void tell(zm_link_side *side) ZM_LOCKED ZM_NEEDS(zm_a_link)
{
    if (!side->socket || side->closed)
        return;
    zm_link *link = side->link;
    atomic_fetch_add(&link->refs, 1);
    if (!zm_socket_post(side->socket, &side->command))
        atomic_fetch_sub(&link->refs, 1); /* never the last: the caller has the link */
    else if (side->answered)
        zm_driver_wake(side->socket->driver); /* the I/O thread looks where nobody else does */
}

static void note_facts(side_facts *facts, const zm_socket *s)
{
    const zm_options *o = &s->options;
    facts->sndhwm = o->sndhwm;
    facts->rcvhwm = o->rcvhwm;
    facts->conflate = zm_conflates(s, o);
    facts->routing_id_size = o->routing_id.size;
    if (o->routing_id.size)
        memcpy(facts->routing_id, o->routing_id.data, o->routing_id.size);
}

/* The link is locked, or the caller's alone. */
static void fill_side(zm_link *link, int i, zm_socket *s,
                      const side_facts *facts) ZM_LOCKS_UNCHECKED
{
    zm_link_side *side = &link->side[i];
    side->socket = s;
    side->link = link;
    side->command = (zm_command){.run = link_told};
    side->sndhwm = facts->sndhwm;
    side->rcvhwm = facts->rcvhwm;
    side->conflate = facts->conflate;
    side->routing_id_size = facts->routing_id_size;
    memcpy(side->routing_id, facts->routing_id, facts->routing_id_size);
    side->idle = true;
}

static zm_peer *peer_of(zm_socket *s, zm_link *link, int side) ZM_LOCKED
{
    zm_peer *peer = zm_peer_new_locked(s);
    if (!peer)
        return NULL;
    peer->ops = &link_ops;
    peer->inproc = link;
    peer->socket->links++;
    peer->side = (uint8_t) side;
    ZM_DEBUG_ASSERT(!link->side[side].peer && !link->side[side].closed);
    ZM_DEBUG_ASSERT(link->side[side].socket == s);
    link->side[side].peer = peer;
    return peer;
}

static zm_inproc_name *find_name(zm_context *context, const char *name) ZM_NEEDS(zm_a_context)
{
    zm_name *found = zm_names_find(&context->names, name);
    return found ? ZM_CONTAINER(found, zm_inproc_name, by_name) : NULL;
}

/* The socket that has bound the name; NULL: nobody. */
static zm_inproc_name *find_bound(zm_context *context, const char *name) ZM_NEEDS(zm_a_context)
{
    zm_inproc_name *entry = find_name(context, name);
    return entry && entry->socket ? entry : NULL;
}

/* As find_name(), but makes what is not there. NULL: no memory. */
static zm_inproc_name *need_name(zm_context *context, const char *name) ZM_NEEDS(zm_a_context)
{
    zm_inproc_name *entry = find_name(context, name);
    if (entry)
        return entry;
    if (zm_names_reserve(&context->names) < 0 || !(entry = zm_calloc(sizeof *entry)))
        return NULL;
    zm_list_init(&entry->waiting);
    memcpy(entry->name, name, strlen(name) + 1);
    zm_names_add(&context->names, &entry->by_name, entry->name);
    return entry;
}

/* Unless somebody has bound it, or waits for that. */
static void drop_name(zm_context *context, zm_inproc_name *entry) ZM_NEEDS(zm_a_context)
{
    if (entry->socket || !zm_list_empty(&entry->waiting))
        return;
    zm_names_remove(&context->names, &entry->by_name);
    zm_list_remove(&entry->waited);
    zm_free(entry);
}

/* The context's reference goes to the caller. */
static zm_link *take_waiting(zm_inproc_name *entry) ZM_NEEDS(zm_a_context)
{
    zm_link *link = ZM_CONTAINER(entry->waiting.next, zm_link, waiting);
    zm_list_remove(&link->waiting);
    return link;
}

static zm_endpoint *remember(zm_socket *s, zm_endpoint_kind kind, const zm_endpoint_ops *ops,
                             const zm_address *address) ZM_LOCKED
{
    zm_endpoint *ep = zm_endpoint_new_locked(s, kind, ops, address);
    if (ep)
        memcpy(s->last_endpoint, address->text, sizeof s->last_endpoint);
    return ep;
}

int zm_inproc_bind_locked(zm_socket *s, const zm_address *address)
{
    zm_context *context = s->context;
    zm_context_lock_take(context);
    zm_inproc_name *entry = need_name(context, address->name);
    bool taken = entry && entry->socket;
    zm_endpoint *ep = !entry || taken ? NULL : remember(s, ZM_INPROC_BIND, &bind_ops, address);
    if (!ep) {
        if (entry)
            drop_name(context, entry);
        zm_context_lock_give(context);
        return taken ? -EADDRINUSE : -ENOMEM;
    }
    entry->socket = s;
    note_facts(&entry->facts, s);
    /* The links that connected before the bind: they are joined by a command, as any other is. */
    zm_list_remove(&entry->waited);
    while (!zm_list_empty(&entry->waiting)) {
        zm_link *link = take_waiting(entry);
        zm_link_lock_take(link);
        /* The context's reference becomes this side's. */
        fill_side(link, 1, s, &entry->facts);
        tell(&link->side[1]);
        tell(&link->side[0]);
        zm_link_lock_give(link);
    }
    zm_context_lock_give(context);
    zm_commands_take_locked(s);
    return 0;
}

int zm_inproc_connect_locked(zm_socket *s, const zm_address *address)
{
    zm_context *context = s->context;
    if (zm_wants_taken_id(s))
        return -EINVAL;
    ZM_DEBUG_ASSERT(s->open);
    zm_link *link = zm_calloc(sizeof *link);
    if (!link)
        return -ENOMEM;
    atomic_init(&link->refs, 1);
    memcpy(link->name, address->name, sizeof link->name);
    zm_endpoint *ep;
    zm_peer *peer = NULL;
    side_facts facts;
    note_facts(&facts, s);
    fill_side(link, 0, s, &facts);
    ep = remember(s, ZM_INPROC_CONNECT, &connect_ops, address);
    if (ep)
        peer = peer_of(s, link, 0);
    if (!peer) {
        if (ep)
            zm_endpoint_free_locked(ep);
        link_unref(link);
        return -ENOMEM;
    }
    peer->endpoint = ep;
    ep->peer = peer;
    zm_bytes *wanted = &s->options.connect_routing_id;
    peer->wanted_id = wanted->data;
    peer->wanted_id_size = wanted->size;
    *wanted = (zm_bytes){0};
    zm_context_lock_take(context);
    zm_inproc_name *entry = need_name(context, address->name);
    if (!entry) {
        zm_context_lock_give(context);
        zm_peer_free_locked(peer);
        zm_endpoint_free_locked(ep);
        return -ENOMEM;
    }
    atomic_fetch_add(&link->refs, 1);
    zm_link_lock_take(link);
    peer->joined = entry->socket != NULL;
    if (entry->socket) {
        fill_side(link, 1, entry->socket, &entry->facts);
        tell(&link->side[1]);
    } else {
        zm_list_append(&entry->waiting, &link->waiting);
        if (!zm_list_linked(&entry->waited))
            zm_list_append(&context->waited_names, &entry->waited);
    }
    zm_link_lock_give(link);
    zm_context_lock_give(context);
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(ep) && zm_peer_is_sound_locked(peer));
    zm_peer_attach_locked(peer);
    return 0;
}

int zm_inproc_ask_locked(zm_peer *asker, const char *name, void (*answered)(zm_peer *asker))
{
    static const side_facts nobody; /* without a routing id: one socket asks many questions */
    zm_socket *s = asker->socket;
    zm_context *context = s->context;
    ZM_DEBUG_ASSERT(!asker->inproc);
    ZM_DEBUG_ASSERT(!zm_list_linked(&asker->link)); /* no peer of the pattern's */
    zm_link *link = zm_calloc(sizeof *link);
    if (!link)
        return -ENOMEM;
    atomic_init(&link->refs, 1);
    fill_side(link, 0, s, &nobody);
    link->side[0].answered = answered;
    link->side[0].peer = asker;
    zm_context_lock_take(context);
    zm_inproc_name *entry = find_bound(context, name);
    int rc = -ECONNREFUSED;
    if (entry && entry->socket->pattern->answers_zap)
        rc = atomic_load(&entry->socket->questions) < QUESTIONS_MAX ? 0 : -ENOBUFS;
    if (rc == 0) {
        atomic_fetch_add(&entry->socket->questions, 1);
        atomic_fetch_add(&link->refs, 1);
        zm_link_lock_take(link);
        fill_side(link, 1, entry->socket, &entry->facts);
        tell(&link->side[1]);
        zm_link_lock_give(link);
    }
    zm_context_lock_give(context);
    if (rc < 0) {
        link_unref(link);
        return rc;
    }
    asker->inproc = link;
    asker->socket->links++;
    asker->side = 0;
    asker->joined = true;
    return 0;
}

void zm_inproc_forget_waiting(zm_context *context)
{
    while (!zm_list_empty(&context->waited_names)) {
        zm_inproc_name *entry = ZM_CONTAINER(context->waited_names.next, zm_inproc_name, waited);
        while (!zm_list_empty(&entry->waiting))
            link_unref(take_waiting(entry));
        drop_name(context, entry);
    }
}

/* CONFLATE of the connecting side governs both ways (libzmq: the same). */
static bool conflates(const zm_link *link)
{
    return link->side[0].conflate;
}

/* --- reading --------------------------------------------------------------------------------- */

/* Messages that the writer may have waiting at the reader: 0 is no limit. */
static uint32_t capacity_of(const zm_link_side *writer, const zm_link_side *reader)
    ZM_NEEDS(zm_a_link)
{
    if (!reader->socket)
        return (uint32_t) writer->sndhwm;
    bool limited = writer->sndhwm && reader->rcvhwm;
    return limited ? (uint32_t) writer->sndhwm + (uint32_t) reader->rcvhwm : 0;
}

static bool is_full(const zm_link_side *writer, uint32_t hwm) ZM_NEEDS(zm_a_link)
{
    return writer->blocked || (hwm && writer->out_messages + writer->out_kept >= hwm);
}

/* Is half of the capacity free? Then a writer that was full may go on. */
static bool is_half_free(const zm_link_side *writer, uint32_t hwm) ZM_NEEDS(zm_a_link)
{
    return !hwm || writer->out_messages + writer->out_kept + (hwm + 1) / 2 <= hwm;
}

/* Tells the writer what was read, and takes over what it has ready. True: there is something. */
static bool refill(zm_peer *peer) ZM_LOCKED
{
    zm_link *link = peer->inproc;
    zm_link_side *writer = other(peer), *me = mine(peer);
    zm_link_lock_take(link);
    ZM_DEBUG_ASSERT(writer->out_fresh + peer->in_messages + peer->in_unreported
                    <= writer->out_messages);
    ZM_DEBUG_ASSERT(writer->out_staged <= writer->out.count);
    uint32_t hwm = capacity_of(writer, me), half = (hwm + 1) / 2;
    writer->out_messages -= peer->in_unreported;
    writer->out_kept = hwm ? (writer->out_kept + peer->in_unreported) % half : 0;
    peer->in_unreported = 0;
    uint32_t until_half = half - writer->out_kept;
    peer->in_report = hwm && until_half < REPORT_MESSAGES ? until_half : REPORT_MESSAGES;
    if (writer->blocked && is_half_free(writer, hwm)) {
        writer->blocked = false;
        tell(writer);
    }
    if (conflates(link) && writer->out_fresh) {
        /* What was taken over and not read is of no interest any more. */
        writer->out_messages -= peer->in_messages;
        peer->in_messages = 0;
        zm_frames_clear(&peer->in);
    }
    uint32_t ready = writer->out.count - writer->out_staged, messages = writer->out_fresh;
    if (peer->in_messages) {
        messages = 0; /* the writer is not held up for what has time until these are read */
    } else if (!writer->out_staged && !peer->in.count) {
        zm_frames empty = peer->in;
        peer->in = writer->out;
        writer->out = empty;
    } else {
        messages = 0;
        for (; ready; ready--) {
            zm_frame frame = *zm_frames_at(&writer->out, 0);
            if (zm_frames_push(&peer->in, frame) < 0)
                break; /* memory is out: the rest stays where it is until the next time */
            zm_frames_take(&writer->out);
            messages += !(frame.flags & ZM_MORE);
        }
    }
    peer->in_messages += messages;
    writer->out_fresh -= messages;
    me->idle = peer->in_messages == 0;
    zm_link_lock_give(link);
    return peer->in_messages > 0;
}

bool zm_inproc_can_read_locked(zm_peer *peer)
{
    if (!peer->inproc)
        return peer->in_messages > 0 || peer->reading;
    bool has = (peer->in_messages > 0 || peer->reading) && !conflates(peer->inproc);
    return has || refill(peer);
}

static void read_frame(zm_peer *peer, zm_frame *out) ZM_LOCKED
{
    *out = zm_frames_take(&peer->in);
    peer->reading = out->flags & ZM_MORE;
    if (!peer->reading) {
        peer->in_messages--;
        peer->in_unreported++;
        peer->socket->stats.messages_received++;
        if (peer->in_messages == 0 || peer->in_unreported >= peer->in_report)
            refill(peer);
    }
}

/* --- writing --------------------------------------------------------------------------------- */

static bool can_write(zm_peer *peer) ZM_LOCKED
{
    zm_link *link = peer->inproc;
    zm_link_side *me = mine(peer), *reader = other(peer);
    if (conflates(link) || peer->out_room)
        return true;
    zm_link_lock_take(link);
    uint32_t hwm = capacity_of(me, reader);
    bool full = is_full(me, hwm);
    bool gone = reader->closed;
    me->blocked = full;
    if (!full && !gone)
        peer->out_room = hwm ? hwm - me->out_messages - me->out_kept : UNLIMITED_ROOM;
    zm_link_lock_give(link);
    peer->out_full = full;
    return !full && !gone;
}

/* A copy of a small body in this side's arena. Every frame holds the arena it lies in. The
 * references for all frames that fit are taken together: one at a time, writer and reader would
 * take the count from each other for every message. */
static int to_arena(zm_link_side *me, const void *data, size_t size, zm_frame *frame)
    ZM_NEEDS(zm_a_link)
{
    if (!me->arena || me->arena->size - me->arena_used < size) {
        zm_block *fresh = zm_block_new(ARENA_BYTES);
        if (!fresh)
            return -ENOMEM;
        drop_arena(me);
        zm_block_ref_many(fresh, ARENA_BYTES);
        me->arena = fresh;
        me->arena_used = 0;
        me->arena_refs = 1 + ARENA_BYTES;
    }
    uint8_t *to = me->arena->data + me->arena_used;
    memcpy(to, data, size);
    me->arena_used += size;
    frame->data = to;
    frame->block = me->arena;
    me->arena_refs--;
    ZM_ASSERT(me->arena_refs > 0);
    return 0;
}

static int make_frame(zm_link_side *me, const void *data, size_t size, zm_block *block,
                      zm_frame *frame) ZM_NEEDS(zm_a_link)
{
    if (!size) {
        frame->data = (const uint8_t *) ""; /* of one that may come without an address */
        frame->block = block ? zm_block_ref(block) : NULL;
        return 0;
    }
    if (block) {
        frame->block = zm_block_ref(block);
        frame->data = block->data;
        return 0;
    }
    if (size <= SMALL_BYTES)
        return to_arena(me, data, size, frame);
    frame->block = zm_block_new(size);
    if (!frame->block)
        return -ENOMEM;
    frame->data = memcpy(frame->block->data, data, size);
    return 0;
}

int zm_inproc_write_locked(zm_peer *peer, const void *data, size_t size, zm_block *block,
                           unsigned flags)
{
    zm_link *link = peer->inproc;
    zm_link_side *me = mine(peer), *reader = other(peer);
    bool subscription = flags & (ZM_SUBSCRIBE_FRAME | ZM_CANCEL_FRAME);
    zm_frame frame = {.size = size, .flags = flags};
    zm_link_lock_take(link);
    int rc = 0;
    bool counts = !peer->out_room && !peer->writing && !subscription && !conflates(link);
    if (reader->closed)
        rc = -EHOSTUNREACH;
    else if (counts && is_full(me, capacity_of(me, reader)))
        rc = -EAGAIN;
    if (rc == -EAGAIN) {
        me->blocked = true;
        peer->out_full = true;
        peer->out_room = 0;
    }
    if (rc == 0)
        rc = make_frame(me, data, size, block, &frame);
    if (rc == 0 && conflates(link) && !subscription) {
        frame.flags &= ~(unsigned) ZM_MORE;
        zm_frames_clear(&me->out);
        zm_socket_lost_locked(peer->socket, me->out_fresh);
        me->out_messages -= me->out_fresh;
        me->out_fresh = 0;
    }
    if (rc == 0 && zm_frames_push(&me->out, frame) < 0) {
        if (frame.block)
            zm_block_unref(frame.block);
        rc = -ENOMEM;
    }
    if (rc == 0) {
        bool more = frame.flags & ZM_MORE;
        if (subscription)
            /* Goes before the parts of a message that is not complete. */
            for (uint32_t i = 1; i <= me->out_staged; i++) {
                zm_frame *later = zm_frames_at(&me->out, me->out.count - i);
                *later = *zm_frames_at(&me->out, me->out.count - i - 1);
                *zm_frames_at(&me->out, me->out.count - i - 1) = frame;
            }
        else
            peer->writing = more;
        if (more) {
            me->out_staged++;
        } else {
            if (!subscription)
                me->out_staged = 0;
            me->out_messages++;
            me->out_fresh++;
            peer->out_room -= peer->out_room > 0;
            if (!subscription)
                peer->socket->stats.messages_sent++;
            if (reader->idle && peer->socket->tells_later) {
                if (!zm_list_linked(&peer->untold_link))
                    zm_list_append(&peer->socket->untold, &peer->untold_link);
            } else if (reader->idle) {
                reader->idle = false;
                tell(reader);
            }
        }
    }
    ZM_DEBUG_ASSERT(me->out_fresh <= me->out_messages);
    ZM_DEBUG_ASSERT(me->out_staged <= me->out.count);
    zm_link_lock_give(link);
    return rc;
}

void zm_inproc_tell_locked(zm_socket *s)
{
    s->tells_later = false;
    while (!zm_list_empty(&s->untold)) {
        zm_peer *peer = ZM_CONTAINER(s->untold.next, zm_peer, untold_link);
        zm_link_side *reader = other(peer);
        zm_list_remove(&peer->untold_link);
        zm_link_lock_take(peer->inproc);
        if (reader->idle) {
            reader->idle = false;
            tell(reader);
        }
        zm_link_lock_give(peer->inproc);
    }
}

static void rollback(zm_peer *peer)
{
    zm_link *link = peer->inproc;
    zm_link_side *me = mine(peer);
    zm_link_lock_take(link);
    zm_frames_drop_newest(&me->out, me->out_staged);
    me->out_staged = 0;
    zm_link_lock_give(link);
}

/* --- commands, options, the end -------------------------------------------------------------- */

/* Makes the peer of a link that another socket connected. NULL: the link ends here. */
static zm_peer *join(zm_socket *s, zm_link *link, int side) ZM_LOCKED
{
    zm_peer *peer = s->closing ? NULL : peer_of(s, link, side);
    if (peer) {
        peer->joined = true;
        zm_peer_attach_locked(peer);
        return peer;
    }
    zm_link_lock_take(link);
    link->side[side].closed = true;
    if (link->side[!side].answered)
        atomic_fetch_sub(&s->questions, 1);
    tell(&link->side[!side]);
    zm_link_lock_give(link);
    link_unref(link);
    return NULL;
}

static void look_at_link(zm_socket *s, zm_link_side *me) ZM_LOCKED
{
    zm_link *link = me->link;
    int side = me == &link->side[1];
    zm_link_side *theirs = &link->side[!side];
    if (me->closed)
        return;
    if (me->answered) {
        me->answered(me->peer);
        return;
    }
    zm_peer *peer = me->peer ? me->peer : join(s, link, side);
    if (!peer || s->closing || me->peer != peer)
        return;
    peer->out_room = 0; /* HWMs may have changed, or the other side is gone */
    zm_link_lock_take(link);
    bool closed = theirs->closed, bound = theirs->socket != NULL;
    uint32_t hwm = capacity_of(me, theirs);
    if (me->blocked && is_half_free(me, hwm))
        me->blocked = false;
    bool writable = !me->blocked;
    zm_link_lock_give(link);
    if (bound && !peer->joined) {
        peer->joined = true;
        if (s->pattern->connected)
            s->pattern->connected(peer);
    }
    if (!zm_peer_is_ended_locked(peer) && refill(peer) && !peer->ignored)
        s->pattern->readable(peer);
    if (me->peer != peer)
        return;
    if (peer->out_full && writable) {
        peer->out_full = false;
        s->pattern->writable(peer);
    }
    if (closed)
        zm_peer_end_locked(peer);
    zm_socket_notify_locked(s);
}

static void link_told(zm_socket *s, zm_command *command)
{
    zm_link_side *me = ZM_CONTAINER(command, zm_link_side, command);
    zm_link *link = me->link;
    look_at_link(s, me);
    link_unref(link);
}

static void hwm_changed(zm_peer *peer) ZM_LOCKED
{
    zm_link *link = peer->inproc;
    zm_link_side *me = mine(peer);
    zm_link_lock_take(link);
    me->sndhwm = peer->socket->options.sndhwm;
    me->rcvhwm = peer->socket->options.rcvhwm;
    peer->out_room = 0;
    tell(me);
    tell(other(peer));
    zm_link_lock_give(link);
}

static void count_queued(zm_peer *peer, uint64_t *in, uint64_t *out) ZM_LOCKED
{
    zm_link_lock_take(peer->inproc);
    *in += other(peer)->out_messages - peer->in_unreported;
    *out += mine(peer)->out_messages;
    zm_link_lock_give(peer->inproc);
}

void zm_inproc_close_locked(zm_peer *peer)
{
    zm_link *link = peer->inproc;
    zm_link_side *me = mine(peer);
    zm_context *context = peer->socket->context;
    zm_context_lock_take(context);
    zm_link_lock_take(link);
    bool empty = !me->out_messages;
    zm_link_lock_give(link);
    if (zm_list_linked(&link->waiting) && (empty || atomic_load(&context->ended))) {
        /* With messages in it, it goes on waiting for its bind. */
        zm_list_remove(&link->waiting);
        drop_name(context, find_name(context, link->name));
        link_unref(link);
    }
    zm_context_lock_give(context);
    zm_link_lock_take(link);
    ZM_DEBUG_ASSERT(me->peer == peer && !me->closed);
    ZM_DEBUG_ASSERT(peer->socket->links > 0);
    me->closed = true;
    me->peer = NULL;
    if (other(peer)->answered)
        atomic_fetch_sub(&me->socket->questions, 1);
    tell(other(peer));
    zm_link_lock_give(link);
    peer->inproc = NULL;
    peer->socket->links--;
    link_unref(link);
}

static const uint8_t *routing_id(const zm_peer *peer, size_t *out_size) ZM_LOCKED
{
    const zm_link_side *theirs = &peer->inproc->side[!peer->side];
    *out_size = peer->joined ? theirs->routing_id_size : 0; /* else it may be coming this moment */
    return theirs->routing_id;
}

static const zm_peer_ops link_ops = {
    .can_read = zm_inproc_can_read_locked,
    .read = read_frame,
    .can_write = can_write,
    .write = zm_inproc_write_locked,
    .rollback = rollback,
    .hwm_changed = hwm_changed,
    .count_queued = count_queued,
    .routing_id = routing_id,
    .close = zm_inproc_close_locked,
};

/* --- unbind, disconnect ---------------------------------------------------------------------- */

static void unbind(zm_endpoint *ep, int linger_ms) ZM_LOCKED
{
    (void) linger_ms;
    zm_socket *s = ep->socket;
    zm_context *context = s->context;
    const char *name = strstr(ep->text, "://");
    zm_context_lock_take(context);
    zm_inproc_name *entry = name ? find_name(context, name + 3) : NULL;
    if (entry && entry->socket == s) {
        entry->socket = NULL;
        drop_name(context, entry);
    }
    zm_context_lock_give(context);
    zm_endpoint_free_locked(ep);
}

static void disconnect(zm_endpoint *ep, int linger_ms) ZM_LOCKED
{
    (void) linger_ms; /* what is queued is the other side's already */
    zm_peer *peer = ep->peer;
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(ep));
    ZM_DEBUG_ASSERT(!peer || peer->inproc);
    zm_endpoint_free_locked(ep);
    if (peer) {
        peer->endpoint = NULL;
        zm_peer_rollback_locked(peer);
        zm_peer_free_locked(peer);
    }
}

static const zm_endpoint_ops bind_ops = {.let_go = unbind};
static const zm_endpoint_ops connect_ops = {.let_go = disconnect};
