#define _GNU_SOURCE
#include "lock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"

/* Long enough to ride out a holder that runs, short enough not to burn a slice on one core. */
enum { SPINS_MAX = 64 };

/* LATE: two peers that share a processor keep each other waiting for 20 us; a thread that computes,
 * for a time slice of milliseconds. */
enum { LATE_NS = 200 * 1000, CROWDED_NS = 50 * 1000 * 1000, NAP_NS = 20 * 1000 };

static _Atomic int64_t crowded_until; /* 0: not at all */

ZM_THREAD_LOCAL bool zm_signalled;
bool zm_signals_exact;

int zm_futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t deadline_ns)
{
    struct timespec until, *bound = NULL;
    if (deadline_ns < 0 && zm_signals_exact)
        deadline_ns = INT64_MAX; /* without a limit, SA_RESTART would start the wait anew */
    if (deadline_ns >= 0) {
        until.tv_sec = deadline_ns / 1000000000;
        until.tv_nsec = deadline_ns % 1000000000;
        bound = &until;
    }
    /* WAIT_BITSET takes an absolute CLOCK_MONOTONIC time. */
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen, bound, NULL,
                      FUTEX_BITSET_MATCH_ANY);
    if (rc == 0 || errno == EAGAIN)
        return 0;
    if (errno == ETIMEDOUT)
        return -ETIMEDOUT;
    zm_signalled = true;
    return -EINTR;
}

void zm_futex_wake(_Atomic uint32_t *word, int threads_max)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads_max, NULL, NULL, 0);
}

void zm_lock_take_slow(zm_lock *lock) ZM_LOCKS_UNCHECKED
{
    for (int spins = 0; spins < SPINS_MAX; spins++) {
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 && zm_lock_try(lock))
            return;
        zm_cpu_relax();
    }
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        zm_futex_wait(&lock->word, 2, -1);
    ZM_WORLD_TOOK(lock);
}

void zm_lock_wake(zm_lock *lock)
{
    zm_futex_wake(&lock->word, 1);
}

bool zm_spin_yield(void)
{
    if (zm_spin_crowded()) {
        /* For a caller that looks again all the same. After a sleep it has the processor sooner. */
        nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
        return false;
    }
    int64_t began = zm_now_ns();
    sched_yield();
    int64_t now = zm_now_ns();
    if (now - began < LATE_NS)
        return true;
    atomic_store_explicit(&crowded_until, now + CROWDED_NS, memory_order_relaxed);
    return false;
}

bool zm_spin_crowded(void)
{
    int64_t until = atomic_load_explicit(&crowded_until, memory_order_relaxed);
    if (ZM_LIKELY(!until))
        return false;
    if (zm_now_ns() < until)
        return true;
    /* Unless it was just found crowded again. */
    atomic_compare_exchange_strong(&crowded_until, &until, 0);
    return false;
}

static ZM_THREAD_LOCAL uint32_t cached_id;

uint32_t zm_thread_id(void)
{
    if (ZM_UNLIKELY(!cached_id))
        cached_id = (uint32_t) syscall(SYS_gettid);
    return cached_id;
}

void zm_thread_id_forget(void)
{
    cached_id = 0;
}
