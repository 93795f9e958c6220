/* The network between hosts: TCP as its ends see it (windows, resets, half-open ends). */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "net.h"

enum { SEGMENT = 16 * 1024 };

/* --- bytes ----------------------------------------------------------------------------------- */

void bytes_put(bytes *b, const void *data, size_t size)
{
    if (b->head + b->size + size > b->room) {
        memmove(b->data, b->data + b->head, b->size);
        b->head = 0;
        while (b->room < b->size + size)
            b->room = b->room ? 2 * b->room : 4096;
        b->data = realloc(b->data, b->room);
    }
    memcpy(b->data + b->head + b->size, data, size);
    b->size += size;
}

void bytes_take(bytes *b, size_t size)
{
    b->head += size;
    b->size -= size;
    if (!b->size)
        b->head = 0;
}

void bytes_forget(bytes *b)
{
    free(b->data);
    *b = (bytes) {0};
}

/* --- links ----------------------------------------------------------------------------------- */

typedef struct segment {
    link *link;
    int from;
    size_t size;
    bool end;
} segment;

int64_t link_latency(const link *l)
{
    if (l && l->local)
        return 1 + sim_below(2000);
    return PLAN->latency + (PLAN->jitter ? (int64_t) sim_below((uint32_t) PLAN->jitter) : 0);
}

/* That end learns that the link is no more. */
static void tell_reset(link *l, int side, int error)
{
    stream *s = l->ends[side];
    if (l->dead[side])
        return;
    l->dead[side] = true;
    sim_step_said("reset told to %d", s ? s->file.fd : -1);
    bytes_forget(&l->ways[side].out);
    l->ways[side].in_flight = 0;
    if (s) {
        s->error = error;
        sim_changed(&s->file);
    }
}

typedef struct news {
    link *link;
    int side, error;
} news;

static void reset_arrives(void *argument)
{
    news *n = argument;
    tell_reset(n->link, n->side, n->error);
    free(n);
}

void link_send_reset(link *l, int side)
{
    news *n = malloc(sizeof *n);
    *n = (news) {l, side, ECONNRESET};
    sim_at(sim_clock + link_latency(l), reset_arrives, n);
}

void link_break(link *l)
{
    if (l->dead[0] && l->dead[1])
        return;
    TALLY->resets++;
    int first = (int) sim_below(2);
    sim_say("reset %d-%d", l->ends[0] ? l->ends[0]->file.fd : -1,
            l->ends[1] ? l->ends[1]->file.fd : -1);
    tell_reset(l, first, sim_below(4) ? ECONNRESET : sim_below(2) ? ETIMEDOUT : EPIPE);
    if (!sim_chance(PLAN->half_open))
        tell_reset(l, !first, ECONNRESET);
}

static void arrive(void *argument)
{
    segment s = *(segment *) argument;
    link *l = s.link;
    direction *way = &l->ways[s.from];
    stream *here = l->ends[!s.from], *there = l->ends[s.from];
    free(argument);
    TALLY->segments++;
    if (l->dead[s.from])
        return;
    if (l->dead[!s.from] || (!here && s.size)) {
        link_send_reset(l, s.from); /* nobody is there */
        return;
    }
    if (!l->local && sim_chance(PLAN->reset)) {
        link_break(l);
        if (!l->dead[s.from])
            link_send_reset(l, s.from); /* it sends that again, and hears of it then */
        return;
    }
    if (s.end) {
        way->ended = true;
    } else {
        way->in_flight -= s.size;
        TALLY->bytes += s.size;
        bytes_put(&way->in, way->out.data + way->out.head, s.size);
        bytes_take(&way->out, s.size);
    }
    if (here)
        sim_changed(&here->file);
    if (there && there->link == l)
        sim_changed(&there->file);
    link_transmit(l, s.from);
}

void link_transmit(link *l, int from)
{
    direction *way = &l->ways[from];
    if (l->dead[from])
        return;
    for (;;) {
        size_t busy = way->in.size + way->in_flight;
        size_t window = (size_t) PLAN->rcvbuf > busy ? (size_t) PLAN->rcvbuf - busy : 0;
        size_t n = way->out.size - way->in_flight;
        if (n > window)
            n = window;
        if (n > SEGMENT)
            n = SEGMENT;
        bool end = !n && way->ends && !way->end_sent && way->out.size == 0;
        if (!n && !end)
            return;
        if (!l->local && sim_chance(PLAN->stalls)) {
            l->stalled_until = sim_clock + (int64_t) sim_below(3000) * SIM_MS;
            sim_say("stall until %.6f", (double) l->stalled_until / 1e9);
        }
        int64_t when = sim_clock + link_latency(l);
        if (when < way->last_arrival)
            when = way->last_arrival;
        if (when < l->stalled_until)
            when = l->stalled_until;
        when += (int64_t) ((double) n * 1e9 / (double) (l->local ? 4000000000LL : PLAN->rate));
        way->last_arrival = when;
        segment *s = malloc(sizeof *s);
        *s = (segment) {l, from, n, end};
        way->in_flight += n;
        way->end_sent |= end;
        sim_at(when, arrive, s);
    }
}
