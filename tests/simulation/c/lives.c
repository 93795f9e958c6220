/* What threads do with their sockets. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/errors.h"
#include "workload.h"

enum { RETURNS_IN_A_ROW = 12 };

/* Is the answer one that ends the socket's work? */
static bool ended(int rc)
{
    return rc == -ETERM || rc == -ENOTSOCK;
}

void mind_the_hush(void)
{
    while (hush)
        sim_sleep(20 * SIM_MS);
}

void think(void)
{
    mind_the_hush();
    switch (sim_below(12)) {
    case 0:
        sim_sleep((int64_t) sim_below(3000) * SIM_US);
        break;
    case 1:
        sim_sleep((int64_t) sim_below(200) * SIM_US);
        break;
    case 2:
        sim_sleep((int64_t) sim_below(100) * SIM_MS);
        break;
    default:
        sim_step();
    }
}

/* There is more room, which others may wait for. */
static void raise_mark(end *e)
{
    e->sndhwm *= 2;
    set_option(e, OPT_SNDHWM, e->sndhwm);
}

/* A subscriber asks for something else. Who is fickle wants one topic now, all of them later: of
 * what has come meanwhile it wants next to nothing. */
static void think_again(end *e)
{
    if (!e->fickle) {
        ask_for(e, sim_below(TOPICS), sim_below(3) == 0);
        return;
    }
    sim_sleep((int64_t) sim_below(100) * SIM_MS);
    for (unsigned i = 0; i < TOPICS; i++)
        if (i != (unsigned) e->id % TOPICS)
            ask_for(e, i, e->narrow);
    e->narrow = !e->narrow;
    if (e->waits != IN_CALLS) { /* it goes to its loop, after the I/O thread's last look perhaps */
        e->waits_before = 0;
        sim_sleep((int64_t) sim_below(100) * SIM_MS);
    }
}

int await(end *e, short events)
{
    int64_t time = (int64_t) (1 + sim_below(200)) * SIM_MS;
    bool polls = sim_below(2) || e->waits != IN_CALLS; /* the descriptor is the loop's alone */
    int rc;
    if (polls) {
        zm_pollitem item = {.socket = e->handle, .fd = -1, .events = events};
        rc = app_poll(&item, 1, time);
        return rc < 0 ? rc : 0;
    }
    rc = loop_wait(e, events, sim_clock + time);
    return rc == -EAGAIN ? 0 : rc;
}

static int receive(end *e, arrival *a)
{
    int rc;
    mind_the_hush();
    if (loop_waits(e)) {
        rc = loop_recv(e, a);
    } else if (sim_below(3) == 0) {
        rc = await(e, ZM_POLLIN);
        if (rc < 0)
            return rc;
        rc = app_recv(e, ZM_DONTWAIT, a);
    } else {
        rc = app_recv(e, 0, a);
    }
    if (rc == 0)
        progress++;
    return rc;
}

/* EVENTS knows not of the one peer that a message is for, and not of NODROP. */
static bool is_told_of_room(const end *e)
{
    return e->type != T_ROUTER && !e->nodrop;
}

static int transmit(end *e, const arrival *to)
{
    uint32_t number;
    int rc, flags = 0;
    if (is_told_of_room(e) && loop_waits(e)) {
        rc = loop_send(e, to);
    } else {
        if (sim_below(4) == 0) {
            if (sim_below(2) && (rc = await(e, ZM_POLLOUT)) < 0)
                return rc;
            flags = ZM_DONTWAIT;
        }
        rc = app_send(e, to, flags, &number);
    }
    if (rc == 0)
        progress++;
    return rc;
}

/* --- what a thread does with its socket ------------------------------------------------------ */

static bool may_send(const end *e)
{
    return e->budget && now == LIVE;
}

/* One turn of a socket of its type. 0, or -errno. */
static int turn(end *e, arrival *a)
{
    int rc = 0;
    switch (e->type) {
    case T_REQ:
        if (!may_send(e)) {
            sim_sleep(20 * SIM_MS);
            return 0;
        }
        e->budget--;
        rc = transmit(e, NULL);
        if (rc == 0 || rc == -EFSM)
            do
                rc = receive(e, a);
            while (rc == -EAGAIN && !e->relaxed && now != CLOSING);
        return rc;
    case T_REP:
        rc = receive(e, a);
        if (rc == 0) {
            a->routes = 0; /* REP keeps them itself */
            rc = transmit(e, a);
        }
        return rc;
    case T_ROUTER:
        rc = receive(e, a);
        if (rc == 0 && a->routes && sim_below(3))
            rc = transmit(e, a);
        return rc == -EHOSTUNREACH ? 0 : rc;
    default:
        break;
    }
    if (e->sends && may_send(e) && (!e->receives || sim_below(2))) {
        int burst = sim_below(e->of->publishes ? 3 : 6) ? 1 : 1 + (int) sim_below(20);
        while (burst-- && may_send(e) && rc == 0) {
            arrival empty = {.routes = 1, .foreign = true};
            bool for_rep = e->type == T_DEALER && ends[e->of->first_end].type == T_REP;
            e->budget--;
            rc = transmit(e, for_rep ? &empty : NULL);
        }
        return rc;
    }
    if (e->receives)
        return receive(e, a);
    sim_sleep(20 * SIM_MS);
    return 0;
}

static void *live(void *argument)
{
    end *e = argument;
    arrival *a = malloc(sizeof *a);
    bool moves = sim_less(1, 0, "moves%d", e->id);
    bool leaves = sim_less(churn, 0, "leaves%d", e->id);
    bool may_fork = sim_less(1, 0, "parent%d", e->id);
    bool counted = e->sends && e->budget && !e->intrusion;
    if (sim_below(2))
        sim_sleep((int64_t) sim_below(30) * SIM_MS);
    while (!e->open && !e->failed)
        sim_sleep(SIM_MS);
    while (!e->failed && now != CLOSING) {
        int rc = turn(e, a);
        if (ended(rc))
            break;
        if (leaves && sim_below(400) == 0) {
            e->of->disturbed = true;
            sim_say("socket %d: the program leaves", e->id);
            break;
        }
        if (counted && !may_send(e)) {
            counted = false;
            working--;
        }
        if (e->sharers == 1 && sim_below(100) == 0 && moves) {
            e->moved = true;
            counted = false; /* whoever takes it over counts it */
            sim_say("socket %d: its thread ends", e->id);
            break;
        }
        if ((e->type == T_SUB || e->type == T_XSUB) && !e->of->conflates
            && sim_below(e->fickle ? 5 : 60) == 0)
            think_again(e);
        if (e->sharers > 1 && e->sndhwm && e->sndhwm < 1000 && sim_below(40) == 0)
            raise_mark(e);
        if (may_fork && forks && sim_below(100) == 0) {
            forks--;
            app_fork(e);
        }
        app_memory();
        think();
    }
    if (counted)
        working--;
    free(a);
    return NULL;
}

static void *lead(void *argument)
{
    ((end *) argument)->looper = sim_current;
    return live(argument);
}

void *own(void *argument)
{
    end *e = argument;
    loop_draw(e); /* what is drawn after it is drawn anew: all else stays as it was */
    if (e->type == T_STREAM)
        return own_stream(e);
    sim_thread *others[4];
    sim_draw_from((uint64_t) e->id);
    sim_sleep((int64_t) sim_below(50) * SIM_MS);
    int rc = open_end(e);
    if (rc < 0) {
        e->failed = e->of->disturbed = true;
        return NULL;
    }
    loop_open(e);
    int early = e->binder ? 0 : (int) sim_below(4) == 0; /* messages before the connect */
    uint32_t number;
    if (early && e->type == T_PUSH)
        app_send(e, NULL, ZM_DONTWAIT, &number);
    for (int i = 1; i < e->sharers; i++)
        others[i] = sim_spawn("shares", e->host, false, live, e);
    if (e->sharers > 1 && sim_below(2)) /* the others wait, and this one finds the peers */
        sim_sleep((int64_t) sim_below(100) * SIM_MS);
    rc = attach_end(e);
    if (rc < 0)
        e->of->disturbed = true;
    bool elsewhere = sim_below(2);
    do {
        e->moved = false;
        if (elsewhere)
            sim_join(sim_spawn("app", e->host, false, lead, e));
        else
            lead(e);
    } while (e->moved);
    for (int i = 1; i < e->sharers; i++)
        sim_join(others[i]);
    if (now != CLOSING && !e->receives && sim_below(2))
        sim_say("socket %d: closes before the rest", e->id); /* what it has sent still arrives */
    else
        while (now != CLOSING)
            sim_sleep(20 * SIM_MS);
    close_end(e);
    return NULL;
}

/* --- two sockets of one thread --------------------------------------------------------------- */

static group doors;

static bool heard_of(const end *e)
{
    return ends[e->of->first_end].got[e->id] > 0;
}

/* What leaves must leave in order where the kernel takes all that it is given. */
static bool kernel_takes_all(void)
{
    return !PLAN->shorts && !PLAN->stray && !PLAN->no_memory && !PLAN->no_files
           && PLAN->sndbuf >= 128 * 1024;
}

/* Sends on both, to and fro; not so often that batching goes before order (socket/transfer.c). */
void *own_doors(void *argument)
{
    end *pair[DOORS] = {argument, (end *) argument + 2}; /* its service's hub is between */
    uint32_t number;
    bool well = true;
    for (int i = 0; i < DOORS; i++)
        well &= open_end(pair[i]) == 0 && attach_end(pair[i]) == 0;
    for (int i = 0; well && i < DOORS; i++)
        well &= app_send(pair[i], NULL, 0, &number) == 0;
    while (well && now == LIVE && !(heard_of(pair[0]) && heard_of(pair[1])))
        sim_sleep(5 * SIM_MS);
    doors.watched = well && kernel_takes_all();
    for (int turns = 0; well && now == LIVE && turns < 60; turns++) {
        end *e = pair[sim_below(DOORS)];
        for (int burst = 1 + (int) sim_below(4); burst && well; burst--)
            well &= app_send(e, NULL, sim_below(2) ? ZM_DONTWAIT : 0, &number) == 0;
        if (turns % RETURNS_IN_A_ROW == 0 || sim_below(4) == 0)
            sim_sleep((int64_t) (300 + sim_below(2000)) * SIM_US);
    }
    working--;
    while (now != CLOSING)
        sim_sleep(20 * SIM_MS);
    for (int i = 0; i < DOORS; i++)
        close_end(pair[i]);
    return NULL;
}

void draw_doors(void)
{
    int sender = (int) sim_below((uint32_t) host_total);
    for (int i = 0; i < DOORS; i++) {
        service *of = &services[service_total];
        *of = (service) {.id = service_total++, .first_end = end_total, .end_count = 2};
        int host = sim_below(3) ? sender : (int) sim_below((uint32_t) host_total);
        if (sim_below(3) == 0 && host == sender)
            snprintf(of->endpoint, sizeof of->endpoint, "ipc:///simulated/s%d", of->id);
        else
            snprintf(of->endpoint, sizeof of->endpoint, "tcp://10.0.0.%d:%d", host, 7000 + of->id);
        of->remote = host != sender;
        for (int side = 0; side < 2; side++) {
            end *e = &ends[end_total];
            *e = (end) {.id = end_total++, .of = of, .sharers = 1};
            draw_options(e);
            e->type = side ? T_PUSH : T_PULL;
            e->binder = e->receives = side == 0;
            e->sends = side == 1;
            e->host = side ? sender : host;
            e->sndhwm = e->rcvhwm = 0;
            e->group = side ? &doors : NULL;
            infinite |= e->rcvtimeo < 0 || e->sndtimeo < 0;
            sim_say("socket %d: type %d of doors on host %d, %s", e->id, e->type, e->host,
                    of->endpoint);
        }
    }
}
