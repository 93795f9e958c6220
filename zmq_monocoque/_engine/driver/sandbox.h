/* What a seccomp filter of the process does with calls that not everybody needs. */
#ifndef ZM_DRIVER_SANDBOX_H
#define ZM_DRIVER_SANDBOX_H

#include <stdbool.h>

/* Would the process, or the thread, be killed for one of these system calls? A call that is refused
 * or answered is none of its business. */
bool zm_sandbox_kills(const long *calls, int count);

#endif
