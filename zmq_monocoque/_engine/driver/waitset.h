/* Sleeping on descriptors: signalers and alarms that wake, sets of descriptors that are watched,
 * and plain poll. */
#ifndef ZM_DRIVER_WAITSET_H
#define ZM_DRIVER_WAITSET_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* A signaler: a descriptor that is readable from set() to clear(). Any thread. -errno when it
 * cannot be. */
int zm_signaler_open(void);
void zm_signaler_set(int signaler);
void zm_signaler_clear(int signaler);

/* An alarm: a descriptor that is readable from the time that it is set to (CLOCK_MONOTONIC, > 0;
 * ZM_FOREVER: never) to clear(); or, where the process may not have the kernel's timers, from
 * set(), so too early. Any thread. -errno when it cannot be. */
int zm_alarm_open(void);
/* False: timers were forbidden since it was opened; another one is to take its place. */
bool zm_alarm_set(int alarm, int64_t at);
void zm_alarm_clear(int alarm);

/* A pipe for a signal handler to write to: `out_writes` never blocks. 0 or -errno. */
int zm_pipe_open(int *out_reads, int *out_writes);
/* Sleeps until something was written, and takes it. False: never again. */
bool zm_pipe_wait(int reads);

/* A set of descriptors, itself a descriptor that polls readable while one of them is. */
int zm_waitset_open(void);
/* Watches `fd` for input as long as it is in the set. 0 or -errno. */
int zm_waitset_add(int waitset, int fd, void *owner);
/* Watches it for one time; zm_waitset_arm() is for the next. 0 or -errno. */
int zm_waitset_add_armed(int waitset, int fd, void *owner);
int zm_waitset_arm(int waitset, int fd, void *owner);
void zm_waitset_remove(int waitset, int fd);
/* A signal of the set's own: the set is readable from set() to clear(), which any thread may call;
 * after set_edge() it says `mark`, once. It is a descriptor that is always readable, is watched or
 * not, and is shared by a few sets. open(): 0 or -errno. close() comes after the set was closed. */
typedef struct zm_ready zm_ready;
int zm_waitset_signal_open(int waitset, zm_ready **out_ready);
void zm_waitset_signal_close(zm_ready *taken); /* NULL allowed */
void zm_waitset_signal_set(int waitset, const zm_ready *ready);
void zm_waitset_signal_set_edge(int waitset, const zm_ready *ready, int mark);
void zm_waitset_signal_clear(int waitset, const zm_ready *ready);
/* In the child of a fork: others are made when they are wanted. */
void zm_waitset_after_fork(void);
/* Waits until `until_ns` (CLOCK_MONOTONIC; < 0: no limit). How many owners were written to
 * out_owners; 0 after the time, or a signal. */
int zm_waitset_wait(int waitset, void **out_owners, int count, int64_t until_ns);

/* The same of any epoll descriptor; how many, 0 after the time, or -errno (-EINTR). */
int zm_waitset_events(int epoll_fd, struct epoll_event *out_events, int count, int64_t until_ns);

/* See engine.h. */
const void *zm_poll_sigmask_set(const void *borrowed);
/* poll() with an absolute deadline. Ready descriptors, 0, or -errno (-EINTR). */
int zm_poll_until(struct pollfd *fds, int count, int64_t until_ns);

#endif
