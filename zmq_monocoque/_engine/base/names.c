#include "names.h"

#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "check.h"

enum { BUCKETS_MIN = 16 };

/* FNV-1a. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t) *text) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

static zm_name **bucket_of(const zm_names *names, uint64_t hash)
{
    return &names->buckets[hash & (names->bucket_count - 1)];
}

static void put(zm_names *names, zm_name *name)
{
    zm_name **bucket = bucket_of(names, name->hash);
    name->next = *bucket;
    name->slot = bucket;
    if (name->next)
        name->next->slot = &name->next;
    *bucket = name;
}

int zm_names_reserve(zm_names *names)
{
    if (names->count < names->bucket_count)
        return 0;
    zm_names grown = {.bucket_count = names->bucket_count ? names->bucket_count * 2 : BUCKETS_MIN};
    grown.buckets = zm_calloc(grown.bucket_count * sizeof *grown.buckets);
    if (!grown.buckets)
        return names->bucket_count ? 0 : -ENOMEM; /* longer chains do as well */
    for (size_t i = 0; i < names->bucket_count; i++)
        for (zm_name *name = names->buckets[i], *next; name; name = next) {
            next = name->next;
            put(&grown, name);
        }
    grown.count = names->count;
    zm_free(names->buckets);
    *names = grown;
    return 0;
}

void zm_names_add(zm_names *names, zm_name *name, const char *text)
{
    ZM_ASSERT(!name->text && names->bucket_count);
    name->text = text;
    name->hash = hash_of(text);
    put(names, name);
    names->count++;
}

void zm_names_remove(zm_names *names, zm_name *name)
{
    if (!name->text)
        return;
    *name->slot = name->next;
    if (name->next)
        name->next->slot = name->slot;
    *name = (zm_name){0};
    names->count--;
}

static zm_name *same(zm_name *name, const char *text, uint64_t hash)
{
    while (name && !(name->hash == hash && !strcmp(name->text, text)))
        name = name->next;
    return name;
}

zm_name *zm_names_find(const zm_names *names, const char *text)
{
    uint64_t hash = hash_of(text);
    return names->count ? same(*bucket_of(names, hash), text, hash) : NULL;
}

zm_name *zm_names_next(const zm_name *name)
{
    return same(name->next, name->text, name->hash);
}

void zm_names_fini(zm_names *names)
{
    ZM_ASSERT(!names->count);
    zm_free(names->buckets);
    *names = (zm_names){0};
}
