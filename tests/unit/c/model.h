/* What the programs share that hold a part of the engine against a simple model of it. */
#ifndef ZM_TESTS_MODEL_H
#define ZM_TESTS_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

#define CHECK(x) \
    ((x) ? (void) 0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), exit(1)))

/* A run of its own for each seed, the same each time. */
static uint64_t random_state;

static inline void random_seed(uint64_t seed)
{
    random_state = seed * 2654435761u + 1;
}

static inline uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t) ((random_state * 2685821657736338717u) >> 33) % n;
}

static inline bool one_in(uint32_t n)
{
    return random_below(n) == 0;
}

/* Is the failure that was asked for still to come, after at most `n` more allocations? */
static inline bool is_failure_pending(int64_t n)
{
    bool pending = false;
    for (int64_t i = 0; i <= n && !pending; i++) {
        void *memory = zm_alloc(1);
        pending = !memory;
        zm_free(memory);
    }
    return pending;
}

/* Runs the same scenario again and again; in each run one more allocation succeeds before one
 * fails, until none fails. Nothing may be left after any. */
static inline void with_each_allocation_failing(void (*scenario)(uint64_t seed), uint64_t seed)
{
    bool failed = true;
    int64_t n = 0;
    for (; failed; n++) {
        int64_t live = zm_alloc_live();
        random_seed(seed);
        zm_alloc_fail_after(n);
        scenario(seed);
        failed = !is_failure_pending(n);
        zm_alloc_fail_after(-1);
        CHECK(zm_alloc_live() == live);
    }
    CHECK(n > 1); /* or nothing allocates there */
    printf("%lld allocations failed\n", (long long) n - 1);
}

/* The program: `MODEL [SEED]`. */
static inline void run_model(int argc, char **argv, void (*scenario)(uint64_t seed))
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    printf("seed %llu\n", (unsigned long long) seed);
    fflush(stdout);
    with_each_allocation_failing(scenario, seed);
}

#endif
