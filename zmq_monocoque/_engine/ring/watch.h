/* Sleeping on descriptors: bells that wake, sets of descriptors that are watched, and plain
 * poll. */
#ifndef ZM_RING_WATCH_H
#define ZM_RING_WATCH_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

/* A bell: a descriptor that is readable from ring() to clear(). Any thread. -errno on failure. */
int zm_bell_open(void);
void zm_bell_ring(int bell);
void zm_bell_clear(int bell);

/* A pipe for a signal handler to write to: `out_writes` never blocks. 0 or -errno. */
int zm_pipe_open(int *out_reads, int *out_writes);
/* Sleeps until something was written, and takes it. False: never again. */
bool zm_pipe_wait(int reads);

/* A set of descriptors, itself a descriptor that polls readable while one of them is. */
int zm_watch_open(void);
/* Watches `fd` for input as long as it is in the set. 0 or -errno. */
int zm_watch_add(int watch, int fd, void *owner);
/* Watches it for one time; zm_watch_arm() is for the next. 0 or -errno. */
int zm_watch_add_armed(int watch, int fd, void *owner);
int zm_watch_arm(int watch, int fd, void *owner);
void zm_watch_remove(int watch, int fd);
/* Waits until `until_ns` (CLOCK_MONOTONIC; < 0: no limit). How many owners were written to
 * out_owners; 0 after the time, or a signal. */
int zm_watch_wait(int watch, void **out_owners, int count, int64_t until_ns);

/* See engine.h. */
const void *zm_poll_sigmask_set(const void *borrowed);
/* poll() with an absolute deadline. Ready descriptors, 0, or -errno (-EINTR). */
int zm_poll_until(struct pollfd *fds, int count, int64_t until_ns);

#endif
