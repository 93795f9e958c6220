/* What must hold, whatever chance does. Each law has a name; sim_broken() says it. The page
 * docs/internals/simulation.md lists them, and says how to add one. */
#include <stdlib.h>
#include <string.h>

#include "app.h"

static bool calm(const service *of)
{
    /* Out of descriptors, a listener closes connections that are in their handshake. */
    return !of->disturbed && !(of->remote && TALLY->resets) && !PLAN->no_files && !PLAN->no_memory;
}

/* --- the order of a thread: S-117 ------------------------------------------------------------ */

static void group_offer(group *g, int sender, uint32_t number)
{
    if (g->count == g->room) {
        g->room = g->room ? 2 * g->room : 64;
        g->sends = realloc(g->sends, g->room * sizeof *g->sends);
    }
    g->sends[g->count].sender = sender;
    g->sends[g->count].number = number;
    g->sends[g->count].departed = !g->watched; /* before all is connected: not asked */
    g->sends[g->count++].refused = false;
}

static void group_refused(group *g, int sender, uint32_t number)
{
    for (uint32_t i = g->lowest; i < g->count; i++)
        if (g->sends[i].sender == sender && g->sends[i].number == number)
            g->sends[i].refused = true;
}

void law_departs(int sender, uint32_t number)
{
    group *g = ends[sender].group;
    if (!g || !g->watched)
        return;
    uint32_t i = g->lowest;
    while (i < g->count && !(g->sends[i].sender == sender && g->sends[i].number == number))
        i++;
    if (i == g->count)
        return;
    g->sends[i].departed = true;
    while (g->lowest < g->count && (g->sends[g->lowest].departed || g->sends[g->lowest].refused))
        g->lowest++;
    if (g->lowest >= i)
        return;
    int earlier = g->sends[g->lowest].sender;
    /* A connection that broke keeps what is to be sent until there is another one. */
    bool broke = TALLY->resets || ends[sender].of->beats || ends[earlier].of->beats;
    if (earlier != sender && !broke)
        sim_broken("a thread's messages leave in its order", "socket %d: message %u of it leaves "
                   "before message %u of %d", sender, number, g->sends[g->lowest].number, earlier);
}

/* --------------------------------------------------------------------------------------------- */

uint32_t law_offer(end *e, int parts, uint32_t size)
{
    if (e->sent == e->record_room) {
        e->record_room = e->record_room ? 2 * e->record_room : 64;
        e->records = realloc(e->records, e->record_room * sizeof *e->records);
    }
    if (e->group)
        group_offer(e->group, e->id, e->sent);
    e->records[e->sent] = (record) {.offered = true, .parts = (uint8_t) parts, .size = size};
    return e->sent++;
}

void law_taken(end *e, uint32_t number, int rc)
{
    e->records[number].accepted = rc == 0;
    if (rc == 0)
        e->asked = number;
    else if (e->group)
        group_refused(e->group, e->id, number);
    sim_say("socket %d: send %u: %d", e->id, number, rc);
}

static bool seen_before(end *e, const arrival *a)
{
    int sender = a->sender;
    uint32_t had = e->seen_room[sender], room = a->number + 64;
    if (a->number >= had) {
        e->seen[sender] = realloc(e->seen[sender], room * sizeof *e->seen[sender]);
        memset(e->seen[sender] + had, 0, (room - had) * sizeof *e->seen[sender]);
        e->seen_room[sender] = room;
    }
    bool before = e->seen[sender][a->number];
    e->seen[sender][a->number] = a->pipe;
    return before;
}

/* By each pipe what is older comes first. Where a connection broke, the next one goes on behind
 * what it had, whichever of the two is read first (S-57). */
static void in_order(const end *e, const arrival *a)
{
    const uint16_t *seen = e->seen[a->sender];
    uint16_t below = 0, above = 0; /* what came next to it, by number: its pipe */
    bool earlier = false;
    for (uint32_t i = 0; i < e->seen_room[a->sender]; i++) {
        if (i > a->number && seen[i] == a->pipe)
            sim_broken("a pipe keeps its order", "socket %d: message %u of %d after %u", e->id,
                       a->number, a->sender, i);
        earlier |= i < a->number && seen[i] == a->pipe;
        if (i < a->number && seen[i])
            below = seen[i];
        if (i > a->number && !above)
            above = seen[i];
    }
    if ((earlier && below != a->pipe) || (below && below == above))
        sim_broken("a pipe keeps its order", "socket %d: message %u of %d by pipe %u, between "
                   "those of pipes %u and %u", e->id, a->number, a->sender, a->pipe, below, above);
}

void law_arrived(end *e, const arrival *a)
{
    int sender = a->sender;
    uint32_t number = a->number;
    end *from = &ends[sender];
    sim_say("socket %d: recv %u of %d", e->id, number, sender);
    if (from->of != e->of)
        sim_broken("a message goes where it was sent", "socket %d: message %u of %d", e->id, number,
                   sender);
    if (number >= from->sent)
        sim_broken("what arrives is what was sent", "socket %d: message %u of %d", e->id, number,
                   sender);
    record *r = &from->records[number];
    r->arrivals++;
    if (seen_before(e, a) || (r->arrivals > 1 && !e->of->publishes))
        sim_broken("nothing arrives twice", "socket %d: message %u of %d", e->id, number, sender);
    if (e->sharers == 1)
        in_order(e, a);
    model_arrived(e, a);
    if (!e->got[sender])
        e->first[sender] = number;
    e->got[sender]++;
    e->received++;
    if (e->of->bursts)
        sim_wake_key(e->of, 1);
}

/* A mark of N messages for each pipe; zero is none. */
void law_step(end *e)
{
    zm_stats stats;
    if (!e->open || sim_below(8) || zm_socket_stats(e->handle, &stats) < 0)
        return;
    uint64_t pipes = stats.peers ? stats.peers : 1;
    uint64_t mark = (uint64_t) e->sndhwm + (e->of->inproc ? (uint64_t) e->of->end_count : 0) * 1000;
    if (e->sndhwm && !e->of->inproc && !e->conflate && stats.out_queued > mark * pipes)
        sim_broken("a high-water mark holds", "socket %d: %llu messages queued for %llu pipes of "
                   "%d", e->id, (unsigned long long) stats.out_queued, (unsigned long long) pipes,
                   e->sndhwm);
}

/* A connection ends when somebody ends it. */
void law_connections_last(const end *e)
{
    zm_stats stats;
    if (e->of->disturbed || e->of->streams || (e->of->remote && TALLY->resets)
        || PLAN->no_files /* those in their handshake make room */
        || PLAN->no_memory || e->intrusion || zm_socket_stats(e->handle, &stats) < 0
        || !stats.reconnects)
        return;
    if (e->of->slow)
        sim_broken("who answers is not cut off", "socket %d: connected again %llu times", e->id,
                   (unsigned long long) stats.reconnects);
    if (!e->of->beats)
        sim_broken("a connection lasts", "socket %d: connected again %llu times", e->id,
                   (unsigned long long) stats.reconnects);
    e->of->disturbed = true;
}

/* What a pipe of CONFLATE holds is the last message, so the last one of all is there (S-12). */
static void last_stays(const end *e)
{
    for (uint32_t i = e->sent; i-- && e->sharers == 1;)
        if (e->records[i].accepted) {
            if (!e->records[i].arrivals)
                sim_broken("the last message stays", "socket %d: message %u of %u", e->id, i,
                           e->sent);
            break;
        }
}

/* Whoever connects keeps its queue when the connection breaks (S-20): what the kernel had is lost,
 * the rest follows. So there are no more holes than breaks. */
static void losses_are_runs(const end *e)
{
    const service *of = e->of;
    uint64_t holes = 0, breaks = TALLY->resets;
    bool before = false;
    if (e->binder || of->end_count != 2 || e->sharers != 1 || of->conflates || of->publishes
        || of->disturbed || PLAN->no_files || PLAN->no_memory
        || (e->type != T_PUSH && e->type != T_PAIR && e->type != T_DEALER)
        || ends[of->first_end].type == T_REP)
        return;
    for (int i = 0; i < 2; i++) {
        zm_stats stats;
        if (ends[of->first_end + i].open
            && zm_socket_stats(ends[of->first_end + i].handle, &stats) == 0)
            breaks += stats.reconnects;
    }
    for (uint32_t i = 0; i < e->sent; i++) {
        if (!e->records[i].accepted)
            continue;
        bool lost = !e->records[i].arrivals;
        holes += lost && !before;
        before = lost;
    }
    if (breaks && holes > breaks) /* without any, nothing is lost: none_lost() */
        sim_broken("a loss is what was on its way", "socket %d: %llu holes in what arrived, %llu "
                   "breaks", e->id, (unsigned long long) holes, (unsigned long long) breaks);
}

static void none_lost(const end *e)
{
    for (uint32_t i = 0; i < e->sent; i++)
        if (e->records[i].accepted && !e->records[i].arrivals)
            sim_broken("nothing that was accepted is lost", "socket %d: message %u of %u, %u parts "
                       "of %u bytes", e->id, i, e->sent, e->records[i].parts, e->records[i].size);
}

/* A subscriber that has got one message of a publisher without a mark gets all that follow. */
static void none_missed(const end *e, const end *to)
{
    if (!to->got[e->id])
        return;
    for (uint32_t i = to->first[e->id]; i < e->sent; i++)
        if (e->records[i].accepted && to->topics_always >> i % TOPICS & 1
            && (i >= to->seen_room[e->id] || !to->seen[e->id][i]))
            sim_broken("a subscriber misses nothing", "socket %d: message %u of %d", to->id, i,
                       e->id);
}

/* Has it a connection, where there is somebody to connect to? */
static bool is_back(const end *e)
{
    const end *hub = &ends[e->of->first_end];
    zm_stats stats;
    if (e->binder || !e->attached || !hub->attached || !e->open || !hub->open || e->intrusion
        || e->of->inproc || e->of->streams || e->of->beats
        || zm_socket_stats(e->handle, &stats) < 0)
        return true;
    return stats.connections > 0;
}

/* Whatever broke: within two minutes. A connect whose packets are dropped takes half of one. */
void law_who_connects_comes_back(void)
{
    int away = 0;
    for (int seconds = 0; seconds < 120 && away < end_total; seconds++) {
        for (away = 0; away < end_total && is_back(&ends[away]);)
            away++;
        if (away < end_total)
            sim_sleep(SIM_S);
    }
    if (away < end_total)
        sim_broken("who connects comes back", "socket %d has no connection", ends[away].id);
}

void law_at_rest(void)
{
    for (int i = 0; i < end_total; i++)
        if (ends[i].open)
            law_connections_last(&ends[i]);
    for (int i = 0; i < end_total; i++) {
        const end *e = &ends[i];
        if (e->sends && !e->intrusion)
            losses_are_runs(e);
        if (!e->sends || e->intrusion || !calm(e->of))
            continue;
        if (e->relaxed && e->received + 1 < e->sent)
            continue; /* it gave up a request, and with that the connection */
        bool receivers = true; /* will they have read it all? Not one that cannot send */
        for (const sim_thread *t = sim_threads; t; t = t->next)
            receivers &= t->done || !t->doing || strncmp(t->doing, "send", 4) || !t->doing_object
                         || ((const end *) t->doing_object)->of != e->of;
        for (int k = 0; k < e->of->end_count; k++) {
            const end *other = &ends[e->of->first_end + k];
            receivers &= !(other->relaxed && e->type != T_REQ); /* it gives up answers */
        }
        if (!receivers)
            continue;
        if (e->of->conflates) {
            if (!e->of->publishes)
                last_stays(e);
            continue;
        }
        /* What routes drops what is for a pipe at its mark, or tells (S-13 of ROUTER). */
        bool routes = e->type == T_ROUTER || (e->type == T_REP && e->sndhwm);
        if (!e->of->publishes && (!routes || e->mandatory))
            none_lost(e);
        for (int k = 0; e->of->publishes && e->sndhwm == 0 && k < e->of->end_count; k++) {
            const end *other = &ends[e->of->first_end + k];
            if (other->receives && other->rcvhwm == 0 && !other->intrusion)
                none_missed(e, other);
        }
    }
}
