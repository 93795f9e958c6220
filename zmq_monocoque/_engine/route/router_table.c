/* Chained hash table; ids come from peers, so the hash is keyed (a peer cannot choose
 * collisions). */
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

static uint64_t hash_of(const uint8_t *id, size_t size)
{
    uint64_t h = seed_of_process();
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, id, 8);
        h = (h ^ word) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
        id += 8;
        size -= 8;
    }
    uint64_t last = size;
    memcpy(&last, id, size);
    h = (h ^ last ^ (uint64_t) size << 56) * 0xBF58476D1CE4E5B9u;
    return h ^ h >> 32;
}

void zm_router_table_fini(zm_router_table *table)
{
    zm_free(table->buckets);
    memset(table, 0, sizeof *table);
}

zm_route *zm_router_table_find(const zm_router_table *table, const uint8_t *id, size_t size)
{
    if (!table->count)
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
