/* The life of a connection: its states, and what each may become. */
#include "../base/check.h"
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
