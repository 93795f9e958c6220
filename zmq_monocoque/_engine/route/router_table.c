/* Chained hash table. Ids come from peers, so the hash is one that has a secret key: nobody can
 * choose ids that collide. */
#define _GNU_SOURCE
#include "router_table.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#include "../base/alloc.h"

enum { BUCKETS_MIN = 16 };

/* Drawn once: whoever comes first decides for all threads. */
static uint64_t seed_of_process(void)
{
    static _Atomic uint64_t seed;
    uint64_t known = atomic_load_explicit(&seed, memory_order_relaxed);
    if (known)
        return known;
    uint64_t fresh;
    if (getrandom(&fresh, sizeof fresh, GRND_NONBLOCK) != sizeof fresh)
        fresh = (uint64_t) (uintptr_t) &seed;
    fresh |= 1;
    return atomic_compare_exchange_strong(&seed, &known, fresh) ? fresh : known;
}

static inline uint64_t rotated(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotated(v[1], 13) ^ v[0];
    v[3] = rotated(v[3], 16) ^ v[2];
    v[0] = rotated(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotated(v[1], 17) ^ v[2];
    v[3] = rotated(v[3], 21) ^ v[0];
    v[2] = rotated(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein, 2012), words in the machine's order. */
static uint64_t hash_of(const uint8_t *id, size_t size)
{
    uint64_t key = seed_of_process(), other_key = rotated(key * 0x9E3779B97F4A7C15u, 32);
    uint64_t v[4] = {key ^ 0x736f6d6570736575u, other_key ^ 0x646f72616e646f6du,
                     key ^ 0x6c7967656e657261u, other_key ^ 0x7465646279746573u};
    uint64_t word, last = (uint64_t) size << 56;
    for (; size >= sizeof word; id += sizeof word, size -= sizeof word) {
        memcpy(&word, id, sizeof word);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = 0;
    memcpy(&word, id, size);
    last ^= word;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void zm_router_table_fini(zm_router_table *table)
{
    zm_free(table->buckets);
    memset(table, 0, sizeof *table);
}

zm_route *zm_router_table_find(const zm_router_table *table, const uint8_t *id, size_t size)
{
    if (!table->count || !size) /* an empty id may come without an address */
        return NULL;
    uint64_t hash = hash_of(id, size);
    zm_route *route = table->buckets[hash & (table->bucket_count - 1)];
    while (route
           && !(route->hash == hash && route->id_size == size && !memcmp(route->id, id, size)))
        route = route->next;
    return route;
}

static int grow(zm_router_table *table)
{
    size_t bucket_count = table->bucket_count ? table->bucket_count * 2 : BUCKETS_MIN;
    zm_route **buckets = zm_calloc(bucket_count * sizeof *buckets);
    if (!buckets)
        return -ENOMEM;
    for (size_t i = 0; i < table->bucket_count; i++)
        for (zm_route *route = table->buckets[i], *next; route; route = next) {
            next = route->next;
            zm_route **bucket = &buckets[route->hash & (bucket_count - 1)];
            route->next = *bucket;
            *bucket = route;
        }
    zm_free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = bucket_count;
    return 0;
}

int zm_router_table_add(zm_router_table *table, zm_route *route, const uint8_t *id, size_t size)
{
    if (zm_router_table_find(table, id, size))
        return -EEXIST;
    if (table->count >= table->bucket_count && grow(table) < 0)
        return -ENOMEM;
    uint8_t *copy = zm_alloc(size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, id, size);
    route->id = copy;
    route->id_size = size;
    route->hash = hash_of(id, size);
    zm_route **bucket = &table->buckets[route->hash & (table->bucket_count - 1)];
    route->next = *bucket;
    *bucket = route;
    table->count++;
    return 0;
}

void zm_router_table_remove(zm_router_table *table, zm_route *route)
{
    if (!route->id_size)
        return;
    zm_route **slot = &table->buckets[route->hash & (table->bucket_count - 1)];
    while (*slot != route)
        slot = &(*slot)->next;
    *slot = route->next;
    table->count--;
    zm_free(route->id);
    memset(route, 0, sizeof *route);
}
