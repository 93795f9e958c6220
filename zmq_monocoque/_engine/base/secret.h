/* Memory for keys: locked, so that it is never written to swap; left out of core dumps and of
 * forked children; wiped when it is given back. Where RLIMIT_MEMLOCK leaves no room it is not
 * locked, and all else holds. Few and small: a key or some for each connection. */
#ifndef ZM_BASE_SECRET_H
#define ZM_BASE_SECRET_H

#include <stddef.h>

enum { ZM_SECRET_BYTES = 128 }; /* what one of them may have */

/* ZM_SECRET_BYTES zeros, aligned to a cache line; NULL when memory is out. Any thread. */
void *zm_secret_new(void);
void zm_secret_free(void *taken); /* NULL allowed */

/* After a secret was copied: memcpy() leaves bytes of it in vector registers, and what saves those
 * next (a call bound at its first use, a signal) writes them to the stack. */
void zm_secret_moved(void);

/* In a forked child: what is there stays as it is (zeros), new secrets come from new memory. */
void zm_secrets_after_fork(void);

#endif
