/* The options that are a row of a table: which socket types take one, whether it can be read, its
 * bounds and where it lives. And how what is read is answered. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../base/check.h"
#include "options.h"
#include "options_private.h"

_Static_assert(sizeof(zm_options) <= UINT16_MAX, "a row's offset has 16 bits");

static const option_row rows[] = {
    {ROUTING_ID, BYTES, READ, EVERY, AT(routing_id), 1, 255},
    {RATE, NUMBER, READ, EVERY, AT(rate), 1, INT_MAX},
    {RECOVERY_IVL, NUMBER, READ, EVERY, AT(recovery_ivl), 0, INT_MAX},
    {SNDBUF, NUMBER, READ, EVERY, AT(tuning.sndbuf), -1, INT_MAX},
    {RCVBUF, NUMBER, READ, EVERY, AT(tuning.rcvbuf), -1, INT_MAX},
    {LINGER, NUMBER, READ, EVERY, AT(linger_ms), -1, INT_MAX},
    {RECONNECT_IVL, NUMBER, READ, EVERY, AT(reconnect_ivl_ms), -1, INT_MAX},
    {BACKLOG, NUMBER, READ, EVERY, AT(tuning.backlog), 0, INT_MAX},
    {RECONNECT_IVL_MAX, NUMBER, READ, EVERY, AT(reconnect_ivl_max_ms), 0, INT_MAX},
    {SNDHWM, NUMBER, READ, EVERY, AT(sndhwm), 0, INT_MAX},
    {RCVHWM, NUMBER, READ, EVERY, AT(rcvhwm), 0, INT_MAX},
    {MULTICAST_HOPS, NUMBER, READ, EVERY, AT(multicast_hops), 1, INT_MAX},
    {RCVTIMEO, NUMBER, READ, EVERY, AT(rcvtimeo_ms), -1, INT_MAX},
    {SNDTIMEO, NUMBER, READ, EVERY, AT(sndtimeo_ms), -1, INT_MAX},
    {ROUTER_MANDATORY, FLAG, 0, ROUTERS, AT(router_mandatory), 0, INT_MAX},
    {TCP_KEEPALIVE, NUMBER, READ, EVERY, AT(tuning.keepalive), -1, 1},
    {TCP_KEEPALIVE_CNT, NUMBER, READ, EVERY, AT(tuning.keepalive_cnt), -1, INT_MAX},
    {TCP_KEEPALIVE_IDLE, NUMBER, READ, EVERY, AT(tuning.keepalive_idle), -1, INT_MAX},
    {TCP_KEEPALIVE_INTVL, NUMBER, READ, EVERY, AT(tuning.keepalive_intvl), -1, INT_MAX},
    {IMMEDIATE, FLAG, READ, EVERY, AT(immediate), 0, 1},
    {ROUTER_RAW, FLAG, 0, ROUTERS, AT(router_raw), 0, INT_MAX},
    {IPV6, FLAG, READ, EVERY, AT(tuning.ipv6), 0, 1},
    {MECHANISM, NUMBER, READ, 0, AT(mechanism), 0, 0},
    {PROBE_ROUTER, FLAG, 0, PROBERS, AT(probe_router), 0, INT_MAX},
    {REQ_CORRELATE, FLAG, 0, BIT(ZM_REQ), AT(req_correlate), 0, INT_MAX},
    {REQ_RELAXED, FLAG, 0, BIT(ZM_REQ), AT(req_relaxed), 0, INT_MAX},
    {CONFLATE, FLAG, READ, EVERY, AT(conflate), 0, 1},
    {ZAP_DOMAIN, TEXT, READ, EVERY, AT(zap_domain), 1, TEXT_MAX},
    {ROUTER_HANDOVER, FLAG, 0, ROUTERS, AT(router_handover), 0, INT_MAX},
    {TOS, NUMBER, READ, EVERY, AT(tuning.tos), 0, INT_MAX},
    {CONNECT_ROUTING_ID, BYTES, 0, ROUTERS | BIT(ZM_STREAM), AT(connect_routing_id), 1, INT_MAX},
    {HANDSHAKE_IVL, NUMBER, READ, EVERY, AT(handshake_ivl_ms), 0, INT_MAX},
    {SOCKS_PROXY, TEXT, READ | NULL_CLEARS, EVERY, AT(socks_proxy), 1, INT_MAX},
    {XPUB_NODROP, FLAG, 0, PUBS, AT(xpub_nodrop), 0, INT_MAX},
    {XPUB_MANUAL, FLAG, 0, PUBS, AT(xpub_manual), 0, INT_MAX},
    {STREAM_NOTIFY, FLAG, 0, BIT(ZM_STREAM), AT(stream_notify), 0, 1},
    {INVERT_MATCHING, FLAG, READ, EVERY, AT(invert_matching), INT_MIN, INT_MAX},
    {HEARTBEAT_IVL, NUMBER, READ, EVERY, AT(heartbeat_ivl_ms), 0, INT_MAX},
    {HEARTBEAT_TIMEOUT, NUMBER, READ, EVERY, AT(heartbeat_timeout_ms), 0, INT_MAX},
    {CONNECT_TIMEOUT, NUMBER, READ, EVERY, AT(connect_timeout_ms), 0, INT_MAX},
    {TCP_MAXRT, NUMBER, READ, EVERY, AT(tuning.maxrt_ms), 0, INT_MAX},
    {MULTICAST_MAXTPDU, NUMBER, READ, EVERY, AT(multicast_maxtpdu), 1, INT_MAX},
    {USE_FD, NUMBER, READ, EVERY, AT(use_fd), -1, INT_MAX},
    {ZAP_ENFORCE_DOMAIN, FLAG, READ, EVERY, AT(zap_enforce_domain), INT_MIN, INT_MAX},
    {LOOPBACK_FASTPATH, TRUTH, READ, EVERY, AT(loopback_fastpath), INT_MIN, INT_MAX},
    {MULTICAST_LOOP, TRUTH, READ, EVERY, AT(multicast_loop), INT_MIN, INT_MAX},
    {SOCKS_USERNAME, TEXT, READ | NULL_CLEARS, EVERY, AT(socks_username), 0, TEXT_MAX},
    {SOCKS_PASSWORD, TEXT, READ | NULL_CLEARS, EVERY, AT(socks_password), 0, TEXT_MAX},
    {ONLY_FIRST_SUBSCRIBE, FLAG, 0, PUBS | BIT(ZM_XSUB), AT(only_first_subscribe), 0, INT_MAX},
    {RECONNECT_STOP, NUMBER, READ, EVERY, AT(reconnect_stop), INT_MIN, INT_MAX},
    {MAX_COMMAND, LIMIT, READ, EVERY, AT(limits.command), 0, 0},
    {MAX_METADATA, LIMIT, READ, EVERY, AT(limits.metadata), 0, 0},
    {MAX_PARTS, LIMIT, READ, EVERY, AT(limits.parts), 0, 0},
    {MAX_MESSAGE, LIMIT, READ, EVERY, AT(limits.message), 0, 0},
    {MAX_HANDSHAKES, LIMIT, READ, EVERY, AT(limits.handshakes), 0, 0},
    {MAX_SUBSCRIPTIONS, LIMIT, READ, EVERY, AT(limits.subscriptions), 0, 0},
    {MAX_TOPIC_BYTES, LIMIT, READ, EVERY, AT(limits.topics), 0, 0},
    {MAX_PENDING_SUBSCRIPTIONS, LIMIT, READ, EVERY, AT(limits.pending), 0, 0},
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
    switch (row->kind) {
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
