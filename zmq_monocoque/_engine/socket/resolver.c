/* Names of hosts, looked up by a few threads of the process's own: a name server may take its time,
 * and nobody waits for it. A thread is started when there is something to look up, and ends when
 * there is nothing left.
 *
 * One lock for all of it; it is taken last, but for an I/O thread's. */
#include "resolver.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../context/io_thread.h"
#include "../context/process.h"
#include "../driver/address.h"
#include "socket.h"
#include "wakeup.h"

enum { THREADS_MAX = 4 };

/* A name that is being looked up. Freed by the command that tells the result. If its owner let go
 * of it before: at once if it is still in the queue, else by the thread that looks it up. */
struct zm_resolution {
    zm_list link; /* queue, until a thread takes it */
    zm_command command;
    zm_socket *socket;
    void *owner;
    zm_resolved *done; /* NULL: nobody waits any more */
    zm_address address;
    bool ipv6;
    int result;
};

static zm_lock lock;
ZM_GUARDED_BY(lock) static zm_list queue = {&queue, &queue};
ZM_GUARDED_BY(lock) static int threads;

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
        bool wanted = r->done != NULL;
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

static void tell(zm_socket *s, zm_command *command)
{
    zm_resolution *r = ZM_CONTAINER(command, zm_resolution, command);
    (void) s;
    zm_lock_take(&lock); /* waits for the thread to be out of it */
    zm_resolved *done = r->done;
    zm_lock_give(&lock);
    if (done)
        done(r->owner, &r->address, r->result);
    zm_free(r);
}

int zm_resolution_start(zm_socket *s, const zm_address *address, bool ipv6, void *owner,
                        zm_resolved *done, zm_resolution **out_resolution)
{
    ZM_POISON(out_resolution);
    zm_resolution *r = zm_calloc(sizeof *r);
    if (!r)
        return -ENOMEM;
    r->socket = s;
    r->owner = owner;
    r->done = done;
    r->address = *address;
    r->ipv6 = ipv6;
    r->command = (zm_command){.run = tell};
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
    *out_resolution = r;
    return 0;
}

void zm_resolution_drop(zm_resolution *taken)
{
    if (!taken)
        return;
    zm_lock_take(&lock);
    taken->done = NULL;
    bool in_queue = zm_list_linked(&taken->link);
    zm_list_remove(&taken->link);
    zm_lock_give(&lock);
    if (in_queue)
        zm_free(taken);
}

/* There is no other thread then. */
void zm_resolver_after_fork(void) ZM_LOCKS_UNCHECKED
{
    atomic_store(&lock.word, 0);
    zm_list_init(&queue);
    threads = 0;
}
