/* Socket options: the struct, its defaults, and the checked setting and reading of it by number,
 * exactly as libzmq 4.3.5 does per socket type (semantics.md#socket-options). Options that are
 * actions or states of the socket (SUBSCRIBE, UNSUBSCRIBE, FD, EVENTS, RCVMORE, TYPE,
 * LAST_ENDPOINT, TOPICS_COUNT) are the socket's business and are answered with
 * ZM_OPTION_OF_SOCKET here, after the check that this socket type has them. */
#ifndef ZM_SOCKET_OPTIONS_H
#define ZM_SOCKET_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../driver/address.h"

enum { ZM_OPTION_OF_SOCKET = 1 };

enum zm_socket_type {
    ZM_PAIR,
    ZM_PUB,
    ZM_SUB,
    ZM_REQ,
    ZM_REP,
    ZM_DEALER,
    ZM_ROUTER,
    ZM_PULL,
    ZM_PUSH,
    ZM_XPUB,
    ZM_XSUB,
    ZM_STREAM,
    ZM_SOCKET_TYPES
};

/* An owned string of bytes; data NULL when empty. */
typedef struct zm_bytes {
    uint8_t *data;
    size_t size;
} zm_bytes;
int zm_bytes_set(zm_bytes *bytes, const void *borrowed, size_t size); /* 0, -ENOMEM */
void zm_bytes_clear(zm_bytes *bytes);

/* What a peer may make us keep (docs/reference/limits.md). Below zero: no limit. */
typedef struct zm_limits {
    int64_t command;       /* bytes of one command after the handshake */
    int64_t metadata;      /* bytes of the properties in its READY or INITIATE */
    int64_t parts;         /* of one message */
    int64_t message;       /* bytes of all parts of one message */
    int64_t handshakes;    /* accepted connections of a socket that are not through theirs */
    int64_t subscriptions; /* of one peer */
    int64_t topics;        /* bytes of those subscriptions' topics together */
    int64_t pending;       /* of one peer, that an XPUB's application has not read */
} zm_limits;

typedef struct zm_options {
    int sndhwm, rcvhwm;
    uint64_t affinity;
    zm_bytes routing_id;
    int rate, recovery_ivl, multicast_hops, multicast_maxtpdu, multicast_loop;
    zm_tuning tuning; /* SNDBUF RCVBUF BACKLOG TOS TCP_* IPV6 BINDTODEVICE PRIORITY */
    int linger_ms;
    int reconnect_ivl_ms, reconnect_ivl_max_ms, reconnect_stop;
    int64_t max_msg_size;
    zm_limits limits;
    int rcvtimeo_ms, sndtimeo_ms;
    bool immediate, conflate;
    int handshake_ivl_ms, connect_timeout_ms;
    int heartbeat_ivl_ms, heartbeat_ttl_ds, heartbeat_timeout_ms; /* ttl in tenths of a second */
    int use_fd;
    bool invert_matching;
    zm_bytes socks_proxy, socks_username, socks_password;
    zm_bytes metadata; /* READY properties, encoded (u8 n, name, u32 n, value) */
    /* ROUTER, REP, DEALER, REQ, STREAM */
    bool router_mandatory, router_handover, router_raw, probe_router, stream_notify;
    bool req_correlate, req_relaxed;
    zm_bytes connect_routing_id; /* taken by the next connect */
    /* PUB, XPUB, XSUB */
    bool xpub_verbose, xpub_verboser, xpub_nodrop, xpub_manual, xpub_manual_last_value;
    bool only_first_subscribe;
    zm_bytes xpub_welcome;
    bool has_welcome;
    /* security: kept and read back here, used by the mechanisms */
    int mechanism; /* 0 NULL, 1 PLAIN, 2 CURVE: the last set decides */
    bool as_server;
    zm_bytes plain_username, plain_password;
    zm_bytes zap_domain;
    bool zap_enforce_domain;
    uint8_t curve_public[32], curve_server[32];
    uint8_t *curve_secret; /* 32 bytes of a zm_secret; NULL: not set, which is all zeros */
    int loopback_fastpath;
    /* accept filters */
    zm_cidr *tcp_filters;
    size_t tcp_filter_count;
    int32_t *ipc_uids, *ipc_gids, *ipc_pids;
    size_t ipc_uid_count, ipc_gid_count, ipc_pid_count;
} zm_options;

/* Defaults of a type; `blocky` and `ipv6` are the context's. */
void zm_options_init(zm_options *options, int socket_type, bool blocky, bool ipv6);
/* A deep copy into uninitialised `out`: what a listener or connecter keeps. 0 or -ENOMEM. */
int zm_options_copy(zm_options *out, const zm_options *from);
void zm_options_fini(zm_options *options);

/* 0, ZM_OPTION_OF_SOCKET, -EINVAL, -ENOMEM. A failed set changes nothing. */
int zm_options_set(zm_options *options, int socket_type, int option, const void *value,
                   size_t size);
/* *inout_size: room, then bytes written. 0, ZM_OPTION_OF_SOCKET, -EINVAL. */
int zm_options_get(const zm_options *options, int socket_type, int option, void *out,
                   size_t *inout_size);
/* What a get answers with: copies `size` bytes, zeroes the room behind them and tells the size.
 * For the socket's own string options too. 0; -EINVAL: the room is too small. */
int zm_option_answer(void *out, size_t *inout_size, const void *borrowed, size_t size);
/* Is a ZAP handler (RFC 27) to be asked about peers under these options? */
bool zm_options_want_zap(const zm_options *options);

#endif
