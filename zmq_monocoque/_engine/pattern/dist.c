#include "dist.h"

#include <errno.h>

#include "../api.h"
#include "../base/alloc.h"
#include "../base/check.h"
#include "../pipe/peer.h"
#include "../socket/pattern.h"
#include "../socket/socket.h"

int zm_dist_begin_locked(zm_dist *dist, const zm_socket *s)
{
    ZM_ASSERT(!dist->sending);
    if (ZM_UNLIKELY(dist->capacity < s->peer_capacity)) {
        zm_peer **peers = zm_realloc(dist->peers, s->peer_capacity * sizeof *peers);
        if (!peers)
            return -ENOMEM;
        dist->peers = peers;
        dist->capacity = s->peer_capacity;
    }
    dist->count = 0;
    return 0;
}

int zm_dist_find_room_locked(zm_dist *dist, bool all)
{
    bool later = false;
    for (uint32_t i = 0; i < dist->count; i++) {
        if (ZM_LIKELY(!all && !zm_peer_is_crowded_locked(dist->peers[i])))
            continue;
        int room = zm_peer_find_room_locked(dist->peers[i]);
        if (room == -EAGAIN && all)
            return -EAGAIN;
        later |= room == ZM_LATER;
    }
    return later ? ZM_LATER : 0;
}

void zm_dist_send_locked(zm_dist *dist, zm_socket *s, const zm_outgoing *m)
{
    for (uint32_t i = 0; i < dist->count;) {
        if (zm_peer_offer_locked(dist->peers[i], m->data, m->size, m->block, m->more) == 0) {
            i++;
            continue;
        }
        s->stats.messages_dropped++;
        dist->peers[i] = dist->peers[--dist->count];
    }
    dist->sending = m->more;
}

void zm_dist_forget(zm_dist *dist, const zm_peer *peer)
{
    if (!dist->sending)
        return; /* the next message begins anew; of many peers many may go at once */
    for (uint32_t i = 0; i < dist->count; i++)
        if (dist->peers[i] == peer)
            dist->peers[i--] = dist->peers[--dist->count];
}

void zm_dist_fini(zm_dist *dist)
{
    zm_free(dist->peers);
}
