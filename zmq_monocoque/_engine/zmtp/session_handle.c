/* The handle is a session on the heap and nothing more; what a caller can do wrong is answered
 * with -EINVAL here, so that it does not reach the session's asserts. */
#include "session_handle.h"

#include <errno.h>

#include "base/alloc.h"
#include "session_private.h"

enum { OVERHEAD = 64, ROUTING_ID_MAX = 255, TEXT_MAX = 255 };

struct zm_session_handle {
    zm_session session;
};

zm_session_handle *zm_session_handle_new(int socket_type, int refuse_old, int64_t max_msg_size,
                                         const uint8_t *routing_id, size_t routing_id_size,
                                         const uint8_t *metadata, size_t metadata_size,
                                         const zm_session_security *security, int *out_error)
{
    *out_error = -EINVAL;
    if (!zm_socket_type_name(socket_type) || routing_id_size > ROUTING_ID_MAX
        || security->username_size > TEXT_MAX || security->password_size > TEXT_MAX)
        return NULL;
    *out_error = -ENOMEM;
    zm_session_handle *handle = zm_alloc(sizeof *handle);
    if (!handle)
        return NULL;
    zm_session_config config = {
        .socket_type = socket_type,
        .mechanism = (zm_mechanism) security->mechanism,
        .as_server = security->as_server != 0,
        .zap = security->zap != 0,
        .refuse_old = refuse_old != 0,
        .max_msg_size = max_msg_size,
        .routing_id = routing_id,
        .routing_id_size = routing_id_size,
        .metadata = metadata,
        .metadata_size = metadata_size,
        .username = security->username,
        .password = security->password,
        .username_size = security->username_size,
        .password_size = security->password_size,
        .curve_public = security->curve_public,
        .curve_secret = security->curve_secret,
        .curve_server = security->curve_server,
    };
    *out_error = zm_session_init(&handle->session, &config);
    if (*out_error == 0)
        return handle;
    zm_free(handle);
    return NULL;
}

void zm_session_handle_free(zm_session_handle *taken)
{
    if (!taken)
        return;
    zm_session_fini(&taken->session);
    zm_free(taken);
}

static void tell(zm_session_event *out_event, const zm_event *event)
{
    out_event->kind = (int) event->kind;
    out_event->more = event->more;
    out_event->value = event->value;
    out_event->data = event->data;
    out_event->size = event->size;
}

int64_t zm_session_handle_next(zm_session_handle *handle, uint8_t *data, size_t size,
                               zm_session_event *out_event)
{
    zm_event event;
    ssize_t answer = zm_session_next(&handle->session, data, size, &event);
    tell(out_event, &event);
    return answer;
}

int zm_session_handle_zap_reply(zm_session_handle *handle, unsigned status,
                                zm_session_event *out_event)
{
    bool known = status == 200 || status == 300 || status == 400 || status == 500;
    if (!known || handle->session.stage != ZM__ASKED)
        return -EINVAL;
    zm_event event;
    int answer = zm_session_zap_reply(&handle->session, status, &event);
    tell(out_event, &event);
    return answer;
}

void zm_session_handle_view(const zm_session_handle *handle, zm_session_view *out_view)
{
    const zm_session *session = &handle->session;
    *out_view = (zm_session_view){
        .phase = (int) session->phase,
        .version = (int) session->version,
        .heartbeats = session->heartbeats,
        .fault = (int) session->fault,
        .fault_value = session->fault_value,
        .need = session->need,
        .peer_socket_type = session->peer_socket_type,
        .peer_routing_id = session->peer_routing_id,
        .peer_routing_id_size = session->peer_routing_id_size,
        .peer_metadata = session->peer_metadata,
        .peer_metadata_size = session->peer_metadata_size,
    };
}

const uint8_t *zm_session_handle_take_out(zm_session_handle *handle, size_t *out_size)
{
    *out_size = handle->session.out_size;
    handle->session.out_size = 0;
    return handle->session.out;
}

size_t zm_session_handle_overhead(void)
{
    return OVERHEAD;
}

int64_t zm_session_handle_frame(zm_session_handle *handle, uint8_t *out, int more,
                                const uint8_t *body, size_t size)
{
    if (handle->session.phase != ZM_ACTIVE)
        return -EINVAL;
    return (int64_t) zm_session_frame(&handle->session, out, more ? ZM_FRAME_MORE : 0, body, size);
}

int64_t zm_session_handle_subscription(zm_session_handle *handle, uint8_t *out, int subscribe,
                                       const uint8_t *topic, size_t size)
{
    if (handle->session.phase != ZM_ACTIVE)
        return -EINVAL;
    return (int64_t) zm_session_subscription(&handle->session, out, subscribe != 0, topic, size);
}

int64_t zm_session_handle_ping(zm_session_handle *handle, uint8_t *out, uint32_t ttl_ms)
{
    if (handle->session.phase != ZM_ACTIVE || !handle->session.heartbeats)
        return -EINVAL;
    return (int64_t) zm_session_ping(&handle->session, out, ttl_ms);
}
