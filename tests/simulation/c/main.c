/* Runs seeds, each in a process of its own, so that a run depends on nothing but its seed. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scale.h"
#include "sim.h"
#include "work.h"

enum { RUN_SECONDS_MAX = 60 };

static uint32_t some(uint32_t most)
{
    return sim_below(3) ? 0 : 1 + sim_below(most);
}

static void draw_plan(uint64_t seed, int driver)
{
    static const uint32_t switching[] = {300000, 100000, 20000, 3000, 500};
    static const int64_t latencies[] = {20 * SIM_US, 100 * SIM_US, SIM_MS, 20 * SIM_MS,
                                        200 * SIM_MS};
    sim_plan *p = PLAN;
    p->seed = seed;
    p->driver = (int) sim_below(3);
    if (driver >= 0)
        p->driver = driver;
    p->cpus = sim_below(3) ? 2 : 1;
    p->switching = switching[sim_below(5)];
    p->by_priority = sim_below(4) == 0;
    p->priority_changes = switching[1 + sim_below(4)];
    p->latency = latencies[sim_below(5)];
    p->jitter = sim_below(2) ? p->latency : 0;
    p->rate = sim_below(3) ? 1000000000 : 1000000;
    p->sndbuf = 2048 << sim_below(10);
    p->rcvbuf = 4096 << sim_below(10);
    p->shorts = some(300000);
    p->stray = some(20000);
    bool bad = sim_below(2);
    p->reset = !bad ? 0 : sim_below(3) ? some(20000) : 200000;
    p->half_open = 300000;
    p->refuse = some(300000);
    p->drop = some(200000);
    p->stalls = bad ? some(5000) : 0;
    p->slow = sim_less(sim_below(8) == 0, 0, "slow");
    if (p->slow) {
        p->latency = (20 + sim_below(180)) * SIM_MS;
        p->jitter = p->reset = p->stalls = 0;
        p->sndbuf = 2048 << sim_below(3);
        p->rcvbuf = 4096 << sim_below(3);
    }
    p->no_files = sim_below(10) ? 0 : 20000;
    p->no_memory = sim_below(10) ? 0 : 20u << sim_below(8);
#define LESS(field, least) p->field = (__typeof__(p->field)) sim_less((uint32_t) p->field, least, \
                                                                      #field)
    LESS(shorts, 0);
    LESS(stray, 0);
    LESS(reset, 0);
    LESS(half_open, 0);
    LESS(refuse, 0);
    LESS(drop, 0);
    LESS(stalls, 0);
    LESS(no_files, 0);
    LESS(no_memory, 0);
    LESS(jitter, 0);
    LESS(latency, 1000);
    LESS(by_priority, 0);
    LESS(cpus, 1);
#undef LESS
}

static void run(uint64_t seed, uint64_t luck, int driver, const char *trace)
{
    sim_init(seed);
    draw_plan(seed, driver);
    sim_begin(seed, luck);
    if (trace)
        sim_trace_to(trace);
    sim_say("seed %llu: driver %d, %d processors, switching %u%s, latency %lld us, jitter %lld, "
            "buffers %d %d, shorts %u, stray %u, slow %d, reset %u, refuse %u, drop %u, stalls %u, "
            "files %u, memory %u",
            (unsigned long long) seed, PLAN->driver, PLAN->cpus, PLAN->switching,
            PLAN->by_priority ? " by priority" : "", (long long) PLAN->latency / 1000,
            (long long) PLAN->jitter / 1000, PLAN->sndbuf, PLAN->rcvbuf, PLAN->shorts, PLAN->stray,
            PLAN->slow, PLAN->reset, PLAN->refuse, PLAN->drop, PLAN->stalls, PLAN->no_files,
            PLAN->no_memory);
    sim_run(work, NULL);
}

/* A network without faults, whose hosts have a clock each. */
static void run_scale(const char *asked)
{
    sim_plan *p = PLAN;
    *p = (sim_plan) {.seed = 1, .cpus = 1, .apart = true, .latency = 10 * SIM_MS,
                     .jitter = 10 * SIM_MS, .rate = 125000000, .sndbuf = 1 << 18,
                     .rcvbuf = 1 << 18};
    scale_ask(asked);
    sim_begin(1, 0);
    sim_run(scale, NULL);
}

static void report(void)
{
    printf("seed %llu: %.3f s, %llu steps, %llu switches, %llu calls, %llu segments, %llu resets, "
           "fingerprint %016llx\n", (unsigned long long) PLAN->seed,
           (double) (sim_clock - 1000 * SIM_S) / 1e9, (unsigned long long) sim_steps,
           (unsigned long long) TALLY->switches, (unsigned long long) TALLY->syscalls,
           (unsigned long long) TALLY->segments, (unsigned long long) TALLY->resets,
           (unsigned long long) sim_fingerprint());
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t first = 1, count = 1, first_luck = 0, lucks = 1;
    const char *trace = NULL;
    rlim_t seconds = RUN_SECONDS_MAX;
    int driver = -1;
    bool quiet = false, stop = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            first = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--count") && i + 1 < argc)
            count = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--luck") && i + 1 < argc)
            first_luck = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--lucks") && i + 1 < argc)
            lucks = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--less") && i + 1 < argc)
            sim_have_less(argv[++i]);
        else if (!strcmp(argv[i], "--record") && i + 1 < argc)
            sim_record_to(argv[++i]);
        else if (!strcmp(argv[i], "--scale") && i + 1 < argc)
            run_scale(argv[++i]);
        else if (!strcmp(argv[i], "--drawn"))
            sim_tell_drawn();
        else if (!strcmp(argv[i], "--cpu") && i + 1 < argc)
            seconds = strtoul(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--trace") && i + 1 < argc)
            trace = argv[++i];
        else if (!strcmp(argv[i], "--driver") && i + 1 < argc)
            driver = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--steps"))
            sim_trace_steps();
        else if (!strcmp(argv[i], "--quiet"))
            quiet = true;
        else if (!strcmp(argv[i], "--stop"))
            stop = true;
        else {
            fprintf(stderr, "%s: what is %s?\n", argv[0], argv[i]);
            return 2;
        }
    }
    uint64_t broken = 0;
    for (uint64_t i = 0; i < count * lucks; i++) {
        uint64_t seed = first + i / lucks, luck = first_luck + i % lucks;
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            /* Of the processor's time: a busy machine is no fault. */
            setrlimit(RLIMIT_CPU, &(struct rlimit) {seconds, seconds});
            if (!quiet)
                atexit(report);
            run(seed, luck, driver, trace);
            abort();
        }
        int status = 0;
        wait4(child, &status, 0, NULL); /* waitpid() is the engine's here */
        if (status == 0)
            continue;
        broken++;
        if (WIFSIGNALED(status))
            printf("BROKEN the engine goes on: signal %d\n  seed %llu, luck %llu\n",
                   WTERMSIG(status), (unsigned long long) seed, (unsigned long long) luck);
        if (stop)
            break;
    }
    if (count > 1)
        printf("%llu seeds from %llu, %llu with a broken law\n", (unsigned long long) count,
               (unsigned long long) first, (unsigned long long) broken);
    return broken ? 1 : 0;
}
