/* Threads that take turns, and the clock. One of them runs until it blocks, or until chance says at
 * one of its steps that another one does. When all are blocked the clock goes to what is next. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define FIBERS 1
#else
#define FIBERS 0
#endif

#include "sim.h"

enum { STACK_BYTES = 256 * 1024, STEP_NS = 12, SYSCALL_NS = 300 };

typedef struct context {
    ucontext_t at;
    void *fake;
} context;

typedef struct event {
    int64_t when;
    uint64_t order;
    void (*run)(void *);
    void *argument;
} event;

sim_plan sim_the_plan;
sim_tally sim_the_tally;
sim_thread *sim_current, *sim_threads;
int64_t sim_clock = 1000 * SIM_S;
uint64_t sim_steps;

static sim_thread *last_thread;
static uint64_t random_state[4];
static event *events;
static size_t event_count, event_room;
static uint64_t event_order;
static int64_t next_event = SIM_NEVER;
static uint64_t switch_at, priority_at;
static bool in_events;
static context contexts[1 << 16];
static context main_context;
static int thread_count;
static sim_thread *runnable[1 << 16];
static int runnable_count;

extern char __start_zm_thread_local[], __stop_zm_thread_local[];

/* --- chance ---------------------------------------------------------------------------------- */

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

/* xoshiro256**. */
uint64_t sim_random(void)
{
    uint64_t *s = random_state, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint32_t sim_below(uint32_t n)
{
    return (uint32_t) ((sim_random() >> 32) * n >> 32);
}

bool sim_chance(uint32_t of_a_million)
{
    return of_a_million && sim_below(1000000) < of_a_million;
}

/* Steps until what happens at `of_a_million` of them happens next. */
static uint64_t steps_until(uint32_t of_a_million)
{
    if (!of_a_million)
        return UINT64_MAX / 2;
    uint32_t mean = 1000000 / of_a_million;
    return 1 + sim_below(2 * mean + 1);
}

/* --- events ---------------------------------------------------------------------------------- */

static bool sooner(const event *a, const event *b)
{
    return a->when < b->when || (a->when == b->when && a->order < b->order);
}

void sim_at(int64_t when, void (*run)(void *), void *argument)
{
    if (event_count == event_room) {
        event_room = event_room ? 2 * event_room : 256;
        events = realloc(events, event_room * sizeof *events);
    }
    event e = {when, event_order++, run, argument};
    size_t i = event_count++;
    while (i && sooner(&e, &events[(i - 1) / 2])) {
        events[i] = events[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    events[i] = e;
    next_event = events[0].when;
}

static event take_event(void)
{
    event first = events[0], last = events[--event_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < event_count; i = child) {
        if (child + 1 < event_count && sooner(&events[child + 1], &events[child]))
            child++;
        if (!sooner(&events[child], &last))
            break;
        events[i] = events[child];
    }
    events[i] = last;
    next_event = event_count ? events[0].when : SIM_NEVER;
    return first;
}

static void run_events(void)
{
    if (in_events)
        return;
    in_events = true;
    while (next_event <= sim_clock) {
        event e = take_event();
        e.run(e.argument);
    }
    in_events = false;
}

/* --- threads --------------------------------------------------------------------------------- */

static void make_runnable(sim_thread *t)
{
    if (t->runnable || t->done)
        return;
    t->runnable = true;
    runnable[runnable_count++] = t;
}

static void make_blocked(sim_thread *t)
{
    for (int i = 0; i < runnable_count; i++)
        if (runnable[i] == t) {
            /* The order of the others is part of what chance picks from. */
            memmove(&runnable[i], &runnable[i + 1],
                    (size_t) (runnable_count - i - 1) * sizeof runnable[0]);
            runnable_count--;
            break;
        }
    t->runnable = false;
}

static void switch_to(sim_thread *to)
{
    sim_thread *from = sim_current;
    if (to == from)
        return;
    sim_note_switch(to);
    size_t size = (size_t) (__stop_zm_thread_local - __start_zm_thread_local);
    TALLY->switches++;
    if (from) {
        memcpy(from->local, __start_zm_thread_local, size);
        from->saved_errno = errno;
    }
    context *out = from ? &contexts[from->id] : &main_context;
    sim_current = to;
    memcpy(__start_zm_thread_local, to->local, size);
#if FIBERS
    __sanitizer_start_switch_fiber(from && from->done ? NULL : &out->fake, to->stack, STACK_BYTES);
#endif
    swapcontext(&out->at, &contexts[to->id].at);
#if FIBERS
    __sanitizer_finish_switch_fiber(out->fake, NULL, NULL);
#endif
    if (from)
        errno = from->saved_errno;
}

static sim_thread *pick(void)
{
    if (!PLAN->by_priority)
        return runnable[sim_below((uint32_t) runnable_count)];
    sim_thread *best = runnable[0];
    for (int i = 1; i < runnable_count; i++)
        if (runnable[i]->priority > best->priority)
            best = runnable[i];
    return best;
}

static void timed_out(void *argument)
{
    sim_thread *t = argument;
    if (!t->done && !t->runnable && t->deadline <= sim_clock) {
        t->timed_out = true;
        make_runnable(t);
    }
}

/* Somebody else's turn, or what comes next's. */
static void reschedule(void)
{
    run_events();
    while (!runnable_count) {
        if (next_event == SIM_NEVER)
            sim_broken("somebody can run", "every thread waits, and nothing is to come");
        if (next_event > sim_clock)
            sim_clock = next_event;
        run_events();
    }
    switch_at = sim_steps + steps_until(PLAN->switching);
    switch_to(pick());
}

void sim_step(void)
{
    if (!sim_current || in_events)
        return;
    sim_steps++;
    sim_current->steps++;
    sim_clock += STEP_NS;
    if (next_event <= sim_clock)
        run_events();
    if (PLAN->by_priority && sim_steps >= priority_at) {
        priority_at = sim_steps + steps_until(PLAN->priority_changes);
        sim_current->priority = (uint32_t) sim_random();
        for (int i = 0; i < runnable_count; i++)
            runnable[i]->priority = (uint32_t) sim_random(); /* nobody is the last for ever */
        reschedule();
    } else if (sim_steps >= switch_at) {
        reschedule();
    }
    if (sim_current->work && PLAN->driver == 2)
        sim_run_task_work(); /* without COOP_TASKRUN the kernel interrupts whoever has some */
}

void sim_yield(void)
{
    if (!sim_current || in_events)
        return;
    sim_steps++;
    sim_clock += STEP_NS + sim_below(200);
    if (PLAN->by_priority)
        sim_current->priority >>= 1 + sim_below(4);
    reschedule();
}

void sim_syscall(void)
{
    TALLY->syscalls++;
    if (sim_current)
        sim_current->calls++;
    sim_clock += SYSCALL_NS + sim_below(2 * SYSCALL_NS);
    if (PLAN->by_priority && sim_below(100) == 0)
        priority_at = sim_steps; /* who looks again and again keeps nobody from his turn for ever */
    sim_step();
}

bool sim_block(const void *key, int64_t deadline)
{
    sim_thread *me = sim_current;
    me->by_key = false;
    me->key = key;
    me->timed_out = false;
    me->deadline = deadline;
    if (deadline != SIM_NEVER)
        sim_at(deadline > sim_clock ? deadline : sim_clock, timed_out, me);
    make_blocked(me);
    reschedule();
    me->key = NULL;
    me->deadline = SIM_NEVER;
    return !me->timed_out;
}

void sim_wake(sim_thread *t)
{
    if (t->done || t->runnable)
        return;
    t->timed_out = false;
    make_runnable(t);
}

int sim_wake_key(const void *key, int most)
{
    int woken = 0;
    while (woken < most) {
        /* Any of them: the kernel's order is not promised. */
        sim_thread *chosen = NULL;
        uint32_t found = 0;
        for (sim_thread *t = sim_threads; t; t = t->next)
            if (!t->runnable && !t->done && t->key == key && sim_below(++found) == 0)
                chosen = t;
        if (!chosen)
            break;
        chosen->by_key = true;
        sim_wake(chosen);
        woken++;
    }
    return woken;
}

void sim_sleep(int64_t ns)
{
    int64_t until = sim_clock + ns;
    while (sim_clock < until) {
        sim_block(NULL, until);
        sim_run_task_work();
    }
}

static void thread_main(void)
{
    sim_thread *me = sim_current;
#if FIBERS
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    me->result = me->entry(me->argument);
    extern void sim_thread_ends(sim_thread *);
    sim_thread_ends(me);
    me->done = true;
    make_blocked(me);
    sim_wake_key(me, 1 << 20);
    reschedule();
    abort();
}

sim_thread *sim_spawn(const char *name, int host, bool engines, void *(*entry)(void *),
                      void *argument)
{
    sim_thread *t = calloc(1, sizeof *t);
    t->name = name;
    t->id = ++thread_count;
    t->host = host;
    t->engines = engines;
    t->entry = entry;
    t->argument = argument;
    t->deadline = SIM_NEVER;
    t->priority = (uint32_t) sim_random();
    t->local = calloc(1, (size_t) (__stop_zm_thread_local - __start_zm_thread_local) + 1);
    t->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    context *c = &contexts[t->id];
    getcontext(&c->at);
    c->at.uc_stack.ss_sp = t->stack;
    c->at.uc_stack.ss_size = STACK_BYTES;
    c->at.uc_link = NULL;
    makecontext(&c->at, thread_main, 0);
    if (last_thread)
        last_thread->next = t;
    else
        sim_threads = t;
    last_thread = t;
    make_runnable(t);
    return t;
}

void sim_join(sim_thread *t)
{
    while (!t->done) {
        sim_block(t, SIM_NEVER);
        sim_run_task_work();
    }
}

void sim_init(uint64_t seed)
{
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        random_state[i] = z ^ z >> 31;
    }
}

static void *(*first_entry)(void *);

static void *first(void *argument)
{
    first_entry(argument);
#if FIBERS
    __sanitizer_start_switch_fiber(NULL, NULL, 0);
#endif
    exit(0);
}

void sim_run(void *(*entry)(void *), void *argument)
{
    first_entry = entry;
    switch_at = steps_until(PLAN->switching);
    priority_at = steps_until(PLAN->priority_changes);
    switch_to(sim_spawn("main", 0, false, first, argument));
}
