/* PING and PONG (RFC 37, "Heartbeating"): their bytes only. When to send one and how long to
 * wait is the caller's, who has a clock. */
#ifndef ZM_ZMTP_HEARTBEAT_H
#define ZM_ZMTP_HEARTBEAT_H

#include "session.h"

/* The body of a PING: puts the PONG into `out` and fills *event. A PING too short to hold its TTL
 * is ignored. 0, or -ENOMEM with the session broken. */
int zm__heartbeat_take_ping(zm_session *session, const uint8_t *body, size_t size, zm_event *event);

#endif
