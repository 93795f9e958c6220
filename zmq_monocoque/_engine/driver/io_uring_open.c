/* Opening a ring, and whether it can be had: liburing, this kernel, what is forbidden here. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "../base/alloc.h"
#include "../base/fds.h"
#include "driver_private.h"
#include "io_uring_private.h"
#include "uring_abi.h"
#include "uring_calls.h"

enum {
    SQ_ENTRIES = 128,  /* requests gathered for one submission; more are submitted on the way */
    CQ_ENTRIES = 1024, /* completions between two reaps before the kernel has to keep some */
};

_Atomic uint32_t zm_uring_exits;

static bool usable;
static char reason[256] = "liburing was not loaded";

static int init_ring(uint32_t flags, zm_liburing_ring *ring, zm_uring_params *params)
{
    memset(params, 0, sizeof *params);
    params->flags = flags;
    params->cq_entries = CQ_ENTRIES;
    int rc = zm_liburing.queue_init_params(SQ_ENTRIES, ring, params);
    atomic_load_explicit(&zm_uring_exits, memory_order_acquire);
    return rc;
}

int zm_uring_open(zm_driver **out_driver)
{
    if (!usable)
        return -ENOSYS;
    zm_uring *u = zm_calloc(sizeof *u);
    if (!u)
        return -ENOMEM;
    int event_fd = -1;
    if (zm_uring_wakes_by == ZM_WAKES_BY_EVENT_FD) {
        event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (event_fd < 0) {
            int rc = -errno;
            zm_free(u);
            return rc;
        }
        zm_fd_own(event_fd);
    }
    zm_uring_params params;
    int rc = zm_uring_wakes_by == ZM_WAKES_BY_MESSENGER ? zm_uring_messenger_open() : 0;
    if (rc == 0)
        rc = init_ring(zm_uring_setup_flags, &u->ring, &params);
    if (rc < 0) {
        zm_fd_close(event_fd);
        zm_free(u);
        return rc;
    }
    zm_fd_own(u->ring.ring_fd); /* the kernel made it close-on-exec */
    /* A child that uses memory shared with the kernel would disturb its parent. Should this fail,
     * the child still never touches it: see uring_close(). */
    zm_liburing.ring_dontfork(&u->ring);

    u->base.ops = &zm_uring_ops;
    u->base.fd = u->ring.ring_fd;
    u->sq_head = (_Atomic unsigned *) u->ring.sq.khead;
    u->sq_tail = (_Atomic unsigned *) u->ring.sq.ktail;
    u->sq_flags = (_Atomic unsigned *) u->ring.sq.kflags;
    u->cq_head = (_Atomic unsigned *) u->ring.cq.khead;
    u->cq_tail = (_Atomic unsigned *) u->ring.cq.ktail;
    u->sqes = u->ring.sq.sqes;
    u->cqes = u->ring.cq.cqes;
    u->sq_entries = params.sq_entries;
    u->sq_mask = params.sq_entries - 1;
    u->cq_mask = params.cq_entries - 1;
    u->event_fd = event_fd;
    /* Rings may be had where their use is forbidden. */
    if (!zm_uring_ops.usable(&u->base)) {
        zm_uring_ops.close(&u->base);
        return -EPERM;
    }
    if (event_fd >= 0)
        zm_uring_arm_event_fd(u);
    *out_driver = &u->base;
    return 0;
}

int zm_uring_refuse(int rc, const char *why)
{
    usable = !why;
    snprintf(reason, sizeof reason, "%s", why ? why : "");
    return rc;
}

const char *zm_uring_why_not(int rc)
{
    switch (-rc) {
    case ENOSYS:
        return "this kernel has no io_uring";
    case EPERM:
    case EACCES:
        return "io_uring is forbidden here: by the sysctl kernel.io_uring_disabled, or by the "
               "seccomp profile of a container";
    case ENOMEM:
        return "no memory for a ring (before Linux 5.12: raise RLIMIT_MEMLOCK)";
    case EMFILE:
    case ENFILE:
        return "too many open files";
    default:
        return strerror(-rc);
    }
}

/* Does the structure that liburing filled look like the one that we declared? */
static bool layout_fits(const zm_liburing_ring *ring, const zm_uring_params *params)
{
    return ring->ring_fd >= 0 && ring->features == params->features && ring->sq.sqes
           && ring->cq.cqes && ring->sq.ring_entries == params->sq_entries
           && ring->sq.ring_mask == params->sq_entries - 1
           && ring->cq.ring_entries == params->cq_entries
           && ring->cq.ring_mask == params->cq_entries - 1
           && *ring->sq.kring_entries == params->sq_entries
           && *ring->cq.kring_entries == params->cq_entries;
}

/* What can wake this ring, and so others? */
static zm_uring_waking find_waking(int ring_fd)
{
    zm_uring_wakes_by = ZM_WAKES_BY_CALL;
    if (zm_liburing.register_sync_msg && zm_uring_post_message(ring_fd) == 0)
        return ZM_WAKES_BY_CALL;
    zm_uring_wakes_by = ZM_WAKES_BY_MESSENGER;
    if (zm_uring_messenger_open() == 0 && zm_uring_post_message(ring_fd) == 0)
        return ZM_WAKES_BY_MESSENGER;
    zm_uring_messenger_forget();
    return ZM_WAKES_BY_EVENT_FD;
}

static int try_ring(void)
{
    static const uint32_t candidates[] = {
        ZM_URING_SETUP_CQSIZE | ZM_URING_SETUP_CLAMP | ZM_URING_SETUP_SUBMIT_ALL
            | ZM_URING_SETUP_COOP_TASKRUN | ZM_URING_SETUP_TASKRUN_FLAG,
        ZM_URING_SETUP_CQSIZE | ZM_URING_SETUP_CLAMP | ZM_URING_SETUP_SUBMIT_ALL,
        ZM_URING_SETUP_CQSIZE | ZM_URING_SETUP_CLAMP,
    };
    zm_liburing_ring ring = {0};
    zm_uring_params params;
    int rc = -EINVAL;
    for (size_t i = 0; i < ZM_COUNT(candidates) && rc == -EINVAL; i++) {
        zm_uring_setup_flags = candidates[i];
        rc = init_ring(zm_uring_setup_flags, &ring, &params);
    }
    if (rc < 0)
        return zm_uring_refuse(rc, zm_uring_why_not(rc));
    const uint32_t needed = ZM_URING_FEATURE_NODROP | ZM_URING_FEATURE_SUBMIT_STABLE
                            | ZM_URING_FEATURE_FAST_POLL | ZM_URING_FEATURE_EXT_ARG;
    if (!layout_fits(&ring, &params))
        rc = zm_uring_refuse(-EPROTO,
                             "the liburing package has another structure than version 2.15");
    else if ((params.features & needed) != needed)
        rc = zm_uring_refuse(-ENOSYS, "this kernel's io_uring is too old: Linux 5.11 is needed");
    else
        zm_uring_wakes_by = find_waking(ring.ring_fd);
    atomic_fetch_add_explicit(&zm_uring_exits, 1, memory_order_release);
    zm_liburing.queue_exit(&ring);
    return rc;
}

static bool resolve(void *library, const char *name, void *out_function)
{
    void *address = dlsym(library, name);
    memcpy(out_function, &address, sizeof address); /* ISO C has no cast for this */
    return address != NULL;
}

int zm_uring_try_ring(const char *path)
{
    if (!path)
        return zm_uring_refuse(-ENOENT, "the package liburing is not installed");
    /* Never unloaded: drivers hold functions of it. */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *error = dlerror();
        return zm_uring_refuse(-ELIBACC, error ? error : "liburing cannot be loaded");
    }
    if (!resolve(library, "io_uring_queue_init_params", &zm_liburing.queue_init_params)
        || !resolve(library, "io_uring_queue_exit", &zm_liburing.queue_exit)
        || !resolve(library, "io_uring_ring_dontfork", &zm_liburing.ring_dontfork)
        || !resolve(library, "io_uring_enter2", &zm_liburing.enter2))
        return zm_uring_refuse(-ELIBACC,
                               "the liburing package does not export liburing's functions");
    resolve(library, "io_uring_register_sync_msg", &zm_liburing.register_sync_msg);
    return try_ring();
}

int zm_uring_try_ring_alone(void)
{
    zm_liburing.queue_init_params = zm_uring_calls_init;
    zm_liburing.queue_exit = zm_uring_calls_exit;
    zm_liburing.ring_dontfork = zm_uring_calls_dontfork;
    zm_liburing.enter2 = zm_uring_calls_enter2;
    zm_liburing.register_sync_msg = zm_uring_calls_sync_msg;
    return try_ring();
}

const char *zm_uring_reason(void)
{
    return reason;
}
