/* What programs do, from the seed: hosts with a context each, services of some sockets of the types
 * that go together, and a thread or two for each socket. They live, drain, rest and end. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "driver/waitset.h"
#include "work.h"
#include "workload.h"

enum { BUDGET_MAX = 120 };

typedef struct kind {
    const char *name;
    int hub, spoke;            /* types */
    bool hub_sends, spoke_sends; /* of themselves; replies come besides */
    bool one;                  /* one spoke */
} kind;

static const kind kinds[] = {
    {"push-pull", T_PUSH, T_PULL, true, false, false},
    {"pull-push", T_PULL, T_PUSH, false, true, false},
    {"pub-sub", T_PUB, T_SUB, true, false, false},
    {"sub-pub", T_SUB, T_PUB, false, true, false},
    {"xpub-sub", T_XPUB, T_SUB, true, false, false},
    {"pub-xsub", T_PUB, T_XSUB, true, false, false},
    {"xsub-xpub", T_XSUB, T_XPUB, false, true, false},
    {"pair", T_PAIR, T_PAIR, true, true, true},
    {"router-dealer", T_ROUTER, T_DEALER, false, true, false},
    {"dealer-dealer", T_DEALER, T_DEALER, true, true, false},
    {"rep-req", T_REP, T_REQ, false, true, false},
    {"rep-dealer", T_REP, T_DEALER, false, true, false},
    {"router-req", T_ROUTER, T_REQ, false, true, false},
};

service services[SERVICES_MAX + DOORS + STREAMS + BURSTS];
int service_total, host_total;
int64_t contexts[HOSTS_MAX];
phase now;
int working; /* threads that still have something to send */
bool infinite; /* some thread may wait without an end */
bool churn;
bool hush;
uint64_t progress;
bool killings;
uint32_t forks; /* that are still to come */
int64_t stopped_at[HOSTS_MAX];

/* --- the whole ------------------------------------------------------------------------------- */

static void draw_service(service *of)
{
    of->slow = PLAN->slow && of->id == 0;
    /* PUSH and PULL, either end bound, over a network. */
    of->kind = (int) sim_below(of->slow ? 2 : sizeof kinds / sizeof kinds[0]);
    const kind *k = &kinds[of->kind];
    int spokes = k->one ? 1 : 1 + (int) sim_below(3);
    int hub_host = (int) sim_below((uint32_t) host_total);
    int transport = of->slow ? 2 : (int) sim_below(5); /* 0 inproc, 1 ipc, else tcp */
    bool taken_apart = k->hub == T_PAIR || k->hub == T_ROUTER || k->hub == T_REP;
    of->conflates = !taken_apart && sim_below(6) == 0;
    bool absent = !sim_less(1, 0, "service%d", of->id);
    of->first_end = end_total;
    of->end_count = spokes + 1;
    of->inproc = transport == 0;
    of->by_name = transport > 1 && sim_less(sim_below(3) == 0, 0, "named%d", of->id);
    of->publishes = k->hub == T_PUB || k->hub == T_XPUB || k->spoke == T_PUB || k->spoke == T_XPUB;
    if (transport == 0)
        snprintf(of->endpoint, sizeof of->endpoint, "inproc://s%d", of->id);
    else if (transport == 1)
        snprintf(of->endpoint, sizeof of->endpoint, "ipc:///simulated/s%d", of->id);
    else
        snprintf(of->endpoint, sizeof of->endpoint, of->by_name ? "tcp://host%d:%d"
                                                                 : "tcp://10.0.0.%d:%d",
                 hub_host, 7000 + of->id);
    for (int i = 0; i <= spokes; i++) {
        end *e = &ends[end_total];
        *e = (end) {.id = end_total++, .of = of, .sharers = 1};
        e->type = i ? k->spoke : k->hub;
        e->binder = i == 0;
        e->host = i == 0 || transport < 2 ? hub_host : (int) sim_below((uint32_t) host_total);
        of->remote |= e->host != hub_host;
        e->sends = i ? k->spoke_sends : k->hub_sends;
        e->absent = absent || (i > 0 && !sim_less(1, 0, "socket%d", e->id));
        uint32_t budget = 1 + sim_below(of->slow ? 12 : sim_below(3) ? 20 : BUDGET_MAX);
        if (e->sends && !e->absent)
            e->budget = sim_less(budget, 1, "sends%d", e->id);
        bool replies = e->type == T_REP || e->type == T_ROUTER;
        e->receives = i ? k->hub_sends || e->type == T_REQ || e->type == T_DEALER : k->spoke_sends;
        e->sends |= replies;
        draw_options(e);
        if (of->slow)
            e->rcvhwm = 0; /* reading goes on, so whoever speaks is heard */
        bool sharable = e->type == T_PUSH || e->type == T_PULL || e->type == T_DEALER
                        || e->type == T_SUB;
        if (sharable && sim_below(4) == 0)
            e->sharers = 1 + (int) sim_less(1, 0, "shared%d", e->id);
    }
    security_draw(of);
    /* Whoever shares a socket sends and reads single parts. */
    bool shared = false;
    for (int i = 0; i < of->end_count; i++)
        shared |= ends[of->first_end + i].sharers > 1;
    for (int i = 0; shared && i < of->end_count; i++) {
        end *e = &ends[of->first_end + i];
        if (e->type == T_PUB || e->type == T_XPUB || e->type == T_ROUTER || e->type == T_REP)
            shared = false;
    }
    for (int i = 0; i < of->end_count; i++)
        ends[of->first_end + i].sharers = shared ? 2 : 1;
    for (int i = 0; i < of->end_count; i++) {
        end *e = &ends[of->first_end + i];
        if (e->absent)
            continue;
        infinite |= e->rcvtimeo < 0 || e->sndtimeo < 0;
        sim_say("socket %d: type %d of %s on host %d, %s, marks %d %d, timeouts %d %d, sends %u, "
                "%d threads", e->id, e->type, k->name, e->host, of->endpoint, e->sndhwm, e->rcvhwm,
                e->rcvtimeo, e->sndtimeo, e->budget, e->sharers);
    }
}

/* Whoever pushes to those that read, and are all there, is not held up. */
static bool must_go_on(const end *e)
{
    bool all = e->type == T_PUSH && !e->of->disturbed && !e->of->beats && !TALLY->resets
               && !PLAN->no_files && !PLAN->no_memory && !e->intrusion;
    for (int i = 0; i < e->of->end_count; i++)
        all &= ends[e->of->first_end + i].open;
    return all;
}

/* --- what happens to hosts ------------------------------------------------------------------- */

static void wait_until_free(int host)
{
    while (!sim_host_is_free(host))
        sim_sleep(SIM_US);
}

static void disturb(int host, bool only_beating)
{
    for (int i = 0; i < end_total; i++)
        if (ends[i].host == host
            && (!only_beating || ends[i].of->beats || ends[i].of->slow))
            ends[i].of->disturbed = true;
}

/* Who beats takes it for dead, and is right. */
static void stop_for_a_while(int host)
{
    wait_until_free(host);
    disturb(host, true);
    sim_say("host %d stops", host);
    sim_host_stop(host);
    sim_sleep((int64_t) (20 + sim_below(1500)) * SIM_MS);
    sim_host_go_on(host);
    stopped_at[host] = sim_clock;
    sim_say("host %d goes on", host);
}

/* Does a thread of no host look up a name, for a socket of any? */
static bool names_are_asked(void)
{
    for (const sim_thread *t = sim_threads; t; t = t->next)
        if (t->engines && t->host == SIM_NO_HOST && !t->done)
            return true;
    return false;
}

/* Its programs start anew; elsewhere, where that has another address. */
static void kill_and_start(int host, sim_thread **owners)
{
    for (int tries = 0; names_are_asked() || !sim_host_is_free(host); tries++) {
        if (tries == 100000)
            return;
        sim_sleep(10 * SIM_US);
    }
    disturb(host, false);
    sim_say("host %d is killed", host);
    killings = true;
    sim_host_kill(host);
    for (int i = 0; i < end_total; i++)
        if (ends[i].host == host) {
            ends[i].open = ends[i].attached = ends[i].failed = ends[i].moved = false;
            ends[i].restarted = true;
        }
    sim_sleep((int64_t) sim_below(500) * SIM_MS);
    if (sim_less(sim_below(2), 0, "address"))
        sim_host_move(host);
    do
        contexts[host] = zm_context_new(1);
    while (contexts[host] == -ENOMEM); /* memory was out for a moment */
    for (int i = 0; i < end_total; i++)
        if (ends[i].host == host && owners[i])
            owners[i] = sim_spawn("app", host, false, own, &ends[i]);
}

/* Of those that wait without an end: is there what they wait for? */
static void law_nobody_waits_in_vain(void)
{
    for (sim_thread *t = sim_threads; t; t = t->next) {
        end *e = t->doing_object;
        if (t->done || !t->doing || !e || !e->open || sim_clock - t->doing_since < 2 * SIM_S)
            continue;
        const char *call = t->doing;
        int wanted = !strncmp(call, "recv", 4) ? ZM_POLLIN
                     : !strncmp(call, "send", 4) ? ZM_POLLOUT
                                                 : 0;
        if (wanted == ZM_POLLOUT && must_go_on(e))
            sim_broken("who can go on does", "socket %d: send has waited for %.3f s", e->id,
                       (double) (sim_clock - t->doing_since) / 1e9);
        int64_t since = t->doing_since;
        int found = 0;
        size_t size = sizeof found;
        if (wanted == ZM_POLLOUT && (e->type == T_ROUTER || e->type == T_STREAM || e->nodrop))
            continue; /* it waits for one peer, and may send to others; EVENTS knows no NODROP */
        uint64_t segments = TALLY->segments, had = e->received;
        if (!wanted || zm_socket_get(e->handle, OPT_EVENTS, &found, &size) < 0)
            continue;
        if (found & wanted && t->doing == call && t->doing_since == since)
            sim_broken("no wake-up is lost", "socket %d: %s has waited for %.3f s, and could go on",
                       e->id, call, (double) (sim_clock - since) / 1e9);
        /* This look may have been the one that was owed: a SUB that dropped as much as its mark
         * has let in finds by the next one only what it wants. */
        if (wanted == ZM_POLLIN && !e->of->inproc)
            sim_sleep(SIM_MS);
        if (e->received > had && TALLY->segments == segments)
            sim_broken("no wake-up is lost", "socket %d: %s has waited for %.3f s, for a look that "
                       "somebody else made", e->id, call, (double) (sim_clock - since) / 1e9);
    }
}

/* A silent second costs next to nothing: programs ask for nothing meanwhile, so what there is are
 * heartbeats, and those who are sent away and come again. The largest of 4,000 seeds were 77 system
 * calls a segment, 200 a connect, and 26 a socket where there was neither. */
enum { PER_SEGMENT = 400, PER_CONNECT = 600, PER_SOCKET = 150 };

static void law_idle_is_idle(void)
{
    hush = true;
    sim_sleep(2 * SIM_S);
    for (sim_thread *t = sim_threads; t; t = t->next)
        t->calls_before = t->calls;
    sim_tally before = *TALLY;
    sim_sleep(SIM_S);
    uint64_t calls = TALLY->syscalls - before.syscalls;
    uint64_t connects = TALLY->connects - before.connects;
    uint64_t segments = TALLY->segments - before.segments;
    uint64_t most = PER_SEGMENT * segments + PER_CONNECT * connects
                    + PER_SOCKET * (uint64_t) end_total;
    hush = false;
    const sim_thread *busiest = sim_threads;
    for (sim_thread *t = sim_threads; t; t = t->next)
        if (t->calls - t->calls_before > busiest->calls - busiest->calls_before)
            busiest = t;
    sim_say("a silent second: %llu calls, %llu of %s#%d in %s; %llu connects, %llu segments, %d "
            "sockets", (unsigned long long) calls,
            (unsigned long long) (busiest->calls - busiest->calls_before), busiest->name,
            busiest->id, busiest->doing ? busiest->doing : "-", (unsigned long long) connects,
            (unsigned long long) segments, end_total);
    if (calls > most)
        sim_broken("idle is idle", "%llu system calls in a silent second, %llu of %s#%d in %s",
                   (unsigned long long) calls,
                   (unsigned long long) (busiest->calls - busiest->calls_before), busiest->name,
                   busiest->id, busiest->doing ? busiest->doing : "-");
}

static void settle(int64_t quiet, int64_t most)
{
    uint64_t seen = progress;
    int64_t since = sim_clock, began = since;
    while (sim_clock - since < quiet && sim_clock - began < most) {
        sim_sleep(50 * SIM_MS);
        if (progress != seen) {
            seen = progress;
            since = sim_clock;
        }
    }
}

static void join_owner(sim_thread *owner)
{
    if (owner) /* the second door is its neighbour's; and there are those that are left out */
        sim_join(owner);
}

void *work(void *unused)
{
    (void) unused;
    sim_thread *owners[ENDS_MAX];
    bool guarded[HOSTS_MAX] = {false};
    zm_counts before, after;
    sim_plan plan = *PLAN; /* whether there is io_uring is asked in quiet */
    PLAN->stray = PLAN->shorts = PLAN->no_files = 0;
    zm_crypto_path("simulated");
    app_begin_watch();
    int rc = zm_engine_init_alone(PLAN->driver ? "io_uring" : "epoll");
    *PLAN = plan;
    if (rc < 0)
        sim_broken("the engine starts", "%d: %s", rc, zm_driver_reason());
    api = zm_api_get();
    zm_counts_get(&before);
    int fds = sim_fd_count();
    host_total = (int) sim_less(1 + sim_below(HOSTS_MAX), 1, "hosts");
    service_total = 1 + (int) sim_below(SERVICES_MAX);
    churn = sim_less(sim_below(4) == 0, 0, "churn");
    for (int i = 0; i < host_total; i++)
        contexts[i] = zm_context_new(1 + (int) sim_less(sim_below(4) == 0, 0, "threads%d", i));
    for (int i = 0; i < service_total; i++) {
        services[i].id = i;
        draw_service(&services[i]);
    }
    int leader = -1;
    if (sim_less(sim_below(4) == 0, 0, "doors")) {
        draw_doors();
        leader = end_total - 3;
        working++;
    }
    if (sim_less(sim_below(4) == 0, 0, "streams"))
        draw_streams();
    int burster = -1;
    if (sim_less(sim_below(4) == 0, 0, "burst")) {
        burster = end_total;
        draw_burst();
        working++;
    }
    for (int i = 0; i < end_total; i++)
        working += ends[i].budget && !ends[i].intrusion ? ends[i].sharers : 0;
    sim_thread *guests[HOSTS_MAX + SERVICES_MAX + DOORS + STREAMS + BURSTS];
    int guest_total = 0;
    for (int i = 0; i < service_total; i++) {
        int host = ends[services[i].first_end].host;
        if (services[i].mechanism && !guarded[host]) {
            guarded[host] = true;
            guests[guest_total++] = security_handler(host, contexts[host]);
        }
        if (!services[i].inproc && !services[i].streams && services[i].endpoint[0] == 't'
            && sim_less(sim_below(6) == 0, 0, "stranger%d", i))
            guests[guest_total++] = security_stranger(&services[i],
                                                      (int) sim_below((uint32_t) host_total));
    }
    for (int i = 0; i < end_total; i++)
        owners[i] = ends[i].absent || (ends[i].group && i != leader)
                        ? NULL
                        : sim_spawn("app", ends[i].host, false,
                                    i == leader ? own_doors : i == burster ? own_burst : own,
                                    &ends[i]);

    sim_thread *program = streams_program();
    if (program)
        guests[guest_total++] = program;

    int64_t most = (int64_t) (1 + sim_below(30)) * SIM_S, began = sim_clock;
    uint32_t stops = sim_less(sim_below(6) ? 0 : 1 + sim_below(8), 0, "stops");
    forks = sim_less(sim_below(12) ? 0 : 1 + sim_below(3), 0, "forks");
    uint32_t kills = sim_less(sim_below(8) ? 0 : 1 + sim_below(3), 0, "kills");
    if (leader >= 0 || burster >= 0)
        kills = 0;
    while (working && sim_clock - began < most) {
        sim_sleep(10 * SIM_MS);
        int host = (int) sim_below((uint32_t) host_total);
        bool comes = sim_below(20) == 0, is_stop = sim_below(2);
        if (comes && stops && (is_stop || !kills)) {
            stops--;
            stop_for_a_while(host);
        } else if (comes && kills && !guarded[host]) {
            kills--;
            kill_and_start(host, owners);
        }
    }
    bool cuts = sim_less(churn && sim_below(3) == 0, 0, "cut");
    int cut = cuts ? (int) sim_below((uint32_t) host_total) : -1;
    if (cut >= 0) {
        sim_say("the context of host %d ends", cut);
        for (int i = 0; i < end_total; i++)
            if (ends[i].host == cut) {
                ends[i].of->disturbed = true;
                if (ends[i].open)
                    set_option(&ends[i], OPT_LINGER, 1000);
            }
        zm_context_shutdown(contexts[cut]);
    }
    now = DRAIN;
    sim_say("drain");
    /* The longest message may be all that is on its way, at what one window a round trip makes. */
    int window = PLAN->sndbuf < PLAN->rcvbuf ? PLAN->sndbuf : PLAN->rcvbuf;
    double rate = (double) window * 1e9 / (double) (2 * (PLAN->latency + PLAN->jitter) + 1);
    if (rate > (double) PLAN->rate)
        rate = (double) PLAN->rate;
    int64_t longest = (int64_t) (4 * 120000 / rate * 1e9);
    int64_t quiet = (PLAN->stalls || PLAN->drop ? 12 * SIM_S : 4 * SIM_S) + longest;
    settle(quiet, 3000 * SIM_S);
    /* A connect whose first packets are dropped takes up to half a minute, and what waits for it is
     * not lost. */
    for (int tries = 0; PLAN->drop && sim_somebody_connects() && tries < 40; tries++)
        settle(SIM_S, SIM_S);
    if (PLAN->drop)
        settle(quiet, 3000 * SIM_S);
    sim_say("rest");
    law_nobody_waits_in_vain();
    law_at_rest();
    streams_at_rest();
    if (!churn)
        law_who_connects_comes_back();
    law_idle_is_idle();
    for (int i = 0; i < end_total; i++)
        if (ends[i].open) /* whom it waits for may go first */
            set_option(&ends[i], OPT_LINGER, (int) sim_below(2) * 500);
    now = CLOSING;
    sim_say("close");
    bool ends_early = sim_below(2); /* the handlers, before those that they let in have gone */
    security_over = ends_early;
    if (infinite || sim_below(2))
        for (int i = 0; i < host_total; i++)
            zm_context_shutdown(contexts[i]);
    bool waits = sim_below(2); /* term() until the others have closed */
    for (int i = 0; i < end_total && !waits; i++)
        join_owner(owners[i]);
    security_over = true;
    for (int i = 0; i < host_total; i++) {
        do
            rc = zm_context_term(contexts[i], 400000);
        while (rc == -EINTR);
        sim_say("term of host %d: %d", i, rc);
        char holders[1000] = "";
        if (rc < 0) {
            zm_context_holders(contexts[i], holders, sizeof holders);
            sim_broken("term() ends", "host %d: %d: %s", i, rc, holders);
        }
    }
    for (int i = 0; i < end_total; i++)
        join_owner(owners[i]);
    for (int i = 0; i < guest_total; i++)
        sim_join(guests[i]);
    zm_alloc_fail_after(-1);
    sim_sleep(2 * SIM_S);
    /* What was the killed ones' is counted here, and nowhere in a real process; and who takes a
     * lock may be killed before it is told. */
    if (killings)
        return NULL;
    zm_counts_get(&after);
    if (after.blocks != before.blocks || after.sockets || after.contexts || after.connections
        || after.in_flight || after.threads || sim_fd_count() != fds)
        sim_broken("memory returns", "%lld blocks (%lld), %lld sockets, %lld contexts, %lld "
                   "connections, %lld requests, %lld threads, %d descriptors (%d)",
                   (long long) after.blocks, (long long) before.blocks, (long long) after.sockets,
                   (long long) after.contexts, (long long) after.connections,
                   (long long) after.in_flight, (long long) after.threads, sim_fd_count(), fds);
    return NULL;
}
