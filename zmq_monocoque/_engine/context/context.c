/* Contexts: the sockets that share inproc names and I/O threads, and end together. */
#include "context.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/list.h"
#include "../base/lock.h"
#include "../base/names.h"
#include "../driver/driver.h"
#include "../engine.h"
#include "../pipe/inproc.h"
#include "../pipe/peer.h"
#include "../socket/socket.h"
#include "../socket/wakeup.h"
#include "../zmtp/session.h"
#include "handles.h"
#include "io_thread.h"
#include "process.h"
#include "signals.h"

enum { SOCKET_LIMIT = 65535, MESSAGE_BYTES = 64 };

enum context_option {
    IO_THREADS = 1,
    MAX_SOCKETS = 2,
    SOCKET_LIMIT_OR_THREAD_PRIORITY = 3,
    THREAD_SCHED_POLICY = 4,
    MAX_MSGSZ = 5,
    MSG_T_SIZE = 6,
    THREAD_AFFINITY_CPU_ADD = 7,
    THREAD_AFFINITY_CPU_REMOVE = 8,
    THREAD_NAME_PREFIX = 9,
    ZERO_COPY_RECV = 10,
    IPV6 = 42,
    BLOCKY = 70
};

int64_t zm_context_new(int io_threads)
{
    if (io_threads < 0)
        return -EINVAL;
    zm_context *context = zm_context_slot_take();
    if (!context)
        return -ENOMEM;
    zm_context_lock_take(context);
    atomic_store(&context->ended, false);
    atomic_store(&context->socket_count, 0);
    zm_list_init(&context->sockets);
    context->names = (zm_names){0};
    zm_list_init(&context->waited_names);
    context->io_threads = io_threads;
    context->max_sockets = 1023;
    context->max_msg_size = INT32_MAX;
    context->thread_priority = context->thread_policy = -1;
    context->zero_copy = 1;
    context->blocky = true;
    context->ipv6 = false;
    context->thread_prefix[0] = 0;
    memset(context->threads, 0, sizeof context->threads);
    memset(context->cpus, 0, sizeof context->cpus);
    context->next_thread = context->spare_count = 0;
    atomic_store(&context->generation, zm_generation_new());
    atomic_fetch_add(&zm_live_contexts, 1);
    int64_t handle = zm_context_handle(context);
    zm_context_lock_give(context);
    return handle;
}

/* Every call on a socket of the context answers ETERM from now on, blocked ones too. */
static void end_locked(zm_context *context) ZM_NEEDS(zm_a_context)
{
    atomic_store(&context->ended, true);
    ZM_LIST_EACH (node, &context->sockets)
        zm_socket_wake(ZM_CONTAINER(node, zm_socket, in_context));
    /* Connects that never met their bind do not hold the end up (S-35). */
    zm_inproc_forget_waiting(context);
}

int zm_context_shutdown(int64_t handle)
{
    zm_context *context = zm_context_lock(handle);
    if (!context)
        return -EFAULT;
    end_locked(context);
    zm_context_lock_give(context);
    return 0;
}

/* Nobody else knows it any more. */
static void context_free(zm_context *taken) ZM_LOCKS_UNCHECKED
{
    for (int i = 0; i < ZM_IO_THREADS_MAX; i++)
        if (taken->threads[i])
            zm_io_thread_free(taken->threads[i]);
    while (taken->spare_count)
        zm_driver_close(taken->spares[--taken->spare_count]);
    zm_names_fini(&taken->names);
    atomic_fetch_sub(&zm_live_contexts, 1);
    zm_context_slot_give(taken);
}

int zm_context_term(int64_t handle, int timeout_ms)
{
    int64_t deadline = zm_deadline_ms(timeout_ms);
    zm_context *context = zm_context_lock(handle);
    if (!context)
        return -EFAULT;
    end_locked(context);
    zm_context_lock_give(context);
    for (;;) {
        uint32_t seen = atomic_load(&context->departures);
        if (!atomic_load(&context->socket_count))
            break;
        if (!zm_signals_sleep((zm_sleep){.word = &context->departures}))
            return -EINTR;
        int64_t until = zm_sooner(deadline, zm_signals_look());
        int rc = zm_futex_wait(&context->departures, seen, until);
        zm_signals_awake();
        if (rc < 0)
            return rc == -ETIMEDOUT && until != deadline ? -EINTR : rc;
    }
    context = zm_context_lock(handle);
    if (!context)
        return -EFAULT; /* another thread's term() came first */
    atomic_store(&context->generation, 0);
    zm_context_lock_give(context);
    context_free(context);
    return 0;
}

int zm_context_set_for(int64_t handle, int option, int value, bool brief)
{
    zm_context *context;
    int rc = zm_context_lock_for(handle, brief, &context);
    if (rc != 0)
        return rc;
    rc = value < 0 && option != THREAD_NAME_PREFIX ? -EINVAL : 0;
    if (rc == 0)
        switch (option) {
        case IO_THREADS:
            context->io_threads = value;
            break;
        case MAX_SOCKETS:
            if (value < 1)
                rc = -EINVAL;
            else
                context->max_sockets = value;
            break;
        case SOCKET_LIMIT_OR_THREAD_PRIORITY:
            context->thread_priority = value;
            break;
        case THREAD_SCHED_POLICY:
            context->thread_policy = value;
            break;
        case MAX_MSGSZ:
            context->max_msg_size = value;
            break;
        case THREAD_AFFINITY_CPU_ADD:
        case THREAD_AFFINITY_CPU_REMOVE: {
            /* A processor that no machine has is taken, and means nothing (libzmq: the same). */
            bool add = option == THREAD_AFFINITY_CPU_ADD, real = value < ZM_CPUS_MAX;
            if (!add && !(real && context->cpus[value]))
                rc = -EINVAL;
            else if (real)
                context->cpus[value] = add;
            break;
        }
        case THREAD_NAME_PREFIX:
            snprintf(context->thread_prefix, sizeof context->thread_prefix, "%d", value);
            break;
        case ZERO_COPY_RECV:
            context->zero_copy = value != 0;
            break;
        case IPV6:
            context->ipv6 = value != 0;
            break;
        case BLOCKY:
            context->blocky = value != 0;
            break;
        default:
            rc = -EINVAL;
        }
    zm_context_lock_give(context);
    return rc;
}

int zm_context_set(int64_t handle, int option, int value)
{
    return zm_context_set_for(handle, option, value, false);
}

int zm_context_set_name(int64_t handle, const char *name, size_t size)
{
    zm_context *context = zm_context_lock(handle);
    if (!context)
        return -EFAULT;
    size_t length = strnlen(name, size);
    int rc = length && length < sizeof context->thread_prefix ? 0 : -EINVAL;
    if (rc == 0) {
        memcpy(context->thread_prefix, name, length);
        context->thread_prefix[length] = 0;
    }
    zm_context_lock_give(context);
    return rc;
}

int zm_context_get_name(int64_t handle, char *out_name, size_t *inout_size)
{
    zm_context *context = zm_context_lock(handle);
    if (!context)
        return -EFAULT;
    size_t size = strlen(context->thread_prefix) + 1;
    int rc = size <= *inout_size ? 0 : -EINVAL;
    if (rc == 0) {
        memcpy(out_name, context->thread_prefix, size);
        *inout_size = size;
    }
    zm_context_lock_give(context);
    return rc;
}

int zm_context_get_for(int64_t handle, int option, int *out_value, bool brief)
{
    zm_context *context;
    int rc = zm_context_lock_for(handle, brief, &context);
    if (rc != 0)
        return rc;
    rc = 0;
    switch (option) {
    case IO_THREADS:
        *out_value = context->io_threads;
        break;
    case MAX_SOCKETS:
        *out_value = context->max_sockets;
        break;
    case SOCKET_LIMIT_OR_THREAD_PRIORITY:
        *out_value = SOCKET_LIMIT;
        break;
    case THREAD_SCHED_POLICY:
        *out_value = context->thread_policy;
        break;
    case MAX_MSGSZ:
        *out_value = context->max_msg_size;
        break;
    case MSG_T_SIZE:
        *out_value = MESSAGE_BYTES;
        break;
    case THREAD_NAME_PREFIX: {
        int number = 0;
        sscanf(context->thread_prefix, "%d", &number);
        *out_value = number;
        break;
    }
    case ZERO_COPY_RECV:
        *out_value = context->zero_copy;
        break;
    case IPV6:
        *out_value = context->ipv6;
        break;
    case BLOCKY:
        *out_value = context->blocky;
        break;
    default:
        rc = -EINVAL;
    }
    zm_context_lock_give(context);
    return rc;
}

int zm_context_get(int64_t handle, int option, int *out_value)
{
    return zm_context_get_for(handle, option, out_value, false);
}

/* Adds a line about `s` to the text, of which `*inout_at` bytes are written or did not fit. */
static void describe_locked(zm_socket *s, char *out, size_t size, size_t *inout_at) ZM_LOCKED
{
    uint64_t queued = 0;
    ZM_LIST_EACH (p, &s->peers)
        queued += ZM_CONTAINER(p, zm_peer, link)->out.count;
    const char *name = zm_socket_type_name(s->type);
    size_t at = *inout_at, room = at < size ? size - at : 0;
    int n = snprintf(room ? out + at : NULL, room, "%s endpoint=%s state=%s queued=%llu\n",
                     name ? name : "STREAM", s->last_endpoint, s->open ? "open" : "lingering",
                     (unsigned long long) queued);
    *inout_at += n > 0 ? (size_t) n : 0;
}

int zm_context_holders(int64_t handle, char *out, size_t size)
{
    zm_context *context = zm_context_lock(handle);
    if (!context)
        return -EFAULT;
    size_t count = 0, at = 0;
    ZM_LIST_EACH (node, &context->sockets)
        count++;
    zm_socket **sockets = count ? zm_alloc(count * sizeof *sockets) : NULL;
    if (count && !sockets) {
        zm_context_lock_give(context);
        return -ENOMEM;
    }
    count = 0;
    ZM_LIST_EACH (node, &context->sockets)
        sockets[count++] = ZM_CONTAINER(node, zm_socket, in_context);
    zm_context_lock_give(context);
    /* Their locks are taken without the context's, since elsewhere it is the other way round. Slots
     * stay, but a socket may be gone by now, and its slot another's. */
    if (size)
        out[0] = 0;
    for (size_t i = 0; i < count; i++) {
        zm_socket *s = sockets[i];
        zm_socket_lock_take(s);
        if (s->context == context && (s->open || s->closing))
            describe_locked(s, out, size, &at);
        zm_socket_lock_give(s);
    }
    zm_free(sockets);
    return at < INT32_MAX ? (int) at : INT32_MAX;
}
