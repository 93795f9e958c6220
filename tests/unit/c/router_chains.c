/* How long is the longest chain of a table of routing ids? Two kinds of ids: counted ones, and ids
 * that differ in the highest bits of their words, where a hash by multiplication takes two changes
 * that cancel out. Prints a line for each: kind, ids, longest chain. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "route/router_table.h"

enum { IDS = 4096, PAIRS = 12, ID_BYTES = PAIRS * 16 };

static void counted(uint8_t *id, uint32_t i)
{
    memset(id, 0, ID_BYTES);
    memcpy(id + 1, &i, sizeof i);
}

static void cancelling(uint8_t *id, uint32_t i)
{
    memset(id, 'x', ID_BYTES);
    for (uint32_t pair = 0; pair < PAIRS; pair++) {
        uint64_t words[2];
        memcpy(words, id + pair * sizeof words, sizeof words);
        if (i >> pair & 1) {
            words[0] ^= UINT64_C(1) << 63;
            words[1] ^= UINT64_C(1) << 63 ^ UINT64_C(1) << (63 - 29);
        }
        memcpy(id + pair * sizeof words, words, sizeof words);
    }
}

static void measure(const char *kind, size_t size, void (*make)(uint8_t *id, uint32_t i))
{
    zm_router_table table = {0};
    zm_route *routes = zm_calloc(IDS * sizeof *routes);
    uint8_t id[ID_BYTES];
    for (uint32_t i = 0; i < IDS; i++) {
        make(id, i);
        ZM_ASSERT(zm_router_table_add(&table, &routes[i], id, size) == 0);
    }
    ZM_ASSERT(table.count == IDS);
    int longest = 0;
    for (size_t i = 0; i < table.bucket_count; i++) {
        int length = 0;
        for (const zm_route *route = table.buckets[i]; route; route = route->next)
            length++;
        if (length > longest)
            longest = length;
    }
    for (uint32_t i = 0; i < IDS; i++) {
        make(id, i);
        ZM_ASSERT(zm_router_table_find(&table, id, size) == &routes[i]);
        zm_router_table_remove(&table, &routes[i]);
        ZM_ASSERT(!zm_router_table_find(&table, id, size));
    }
    zm_router_table_fini(&table);
    zm_free(routes);
    ZM_ASSERT(zm_alloc_live() == 0);
    printf("%s %d %d\n", kind, IDS, longest);
}

int main(void)
{
    measure("counted", 5, counted);
    measure("cancelling", ID_BYTES, cancelling);
    return 0;
}
