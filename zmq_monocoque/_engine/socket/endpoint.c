/* Endpoints: what bind() and connect() made, of whatever kind: how one is made, found and ended.
 * What each kind does is in listener.c, connecter.c and inproc.c. */
#include "endpoint.h"

#include <string.h>

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/fds.h"
#include "../base/list.h"
#include "../base/names.h"
#include "../base/timer.h"
#include "../driver/address.h"
#include "../driver/driver.h"
#include "../pipe/peer.h"
#include "monitor.h"
#include "options.h"
#include "resolver.h"
#include "socket.h"

zm_endpoint *zm_endpoint_new_locked(zm_socket *s, zm_endpoint_kind kind, const zm_endpoint_ops *ops,
                                    const zm_address *address)
{
    zm_endpoint *ep = zm_calloc(sizeof *ep);
    if (!ep)
        return NULL;
    ep->socket = s;
    ep->kind = kind;
    ep->address = *address;
    ep->fd = -1;
    ep->ops = ops;
    ep->op = (zm_op){.done = ops->done, .owner = ep};
    ep->retry = (zm_timer){.due = ops->retry_due, .owner = ep};
    ep->timeout = (zm_timer){.due = ops->timeout_due, .owner = ep};
    ep->linger = (zm_timer){.due = ops->linger_due, .owner = ep};
    memcpy(ep->text, address->text, sizeof ep->text);
    if (zm_options_copy(&ep->options, &s->options) < 0) {
        zm_free(ep);
        return NULL;
    }
    if (zm_names_reserve(&s->endpoint_names) < 0 || zm_timers_reserve(&s->timers, 3) < 0) {
        zm_options_fini(&ep->options);
        zm_free(ep);
        return NULL;
    }
    zm_list_init(&ep->conns);
    zm_list_append(&s->endpoints, &ep->link);
    if (kind != ZM_LISTENER) /* whose text is known when it is bound */
        zm_names_add(&s->endpoint_names, &ep->by_text, ep->text);
    return ep;
}

void zm_endpoint_free_locked(zm_endpoint *ep)
{
    zm_socket *s = ep->socket;
    ZM_DEBUG_ASSERT(!ep->op.in_flight && !ep->resolution);
    ZM_DEBUG_ASSERT(!ep->conn && zm_list_empty(&ep->conns));
    zm_timer_stop(&s->timers, &ep->retry);
    zm_timer_stop(&s->timers, &ep->timeout);
    zm_timer_stop(&s->timers, &ep->linger);
    zm_timers_release(&s->timers, 3);
    zm_list_remove(&ep->link);
    zm_names_remove(&s->endpoint_names, &ep->by_text);
    zm_options_fini(&ep->options);
    zm_free(ep->wanted_id);
    zm_free(ep);
}

void zm_endpoint_free_if_done_locked(zm_endpoint *ep)
{
    if (ep->state != ZM_ENDPOINT_CLOSING || ep->op.in_flight)
        return;
    if (ep->fd >= 0) {
        zm_monitor_event(ep->socket, ZM_CLOSED, (uint32_t) ep->fd, ep->text);
        zm_fd_close(ep->fd);
    }
    if (ep->directory[0])
        zm_listener_remove_files(ep->text, ep->directory);
    zm_endpoint_free_locked(ep);
}

void zm_endpoint_close_locked(zm_endpoint *ep)
{
    zm_socket *s = ep->socket;
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(ep));
    if (ep->state == ZM_ENDPOINT_CLOSING)
        return;
    zm_endpoint_become_locked(ep, ZM_ENDPOINT_CLOSING);
    zm_resolution_drop(ep->resolution);
    ep->resolution = NULL;
    zm_timer_stop(&s->timers, &ep->retry);
    zm_timer_stop(&s->timers, &ep->timeout);
    zm_timer_stop(&s->timers, &ep->linger);
    if (ep->peer) {
        ep->peer->endpoint = NULL;
        ep->peer = NULL;
    }
    ZM_DEBUG_ASSERT(zm_endpoint_is_sound_locked(ep));
    if (ep->op.in_flight)
        zm_driver_cancel(s->driver, &ep->op);
    zm_endpoint_free_if_done_locked(ep);
}

bool zm_endpoint_is_raw(const zm_endpoint *ep)
{
    return ep->socket->pattern->raw || ep->options.router_raw;
}

void zm_endpoint_give_id_locked(zm_endpoint *ep, zm_peer *peer)
{
    peer->wanted_id = ep->wanted_id;
    peer->wanted_id_size = ep->wanted_id_size;
    ep->wanted_id = NULL;
    ep->wanted_id_size = 0;
}
