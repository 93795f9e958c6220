/* Assertions and small compile-time helpers. An assert is for our own mistakes only: nothing
 * that a caller or a peer does may reach one. */
#ifndef ZM_BASE_CHECK_H
#define ZM_BASE_CHECK_H

#include <stddef.h>
#include <stdint.h>

#define ZM_LIKELY(x) __builtin_expect(!!(x), 1)
#define ZM_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Stays a function of its own, so that its callers are not burdened with what it needs. */
#define ZM_APART __attribute__((noinline))

_Noreturn void zm_check_failed(const char *expression, const char *file, int line);
#define ZM_ASSERT(x) (ZM_LIKELY(x) ? (void) 0 : zm_check_failed(#x, __FILE__, __LINE__))

/* What a function relies on, or leaves behind: checked in builds with a sanitizer, which the whole
 * suite runs in, in the C tests and in the simulation. Elsewhere it is not even evaluated. An
 * assert that keeps memory from harm is a ZM_ASSERT. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || defined(ZM_SIMULATED)
#define ZM_DEBUG 1
#endif
#if defined(ZM_DEBUG)
#define ZM_DEBUG_ASSERT(x) ZM_ASSERT(x)
#else
#define ZM_DEBUG_ASSERT(x) ((void) sizeof(!(x)))
#endif

#define ZM_CONTAINER(pointer, type, member) \
    ((type *) (void *) ((char *) (pointer) - offsetof(type, member)))

#define ZM_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#if defined(__SANITIZE_THREAD__)
#define ZM_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ZM_ASAN 1
#endif

/* On the way out of a failure. What `out` names means nothing then, and builds with a sanitizer
 * fill it with rubbish: who had let it be something that lives on is found at once. */
#if defined(ZM_TSAN) || defined(ZM_ASAN)
#define ZM_POISON(out) ((void) __builtin_memset((out), 0xdd, sizeof *(out)))
#else
#define ZM_POISON(out) ((void) (out))
#endif

#endif
