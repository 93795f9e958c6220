/* The descriptors that the engine owns, so that a forked child can close its copies of them.
 * No lock: every entry is one atomic word, safe to use from any thread and after fork(). */
#ifndef ZM_BASE_FDS_H
#define ZM_BASE_FDS_H

#include <stdbool.h>
#include <stdint.h>

/* Registers a descriptor that is ours from now on. fd < 0 is ignored. */
void zm_fd_own(int fd);
/* The same of one that the program made: its forked children count on their copies. */
void zm_fd_adopt(int fd);
bool zm_fd_is_adopted(int fd);
/* Unregisters and closes. fd < 0 is ignored. */
void zm_fd_close(int fd);
/* Unregisters without closing (somebody else closes it, or takes it over); returns fd. */
int zm_fd_release(int fd);
/* Before there is a second thread: room in the kernel's table for as many descriptors as a process
 * may mostly have. The table grows by steps, and while a process has several threads, whoever opens
 * the one too many waits some 10 ms for each. `fd`: any that is open. */
void zm_fds_make_room(int fd);
/* Registered descriptors. */
int64_t zm_fd_count(void);

/* Which registration of this number is this: changes whenever the number is registered anew;
 * 0 when it is not registered. Tells a reused descriptor from the one that had its number. */
uint32_t zm_fd_generation(int fd);

/* For the child of a fork, in its atfork handler: closes every registered descriptor, but lets go
 * of those that were adopted. Takes no lock and allocates nothing. Drivers opened before it know
 * themselves dead afterwards. */
void zm_fd_close_all_after_fork(void);
/* How often this process is a forked child of one that had the engine. */
uint32_t zm_fork_generation(void);

#endif
