/* Authentication (RFC 27): the question whether a peer may come in. Its connection owns it. The
 * socket's lock is held by whoever calls or reads any of this. */
#ifndef ZM_CONNECTION_ZAP_H
#define ZM_CONNECTION_ZAP_H

#include "../objects.h"
#include "../zmtp/session.h"

/* ZM_EVENT_ZAP: asks. The answer comes as a command; where there is nobody to ask, it is decided
 * here. 0, -ENOMEM, or -ECONNABORTED: the connection is gone. */
int zm_zap_ask_locked(zm_conn *conn, const zm_event *event) ZM_LOCKED;
/* The question is of no interest any more. */
void zm_zap_free_locked(zm_zap *taken) ZM_LOCKED;

#endif
