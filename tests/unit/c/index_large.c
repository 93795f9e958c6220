/* The subscription index where it is large: deep chains, long topics, many topics, many peers.
 * With "cost" prints how many nanoseconds a match takes with few and with many topics. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "route/subscription_index.h"

#define CHECK(x) \
    ((x) ? (void) 0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), exit(1)))

static void count_hit(void *context, uint32_t peer)
{
    (void) peer;
    ++*(size_t *) context;
}

static void count_gone(void *context, const uint8_t *topic, size_t size, bool last)
{
    (void) topic;
    (void) size;
    CHECK(last);
    ++*(size_t *) context;
}

static void count_topic(void *context, const uint8_t *topic, size_t size)
{
    (void) topic;
    (void) size;
    ++*(size_t *) context;
}

/* a, aa, aaa ...: one node a byte, deeper than any stack. */
static void deep_chain(void)
{
    enum { DEPTH = 200000 };
    uint8_t *text = malloc(DEPTH);
    CHECK(text);
    memset(text, 'a', DEPTH);
    zm_subscription_index *index = zm_subscriptions_new();
    for (size_t size = 1; size <= 2000; size++)
        CHECK(zm_subscriptions_add(index, text, size, 7) == 1);
    CHECK(zm_subscriptions_add(index, text, DEPTH, 7) == 1);
    size_t hits = 0;
    zm_subscriptions_match(index, text, DEPTH, count_hit, &hits);
    CHECK(hits == 1);
    size_t topics = 0;
    zm_subscriptions_each(index, count_topic, &topics);
    CHECK(topics == 2001);
    size_t gone = 0;
    zm_subscriptions_remove_peer(index, 7, count_gone, &gone);
    CHECK(gone == 2001);
    CHECK(zm_subscriptions_count(index) == 0);
    CHECK(zm_subscriptions_add(index, text, DEPTH, 1) == 1);
    zm_subscriptions_free(index);
    free(text);
}

static void every_first_byte_and_many_peers(void)
{
    zm_subscription_index *index = zm_subscriptions_new();
    for (unsigned byte = 256; byte-- > 0;) {
        uint8_t topic[2] = {(uint8_t) byte, 0};
        CHECK(zm_subscriptions_add(index, topic, 2, byte) == 1);
    }
    for (uint32_t peer = 5000; peer-- > 0;) {
        int rc = zm_subscriptions_add(index, (const uint8_t *) "\x41\0", 2, peer);
        CHECK(rc == (peer == 0x41 ? -EEXIST : 0));
    }
    size_t hits = 0;
    zm_subscriptions_match(index, (const uint8_t *) "\x41\0x", 3, count_hit, &hits);
    CHECK(hits == 5000);
    for (uint32_t peer = 0; peer < 5000; peer++)
        CHECK(zm_subscriptions_remove(index, (const uint8_t *) "\x41\0", 2, peer)
              == (peer == 4999));
    CHECK(zm_subscriptions_count(index) == 255);
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t topic[2] = {(uint8_t) byte, 0};
        CHECK(zm_subscriptions_remove(index, topic, 2, byte) == (byte == 0x41 ? -ENOENT : 1));
    }
    zm_subscriptions_free(index);
}

static double nanoseconds_a_match(size_t topics)
{
    zm_subscription_index *index = zm_subscriptions_new();
    char topic[32];
    for (size_t i = 0; i < topics; i++) {
        int size = snprintf(topic, sizeof topic, "stock.%08zx.price", i * 2654435761u % 100000000);
        CHECK(zm_subscriptions_add(index, (uint8_t *) topic, (size_t) size, i % 16) >= 0);
    }
    int size = snprintf(topic, sizeof topic, "stock.%08x.price", 0u);
    size_t hits = 0;
    int64_t best = INT64_MAX;
    for (int round = 0; round < 20; round++) {
        int64_t start = zm_now_ns();
        for (int i = 0; i < 5000; i++)
            zm_subscriptions_match(index, (uint8_t *) topic, (size_t) size, count_hit, &hits);
        int64_t took = zm_now_ns() - start;
        best = took < best ? took : best;
    }
    CHECK(hits == 100000);
    zm_subscriptions_free(index);
    return (double) best / 5000;
}

int main(int argc, char **argv)
{
    int64_t live = zm_alloc_live();
    if (argc > 1 && strcmp(argv[1], "cost") == 0) {
        printf("%.1f %.1f\n", nanoseconds_a_match(10), nanoseconds_a_match(50000));
    } else {
        deep_chain();
        every_first_byte_and_many_peers();
    }
    CHECK(zm_alloc_live() == live);
    return 0;
}
