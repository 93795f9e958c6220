/* A program's calls of the engine, made as the extension makes them; and the books of what was sent
 * and what arrived, which the laws are about. */
#ifndef SIM_APP_H
#define SIM_APP_H

#include "sim.h"

#include "api.h"
#include "engine.h"

/* A run without some of its sockets has the others as they were. */
#define sim_below sim_draw_below
#define sim_chance sim_draw_chance

enum {
    OPT_ROUTING_ID = 5, OPT_SUBSCRIBE = 6, OPT_RCVMORE = 13, OPT_FD = 14, OPT_EVENTS = 15,
    OPT_LINGER = 17, OPT_RECONNECT_IVL = 18, OPT_BACKLOG = 19, OPT_RECONNECT_IVL_MAX = 21,
    OPT_SNDHWM = 23, OPT_RCVHWM = 24, OPT_RCVTIMEO = 27, OPT_SNDTIMEO = 28,
    OPT_ROUTER_MANDATORY = 33, OPT_IMMEDIATE = 39, OPT_PLAIN_SERVER = 44, OPT_PLAIN_USERNAME = 45,
    OPT_PLAIN_PASSWORD = 46, OPT_REQ_CORRELATE = 52, OPT_REQ_RELAXED = 53, OPT_CONFLATE = 54,
    OPT_HEARTBEAT_IVL = 75, OPT_HEARTBEAT_TTL = 76, OPT_HEARTBEAT_TIMEOUT = 77,
    OPT_XPUB_NODROP = 69, OPT_UNSUBSCRIBE = 7, OPT_CURVE_SERVER = 47, OPT_CURVE_PUBLICKEY = 48,
    OPT_CURVE_SECRETKEY = 49, OPT_CURVE_SERVERKEY = 50, OPT_PROBE_ROUTER = 51,
    OPT_ZAP_DOMAIN = 55, OPT_ROUTER_HANDOVER = 56,
    OPT_HANDSHAKE_IVL = 66, OPT_XPUB_VERBOSE = 40, OPT_ZAP_ENFORCE_DOMAIN = 93
};
enum {
    T_PAIR, T_PUB, T_SUB, T_REQ, T_REP, T_DEALER, T_ROUTER, T_PULL, T_PUSH, T_XPUB, T_XSUB,
    T_STREAM
};
enum { ENDS_MAX = 24, PARTS_MAX = 4, BODY_MAX = 200 * 1024 };

/* What a socket has sent: one entry for each message, by its number. */
typedef struct record {
    bool offered, accepted;
    uint8_t parts;
    uint16_t arrivals, answers;
    uint32_t size;
} record;

typedef struct service service;

/* What one thread sends on two sockets, in the order in which it did. */
typedef struct group {
    struct { int sender; uint32_t number; bool departed, refused; } *sends;
    uint32_t count, room, lowest;
    bool watched;
} group;

typedef enum mechanism { M_NULL, M_PLAIN, M_CURVE } mechanism;
/* What is wrong with who tries to get in. */
typedef enum intrusion {
    INVITED, WRONG_SERVER_KEY, UNKNOWN_KEY, NO_MECHANISM, WRONG_PASSWORD
} intrusion;
/* How a socket's program waits: in calls and polls of the engine, as chance has it; or in a loop of
 * its own, where it polls the descriptor, or has it in a set for good, by level or by edges. */
typedef enum waits { IN_CALLS, AT_FD, IN_A_SET, BY_EDGES } waits;
enum { TOPICS = 4, NOBODY = 0xffff }; /* a publisher's message n is of topic n % TOPICS */

/* One socket of the workload, from its making to its close. */
typedef struct end {
    int id, type, host, sharers;
    service *of;
    bool absent; /* left out of this run */
    bool binder, open, attached, failed, sends, receives;
    int64_t handle;
    zm_socket *socket;
    uint32_t generation;
    int sndhwm, rcvhwm, linger, rcvtimeo, sndtimeo;
    bool relaxed, mandatory, conflate, nodrop, fickle, narrow, immediate;
    intrusion intrusion;
    uint8_t public_key[32], secret_key[32];
    uint8_t topics_ever, topics_always; /* of a subscriber, a bit each */
    uint32_t asked; /* REQ: the number of its last request */
    bool restarted; /* its program was killed once: what it knew of earlier requests is lost */
    bool moved;     /* its thread has left it to another one */
    waits waits;
    bool early; /* its descriptor is made as soon as it is open */
    uint32_t waits_before;    /* of another kind, which are still to come */
    const sim_thread *looper; /* one of those that share it */
    int set;                  /* which has its descriptor; 0: none does */
    struct group *group; /* of the sockets of one thread; NULL: it has this one only */
    uint32_t budget; /* messages that it is still to send */
    uint32_t large;  /* of a burst: the size of what is sent now, if it is not small */
    record *records;
    uint32_t sent, record_room;
    /* Of each sender: the first number that came, and by which pipe each did; 0: it did not. */
    uint32_t first[ENDS_MAX];
    uint16_t *seen[ENDS_MAX];
    uint32_t seen_room[ENDS_MAX];
    zm_metadata **pipes; /* owned: no other connection's is at the same address */
    uint16_t pipe_count;
    uint32_t got[ENDS_MAX]; /* messages */
    uint32_t received;
} end;

struct service {
    int id, kind;
    char endpoint[64];
    bool inproc, remote;
    bool by_name; /* its hub is found by its host's name, and may have another address later */
    bool disturbed; /* connections were lost, or sockets closed: only what holds then is asked */
    bool beats;     /* by heartbeats a slow connection is a dead one */
    bool publishes, conflates, streams;
    bool bursts;    /* of small messages, to readers that read all */
    bool slow; /* large bodies on a slow link, signs of life between them, readers that read */
    mechanism mechanism;
    uint8_t public_key[32], secret_key[32]; /* of its hub */
    int first_end, end_count;
};

extern end ends[ENDS_MAX];
extern int end_total;
extern int64_t stopped_at[]; /* of each host, when it went on for the last time */
extern const zm_api *api;

/* A message of ours, as it is read: the routing parts that come before it, then its parts. */
typedef struct arrival {
    uint8_t route[4][256]; /* what ROUTER and REP put before it */
    uint8_t route_size[4];
    int routes;
    int sender, to; /* to: whom it answers; NOBODY: it is no answer */
    uint32_t number, answers;
    uint16_t pipe; /* of `pipes`, from 1 on */
    bool foreign; /* nothing that we know, which is allowed where it is empty */
} arrival;

/* 0, or -errno. `to`: what it answers, and the routes that go before it; NULL: neither. */
int app_send(end *e, const arrival *to, int flags, uint32_t *out_number);
int app_recv(end *e, int flags, arrival *out);
int app_poll(zm_pollitem *items, int count, int64_t timeout);

/* Of a STREAM's connection. */
typedef struct stream_name {
    uint8_t bytes[16];
    size_t size;
} stream_name;
enum { STREAM_BYTES_MAX = 8192 }; /* in a message that comes */
int app_send_bytes(end *e, const stream_name *to, const void *data, size_t size, int flags);
/* `out` has room for STREAM_BYTES_MAX. */
int app_recv_bytes(end *e, int flags, stream_name *from, uint8_t *out, size_t *out_size);
void app_begin_watch(void);
void app_memory(void);
void app_begin(const char *doing, end *e);
void app_end(void);

/* The program that has `e` forks; what its child does is seen through here. */
void app_fork(const end *e);

/* --- laws: laws.c ---------------------------------------------------------------------------- */
/* A message is about to be offered; it was taken, or refused. */
uint32_t law_offer(end *e, int parts, uint32_t size);
void law_taken(end *e, uint32_t number, int rc);
/* A whole message came. */
void law_arrived(end *e, const arrival *a);
/* Of the message `number` of socket `sender` bytes have come to a socket of the kernel's. */
void law_departs(int sender, uint32_t number);
/* After each call on `e`. */
void law_step(end *e);
void law_connections_last(const end *e);
/* Nothing has happened for a while, and nothing is to come. */
void law_at_rest(void);
void law_who_connects_comes_back(void);

/* --- reference models: models.c -------------------------------------------------------------- */
void model_arrived(end *e, const arrival *a);

/* --- who may come in: security.c ------------------------------------------------------------- */
void security_draw(service *of);
/* 0, or -errno. */
int security_apply(end *e);
/* Starts a ZAP handler on `host`, and returns when it is there. */
sim_thread *security_handler(int host, int64_t context);
extern bool security_over; /* the handlers end */
sim_thread *security_stranger(const service *of, int host);

#endif
