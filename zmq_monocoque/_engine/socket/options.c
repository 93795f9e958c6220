/* The options of a socket, by number. Most are one row of a table: which socket types take it,
 * whether it can be read, its bounds and where it lives; the few with rules of their own follow as
 * functions. Numbers that are not here (features this build does not have: drafts, GSSAPI, VMCI,
 * NORM, WSS) are unknown, as in a stable libzmq 4.3.5. Knows nothing of what the options do. */
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/secret.h"
#include "../base/z85.h"
#include "../driver/address.h"
#include "../zmtp/session.h"

enum option_number {
    AFFINITY = 4,
    ROUTING_ID = 5,
    SUBSCRIBE = 6,
    UNSUBSCRIBE = 7,
    RATE = 8,
    RECOVERY_IVL = 9,
    SNDBUF = 11,
    RCVBUF = 12,
    RCVMORE = 13,
    FD = 14,
    EVENTS = 15,
    TYPE = 16,
    LINGER = 17,
    RECONNECT_IVL = 18,
    BACKLOG = 19,
    RECONNECT_IVL_MAX = 21,
    MAXMSGSIZE = 22,
    SNDHWM = 23,
    RCVHWM = 24,
    MULTICAST_HOPS = 25,
    RCVTIMEO = 27,
    SNDTIMEO = 28,
    IPV4ONLY = 31,
    LAST_ENDPOINT = 32,
    ROUTER_MANDATORY = 33,
    TCP_KEEPALIVE = 34,
    TCP_KEEPALIVE_CNT = 35,
    TCP_KEEPALIVE_IDLE = 36,
    TCP_KEEPALIVE_INTVL = 37,
    TCP_ACCEPT_FILTER = 38,
    IMMEDIATE = 39,
    XPUB_VERBOSE = 40,
    ROUTER_RAW = 41,
    IPV6 = 42,
    MECHANISM = 43,
    PLAIN_SERVER = 44,
    PLAIN_USERNAME = 45,
    PLAIN_PASSWORD = 46,
    CURVE_SERVER = 47,
    CURVE_PUBLICKEY = 48,
    CURVE_SECRETKEY = 49,
    CURVE_SERVERKEY = 50,
    PROBE_ROUTER = 51,
    REQ_CORRELATE = 52,
    REQ_RELAXED = 53,
    CONFLATE = 54,
    ZAP_DOMAIN = 55,
    ROUTER_HANDOVER = 56,
    TOS = 57,
    IPC_FILTER_PID = 58,
    IPC_FILTER_UID = 59,
    IPC_FILTER_GID = 60,
    CONNECT_ROUTING_ID = 61,
    HANDSHAKE_IVL = 66,
    SOCKS_PROXY = 68,
    XPUB_NODROP = 69,
    XPUB_MANUAL = 71,
    XPUB_WELCOME_MSG = 72,
    STREAM_NOTIFY = 73,
    INVERT_MATCHING = 74,
    HEARTBEAT_IVL = 75,
    HEARTBEAT_TTL = 76,
    HEARTBEAT_TIMEOUT = 77,
    XPUB_VERBOSER = 78,
    CONNECT_TIMEOUT = 79,
    TCP_MAXRT = 80,
    THREAD_SAFE = 81,
    MULTICAST_MAXTPDU = 84,
    USE_FD = 89,
    BINDTODEVICE = 92,
    ZAP_ENFORCE_DOMAIN = 93,
    LOOPBACK_FASTPATH = 94,
    METADATA = 95,
    MULTICAST_LOOP = 96,
    XPUB_MANUAL_LAST_VALUE = 98,
    SOCKS_USERNAME = 99,
    SOCKS_PASSWORD = 100,
    ONLY_FIRST_SUBSCRIBE = 108,
    RECONNECT_STOP = 109,
    TOPICS_COUNT = 116,
    /* Ours: far from libzmq's. */
    MAX_COMMAND = 19712,
    MAX_METADATA,
    MAX_PARTS,
    MAX_MESSAGE,
    MAX_HANDSHAKES,
    MAX_SUBSCRIPTIONS,
    MAX_TOPIC_BYTES,
    MAX_PENDING_SUBSCRIPTIONS,
};

enum { MAX_HANDSHAKES_DEFAULT = 4096 };

enum mechanism { MECHANISM_NULL = 0, MECHANISM_PLAIN = 1, MECHANISM_CURVE = 2 };

enum { KEY_BYTES = 32, KEY_CHARS = 40, TEXT_MAX = 255, NAME_MAX_BYTES = 255 };

/* --- bytes ------------------------------------------------------------------------------------ */

int zm_bytes_set(zm_bytes *bytes, const void *borrowed, size_t size)
{
    uint8_t *copy = NULL;
    if (size) {
        copy = zm_alloc(size);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, borrowed, size);
    }
    zm_bytes_clear(bytes);
    bytes->data = copy;
    bytes->size = size;
    return 0;
}

void zm_bytes_clear(zm_bytes *bytes)
{
    if (bytes->data)
        explicit_bzero(bytes->data, bytes->size); /* some are passwords */
    zm_free(bytes->data);
    bytes->data = NULL;
    bytes->size = 0;
}

/* --- the table -------------------------------------------------------------------------------- */

#define BIT(type) (1u << (type))
#define EVERY ((1u << ZM_SOCKET_TYPES) - 1)
#define PUBS (BIT(ZM_PUB) | BIT(ZM_XPUB))
#define ROUTERS (BIT(ZM_ROUTER) | BIT(ZM_REP))
#define PROBERS (ROUTERS | BIT(ZM_REQ) | BIT(ZM_DEALER))
#define COUNTERS (PUBS | BIT(ZM_SUB) | BIT(ZM_XSUB))

enum row_kind {
    NUMBER, /* int within [low, high] */
    FLAG,   /* bool, set from an int within [low, high]: zero or not */
    TRUTH,  /* int, kept as zero or one */
    BYTES,  /* zm_bytes of [low, high] bytes */
    TEXT,   /* the same, read with a NUL behind it */
    LIMIT,  /* int64_t: from 1, or -1 for none */
};

enum row_flags {
    READ = 1,       /* can be read back */
    NULL_CLEARS = 2 /* (NULL, 0) empties it */
};

typedef struct option_row {
    uint16_t number;
    uint8_t kind, flags;
    uint16_t types; /* that may set it; those that may read it are all of these */
    uint16_t offset;
    int low, high;
} option_row;

#define AT(member) offsetof(zm_options, member)

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

static const option_row *row_of(int option)
{
    for (size_t i = 0; i < ZM_COUNT(rows); i++)
        if (rows[i].number == option)
            return &rows[i];
    return NULL;
}

static int number_of(const void *value, size_t size, int low, int high, int *out_number)
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

static int row_set(zm_options *options, const option_row *row, const void *value, size_t size)
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
    int rc = number_of(value, size, row->low, row->high, &number);
    if (rc < 0)
        return rc;
    if (row->kind == FLAG)
        *(bool *) place = number != 0;
    else
        *(int *) place = row->kind == TRUTH ? number != 0 : number;
    return 0;
}

/* --- answers ---------------------------------------------------------------------------------- */

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

static int answer_number(void *out, size_t *inout_size, int number)
{
    if (*inout_size != sizeof number)
        return -EINVAL;
    return zm_option_answer(out, inout_size, &number, sizeof number);
}

static int answer_bytes(void *out, size_t *inout_size, const zm_bytes *bytes)
{
    return zm_option_answer(out, inout_size, bytes->data, bytes->size);
}

static int answer_text(void *out, size_t *inout_size, const zm_bytes *text)
{
    size_t room = *inout_size;
    if (room <= text->size)
        return -EINVAL;
    int rc = zm_option_answer(out, inout_size, text->data, text->size);
    *inout_size = text->size + 1; /* the byte behind was zeroed with the rest of the room */
    return rc;
}

static int row_get(const zm_options *options, const option_row *row, void *out, size_t *inout_size)
{
    const void *place = (const char *) options + row->offset;
    switch (row->kind) {
    case BYTES:
        return answer_bytes(out, inout_size, place);
    case TEXT:
        return answer_text(out, inout_size, place);
    case FLAG:
        return answer_number(out, inout_size, *(const bool *) place);
    case LIMIT:
        if (*inout_size != sizeof(int64_t))
            return -EINVAL;
        return zm_option_answer(out, inout_size, place, sizeof(int64_t));
    default:
        return answer_number(out, inout_size, *(const int *) place);
    }
}

/* --- security --------------------------------------------------------------------------------- */

/* 1 makes this side a server of the mechanism; 0 takes security away, whichever it was. */
static int set_server(zm_options *options, int mechanism, const void *value, size_t size)
{
    int number = 0;
    int rc = number_of(value, size, 0, 1, &number);
    if (rc < 0)
        return rc;
    options->as_server = number;
    options->mechanism = number ? mechanism : MECHANISM_NULL;
    return 0;
}

static int set_plain(zm_options *options, zm_bytes *place, const void *value, size_t size)
{
    if (!value && size == 0) {
        options->mechanism = MECHANISM_NULL;
        return 0;
    }
    if (!value || size == 0 || size > TEXT_MAX)
        return -EINVAL;
    int rc = zm_bytes_set(place, value, size);
    if (rc < 0)
        return rc;
    zm_secret_moved();
    options->as_server = false;
    options->mechanism = MECHANISM_PLAIN;
    return 0;
}

/* 32 bytes, or 40 characters of Z85 with or without the NUL. */
static int read_key(uint8_t key[KEY_BYTES], const void *value, size_t size)
{
    const char *text = value;
    if (!value)
        return -EINVAL;
    if (size == KEY_BYTES) {
        memcpy(key, value, KEY_BYTES);
        return 0;
    }
    if (size != KEY_CHARS && !(size == KEY_CHARS + 1 && text[KEY_CHARS] == '\0'))
        return -EINVAL;
    return zm_z85_decode(key, text, KEY_CHARS) < 0 ? -EINVAL : 0;
}

static int set_key(zm_options *options, uint8_t place[KEY_BYTES], const void *value, size_t size)
{
    uint8_t key[KEY_BYTES];
    int rc = read_key(key, value, size);
    if (rc < 0)
        return rc;
    memcpy(place, key, sizeof key);
    options->mechanism = MECHANISM_CURVE;
    return 0;
}

static int set_secret(zm_options *options, const void *value, size_t size)
{
    uint8_t *key = zm_secret_new();
    if (!key)
        return -ENOMEM;
    int rc = read_key(key, value, size);
    if (rc < 0) {
        zm_secret_free(key);
        return rc;
    }
    zm_secret_free(options->curve_secret);
    options->curve_secret = key;
    options->mechanism = MECHANISM_CURVE;
    return 0;
}

/* libzmq tells raw from Z85 by the room (32 or 41). Ours takes any other room from 40 for Z85, so
 * that pyzmq's reading of bytes, with 255 of them, works. */
static int get_key(const uint8_t key[KEY_BYTES], void *out, size_t *inout_size)
{
    if (*inout_size == KEY_BYTES)
        return zm_option_answer(out, inout_size, key, KEY_BYTES);
    char text[KEY_CHARS + 1];
    zm_z85_encode(text, key, KEY_BYTES);
    int rc = zm_option_answer(out, inout_size, text,
                              *inout_size > KEY_CHARS ? sizeof text : KEY_CHARS);
    explicit_bzero(text, sizeof text);
    return rc;
}

/* --- metadata, filters, the rest -------------------------------------------------------------- */

/* Where the property `name` belongs among the others, which are sorted; *out_has: it is there. */
static size_t metadata_place(const zm_bytes *metadata, const uint8_t *name, size_t name_size,
                             bool *out_has)
{
    size_t at = 0;
    *out_has = false;
    while (at < metadata->size) {
        const uint8_t *entry = metadata->data + at;
        size_t entry_name_size = entry[0];
        uint32_t value_size;
        memcpy(&value_size, entry + 1 + entry_name_size, sizeof value_size);
        size_t common = entry_name_size < name_size ? entry_name_size : name_size;
        int order = memcmp(entry + 1, name, common);
        *out_has = order == 0 && entry_name_size == name_size;
        if (order > 0 || (order == 0 && entry_name_size >= name_size))
            break;
        at += 1 + entry_name_size + sizeof value_size + __builtin_bswap32(value_size);
    }
    return at;
}

/* "X-name:value". The first value of a name stays. */
static int add_metadata(zm_options *options, const uint8_t *text, size_t size)
{
    /* libzmq takes four bytes for an int, which this option is not. */
    if (!text || size < 4 || size == sizeof(int) || size > UINT32_MAX)
        return -EINVAL;
    const uint8_t *colon = memchr(text, ':', size);
    if (!colon || colon + 1 == text + size || text[0] != 'X' || text[1] != '-')
        return -EINVAL;
    size_t name_size = (size_t) (colon - text);
    if (name_size > NAME_MAX_BYTES)
        return -EINVAL;
    zm_bytes *metadata = &options->metadata;
    bool has;
    size_t at = metadata_place(metadata, text, name_size, &has);
    if (has)
        return 0;
    size_t value_size = size - name_size - 1;
    uint32_t value_size_big = __builtin_bswap32((uint32_t) value_size);
    size_t entry_size = 1 + name_size + sizeof value_size_big + value_size;
    uint8_t *grown = zm_realloc(metadata->data, metadata->size + entry_size);
    if (!grown)
        return -ENOMEM;
    uint8_t *entry = grown + at;
    memmove(entry + entry_size, entry, metadata->size - at);
    *entry++ = (uint8_t) name_size;
    memcpy(entry, text, name_size);
    memcpy(entry + name_size, &value_size_big, sizeof value_size_big);
    memcpy(entry + name_size + sizeof value_size_big, colon + 1, value_size);
    metadata->data = grown;
    metadata->size += entry_size;
    return 0;
}

static int add_tcp_filter(zm_options *options, const void *value, size_t size)
{
    if (!value && size == 0) {
        zm_free(options->tcp_filters);
        options->tcp_filters = NULL;
        options->tcp_filter_count = 0;
        return 0;
    }
    char text[TEXT_MAX + 1];
    zm_cidr cidr;
    if (!value || size == 0 || size > TEXT_MAX)
        return -EINVAL;
    memcpy(text, value, size);
    text[size] = '\0';
    if (zm_cidr_parse(text, &cidr) < 0)
        return -EINVAL;
    if (cidr.network.ss_family == AF_INET6 && !options->tuning.ipv6)
        return -EINVAL;
    zm_cidr *grown =
        zm_realloc(options->tcp_filters, (options->tcp_filter_count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    grown[options->tcp_filter_count++] = cidr;
    options->tcp_filters = grown;
    return 0;
}

static int add_ipc_filter(int32_t **ids, size_t *count, const void *value, size_t size)
{
    if (!value && size == 0) {
        zm_free(*ids);
        *ids = NULL;
        *count = 0;
        return 0;
    }
    int id = 0;
    int rc = number_of(value, size, INT_MIN, INT_MAX, &id);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < *count; i++)
        if ((*ids)[i] == id)
            return 0;
    int32_t *grown = zm_realloc(*ids, (*count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    grown[(*count)++] = id;
    *ids = grown;
    return 0;
}

static int set_device(zm_options *options, const void *value, size_t size)
{
    char *device = options->tuning.device;
    if (!value && size == 0) {
        device[0] = '\0';
        return 0;
    }
    if (!value || size == 0 || size >= sizeof options->tuning.device)
        return -EINVAL;
    memcpy(device, value, size);
    device[size] = '\0';
    return 0;
}

/* Kept in tenths of a second, as the PING carries it. */
static int set_heartbeat_ttl(zm_options *options, const void *value, size_t size)
{
    int number = 0;
    int rc = number_of(value, size, -99, UINT16_MAX * 100 + 99, &number);
    if (rc == 0)
        options->heartbeat_ttl_ds = number / 100;
    return rc;
}

static int set_welcome(zm_options *options, const void *value, size_t size)
{
    if (!value && size)
        return -EINVAL;
    int rc = zm_bytes_set(&options->xpub_welcome, value, size);
    if (rc == 0)
        options->has_welcome = size > 0;
    return rc;
}

/* --- setting ---------------------------------------------------------------------------------- */

/* Is a subscription by option possible here? A publisher's own only when it decides itself. */
static bool subscribes(const zm_options *options, int socket_type)
{
    return socket_type == ZM_SUB ||
           ((socket_type == ZM_PUB || socket_type == ZM_XPUB) && options->xpub_manual);
}

/* Options of publishers that change more than one field. */
static int set_publisher(zm_options *options, int option, const void *value, size_t size)
{
    int number = 0;
    int rc = number_of(value, size, 0, INT_MAX, &number);
    if (rc < 0)
        return rc;
    switch (option) {
    case XPUB_VERBOSE:
        options->xpub_verbose = number != 0;
        options->xpub_verboser = false;
        return 0;
    case XPUB_VERBOSER:
        options->xpub_verbose = options->xpub_verboser = number != 0;
        return 0;
    default:
        ZM_ASSERT(option == XPUB_MANUAL_LAST_VALUE);
        options->xpub_manual = options->xpub_manual_last_value = number != 0;
        return 0;
    }
}

int zm_options_set(zm_options *options, int socket_type, int option, const void *value,
                   size_t size)
{
    ZM_ASSERT(socket_type >= 0 && socket_type < ZM_SOCKET_TYPES);
    const option_row *row = row_of(option);
    if (row)
        return row->types & BIT(socket_type) ? row_set(options, row, value, size) : -EINVAL;

    switch (option) {
    case SUBSCRIBE:
    case UNSUBSCRIBE:
        if (!subscribes(options, socket_type) || (!value && size))
            return -EINVAL;
        return ZM_OPTION_OF_SOCKET;
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
        int rc = number_of(value, size, 0, 1, &number);
        if (rc == 0)
            options->tuning.ipv6 = !number;
        return rc;
    }
    case TCP_ACCEPT_FILTER:
        return add_tcp_filter(options, value, size);
    case IPC_FILTER_PID:
        return add_ipc_filter(&options->ipc_pids, &options->ipc_pid_count, value, size);
    case IPC_FILTER_UID:
        return add_ipc_filter(&options->ipc_uids, &options->ipc_uid_count, value, size);
    case IPC_FILTER_GID:
        return add_ipc_filter(&options->ipc_gids, &options->ipc_gid_count, value, size);
    case PLAIN_SERVER:
        return set_server(options, MECHANISM_PLAIN, value, size);
    case PLAIN_USERNAME:
        return set_plain(options, &options->plain_username, value, size);
    case PLAIN_PASSWORD:
        return set_plain(options, &options->plain_password, value, size);
    case CURVE_SERVER:
        return set_server(options, MECHANISM_CURVE, value, size);
    case CURVE_PUBLICKEY:
        return set_key(options, options->curve_public, value, size);
    case CURVE_SECRETKEY:
        return set_secret(options, value, size);
    case CURVE_SERVERKEY: {
        int rc = set_key(options, options->curve_server, value, size);
        if (rc == 0)
            options->as_server = false;
        return rc;
    }
    case XPUB_VERBOSE:
    case XPUB_VERBOSER:
    case XPUB_MANUAL_LAST_VALUE:
        return PUBS & BIT(socket_type) ? set_publisher(options, option, value, size) : -EINVAL;
    case XPUB_WELCOME_MSG:
        return PUBS & BIT(socket_type) ? set_welcome(options, value, size) : -EINVAL;
    case HEARTBEAT_TTL:
        return set_heartbeat_ttl(options, value, size);
    case BINDTODEVICE:
        return set_device(options, value, size);
    case METADATA:
        return add_metadata(options, value, size);
    default:
        return -EINVAL;
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

int zm_options_get(const zm_options *options, int socket_type, int option, void *out,
                   size_t *inout_size)
{
    ZM_ASSERT(socket_type >= 0 && socket_type < ZM_SOCKET_TYPES);
    const option_row *row = row_of(option);
    if (row)
        return row->flags & READ ? row_get(options, row, out, inout_size) : -EINVAL;

    switch (option) {
    case RCVMORE:
    case FD:
    case EVENTS:
        return *inout_size >= sizeof(int) ? ZM_OPTION_OF_SOCKET : -EINVAL;
    case TOPICS_COUNT:
        if (!(COUNTERS & BIT(socket_type)) || *inout_size < sizeof(int))
            return -EINVAL;
        return ZM_OPTION_OF_SOCKET;
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
        return answer_number(out, inout_size, !options->tuning.ipv6);
    case PLAIN_SERVER:
        return answer_number(out, inout_size,
                             options->as_server && options->mechanism == MECHANISM_PLAIN);
    case PLAIN_USERNAME:
        return answer_text(out, inout_size, &options->plain_username);
    case PLAIN_PASSWORD:
        return answer_text(out, inout_size, &options->plain_password);
    case CURVE_SERVER:
        return answer_number(out, inout_size,
                             options->as_server && options->mechanism == MECHANISM_CURVE);
    case CURVE_PUBLICKEY:
        return get_key(options->curve_public, out, inout_size);
    case CURVE_SECRETKEY: {
        static const uint8_t zeros[KEY_BYTES];
        return get_key(options->curve_secret ? options->curve_secret : zeros, out, inout_size);
    }
    case CURVE_SERVERKEY:
        return get_key(options->curve_server, out, inout_size);
    case HEARTBEAT_TTL:
        return answer_number(out, inout_size, options->heartbeat_ttl_ds * 100);
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
    bool subscriber = socket_type == ZM_SUB || socket_type == ZM_XSUB;
    *options = (zm_options) {
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
        .linger_ms = subscriber || !blocky ? 0 : -1,
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
    AT(routing_id), AT(socks_proxy), AT(socks_username), AT(socks_password),
    AT(metadata), AT(connect_routing_id), AT(xpub_welcome), AT(plain_username),
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
        *(zm_bytes *) ((char *) out + owned_bytes[i]) = (zm_bytes) {0};
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
