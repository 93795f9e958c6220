/* What the files of a connection offer each other. Nothing outside connection/ includes this. All
 * of it needs the socket's lock; the connection stays its socket's. */
#ifndef ZM_CONNECTION_CONNECTION_PRIVATE_H
#define ZM_CONNECTION_CONNECTION_PRIVATE_H

#include "../base/block.h"
#include "../base/clock.h"
#include "../base/timer.h"
#include "../pipe/frames.h"
#include "../pipe/peer.h"
#include "../socket/options.h"
#include "../socket/socket.h"
#include "connection.h"

enum { ZM_CONN_TIMERS = 5 }; /* of each */

enum ping { NO_PING, PING_QUEUED, PING_FLIES };

/* state.c */
void zm_conn_become_locked(zm_conn *conn, zm_conn_state state) ZM_LOCKED;
/* For asserts: what holds of a connection whenever no function of connection/ is at work on it. */
bool zm_conn_is_sound_locked(const zm_conn *conn) ZM_LOCKED;

/* close.c */
/* Frees bytes that went to the peer, or did not. */
void zm_conn_free_control_locked(const zm_conn *conn, uint8_t *taken, size_t size) ZM_LOCKED;
void zm_conn_handshake_over_locked(zm_conn *conn) ZM_LOCKED;
/* Its connecter may have another. */
void zm_conn_leave_connecter_locked(zm_conn *conn) ZM_LOCKED;
void zm_conn_leave_endpoint_locked(zm_conn *conn) ZM_LOCKED;
void zm_conn_stop_timers(zm_conn *conn);
/* Nothing of it is in flight any more: the descriptor goes now, the memory when nobody up the stack
 * can be using it (zm_reap_ended_locked). */
void zm_conn_end_if_done_locked(zm_conn *conn) ZM_LOCKED;
void zm_conn_free_locked(zm_ended *ended) ZM_LOCKED;
bool zm_conn_all_sent_locked(const zm_conn *conn) ZM_LOCKED;
/* The send that was in flight when its peer was detached is over. */
void zm_conn_settle_in_flight_locked(zm_conn *conn, int32_t res) ZM_LOCKED;
/* Tells the monitor, and counts: nobody came in. */
void zm_conn_handshake_failed_locked(zm_conn *conn, int event, uint32_t value) ZM_LOCKED;
void zm_conn_drop_locked(zm_conn *conn) ZM_LOCKED;

/* send.c */
int zm_conn_take_session_output_slowly_locked(zm_conn *conn) ZM_LOCKED;
void zm_conn_subscribe_locked(zm_conn *conn, bool subscribe, const uint8_t *topic,
                              size_t size) ZM_LOCKED;
void zm_conn_flush_locked(zm_conn *conn) ZM_LOCKED;
void zm_conn_send_ping_locked(zm_conn *conn, const zm_options *o) ZM_LOCKED;
void zm_conn_send_done_locked(zm_op *op, int32_t res) ZM_LOCKED;

/* handshake.c */
/* The keys that this socket's cookies are sealed with, as a server of CURVE. NULL: no memory. */
const zm_cookie_keys *zm_conn_cookies(zm_socket *s);
int zm_conn_start_session_locked(zm_conn *conn, const zm_options *o) ZM_LOCKED;
/* The session has an ERROR for the peer. It leaves, and the connection with it once the peer has
 * closed its side: closing first could reset what the peer has not read yet. */
void zm_conn_turn_away_locked(zm_conn *conn) ZM_LOCKED;
void zm_conn_ready_locked(zm_conn *conn) ZM_LOCKED;

/* receive.c */
void zm_conn_receive_done_locked(zm_op *op, int32_t res) ZM_LOCKED;
void zm_conn_arm_locked(zm_conn *conn) ZM_LOCKED;
bool zm_conn_pull_locked(zm_conn *conn) ZM_LOCKED;

/* What the session says leaves. 0, or < 0: the connection is gone. */
static inline int zm_conn_take_session_output_locked(zm_conn *conn) ZM_LOCKED
{
    return conn->session.out_size ? zm_conn_take_session_output_slowly_locked(conn) : 0;
}

static inline void zm_conn_set_timer(zm_conn *conn, zm_timer *timer, int64_t ms)
{
    zm_timer_set(&conn->socket->timers, timer, zm_now_ns() + ms * ZM_MS);
}

/* The newest frame holds the slab for all of them: they are taken in order. */
static inline void zm_conn_hold_slab_locked(zm_conn *conn, zm_peer *peer) ZM_LOCKED
{
    if (!peer->in.count)
        return;
    zm_frame *newest = zm_frames_at(&peer->in, peer->in.count - 1);
    if (!newest->block && conn->slab) /* a notification is in no slab */
        newest->block = zm_block_ref(conn->slab);
}

#endif
