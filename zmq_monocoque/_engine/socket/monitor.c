/* The monitor: events of a socket, as messages on a PAIR of its own. Never blocks: what the reader
 * does not take in time is dropped, and the socket goes on. The PAIR is made and closed in
 * socket.c. */
#include "monitor.h"

#include <string.h>

#include "../base/lock.h"
#include "pattern.h"
#include "socket.h"
#include "wakeup.h"

enum { EVENT_BYTES = 6 };

static void send_event(zm_socket *monitor, int event, uint32_t value,
                       const char *endpoint) ZM_LOCKED
{
    uint8_t head[EVENT_BYTES];
    uint16_t number = (uint16_t) event;
    memcpy(head, &number, sizeof number);
    memcpy(head + sizeof number, &value, sizeof value);
    zm_outgoing first = {.data = head, .size = sizeof head, .more = true};
    zm_outgoing second = {.data = endpoint, .size = strlen(endpoint), .more = false};
    if (atomic_load(&monitor->attention))
        zm_commands_take_locked(monitor);
    if (monitor->pattern->send(monitor, &first) == 0)
        monitor->pattern->send(monitor, &second);
}

/* Locks the monitor beside its socket. */
void zm_monitor_event(zm_socket *s, int event, uint32_t value,
                      const char *endpoint) ZM_LOCKS_UNCHECKED
{
    zm_socket *monitor = s->monitor;
    if (!monitor || !(s->monitor_events & event))
        return;
    zm_socket_lock_take(monitor);
    send_event(monitor, event, value, endpoint);
    zm_socket_lock_give(monitor);
}
