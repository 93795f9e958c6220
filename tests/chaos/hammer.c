/* The half of chaos.py that holds no GIL: threads in C that share sockets and call the engine at
 * the same moment, which threads in Python hardly ever do. See there.
 *
 * The engine's functions are handed over by name, since the extension does not export them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "engine.h"

enum { SLOTS = 24, CONTEXTS = 2, PORTS = 3, FAMILIES = 4, KINDS = 4, POLLED = 6 };
enum { LARGEST = 200 * 1024, SIGNAL_BYTES = 64 };
#define PATIENCE_NS (20 * INT64_C(1000000000))

/* --- the engine, by name --------------------------------------------------------------------- */

/* clang-format off */
#define CALLS(X)                                                                                   \
    X(zm_context_new) X(zm_context_term) X(zm_context_shutdown) X(zm_context_holders)              \
    X(zm_socket_new)                                                                               \
    X(zm_socket_close) X(zm_socket_bind) X(zm_socket_unbind) X(zm_socket_connect)                  \
    X(zm_socket_disconnect) X(zm_socket_set) X(zm_socket_get) X(zm_socket_monitor)                 \
    X(zm_socket_send) X(zm_socket_recv) X(zm_socket_stats) X(zm_alloc_fail_after)
/* clang-format on */

#define MEMBER(name) __typeof__(&name) name;
static struct calls {
    CALLS(MEMBER)
} engine;
static const zm_api *api;

#define NAME(name) #name,
static const char *const names[] = {CALLS(NAME) NULL};

/* The name of the i-th function that hammer_set() wants; NULL: that is all. */
const char *hammer_name(int i)
{
    return names[i];
}

void hammer_set(int i, void *function)
{
    memcpy((char *) &engine + (size_t) i * sizeof function, &function, sizeof function);
}

/* --- what the threads share ------------------------------------------------------------------ */

static _Atomic int64_t sockets[SLOTS], contexts[CONTEXTS];
static char addresses[FAMILIES][3 * PORTS][256];
static char server_secret[41], server_public[41], client_secret[41], client_public[41];
static atomic_bool over;
static atomic_int bodies; /* foreign memory that the engine has */

/* Types that have something to say to each other; numbers of zmq.h. */
static const int kinds[FAMILIES][KINDS] = {
    {3, 4, 6, 5}, /* REQ REP ROUTER DEALER */
    {1, 2, 9, 10}, /* PUB SUB XPUB XSUB */
    {7, 8, 7, 8}, /* PULL PUSH */
    {0, 11, 11, 0}, /* PAIR STREAM */
};

/* --- dice ------------------------------------------------------------------------------------- */

typedef struct dice {
    uint64_t state;
} dice;

static uint64_t throw(dice *d) /* SplitMix64 */
{
    uint64_t z = d->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static int below(dice *d, int n)
{
    return (int) (throw(d) % (uint64_t) n);
}

static int64_t any(dice *d)
{
    return atomic_load(&sockets[below(d, SLOTS)]);
}

static const char *address(dice *d, int family)
{
    return addresses[family][below(d, 3 * PORTS)];
}

static size_t size_of_body(dice *d)
{
    static const size_t sizes[] = {0, 1, 5, 30, 200, 300, 5000, 9000, 70000, LARGEST};
    return sizes[below(d, sizeof sizes / sizeof *sizes)];
}

/* --- what may happen -------------------------------------------------------------------------- */

static const uint8_t nothing[LARGEST];

static void set(int64_t s, int option, int value)
{
    engine.zm_socket_set(s, option, &value, sizeof value);
}

enum {
    ROUTING_ID = 5,
    SUBSCRIBE = 6,
    UNSUBSCRIBE = 7,
    LINGER = 17,
    RECONNECT_IVL = 18,
    SNDHWM = 23,
    RCVHWM = 24,
    RCVTIMEO = 27,
    SNDTIMEO = 28,
    LAST_ENDPOINT = 32,
    ROUTER_MANDATORY = 33,
    IMMEDIATE = 39,
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
    ROUTER_HANDOVER = 56,
    HANDSHAKE_IVL = 66,
    XPUB_NODROP = 69,
    XPUB_MANUAL = 71,
    HEARTBEAT_IVL = 75,
    HEARTBEAT_TIMEOUT = 77,
    XPUB_VERBOSER = 78,
    EVENTS = 15,
    FD = 14,
    TYPE = 16
};

static void secure(dice *d, int64_t s)
{
    switch (below(d, 10)) {
    case 0:
        set(s, PLAIN_SERVER, 1);
        break;
    case 1:
        engine.zm_socket_set(s, PLAIN_USERNAME, "name", 4);
        engine.zm_socket_set(s, PLAIN_PASSWORD, "word", 4);
        break;
    case 2:
        engine.zm_socket_set(s, CURVE_SECRETKEY, server_secret, 40);
        set(s, CURVE_SERVER, 1);
        break;
    case 3:
        engine.zm_socket_set(s, CURVE_PUBLICKEY, client_public, 40);
        engine.zm_socket_set(s, CURVE_SECRETKEY, client_secret, 40);
        engine.zm_socket_set(s, CURVE_SERVERKEY, server_public, 40);
        break;
    default:
        break;
    }
}

static void make(dice *d)
{
    static const struct {
        int option, values[3];
    } options[] = {
        {SNDHWM, {1, 3, 1000}},           {RCVHWM, {1, 3, 1000}},
        {IMMEDIATE, {0, 1, 0}},           {ROUTER_MANDATORY, {0, 1, 0}},
        {PROBE_ROUTER, {0, 1, 0}},        {REQ_CORRELATE, {0, 1, 1}},
        {REQ_RELAXED, {0, 1, 1}},         {CONFLATE, {0, 0, 1}},
        {ROUTER_HANDOVER, {0, 1, 1}},     {HANDSHAKE_IVL, {1, 20, 1000}},
        {XPUB_NODROP, {0, 1, 0}},         {XPUB_MANUAL, {0, 1, 0}},
        {XPUB_VERBOSER, {0, 1, 1}},       {HEARTBEAT_IVL, {0, 1, 10}},
        {HEARTBEAT_TIMEOUT, {1, 10, 50}}, {RECONNECT_IVL, {-1, 1, 20}},
    };
    int slot = below(d, SLOTS), family = below(d, FAMILIES);
    int64_t context = atomic_load(&contexts[below(d, CONTEXTS)]);
    int64_t s = engine.zm_socket_new(context, kinds[family][below(d, KINDS)]);
    if (s < 0)
        return;
    set(s, LINGER, below(d, 3) * 5);
    set(s, RCVTIMEO, below(d, 3));
    set(s, SNDTIMEO, below(d, 3));
    set(s, RECONNECT_IVL, 5);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int value = options[i].values[below(d, 3)];
        if (below(d, 6) == 0)
            set(s, options[i].option, value);
    }
    if (below(d, 8) == 0)
        engine.zm_socket_set(s, ROUTING_ID, "same", 4);
    secure(d, s);
    engine.zm_socket_set(s, SUBSCRIBE, "", 0);
    if (below(d, 2))
        engine.zm_socket_bind(s, address(d, family));
    for (int n = below(d, 3); n; n--)
        engine.zm_socket_connect(s, address(d, family));
    s = atomic_exchange(&sockets[slot], s);
    engine.zm_socket_close(s);
}

static void move(dice *d)
{
    int64_t s = any(d);
    const char *where = address(d, below(d, FAMILIES));
    char last[256] = "";
    size_t size = sizeof last;
    switch (below(d, 5)) {
    case 0:
        engine.zm_socket_bind(s, where);
        break;
    case 1:
        engine.zm_socket_connect(s, where);
        break;
    case 2:
        engine.zm_socket_unbind(s, where);
        break;
    case 3:
        engine.zm_socket_disconnect(s, where);
        break;
    default:
        if (engine.zm_socket_get(s, LAST_ENDPOINT, last, &size) == 0)
            engine.zm_socket_disconnect(s, last);
    }
}

static void body_release(zm_block *taken)
{
    free(taken->hint);
    api->block_foreign_free(taken);
    atomic_fetch_sub(&bodies, 1);
}

static int send_foreign(zm_socket *s, uint32_t generation, size_t size, int flags)
{
    uint8_t *body = calloc(1, size ? size : 1);
    zm_block *block = body ? api->block_foreign(body, size, body_release, body) : NULL;
    if (!block) {
        free(body);
        return -ENOMEM;
    }
    atomic_fetch_add(&bodies, 1);
    int rc = api->send_block(s, generation, block, size, flags);
    if (rc < 0)
        api->block_unref(block);
    return rc;
}

static void send_some(dice *d)
{
    int64_t handle = any(d);
    int parts = below(d, 4), shared = below(d, 2), last = below(d, 10) ? 0 : ZM_SNDMORE;
    size_t size = size_of_body(d);
    uint32_t generation;
    zm_socket *s = api->socket_find(handle, &generation);
    if (!s)
        return;
    for (int rc = 0; parts >= 0 && rc >= 0; parts--) {
        int flags = parts ? ZM_SNDMORE : last;
        rc = shared && size ? send_foreign(s, generation, size, flags)
                            : api->send(s, generation, nothing, size, flags);
        if (rc == ZM_SEND_FLUSH)
            api->flush(s, generation);
    }
}

/* What came, perhaps sent back; a part may be left half way through its message. */
static void receive_some(dice *d)
{
    int64_t handle = any(d);
    int most = 1 + below(d, 12), keeps = below(d, 3), echoes = below(d, 3), waits = below(d, 3);
    uint32_t generation;
    zm_socket *s = api->socket_find(handle, &generation);
    if (!s)
        return;
    zm_block *kept[12];
    size_t sizes[12];
    int more[12], count = 0;
    zm_part part;
    if (waits)
        api->wait(s, generation, ZM_POLLIN, api->now_ns() + waits * 500000);
    if (api->recv_begin(s, generation, ZM_PATIENT, &part) < 0)
        return;
    for (;;) {
        volatile uint8_t sum = 0;
        for (size_t i = 0; i < part.size; i += 64)
            sum ^= part.data[i];
        if (part.metadata && !keeps) {
            zm_metadata *metadata = api->metadata_ref(part.metadata);
            api->metadata_get(metadata, "Socket-Type");
            api->metadata_unref(metadata);
        }
        zm_block *own = keeps ? api->part_own(&part) : NULL;
        if (own && count < 12) {
            more[count] = part.more;
            sizes[count] = part.size;
            kept[count++] = own;
        } else if (own) {
            api->block_unref(own);
        }
        if (--most == 0) {
            api->recv_end(s, &part);
            break;
        }
        if (!api->recv_next(s, &part))
            break;
    }
    for (int i = 0; i < count; i++) {
        /* A copy: what part_own() answers may begin inside a block of another size. */
        for (int n = 0; n < echoes; n++)
            if (kept[i]->size == sizes[i])
                api->send(s, generation, kept[i]->data, sizes[i], more[i] ? ZM_SNDMORE : 0);
        api->block_unref(kept[i]);
    }
    api->flush(s, generation);
}

static void call_plainly(dice *d)
{
    int64_t s = any(d);
    uint8_t own[4096];
    if (below(d, 2))
        engine.zm_socket_send(s, nothing, size_of_body(d), below(d, 4));
    else
        engine.zm_socket_recv(s, own, sizeof own, below(d, 2));
}

static void poll_some(dice *d)
{
    zm_pollitem items[POLLED];
    int count = 1 + below(d, POLLED);
    for (int i = 0; i < count; i++)
        items[i] = (zm_pollitem){.socket = any(d), .fd = -1, .events = (short) (1 + below(d, 3))};
    for (int i = 0; i < count; i++)
        if (items[i].socket <= 0)
            items[i].socket = -1;
    if (below(d, 2))
        api->poll_glance(items, count);
    else
        api->poll(items, count, api->now_ns() + below(d, 4) * 300000);
}

static void ask_about(dice *d)
{
    int64_t s = any(d);
    static const int readable[] = {EVENTS, FD, TYPE, LINGER};
    int value = 0;
    size_t size = sizeof value;
    zm_stats stats;
    uint32_t generation;
    switch (below(d, 6)) {
    case 0:
        engine.zm_socket_stats(s, &stats);
        break;
    case 1:
        set(s, below(d, 2) ? SNDHWM : RCVHWM, below(d, 4));
        break;
    case 2:
        engine.zm_socket_set(s, below(d, 2) ? SUBSCRIBE : UNSUBSCRIBE, nothing,
                             (size_t) below(d, 3));
        break;
    case 3: {
        zm_socket *found = api->socket_find(s, &generation);
        if (found)
            api->spin(found, generation);
        break;
    }
    default:
        engine.zm_socket_get(s, readable[below(d, 4)], &value, &size);
    }
}

static void watch(dice *d)
{
    int64_t s = any(d);
    char name[SIGNAL_BYTES];
    snprintf(name, sizeof name, "inproc://hammer-monitor-%d", below(d, 4));
    engine.zm_socket_monitor(s, below(d, 2) ? name : NULL, 0xffff);
    if (below(d, 2)) {
        int slot = below(d, SLOTS);
        int64_t reader = engine.zm_socket_new(atomic_load(&contexts[below(d, CONTEXTS)]), 0);
        if (reader < 0)
            return;
        set(reader, LINGER, 0);
        set(reader, RCVTIMEO, 1);
        set(reader, SNDTIMEO, 1);
        engine.zm_socket_connect(reader, name);
        engine.zm_socket_close(atomic_exchange(&sockets[slot], reader));
    }
}

static void close_one(dice *d)
{
    int slot = below(d, SLOTS);
    bool forget = below(d, 2);
    int64_t s = forget ? atomic_exchange(&sockets[slot], 0) : atomic_load(&sockets[slot]);
    engine.zm_socket_close(s);
}

/* A context that does not end, though all its sockets are closed: says which it waits for. */
static void give_up(int64_t context)
{
    static char text[8192];
    engine.zm_alloc_fail_after(-1);
    engine.zm_context_holders(context, text, sizeof text);
    fprintf(stderr, "hammer: a context does not end, it waits for\n%s", text);
    abort();
}

static void end_context(dice *d)
{
    int which = below(d, CONTEXTS), ms = below(d, 3);
    if (below(d, 40))
        return;
    int64_t fresh = engine.zm_context_new(below(d, 3) + 1);
    if (fresh < 0)
        return;
    int64_t old = atomic_exchange(&contexts[which], fresh);
    engine.zm_context_shutdown(old);
    int64_t latest = api->now_ns() + PATIENCE_NS;
    /* A thread that is about to make a socket there puts it into the table all the same. */
    do {
        if (api->now_ns() > latest)
            give_up(old);
        for (int i = 0; i < SLOTS; i++) {
            int64_t s = atomic_load(&sockets[i]);
            int value;
            size_t size = sizeof value;
            if (engine.zm_socket_get(s, EVENTS, &value, &size) < 0)
                engine.zm_socket_close(s);
        }
    } while (engine.zm_context_term(old, ms + 1) == -ETIMEDOUT);
}

static void starve(dice *d)
{
    engine.zm_alloc_fail_after(below(d, 4) ? below(d, 6) : below(d, 40));
}

static const struct {
    void (*step)(dice *);
    int weight;
} steps[] = {
    {make, 10},        {move, 6},        {send_some, 34}, {receive_some, 34},
    {call_plainly, 6}, {poll_some, 10},  {ask_about, 8},  {watch, 1},
    {close_one, 4},    {end_context, 3}, {starve, 2},
};

/* --- the whole -------------------------------------------------------------------------------- */

int hammer_start(const zm_api *table, const char *directory, const int *ports, const char *keys)
{
    api = table;
    for (int family = 0; family < FAMILIES; family++)
        for (int i = 0; i < PORTS; i++) {
            char (*to)[256] = addresses[family];
            int n = family * PORTS + i;
            snprintf(to[3 * i], sizeof *to, "tcp://127.0.0.1:%d", ports[n]);
            snprintf(to[3 * i + 1], sizeof *to, "ipc://%s/h%d", directory, n);
            snprintf(to[3 * i + 2], sizeof *to, "inproc://hammer-%d", n);
        }
    char *const places[] = {server_public, server_secret, client_public, client_secret};
    for (int i = 0; i < 4; i++)
        memcpy(places[i], keys + i * 40, 40);
    for (int i = 0; i < CONTEXTS; i++) {
        int64_t context = engine.zm_context_new(1);
        if (context < 0)
            return -1;
        atomic_store(&contexts[i], context);
    }
    return FAMILIES * PORTS;
}

void hammer_stop(void)
{
    atomic_store(&over, true);
}

/* A thread's work. Answers the sum of what it decided; *out_steps: how often it did. */
uint64_t hammer_run(uint64_t seed, uint64_t thread, uint64_t most, uint64_t *out_steps)
{
    dice d = {seed * 1000003 + thread};
    uint64_t sum = 0, done = 0;
    int total = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        total += steps[i].weight;
    for (; done < most && !atomic_load(&over); done++) {
        uint64_t how = throw(&d);
        dice own = {how}; /* so that what is found does not move the next step */
        int which = (int) (how % (uint64_t) total), i = 0;
        while ((which -= steps[i].weight) >= 0)
            i++;
        sum = (sum ^ how) * 0x100000001B3u;
        steps[i].step(&own);
    }
    *out_steps = done;
    return sum;
}

/* Closes everything. Answers how many bodies the engine has still. */
int hammer_end(void)
{
    engine.zm_alloc_fail_after(-1);
    for (int i = 0; i < CONTEXTS; i++)
        engine.zm_context_shutdown(atomic_load(&contexts[i]));
    for (int i = 0; i < SLOTS; i++)
        engine.zm_socket_close(atomic_exchange(&sockets[i], 0));
    for (int i = 0; i < CONTEXTS; i++)
        engine.zm_context_term(atomic_exchange(&contexts[i], 0), 20000);
    return atomic_load(&bodies);
}
