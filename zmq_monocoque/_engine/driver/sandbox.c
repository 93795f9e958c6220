/* A filter cannot be read, and one that kills cannot be asked in vain: so a child asks. Only where
 * there is a filter. The child is one of the bare system call, for which no handler of a fork runs
 * and of whose end no signal tells; it makes nothing but the calls in question, without sense. */
#define _GNU_SOURCE
#include "sandbox.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void make_calls(const long *calls, int count)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* no core is to tell of it */
    for (int i = 0; i < count; i++)
        syscall(calls[i], -1L, 0L, 0L, 0L, 0L, 0L);
    for (;;)
        syscall(SYS_exit_group, 0);
}

bool zm_sandbox_kills(const long *calls, int count)
{
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != SECCOMP_MODE_FILTER)
        return false;
    pid_t child = (pid_t) syscall(SYS_clone, 0L, 0L, 0L, 0L, 0L);
    if (child == 0)
        make_calls(calls, count);
    int status = 0;
    while (child > 0 && waitpid(child, &status, __WALL) < 0 && errno == EINTR) {
    }
    return WIFSIGNALED(status);
}
