/* Routing ids to peers, for ROUTER, REP and STREAM. */
#ifndef ZM_ROUTE_ROUTER_TABLE_H
#define ZM_ROUTE_ROUTER_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct zm_route {
    struct zm_route *next;
    uint8_t *id;    /* owned */
    size_t id_size; /* 0: not in a table */
    uint64_t hash;
} zm_route;

typedef struct zm_router_table {
    zm_route **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
} zm_router_table;

void zm_router_table_fini(zm_router_table *table);
/* The route with this id, or NULL. */
zm_route *zm_router_table_find(const zm_router_table *table, const uint8_t *id, size_t size);
/* Copies the id into `route` and enters it. 0, -EEXIST, -ENOMEM. */
int zm_router_table_add(zm_router_table *table, zm_route *route, const uint8_t *id, size_t size);
/* Takes the route out and frees its id; nothing if it is not in. */
void zm_router_table_remove(zm_router_table *table, zm_route *route);

#endif
