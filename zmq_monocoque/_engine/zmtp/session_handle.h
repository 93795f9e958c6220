/* A session behind an opaque handle, for callers that cannot see C structs change: plain
 * declarations only, which cffi reads as they stand. Thread: one at a time per handle. */
#ifndef ZM_ZMTP_SESSION_HANDLE_H
#define ZM_ZMTP_SESSION_HANDLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct zm_session_handle zm_session_handle;

/* As zm_event; kind is a zm_event_kind. */
typedef struct zm_session_event {
    int kind;
    int more;
    uint32_t value;
    const uint8_t *data;
    size_t size;
} zm_session_event;

/* What can be seen of a session. All pointers are borrowed until the next call on the handle. */
typedef struct zm_session_view {
    int phase, version; /* zm_phase, zm_wire_version */
    int heartbeats;
    int fault; /* zm_fault_kind */
    uint32_t fault_value;
    size_t need;
    const char *peer_socket_type;
    const uint8_t *peer_routing_id;
    size_t peer_routing_id_size;
    const uint8_t *peer_metadata;
    size_t peer_metadata_size;
} zm_session_view;

/* As in zm_session_config. A size over 255 is -EINVAL; keys not given are zeros. */
typedef struct zm_session_security {
    int mechanism; /* zm_mechanism */
    int as_server, zap;
    const uint8_t *username, *password;
    size_t username_size, password_size;
    uint8_t curve_public[32], curve_secret[32], curve_server[32];
} zm_session_security;

/* NULL: *out_error is -ENOMEM, -ENOTSUP (mechanism) or -EINVAL (socket type without ZMTP, routing
 * id over 255 bytes). What is pointed to is borrowed for the call; see
 * zm_session_config. */
zm_session_handle *zm_session_handle_new(int socket_type, int refuse_old, int64_t max_msg_size,
                                         const uint8_t *routing_id, size_t routing_id_size,
                                         const uint8_t *metadata, size_t metadata_size,
                                         const zm_session_security *security, int *out_error);
void zm_session_handle_free(zm_session_handle *taken); /* NULL allowed */

/* As zm_session_next(). */
int64_t zm_session_handle_next(zm_session_handle *handle, uint8_t *data, size_t size,
                               zm_session_event *out_event);
/* As zm_session_zap_reply(); -EINVAL: no reply is awaited, or the status is none of ZAP's. */
int zm_session_handle_zap_reply(zm_session_handle *handle, unsigned status,
                                zm_session_event *out_event);
void zm_session_handle_view(const zm_session_handle *handle, zm_session_view *out_view);
/* The session's own bytes for the peer, which are then forgotten; valid until the next call. */
const uint8_t *zm_session_handle_take_out(zm_session_handle *handle, size_t *out_size);

/* Encoding. All answer the bytes written, or -EINVAL in the wrong phase (and for a PING to a peer
 * that has none). `out` has room for size + zm_session_handle_overhead() bytes. */
size_t zm_session_handle_overhead(void);
int64_t zm_session_handle_frame(zm_session_handle *handle, uint8_t *out, int more,
                                const uint8_t *body, size_t size);
int64_t zm_session_handle_subscription(zm_session_handle *handle, uint8_t *out, int subscribe,
                                       const uint8_t *topic, size_t size);
int64_t zm_session_handle_ping(zm_session_handle *handle, uint8_t *out, uint32_t ttl_ms);

#endif
