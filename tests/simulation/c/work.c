/* What programs do, from the seed: hosts with a context each, services of some sockets of the types
 * that go together, and a thread or two for each socket. They live, drain, rest and end. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "base/errors.h"
#include "driver/waitset.h"
#include "work.h"

enum { HOSTS_MAX = 4, SERVICES_MAX = 3, DOORS = 2, BUDGET_MAX = 120, RETURNS_IN_A_ROW = 12 };

typedef enum phase { LIVE, DRAIN, CLOSING } phase;

typedef struct kind {
    const char *name;
    int hub, spoke;            /* types */
    bool hub_sends, spoke_sends; /* of themselves; replies come besides */
    bool one;                  /* one spoke */
} kind;

static const kind kinds[] = {
    {"push-pull", T_PUSH, T_PULL, true, false, false},
    {"pull-push", T_PULL, T_PUSH, false, true, false},
    {"pub-sub", T_PUB, T_SUB, true, false, false},
    {"sub-pub", T_SUB, T_PUB, false, true, false},
    {"xpub-sub", T_XPUB, T_SUB, true, false, false},
    {"pub-xsub", T_PUB, T_XSUB, true, false, false},
    {"xsub-xpub", T_XSUB, T_XPUB, false, true, false},
    {"pair", T_PAIR, T_PAIR, true, true, true},
    {"router-dealer", T_ROUTER, T_DEALER, false, true, false},
    {"dealer-dealer", T_DEALER, T_DEALER, true, true, false},
    {"rep-req", T_REP, T_REQ, false, true, false},
    {"rep-dealer", T_REP, T_DEALER, false, true, false},
    {"router-req", T_ROUTER, T_REQ, false, true, false},
};

static service services[SERVICES_MAX + DOORS];
static int service_total, host_total;
static int64_t contexts[HOSTS_MAX];
static phase now;
static int working; /* threads that still have something to send */
static bool infinite; /* some thread may wait without an end */
static bool churn;
static uint64_t progress;
static bool killings;
static uint32_t forks; /* that are still to come */
int64_t stopped_at[HOSTS_MAX];

/* --- sockets --------------------------------------------------------------------------------- */

static void set(end *e, int option, int value)
{
    int rc = zm_socket_set(e->handle, option, &value, sizeof value);
    if (rc < 0 && rc != -ETERM && rc != -ENOTSOCK && rc != -ENOMEM)
        sim_broken("options are taken", "socket %d of type %d: option %d = %d: %d", e->id, e->type,
                   option, value, rc);
}

/* A SUB or an XSUB begins to ask for a topic, or asks for it no more. */
static void ask_for(end *e, unsigned topic, bool wanted)
{
    uint8_t command[] = {wanted, (uint8_t) ('A' + topic)};
    int rc;
    if (wanted)
        e->topics_ever |= (uint8_t) (1 << topic);
    else
        e->topics_always &= (uint8_t) ~(1 << topic);
    do
        rc = e->type == T_XSUB ? zm_socket_send(e->handle, command, sizeof command, 0)
                               : zm_socket_set(e->handle, wanted ? OPT_SUBSCRIBE : OPT_UNSUBSCRIBE,
                                               command + 1, 1);
    while (rc == -ENOMEM || rc == -EINTR);
}

static void ask_for_all(end *e)
{
    e->topics_ever = (1 << TOPICS) - 1;
    zm_socket_set(e->handle, OPT_SUBSCRIBE, "", 0);
}

static void draw_topics(end *e)
{
    if (e->type != T_SUB && e->type != T_XSUB)
        return;
    if (e->type == T_SUB && (e->of->conflates || sim_below(2))) {
        ask_for_all(e);
        e->topics_always = e->topics_ever;
        return;
    }
    e->topics_always = (1 << TOPICS) - 1;
    for (unsigned i = 0; i < TOPICS; i++)
        if (e->of->conflates || sim_below(3))
            ask_for(e, i, true);
    e->topics_always = e->topics_ever;
}

static void draw_options(end *e)
{
    static const int marks[] = {1, 2, 3, 10, 100, 1000, 0, 0};
    e->sndhwm = marks[sim_below(8)];
    e->rcvhwm = marks[sim_below(8)];
    e->linger = -1;
    e->rcvtimeo = sim_below(3) ? (int) (1 + sim_below(100)) : -1;
    e->sndtimeo = sim_below(3) ? (int) (1 + sim_below(100)) : -1;
    e->mandatory = e->type == T_ROUTER && sim_below(2);
    e->relaxed = e->type == T_REQ && sim_below(2);
    e->fickle = (e->type == T_SUB || e->type == T_XSUB) && sim_below(2);
    if (e->fickle)
        e->rcvhwm = 1 + (int) sim_below(3);
    e->nodrop = e->type == T_XPUB && sim_below(2);
    e->conflate = e->of->conflates && sim_below(4);
}

/* Has this socket the option of that name? */
static bool some_of(uint32_t n, const char *name, const end *e)
{
    return sim_less(sim_below(n) == 0, 0, "%s%d", name, e->id);
}

static int open_end(end *e)
{
    int64_t handle = zm_socket_new(contexts[e->host], e->type);
    if (handle < 0)
        return (int) handle;
    e->handle = handle;
    e->socket = api->socket_find(handle, &e->generation);
    int rc = security_apply(e);
    if (rc < 0) {
        zm_socket_close(handle);
        return rc;
    }
    set(e, OPT_SNDHWM, e->sndhwm);
    set(e, OPT_RCVHWM, e->rcvhwm);
    set(e, OPT_LINGER, e->linger);
    set(e, OPT_RCVTIMEO, e->rcvtimeo);
    set(e, OPT_SNDTIMEO, e->sndtimeo);
    if (e->mandatory)
        set(e, OPT_ROUTER_MANDATORY, 1);
    if (e->relaxed) {
        set(e, OPT_REQ_RELAXED, 1);
        set(e, OPT_REQ_CORRELATE, 1);
    }
    if (e->nodrop)
        set(e, OPT_XPUB_NODROP, 1);
    if (e->conflate)
        set(e, OPT_CONFLATE, 1);
    if ((e->type == T_PUB || e->type == T_XPUB) && some_of(4, "verbose", e))
        set(e, OPT_XPUB_VERBOSE, 1);
    if (e->type == T_ROUTER && some_of(4, "handover", e))
        set(e, OPT_ROUTER_HANDOVER, 1);
    if (e->type == T_DEALER && ends[e->of->first_end].type == T_ROUTER && some_of(4, "probe", e))
        set(e, OPT_PROBE_ROUTER, 1);
    if (some_of(4, "named", e)) {
        char id[8];
        int size = snprintf(id, sizeof id, "end%d", e->id);
        zm_socket_set(e->handle, OPT_ROUTING_ID, id, (size_t) size);
    }
    if (some_of(8, "handshake", e))
        set(e, OPT_HANDSHAKE_IVL, 5000 + (int) sim_below(60000));
    if (some_of(4, "backlog", e))
        set(e, OPT_BACKLOG, 1 + (int) sim_below(10));
    if (some_of(8, "immediate", e) && !e->conflate)
        set(e, OPT_IMMEDIATE, 1);
    if (some_of(4, "reconnect", e)) {
        set(e, OPT_RECONNECT_IVL, 1 + (int) sim_below(50));
        set(e, OPT_RECONNECT_IVL_MAX, (int) sim_below(2) * 200);
    }
    if (e->of->slow && e->sends) { /* readers that say nothing by themselves */
        set(e, OPT_HEARTBEAT_IVL, 100 + (int) sim_below(200));
        set(e, OPT_HEARTBEAT_TIMEOUT, (int) (4 * (PLAN->latency + PLAN->jitter) / SIM_MS) + 1000);
    } else if (!e->of->slow && some_of(6, "heartbeats", e)) {
        set(e, OPT_HEARTBEAT_IVL, 20 + (int) sim_below(500));
        if (sim_below(2))
            set(e, OPT_HEARTBEAT_TIMEOUT, 500 + (int) sim_below(2000));
        if (sim_below(2))
            set(e, OPT_HEARTBEAT_TTL, 1000 + (int) sim_below(5000));
        e->of->beats = true;
    }
    draw_topics(e);
    e->open = true;
    return 0;
}

static int attach_end(end *e)
{
    int rc;
    for (int tries = 0; tries < 50; tries++) {
        rc = e->binder ? zm_socket_bind(e->handle, e->of->endpoint)
                       : zm_socket_connect(e->handle, e->of->endpoint);
        if (rc != -EMFILE && rc != -EINTR && rc != -ENOMEM)
            break;
        sim_sleep(SIM_MS);
    }
    sim_say("socket %d: %s %s: %d", e->id, e->binder ? "bind" : "connect", e->of->endpoint, rc);
    return rc;
}

static void close_end(end *e)
{
    if (!e->open)
        return;
    law_connections_last(e);
    e->open = false;
    sim_say("socket %d: close", e->id);
    bool unsure = churn || killings || PLAN->no_files || PLAN->no_memory || e->intrusion;
    if (now != CLOSING && (unsure || (e->type != T_PUSH && e->type != T_PUB)))
        set(e, OPT_LINGER, 20000); /* who it was for may not be there */
    int rc = zm_socket_close(e->handle);
    if (rc < 0)
        sim_broken("a socket closes", "socket %d: %d", e->id, rc);
}

/* Is the answer one that ends the socket's work? */
static bool ended(int rc)
{
    return rc == -ETERM || rc == -ENOTSOCK;
}

static void think(void)
{
    switch (sim_below(12)) {
    case 0:
        sim_sleep((int64_t) sim_below(3000) * SIM_US);
        break;
    case 1:
        sim_sleep((int64_t) sim_below(200) * SIM_US);
        break;
    case 2:
        sim_sleep((int64_t) sim_below(100) * SIM_MS);
        break;
    default:
        sim_step();
    }
}

/* Waits for `events` in one of the ways that there are. 0, or -errno. */
static int await(end *e, short events)
{
    int64_t time = (int64_t) (1 + sim_below(200)) * SIM_MS;
    if (sim_below(2)) {
        zm_pollitem item = {.socket = e->handle, .fd = -1, .events = events};
        int rc = app_poll(&item, 1, time);
        return rc < 0 ? rc : 0;
    }
    /* By its descriptor, as event loops do: it tells only of what is new. */
    int fd, found;
    size_t size = sizeof fd;
    int rc = zm_socket_get(e->handle, OPT_FD, &fd, &size);
    if (rc < 0)
        return rc;
    int64_t until = sim_clock + time;
    app_begin("wait for FD", e);
    for (;;) {
        size = sizeof found;
        rc = zm_socket_get(e->handle, OPT_EVENTS, &found, &size);
        if (rc < 0 || found & events || sim_clock >= until)
            break;
        int64_t left = until - sim_clock;
        struct timespec limit = {left / SIM_S, left % SIM_S};
        struct pollfd item = {.fd = fd, .events = POLLIN};
        extern int __wrap_ppoll(struct pollfd *, nfds_t, const struct timespec *, const void *);
        __wrap_ppoll(&item, 1, &limit, NULL);
    }
    app_end();
    return rc;
}

static int receive(end *e, arrival *a)
{
    int rc;
    if (sim_below(3) == 0) {
        rc = await(e, ZM_POLLIN);
        if (rc < 0)
            return rc;
        rc = app_recv(e, ZM_DONTWAIT, a);
    } else {
        rc = app_recv(e, 0, a);
    }
    if (rc == 0)
        progress++;
    return rc;
}

static int transmit(end *e, const arrival *to)
{
    uint32_t number;
    int flags = 0;
    if (sim_below(4) == 0) {
        if (sim_below(2)) {
            int rc = await(e, ZM_POLLOUT);
            if (rc < 0)
                return rc;
        }
        flags = ZM_DONTWAIT;
    }
    int rc = app_send(e, to, flags, &number);
    if (rc == 0)
        progress++;
    return rc;
}

/* --- what a thread does with its socket ------------------------------------------------------ */

static bool may_send(const end *e)
{
    return e->budget && now == LIVE;
}

/* One turn of a socket of its type. 0, or -errno. */
static int turn(end *e, arrival *a)
{
    int rc = 0;
    switch (e->type) {
    case T_REQ:
        if (!may_send(e)) {
            sim_sleep(20 * SIM_MS);
            return 0;
        }
        e->budget--;
        rc = transmit(e, NULL);
        if (rc == 0 || rc == -EFSM)
            do
                rc = receive(e, a);
            while (rc == -EAGAIN && !e->relaxed && now != CLOSING);
        return rc;
    case T_REP:
        rc = receive(e, a);
        if (rc == 0) {
            a->routes = 0; /* REP keeps them itself */
            rc = transmit(e, a);
        }
        return rc;
    case T_ROUTER:
        rc = receive(e, a);
        if (rc == 0 && a->routes && sim_below(3))
            rc = transmit(e, a);
        return rc == -EHOSTUNREACH ? 0 : rc;
    default:
        break;
    }
    if (e->sends && may_send(e) && (!e->receives || sim_below(2))) {
        int burst = sim_below(6) ? 1 : 1 + (int) sim_below(20);
        while (burst-- && may_send(e) && rc == 0) {
            arrival empty = {.routes = 1, .foreign = true};
            bool for_rep = e->type == T_DEALER && ends[e->of->first_end].type == T_REP;
            e->budget--;
            rc = transmit(e, for_rep ? &empty : NULL);
        }
        return rc;
    }
    if (e->receives)
        return receive(e, a);
    sim_sleep(20 * SIM_MS);
    return 0;
}

static void *live(void *argument)
{
    end *e = argument;
    arrival *a = malloc(sizeof *a);
    bool moves = sim_less(1, 0, "moves%d", e->id);
    bool counted = e->sends && e->budget && !e->intrusion;
    if (sim_below(2))
        sim_sleep((int64_t) sim_below(30) * SIM_MS);
    while (!e->open && !e->failed)
        sim_sleep(SIM_MS);
    while (!e->failed && now != CLOSING) {
        int rc = turn(e, a);
        if (ended(rc))
            break;
        if (churn && sim_below(400) == 0) {
            e->of->disturbed = true;
            sim_say("socket %d: the program leaves", e->id);
            break;
        }
        if (counted && !may_send(e)) {
            counted = false;
            working--;
        }
        if (e->sharers == 1 && sim_below(100) == 0 && moves) {
            e->moved = true;
            counted = false; /* whoever takes it over counts it */
            sim_say("socket %d: its thread ends", e->id);
            break;
        }
        if ((e->type == T_SUB || e->type == T_XSUB) && !e->of->conflates
            && sim_below(e->fickle ? 5 : 60) == 0) {
            if (e->fickle) /* much has come meanwhile */
                sim_sleep((int64_t) sim_below(100) * SIM_MS);
            ask_for(e, sim_below(TOPICS), sim_below(3) == 0);
        }
        if (forks && sim_below(100) == 0) {
            forks--;
            app_fork(e);
        }
        app_memory();
        think();
    }
    if (counted)
        working--;
    free(a);
    return NULL;
}

/* Opens the socket, sees its threads through, and closes it. */
static void *own(void *argument)
{
    end *e = argument;
    sim_thread *others[4];
    sim_draw_from((uint64_t) e->id);
    sim_sleep((int64_t) sim_below(50) * SIM_MS);
    int rc = open_end(e);
    if (rc < 0) {
        e->failed = e->of->disturbed = true;
        return NULL;
    }
    int early = e->binder ? 0 : (int) sim_below(4) == 0; /* messages before the connect */
    uint32_t number;
    if (early && e->type == T_PUSH)
        app_send(e, NULL, ZM_DONTWAIT, &number);
    rc = attach_end(e);
    if (rc < 0)
        e->of->disturbed = true;
    for (int i = 1; i < e->sharers; i++)
        others[i] = sim_spawn("shares", e->host, false, live, e);
    bool elsewhere = sim_below(2);
    do {
        e->moved = false;
        if (elsewhere)
            sim_join(sim_spawn("app", e->host, false, live, e));
        else
            live(e);
    } while (e->moved);
    for (int i = 1; i < e->sharers; i++)
        sim_join(others[i]);
    if (now != CLOSING && !e->receives && sim_below(2))
        sim_say("socket %d: closes before the rest", e->id); /* what it has sent still arrives */
    else
        while (now != CLOSING)
            sim_sleep(20 * SIM_MS);
    close_end(e);
    return NULL;
}

/* --- two sockets of one thread --------------------------------------------------------------- */

static group doors;

static bool heard_of(const end *e)
{
    return ends[e->of->first_end].got[e->id] > 0;
}

/* What leaves must leave in order where the kernel takes all that it is given. */
static bool kernel_takes_all(void)
{
    return !PLAN->shorts && !PLAN->stray && !PLAN->no_memory && !PLAN->no_files
           && PLAN->sndbuf >= 128 * 1024;
}

/* Sends on both, to and fro; not so often that batching goes before order (socket/transfer.c). */
static void *own_doors(void *argument)
{
    end *pair[DOORS] = {argument, (end *) argument + 2}; /* its service's hub is between */
    uint32_t number;
    bool well = true;
    for (int i = 0; i < DOORS; i++)
        well &= open_end(pair[i]) == 0 && attach_end(pair[i]) == 0;
    for (int i = 0; well && i < DOORS; i++)
        well &= app_send(pair[i], NULL, 0, &number) == 0;
    while (well && now == LIVE && !(heard_of(pair[0]) && heard_of(pair[1])))
        sim_sleep(5 * SIM_MS);
    doors.watched = well && kernel_takes_all();
    for (int turns = 0; well && now == LIVE && turns < 60; turns++) {
        end *e = pair[sim_below(DOORS)];
        for (int burst = 1 + (int) sim_below(4); burst && well; burst--)
            well &= app_send(e, NULL, sim_below(2) ? ZM_DONTWAIT : 0, &number) == 0;
        if (turns % RETURNS_IN_A_ROW == 0 || sim_below(4) == 0)
            sim_sleep((int64_t) (300 + sim_below(2000)) * SIM_US);
    }
    working--;
    while (now != CLOSING)
        sim_sleep(20 * SIM_MS);
    for (int i = 0; i < DOORS; i++)
        close_end(pair[i]);
    return NULL;
}

static void draw_doors(void)
{
    int sender = (int) sim_below((uint32_t) host_total);
    for (int i = 0; i < DOORS; i++) {
        service *of = &services[service_total];
        *of = (service) {.id = service_total++, .first_end = end_total, .end_count = 2};
        int host = sim_below(3) ? sender : (int) sim_below((uint32_t) host_total);
        if (sim_below(3) == 0 && host == sender)
            snprintf(of->endpoint, sizeof of->endpoint, "ipc:///simulated/s%d", of->id);
        else
            snprintf(of->endpoint, sizeof of->endpoint, "tcp://10.0.0.%d:%d", host, 7000 + of->id);
        of->remote = host != sender;
        for (int side = 0; side < 2; side++) {
            end *e = &ends[end_total];
            *e = (end) {.id = end_total++, .of = of, .sharers = 1};
            draw_options(e);
            e->type = side ? T_PUSH : T_PULL;
            e->binder = e->receives = side == 0;
            e->sends = side == 1;
            e->host = side ? sender : host;
            e->sndhwm = e->rcvhwm = 0;
            e->group = side ? &doors : NULL;
            infinite |= e->rcvtimeo < 0 || e->sndtimeo < 0;
            sim_say("socket %d: type %d of doors on host %d, %s", e->id, e->type, e->host,
                    of->endpoint);
        }
    }
}

/* --- the whole ------------------------------------------------------------------------------- */

static void draw_service(service *of)
{
    of->slow = PLAN->slow && of->id == 0;
    /* PUSH and PULL, either end bound, over a network. */
    of->kind = (int) sim_below(of->slow ? 2 : sizeof kinds / sizeof kinds[0]);
    const kind *k = &kinds[of->kind];
    int spokes = k->one ? 1 : 1 + (int) sim_below(3);
    int hub_host = (int) sim_below((uint32_t) host_total);
    int transport = of->slow ? 2 : (int) sim_below(5); /* 0 inproc, 1 ipc, else tcp */
    bool taken_apart = k->hub == T_PAIR || k->hub == T_ROUTER || k->hub == T_REP;
    of->conflates = !taken_apart && sim_below(6) == 0;
    bool absent = !sim_less(1, 0, "service%d", of->id);
    of->first_end = end_total;
    of->end_count = spokes + 1;
    of->inproc = transport == 0;
    of->publishes = k->hub == T_PUB || k->hub == T_XPUB || k->spoke == T_PUB || k->spoke == T_XPUB;
    if (transport == 0)
        snprintf(of->endpoint, sizeof of->endpoint, "inproc://s%d", of->id);
    else if (transport == 1)
        snprintf(of->endpoint, sizeof of->endpoint, "ipc:///simulated/s%d", of->id);
    else
        snprintf(of->endpoint, sizeof of->endpoint, "tcp://10.0.0.%d:%d", hub_host, 7000 + of->id);
    for (int i = 0; i <= spokes; i++) {
        end *e = &ends[end_total];
        *e = (end) {.id = end_total++, .of = of, .sharers = 1};
        e->type = i ? k->spoke : k->hub;
        e->binder = i == 0;
        e->host = i == 0 || transport < 2 ? hub_host : (int) sim_below((uint32_t) host_total);
        of->remote |= e->host != hub_host;
        e->sends = i ? k->spoke_sends : k->hub_sends;
        e->absent = absent || (i > 0 && !sim_less(1, 0, "socket%d", e->id));
        uint32_t budget = 1 + sim_below(of->slow ? 8 : sim_below(3) ? 20 : BUDGET_MAX);
        if (e->sends && !e->absent)
            e->budget = sim_less(budget, 1, "sends%d", e->id);
        bool replies = e->type == T_REP || e->type == T_ROUTER;
        e->receives = i ? k->hub_sends || e->type == T_REQ || e->type == T_DEALER : k->spoke_sends;
        e->sends |= replies;
        draw_options(e);
        if (of->slow)
            e->rcvhwm = 0; /* reading goes on, so whoever speaks is heard */
        bool sharable = e->type == T_PUSH || e->type == T_PULL || e->type == T_DEALER
                        || e->type == T_SUB;
        if (sharable && sim_below(4) == 0)
            e->sharers = 1 + (int) sim_less(1, 0, "shared%d", e->id);
    }
    security_draw(of);
    /* Whoever shares a socket sends and reads single parts. */
    bool shared = false;
    for (int i = 0; i < of->end_count; i++)
        shared |= ends[of->first_end + i].sharers > 1;
    for (int i = 0; shared && i < of->end_count; i++) {
        end *e = &ends[of->first_end + i];
        if (e->type == T_PUB || e->type == T_XPUB || e->type == T_ROUTER || e->type == T_REP)
            shared = false;
    }
    for (int i = 0; i < of->end_count; i++)
        ends[of->first_end + i].sharers = shared ? 2 : 1;
    for (int i = 0; i < of->end_count; i++) {
        end *e = &ends[of->first_end + i];
        if (e->absent)
            continue;
        infinite |= e->rcvtimeo < 0 || e->sndtimeo < 0;
        sim_say("socket %d: type %d of %s on host %d, %s, marks %d %d, timeouts %d %d, sends %u, "
                "%d threads", e->id, e->type, k->name, e->host, of->endpoint, e->sndhwm, e->rcvhwm,
                e->rcvtimeo, e->sndtimeo, e->budget, e->sharers);
    }
}

/* Whoever pushes to those that read, and are all there, is not held up. */
static bool must_go_on(const end *e)
{
    bool all = e->type == T_PUSH && !e->of->disturbed && !e->of->beats && !TALLY->resets
               && !PLAN->no_files && !PLAN->no_memory && !e->intrusion;
    for (int i = 0; i < e->of->end_count; i++)
        all &= ends[e->of->first_end + i].open;
    return all;
}

/* --- what happens to hosts ------------------------------------------------------------------- */

static void wait_until_free(int host)
{
    while (!sim_host_is_free(host))
        sim_sleep(SIM_US);
}

static void disturb(int host, bool only_beating)
{
    for (int i = 0; i < end_total; i++)
        if (ends[i].host == host
            && (!only_beating || ends[i].of->beats || ends[i].of->slow))
            ends[i].of->disturbed = true;
}

/* Who beats takes it for dead, and is right. */
static void stop_for_a_while(int host)
{
    wait_until_free(host);
    disturb(host, true);
    sim_say("host %d stops", host);
    sim_host_stop(host);
    sim_sleep((int64_t) (20 + sim_below(1500)) * SIM_MS);
    sim_host_go_on(host);
    stopped_at[host] = sim_clock;
    sim_say("host %d goes on", host);
}

/* Its programs start anew. */
static void kill_and_start(int host, sim_thread **owners)
{
    wait_until_free(host);
    disturb(host, false);
    sim_say("host %d is killed", host);
    killings = true;
    sim_host_kill(host);
    for (int i = 0; i < end_total; i++)
        if (ends[i].host == host) {
            ends[i].open = ends[i].failed = ends[i].moved = false;
            ends[i].restarted = true;
        }
    sim_sleep((int64_t) sim_below(500) * SIM_MS);
    contexts[host] = zm_context_new(1);
    for (int i = 0; i < end_total; i++)
        if (ends[i].host == host && owners[i])
            owners[i] = sim_spawn("app", host, false, own, &ends[i]);
}

/* Of those that wait without an end: is there what they wait for? */
static void law_nobody_waits_in_vain(void)
{
    for (sim_thread *t = sim_threads; t; t = t->next) {
        end *e = t->doing_object;
        if (t->done || !t->doing || !e || !e->open || sim_clock - t->doing_since < 2 * SIM_S)
            continue;
        const char *call = t->doing;
        if (!strcmp(call, "send") && must_go_on(e))
            sim_broken("who can go on does", "socket %d: send has waited for %.3f s", e->id,
                       (double) (sim_clock - t->doing_since) / 1e9);
        int64_t since = t->doing_since;
        int wanted = !strcmp(call, "recv") ? ZM_POLLIN : !strcmp(call, "send") ? ZM_POLLOUT : 0;
        int found = 0;
        size_t size = sizeof found;
        if (wanted == ZM_POLLOUT && (e->type == T_ROUTER || e->nodrop))
            continue; /* it waits for one peer, and may send to others; EVENTS knows no NODROP */
        if (!wanted || zm_socket_get(e->handle, OPT_EVENTS, &found, &size) < 0 || !(found & wanted))
            continue;
        if (t->doing == call && t->doing_since == since)
            sim_broken("no wake-up is lost", "socket %d: %s has waited for %.3f s, and could go on",
                       e->id, call, (double) (sim_clock - since) / 1e9);
    }
}

/* A silent second costs next to nothing. */
static void law_idle_is_idle(void)
{
    sim_sleep(2 * SIM_S);
    for (sim_thread *t = sim_threads; t; t = t->next)
        t->calls_before = t->calls;
    uint64_t before = TALLY->syscalls, connects = TALLY->connects;
    sim_sleep(SIM_S);
    uint64_t calls = TALLY->syscalls - before;
    /* Programs that ask again and again, and those that are sent away and come again. */
    uint64_t most = 4000 * (uint64_t) end_total + 300 * (TALLY->connects - connects);
    const sim_thread *busiest = sim_threads;
    for (sim_thread *t = sim_threads; t; t = t->next)
        if (t->calls - t->calls_before > busiest->calls - busiest->calls_before)
            busiest = t;
    if (calls > most)
        sim_broken("idle is idle", "%llu system calls in a silent second, %llu of %s#%d in %s",
                   (unsigned long long) calls,
                   (unsigned long long) (busiest->calls - busiest->calls_before), busiest->name,
                   busiest->id, busiest->doing ? busiest->doing : "-");
}

static void settle(int64_t quiet, int64_t most)
{
    uint64_t seen = progress;
    int64_t since = sim_clock, began = since;
    while (sim_clock - since < quiet && sim_clock - began < most) {
        sim_sleep(50 * SIM_MS);
        if (progress != seen) {
            seen = progress;
            since = sim_clock;
        }
    }
}

static void join_owner(sim_thread *owner)
{
    if (owner) /* the second door is its neighbour's; and there are those that are left out */
        sim_join(owner);
}

void *work(void *unused)
{
    (void) unused;
    sim_thread *owners[ENDS_MAX];
    bool guarded[HOSTS_MAX] = {false};
    zm_counts before, after;
    sim_plan plan = *PLAN; /* whether there is io_uring is asked in quiet */
    PLAN->stray = PLAN->shorts = PLAN->no_files = 0;
    zm_crypto_path("simulated");
    app_begin_watch();
    int rc = zm_engine_init_alone(PLAN->driver ? "io_uring" : "epoll");
    zm_ready_fd(); /* the process's own, which stays */
    *PLAN = plan;
    if (rc < 0)
        sim_broken("the engine starts", "%d: %s", rc, zm_driver_reason());
    api = zm_api_get();
    zm_counts_get(&before);
    int fds = sim_fd_count();
    host_total = (int) sim_less(1 + sim_below(HOSTS_MAX), 1, "hosts");
    service_total = 1 + (int) sim_below(SERVICES_MAX);
    churn = sim_less(sim_below(4) == 0, 0, "churn");
    for (int i = 0; i < host_total; i++)
        contexts[i] = zm_context_new(1 + (int) sim_less(sim_below(4) == 0, 0, "threads%d", i));
    for (int i = 0; i < service_total; i++) {
        services[i].id = i;
        draw_service(&services[i]);
    }
    int leader = -1;
    if (sim_less(sim_below(4) == 0, 0, "doors")) {
        draw_doors();
        leader = end_total - 3;
        working++;
    }
    for (int i = 0; i < end_total; i++)
        working += ends[i].budget && !ends[i].intrusion ? ends[i].sharers : 0;
    sim_thread *guests[HOSTS_MAX + SERVICES_MAX + DOORS];
    int guest_total = 0;
    for (int i = 0; i < service_total; i++) {
        int host = ends[services[i].first_end].host;
        if (services[i].mechanism && !guarded[host]) {
            guarded[host] = true;
            guests[guest_total++] = security_handler(host, contexts[host]);
        }
        if (!services[i].inproc && services[i].endpoint[0] == 't'
            && sim_less(sim_below(6) == 0, 0, "stranger%d", i))
            guests[guest_total++] = security_stranger(&services[i],
                                                      (int) sim_below((uint32_t) host_total));
    }
    for (int i = 0; i < end_total; i++)
        owners[i] = ends[i].absent || (ends[i].group && i != leader)
                        ? NULL
                        : sim_spawn("app", ends[i].host, false, i == leader ? own_doors : own,
                                    &ends[i]);

    int64_t most = (int64_t) (1 + sim_below(30)) * SIM_S, began = sim_clock;
    bool stops = sim_less(sim_below(6) == 0, 0, "stops");
    forks = sim_less(sim_below(12) ? 0 : 1 + sim_below(3), 0, "forks");
    bool kills = sim_less(sim_below(8) == 0, 0, "kills") && leader < 0;
    while (working && sim_clock - began < most) {
        sim_sleep(10 * SIM_MS);
        int host = (int) sim_below((uint32_t) host_total);
        if (stops && sim_below(20) == 0) {
            stop_for_a_while(host);
        } else if (kills && !guarded[host] && sim_below(20) == 0) {
            kill_and_start(host, owners);
            kills = sim_below(2);
        }
    }
    int cut = churn && sim_below(3) == 0 ? (int) sim_below((uint32_t) host_total) : -1;
    if (cut >= 0) {
        sim_say("the context of host %d ends", cut);
        for (int i = 0; i < end_total; i++)
            if (ends[i].host == cut) {
                ends[i].of->disturbed = true;
                if (ends[i].open)
                    set(&ends[i], OPT_LINGER, 1000);
            }
        zm_context_shutdown(contexts[cut]);
    }
    now = DRAIN;
    sim_say("drain");
    /* The longest message may be all that is on its way, at what one window a round trip makes. */
    int window = PLAN->sndbuf < PLAN->rcvbuf ? PLAN->sndbuf : PLAN->rcvbuf;
    double rate = (double) window * 1e9 / (double) (2 * (PLAN->latency + PLAN->jitter) + 1);
    if (rate > (double) PLAN->rate)
        rate = (double) PLAN->rate;
    int64_t longest = (int64_t) (4 * 120000 / rate * 1e9);
    int64_t quiet = (PLAN->stalls || PLAN->drop ? 12 * SIM_S : 4 * SIM_S) + longest;
    settle(quiet, 3000 * SIM_S);
    /* A connect whose first packets are dropped takes up to half a minute, and what waits for it is
     * not lost. */
    for (int tries = 0; PLAN->drop && sim_somebody_connects() && tries < 40; tries++)
        settle(SIM_S, SIM_S);
    if (PLAN->drop)
        settle(quiet, 3000 * SIM_S);
    sim_say("rest");
    law_nobody_waits_in_vain();
    law_at_rest();
    law_idle_is_idle();
    for (int i = 0; i < end_total; i++)
        if (ends[i].open) /* whom it waits for may go first */
            set(&ends[i], OPT_LINGER, (int) sim_below(2) * 500);
    now = CLOSING;
    sim_say("close");
    bool ends_early = sim_below(2); /* the handlers, before those that they let in have gone */
    security_over = ends_early;
    if (infinite || sim_below(2))
        for (int i = 0; i < host_total; i++)
            zm_context_shutdown(contexts[i]);
    bool waits = sim_below(2); /* term() until the others have closed */
    for (int i = 0; i < end_total && !waits; i++)
        join_owner(owners[i]);
    security_over = true;
    for (int i = 0; i < host_total; i++) {
        do
            rc = zm_context_term(contexts[i], 400000);
        while (rc == -EINTR);
        sim_say("term of host %d: %d", i, rc);
        char holders[1000] = "";
        if (rc < 0) {
            zm_context_holders(contexts[i], holders, sizeof holders);
            sim_broken("term() ends", "host %d: %d: %s", i, rc, holders);
        }
    }
    for (int i = 0; i < end_total; i++)
        join_owner(owners[i]);
    for (int i = 0; i < guest_total; i++)
        sim_join(guests[i]);
    zm_alloc_fail_after(-1);
    sim_sleep(2 * SIM_S);
    zm_counts_get(&after);
    if (killings) /* what was the killed ones' is counted here, and nowhere in a real process */
        return NULL;
    if (after.blocks != before.blocks || after.sockets || after.contexts || after.connections
        || after.in_flight || after.threads || sim_fd_count() != fds)
        sim_broken("memory returns", "%lld blocks (%lld), %lld sockets, %lld contexts, %lld "
                   "connections, %lld requests, %lld threads, %d descriptors (%d)",
                   (long long) after.blocks, (long long) before.blocks, (long long) after.sockets,
                   (long long) after.contexts, (long long) after.connections,
                   (long long) after.in_flight, (long long) after.threads, sim_fd_count(), fds);
    return NULL;
}
