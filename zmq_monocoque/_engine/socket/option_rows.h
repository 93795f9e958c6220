/* How an option is stated: as a row of a table. Those that every type of socket has are rows of
 * options_table.c; those that a type has beside them are in pattern/options.c. The numbers are
 * libzmq's. Only .c files include this. The options are their owner's; where that is a socket, its
 * lock is held. */
#ifndef ZM_SOCKET_OPTION_ROWS_H
#define ZM_SOCKET_OPTION_ROWS_H

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

#define AT(member) offsetof(zm_options, member)

enum row_kind {
    NUMBER, /* int within [low, high] */
    FLAG,   /* bool, set from an int within [low, high]: zero or not */
    TRUTH,  /* int, kept as zero or one */
    BYTES,  /* zm_bytes of [low, high] bytes */
    TEXT,   /* the same, read with a NUL behind it */
    LIMIT,  /* int64_t: from 1, or -1 for none */
    RULED, /* set by a function of its own, or not at all; what is read is the socket's to tell */
};

enum row_flags {
    READ = 1, /* can be read back */
    NULL_CLEARS = 2, /* (NULL, 0) empties it */
    READ_ONLY = 5 /* cannot be set */
};

typedef struct option_row {
    uint16_t number;
    uint8_t kind, flags;
    uint16_t offset;
    int low, high;
    /* RULED: as zm_options_set(). NULL: cannot be set. */
    int (*set)(zm_options *options, int option, const void *value, size_t size);
} option_row;

/* The row of a type's own option; NULL: it has none (pattern/options.c). */
const option_row *zm_option_of_type(int socket_type, int option);
/* Is LINGER 0 for this type, unless it is set? */
bool zm_type_forgets(int socket_type);

/* An int within [low, high]. 0, -EINVAL (options_table.c). */
int zm_option_number(const void *value, size_t size, int low, int high, int *out_number);

#endif
