/* The simulated world: threads that take turns, a clock that nobody waits for, a kernel of
 * descriptors, sockets and rings, a network of hosts. All of it runs in one thread of the system,
 * and all that is left to chance comes from one seed.
 *
 * Nothing here is compiled with the engine's stdatomic.h: what the world does itself is no point at
 * which another thread runs, unless it says sim_step() or blocks. */
#ifndef SIM_H
#define SIM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_US 1000LL
#define SIM_MS 1000000LL
#define SIM_S 1000000000LL
#define SIM_NEVER INT64_MAX
#define SIM_NO_HOST (-1) /* what is the process's, and of no program in it */

/* --- chance: sched.c ------------------------------------------------------------------------- */
/* Of the world. What threads do draws from what is theirs, so that one who is left out of a run
 * changes as little as can be for the others. */
uint64_t sim_random(void);
uint32_t sim_below(uint32_t n); /* 0 .. n-1; n > 0 */
bool sim_chance(uint32_t of_a_million); /* a fault, and a choice: see below */
/* Of the workload: the same, whatever the world's chance is. app.h has its files use these. */
uint32_t sim_draw_below(uint32_t n);
bool sim_draw_chance(uint32_t of_a_million);
/* From here on this thread draws what has this number. */
void sim_draw_from(uint64_t number);

/* --- less of it: less.c ---------------------------------------------------------------------- */
/* `value`, or what --less says of that name where it is less; never less than `least`. */
uint32_t sim_less(uint32_t value, uint32_t least, const char *name, ...)
    __attribute__((format(printf, 3, 4)));
void sim_have_less(const char *argument);
void sim_tell_drawn(void); /* "DRAWN name=value/least", as it is drawn */
/* Choices: 'p', at its step `number` a thread makes way for thread `to`; 'n', at its wait `number`
 * `to` is the next, and not who could run first; 'f', fault `number` of a thread (0: the net's). */
void sim_record_to(const char *path);
void sim_note_choice(char kind, int thread, uint64_t number, int to);
bool sim_replays(void);
/* Where sim_replays(): `to`, or -1. */
int sim_chosen(char kind, int thread, uint64_t number);

/* --- time and threads: sched.c --------------------------------------------------------------- */
typedef struct sim_thread sim_thread;
struct sim_work; /* a ring's task work, of the thread that submitted it: ring.c */

struct sim_thread {
    const char *name;
    int id, host;
    bool engines;   /* started by the engine, which blocks signals there */
    bool runnable, done;
    bool stopped;     /* with its host: it does not run, whatever it could do */
    bool by_key;      /* the last block ended by sim_wake_key() */
    int64_t deadline;  /* while it is blocked; SIM_NEVER: none */
    bool timed_out;    /* how the last block ended */
    const void *key;   /* what it is blocked on */
    sim_thread *key_next, *key_prev; /* of those that are blocked on it, or on one like it */
    int64_t ready_at, starts_at; /* PLAN->apart: it can run; and its host's processor is free */
    const char *doing; /* the call of the engine that it is in, for a person; NULL: none */
    int64_t doing_since;
    void *doing_object; /* of the workload */
    struct sim_work *work, *work_last;
    uint32_t priority;
    int locks; /* that it holds */
    uint64_t calls, calls_before; /* of the system; before a law began to count */
    uint64_t steps, locked_at; /* its own; and when it took the first of them */
    uint64_t waits, faults;    /* its own */
    uint64_t chance[4], draws[4]; /* states of chance: the world's, and the workload's */
    void *(*entry)(void *);
    void *argument, *result;
    void *specific;
    void *stack;
    void *local; /* its copy of the thread-local section */
    int saved_errno;
    struct sim_thread *next;
};

extern sim_thread *sim_current, *sim_threads;
extern int64_t sim_clock;
extern uint64_t sim_steps;

/* For the plan; then, with it, for the world. The same `luck` is the same run. */
void sim_init(uint64_t seed);
void sim_begin(uint64_t seed, uint64_t luck);
/* Runs `entry` as the first thread until it returns. */
void sim_run(void *(*entry)(void *), void *argument);
sim_thread *sim_spawn(const char *name, int host, bool engines, void *(*entry)(void *),
                      void *argument);
void sim_join(sim_thread *thread);
/* Another thread may run now. */
void sim_step(void);
/* Another thread runs now, if one can. */
void sim_yield(void);
/* A system call has begun: it takes time, and another thread may run. */
void sim_syscall(void);
/* Sleeps until sim_wake(), or `deadline` on the clock: false. */
bool sim_block(const void *key, int64_t deadline);
void sim_wake(sim_thread *thread);
/* At most `most` of those that are blocked on `key`. */
int sim_wake_key(const void *key, int most);
void sim_sleep(int64_t ns);

/* All threads of a host stop, and go on where they were (SIGSTOP, SIGCONT); or are no more
 * (SIGKILL), and the kernel closes what they had. Only while none of them holds a lock, since hosts
 * share what is the process's in a real one; and not in a run with hosts apart. */
bool sim_host_is_free(int host);
void sim_host_stop(int host);
void sim_host_go_on(int host);
void sim_host_kill(int host);
/* In the child of a fork. */
void sim_only_this_thread(void);

/* Calls run(argument) at a time, on nobody's stack in particular. */
void sim_at(int64_t when, void (*run)(void *), void *argument);

/* --- the plan of a run: what chance may do to it --------------------------------------------- */
typedef struct sim_plan {
    uint64_t seed, luck;
    int driver;          /* 0 epoll, 1 io_uring, 2 io_uring of an older kernel */
    int cpus;
    int hosts;           /* where there are very many; else 0 */
    bool apart;          /* each host has a processor and a clock; the seed does not say who runs */
    uint32_t switching;  /* of a million steps, how many another thread follows */
    bool by_priority;    /* the runnable thread with the highest priority runs */
    uint32_t priority_changes; /* of a million steps */
    int64_t latency, jitter; /* of the network, ns */
    int64_t rate;        /* bytes a second */
    int sndbuf, rcvbuf;
    uint32_t shorts;     /* all these of a million calls: short reads and writes */
    uint32_t stray;      /* -EAGAIN and -EINTR that mean nothing, waits that end for nothing */
    uint32_t reset;      /* of segments: the connection is reset */
    uint32_t refuse;     /* of connects */
    uint32_t drop;       /* of connects: answered late */
    uint32_t half_open;  /* of resets: only one end knows */
    uint32_t no_files;   /* of calls that make a descriptor */
    uint32_t no_memory;  /* allocations from one that fails to the next, about; 0: none fails */
    bool slow;           /* a network on which a large body takes its time */
    uint32_t stalls;     /* of segments: the network stops for a while */
} sim_plan;
extern sim_plan sim_the_plan;
#define PLAN (&sim_the_plan)

/* What has happened, for laws that hold only where it has not. */
typedef struct sim_tally {
    uint64_t syscalls, switches, segments, resets, connects, refused, strays, shorts, bytes;
    uint64_t rings, wakes;
    uint64_t locked_most; /* steps under a lock */
} sim_tally;
extern sim_tally sim_the_tally;
#define TALLY (&sim_the_tally)

/* --- the timeline: trace.c ------------------------------------------------------------------- */
void sim_trace_to(const char *path);
/* "time host thread what". Goes into the run's fingerprint, and into the file if there is one. */
void sim_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same of what is too much for a timeline; only written with sim_trace_steps(). */
void sim_step_said(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sim_trace_steps(void);
/* Another thread runs: part of the fingerprint. */
void sim_note_switch(const sim_thread *to);
uint64_t sim_fingerprint(void);
/* A law is broken: says so, with who is where, and ends the run. */
_Noreturn void sim_broken(const char *law, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* --- descriptors: kernel.c ------------------------------------------------------------------- */
typedef struct sim_file sim_file;
typedef struct sim_waiter sim_waiter;

/* Hears of every change of a file. */
struct sim_waiter {
    sim_waiter *next, *prev;
    void (*changed)(sim_waiter *waiter, sim_file *file);
    void *owner;
};

typedef struct sim_kind {
    const char *name;
    uint32_t (*mask)(sim_file *file); /* POLL... */
    void (*closed)(sim_file *file);  /* the last descriptor is gone; frees what is its own */
} sim_kind;

struct sim_file {
    const sim_kind *kind;
    int fd, flags, host;
    sim_waiter waiters; /* a ring of them */
    int holds;          /* requests of rings that are on their way with it */
    bool gone;          /* its last descriptor is */
};
/* A file lives as long as requests hold it. */
void sim_let_go(sim_file *file);

int sim_fd_new(sim_file *file, const sim_kind *kind); /* or -EMFILE */
sim_file *sim_file_of(int fd);                        /* NULL: no such one */
int sim_fd_close(int fd);
void sim_listen_to(sim_file *file, sim_waiter *waiter);
void sim_listen_no_more(sim_waiter *waiter);
void sim_changed(sim_file *file);
int sim_fd_count(void);
void sim_close_all(int host);
/* Told of what sockets are given to send. */
extern void (*sim_on_send)(int fd, const void *data, size_t size);

/* --- sockets: net.c -------------------------------------------------------------------------- */
int sim_socket_recv(sim_file *file, void *out, size_t size, bool *out_more);
struct msghdr;
int sim_socket_send(sim_file *file, const struct msghdr *message);
int sim_socket_accept(sim_file *file, int flags);
struct sockaddr;
/* 0, or -EINPROGRESS; again: -EALREADY, -EISCONN. */
int sim_socket_connect(sim_file *file, const struct sockaddr *address, uint32_t size);
/* For a person. */
void sim_print_sockets(void);
bool sim_is_socket(const sim_file *file);
uint32_t sim_host_address(int host);
/* It has another address from now on. Who asks for its name may hear of the old one for a while. */
void sim_host_move(int host);
uint32_t sim_host_address_told(int host);
/* Does any socket wait for the answer to its connect? */
bool sim_somebody_connects(void);

/* --- rings: ring.c --------------------------------------------------------------------------- */
void sim_run_task_work(void);
void sim_thread_left_rings(sim_thread *thread);
bool sim_has_task_work(const sim_thread *thread);
/* If it is a ring: its requests are no more. */
void sim_ring_dies(sim_file *file);

#endif
