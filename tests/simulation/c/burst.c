/* Bursts that fit: one who may drop what has no room sends more than its mark, faster than anybody
 * can take it, but no more than the kernel's buffers hold, to readers that read. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "workload.h"

enum {
    MESSAGE_MOST = 50, /* bytes of one, with its topic and frames */
    MESSAGES_MOST = 120,
    MARK_MOST = 60,
    BURSTS_MOST = 8
};

static int readers(const end *e)
{
    return e->of->end_count - 1;
}

static int send_to(end *e, int reader, int flags)
{
    uint32_t number;
    arrival to = {.routes = 1, .foreign = true};
    to.route_size[0] = (uint8_t) sprintf((char *) to.route[0], "end%d", e->id + 1 + reader);
    return app_send(e, e->type == T_ROUTER ? &to : NULL, flags, &number);
}

/* It has heard of all of them, or they of it. */
static bool are_there(const end *e)
{
    for (int i = 1; i <= readers(e); i++)
        if (!(e->type == T_ROUTER ? e->got[e->id + i] : ends[e->id + i].got[e->id]))
            return false;
    return true;
}

static void read_or_sleep(end *e, int64_t ns)
{
    arrival hello;
    if (!e->open || e->type != T_ROUTER || app_recv(e, ZM_DONTWAIT, &hello) < 0)
        sim_sleep(ns);
}

static void meet(end *e)
{
    while (now == LIVE && !are_there(e)) {
        if (e->type != T_ROUTER)
            send_to(e, 0, ZM_DONTWAIT);
        read_or_sleep(e, 5 * SIM_MS);
    }
}

/* All that was sent since they met is read, so that nothing is left in the kernel's buffers. */
static bool all_is_read(const end *e)
{
    int each = e->type == T_ROUTER ? 1 : readers(e);
    uint32_t met = 0;
    for (int i = 1; i <= readers(e); i++)
        if (ends[e->id + i].first[e->id] > met)
            met = ends[e->id + i].first[e->id];
    for (uint32_t i = e->type == T_ROUTER ? 0 : met; i < e->sent; i++)
        if (e->records[i].accepted && e->records[i].arrivals < each)
            return false;
    return true;
}

/* The next burst may find that the engine has not heard of it yet. */
static bool await_all_read(const end *e)
{
    int64_t until = sim_clock + 20 * SIM_S;
    while (now == LIVE && !all_is_read(e) && sim_clock < until) {
        sim_block(e->of, sim_clock + 100 * SIM_MS); /* law_arrived() wakes it */
        sim_run_task_work();
    }
    return now == LIVE && all_is_read(e);
}

/* More than the kernel takes at once, so that a send is in flight. */
static bool fill(end *e, int reader)
{
    static const int sizes[] = {5000, 20000, 100000};
    enum { FIRST = 5 }; /* of them, in app_send() */
    for (uint32_t i = 0; i < 3 && !e->large; i++)
        if (PLAN->sndbuf < sizes[i])
            e->large = FIRST + i;
    int rc = e->large ? send_to(e, reader, 0) : 0;
    e->large = 0;
    return rc == 0 && await_all_read(e);
}

/* Nothing else may take it long, or be in the buffers. */
static bool fits(const end *e)
{
    return !e->of->disturbed && !(e->of->remote && TALLY->resets) && !PLAN->stray
           && !PLAN->no_memory && !PLAN->no_files;
}

/* False: it is over. */
static bool burst(end *e, int turn)
{
    zm_stats before, after;
    int most = PLAN->sndbuf / MESSAGE_MOST;
    int count = 1 + (int) sim_below(MESSAGES_MOST), rc = 0;
    int reader = (int) sim_below((uint32_t) readers(e));
    if (count > most)
        count = most;
    count = (int) sim_less((uint32_t) count, 1, "length%d", turn);
    if (sim_less(sim_below(3) > 0, 0, "fill%d", turn) && !fill(e, reader))
        return false;
    bool asked = fits(e) && zm_socket_stats(e->handle, &before) == 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = send_to(e, reader, ZM_DONTWAIT);
    if (asked && fits(e) && rc == 0 && zm_socket_stats(e->handle, &after) == 0
        && after.messages_dropped != before.messages_dropped)
        sim_broken("a burst that fits is not dropped", "socket %d: %llu of %d messages", e->id,
                   (unsigned long long) (after.messages_dropped - before.messages_dropped), count);
    return await_all_read(e);
}

void *own_burst(void *argument)
{
    end *e = argument;
    sim_draw_from((uint64_t) e->id);
    e->failed = open_end(e) < 0 || attach_end(e) < 0;
    e->of->disturbed |= e->failed;
    if (!e->failed) {
        meet(e);
        bool goes_on = await_all_read(e); /* else they may not have met */
        int left = (int) sim_less(1 + sim_below(BURSTS_MOST), 1, "bursts");
        while (left && goes_on && (goes_on = burst(e, left)))
            left--;
    }
    working--;
    while (now != CLOSING)
        read_or_sleep(e, 20 * SIM_MS); /* some may come late */
    close_end(e);
    return NULL;
}

void draw_burst(void)
{
    static const int types[] = {T_ROUTER, T_ROUTER, T_PUB, T_XPUB};
    service *of = &services[service_total];
    int type = types[sim_below(4)], host = (int) sim_below((uint32_t) host_total);
    *of = (service) {.id = service_total++, .first_end = end_total, .bursts = true,
                     .end_count = 1 + (int) sim_less(1 + sim_below(3), 1, "readers"),
                     .publishes = type != T_ROUTER};
    if (sim_below(2))
        snprintf(of->endpoint, sizeof of->endpoint, "ipc:///simulated/s%d", of->id);
    else
        snprintf(of->endpoint, sizeof of->endpoint, "tcp://10.0.0.%d:%d", host, 7000 + of->id);
    for (int i = 0; i < of->end_count; i++) {
        end *e = &ends[end_total];
        *e = (end) {.id = end_total++, .of = of, .sharers = 1};
        e->type = i == 0 ? type : type == T_ROUTER ? T_DEALER : T_SUB;
        e->host = i == 0 || of->endpoint[0] == 'i' ? host : (int) sim_below((uint32_t) host_total);
        of->remote |= e->host != host;
        e->binder = i == 0;
        e->sends = i == 0 || type == T_ROUTER;
        e->receives = i > 0 || type == T_ROUTER;
        draw_options(e);
        e->budget = i > 0 && type == T_ROUTER; /* it says that it is there */
        e->fickle = e->mandatory = e->nodrop = false;
        e->rcvhwm = 0;
        e->sndhwm = 1 + (int) sim_below(MARK_MOST);
        infinite |= e->rcvtimeo < 0 || e->sndtimeo < 0;
        sim_say("socket %d: type %d of a burst on host %d, %s, marks %d %d", e->id, e->type,
                e->host, of->endpoint, e->sndhwm, e->rcvhwm);
    }
}
