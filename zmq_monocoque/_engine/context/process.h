/* What belongs to the process: the driver that was chosen, counts of what lives, forks. No lock: it
 * is written at the start, or atomic. */
#ifndef ZM_CONTEXT_PROCESS_H
#define ZM_CONTEXT_PROCESS_H

#include "../driver/driver.h"
#include "../objects.h"

extern _Atomic int64_t zm_live_connections, zm_live_threads, zm_live_sockets, zm_live_contexts;

zm_driver_kind zm_driver_chosen(void);
/* The chosen one could not be had, and another serves in its place: zm_driver_reason() says so. */
void zm_driver_refused(int error);
bool zm_spin_allowed(void);
int zm_process_init(const char *driver, bool alone, const char *liburing_path);
void zm_fork_install(void);

#endif
