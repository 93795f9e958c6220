/* The options that every type of socket has and that are a row of a table: whether one can be read,
 * its bounds and where it lives. And how rows are set and read. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../base/check.h"
#include "options.h"
#include "options_private.h"

_Static_assert(sizeof(zm_options) <= UINT16_MAX, "a row's offset has 16 bits");

static const option_row rows[] = {
    {ROUTING_ID, BYTES, READ, AT(routing_id), 1, 255, NULL},
    {RATE, NUMBER, READ, AT(rate), 1, INT_MAX, NULL},
    {RECOVERY_IVL, NUMBER, READ, AT(recovery_ivl), 0, INT_MAX, NULL},
    {SNDBUF, NUMBER, READ, AT(tuning.sndbuf), -1, INT_MAX, NULL},
    {RCVBUF, NUMBER, READ, AT(tuning.rcvbuf), -1, INT_MAX, NULL},
    {LINGER, NUMBER, READ, AT(linger_ms), -1, INT_MAX, NULL},
    {RECONNECT_IVL, NUMBER, READ, AT(reconnect_ivl_ms), -1, INT_MAX, NULL},
    {BACKLOG, NUMBER, READ, AT(tuning.backlog), 0, INT_MAX, NULL},
    {RECONNECT_IVL_MAX, NUMBER, READ, AT(reconnect_ivl_max_ms), 0, INT_MAX, NULL},
    {SNDHWM, NUMBER, READ, AT(sndhwm), 0, INT_MAX, NULL},
    {RCVHWM, NUMBER, READ, AT(rcvhwm), 0, INT_MAX, NULL},
    {MULTICAST_HOPS, NUMBER, READ, AT(multicast_hops), 1, INT_MAX, NULL},
    {RCVTIMEO, NUMBER, READ, AT(rcvtimeo_ms), -1, INT_MAX, NULL},
    {SNDTIMEO, NUMBER, READ, AT(sndtimeo_ms), -1, INT_MAX, NULL},
    {TCP_KEEPALIVE, NUMBER, READ, AT(tuning.keepalive), -1, 1, NULL},
    {TCP_KEEPALIVE_CNT, NUMBER, READ, AT(tuning.keepalive_cnt), -1, INT_MAX, NULL},
    {TCP_KEEPALIVE_IDLE, NUMBER, READ, AT(tuning.keepalive_idle), -1, INT_MAX, NULL},
    {TCP_KEEPALIVE_INTVL, NUMBER, READ, AT(tuning.keepalive_intvl), -1, INT_MAX, NULL},
    {IMMEDIATE, FLAG, READ, AT(immediate), 0, 1, NULL},
    {IPV6, FLAG, READ, AT(tuning.ipv6), 0, 1, NULL},
    {MECHANISM, NUMBER, READ_ONLY, AT(mechanism), 0, 0, NULL},
    {CONFLATE, FLAG, READ, AT(conflate), 0, 1, NULL},
    {ZAP_DOMAIN, TEXT, READ, AT(zap_domain), 1, TEXT_MAX, NULL},
    {TOS, NUMBER, READ, AT(tuning.tos), 0, INT_MAX, NULL},
    {HANDSHAKE_IVL, NUMBER, READ, AT(handshake_ivl_ms), 0, INT_MAX, NULL},
    {SOCKS_PROXY, TEXT, READ | NULL_CLEARS, AT(socks_proxy), 1, INT_MAX, NULL},
    {INVERT_MATCHING, FLAG, READ, AT(invert_matching), INT_MIN, INT_MAX, NULL},
    {HEARTBEAT_IVL, NUMBER, READ, AT(heartbeat_ivl_ms), 0, INT_MAX, NULL},
    {HEARTBEAT_TIMEOUT, NUMBER, READ, AT(heartbeat_timeout_ms), 0, INT_MAX, NULL},
    {CONNECT_TIMEOUT, NUMBER, READ, AT(connect_timeout_ms), 0, INT_MAX, NULL},
    {TCP_MAXRT, NUMBER, READ, AT(tuning.maxrt_ms), 0, INT_MAX, NULL},
    {MULTICAST_MAXTPDU, NUMBER, READ, AT(multicast_maxtpdu), 1, INT_MAX, NULL},
    {USE_FD, NUMBER, READ, AT(use_fd), -1, INT_MAX, NULL},
    {ZAP_ENFORCE_DOMAIN, FLAG, READ, AT(zap_enforce_domain), INT_MIN, INT_MAX, NULL},
    {LOOPBACK_FASTPATH, TRUTH, READ, AT(loopback_fastpath), INT_MIN, INT_MAX, NULL},
    {MULTICAST_LOOP, TRUTH, READ, AT(multicast_loop), INT_MIN, INT_MAX, NULL},
    {SOCKS_USERNAME, TEXT, READ | NULL_CLEARS, AT(socks_username), 0, TEXT_MAX, NULL},
    {SOCKS_PASSWORD, TEXT, READ | NULL_CLEARS, AT(socks_password), 0, TEXT_MAX, NULL},
    {RECONNECT_STOP, NUMBER, READ, AT(reconnect_stop), INT_MIN, INT_MAX, NULL},
    {MAX_COMMAND, LIMIT, READ, AT(limits.command), 0, 0, NULL},
    {MAX_METADATA, LIMIT, READ, AT(limits.metadata), 0, 0, NULL},
    {MAX_PARTS, LIMIT, READ, AT(limits.parts), 0, 0, NULL},
    {MAX_MESSAGE, LIMIT, READ, AT(limits.message), 0, 0, NULL},
    {MAX_HANDSHAKES, LIMIT, READ, AT(limits.handshakes), 0, 0, NULL},
    {MAX_SUBSCRIPTIONS, LIMIT, READ, AT(limits.subscriptions), 0, 0, NULL},
    {MAX_TOPIC_BYTES, LIMIT, READ, AT(limits.topics), 0, 0, NULL},
    {MAX_PENDING_SUBSCRIPTIONS, LIMIT, READ, AT(limits.pending), 0, 0, NULL},
};

const option_row *zm_option_row_of(int option)
{
    for (size_t i = 0; i < ZM_COUNT(rows); i++)
        if (rows[i].number == option)
            return &rows[i];
    return NULL;
}

int zm_option_number(const void *value, size_t size, int low, int high, int *out_number)
{
    ZM_POISON(out_number);
    int number;
    if (!value || size != sizeof number)
        return -EINVAL;
    memcpy(&number, value, sizeof number);
    if (number < low || number > high)
        return -EINVAL;
    *out_number = number;
    return 0;
}

static int set_limit(int64_t *place, const void *value, size_t size)
{
    int64_t limit;
    if (!value || size != sizeof limit)
        return -EINVAL;
    memcpy(&limit, value, sizeof limit);
    if (limit < -1 || limit == 0)
        return -EINVAL;
    *place = limit;
    return 0;
}

int zm_option_row_set(zm_options *options, const option_row *row, const void *value, size_t size)
{
    if (row->kind == RULED)
        return row->set ? row->set(options, row->number, value, size) : -EINVAL;
    if ((row->flags & READ_ONLY) == READ_ONLY)
        return -EINVAL;
    void *place = (char *) options + row->offset;
    if (row->kind == BYTES || row->kind == TEXT) {
        if (!value && size == 0 && row->flags & NULL_CLEARS) {
            zm_bytes_clear(place);
            return 0;
        }
        if (!value || size < (size_t) row->low || size > (size_t) row->high)
            return -EINVAL;
        return zm_bytes_set(place, value, size);
    }
    if (row->kind == LIMIT)
        return set_limit(place, value, size);
    int number = 0;
    int rc = zm_option_number(value, size, row->low, row->high, &number);
    if (rc < 0)
        return rc;
    if (row->kind == FLAG)
        *(bool *) place = number != 0;
    else
        *(int *) place = row->kind == TRUTH ? number != 0 : number;
    return 0;
}

int zm_option_answer(void *out, size_t *inout_size, const void *borrowed, size_t size)
{
    if (*inout_size < size)
        return -EINVAL;
    if (size)
        memcpy(out, borrowed, size);
    if (*inout_size > size)
        memset((char *) out + size, 0, *inout_size - size);
    *inout_size = size;
    return 0;
}

int zm_option_answer_number(void *out, size_t *inout_size, int number)
{
    if (*inout_size != sizeof number)
        return -EINVAL;
    return zm_option_answer(out, inout_size, &number, sizeof number);
}

int zm_option_answer_bytes(void *out, size_t *inout_size, const zm_bytes *bytes)
{
    return zm_option_answer(out, inout_size, bytes->data, bytes->size);
}

int zm_option_answer_text(void *out, size_t *inout_size, const zm_bytes *text)
{
    size_t room = *inout_size;
    if (room <= text->size)
        return -EINVAL;
    int rc = zm_option_answer(out, inout_size, text->data, text->size);
    *inout_size = text->size + 1; /* the byte behind was zeroed with the rest of the room */
    return rc;
}

int zm_option_row_get(const zm_options *options, const option_row *row, void *out,
                      size_t *inout_size)
{
    const void *place = (const char *) options + row->offset;
    if (!(row->flags & READ))
        return -EINVAL;
    switch (row->kind) {
    case RULED:
        return *inout_size >= sizeof(int) ? ZM_OPTION_OF_SOCKET : -EINVAL;
    case BYTES:
        return zm_option_answer_bytes(out, inout_size, place);
    case TEXT:
        return zm_option_answer_text(out, inout_size, place);
    case FLAG:
        return zm_option_answer_number(out, inout_size, *(const bool *) place);
    case LIMIT:
        if (*inout_size != sizeof(int64_t))
            return -EINVAL;
        return zm_option_answer(out, inout_size, place, sizeof(int64_t));
    default:
        return zm_option_answer_number(out, inout_size, *(const int *) place);
    }
}
