/* Peers: one for each other side of a socket, over a connection or inproc. A peer joins the two
 * queues and knows when they are full; whose turn it is, is the pattern's business. */
#include "peer.h"

#include <errno.h>
#include <string.h>

#include "../api.h"
#include "../base/alloc.h"
#include "../base/block.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../connection/connection.h"
#include "../route/turn.h"
#include "../socket/endpoint.h"
#include "../socket/pacing.h"
#include "../socket/socket.h"
#include "../socket/transfer.h"
#include "../socket/wakeup.h"
#include "frames.h"
#include "metadata.h"

static void reap(zm_ended *ending) ZM_LOCKED;

static int take_index(zm_socket *s, zm_peer *peer) ZM_LOCKED
{
    if (!s->peer_free) {
        uint32_t capacity = s->peer_capacity ? s->peer_capacity * 2 : 4;
        zm_peer_slot *table = zm_realloc(s->peer_table, capacity * sizeof *table);
        if (!table)
            return -ENOMEM;
        s->peer_table = table;
        for (uint32_t i = capacity; i > s->peer_capacity; i--) {
            table[i - 1].next_free = s->peer_free;
            s->peer_free = i;
        }
        s->peer_capacity = capacity;
    }
    ZM_DEBUG_ASSERT(s->peer_free <= s->peer_capacity);
    peer->index = s->peer_free - 1;
    s->peer_free = s->peer_table[peer->index].next_free;
    s->peer_table[peer->index].peer = peer;
    return 0;
}

static void give_index(zm_socket *s, const zm_peer *peer) ZM_LOCKED
{
    ZM_DEBUG_ASSERT(s->peer_table[peer->index].peer == peer);
    s->peer_table[peer->index].next_free = s->peer_free;
    s->peer_free = peer->index + 1;
}

zm_peer *zm_peer_new_locked(zm_socket *s)
{
    zm_peer *peer = zm_calloc(sizeof *peer + s->pattern->peer_size);
    if (!peer)
        return NULL;
    peer->socket = s;
    peer->ending.reap = reap;
    if (take_index(s, peer) < 0) {
        zm_free(peer);
        return NULL;
    }
    zm_list_append(&s->peers, &peer->link);
    s->stats.peers++;
    return peer;
}

void zm_peer_attach_locked(zm_peer *peer)
{
    zm_socket *s = peer->socket; /* a peer that the pattern has no memory for may be gone then */
    ZM_DEBUG_ASSERT(zm_peer_is_sound_locked(peer));
    ZM_DEBUG_ASSERT(zm_list_linked(&peer->link));
    zm_peer_become_locked(peer, ZM_PIPE_ATTACHED);
    s->pattern->attached(peer);
    zm_socket_notify_locked(s);
}

void zm_peer_detach_locked(zm_peer *peer)
{
    zm_socket *s = peer->socket;
    ZM_DEBUG_ASSERT(zm_peer_is_sound_locked(peer));
    if (!zm_peer_is_attached_locked(peer))
        return;
    zm_peer_become_locked(peer, peer->state == ZM_PIPE_ENDED ? ZM_PIPE_CLOSING : ZM_PIPE_DETACHED);
    zm_turn_leave(&peer->turn_in);
    zm_turn_leave(&peer->turn_out);
    s->pattern->detached(peer);
    zm_peer_ripen_locked(peer);
    if (s->receiving_from == peer)
        s->receiving_from = NULL;
    if (s->sending_to == peer) {
        s->sending_to = NULL;
        s->dropping = true;
    }
    ZM_DEBUG_ASSERT(zm_peer_is_sound_locked(peer));
    zm_socket_notify_locked(s);
}

void zm_peer_free_locked(zm_peer *taken)
{
    zm_socket *s = taken->socket;
    ZM_ASSERT(!taken->in_flight_conn);
    zm_peer_detach_locked(taken);
    if (taken->state != ZM_PIPE_CLOSING)
        zm_peer_become_locked(taken, ZM_PIPE_CLOSING);
    ZM_DEBUG_ASSERT(zm_peer_is_sound_locked(taken));
    ZM_DEBUG_ASSERT(s->sending_to != taken && s->receiving_from != taken);
    if (taken->conn)
        taken->conn->peer = NULL;
    if (taken->endpoint)
        taken->endpoint->peer = NULL;
    if (taken->ops)
        taken->ops->close(taken);
    zm_list_remove(&taken->ending.link);
    zm_list_remove(&taken->crowded_link);
    zm_list_remove(&taken->untold_link);
    zm_frames_fini(&taken->in);
    zm_socket_lost_locked(s, taken->out.count);
    zm_outq_fini(&taken->out);
    zm_metadata_unref(taken->metadata);
    zm_free(taken->wanted_id);
    give_index(s, taken);
    zm_list_remove(&taken->link);
    s->stats.peers--;
    zm_free(taken);
}

uint32_t zm_peer_low_water(int hwm)
{
    return hwm > 0 ? (uint32_t) (hwm + 1) / 2 : 0;
}

void zm_peer_end_locked(zm_peer *peer)
{
    zm_socket *s = peer->socket;
    ZM_DEBUG_ASSERT(zm_peer_is_sound_locked(peer));
    if (zm_peer_is_ended_locked(peer))
        return;
    zm_peer_become_locked(peer, peer->state == ZM_PIPE_ATTACHED ? ZM_PIPE_ENDED : ZM_PIPE_CLOSING);
    if (s->sending_to == peer) {
        s->sending_to = NULL;
        s->dropping = true;
    }
    zm_turn_leave(&peer->turn_out);
    zm_peer_ripen_locked(peer);
    ZM_DEBUG_ASSERT(zm_peer_is_sound_locked(peer));
}

void zm_peer_ripen_locked(zm_peer *peer)
{
    if (zm_peer_is_ended_locked(peer) && !zm_list_linked(&peer->ending.link))
        zm_list_append(&peer->socket->ended, &peer->ending.link);
}

/* Nothing comes or goes any more: is it read out? */
static void reap(zm_ended *ending)
{
    zm_peer *peer = ZM_CONTAINER(ending, zm_peer, ending);
    if (peer->in_flight_conn)
        return;
    bool done = peer->ignored || !zm_peer_is_attached_locked(peer)
                || peer->socket->pattern->never_reads || !zm_peer_can_read_locked(peer);
    if (done && peer->conn)
        zm_peer_detach_locked(peer); /* what it is still to be sent is in its queue */
    else if (done)
        zm_peer_free_locked(peer);
}

/* --- reading --------------------------------------------------------------------------------- */

bool zm_peer_can_read_locked(zm_peer *peer)
{
    if (peer->ops)
        return peer->ops->can_read(peer);
    return peer->reading || peer->in_messages > 0;
}

void zm_peer_read_locked(zm_peer *peer, zm_frame *out)
{
    if (ZM_UNLIKELY(zm_peer_is_ended_locked(peer)))
        zm_peer_ripen_locked(peer);
    if (peer->ops) {
        peer->ops->read(peer, out);
        return;
    }
    *out = zm_frames_take(&peer->in);
    peer->reading = out->flags & ZM_MORE;
    if (!peer->reading) {
        peer->in_messages--;
        zm_conn *conn = peer->conn;
        if (conn && conn->stopped) {
            int hwm = peer->socket->options.rcvhwm;
            if (hwm <= 0 || peer->in_messages + zm_peer_low_water(hwm) <= (uint32_t) hwm)
                zm_conn_wants_recv_locked(conn);
        }
    }
}

/* --- what arrives over a connection ---------------------------------------------------------- */

/* A complete message is in the peer's queue. */
static void message_arrived(zm_peer *peer) ZM_LOCKED
{
    zm_socket *s = peer->socket;
    ZM_DEBUG_ASSERT(zm_peer_is_sound_locked(peer));
    peer->in_staged = 0;
    s->stats.messages_received++;
    if (peer->in_messages++ == 0 && !peer->reading && !peer->ignored) {
        s->pattern->readable(peer);
        zm_socket_notify_locked(s);
    }
    int hwm = s->options.rcvhwm;
    if (hwm > 0 && peer->in_messages >= (uint32_t) hwm && !peer->conflate)
        if (peer->conn)
            peer->conn->stopped = true;
}

int zm_peer_queue_locked(zm_peer *peer, const uint8_t *data, size_t size, bool more, zm_block *own)
{
    zm_block *copy = NULL;
    ZM_DEBUG_ASSERT(!peer->ops); /* the two ends of a link count what is in it */
    if (ZM_UNLIKELY(peer->conflate)) {
        /* A conflated queue holds one frame; its memory is the frame's own. */
        copy = zm_block_new(size);
        if (!copy)
            return -ENOMEM;
        memcpy(copy->data, data, size);
        zm_frames_clear(&peer->in);
        peer->in_messages = 0;
        data = copy->data;
        more = false;
    }
    zm_frame frame = {data, size, copy ? copy : own, more ? ZM_MORE : 0};
    int rc = zm_frames_push(&peer->in, frame);
    if (ZM_UNLIKELY(rc < 0)) {
        if (copy)
            zm_block_unref(copy);
        return rc;
    }
    if (copy && own)
        zm_block_unref(own);
    if (more)
        peer->in_staged++;
    else
        message_arrived(peer);
    return 0;
}

int zm_peer_keep_room_locked(zm_peer *peer)
{
    return zm_frames_reserve(&peer->in, 2);
}

void zm_peer_announce_end_locked(zm_peer *peer)
{
    static const uint8_t nothing;
    if (peer->socket->options.stream_notify)
        zm_peer_queue_locked(peer, &nothing, 0, false, NULL);
}

int zm_peer_announce_locked(zm_peer *peer)
{
    int rc = zm_peer_keep_room_locked(peer);
    if (rc == 0)
        zm_peer_announce_end_locked(peer);
    return rc;
}

/* --- writing --------------------------------------------------------------------------------- */

bool zm_peer_can_write_locked(zm_peer *peer)
{
    if (peer->ops)
        return peer->ops->can_write(peer);
    if (ZM_UNLIKELY(peer->out_full))
        return false;
    int hwm = peer->socket->options.sndhwm;
    if (hwm > 0 && peer->out.count >= (uint32_t) hwm && !peer->conflate) {
        peer->out_full = true;
        peer->patience_ns = ZM_PATIENCE_NS;
        return false;
    }
    return true;
}

void zm_peer_drained_locked(zm_peer *peer)
{
    int hwm = peer->socket->options.sndhwm;
    if (!peer->out_full || peer->ops)
        return;
    if (hwm > 0 && peer->out.count + zm_peer_low_water(hwm) > (uint32_t) hwm)
        return;
    peer->out_full = false;
    if (zm_peer_is_attached_locked(peer)) {
        peer->socket->pattern->writable(peer);
        zm_socket_notify_locked(peer->socket);
    }
}

static inline bool has_many(const zm_peer *peer) ZM_LOCKED
{
    return zm_are_many_locked(peer->socket, peer->out.count);
}

int zm_peer_write_locked(zm_peer *peer, const void *data, size_t size, zm_block *block, bool more)
{
    if (peer->ops) {
        int rc = peer->ops->write(peer, data, size, block, more ? ZM_MORE : 0);
        if (ZM_UNLIKELY(rc == -ENOMEM))
            zm_peer_rollback_locked(peer);
        return rc;
    }
    zm_socket *s = peer->socket;
    bool many = has_many(peer);
    if (ZM_UNLIKELY(many) && !peer->writing && !zm_peer_can_write_locked(peer))
        return -EAGAIN;
    if (ZM_UNLIKELY(zm_peer_is_ended_locked(peer)))
        return -EHOSTUNREACH;
    if (ZM_UNLIKELY(peer->conflate)) {
        more = false; /* frame by frame, as libzmq does (S-12) */
        zm_socket_lost_locked(peer->socket, zm_outq_forget_waiting(&peer->out));
    }
    int rc;
    if (ZM_UNLIKELY(peer->raw)) {
        rc = size ? zm_outq_raw(&peer->out, data, size) : 0;
        more = false;
    } else {
        rc = block ? zm_outq_write_block(&peer->out, more, zm_block_ref(block), size)
                   : zm_outq_write(&peer->out, more, data, size);
        if (rc < 0 && block)
            zm_block_unref(block);
        if (rc == 0 && !more)
            rc = zm_outq_commit(&peer->out);
    }
    if (ZM_UNLIKELY(rc < 0)) {
        zm_peer_rollback_locked(peer);
        return rc;
    }
    peer->writing = more;
    if (!more) {
        s->stats.messages_sent++;
        zm_conn *conn = peer->conn;
        if (conn && zm_conn_is_open_locked(conn)) {
            if (ZM_UNLIKELY(!conn->wants_send)) /* in a burst it is */
                zm_conn_wants_send_locked(conn);
            /* An application that flushes each message has never this many, while the kernel takes
             * them. */
            if (ZM_UNLIKELY(many) && peer->out.count > (uint32_t) s->options.sndhwm / 2
                && !conn->send_op.in_flight)
                s->flush_due = true;
        }
    }
    return 0;
}

/* The kernel's buffers are full. A peer that reads empties them, but in its own time. libzmq takes
 * a microsecond for a message and so finds room; we take a tenth of that, and would drop. */
static bool may_be_read(const zm_peer *peer) ZM_LOCKED
{
    return peer->patience_ns > 0 && !zm_peer_is_ended_locked(peer) && peer->conn
           && peer->conn->send_op.in_flight;
}

int zm_peer_find_room_locked(zm_peer *peer)
{
    if (ZM_LIKELY(zm_peer_can_write_locked(peer)))
        return 0;
    if (peer->ops || zm_peer_is_ended_locked(peer) || !peer->conn)
        return -EAGAIN;
    zm_drive_for_room_locked(peer->conn);
    if (!zm_peer_is_ended_locked(peer) && zm_peer_can_write_locked(peer))
        return 0;
    if (!may_be_read(peer) || peer->socket->driven)
        return -EAGAIN;
    if (!zm_list_linked(&peer->crowded_link))
        zm_list_append(&peer->socket->crowded, &peer->crowded_link);
    return ZM_LATER;
}

void zm_peers_await_room_locked(zm_socket *s)
{
    int64_t began = zm_now_ns();
    while (!zm_list_empty(&s->crowded) && !s->driven) {
        s->followers++; /* the socket stays */
        zm_socket_lock_give(s);
        zm_spin_yield();
        zm_socket_lock_take(s);
        s->followers--;
        int64_t now = zm_now_ns(), spent = now - began;
        began = now;
        zm_list waiting;
        zm_list_init(&waiting);
        zm_list_append_all(&waiting, &s->crowded);
        while (!zm_list_empty(&waiting)) {
            zm_peer *peer = ZM_CONTAINER(waiting.next, zm_peer, crowded_link);
            zm_list_remove(&peer->crowded_link);
            peer->patience_ns -= spent;
            if (!s->driven && may_be_read(peer))
                zm_peer_find_room_locked(peer); /* it is listed again where there is none */
        }
    }
    while (!zm_list_empty(&s->crowded)) /* another thread waits in the driver, and takes it in */
        zm_list_remove(s->crowded.next);
}

void zm_peer_rollback_locked(zm_peer *peer)
{
    peer->writing = false;
    if (peer->ops)
        peer->ops->rollback(peer);
    else
        zm_outq_rollback(&peer->out);
}

void zm_peer_subscribe_locked(zm_peer *peer, bool subscribe, const uint8_t *topic, size_t size)
{
    if (peer->ops)
        peer->ops->write(peer, topic, size, NULL, subscribe ? ZM_SUBSCRIBE_FRAME : ZM_CANCEL_FRAME);
    else if (peer->conn && zm_conn_is_open_locked(peer->conn))
        peer->conn->ops->subscribe(peer->conn, subscribe, topic, size);
}

/* --- the rest -------------------------------------------------------------------------------- */

const uint8_t *zm_peer_own_id_locked(const zm_peer *peer, size_t *out_size)
{
    if (peer->ops)
        return peer->ops->routing_id(peer, out_size);
    *out_size = 0;
    return peer->conn ? peer->conn->ops->routing_id(peer->conn, out_size) : NULL;
}

void zm_peer_hwm_changed_locked(zm_peer *peer)
{
    if (peer->ops)
        peer->ops->hwm_changed(peer);
    else
        zm_peer_drained_locked(peer);
    if (peer->conn && peer->conn->stopped)
        zm_conn_wants_recv_locked(peer->conn);
}

void zm_peer_count_queued_locked(zm_peer *peer, uint64_t *in, uint64_t *out)
{
    if (peer->ops) {
        peer->ops->count_queued(peer, in, out);
    } else {
        *in += peer->in_messages;
        *out += peer->out.count;
    }
}

void zm_peer_drop_locked(zm_peer *peer)
{
    zm_conn *conn = peer->conn;
    zm_endpoint *endpoint = peer->endpoint;
    zm_peer_end_locked(peer);
    if (conn)
        conn->ops->drop(conn);
    if (endpoint)
        zm_endpoint_close_locked(endpoint);
}
