/* Sockets: what the application calls. Each call takes the lock, takes in what other threads left,
 * and hands over to the pattern. */
#include "socket.h"

#include <errno.h>
#include <string.h>

#include "../api.h"
#include "../base/alloc.h"
#include "../base/block.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/crypto.h"
#include "../base/errors.h"
#include "../base/fds.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../base/names.h"
#include "../base/secret.h"
#include "../base/timer.h"
#include "../context/context.h"
#include "../context/handles.h"
#include "../context/io_thread.h"
#include "../context/process.h"
#include "../driver/address.h"
#include "../driver/driver.h"
#include "../driver/waitset.h"
#include "../pipe/frames.h"
#include "../pipe/inproc.h"
#include "../pipe/peer.h"
#include "../route/turn.h"
#include "drive.h"
#include "endpoint.h"
#include "monitor.h"
#include "option_rows.h"
#include "options.h"
#include "order.h"
#include "pacing.h"
#include "pattern.h"
#include "transfer.h"
#include "wakeup.h"

/* --- the life of a socket -------------------------------------------------------------------- */

static bool reap_locked(zm_socket *s) ZM_LOCKED ZM_LOCKS_UNCHECKED; /* gives it up with true */
/* These two lock the monitor as well. */
static void stop_monitor_locked(zm_socket *s) ZM_LOCKED ZM_LOCKS_UNCHECKED;

/* Makes a socket in a locked context. */
int zm_socket_make(zm_context *context, int type, zm_socket **out_socket)
{
    ZM_POISON(out_socket);
    if (atomic_load(&context->ended))
        return -ETERM;
    const zm_pattern *pattern = zm_pattern_of(type);
    if (!pattern)
        return -EINVAL;
    if (atomic_load(&context->socket_count) >= (uint32_t) context->max_sockets)
        return -EMFILE;
    zm_socket *s = zm_socket_slot_take();
    if (!s)
        return -EMFILE;
    zm_socket_lock_take(s);
    ZM_DEBUG_ASSERT(!s->open && !s->closing); /* the slot is nobody's */
    size_t from = offsetof(zm_socket, attention);
    memset((char *) s + from, 0, sizeof *s - from);
    s->context = context;
    s->type = type;
    s->pattern = pattern;
    s->reap = reap_locked;
    zm_options_init(&s->options, type, context->blocky, context->ipv6);
    zm_list_init(&s->peers);
    zm_list_init(&s->conns);
    zm_list_init(&s->handshaking);
    zm_list_init(&s->endpoints);
    zm_list_init(&s->ended);
    zm_list_init(&s->crowded);
    zm_list_init(&s->untold);
    zm_list_init(&s->wants_send);
    zm_list_init(&s->wants_recv);
    zm_list_init(&s->armed);
    zm_list_init(&s->armed_elsewhere);
    s->presence.quiet_ns = ZM_QUIET_NS;
    zm_turn_init(&s->readers);
    zm_turn_init(&s->writers);
    s->arm_thread = s->watcher = ZM_NO_THREAD;
    atomic_init(&s->public_fd, -1);
    atomic_init(&s->signaler, -1);
    if (pattern->state_size)
        s->state = zm_calloc(pattern->state_size);
    int rc = pattern->state_size && !s->state ? -ENOMEM : 0;
    if (rc == 0 && pattern->opened)
        rc = pattern->opened(s);
    if (rc < 0) {
        zm_free(s->state);
        zm_options_fini(&s->options);
        zm_socket_lock_give(s);
        zm_socket_slot_give(s);
        return rc;
    }
    s->open = true;
    atomic_store(&s->generation, zm_generation_new());
    ZM_DEBUG_ASSERT(!zm_list_linked(&s->in_context));
    zm_list_append(&context->sockets, &s->in_context);
    atomic_fetch_add(&context->socket_count, 1);
    atomic_fetch_add(&zm_live_sockets, 1);
    zm_socket_lock_give(s);
    *out_socket = s;
    return 0;
}

static void destroy_locked(zm_socket *s) ZM_GIVES(zm_a_socket)
{
    zm_context *context = s->context;
    ZM_DEBUG_ASSERT(s->closing && !s->open && !s->driven);
    ZM_DEBUG_ASSERT(!s->connection_count && !s->handshakes && !s->newcomers && !s->moving);
    ZM_DEBUG_ASSERT(!s->handshaking_count && zm_list_empty(&s->handshaking));
    ZM_DEBUG_ASSERT(zm_list_empty(&s->wants_send) && zm_list_empty(&s->wants_recv));
    zm_order_leave_locked(s);
    zm_order_begun_locked(s);
    stop_monitor_locked(s);
    while (!zm_list_empty(&s->peers))
        zm_peer_free_locked(ZM_CONTAINER(s->peers.next, zm_peer, link));
    /* From here on nobody else knows the socket. */
    zm_context_lock_take(context);
    zm_list_remove(&s->in_context);
    zm_context_lock_give(context);
    do
        zm_commands_take_locked(s); /* a link that is turned away may have left one */
    while (atomic_load(&s->mailbox) || s->commands_left);
    ZM_DEBUG_ASSERT(!s->links && !s->stats.peers && !s->timers.reserved);
    if (s->pattern->closed)
        s->pattern->closed(s);
    zm_free(s->state);
    if (s->current.block)
        zm_block_unref(s->current.block);
    zm_io_thread_remove_locked(s);
    zm_fd_close(atomic_load(&s->public_fd));
    zm_waitset_signal_close(s->public_ready);
    zm_fd_close(atomic_load(&s->signaler));
    if (s->driver)
        zm_context_driver_back(context, s->driver);
    s->driver = NULL;
    zm_free(s->peer_table);
    zm_timers_fini(&s->timers);
    zm_names_fini(&s->endpoint_names);
    zm_secret_free(s->cookies);
    zm_options_fini(&s->options);
    s->closing = false;
    atomic_fetch_sub(&zm_live_sockets, 1);
    zm_socket_lock_give(s);
    zm_socket_slot_give(s);
    zm_context_socket_gone(context);
}

static bool reap_locked(zm_socket *s)
{
    zm_reap_ended_locked(s);
    if (!s->closing || s->driven || s->followers || s->pollers || !zm_list_empty(&s->conns)
        || !zm_list_empty(&s->ended) || !zm_list_empty(&s->endpoints))
        return false;
    if (s->driver && zm_driver_in_flight(s->driver))
        return false;
    destroy_locked(s);
    return true;
}

void zm_socket_close_locked(zm_socket *s) ZM_LOCKS_UNCHECKED
{
    ZM_DEBUG_ASSERT(s->open && !s->closing);
    s->open = false;
    s->closing = true;
    atomic_store(&s->generation, 0);
    atomic_store(&s->has_watchers, false);
    ZM_LIST_EACH (node, &s->peers) {
        zm_peer *peer = ZM_CONTAINER(node, zm_peer, link);
        zm_peer_rollback_locked(peer);
        zm_peer_detach_locked(peer);
        if ((peer->inproc || zm_peer_is_ended_locked(peer)) && !peer->in_flight_conn && !peer->conn)
            zm_peer_free_locked(peer);
    }
    zm_endpoints_close_locked(s);
    if (s->driver) {
        zm_drive_for_io_thread_locked(s);
        zm_drive_for_io_thread_locked(s);
    }
    ZM_DEBUG_ASSERT(!s->sending_to && !s->receiving_from);
    if (reap_locked(s))
        return;
    /* Threads that are still in a call find the socket gone; the I/O thread does the rest. */
    zm_drive_wake_followers_locked(s);
    zm_socket_wake(s);
    zm_io_thread_look(s, zm_now_ns());
    zm_socket_lock_give(s);
}

/* --- its monitor ----------------------------------------------------------------------------- */

static void stop_monitor_locked(zm_socket *s)
{
    zm_socket *monitor = s->monitor;
    if (!monitor)
        return;
    ZM_DEBUG_ASSERT(monitor->type == ZM_PAIR && monitor->context == s->context);
    zm_monitor_event(s, ZM_MONITOR_STOPPED, 0, "");
    s->monitor = NULL;
    zm_socket_lock_take(monitor);
    ZM_DEBUG_ASSERT(monitor->open);
    zm_socket_close_locked(monitor);
}

static int start_monitor_locked(zm_socket *s, const char *endpoint,
                                int events) ZM_LOCKED ZM_LOCKS_UNCHECKED
{
    zm_address address;
    int rc = zm_address_parse(endpoint, true, false, &address);
    if (rc < 0)
        return rc;
    if (address.transport != ZM_INPROC)
        return -EPROTONOSUPPORT;
    if (events & ~0xFFFF)
        return -EINVAL;
    stop_monitor_locked(s);
    ZM_DEBUG_ASSERT(!s->monitor);
    zm_socket *monitor;
    zm_context_lock_take(s->context);
    rc = zm_socket_make(s->context, ZM_PAIR, &monitor);
    zm_context_lock_give(s->context);
    if (rc < 0)
        return rc;
    zm_socket_lock_take(monitor);
    monitor->options.linger_ms = 0;
    rc = zm_inproc_bind_locked(monitor, &address);
    if (rc < 0) {
        zm_socket_close_locked(monitor);
        return rc;
    }
    zm_socket_lock_give(monitor);
    ZM_DEBUG_ASSERT(monitor != s);
    s->monitor = monitor;
    s->monitor_events = events;
    return 0;
}

/* --- parts ----------------------------------------------------------------------------------- */

int zm_socket_enter_aside_locked(zm_socket *s)
{
    if (ZM_UNLIKELY(s->told))
        return -ETERM;
    if (atomic_load_explicit(&s->attention, memory_order_acquire))
        zm_commands_take_locked(s);
    return 0;
}

int zm_socket_send_part_locked(zm_socket *s, const zm_outgoing *message)
{
    if (!zm_order_goes_on_locked(s))
        zm_order_turn_locked(s);
    int rc = s->pattern->send(s, message);
    if (ZM_UNLIKELY(rc == -EAGAIN)) {
        /* What the kernel has finished meanwhile may have made room. */
        zm_drive_once_locked(s);
        rc = s->pattern->send(s, message);
        s->refused = rc == -EAGAIN;
        /* An event loop that has seen POLLOUT, and is refused for one peer, waits on. */
        if (s->refused && s->unseen)
            zm_socket_tell_locked(s);
    }
    return rc;
}

void zm_socket_send_later_locked(zm_socket *s)
{
    if (s->newcomers)
        zm_drive_let_in_locked(s);
    zm_peers_await_room_locked(s);
}

int zm_socket_send_patiently_locked(zm_socket *s, const zm_outgoing *message)
{
    int rc = zm_socket_enter_locked(s);
    while (rc == 0 && (rc = zm_socket_send_part_locked(s, message)) == ZM_LATER) {
        zm_socket_send_later_locked(s);
        rc = zm_socket_enter_locked(s);
    }
    return rc;
}

int zm_socket_recv_part_queued_locked(zm_socket *s, zm_part *out_part)
{
    zm_peer *peer;
    /* Into a local first: what a pattern that skips or fails leaves in it is not the socket's. */
    zm_frame frame;
    int rc = s->pattern->recv(s, &frame, &peer);
    if (rc < 0) {
        ZM_POISON(out_part);
        return rc;
    }
    /* Field by field, as zm_frames_push() says. */
    s->current.data = frame.data;
    s->current.size = frame.size;
    s->current.block = frame.block;
    s->current.flags = frame.flags;
    s->presence.reads++;
    out_part->data = s->current.data;
    out_part->size = s->current.size;
    out_part->block = s->current.block;
    out_part->metadata = peer ? peer->metadata : NULL;
    out_part->more = s->more_in = (s->current.flags & ZM_MORE) != 0;
    return 0;
}

int zm_socket_recv_part_locked(zm_socket *s, zm_part *out_part)
{
    int rc = zm_socket_recv_part_queued_locked(s, out_part);
    if (ZM_UNLIKELY(rc == -EAGAIN)) {
        zm_drive_before_wait_locked(s);
        rc = zm_socket_recv_part_queued_locked(s, out_part);
    }
    return rc;
}

void zm_socket_recv_done_locked(zm_socket *s)
{
    if (s->current.block) {
        zm_block_unref(s->current.block);
        s->current.block = NULL;
    }
}

int zm_socket_events_locked(zm_socket *s)
{
    return (s->pattern->can_recv(s) ? ZM_POLLIN : 0) | (s->pattern->can_send(s) ? ZM_POLLOUT : 0);
}

/* --- options --------------------------------------------------------------------------------- */

static int set_locked(zm_socket *s, int option, const void *value, size_t size) ZM_LOCKED
{
    if (option >= CURVE_SERVER && option <= CURVE_SERVERKEY && !zm_crypto_get())
        return -EINVAL; /* as a libzmq without libsodium */
    int rc = zm_options_set(&s->options, s->type, option, value, size);
    if (rc == ZM_OPTION_OF_SOCKET) {
        if (!s->pattern->set_option)
            return -EINVAL;
        if (!zm_order_goes_on_locked(s))
            zm_order_turn_locked(s); /* subscriptions are sent */
        /* A topic of no bytes may be NULL. */
        return s->pattern->set_option(s, option, value ? value : "", size);
    }
    if (rc == 0 && (option == SNDHWM || option == RCVHWM))
        ZM_LIST_EACH (node, &s->peers)
            zm_peer_hwm_changed_locked(ZM_CONTAINER(node, zm_peer, link));
    return rc;
}

int zm_socket_set_for(int64_t handle, int option, const void *value, size_t size, bool brief)
{
    zm_socket *s;
    int rc = zm_socket_lock_for(handle, brief, &s);
    if (rc != 0)
        return rc;
    rc = zm_socket_enter_aside_locked(s);
    zm_socket_in_passing_locked(s);
    if (rc == 0)
        rc = set_locked(s, option, value, size);
    if (rc == 0 && s->driver && !zm_list_empty(&s->wants_recv))
        zm_drive_once_locked(s);
    else if (rc == 0 && zm_socket_sent_locked(s))
        zm_socket_flush_locked(s);
    zm_socket_lock_give(s);
    return rc;
}

static int put_int(void *out, size_t *inout_size, int value)
{
    if (*inout_size < sizeof value)
        return -EINVAL;
    memcpy(out, &value, sizeof value);
    *inout_size = sizeof value;
    return 0;
}

/* EVENTS: everything is taken in, and the descriptor of an outside watcher is quiet after it. */
static int read_events(zm_socket *s) ZM_LOCKED
{
    s->watcher = zm_thread_id();
    s->waits_inside = false;
    if (s->public_fd >= 0)
        zm_socket_fd_clear_locked(s);
    zm_presence_drives(&s->presence, zm_now_ns());
    zm_drive_once_locked(s);
    s->unseen = false;
    int events = zm_socket_events_locked(s);
    if (s->spin.loop_began && events & ZM_POLLIN)
        zm_socket_waited_locked(s);
    return events;
}

static int get_locked(zm_socket *s, int option, void *out, size_t *inout_size) ZM_LOCKED
{
    int rc = zm_options_get(&s->options, s->type, option, out, inout_size);
    if (rc != ZM_OPTION_OF_SOCKET)
        return rc;
    switch (option) {
    case RCVMORE:
        return put_int(out, inout_size, s->more_in);
    case FD: {
        int fd = zm_socket_fd_locked(s);
        return fd < 0 ? fd : put_int(out, inout_size, fd);
    }
    case EVENTS:
        return put_int(out, inout_size, read_events(s));
    case TYPE:
        return put_int(out, inout_size, s->type);
    case LAST_ENDPOINT: {
        size_t size = strlen(s->last_endpoint) + 1;
        if (*inout_size < size)
            return -EINVAL;
        memcpy(out, s->last_endpoint, size);
        *inout_size = size;
        return 0;
    }
    case TOPICS_COUNT:
        zm_socket_in_passing_locked(s);
        zm_drive_once_locked(s);
        return put_int(out, inout_size, s->pattern->topics ? (int) s->pattern->topics(s) : 0);
    default:
        return -EINVAL;
    }
}

int zm_socket_get_for(int64_t handle, int option, void *out_value, size_t *inout_size, bool brief)
{
    zm_socket *s;
    int rc = zm_socket_lock_for(handle, brief, &s);
    if (rc != 0)
        return rc;
    rc = option == EVENTS ? zm_socket_enter_locked(s) : zm_socket_enter_aside_locked(s);
    if (rc == 0)
        rc = get_locked(s, option, out_value, inout_size);
    zm_socket_lock_give(s);
    return rc;
}

int64_t zm_socket_deadline_locked(zm_socket *s, int direction)
{
    int ms = direction == ZM_POLLIN ? s->options.rcvtimeo_ms : s->options.sndtimeo_ms;
    return ms == 0 ? 0 : zm_deadline_ms(ms);
}

/* --- calls by handle ------------------------------------------------------------------------- */

int64_t zm_socket_new_for(int64_t handle, int type, bool brief)
{
    zm_context *context;
    int rc = zm_context_lock_for(handle, brief, &context);
    if (rc != 0)
        return rc;
    zm_socket *s;
    rc = zm_socket_make(context, type, &s);
    int64_t socket = rc < 0 ? rc : zm_socket_handle(s);
    zm_context_lock_give(context);
    return socket;
}

int zm_socket_close_for(int64_t handle, bool brief)
{
    zm_socket *s;
    int rc = zm_socket_lock_for(handle, brief, &s);
    if (rc == 0)
        zm_socket_close_locked(s);
    return rc;
}

int zm_socket_bind_for(int64_t handle, const char *endpoint, bool brief)
{
    return zm_endpoint_open(handle, endpoint, true, brief);
}

int zm_socket_connect_for(int64_t handle, const char *endpoint, bool brief)
{
    return zm_endpoint_open(handle, endpoint, false, brief);
}

int zm_socket_monitor_for(int64_t handle, const char *endpoint, int events, bool brief)
{
    zm_socket *s;
    int rc = zm_socket_lock_for(handle, brief, &s);
    if (rc != 0)
        return rc;
    rc = zm_socket_enter_aside_locked(s);
    if (rc == 0) {
        if (endpoint)
            rc = start_monitor_locked(s, endpoint, events);
        else
            stop_monitor_locked(s);
    }
    zm_socket_lock_give(s);
    return rc;
}
