/* The subscription index against a list of (topic, peer) pairs: random operations by a seed, with
 * memory running out now and then. Prints the seed; 0 when both always agreed. */
#include <errno.h>
#include <string.h>

#include "model.h"
#include "route/subscription_index.h"

enum { PEERS = 12, OWN = PEERS, TOPIC_MAX = 40, PAIRS_MAX = 150 };

typedef struct pair {
    uint8_t topic[TOPIC_MAX];
    size_t size;
    uint32_t peer; /* OWN: a counted subscription */
    int count;
} pair;

static pair pairs[PAIRS_MAX];
static size_t pair_count;

static bool same(const pair *p, const uint8_t *topic, size_t size)
{
    return p->size == size && memcmp(p->topic, topic, size) == 0;
}

static pair *find(const uint8_t *topic, size_t size, uint32_t peer)
{
    for (size_t i = 0; i < pair_count; i++)
        if (pairs[i].peer == peer && same(&pairs[i], topic, size))
            return &pairs[i];
    return NULL;
}

/* Pairs of this topic: of peers, or all. */
static size_t holders(const uint8_t *topic, size_t size, bool own_too)
{
    size_t n = 0;
    for (size_t i = 0; i < pair_count; i++)
        n += (own_too || pairs[i].peer != OWN) && same(&pairs[i], topic, size);
    return n;
}

static size_t distinct(void)
{
    size_t n = 0;
    for (size_t i = 0; i < pair_count; i++) {
        size_t before = 0;
        while (!same(&pairs[before], pairs[i].topic, pairs[i].size))
            before++;
        n += before == i;
    }
    return n;
}

static void put(const uint8_t *topic, size_t size, uint32_t peer)
{
    CHECK(pair_count < PAIRS_MAX);
    pair *p = &pairs[pair_count++];
    memcpy(p->topic, topic, size);
    p->size = size;
    p->peer = peer;
    p->count = 1;
}

static void drop(pair *p)
{
    *p = pairs[--pair_count];
}

/* Few letters, so that topics share prefixes; sometimes long runs, so that labels are long. */
static size_t random_topic(uint8_t *out)
{
    size_t size = random_below(4) ? random_below(6) : random_below(TOPIC_MAX + 1);
    for (size_t i = 0; i < size; i++)
        out[i] = random_below(20) ? (uint8_t) ('a' + (size > 8 ? 0 : random_below(3)))
                                  : (uint8_t) random_below(256);
    return size;
}

static uint32_t hits[PEERS];

static void on_hit(void *context, uint32_t peer)
{
    CHECK(context == hits);
    CHECK(peer < PEERS);
    hits[peer]++;
}

static void check_match(zm_subscription_index *index, const uint8_t *data, size_t size)
{
    uint32_t wanted[PEERS] = {0};
    bool any = false;
    for (size_t i = 0; i < pair_count; i++) {
        const pair *p = &pairs[i];
        if (p->size > size || memcmp(p->topic, data, p->size) != 0)
            continue;
        any = true;
        if (p->peer != OWN)
            wanted[p->peer] = 1;
    }
    memset(hits, 0, sizeof hits);
    zm_subscriptions_match(index, data, size, on_hit, hits);
    CHECK(memcmp(hits, wanted, sizeof hits) == 0);
    CHECK(zm_subscriptions_any(index, data, size) == any);
}

static struct {
    uint8_t topic[TOPIC_MAX];
    size_t size, seen;
} walk;

static void on_topic(void *context, const uint8_t *topic, size_t size)
{
    CHECK(context == &walk);
    CHECK(holders(topic, size, true) > 0);
    if (walk.seen) {
        int order = memcmp(walk.topic, topic, walk.size < size ? walk.size : size);
        CHECK(order < 0 || (order == 0 && walk.size < size));
    }
    memcpy(walk.topic, topic, size);
    walk.size = size;
    walk.seen++;
}

static uint32_t leaving;
static zm_subscription_index *leaving_index;

static void on_gone(void *context, const uint8_t *topic, size_t size, bool last)
{
    CHECK(context == &leaving);
    pair *p = find(topic, size, leaving);
    CHECK(p);
    drop(p);
    CHECK(last == (holders(topic, size, false) == 0));
    CHECK(zm_subscriptions_count(leaving_index) == distinct());
}

static void step(zm_subscription_index *index)
{
    uint8_t topic[TOPIC_MAX];
    size_t size;
    if (pair_count && random_below(3) == 0) { /* one that is there */
        const pair *p = &pairs[random_below((uint32_t) pair_count)];
        size = p->size;
        memcpy(topic, p->topic, size);
    } else {
        size = random_topic(topic);
    }
    uint32_t peer = random_below(PEERS);
    pair *there = find(topic, size, peer);
    pair *own = find(topic, size, OWN);
    bool starving = random_below(8) == 0;
    if (starving)
        zm_alloc_fail_after(random_below(5));

    switch (random_below(pair_count > PAIRS_MAX - 2 ? 3 : 7)) {
    case 0: { /* leaves the topic */
        int rc = zm_subscriptions_remove(index, topic, size, peer);
        if (!there) {
            CHECK(rc == -ENOENT);
            break;
        }
        drop(there);
        CHECK(rc == (holders(topic, size, false) == 0));
        break;
    }
    case 1: {
        int rc = zm_topic_counts_remove(index, topic, size);
        if (!own) {
            CHECK(rc == -ENOENT);
            break;
        }
        CHECK(rc == own->count - 1);
        if (--own->count == 0)
            drop(own);
        break;
    }
    case 2:
        if (random_below(10) == 0) {
            leaving = peer;
            leaving_index = index;
            zm_subscriptions_remove_peer(index, peer, on_gone, &leaving);
            for (size_t i = 0; i < pair_count; i++)
                CHECK(pairs[i].peer != peer);
        }
        break;
    case 3: {
        int rc = zm_topic_counts_add(index, topic, size);
        if (rc == -ENOMEM) {
            CHECK(starving);
            break;
        }
        CHECK(rc == (own ? own->count + 1 : 1));
        if (own)
            own->count++;
        else
            put(topic, size, OWN);
        break;
    }
    default: {
        int rc = zm_subscriptions_add(index, topic, size, peer);
        if (rc == -ENOMEM) {
            CHECK(starving);
            break;
        }
        if (there) {
            CHECK(rc == -EEXIST);
            break;
        }
        CHECK(rc == (holders(topic, size, false) == 0));
        put(topic, size, peer);
        break;
    }
    }
    zm_alloc_fail_after(-1);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    int steps = argc > 2 ? atoi(argv[2]) : 20000;
    printf("seed %llu\n", (unsigned long long) seed);
    fflush(stdout);
    random_seed(seed);

    int64_t live = zm_alloc_live();
    zm_subscription_index *index = zm_subscriptions_new();
    CHECK(index);
    int64_t live_when_empty = zm_alloc_live();
    for (int i = 0; i < steps; i++) {
        step(index);
        CHECK(zm_subscriptions_count(index) == distinct());
        uint8_t data[TOPIC_MAX];
        size_t size = random_topic(data);
        check_match(index, data, size);
        if (pair_count) {
            const pair *p = &pairs[random_below((uint32_t) pair_count)];
            check_match(index, p->topic, p->size);
        }
        if (i % 64 == 0) {
            walk.seen = 0;
            zm_subscriptions_each(index, on_topic, &walk);
            CHECK(walk.seen == distinct());
        }
    }
    /* All topics go one by one: but for the two tables of peers nothing may be left. */
    while (pair_count) {
        pair p = pairs[0];
        if (p.peer == OWN)
            CHECK(zm_topic_counts_remove(index, p.topic, p.size) == p.count - 1);
        else
            CHECK(zm_subscriptions_remove(index, p.topic, p.size, p.peer) >= 0);
        if (p.peer == OWN && --pairs[0].count)
            continue;
        drop(&pairs[0]);
    }
    CHECK(zm_subscriptions_count(index) == 0);
    for (uint32_t peer = 0; peer < PEERS; peer++) { /* gives back what failed additions reserved */
        CHECK(zm_subscriptions_add(index, (const uint8_t *) "x", 1, peer) == 1);
        CHECK(zm_subscriptions_remove(index, (const uint8_t *) "x", 1, peer) == 1);
    }
    CHECK(zm_alloc_live() == live_when_empty + 2);
    check_match(index, (const uint8_t *) "abc", 3);
    for (uint32_t peer = 0; peer < PEERS; peer++)
        CHECK(zm_subscriptions_add(index, (const uint8_t *) "rest", 4, peer) >= 0);
    zm_subscriptions_free(index);
    CHECK(zm_alloc_live() == live);
    return 0;
}
