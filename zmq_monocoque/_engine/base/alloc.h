/* Memory of the engine. Every block is counted, so that a test can see that nothing is left,
 * and any allocation can be made to fail, so that a test can see what happens then. */
#ifndef ZM_BASE_ALLOC_H
#define ZM_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* NULL when memory is out (errno is not touched). Contents undefined / zeroed. */
void *zm_alloc(size_t bytes);
void *zm_calloc(size_t bytes);
/* As realloc; `taken` may be NULL. On failure NULL, and the caller still owns `taken`. */
void *zm_realloc(void *taken, size_t bytes);
void zm_free(void *taken); /* NULL allowed */

/* Zeroed memory that stays for the life of the process (slots that stale handles may still name);
 * not counted. */
void *zm_alloc_permanent(size_t bytes);

/* Blocks taken and not yet freed. */
int64_t zm_alloc_live(void);
/* A block goes into a store (-1) or comes from it (+1), unseen by the system. */
void zm_alloc_recount(int difference);
/* Test hook: the allocation after `n` more fails, once. -1 switches it off. Returns what was left
 * of the former `n`; negative: it has failed, or none was to. */
int64_t zm_alloc_fail_after(int64_t n);

#endif
