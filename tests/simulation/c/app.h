/* A program's calls of the engine, made as the extension makes them; and the books of what was sent
 * and what arrived, which the laws are about. */
#ifndef SIM_APP_H
#define SIM_APP_H

#include "sim.h"

#include "api.h"
#include "engine.h"

enum {
    OPT_ROUTING_ID = 5, OPT_SUBSCRIBE = 6, OPT_RCVMORE = 13, OPT_FD = 14, OPT_EVENTS = 15,
    OPT_LINGER = 17, OPT_RECONNECT_IVL = 18, OPT_BACKLOG = 19, OPT_RECONNECT_IVL_MAX = 21,
    OPT_SNDHWM = 23, OPT_RCVHWM = 24, OPT_RCVTIMEO = 27, OPT_SNDTIMEO = 28,
    OPT_ROUTER_MANDATORY = 33, OPT_IMMEDIATE = 39, OPT_PLAIN_SERVER = 44, OPT_PLAIN_USERNAME = 45,
    OPT_PLAIN_PASSWORD = 46, OPT_REQ_CORRELATE = 52, OPT_REQ_RELAXED = 53, OPT_CONFLATE = 54,
    OPT_HEARTBEAT_IVL = 75, OPT_HEARTBEAT_TTL = 76, OPT_HEARTBEAT_TIMEOUT = 77, OPT_XPUB_NODROP = 69
};
enum {
    T_PAIR, T_PUB, T_SUB, T_REQ, T_REP, T_DEALER, T_ROUTER, T_PULL, T_PUSH, T_XPUB, T_XSUB
};
enum { ENDS_MAX = 24, PARTS_MAX = 4, BODY_MAX = 200 * 1024 };

/* What a socket has sent: one entry for each message, by its number. */
typedef struct record {
    bool offered, accepted;
    uint8_t parts;
    uint16_t arrivals;
    uint32_t size;
} record;

typedef struct service service;

/* One socket of the workload, from its making to its close. */
typedef struct end {
    int id, type, host, sharers;
    service *of;
    bool binder, open, failed, sends, receives;
    int64_t handle;
    zm_socket *socket;
    uint32_t generation;
    int sndhwm, rcvhwm, linger, rcvtimeo, sndtimeo;
    bool relaxed, mandatory, conflate, nodrop;
    uint32_t budget; /* messages that it is still to send */
    record *records;
    uint32_t sent, record_room;
    /* Of each sender: the last number that came, and which came. */
    uint32_t last[ENDS_MAX], first[ENDS_MAX];
    uint8_t *seen[ENDS_MAX];
    uint32_t seen_room[ENDS_MAX];
    uint32_t got[ENDS_MAX]; /* messages */
    uint32_t received;
    char topic;
} end;

struct service {
    int id, kind;
    char endpoint[64];
    bool inproc, remote;
    bool disturbed; /* connections were lost, or sockets closed: only what holds then is asked */
    bool beats;     /* by heartbeats a slow connection is a dead one */
    bool publishes;
    int first_end, end_count;
};

extern end ends[ENDS_MAX];
extern int end_total;
extern const zm_api *api;

/* A message of ours, as it is read: the routing parts that come before it, then its parts. */
typedef struct arrival {
    uint8_t route[4][256]; /* what ROUTER and REP put before it */
    uint8_t route_size[4];
    int routes;
    int sender;
    uint32_t number;
    bool foreign; /* nothing that we know, which is allowed where it is empty */
} arrival;

/* 0, or -errno. `routes`: what goes before it. */
int app_send(end *e, const arrival *to, int flags, uint32_t *out_number);
int app_recv(end *e, int flags, arrival *out);
int app_poll(zm_pollitem *items, int count, int64_t timeout);
void app_begin(const char *doing, end *e);
void app_end(void);

/* --- laws: laws.c ---------------------------------------------------------------------------- */
/* A message is about to be offered; it was taken, or refused. */
uint32_t law_offer(end *e, int parts, uint32_t size);
void law_taken(end *e, uint32_t number, int rc);
/* A whole message came. */
void law_arrived(end *e, int sender, uint32_t number);
/* After each call on `e`. */
void law_step(end *e);
void law_connections_last(const end *e);
/* Nothing has happened for a while, and nothing is to come. */
void law_at_rest(void);

#endif
