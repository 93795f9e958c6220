/* A stand-in for liburing's shared object, for ring_driver.c: passes calls on to the real one
 * (ZM_SHIM_REAL), has no io_uring_register_sync_msg (so that wakes go through an eventfd), and lets
 * io_uring_enter2 fail without being made: every ZM_SHIM_FAULT_EVERY-th call, by turns with EINTR,
 * EAGAIN and EBUSY, or the next calls as shim_fail_next() says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static void *real(const char *name)
{
    static void *library;
    if (!library)
        library = dlopen(getenv("ZM_SHIM_REAL"), RTLD_NOW | RTLD_LOCAL);
    void *function = library ? dlsym(library, name) : NULL;
    if (!function) {
        fprintf(stderr, "shim: %s: %s\n", name, dlerror());
        abort();
    }
    return function;
}

int io_uring_queue_init_params(unsigned entries, void *ring, void *params)
{
    static int (*next)(unsigned, void *, void *);
    if (!next)
        next = (int (*)(unsigned, void *, void *)) real("io_uring_queue_init_params");
    return next(entries, ring, params);
}

void io_uring_queue_exit(void *ring)
{
    ((void (*)(void *)) real("io_uring_queue_exit"))(ring);
}

int io_uring_ring_dontfork(void *ring)
{
    return ((int (*)(void *)) real("io_uring_ring_dontfork"))(ring);
}

static _Atomic int fail_error, fail_times;

void shim_fail_next(int error, int times)
{
    atomic_store(&fail_error, error);
    atomic_store(&fail_times, times);
}

int io_uring_enter2(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                    void *argument, size_t size)
{
    typedef int enter2(unsigned, unsigned, unsigned, unsigned, void *, size_t);
    static _Atomic(enter2 *) next;
    static _Atomic unsigned calls;
    static const int faults[] = {-EINTR, -EAGAIN, -EBUSY};
    enter2 *call = atomic_load(&next);
    if (!call) {
        call = (enter2 *) real("io_uring_enter2");
        atomic_store(&next, call);
    }
    if (atomic_load(&fail_times) > 0) {
        atomic_fetch_sub(&fail_times, 1);
        return atomic_load(&fail_error);
    }
    const char *every = getenv("ZM_SHIM_FAULT_EVERY");
    unsigned n = every ? (unsigned) atoi(every) : 0;
    unsigned i = atomic_fetch_add(&calls, 1);
    if (n && i % n == n - 1)
        return faults[i / n % 3];
    return call(fd, to_submit, min_complete, flags, argument, size);
}
