/* A lock and a wait word on futexes. Both are one 32-bit word, cost one atomic operation when
 * free, and never run a signal handler's restart logic behind the caller's back. */
#ifndef ZM_BASE_LOCK_H
#define ZM_BASE_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "world.h"

/* Which lock a function or a field needs, for clang's -Wthread-safety (tests/tidy/lint_locks.py);
 * nothing for any other compiler. In C a field cannot name the lock beside it. What is named is a
 * kind of lock, a zm_lock_kind: that some socket is locked is checked, but not which one. */
#if defined(__clang__)
#define ZM_LOCK_ATTRIBUTE(x) __attribute__((x))
#else
#define ZM_LOCK_ATTRIBUTE(x)
#endif
#define ZM_IS_LOCK(kind) ZM_LOCK_ATTRIBUTE(capability(kind))
#define ZM_TAKES(lock) ZM_LOCK_ATTRIBUTE(acquire_capability(lock))
/* Takes it if it answers `success`. */
#define ZM_TAKES_IF(success, lock) ZM_LOCK_ATTRIBUTE(try_acquire_capability(success, lock))
#define ZM_GIVES(lock) ZM_LOCK_ATTRIBUTE(release_capability(lock))
#define ZM_NEEDS(lock) ZM_LOCK_ATTRIBUTE(requires_capability(lock))
#define ZM_GUARDED_BY(lock) ZM_LOCK_ATTRIBUTE(guarded_by(lock))
/* Of a function that does what these attributes cannot express; its comment says what. */
#define ZM_LOCKS_UNCHECKED ZM_LOCK_ATTRIBUTE(no_thread_safety_analysis)

/* For the analysis alone: there is no object of this type. */
struct ZM_IS_LOCK("lock of") zm_lock_kind {
    char unused;
};

/* 0 free, 1 held, 2 held and somebody sleeps. */
typedef struct ZM_IS_LOCK("lock") zm_lock {
    _Atomic uint32_t word;
} zm_lock;

void zm_lock_take_slow(zm_lock *lock);
void zm_lock_wake(zm_lock *lock);

static inline bool zm_lock_try(zm_lock *lock) ZM_TAKES_IF(true, *lock) ZM_LOCKS_UNCHECKED
{
    uint32_t free_word = 0;
    bool taken = atomic_compare_exchange_strong_explicit(
        &lock->word, &free_word, 1, memory_order_acquire, memory_order_relaxed);
    if (taken)
        ZM_WORLD_TOOK(lock);
    return taken;
}

static inline void zm_lock_take(zm_lock *lock) ZM_TAKES(*lock) ZM_LOCKS_UNCHECKED
{
    if (!zm_lock_try(lock))
        zm_lock_take_slow(lock);
}

/* Of a held lock: does somebody sleep until it is free? (Or did, a moment ago.) */
static inline bool zm_lock_wanted(const zm_lock *lock)
{
    return atomic_load_explicit(&lock->word, memory_order_relaxed) == 2;
}

static inline void zm_lock_give(zm_lock *lock) ZM_GIVES(*lock) ZM_LOCKS_UNCHECKED
{
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        zm_lock_wake(lock);
    ZM_WORLD_GIVES(lock); /* a thread that died before that would take the lock with it */
}

/* Sleeps while *word == seen, until `deadline_ns` (CLOCK_MONOTONIC; < 0: no deadline).
 * 0: woken or the word differs; -ETIMEDOUT; -EINTR after a signal. */
int zm_futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t deadline_ns);
void zm_futex_wake(_Atomic uint32_t *word, int threads_max);

/* A wait of this thread ended because a signal's handler ran. zm_signal_taken() tells, and forgets;
 * where `zm_signals_exact` is set, a wait never hides it. */
extern ZM_THREAD_LOCAL bool zm_signalled;
extern bool zm_signals_exact;

/* The calling thread's id, cached. */
uint32_t zm_thread_id(void);
/* Something that only the calling thread has, at the cost of one instruction. */
static inline uintptr_t zm_thread_mark(void)
{
#if defined(ZM_SIMULATED)
    return zm_world_thread_mark();
#elif defined(__x86_64__) && defined(__LP64__)
    uintptr_t mark;
    __asm__("mov %%fs:0, %0" : "=r"(mark));
    return mark;
#elif defined(__aarch64__)
    return (uintptr_t) __builtin_thread_pointer();
#else
    return (uintptr_t) pthread_self();
#endif
}
/* After a fork: the thread has another id now. */
void zm_thread_id_forget(void);

/* Gives others the processor, between two looks for what is to happen soon. False: it came back
 * late, so others compute on this processor. A thread that uses up its time slice gets the
 * processor back later than a thread that slept: nobody is to spin now, nor for a while. */
bool zm_spin_yield(void);
/* Is that while not over? */
bool zm_spin_crowded(void);

static inline void zm_cpu_relax(void)
{
#if defined(ZM_SIMULATED)
    zm_world_relax();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

#endif
