/* A container may refuse the newer system calls with EPERM. zm_waitset_wait() sleeps all the same:
 * to the end of its time when nothing comes, and until something comes. Exit 77: no seccomp. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/fds.h"
#include "driver/waitset.h"

int main(void)
{
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = ZM_COUNT(lines), .filter = lines};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &filter))
        return 77;

    int watch = zm_waitset_open(), signaler = zm_signaler_open();
    ZM_ASSERT(watch >= 0 && signaler >= 0);
    int owner;
    ZM_ASSERT(zm_waitset_add(watch, signaler, &owner) == 0);
    void *owners[4];
    int64_t until = zm_now_ns() + 20 * ZM_MS;
    ZM_ASSERT(zm_waitset_wait(watch, owners, 4, until) == 0);
    ZM_ASSERT(zm_now_ns() >= until);
    zm_signaler_set(signaler);
    ZM_ASSERT(zm_waitset_wait(watch, owners, 4, ZM_FOREVER) == 1 && owners[0] == &owner);
    zm_fd_close(signaler);
    zm_fd_close(watch);
    return 0;
}
