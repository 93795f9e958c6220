/* What patterns share: the load balancer (a message to the next peer with room), the fair queue (a
 * message from the next peer that has one), and what those do that have no part in something. */
#ifndef ZM_PATTERN_SHARED_H
#define ZM_PATTERN_SHARED_H

#include "../base/block.h"
#include "../base/check.h"
#include "../pipe/peer.h"
#include "../socket/socket.h"

extern const zm_pattern zm_pattern_pair, zm_pattern_push, zm_pattern_pull, zm_pattern_dealer,
    zm_pattern_router, zm_pattern_req, zm_pattern_rep, zm_pattern_sub, zm_pattern_xsub,
    zm_pattern_pub, zm_pattern_xpub, zm_pattern_stream;

/* How a recv() ends that has nothing to give. */
static inline int zm_recv_nothing(int rc, zm_frame *out_frame, zm_peer **out_peer)
{
    ZM_POISON(out_frame);
    ZM_POISON(out_peer);
    return rc;
}

static inline void zm_frame_drop(const zm_frame *taken)
{
    if (taken->block)
        zm_block_unref(taken->block);
}

/* --- load balancer (load_balancer.c) --------------------------------------------------------- */

/* *out_peer (NULL allowed): where it went; untouched when that is nowhere (S-51). 0, -EAGAIN,
 * -ENOMEM. */
int zm_balance_send_locked(zm_socket *s, const zm_outgoing *message, zm_peer **out_peer) ZM_LOCKED;
/* who does not ask where */
int zm_balance_send_only_locked(zm_socket *s, const zm_outgoing *message) ZM_LOCKED;
bool zm_balance_can_send_locked(zm_socket *s) ZM_LOCKED;
void zm_balance_writable_locked(zm_peer *peer) ZM_LOCKED;
void zm_balance_attached_locked(zm_peer *peer) ZM_LOCKED;
void zm_probe_locked(zm_peer *peer) ZM_LOCKED; /* PROBE_ROUTER */

/* --- fair queue (fair_queue.c) ---------------------------------------------------------------- */

int zm_fair_recv_locked(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer) ZM_LOCKED;
bool zm_fair_can_recv_locked(zm_socket *s) ZM_LOCKED;
/* None of the messages that were there is wanted: -EAGAIN. Where some were `dropped` there may be
 * room below RCVHWM again: whoever is about to wait has it filled first. */
int zm_fair_nothing_left_locked(zm_socket *s, bool dropped) ZM_LOCKED;
void zm_fair_readable(zm_peer *peer);
/* The rest of the message that *frame (taken) is of. */
void zm_fair_drop_rest_locked(zm_socket *s, zm_frame *frame) ZM_LOCKED;

/* --- no part in it (patterns.c) --------------------------------------------------------------- */

int zm_no_send(zm_socket *s, const zm_outgoing *message);
int zm_no_recv(zm_socket *s, zm_frame *out_frame, zm_peer **out_peer);
bool zm_never(zm_socket *s);
bool zm_always(zm_socket *s);
void zm_forget_nothing(zm_peer *peer);

#endif
