/* A stand-in for liburing's shared object, which passes calls on to the real one (ZM_SHIM_REAL) and
 * makes this kernel's io_uring like that of another. ZM_SHIM_KERNEL names what it lacks, see
 * `lacks` below; with ZM_SHIM_FAULT_EVERY each n-th io_uring_enter2() fails without being made, by
 * turns with EINTR, EAGAIN and EBUSY. Programs ask for more by the functions shim_*(). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "driver/uring_abi.h"

#define EXPORT __attribute__((visibility("default")))

enum {
    FDS_MAX = 65536,
    OP_UNKNOWN = 250, /* answered by EINVAL, as what the kernel is too old for */
    ACCEPT_DONTWAIT = 2, /* in ioprio */
};

static struct {
    bool setup; /* io_uring_setup: ENOSYS */
    bool permission; /* io_uring_setup: EPERM */
    bool enter; /* io_uring_enter: EPERM */
    bool ext_arg; /* before Linux 5.11 */
    bool multishot; /* before 5.13 */
    bool submit_all; /* before 5.18 */
    bool coop; /* before 5.19: COOP_TASKRUN, TASKRUN_FLAG, RECV_POLL_FIRST */
    bool accept; /* before 5.19, 5.15.90: an accept that waits on a listener that does not */
    bool msg_ring; /* before 5.18 */
    bool messages; /* before 6.13 */
} lacks;

static int (*real_init)(unsigned, zm_liburing_ring *, zm_uring_params *);
static void (*real_exit)(zm_liburing_ring *);
static int (*real_dontfork)(zm_liburing_ring *);
static int (*real_enter)(unsigned, unsigned, unsigned, unsigned, void *, size_t);
static int (*real_message)(zm_uring_sqe *);

static _Atomic(zm_liburing_ring *) rings[FDS_MAX];
static _Atomic int fail_error, fail_times;
static _Atomic unsigned calls;
static _Atomic bool dontwait;
static unsigned fault_every;

static void *real(void *library, const char *name)
{
    void *function = dlsym(library, name);
    if (!function) {
        fprintf(stderr, "shim: %s\n", dlerror());
        abort();
    }
    return function;
}

static bool named(const char *words, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = words; (at = strstr(at, word)); at += size)
        if ((at == words || at[-1] == ',') && (!at[size] || at[size] == ','))
            return true;
    return false;
}

__attribute__((constructor)) static void load(void)
{
    void *library = dlopen(getenv("ZM_SHIM_REAL"), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "shim: %s\n", dlerror());
        abort();
    }
    *(void **) &real_init = real(library, "io_uring_queue_init_params");
    *(void **) &real_exit = real(library, "io_uring_queue_exit");
    *(void **) &real_dontfork = real(library, "io_uring_ring_dontfork");
    *(void **) &real_enter = real(library, "io_uring_enter2");
    *(void **) &real_message = dlsym(library, "io_uring_register_sync_msg");
    const char *kernel = getenv("ZM_SHIM_KERNEL"), *every = getenv("ZM_SHIM_FAULT_EVERY");
    fault_every = every ? (unsigned) atoi(every) : 0;
    if (!kernel)
        return;
    lacks.setup = named(kernel, "setup");
    lacks.permission = named(kernel, "permission");
    lacks.enter = named(kernel, "enter");
    lacks.ext_arg = named(kernel, "ext_arg");
    lacks.multishot = named(kernel, "multishot");
    lacks.submit_all = named(kernel, "submit_all");
    lacks.coop = named(kernel, "coop");
    lacks.accept = named(kernel, "accept");
    lacks.msg_ring = named(kernel, "msg_ring");
    lacks.messages = named(kernel, "messages");
}

/* --- for the program -------------------------------------------------------------------------- */

EXPORT void shim_fail_next(int error, int times)
{
    atomic_store(&fail_error, error);
    atomic_store(&fail_times, times);
}

/* The kernel waits with no request from now on: what it cannot do at once is answered by EAGAIN. */
EXPORT void shim_dontwait(bool on)
{
    atomic_store(&dontwait, on);
}

/* How often io_uring_enter2() was called. */
EXPORT unsigned shim_calls(void)
{
    return atomic_load(&calls);
}

/* --- liburing --------------------------------------------------------------------------------- */

EXPORT int io_uring_queue_init_params(unsigned entries, zm_liburing_ring *ring,
                                      zm_uring_params *params)
{
    uint32_t coop = ZM_URING_SETUP_COOP_TASKRUN | ZM_URING_SETUP_TASKRUN_FLAG;
    if (lacks.setup)
        return -ENOSYS;
    if (lacks.permission)
        return -EPERM;
    if ((lacks.coop && params->flags & coop)
        || (lacks.submit_all && params->flags & ZM_URING_SETUP_SUBMIT_ALL))
        return -EINVAL;
    int rc = real_init(entries, ring, params);
    if (rc < 0)
        return rc;
    if (lacks.ext_arg)
        ring->features = params->features &= ~(uint32_t) ZM_URING_FEATURE_EXT_ARG;
    atomic_store(&rings[ring->ring_fd % FDS_MAX], ring);
    return rc;
}

EXPORT void io_uring_queue_exit(zm_liburing_ring *ring)
{
    atomic_store(&rings[ring->ring_fd % FDS_MAX], NULL);
    real_exit(ring);
}

EXPORT int io_uring_ring_dontfork(zm_liburing_ring *ring)
{
    return real_dontfork(ring);
}

EXPORT int io_uring_register_sync_msg(zm_uring_sqe *sqe)
{
    return lacks.messages || !real_message ? -EINVAL : real_message(sqe);
}

static void make_older(zm_uring_sqe *sqe)
{
    bool no_wait = atomic_load(&dontwait);
    switch (sqe->opcode) {
    case ZM_URING_OP_ACCEPT:
        if (lacks.accept || no_wait)
            sqe->ioprio |= ACCEPT_DONTWAIT;
        break;
    case ZM_URING_OP_RECV:
        if (lacks.coop && sqe->ioprio)
            sqe->opcode = OP_UNKNOWN;
        /* fall through */
    case ZM_URING_OP_SENDMSG:
        if (no_wait)
            sqe->op_flags |= MSG_DONTWAIT;
        break;
    case ZM_URING_OP_MSG_RING:
        if (lacks.msg_ring)
            sqe->opcode = OP_UNKNOWN;
        break;
    case ZM_URING_OP_POLL_ADD:
        if (lacks.multishot && sqe->len)
            sqe->opcode = OP_UNKNOWN;
        break;
    default:
        break;
    }
}

EXPORT int io_uring_enter2(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                           void *argument, size_t size)
{
    static const int faults[] = {-EINTR, -EAGAIN, -EBUSY};
    unsigned call = atomic_fetch_add(&calls, 1);
    if (lacks.enter)
        return -EPERM;
    if (atomic_load(&fail_times) > 0) {
        atomic_fetch_sub(&fail_times, 1);
        return atomic_load(&fail_error);
    }
    if (fault_every && call % fault_every == fault_every - 1)
        return faults[call / fault_every % 3];
    zm_liburing_ring *ring = to_submit ? atomic_load(&rings[fd % FDS_MAX]) : NULL;
    if (ring) {
        unsigned head = __atomic_load_n(ring->sq.khead, __ATOMIC_ACQUIRE);
        unsigned tail = __atomic_load_n(ring->sq.ktail, __ATOMIC_ACQUIRE);
        for (; head != tail; head++)
            make_older(&ring->sq.sqes[head & (*ring->sq.kring_entries - 1)]);
    }
    return real_enter(fd, to_submit, min_complete, flags, argument, size);
}
