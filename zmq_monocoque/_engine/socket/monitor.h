/* What a socket tells its monitor. The socket's lock is held by whoever calls or reads any of
 * this. */
#ifndef ZM_SOCKET_MONITOR_H
#define ZM_SOCKET_MONITOR_H

#include "../objects.h"

void zm_monitor_event(zm_socket *s, int event, uint32_t value, const char *endpoint);

enum zm_monitor_events {
    ZM_CONNECTED = 0x1,
    ZM_CONNECT_DELAYED = 0x2,
    ZM_CONNECT_RETRIED = 0x4,
    ZM_LISTENING = 0x8,
    ZM_BIND_FAILED = 0x10,
    ZM_ACCEPTED = 0x20,
    ZM_ACCEPT_FAILED = 0x40,
    ZM_CLOSED = 0x80,
    ZM_CLOSE_FAILED = 0x100,
    ZM_DISCONNECTED = 0x200,
    ZM_MONITOR_STOPPED = 0x400,
    ZM_HANDSHAKE_FAILED_NO_DETAIL = 0x800,
    ZM_HANDSHAKE_SUCCEEDED = 0x1000,
    ZM_HANDSHAKE_FAILED_PROTOCOL = 0x2000,
    ZM_HANDSHAKE_FAILED_AUTH = 0x4000
};

#endif
