/* Many hosts: one publishes, all others subscribe, each with a processor, a context and a thread of
 * its own; flat, or each behind one of some brokers, which proxy from XSUB to XPUB. Says what that
 * costs, in virtual time, system calls, steps and bytes; tests/simulation/scale.py draws it.
 *
 * Laws hold here, too: without marks everybody who has got one message gets all that follow. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "engine.h"
#include "scale.h"
#include "sim.h"

/* As in app.h, which is the workload's. */
enum { OPT_SUBSCRIBE = 6, OPT_LINGER = 17, OPT_BACKLOG = 19, OPT_SNDHWM = 23, OPT_RCVHWM = 24 };
enum { T_PUB = 1, T_SUB = 2, T_XPUB = 9, T_XSUB = 10 };
enum { ROOT = 1, PORT = 7000, PROBE_MS = 20, SILENCE_S = 300 };

typedef struct subscriber {
    int host, from;      /* whom it is connected to */
    uint32_t epoch, got; /* of the publisher that it heard last: its messages */
    sim_thread *thread;
} subscriber;

/* What a message says: which publisher, and its number; 0: are you there? */
typedef struct head {
    uint32_t epoch, number;
} head;

static struct {
    int peers, brokers, messages, size, backlog;
} asked = {.peers = 100, .messages = 20, .size = 100};

static subscriber *subscribers;
static int64_t root_context, root;
static uint32_t epoch;
static int joined;    /* subscribers that have heard this publisher */
static uint64_t arrived; /* messages of it, by all */
static int64_t last_arrival;
static int64_t engine_bytes, engine_blocks;

/* --- the engine's memory: base/alloc.c is compiled with these in place of the C library's ----- */

static void *counted(void *p)
{
    if (p) {
        engine_bytes += (int64_t) malloc_usable_size(p);
        engine_blocks++;
    }
    return p;
}

static void uncounted(void *p)
{
    if (p) {
        engine_bytes -= (int64_t) malloc_usable_size(p);
        engine_blocks--;
    }
}

void *sim_engine_malloc(size_t size)
{
    return counted(malloc(size));
}

void *sim_engine_calloc(size_t count, size_t size)
{
    return counted(calloc(count, size));
}

void *sim_engine_realloc(void *p, size_t size)
{
    uncounted(p);
    void *out = realloc(p, size);
    counted(out ? out : p);
    return out;
}

void sim_engine_free(void *p)
{
    uncounted(p);
    free(p);
}

/* --- sockets ---------------------------------------------------------------------------------- */

static void must(const char *what, int64_t rc)
{
    if (rc < 0)
        sim_broken("the engine answers", "%s: %lld", what, (long long) rc);
}

static int64_t open_socket(int64_t context, int type)
{
    int64_t s = zm_socket_new(context, type);
    int none = 0;
    must("socket", s);
    must("SNDHWM", zm_socket_set(s, OPT_SNDHWM, &none, sizeof none));
    must("RCVHWM", zm_socket_set(s, OPT_RCVHWM, &none, sizeof none));
    must("LINGER", zm_socket_set(s, OPT_LINGER, &none, sizeof none));
    if (asked.backlog)
        must("BACKLOG", zm_socket_set(s, OPT_BACKLOG, &asked.backlog, sizeof asked.backlog));
    return s;
}

static const char *endpoint_of(int host)
{
    static char text[64];
    uint32_t a = sim_host_address(host);
    snprintf(text, sizeof text, "tcp://%u.%u.%u.%u:%d", a >> 24, a >> 16 & 255, a >> 8 & 255,
             a & 255, PORT);
    return text;
}

static void *subscribe(void *argument)
{
    subscriber *me = argument;
    int64_t context = zm_context_new(1), s = open_socket(context, T_SUB);
    uint8_t *buffer = malloc((size_t) asked.size + sizeof(head));
    head h;
    must("SUBSCRIBE", zm_socket_set(s, OPT_SUBSCRIBE, "", 0));
    must("connect", zm_socket_connect(s, endpoint_of(me->from)));
    for (;;) {
        int rc = zm_socket_recv(s, buffer, (size_t) asked.size + sizeof h, 0);
        if (rc == -EINTR)
            continue;
        must("recv", rc);
        memcpy(&h, buffer, sizeof h);
        if (h.epoch != epoch)
            continue;
        last_arrival = sim_clock;
        if (me->epoch != h.epoch) {
            me->epoch = h.epoch;
            me->got = 0;
            joined++;
        }
        if (!h.number)
            continue;
        if (h.number != me->got + 1)
            sim_broken("a subscriber misses nothing", "host %d: message %u after %u", me->host,
                       h.number, me->got);
        me->got = h.number;
        arrived++;
    }
    return NULL;
}

/* A broker: whom it gets from is the root, and others connect to it. */
static void *broker(void *argument)
{
    int host = (int) (intptr_t) argument;
    int64_t context = zm_context_new(1);
    int64_t in = open_socket(context, T_XSUB), out = open_socket(context, T_XPUB);
    zm_proxy_state state = {0};
    must("bind", zm_socket_bind(out, endpoint_of(host)));
    must("connect", zm_socket_connect(in, endpoint_of(ROOT)));
    int rc;
    do
        rc = zm_proxy_run(in, out, -1, -1, &state);
    while (rc == -EINTR);
    must("proxy", rc);
    return NULL;
}

/* --- the publisher ---------------------------------------------------------------------------- */

typedef enum deed { BEGIN, PROBE, PUBLISH, END } deed;

static deed wanted;
static bool done;

static void send_one(uint32_t number)
{
    head h = {epoch, number};
    uint8_t *buffer = calloc(1, sizeof h + (size_t) asked.size);
    memcpy(buffer, &h, sizeof h);
    must("send", zm_socket_send(root, buffer, sizeof h + (size_t) asked.size, 0));
    free(buffer);
}

static void *publish(void *argument)
{
    (void) argument;
    switch (wanted) {
    case BEGIN:
        root_context = zm_context_new(1);
        root = open_socket(root_context, T_PUB);
        must("bind", zm_socket_bind(root, endpoint_of(ROOT)));
        break;
    case PROBE:
        send_one(0);
        break;
    case PUBLISH:
        for (int i = 1; i <= asked.messages; i++)
            send_one((uint32_t) i);
        break;
    case END:
        must("close", zm_socket_close(root));
        must("term", zm_context_term(root_context, -1));
        break;
    }
    done = true;
    return NULL;
}

/* On the publisher's host, where the time that it takes is spent. */
static void do_there(deed what)
{
    wanted = what;
    done = false;
    sim_join(sim_spawn("publisher", ROOT, false, publish, NULL));
}

/* Until everybody has heard the publisher: seconds. */
static double converge(void)
{
    int64_t since = sim_clock;
    epoch++;
    joined = 0;
    while (joined < asked.peers) {
        if (sim_clock - since > SILENCE_S * SIM_S)
            sim_broken("subscriptions converge", "%d of %d after %d s", joined, asked.peers,
                       SILENCE_S);
        do_there(PROBE);
        sim_sleep(PROBE_MS * SIM_MS + (sim_clock - since) / 20); /* each one goes to all */
    }
    return (double) (last_arrival - since) / 1e9;
}

typedef struct spent {
    uint64_t calls, steps;
} spent;

/* By all hosts, or by one. */
static spent spent_by(int host)
{
    spent out = {0};
    for (const sim_thread *t = sim_threads; t; t = t->next)
        if (host < 0 || t->host == host) {
            out.calls += t->calls;
            out.steps += t->steps;
        }
    return out;
}

void scale_ask(const char *text)
{
    static const struct {
        const char *name;
        int *value;
    } names[] = {{"peers", &asked.peers}, {"brokers", &asked.brokers},
                 {"messages", &asked.messages}, {"size", &asked.size},
                 {"backlog", &asked.backlog}, {"driver", &PLAN->driver}};
    char *copy = strdup(text);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        char *value = strchr(word, '=');
        size_t i = 0, count = sizeof names / sizeof names[0];
        if (value)
            *value++ = 0;
        while (i < count && strcmp(word, names[i].name))
            i++;
        if (!value || i == count) {
            fprintf(stderr, "--scale: what is %s?\n", word);
            exit(2);
        }
        *names[i].value = atoi(value);
    }
    free(copy);
    PLAN->hosts = asked.peers;
}

void *scale(void *unused)
{
    (void) unused;
    must("init", zm_engine_init_alone(PLAN->driver ? "io_uring" : "epoll"));
    do_there(BEGIN);
    for (int i = 0; i < asked.brokers; i++)
        sim_spawn("broker", ROOT + 1 + i, false, broker, (void *) (intptr_t) (ROOT + 1 + i));
    sim_sleep(SIM_S);
    int64_t bytes = engine_bytes, blocks = engine_blocks;
    subscribers = calloc((size_t) asked.peers, sizeof *subscribers);
    for (int i = 0; i < asked.peers; i++) {
        subscribers[i].host = ROOT + 1 + asked.brokers + i;
        subscribers[i].from = asked.brokers ? ROOT + 1 + i % asked.brokers : ROOT;
        subscribers[i].thread = sim_spawn("subscriber", subscribers[i].host, false, subscribe,
                                          &subscribers[i]);
    }
    double first = converge();
    sim_sleep(5 * SIM_S);
    double bytes_a_peer = (double) (engine_bytes - bytes) / asked.peers;
    double blocks_a_peer = (double) (engine_blocks - blocks) / asked.peers;

    spent all = spent_by(-1), of_root = spent_by(ROOT);
    int64_t began = sim_clock;
    do_there(PUBLISH);
    double sent = (double) (sim_clock - began) / 1e9;
    uint64_t expected = (uint64_t) asked.messages * (uint64_t) asked.peers;
    while (arrived < expected && sim_clock - began < SILENCE_S * SIM_S)
        sim_sleep(PROBE_MS * SIM_MS);
    if (arrived < expected)
        sim_broken("a subscriber misses nothing", "%llu of %llu messages arrived",
                   (unsigned long long) arrived, (unsigned long long) expected);
    double seconds = (double) (last_arrival - began) / 1e9;
    spent all_after = spent_by(-1), root_after = spent_by(ROOT);

    do_there(END);
    sim_sleep(SIM_S);
    do_there(BEGIN);
    double again = converge();

    double n = expected ? (double) expected : 1.0;
    printf("SCALE peers=%d brokers=%d messages=%d size=%d driver=%d converge=%.6f reconverge=%.6f "
           "sent=%.6f seconds=%.6f rate=%.0f calls=%.3f steps=%.3f root_calls=%.3f "
           "root_steps=%.3f bytes=%.0f blocks=%.1f locked=%llu\n", asked.peers, asked.brokers,
           asked.messages, asked.size, PLAN->driver, first, again, sent, seconds,
           n / (seconds ? seconds : 1),
           (double) (all_after.calls - all.calls) / n, (double) (all_after.steps - all.steps) / n,
           (double) (root_after.calls - of_root.calls) / n,
           (double) (root_after.steps - of_root.steps) / n, bytes_a_peer, blocks_a_peer,
           (unsigned long long) TALLY->locked_most);
    return NULL;
}
