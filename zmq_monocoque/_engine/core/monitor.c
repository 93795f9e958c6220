/* The monitor: events of a socket, as messages on a PAIR of its own. Never blocks: what the reader
 * does not take in time is dropped, and the socket goes on. */
#include "internal.h"

#include <string.h>

enum { EVENT_BYTES = 6 };

static void send_event(zm_socket *monitor, int event, uint32_t value, const char *endpoint)
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

void zm_monitor_event(zm_socket *s, int event, uint32_t value, const char *endpoint)
{
    zm_socket *monitor = s->monitor;
    if (!monitor || !(s->monitor_events & event))
        return;
    zm_lock_take(&monitor->lock);
    send_event(monitor, event, value, endpoint);
    zm_lock_give(&monitor->lock);
}

void zm_monitor_stop_locked(zm_socket *s)
{
    zm_socket *monitor = s->monitor;
    if (!monitor)
        return;
    s->monitor = NULL;
    zm_lock_take(&monitor->lock);
    if (s->monitor_events & ZM_MONITOR_STOPPED)
        send_event(monitor, ZM_MONITOR_STOPPED, 0, "");
    zm_socket_close_locked(monitor);
}

int zm_monitor_start_locked(zm_socket *s, const char *endpoint, int events)
{
    zm_address address;
    int rc = zm_address_parse(endpoint, true, false, &address);
    if (rc < 0)
        return rc;
    if (address.transport != ZM_INPROC)
        return -EPROTONOSUPPORT;
    if (events & ~0xFFFF)
        return -EINVAL;
    zm_monitor_stop_locked(s);
    zm_socket *monitor;
    zm_lock_take(&s->context->lock);
    rc = zm_socket_make(s->context, ZM_PAIR, &monitor);
    zm_lock_give(&s->context->lock);
    if (rc < 0)
        return rc;
    zm_lock_take(&monitor->lock);
    monitor->options.linger_ms = 0;
    rc = zm_inproc_bind_locked(monitor, &address);
    if (rc < 0) {
        zm_socket_close_locked(monitor);
        return rc;
    }
    zm_lock_give(&monitor->lock);
    s->monitor = monitor;
    s->monitor_events = events;
    return 0;
}
