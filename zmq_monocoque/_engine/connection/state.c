/* The life of a connection: its states, and what each may become. */
#include "../base/check.h"
#include "../base/list.h"
#include "../driver/driver.h"
#include "../pipe/peer.h"
#include "../socket/endpoint.h"
#include "connection.h"
#include "connection_private.h"

#define TO(state) (1u << ZM_CONN_##state)
/* What each state may become. */
static const uint8_t next_states[] = {
    [ZM_CONN_HANDSHAKE] = TO(ACTIVE) | TO(REJECTED) | TO(CLOSING),
    [ZM_CONN_ACTIVE] = TO(DRAINING) | TO(CLOSING),
    [ZM_CONN_DRAINING] = TO(CLOSING),
    [ZM_CONN_REJECTED] = TO(CLOSING),
    [ZM_CONN_CLOSING] = 0,
};
#undef TO

void zm_conn_become_locked(zm_conn *conn, zm_conn_state state)
{
    ZM_ASSERT(conn->state < ZM_COUNT(next_states));
    ZM_ASSERT(next_states[conn->state] & 1u << state);
    conn->state = state;
}

#if defined(ZM_DEBUG)
bool zm_conn_is_sound_locked(const zm_conn *conn)
{
    const zm_peer *peer = conn->peer, *in_flight = conn->in_flight_peer;
    const zm_endpoint *endpoint = conn->endpoint;
    zm_conn_state state = conn->state;
    ZM_ASSERT(!peer || (peer->conn == conn && !in_flight));
    ZM_ASSERT(!peer || (state != ZM_CONN_HANDSHAKE && state != ZM_CONN_REJECTED));
    ZM_ASSERT(!in_flight || in_flight->in_flight_conn == conn);
    ZM_ASSERT(!endpoint == !zm_list_linked(&conn->of_endpoint));
    ZM_ASSERT(!endpoint || endpoint->kind != ZM_CONNECTER || endpoint->conn == conn);
    ZM_ASSERT(!endpoint || (state != ZM_CONN_REJECTED && state != ZM_CONN_CLOSING));
    ZM_ASSERT(conn->wants_send == zm_list_linked(&conn->wants_send_link));
    ZM_ASSERT(conn->wants_recv == zm_list_linked(&conn->wants_recv_link));
    ZM_ASSERT(!conn->moving || conn->recv_op.in_flight);
    ZM_ASSERT(!conn->counted || state == ZM_CONN_HANDSHAKE);
    ZM_ASSERT(!conn->handshake.position || state == ZM_CONN_HANDSHAKE);
    ZM_ASSERT(!conn->heartbeat.position || state == ZM_CONN_ACTIVE);
    ZM_ASSERT(!conn->linger.position || zm_conn_is_leaving_locked(conn));
    if (state == ZM_CONN_CLOSING)
        ZM_ASSERT(!conn->wants_send && !conn->wants_recv && !conn->zap);
    else
        ZM_ASSERT(conn->fd >= 0);
    ZM_ASSERT(conn->fd >= 0 || (!conn->recv_op.in_flight && !conn->send_op.in_flight));
    ZM_ASSERT(conn->slab_at <= conn->slab_used && conn->slab_kept <= conn->slab_used);
    ZM_ASSERT(!conn->slab || conn->slab_used <= conn->slab->size);
    ZM_ASSERT(!conn->large || conn->large_have <= conn->large->size);
    ZM_ASSERT(conn->control_size <= conn->control_capacity);
    ZM_ASSERT(conn->flying_sent <= conn->flying_size);
    ZM_ASSERT(conn->recoded_sent <= conn->recoded_size);
    ZM_ASSERT(conn->recoded_size <= conn->recoded_capacity);
    return true;
}
#endif
