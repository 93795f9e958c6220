/* The options of a socket, by number. Most are one row of a table: of options_table.c, or of
 * pattern/options.c where only some types of sockets have it. The few with rules of their own are
 * functions (options_values.c). Numbers that are not here (features this
 * build does not have: drafts, GSSAPI, VMCI, NORM, WSS) are unknown, as in a stable libzmq 4.3.5.
 * Knows nothing of what the options do. */
#include "options.h"

#include <errno.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/secret.h"
#include "../driver/address.h"
#include "../zmtp/session.h"
#include "options_private.h"

enum { MAX_HANDSHAKES_DEFAULT = 4096 };

/* --- setting ---------------------------------------------------------------------------------- */

/* Of all types, or of this one. NULL: it has rules of its own, or is unknown. */
static const option_row *row_of(int socket_type, int option)
{
    const option_row *row = zm_option_row_of(option);
    return row ? row : zm_option_of_type(socket_type, option);
}

int zm_options_set(zm_options *options, int socket_type, int option, const void *value, size_t size)
{
    ZM_ASSERT(socket_type >= 0 && socket_type < ZM_SOCKET_TYPES);
    const option_row *row = row_of(socket_type, option);
    if (row)
        return zm_option_row_set(options, row, value, size);

    switch (option) {
    case AFFINITY:
        if (!value || size != sizeof options->affinity)
            return -EINVAL;
        memcpy(&options->affinity, value, size);
        return 0;
    case MAXMSGSIZE:
        if (!value || size != sizeof options->max_msg_size)
            return -EINVAL;
        memcpy(&options->max_msg_size, value, size);
        return 0;
    case IPV4ONLY: {
        int number = 0;
        int rc = zm_option_number(value, size, 0, 1, &number);
        if (rc == 0)
            options->tuning.ipv6 = !number;
        return rc;
    }
    case TCP_ACCEPT_FILTER:
        return zm_option_add_tcp_filter(options, value, size);
    case IPC_FILTER_PID:
        return zm_option_add_ipc_filter(&options->ipc_pids, &options->ipc_pid_count, value, size);
    case IPC_FILTER_UID:
        return zm_option_add_ipc_filter(&options->ipc_uids, &options->ipc_uid_count, value, size);
    case IPC_FILTER_GID:
        return zm_option_add_ipc_filter(&options->ipc_gids, &options->ipc_gid_count, value, size);
    case PLAIN_SERVER:
        return zm_option_set_server(options, MECHANISM_PLAIN, value, size);
    case PLAIN_USERNAME:
        return zm_option_set_plain(options, &options->plain_username, value, size);
    case PLAIN_PASSWORD:
        return zm_option_set_plain(options, &options->plain_password, value, size);
    case CURVE_SERVER:
        return zm_option_set_server(options, MECHANISM_CURVE, value, size);
    case CURVE_PUBLICKEY:
        return zm_option_set_key(options, options->curve_public, value, size);
    case CURVE_SECRETKEY:
        return zm_option_set_secret(options, value, size);
    case CURVE_SERVERKEY: {
        int rc = zm_option_set_key(options, options->curve_server, value, size);
        if (rc == 0)
            options->as_server = false;
        return rc;
    }
    case HEARTBEAT_TTL:
        return zm_option_set_heartbeat_ttl(options, value, size);
    case BINDTODEVICE:
        return zm_option_set_device(options, value, size);
    case METADATA:
        return zm_option_add_metadata(options, value, size);
    default:
        return -EINVAL;
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

int zm_options_get(const zm_options *options, int socket_type, int option, void *out,
                   size_t *inout_size)
{
    ZM_ASSERT(socket_type >= 0 && socket_type < ZM_SOCKET_TYPES);
    const option_row *row = row_of(socket_type, option);
    if (row)
        return zm_option_row_get(options, row, out, inout_size);

    switch (option) {
    case RCVMORE:
    case FD:
    case EVENTS:
        return *inout_size >= sizeof(int) ? ZM_OPTION_OF_SOCKET : -EINVAL;
    case TYPE:
        return *inout_size == sizeof(int) ? ZM_OPTION_OF_SOCKET : -EINVAL;
    case LAST_ENDPOINT:
        return ZM_OPTION_OF_SOCKET;
    case AFFINITY:
        if (*inout_size != sizeof options->affinity)
            return -EINVAL;
        return zm_option_answer(out, inout_size, &options->affinity, sizeof options->affinity);
    case MAXMSGSIZE:
        if (*inout_size != sizeof options->max_msg_size)
            return -EINVAL;
        return zm_option_answer(out, inout_size, &options->max_msg_size,
                                sizeof options->max_msg_size);
    case IPV4ONLY:
        return zm_option_answer_number(out, inout_size, !options->tuning.ipv6);
    case PLAIN_SERVER:
        return zm_option_answer_number(out, inout_size,
                                       options->as_server && options->mechanism == MECHANISM_PLAIN);
    case PLAIN_USERNAME:
        return zm_option_answer_text(out, inout_size, &options->plain_username);
    case PLAIN_PASSWORD:
        return zm_option_answer_text(out, inout_size, &options->plain_password);
    case CURVE_SERVER:
        return zm_option_answer_number(out, inout_size,
                                       options->as_server && options->mechanism == MECHANISM_CURVE);
    case CURVE_PUBLICKEY:
        return zm_option_get_key(options->curve_public, out, inout_size);
    case CURVE_SECRETKEY: {
        static const uint8_t zeros[KEY_BYTES];
        return zm_option_get_key(options->curve_secret ? options->curve_secret : zeros, out,
                                 inout_size);
    }
    case CURVE_SERVERKEY:
        return zm_option_get_key(options->curve_server, out, inout_size);
    case HEARTBEAT_TTL:
        return zm_option_answer_number(out, inout_size, options->heartbeat_ttl_ds * 100);
    case THREAD_SAFE: {
        int no = 0;
        return zm_option_answer(out, inout_size, &no, sizeof no);
    }
    case BINDTODEVICE:
        return zm_option_answer(out, inout_size, options->tuning.device,
                                strlen(options->tuning.device) + 1);
    default:
        return -EINVAL;
    }
}

/* --- life ------------------------------------------------------------------------------------- */

void zm_options_init(zm_options *options, int socket_type, bool blocky, bool ipv6)
{
    ZM_ASSERT(socket_type >= 0 && socket_type < ZM_SOCKET_TYPES);
    *options = (zm_options){
        .sndhwm = 1000,
        .rcvhwm = 1000,
        .rate = 100,
        .recovery_ivl = 10000,
        .multicast_hops = 1,
        .multicast_maxtpdu = 1500,
        .multicast_loop = 1,
        .tuning =
            {
                .ipv6 = ipv6,
                .backlog = 100,
                .sndbuf = -1,
                .rcvbuf = -1,
                .keepalive = -1,
                .keepalive_cnt = -1,
                .keepalive_idle = -1,
                .keepalive_intvl = -1,
            },
        .linger_ms = zm_type_forgets(socket_type) || !blocky ? 0 : -1,
        .reconnect_ivl_ms = 100,
        .max_msg_size = -1,
        .limits =
            {
                .command = ZM_MAX_COMMAND,
                .metadata = ZM_MAX_METADATA,
                .parts = -1,
                .message = -1,
                .handshakes = MAX_HANDSHAKES_DEFAULT,
                .subscriptions = -1,
                .topics = -1,
                .pending = -1,
            },
        .rcvtimeo_ms = -1,
        .sndtimeo_ms = -1,
        .handshake_ivl_ms = 30000,
        .heartbeat_timeout_ms = -1,
        .use_fd = -1,
        .stream_notify = true,
    };
}

/* Everything in the options that is memory of its own. */
static const uint16_t owned_bytes[] = {
    AT(routing_id),     AT(socks_proxy),        AT(socks_username), AT(socks_password),
    AT(metadata),       AT(connect_routing_id), AT(xpub_welcome),   AT(plain_username),
    AT(plain_password), AT(zap_domain),
};

static int copy_array(void **out, const void *from, size_t count, size_t item_size)
{
    if (!count)
        return 0;
    *out = zm_alloc(count * item_size);
    if (!*out)
        return -ENOMEM;
    memcpy(*out, from, count * item_size);
    return 0;
}

int zm_options_copy(zm_options *out, const zm_options *from)
{
    *out = *from;
    /* Nothing in `out` is its own yet: whatever fails below, fini must not free what is not. */
    for (size_t i = 0; i < ZM_COUNT(owned_bytes); i++)
        *(zm_bytes *) ((char *) out + owned_bytes[i]) = (zm_bytes){0};
    out->tcp_filters = NULL;
    out->ipc_uids = out->ipc_gids = out->ipc_pids = NULL;
    out->curve_secret = NULL;

    int rc = 0;
    for (size_t i = 0; i < ZM_COUNT(owned_bytes) && rc == 0; i++) {
        const zm_bytes *bytes = (const zm_bytes *) ((const char *) from + owned_bytes[i]);
        rc = zm_bytes_set((zm_bytes *) ((char *) out + owned_bytes[i]), bytes->data, bytes->size);
    }
    if (rc == 0 && from->curve_secret) {
        out->curve_secret = zm_secret_new();
        if (out->curve_secret)
            memcpy(out->curve_secret, from->curve_secret, KEY_BYTES);
        else
            rc = -ENOMEM;
    }
    void *copies[4] = {NULL, NULL, NULL, NULL};
    if (rc == 0)
        rc = copy_array(&copies[0], from->tcp_filters, from->tcp_filter_count, sizeof(zm_cidr));
    if (rc == 0)
        rc = copy_array(&copies[1], from->ipc_uids, from->ipc_uid_count, sizeof(int32_t));
    if (rc == 0)
        rc = copy_array(&copies[2], from->ipc_gids, from->ipc_gid_count, sizeof(int32_t));
    if (rc == 0)
        rc = copy_array(&copies[3], from->ipc_pids, from->ipc_pid_count, sizeof(int32_t));
    out->tcp_filters = copies[0];
    out->ipc_uids = copies[1];
    out->ipc_gids = copies[2];
    out->ipc_pids = copies[3];
    if (rc < 0) {
        zm_options_fini(out);
        ZM_POISON(out);
    }
    return rc;
}

void zm_options_fini(zm_options *options)
{
    for (size_t i = 0; i < ZM_COUNT(owned_bytes); i++)
        zm_bytes_clear((zm_bytes *) ((char *) options + owned_bytes[i]));
    zm_free(options->tcp_filters);
    zm_free(options->ipc_uids);
    zm_free(options->ipc_gids);
    zm_free(options->ipc_pids);
    zm_secret_free(options->curve_secret);
    memset(options, 0, sizeof *options); /* a second call finds nothing */
}

bool zm_options_want_zap(const zm_options *o)
{
    switch (o->mechanism) {
    case ZM_NULL:
        return o->zap_domain.size > 0;
    case ZM_PLAIN:
        return o->as_server;
    default:
        return o->as_server && (o->zap_domain.size > 0 || !o->zap_enforce_domain);
    }
}
