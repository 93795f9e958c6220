/* What the files of the workload share. */
#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

#include "app.h"

enum { HOSTS_MAX = 4, SERVICES_MAX = 3, DOORS = 2, STREAMS = 1, BURSTS = 1 };

typedef enum phase { LIVE, DRAIN, CLOSING } phase;

extern service services[SERVICES_MAX + DOORS + STREAMS + BURSTS];
extern int service_total, host_total;
extern int64_t contexts[HOSTS_MAX];
extern phase now;
extern int working; /* threads that still have something to send */
extern bool infinite; /* some thread may wait without an end */
extern bool churn;
extern bool hush; /* who is in no call of the engine makes none */
extern uint64_t progress;
extern bool killings;
extern uint32_t forks; /* that are still to come */

/* --- sockets: ends.c ------------------------------------------------------------------------- */
void draw_options(end *e);
void set_option(end *e, int option, int value);
/* A SUB or an XSUB begins to ask for a topic, or asks for it no more. */
void ask_for(end *e, unsigned topic, bool wanted);
int open_end(end *e);
int attach_end(end *e);
void close_end(end *e);

/* --- what threads do: lives.c ---------------------------------------------------------------- */
void think(void);
void mind_the_hush(void);
/* Waits for `events` in one of the ways that there are. 0, or -errno. */
int await(end *e, short events);
/* Opens the socket, sees its threads through, and closes it. */
void *own(void *end_of_it);
/* Two sockets of one thread. */
void draw_doors(void);
void *own_doors(void *first);

/* --- loops of their own: loops.c -------------------------------------------------------------- */
void loop_draw(end *e);
void loop_open(end *e);
/* Is the next wait of the calling thread one in the loop? */
bool loop_waits(end *e);
/* RCVTIMEO or SNDTIMEO from now on. */
int64_t loop_until(int ms);
/* 0: EVENTS has some of `events`; or -EAGAIN at the end of the time, or -errno. */
int loop_wait(end *e, short events, int64_t until);
/* As app_recv() and app_send() that wait, by the time of the socket's options. */
int loop_recv(end *e, arrival *a);
int loop_send(end *e, const arrival *to);
void loop_close(end *e);

/* --- STREAM: streams.c ----------------------------------------------------------------------- */
void draw_streams(void);
void *own_stream(void *end_of_it);
/* Starts a program without the engine; NULL: this run has none. */
sim_thread *streams_program(void);
void streams_at_rest(void);

/* --- bursts that fit: burst.c ----------------------------------------------------------------- */
void draw_burst(void);
void *own_burst(void *end_of_it);

#endif
