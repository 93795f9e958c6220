/* Names of hosts, looked up by a few threads of the process's own: a name server may take its time,
 * and nobody waits for it. A thread is started when there is something to look up, and ends when
 * there is nothing left.
 *
 * One lock for all of it; it is taken last, but for an I/O thread's. */
#include "internal.h"

#include <signal.h>

enum { THREADS_MAX = 4 };

/* Freed by whoever comes last: the command that tells the result, or, when the endpoint went first,
 * the one who let go, or the thread that has it in hand. */
struct zm_resolution {
    zm_list link; /* queue, until a thread takes it */
    zm_command command;
    zm_socket *socket;
    zm_endpoint *endpoint; /* NULL: nobody waits any more */
    zm_address address;
    bool ipv6;
    int result;
};

static zm_lock lock;
static zm_list queue = {&queue, &queue};
static int threads;

/* The next one to look up. NULL: there is none, and the calling thread counts no more. */
static zm_resolution *take_next(void)
{
    zm_resolution *r = NULL;
    zm_lock_take(&lock);
    if (zm_list_empty(&queue)) {
        threads--;
    } else {
        r = ZM_CONTAINER(queue.next, zm_resolution, link);
        zm_list_remove(&r->link);
    }
    zm_lock_give(&lock);
    return r;
}

static void *resolve_all(void *unused)
{
    zm_resolution *r;
    (void) unused;
    while ((r = take_next())) {
        int rc = zm_address_resolve(&r->address, r->ipv6);
        zm_lock_take(&lock);
        r->result = rc;
        bool wanted = r->endpoint != NULL;
        if (wanted) {
            zm_socket_post(r->socket, &r->command);
            zm_io_thread_look(r->socket, zm_now_ns()); /* the application may be away */
        }
        zm_lock_give(&lock);
        if (!wanted)
            zm_free(r);
    }
    atomic_fetch_sub(&zm_live_threads, 1);
    return NULL;
}

static int start_thread(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_fetch_add(&zm_live_threads, 1);
    int rc = -pthread_create(&thread, &detached, resolve_all, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
    if (rc < 0)
        atomic_fetch_sub(&zm_live_threads, 1);
    return rc;
}

int zm_resolution_start(zm_endpoint *ep, const zm_address *address)
{
    zm_resolution *r = zm_calloc(sizeof *r);
    if (!r)
        return -ENOMEM;
    r->socket = ep->socket;
    r->endpoint = ep;
    r->address = *address;
    r->ipv6 = ep->options.tuning.ipv6;
    r->command = (zm_command){.kind = ZM_COMMAND_RESOLVED, .owner = r};
    zm_lock_take(&lock);
    int rc = 0;
    if (threads < THREADS_MAX && (rc = start_thread()) == 0)
        threads++;
    bool served = threads > 0;
    if (served)
        zm_list_append(&queue, &r->link);
    zm_lock_give(&lock);
    if (!served) {
        zm_free(r);
        return rc;
    }
    ep->resolution = r;
    return 0;
}

void zm_resolution_drop(zm_endpoint *ep)
{
    zm_resolution *r = ep->resolution;
    if (!r)
        return;
    ep->resolution = NULL;
    zm_lock_take(&lock);
    r->endpoint = NULL;
    bool in_queue = zm_list_linked(&r->link);
    zm_list_remove(&r->link);
    zm_lock_give(&lock);
    if (in_queue)
        zm_free(r);
}

zm_endpoint *zm_resolution_end(zm_resolution *taken, zm_address *out_address, int *out_result)
{
    zm_lock_take(&lock); /* waits for the thread to be out of it */
    zm_endpoint *ep = taken->endpoint;
    zm_lock_give(&lock);
    *out_address = taken->address;
    *out_result = taken->result;
    zm_free(taken);
    if (ep)
        ep->resolution = NULL;
    return ep;
}

void zm_resolver_after_fork(void)
{
    atomic_store(&lock.word, 0);
    zm_list_init(&queue);
    threads = 0;
}
