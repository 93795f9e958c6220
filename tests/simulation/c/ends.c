/* A socket of the workload: its options, from the seed, its making and its close. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>

#include "base/errors.h"
#include "workload.h"

void set_option(end *e, int option, int value)
{
    int rc = zm_socket_set(e->handle, option, &value, sizeof value);
    if (rc < 0 && rc != -ETERM && rc != -ENOTSOCK && rc != -ENOMEM)
        sim_broken("options are taken", "socket %d of type %d: option %d = %d: %d", e->id, e->type,
                   option, value, rc);
}

void ask_for(end *e, unsigned topic, bool wanted)
{
    uint8_t command[] = {wanted, (uint8_t) ('A' + topic)};
    int rc;
    if (wanted)
        e->topics_ever |= (uint8_t) (1 << topic);
    else
        e->topics_always &= (uint8_t) ~(1 << topic);
    do
        rc = e->type == T_XSUB ? zm_socket_send(e->handle, command, sizeof command, 0)
                               : zm_socket_set(e->handle, wanted ? OPT_SUBSCRIBE : OPT_UNSUBSCRIBE,
                                               command + 1, 1);
    while (rc == -ENOMEM || rc == -EINTR);
}

static void ask_for_all(end *e)
{
    e->topics_ever = (1 << TOPICS) - 1;
    zm_socket_set(e->handle, OPT_SUBSCRIBE, "", 0);
}

static void draw_topics(end *e)
{
    if (e->type != T_SUB && e->type != T_XSUB)
        return;
    if (e->type == T_SUB && (e->of->conflates || e->of->bursts || (!e->fickle && sim_below(2)))) {
        ask_for_all(e);
        e->topics_always = e->topics_ever;
        return;
    }
    e->topics_always = (1 << TOPICS) - 1;
    for (unsigned i = 0; i < TOPICS; i++)
        if (e->of->conflates || sim_below(3))
            ask_for(e, i, true);
    e->topics_always = e->topics_ever;
}

void draw_options(end *e)
{
    static const int marks[] = {1, 2, 3, 10, 100, 1000, 0, 0};
    e->sndhwm = marks[sim_below(8)];
    e->rcvhwm = marks[sim_below(8)];
    e->linger = -1;
    e->rcvtimeo = sim_below(3) ? (int) (1 + sim_below(100)) : -1;
    e->sndtimeo = sim_below(3) ? (int) (1 + sim_below(100)) : -1;
    e->mandatory = e->type == T_ROUTER && sim_below(2);
    e->relaxed = e->type == T_REQ && sim_below(2);
    e->fickle = (e->type == T_SUB || e->type == T_XSUB) && sim_below(2);
    if (e->fickle) {
        e->rcvhwm = sim_below(2) ? 1 : 1 + (int) sim_below(3);
        e->rcvtimeo = sim_below(2) ? -1 : e->rcvtimeo; /* who waits without an end is not helped */
    }
    e->nodrop = e->type == T_XPUB && sim_below(2);
    e->conflate = e->of->conflates && sim_below(4);
}

/* Has this socket the option of that name? */
static bool some_of(uint32_t n, const char *name, const end *e)
{
    return sim_less(sim_below(n) == 0, 0, "%s%d", name, e->id);
}

int open_end(end *e)
{
    int64_t handle = zm_socket_new(contexts[e->host], e->type);
    if (handle < 0)
        return (int) handle;
    e->handle = handle;
    e->socket = api->socket_find(handle, &e->generation);
    int rc = security_apply(e);
    if (rc < 0) {
        zm_socket_close(handle);
        return rc;
    }
    set_option(e, OPT_SNDHWM, e->sndhwm);
    set_option(e, OPT_RCVHWM, e->rcvhwm);
    set_option(e, OPT_LINGER, e->linger);
    set_option(e, OPT_RCVTIMEO, e->rcvtimeo);
    set_option(e, OPT_SNDTIMEO, e->sndtimeo);
    if (e->mandatory)
        set_option(e, OPT_ROUTER_MANDATORY, 1);
    if (e->relaxed) {
        set_option(e, OPT_REQ_RELAXED, 1);
        set_option(e, OPT_REQ_CORRELATE, 1);
    }
    if (e->nodrop)
        set_option(e, OPT_XPUB_NODROP, 1);
    if (e->conflate)
        set_option(e, OPT_CONFLATE, 1);
    if ((e->type == T_PUB || e->type == T_XPUB) && some_of(4, "verbose", e))
        set_option(e, OPT_XPUB_VERBOSE, 1);
    if (e->type == T_ROUTER && some_of(4, "handover", e))
        set_option(e, OPT_ROUTER_HANDOVER, 1);
    if (e->type == T_DEALER && ends[e->of->first_end].type == T_ROUTER && some_of(4, "probe", e))
        set_option(e, OPT_PROBE_ROUTER, 1);
    if (some_of(4, "named", e) || e->of->bursts) {
        char id[8];
        int size = snprintf(id, sizeof id, "end%d", e->id);
        zm_socket_set(e->handle, OPT_ROUTING_ID, id, (size_t) size);
    }
    if (some_of(8, "handshake", e))
        set_option(e, OPT_HANDSHAKE_IVL, 5000 + (int) sim_below(60000));
    if (some_of(4, "backlog", e))
        set_option(e, OPT_BACKLOG, 1 + (int) sim_below(10));
    e->immediate = some_of(8, "immediate", e) && !e->conflate;
    if (e->immediate)
        set_option(e, OPT_IMMEDIATE, 1);
    if (some_of(4, "reconnect", e)) {
        set_option(e, OPT_RECONNECT_IVL, 1 + (int) sim_below(50));
        set_option(e, OPT_RECONNECT_IVL_MAX, (int) sim_below(2) * 200);
    }
    if (e->of->slow && e->sends) { /* readers that say nothing by themselves */
        set_option(e, OPT_HEARTBEAT_IVL, 100 + (int) sim_below(200));
        set_option(e, OPT_HEARTBEAT_TIMEOUT,
                   (int) (4 * (PLAN->latency + PLAN->jitter) / SIM_MS) + 1000);
    } else if (!e->of->slow && !e->of->bursts && some_of(6, "heartbeats", e)) {
        set_option(e, OPT_HEARTBEAT_IVL, 20 + (int) sim_below(500));
        if (sim_below(2))
            set_option(e, OPT_HEARTBEAT_TIMEOUT, 500 + (int) sim_below(2000));
        if (sim_below(2))
            set_option(e, OPT_HEARTBEAT_TTL, 1000 + (int) sim_below(5000));
        e->of->beats = true;
    }
    draw_topics(e);
    e->open = true;
    return 0;
}

int attach_end(end *e)
{
    int rc;
    char where[sizeof e->of->endpoint];
    snprintf(where, sizeof where, "%s", e->of->endpoint);
    if (e->binder && e->of->by_name) /* whatever its host's address is */
        snprintf(where, sizeof where, "tcp://*:%d", 7000 + e->of->id);
    for (int tries = 0; tries < 50; tries++) {
        rc = e->binder ? zm_socket_bind(e->handle, where) : zm_socket_connect(e->handle, where);
        if (rc != -EMFILE && rc != -EINTR && rc != -ENOMEM)
            break;
        sim_sleep(SIM_MS);
    }
    e->attached = rc == 0;
    sim_say("socket %d: %s %s: %d", e->id, e->binder ? "bind" : "connect", where, rc);
    return rc;
}

void close_end(end *e)
{
    if (!e->open)
        return;
    law_connections_last(e);
    loop_close(e);
    e->open = false;
    sim_say("socket %d: close", e->id);
    bool unsure = churn || killings || PLAN->no_files || PLAN->no_memory || e->intrusion;
    if (now != CLOSING && (unsure || (e->type != T_PUSH && e->type != T_PUB)))
        set_option(e, OPT_LINGER, 20000); /* who it was for may not be there */
    int rc = zm_socket_close(e->handle);
    if (rc < 0)
        sim_broken("a socket closes", "socket %d: %d", e->id, rc);
    while (e->pipe_count)
        api->metadata_unref(e->pipes[--e->pipe_count]);
}
