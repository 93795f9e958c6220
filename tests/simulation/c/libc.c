/* The rest of what base/world.h lists: time, chance, threads, names, the process. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "sim.h"

/* What matters to nobody here, whatever it is called with. */
#define NOTHING(name) \
    int __wrap_##name() \
    { \
        return 0; \
    }

NOTHING(pthread_attr_init)
NOTHING(pthread_attr_destroy)
NOTHING(pthread_attr_setdetachstate)
NOTHING(pthread_sigmask)
NOTHING(pthread_setaffinity_np)
NOTHING(pthread_setschedparam)
NOTHING(setpriority)
NOTHING(mlock)
NOTHING(madvise)
NOTHING(prctl) /* no sandbox */
NOTHING(waitpid)

void (*sim_atfork_child)(void);

int __wrap___register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                             void *of)
{
    (void) prepare;
    (void) parent;
    (void) of;
    sim_atfork_child = child;
    return 0;
}

/* --- clock and chance ------------------------------------------------------------------------ */

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    (void) clock;
    sim_clock += 20;
    *out = (struct timespec) {sim_clock / SIM_S, sim_clock % SIM_S};
    return 0;
}

ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags)
{
    (void) flags;
    for (size_t i = 0; i < size; i++)
        ((uint8_t *) out)[i] = (uint8_t) (sim_random() >> 24);
    return (ssize_t) size;
}

/* --- threads --------------------------------------------------------------------------------- */

long __wrap_syscall(long number, ...)
{
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_gettid)
        return sim_current ? 100 + sim_current->id : 100;
    sim_syscall();
    long rc = -ENOSYS;
    if (number == SYS_futex)
        rc = sim_futex((uint32_t *) a[0], (int) a[1], (uint32_t) a[2], (void *) a[3]);
#ifdef SYS_epoll_pwait2
    else if (number == SYS_epoll_pwait2 && PLAN->driver != 2)
        rc = sim_epoll_pwait2((int) a[0], (void *) a[1], (int) a[2], (void *) a[3]);
#endif
    return sim_answer((int) rc);
}

pid_t __wrap_gettid(void)
{
    return 100 + sim_current->id;
}

uintptr_t zm_world_thread_mark(void)
{
    return (uintptr_t) (sim_current ? 100 + sim_current->id : 100);
}

void zm_world_relax(void)
{
    sim_step();
}

/* Steps of the thread's own, so that those who run meanwhile do not count. */
enum { LOCKED_STEPS_MAX = 100000, LOCKED_STEPS_A_HOST = 50 };

void zm_world_took(const void *lock)
{
    (void) lock;
    if (sim_current && sim_current->locks++ == 0)
        sim_current->locked_at = sim_current->steps;
}

void zm_world_gives(const void *lock)
{
    (void) lock;
    if (!sim_current || --sim_current->locks)
        return;
    uint64_t steps = sim_current->steps - sim_current->locked_at;
    if (steps > TALLY->locked_most)
        TALLY->locked_most = steps;
    if (steps > LOCKED_STEPS_MAX + LOCKED_STEPS_A_HOST * (uint64_t) PLAN->hosts)
        sim_broken("work under a lock is bounded", "%llu steps", (unsigned long long) steps);
}

int __wrap_sched_getaffinity(pid_t who, size_t size, cpu_set_t *out)
{
    (void) who;
    memset(out, 0, size);
    for (int i = 0; i < PLAN->cpus; i++)
        CPU_SET((size_t) i, out);
    return 0;
}

int __wrap_sched_yield(void)
{
    sim_syscall();
    sim_yield();
    sim_run_task_work();
    return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    (void) left;
    sim_syscall();
    sim_sleep(time->tv_sec * SIM_S + time->tv_nsec);
    sim_run_task_work();
    return 0;
}

static void (*destructor)(void *);

int __wrap_pthread_key_create(pthread_key_t *key, void (*end)(void *))
{
    *key = 0;
    destructor = end;
    return 0;
}

int __wrap_pthread_setspecific(pthread_key_t key, const void *value)
{
    (void) key;
    sim_current->specific = (void *) (uintptr_t) value;
    return 0;
}

void sim_thread_ends(sim_thread *t)
{
    void *value = t->specific;
    t->specific = NULL;
    if (value && destructor)
        destructor(value);
    sim_thread_left_rings(t);
}

int __wrap_pthread_once(pthread_once_t *once, void (*run)(void))
{
    if (*once == PTHREAD_ONCE_INIT) {
        *once = PTHREAD_ONCE_INIT + 1;
        run();
    }
    return 0;
}

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes,
                          void *(*entry)(void *), void *argument)
{
    (void) attributes;
    sim_syscall();
    if (sim_chance(PLAN->no_files))
        return EAGAIN;
    /* Those without an argument look up names, for all. */
    int host = argument || PLAN->apart ? sim_current->host : SIM_NO_HOST;
    sim_thread *t = sim_spawn("engine", host, true, entry, argument);
    *out = (pthread_t) t;
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **out)
{
    (void) out;
    sim_syscall();
    sim_join((sim_thread *) thread);
    sim_run_task_work();
    return 0;
}

pthread_t __wrap_pthread_self(void)
{
    return (pthread_t) sim_current;
}

int __wrap_pthread_setname_np(pthread_t t, const char *name)
{
    ((sim_thread *) t)->name = strdup(name);
    return 0;
}

int __wrap_pthread_getschedparam(pthread_t t, int *policy, struct sched_param *p)
{
    (void) t;
    *policy = 0;
    memset(p, 0, sizeof *p);
    return 0;
}

/* --- names ----------------------------------------------------------------------------------- */

/* "hostN", and numbers. A name takes its time, and may not be found at first. */
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **out)
{
    (void) service;
    struct sockaddr_in *in = calloc(1, sizeof *in);
    in->sin_family = AF_INET;
    sim_syscall();
    if (inet_pton(AF_INET, node, &in->sin_addr) != 1) {
        if (hints && hints->ai_flags & AI_NUMERICHOST)
            return EAI_NONAME;
        sim_sleep(sim_below(200) * SIM_MS);
        if (strncmp(node, "host", 4) || sim_below(4) == 0)
            return EAI_AGAIN;
        in->sin_addr.s_addr = htonl(sim_host_address_told(atoi(node + 4)));
    }
    struct addrinfo *info = calloc(1, sizeof *info);
    info->ai_family = AF_INET;
    info->ai_addr = (struct sockaddr *) in;
    info->ai_addrlen = sizeof *in;
    *out = info;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *taken)
{
    free(taken->ai_addr);
    free(taken);
}

int __wrap_getnameinfo(const struct sockaddr *address, socklen_t size, char *host, socklen_t room,
                       char *service, socklen_t service_room, int flags)
{
    (void) size;
    (void) service;
    (void) service_room;
    (void) flags;
    return inet_ntop(AF_INET, &((const struct sockaddr_in *) address)->sin_addr, host, room)
               ? 0 : EAI_FAMILY;
}

int __wrap_getifaddrs(struct ifaddrs **out)
{
    *out = NULL;
    return 0;
}

void __wrap_freeifaddrs(struct ifaddrs *taken)
{
    (void) taken;
}

NOTHING(if_nametoindex)

/* Only signals need one, and nobody heeds them here. */
int __wrap_pipe2(int *ends, int flags)
{
    (void) ends;
    (void) flags;
    return sim_answer(-EMFILE);
}

/* --- the process ----------------------------------------------------------------------------- */

char *__wrap_getenv(const char *name)
{
    (void) name;
    return NULL;
}

long __wrap_sysconf(int what)
{
    return what == _SC_NPROCESSORS_ONLN ? PLAN->cpus : 4096;
}
