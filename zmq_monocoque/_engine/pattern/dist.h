/* One message to many peers (libzmq: dist), for PUB, XPUB and XSUB. */
#ifndef ZM_PATTERN_DIST_H
#define ZM_PATTERN_DIST_H

#include "shared.h"

typedef struct zm_dist {
    zm_peer **peers; /* who gets the message that is being sent; owned is the array alone */
    uint32_t count, capacity;
    bool sending; /* parts of it are out, more follow */
} zm_dist;

/* Begins with nobody, and has room for every peer of the socket. 0 or -ENOMEM. */
int zm_dist_begin_locked(zm_dist *dist, const zm_socket *s) ZM_LOCKED;
static inline void zm_dist_add(zm_dist *dist, zm_peer *peer)
{
    dist->peers[dist->count++] = peer;
}
/* Before anybody has the message: is there room for it? 0; ZM_LATER: there may be soon; -EAGAIN:
 * somebody has none, and `all` are to get it or nobody (S-11). */
int zm_dist_find_room_locked(zm_dist *dist, bool all) ZM_LOCKED;
/* One part. A peer that has no room for the first part, or is gone, misses the whole message. */
void zm_dist_send_locked(zm_dist *dist, zm_socket *s, const zm_outgoing *message) ZM_LOCKED;
void zm_dist_forget(zm_dist *dist, const zm_peer *peer);
void zm_dist_fini(zm_dist *dist);

#endif
