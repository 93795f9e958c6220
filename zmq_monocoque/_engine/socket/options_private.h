/* What the files of the options offer each other: numbers, rows and functions. Nothing else
 * includes this. The options are their owner's, whose lock is held where they are a socket's. */
#ifndef ZM_SOCKET_OPTIONS_PRIVATE_H
#define ZM_SOCKET_OPTIONS_PRIVATE_H

#include "options.h"

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

enum mechanism { MECHANISM_NULL = 0, MECHANISM_PLAIN = 1, MECHANISM_CURVE = 2 };

enum { KEY_BYTES = 32, KEY_CHARS = 40, TEXT_MAX = 255, NAME_MAX_BYTES = 255 };

#define BIT(type) (1u << (type))
#define EVERY ((1u << ZM_SOCKET_TYPES) - 1)
#define PUBS (BIT(ZM_PUB) | BIT(ZM_XPUB))
#define ROUTERS (BIT(ZM_ROUTER) | BIT(ZM_REP))
#define PROBERS (ROUTERS | BIT(ZM_REQ) | BIT(ZM_DEALER))
#define COUNTERS (PUBS | BIT(ZM_SUB) | BIT(ZM_XSUB))

#define AT(member) offsetof(zm_options, member)

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

/* options_table.c */
const option_row *zm_option_row_of(int option);
int zm_option_number(const void *value, size_t size, int low, int high, int *out_number);
int zm_option_row_set(zm_options *options, const option_row *row, const void *value, size_t size);
int zm_option_answer_number(void *out, size_t *inout_size, int number);
int zm_option_answer_bytes(void *out, size_t *inout_size, const zm_bytes *bytes);
int zm_option_answer_text(void *out, size_t *inout_size, const zm_bytes *text);
int zm_option_row_get(const zm_options *options, const option_row *row, void *out,
                      size_t *inout_size);

/* options_values.c */
/* 1 makes this side a server of the mechanism; 0 takes security away, whichever it was. */
int zm_option_set_server(zm_options *options, int mechanism, const void *value, size_t size);
int zm_option_set_plain(zm_options *options, zm_bytes *place, const void *value, size_t size);
int zm_option_set_key(zm_options *options, uint8_t place[KEY_BYTES], const void *value,
                      size_t size);
int zm_option_set_secret(zm_options *options, const void *value, size_t size);
/* libzmq tells raw from Z85 by the room (32 or 41). Ours takes any other room from 40 for Z85, so
 * that pyzmq's reading of bytes, with 255 of them, works. */
int zm_option_get_key(const uint8_t key[KEY_BYTES], void *out, size_t *inout_size);
/* "X-name:value". The first value of a name stays. */
int zm_option_add_metadata(zm_options *options, const uint8_t *text, size_t size);
int zm_option_add_tcp_filter(zm_options *options, const void *value, size_t size);
int zm_option_add_ipc_filter(int32_t **ids, size_t *count, const void *value, size_t size);
int zm_option_set_device(zm_options *options, const void *value, size_t size);
/* Kept in tenths of a second, as the PING carries it. */
int zm_option_set_heartbeat_ttl(zm_options *options, const void *value, size_t size);
int zm_option_set_welcome(zm_options *options, const void *value, size_t size);

#endif
