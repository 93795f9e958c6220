/* The handshake of a connection: how its session is set up, and how it comes out. */
#include <errno.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/crypto.h"
#include "../base/secret.h"
#include "../base/timer.h"
#include "../driver/address.h"
#include "../pipe/frames.h"
#include "../pipe/metadata.h"
#include "../pipe/peer.h"
#include "../socket/endpoint.h"
#include "../socket/monitor.h"
#include "../socket/options.h"
#include "../socket/socket.h"
#include "../socket/wakeup.h"
#include "../zmtp/session.h"
#include "connection.h"
#include "connection_private.h"

enum { FAREWELL_MS = 300 }; /* for a peer that was turned away to read why */

/* The keys that this socket's cookies are sealed with, as a server of CURVE. NULL: no memory. */
const zm_cookie_keys *zm_conn_cookies(zm_socket *s)
{
    if (!s->cookies)
        s->cookies = zm_secret_new();
    if (s->cookies)
        zm_cookie_keys_turn(s->cookies, zm_now_ns());
    return s->cookies;
}

int zm_conn_start_session_locked(zm_conn *conn, const zm_options *o)
{
    zm_socket *s = conn->socket;
    zm_session_config config = {
        .socket_type = s->type,
        .mechanism = (zm_mechanism) o->mechanism,
        .as_server = o->as_server,
        .zap = zm_options_want_zap(o),
        .refuse_old = o->mechanism != ZM_NULL || o->zap_domain.size > 0,
        .max_msg_size = o->max_msg_size,
        .max_command = o->limits.command,
        .max_metadata = o->limits.metadata,
        .routing_id = o->routing_id.data,
        .routing_id_size = o->routing_id.size,
        .metadata = o->metadata.data,
        .metadata_size = o->metadata.size,
        .username = o->plain_username.data,
        .username_size = o->plain_username.size,
        .password = o->plain_password.data,
        .password_size = o->plain_password.size,
        .curve_public = o->curve_public,
        .curve_secret = o->curve_secret,
        .curve_server = o->curve_server,
    };
    if (o->mechanism == ZM_CURVE && o->as_server && zm_crypto_get()) {
        config.cookies = zm_conn_cookies(s);
        if (!config.cookies)
            return -ENOMEM;
    }
    int rc = zm_session_init(&conn->session, &config);
    conn->session.message_room = (uint64_t) o->limits.message;
    return rc;
}

/* The session has an ERROR for the peer. It leaves, and the connection with it once the peer has
 * closed its side: closing first could reset what the peer has not read yet. */
void zm_conn_turn_away_locked(zm_conn *conn)
{
    zm_socket *s = conn->socket;
    zm_endpoint *endpoint = conn->endpoint;
    ZM_DEBUG_ASSERT(conn->state == ZM_CONN_HANDSHAKE && !conn->peer);
    zm_monitor_event(s, ZM_DISCONNECTED, (uint32_t) conn->fd, conn->text);
    if (zm_conn_take_session_output_locked(conn) < 0)
        return;
    zm_conn_stop_timers(conn);
    zm_conn_handshake_over_locked(conn);
    zm_conn_become_locked(conn, ZM_CONN_REJECTED);
    zm_conn_leave_connecter_locked(conn);
    zm_conn_leave_endpoint_locked(conn);
    zm_conn_set_timer(conn, &conn->linger, FAREWELL_MS);
    ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn));
    if (endpoint->kind == ZM_CONNECTER) {
        conn->owner->lost(endpoint, false);
    }
}

void zm_conn_ready_locked(zm_conn *conn)
{
    zm_socket *s = conn->socket;
    zm_endpoint *endpoint = conn->endpoint;
    char address[128];
    ZM_DEBUG_ASSERT(conn->state == ZM_CONN_HANDSHAKE && !conn->peer);
    ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn));
    zm_timer_stop(&s->timers, &conn->handshake);
    if (!conn->raw && zm_conn_take_session_output_locked(conn) < 0)
        return; /* our READY goes before anything the pattern says */
    zm_peer_address(conn->fd, conn->transport, address, sizeof address);
    zm_metadata *metadata = zm_metadata_new(conn->raw ? NULL : &conn->session, conn->fd, address,
                                            &conn->zap_properties);
    zm_peer *peer = endpoint->kind == ZM_CONNECTER ? endpoint->peer : NULL;
    bool fresh = !peer;
    ZM_DEBUG_ASSERT(fresh || (zm_peer_is_sound_locked(peer) && !peer->conn));
    if (metadata && fresh)
        peer = zm_peer_new_locked(s);
    if (!peer || !metadata) {
        zm_metadata_unref(metadata);
        zm_conn_failed_locked(conn, true);
        return;
    }
    zm_metadata_unref(peer->metadata);
    peer->metadata = metadata;
    peer->conn = conn;
    conn->peer = peer;
    zm_conn_become_locked(conn, ZM_CONN_ACTIVE);
    zm_conn_handshake_over_locked(conn);
    if (!conn->raw)
        zm_monitor_event(s, ZM_HANDSHAKE_SUCCEEDED, 0, conn->text);
    if (endpoint->kind == ZM_CONNECTER) {
        endpoint->attempts = 0;
        endpoint->peer = peer;
        peer->endpoint = endpoint;
    }
    if (endpoint->lingering) {
        /* Disconnected or closed meanwhile: only what is queued is left to do. */
        zm_conn_finish_locked(conn);
        return;
    }
    peer->raw = conn->raw;
    if (fresh) {
        zm_endpoint_give_id_locked(endpoint, peer);
        peer->conflate = zm_conflates(s, &endpoint->options);
        zm_peer_attach_locked(peer);
    } else if (s->pattern->connected && zm_peer_is_attached_locked(peer)) {
        s->pattern->connected(peer);
    }
    if (conn->state == ZM_CONN_CLOSING)
        return;
    if (!conn->raw && conn->session.heartbeats && endpoint->options.heartbeat_ivl_ms > 0)
        zm_conn_set_timer(conn, &conn->heartbeat, endpoint->options.heartbeat_ivl_ms);
    if (zm_outq_waiting(&peer->out))
        zm_conn_wants_send_locked(conn);
    zm_socket_notify_locked(s);
}
