/* A program that forks. The child is a process of the system's, with a copy of this whole world in
 * it, in which only the thread that forked runs on: what the others were in the middle of stays as
 * it was. There the engine has to be usable, and nothing of the parent's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "base/errors.h"

enum { MESSAGES = 20 };

extern void (*sim_atfork_child)(void);

static void must(bool holds, const char *what, long rc)
{
    if (!holds)
        sim_broken("a child of a fork has an engine of its own", "%s: %ld", what, rc);
}

static void nothing_is_inherited(const end *e)
{
    int rc = api->send(e->socket, e->generation, "x", 1, 0);
    must(rc == -ENOTSOCK, "send on the parent's socket", rc);
    rc = zm_socket_close(e->handle);
    must(rc == -ENOTSOCK, "close of the parent's socket", rc);
}

static void talk(const char *endpoint)
{
    zm_counts before, after;
    int limit = 60000;
    zm_counts_get(&before);
    int64_t context = zm_context_new(1);
    must(context >= 0, "a context", context);
    int64_t pull = zm_socket_new(context, T_PULL), push = zm_socket_new(context, T_PUSH);
    must(pull >= 0 && push >= 0, "sockets", pull < 0 ? pull : push);
    zm_socket_set(pull, OPT_RCVTIMEO, &limit, sizeof limit);
    zm_socket_set(push, OPT_SNDTIMEO, &limit, sizeof limit);
    int rc = zm_socket_bind(pull, endpoint);
    must(rc == 0, "bind", rc);
    rc = zm_socket_connect(push, endpoint);
    must(rc == 0, "connect", rc);
    for (int sent = 0, read = 0; read < MESSAGES;) {
        char text[16], got[16];
        if (sent < MESSAGES && sim_below(2)) {
            int size = snprintf(text, sizeof text, "%d", sent++);
            do
                rc = zm_socket_send(push, text, (size_t) size, 0);
            while (rc == -EINTR);
            must(rc >= 0, "send", rc);
        } else if (read < sent) {
            int size = snprintf(text, sizeof text, "%d", read++);
            do
                rc = zm_socket_recv(pull, got, sizeof got, 0);
            while (rc == -EINTR);
            must(rc == size && !memcmp(text, got, (size_t) size), "recv", rc);
        }
    }
    must(zm_socket_close(push) == 0 && zm_socket_close(pull) == 0, "close", 0);
    do
        rc = zm_context_term(context, limit);
    while (rc == -EINTR);
    must(rc == 0, "term", rc);
    sim_sleep(2 * SIM_S);
    zm_counts_get(&after);
    must(after.blocks == before.blocks && !after.sockets && !after.contexts && !after.connections
             && !after.in_flight && !after.threads,
         "what is alive at its end", (long) (after.blocks - before.blocks));
}

static void live_on(const end *e)
{
    char endpoint[64];
    sim_only_this_thread();
    PLAN->reset = PLAN->refuse = PLAN->drop = PLAN->stalls = 0;
    PLAN->stray = PLAN->no_files = PLAN->no_memory = 0;
    zm_alloc_fail_after(-1);
    sim_atfork_child();
    nothing_is_inherited(e);
    static const char *const names[] = {"inproc://child", "ipc:///simulated/child"};
    snprintf(endpoint, sizeof endpoint, "tcp://10.0.0.%d:9000", e->host);
    uint32_t way = sim_below(3);
    talk(way < 2 ? names[way] : endpoint);
}

void app_fork(const end *e)
{
    int status = 0;
    sim_say("socket %d: its program forks", e->id);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        live_on(e);
        _exit(0);
    }
    if (wait4(child, &status, 0, NULL) != child || status == 0)
        return;
    if (WIFSIGNALED(status))
        sim_broken("a child of a fork has an engine of its own", "signal %d", WTERMSIG(status));
    _exit(3); /* it has said what is broken */
}
