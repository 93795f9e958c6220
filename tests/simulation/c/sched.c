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

enum { STACK_BYTES = 256 * 1024, STEP_NS = 12, SYSCALL_NS = 300, THREADS_MAX = 1 << 16,
       HOSTS_MAX = 1 << 15 };
/* Of a replay: longer than any seed leaves a thread its turn, and an end to spinning. */
enum { TURN_STEPS_MAX = 20000 };

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
static uint64_t world_chance[4], schedule_chance[4];
static uint64_t the_seed, the_luck, world_faults, turn_began;
static event *events;
static size_t event_count, event_room;
static uint64_t event_order;
static int64_t next_event = SIM_NEVER;
static uint64_t switch_at, priority_at;
static bool in_events;
static context contexts[THREADS_MAX];
static context main_context;
static int thread_count;
static sim_thread *by_id[THREADS_MAX];
static sim_thread *runnable[THREADS_MAX];
static int runnable_count;

/* Blocked threads, by what they are blocked on. */
enum { KEYS = 1 << 12 };
static sim_thread *blocked_first[KEYS], *blocked_last[KEYS];

extern char __start_zm_thread_local[], __stop_zm_thread_local[];

/* --- chance ---------------------------------------------------------------------------------- */

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

/* xoshiro256**. */
static uint64_t next_of(uint64_t *s)
{
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

static void seed_state(uint64_t *state, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t seed = a + b * 0xd1342543de82ef95u + c * 0xaf251af3b0f025b5u;
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        state[i] = z ^ z >> 31;
    }
}

static uint32_t below(uint64_t *state, uint32_t n)
{
    return (uint32_t) ((next_of(state) >> 32) * n >> 32);
}

static bool of_the_world(void)
{
    return in_events || !sim_current;
}

static uint64_t *chance_here(void)
{
    return of_the_world() ? world_chance : sim_current->chance;
}

uint64_t sim_random(void)
{
    return next_of(chance_here());
}

uint32_t sim_below(uint32_t n)
{
    return below(chance_here(), n);
}

bool sim_chance(uint32_t of_a_million)
{
    if (!of_a_million || sim_below(1000000) >= of_a_million)
        return false;
    int who = of_the_world() ? 0 : sim_current->id;
    uint64_t number = who ? sim_current->faults++ : world_faults++;
    if (sim_replays() && sim_chosen('f', who, number) < 0)
        return false;
    sim_note_choice('f', who, number, 0);
    return true;
}

uint32_t sim_draw_below(uint32_t n)
{
    return below(sim_current->draws, n);
}

bool sim_draw_chance(uint32_t of_a_million)
{
    return of_a_million && sim_draw_below(1000000) < of_a_million;
}

void sim_draw_from(uint64_t number)
{
    seed_state(sim_current->draws, the_seed, 3, number);
}

/* Steps until what happens at `of_a_million` of them happens next. */
static uint64_t steps_until(uint32_t of_a_million)
{
    if (!of_a_million)
        return UINT64_MAX / 2;
    uint32_t mean = 1000000 / of_a_million;
    return 1 + below(schedule_chance, 2 * mean + 1);
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

/* --- hosts apart ------------------------------------------------------------------------------ */

/* Each host's processor has run to a time of its own, and `runnable` is a heap by when a thread can
 * go on. Who is furthest behind is next, and does not run past the next event, nor further than
 * what others do meanwhile takes to reach it. */
static int64_t host_clock[HOSTS_MAX], slice_ends;

static int64_t start_of(const sim_thread *t)
{
    return t->ready_at > host_clock[t->host] ? t->ready_at : host_clock[t->host];
}

static bool before(const sim_thread *a, const sim_thread *b)
{
    return a->starts_at < b->starts_at || (a->starts_at == b->starts_at && a->id < b->id);
}

static void apart_push(sim_thread *t)
{
    int i = runnable_count++;
    t->starts_at = start_of(t);
    for (; i && before(t, runnable[(i - 1) / 2]); i = (i - 1) / 2)
        runnable[i] = runnable[(i - 1) / 2];
    runnable[i] = t;
}

static void apart_enter(sim_thread *t)
{
    t->ready_at = sim_clock;
    apart_push(t);
}

static sim_thread *apart_pop(void)
{
    sim_thread *top = runnable[0], *last = runnable[--runnable_count];
    int i = 0;
    for (int child; (child = 2 * i + 1) < runnable_count; i = child) {
        if (child + 1 < runnable_count && before(runnable[child + 1], runnable[child]))
            child++;
        if (!before(runnable[child], last))
            break;
        runnable[i] = runnable[child];
    }
    runnable[i] = last;
    return top;
}

/* The clock is then that of the thread that goes on. */
static sim_thread *apart_next(void)
{
    sim_thread *me = sim_current;
    if (sim_clock > host_clock[me->host])
        host_clock[me->host] = sim_clock;
    if (me->runnable)
        apart_enter(me);
    for (;;) {
        if (runnable_count && runnable[0]->starts_at <= next_event) {
            sim_thread *to = apart_pop();
            if (to->starts_at < host_clock[to->host]) { /* its processor was busy meanwhile */
                apart_push(to);
                continue;
            }
            sim_clock = to->starts_at;
            slice_ends = sim_clock + PLAN->latency;
            if (slice_ends > next_event)
                slice_ends = next_event;
            return to;
        }
        if (next_event == SIM_NEVER)
            sim_broken("somebody can run", "every thread waits, and nothing is to come");
        sim_clock = next_event;
        run_events();
    }
}

/* --- threads --------------------------------------------------------------------------------- */

static void make_runnable(sim_thread *t)
{
    if (t->runnable || t->done)
        return;
    t->runnable = true;
    if (PLAN->apart)
        apart_enter(t);
    else if (!t->stopped)
        runnable[runnable_count++] = t;
}

/* It is not picked. */
static void take_out(sim_thread *t)
{
    for (int i = 0; i < runnable_count; i++)
        if (runnable[i] == t) {
            /* The order of the others is part of what chance picks from. */
            memmove(&runnable[i], &runnable[i + 1],
                    (size_t) (runnable_count - i - 1) * sizeof runnable[0]);
            runnable_count--;
            break;
        }
}

static void make_blocked(sim_thread *t)
{
    t->runnable = false;
    if (!PLAN->apart) /* else it runs, so it is not among them */
        take_out(t);
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
        return runnable[below(schedule_chance, (uint32_t) runnable_count)];
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

/* Somebody else's turn, or what comes next's. `kind`: which choice this is. */
static void reschedule(char kind)
{
    sim_thread *me = sim_current;
    if (PLAN->apart) {
        switch_to(apart_next());
        return;
    }
    run_events();
    while (!runnable_count) {
        if (next_event == SIM_NEVER)
            sim_broken("somebody can run", "every thread waits, and nothing is to come");
        if (next_event > sim_clock)
            sim_clock = next_event;
        run_events();
    }
    uint64_t number = kind == 'p' ? me->steps : me->waits++;
    sim_thread *plain = kind == 'p' ? me : runnable[0], *to = plain;
    if (sim_replays()) {
        int chosen = sim_chosen(kind, me->id, number);
        if (chosen > 0 && by_id[chosen] && by_id[chosen]->runnable)
            to = by_id[chosen];
    } else {
        switch_at = sim_steps + steps_until(PLAN->switching);
        to = pick();
    }
    if (to != plain)
        sim_note_choice(kind, me->id, number, to->id);
    turn_began = sim_steps;
    switch_to(to);
}

/* Behind all others that can run. */
static void step_back(sim_thread *t)
{
    if (PLAN->apart)
        return; /* by its time it is */
    make_blocked(t);
    make_runnable(t);
}

void sim_step(void)
{
    if (!sim_current || in_events)
        return;
    sim_steps++;
    sim_current->steps++;
    sim_clock += STEP_NS;
    if (PLAN->apart) {
        if (sim_clock > slice_ends)
            reschedule('p');
        return;
    }
    if (next_event <= sim_clock)
        run_events();
    if (sim_replays()) {
        if (sim_steps - turn_began > TURN_STEPS_MAX)
            sim_yield();
        else if (sim_chosen('p', sim_current->id, sim_current->steps) >= 0)
            reschedule('p');
    } else if (PLAN->by_priority && sim_steps >= priority_at) {
        priority_at = sim_steps + steps_until(PLAN->priority_changes);
        sim_current->priority = (uint32_t) next_of(schedule_chance);
        for (int i = 0; i < runnable_count; i++) /* nobody is the last for ever */
            runnable[i]->priority = (uint32_t) next_of(schedule_chance);
        reschedule('p');
    } else if (sim_steps >= switch_at) {
        reschedule('p');
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
        sim_current->priority >>= 1 + below(schedule_chance, 4);
    step_back(sim_current);
    reschedule('n');
}

void sim_syscall(void)
{
    TALLY->syscalls++;
    if (sim_current)
        sim_current->calls++;
    sim_clock += SYSCALL_NS + sim_below(2 * SYSCALL_NS);
    if (PLAN->by_priority && below(schedule_chance, 100) == 0)
        priority_at = sim_steps; /* who looks again and again keeps nobody from his turn for ever */
    sim_step();
}

static size_t slot_of(const void *key)
{
    return ((uintptr_t) key >> 3) * 0x9e3779b97f4a7c15u >> 52;
}

static void enter_key(sim_thread *t)
{
    size_t slot = slot_of(t->key);
    t->key_next = NULL;
    t->key_prev = blocked_last[slot];
    if (t->key_prev)
        t->key_prev->key_next = t;
    else
        blocked_first[slot] = t;
    blocked_last[slot] = t;
}

static void leave_key(sim_thread *t)
{
    size_t slot = slot_of(t->key);
    if (t->key_prev)
        t->key_prev->key_next = t->key_next;
    else
        blocked_first[slot] = t->key_next;
    if (t->key_next)
        t->key_next->key_prev = t->key_prev;
    else
        blocked_last[slot] = t->key_prev;
}

bool sim_block(const void *key, int64_t deadline)
{
    sim_thread *me = sim_current;
    me->by_key = false;
    me->key = key;
    me->timed_out = false;
    me->deadline = deadline;
    enter_key(me);
    if (deadline != SIM_NEVER)
        sim_at(deadline > sim_clock ? deadline : sim_clock, timed_out, me);
    make_blocked(me);
    reschedule('n');
    leave_key(me);
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
        for (sim_thread *t = blocked_first[slot_of(key)]; t; t = t->key_next)
            if (!t->runnable && t->key == key && sim_below(++found) == 0)
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
    sim_run_task_work(); /* what is to be done ends a sleep before it begins */
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
    reschedule('n');
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
    t->priority = (uint32_t) next_of(schedule_chance);
    seed_state(t->chance, the_seed, the_luck, 8 + (uint64_t) t->id);
    seed_state(t->draws, the_seed, 2, engines || !sim_current ? (uint64_t) t->id
                                                              : next_of(sim_current->draws));
    by_id[t->id] = t;
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
    sim_run_task_work();
    while (!t->done) {
        sim_block(t, SIM_NEVER);
        sim_run_task_work();
    }
}

/* --- hosts ----------------------------------------------------------------------------------- */

bool sim_host_is_free(int host)
{
    for (const sim_thread *t = sim_threads; t; t = t->next)
        if (t->host == host && !t->done && t->locks)
            return false;
    return true;
}

void sim_host_stop(int host)
{
    for (sim_thread *t = sim_threads; t; t = t->next)
        if (t->host == host && !t->done) {
            t->stopped = true;
            take_out(t);
        }
}

void sim_host_go_on(int host)
{
    for (sim_thread *t = sim_threads; t; t = t->next)
        if (t->host == host && t->stopped) {
            t->stopped = false;
            if (t->runnable)
                runnable[runnable_count++] = t;
        }
}

void sim_host_kill(int host)
{
    for (sim_thread *t = sim_threads; t; t = t->next)
        if (t->host == host && !t->done) {
            make_blocked(t);
            t->done = true;
            t->work = NULL;
            sim_wake_key(t, 1 << 20);
        }
    sim_close_all(host);
}

void sim_only_this_thread(void)
{
    for (sim_thread *t = sim_threads; t; t = t->next)
        if (t != sim_current && !t->done) {
            make_blocked(t);
            t->done = true;
        }
    sim_current->work = NULL; /* its requests are the parent's */
}

void sim_init(uint64_t seed)
{
    the_seed = seed;
    seed_state(world_chance, seed, 0, 0);
}

void sim_begin(uint64_t seed, uint64_t luck)
{
    the_seed = seed;
    the_luck = PLAN->luck = luck;
    seed_state(world_chance, seed, luck, 1);
    seed_state(schedule_chance, seed, luck, 2);
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
    int host = PLAN->apart ? 0 : SIM_NO_HOST;
    sim_thread *t = sim_spawn("main", host, false, first, argument);
    if (PLAN->apart)
        apart_pop();
    switch_to(t);
}
