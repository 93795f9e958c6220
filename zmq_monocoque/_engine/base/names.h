/* What is found by its text: a chained hash table of nodes that lie in their owners. Several may
 * have the same text. The texts are the program's own, so the hash has no key. */
#ifndef ZM_BASE_NAMES_H
#define ZM_BASE_NAMES_H

#include <stddef.h>
#include <stdint.h>

typedef struct zm_name {
    struct zm_name *next, **slot; /* slot: what points here */
    const char *text; /* of the owner, and stays as it is; NULL: in no table */
    uint64_t hash;
} zm_name;

typedef struct zm_names {
    zm_name **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
} zm_names;

/* Room for one more; what is added after it cannot fail. 0 or -ENOMEM. */
int zm_names_reserve(zm_names *names);
void zm_names_add(zm_names *names, zm_name *name, const char *text);
/* Nothing if it is in no table. */
void zm_names_remove(zm_names *names, zm_name *name);
/* One with this text, and the next one with the text of `name`. NULL: none. */
zm_name *zm_names_find(const zm_names *names, const char *text);
zm_name *zm_names_next(const zm_name *name);
void zm_names_fini(zm_names *names);

#endif
