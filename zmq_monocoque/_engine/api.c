/* The function table for the extension, and the rest of engine.h. */
#include "api.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/block.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/errors.h"
#include "base/lock.h"
#include "base/z85.h"
#include "context/context.h"
#include "context/handles.h"
#include "context/process.h"
#include "context/signals.h"
#include "engine.h"
#include "pipe/metadata.h"
#include "socket/drive.h"
#include "socket/endpoint.h"
#include "socket/order.h"
#include "socket/pattern.h"
#include "socket/poll.h"
#include "socket/socket.h"
#include "socket/transfer.h"
#include "socket/wakeup.h"

enum {
    OWN_BLOCK_SLACK = 64,  /* of a large part's own block, for the frame's header */
    SHARED_BLOCK_MAX = 16 * 1024 /* that one part may keep, with those of others in it */
};

/* --- parts ----------------------------------------------------------------------------------- */

static inline int lock_pair(zm_socket *s, uint32_t generation, int flags)
    ZM_TAKES_IF(0, zm_a_socket)
{
    if (ZM_LIKELY(zm_socket_lock_try(s))) {
        if (ZM_LIKELY(atomic_load_explicit(&s->generation, memory_order_relaxed) == generation))
            return 0;
        zm_socket_lock_give(s);
        return -ENOTSOCK;
    }
    if (!(flags & ZM_PATIENT))
        return ZM_LATER;
    return zm_socket_lock_generation(s, generation) ? 0 : -ENOTSOCK;
}

static void api_make_way(zm_socket *s, uint32_t generation)
{
    if (!zm_socket_lock_generation(s, generation))
        return;
    zm_socket_send_later_locked(s);
    zm_socket_leave(s);
}

static int api_send_any(zm_socket *s, uint32_t generation, const zm_outgoing *message, int flags)
{
    int rc = lock_pair(s, generation, flags);
    if (ZM_UNLIKELY(rc != 0))
        return rc;
    rc = zm_socket_enter_locked(s);
    if (ZM_LIKELY(rc == 0))
        rc = zm_socket_send_part_locked(s, message);
    if (ZM_UNLIKELY(rc == ZM_LATER) && flags & ZM_PATIENT) {
        zm_socket_send_later_locked(s);
        rc = zm_socket_send_patiently_locked(s, message);
        if (rc < 0) {
            zm_socket_leave(s);
            return rc;
        }
    }
    if (ZM_LIKELY(rc == 0))
        rc = flags & ZM_FOLLOWED ? zm_socket_followed_locked(s) : zm_socket_sent_locked(s);
    zm_socket_lock_give(s);
    return rc;
}

static int api_send(zm_socket *s, uint32_t generation, const void *data, size_t size, int flags)
{
    zm_outgoing message = {.data = data, .size = size, .more = flags & ZM_SNDMORE};
    return api_send_any(s, generation, &message, flags);
}

static int api_send_block(zm_socket *s, uint32_t generation, zm_block *block, size_t size,
                          int flags)
{
    zm_outgoing message = {
        .data = block->data, .size = size, .block = block, .more = flags & ZM_SNDMORE};
    int rc = api_send_any(s, generation, &message, flags);
    if (rc >= 0)
        zm_block_unref(block); /* the queues have references of their own */
    return rc;
}

/* With 0 the socket stays locked, until the part is done with. */
static int api_recv_begin(zm_socket *s, uint32_t generation, int flags, zm_part *out_part)
    ZM_TAKES_IF(0, zm_a_socket)
{
    int rc = lock_pair(s, generation, flags);
    if (ZM_UNLIKELY(rc != 0))
        return rc;
    rc = zm_socket_enter_locked(s);
    if (ZM_LIKELY(rc == 0))
        rc = zm_socket_recv_part_locked(s, out_part);
    if (ZM_UNLIKELY(rc < 0))
        zm_socket_lock_give(s);
    return rc;
}

static void part_done(zm_socket *s, const zm_part *part) ZM_LOCKED
{
    if (!part->block)
        s->current.block = NULL; /* part_take() */
    zm_socket_recv_done_locked(s);
}

static void api_recv_end(zm_socket *s, zm_part *part) ZM_GIVES(zm_a_socket)
{
    part_done(s, part);
    zm_socket_lock_give(s);
}

/* Gives up the lock with 0. */
static int api_recv_next(zm_socket *s, zm_part *part) ZM_LOCKED ZM_LOCKS_UNCHECKED
{
    part_done(s, part);
    if (zm_socket_recv_part_queued_locked(s, part) == 0)
        return 1;
    zm_socket_lock_give(s);
    return 0;
}

/* Is the part in a block that is no larger than that? */
static bool lies_in_block(const zm_part *part, size_t size_max)
{
    const zm_block *block = part->block;
    return block && part->data >= block->data && part->data < block->data + block->size
           && block->size <= size_max;
}

static zm_block *api_part_own(const zm_part *part)
{
    if (lies_in_block(part, part->size + OWN_BLOCK_SLACK))
        return zm_block_ref(part->block);
    zm_block *copy = zm_block_new(part->size);
    if (copy)
        memcpy(copy->data, part->data, part->size);
    return copy;
}

static zm_block *api_part_take(zm_part *part)
{
    zm_block *block = part->block;
    if (lies_in_block(part, SHARED_BLOCK_MAX)
        || lies_in_block(part, part->size + OWN_BLOCK_SLACK)) {
        part->block = NULL;
        return block;
    }
    block = api_part_own(part);
    if (block)
        part->data = block->data;
    return block;
}

static int64_t api_deadline(zm_socket *s, uint32_t generation, int direction)
{
    int rc = lock_pair(s, generation, direction);
    if (rc != 0)
        return rc == ZM_LATER ? rc : -1;
    int64_t deadline = zm_socket_deadline_locked(s, direction & ~ZM_PATIENT);
    zm_socket_lock_give(s);
    return deadline;
}

static int api_flush(zm_socket *s, uint32_t generation)
{
    zm_socket_flush(s, generation);
    return 0;
}

static int api_wait(zm_socket *s, uint32_t generation, int event, int64_t deadline_ns)
{
    zm_order_finish(s, true);
    if (!zm_socket_lock_generation(s, generation))
        return -ENOTSOCK;
    int rc = zm_socket_wait_locked(s, event, deadline_ns);
    zm_socket_leave(s);
    return rc;
}

static int api_spin(zm_socket *s, uint32_t generation)
{
    zm_order_finish(s, true);
    if (!zm_socket_lock_generation(s, generation))
        return -ENOTSOCK;
    int rc = zm_socket_spin_locked(s);
    zm_socket_leave(s);
    return rc;
}

/* --- blocks ---------------------------------------------------------------------------------- */

static zm_block *api_block_foreign(const void *data, size_t size, void (*release)(zm_block *),
                                   void *hint)
{
    zm_block *block = zm_alloc(sizeof *block);
    if (!block)
        return NULL;
    atomic_init(&block->refs, 1);
    block->size = size;
    block->data = (uint8_t *) (uintptr_t) data; /* never written: frozen from the start */
    block->release = release;
    block->hint = hint;
    return block;
}

static void api_block_foreign_free(zm_block *taken)
{
    zm_free(taken);
}

static zm_block *api_block_ref(zm_block *borrowed)
{
    return zm_block_ref(borrowed);
}

static void api_block_unref(zm_block *taken)
{
    zm_block_unref(taken);
}

/* --- process --------------------------------------------------------------------------------- */

static ZM_THREAD_LOCAL int last_errno;

static int64_t api_now_ns(void)
{
    return zm_now_ns();
}

static void api_set_errno(int error)
{
    last_errno = error;
}

int zm_last_errno(void)
{
    return last_errno;
}

void zm_set_last_errno(int error)
{
    last_errno = error;
}

static const zm_api api = {
    .size = sizeof api,
    .version = ZM_API_VERSION,
    .nobody = &zm_nobody,
    .socket_find = zm_socket_find,
    .send = api_send,
    .send_block = api_send_block,
    .recv_begin = api_recv_begin,
    .recv_end = api_recv_end,
    .recv_next = api_recv_next,
    .part_own = api_part_own,
    .part_take = api_part_take,
    .deadline = api_deadline,
    .context_new = zm_context_new,
    .context_set = zm_context_set_for,
    .context_get = zm_context_get_for,
    .socket_new = zm_socket_new_for,
    .socket_close = zm_socket_close_for,
    .set = zm_socket_set_for,
    .get = zm_socket_get_for,
    .bind = zm_socket_bind_for,
    .connect = zm_socket_connect_for,
    .endpoint_end = zm_endpoint_term,
    .monitor = zm_socket_monitor_for,
    .poll_glance = zm_poll_glance,
    .make_way = api_make_way,
    .flush = api_flush,
    .signals_are_mine = zm_signals_are_mine,
    .signals_pipe = zm_signals_pipe,
    .signals_heed = zm_signals_heed,
    .wait = api_wait,
    .spin = api_spin,
    .poll = zm_poll,
    .block_foreign = api_block_foreign,
    .block_foreign_free = api_block_foreign_free,
    .block_ref = api_block_ref,
    .block_unref = api_block_unref,
    .metadata_ref = zm_metadata_ref,
    .metadata_unref = zm_metadata_unref,
    .metadata_get = zm_metadata_get,
    .now_ns = api_now_ns,
    .strerror = zm_error_text,
    .set_errno = api_set_errno,
};

const zm_api *zm_api_get(void)
{
    return &api;
}

uintptr_t zm_api_address(void)
{
    return (uintptr_t) &api;
}

int zm_engine_init(const char *liburing_path, const char *driver)
{
    zm_fork_install();
    return zm_process_init(driver, false, liburing_path);
}

int zm_engine_init_alone(const char *driver)
{
    zm_fork_install();
    return zm_process_init(driver, true, NULL);
}

void zm_signals_exact_set(int on)
{
    zm_signals_exact = on;
}

int zm_signal_taken(void)
{
    bool taken = zm_signalled;
    zm_signalled = false;
    return taken;
}

int zm_has(const char *capability)
{
    if (!strcmp(capability, "curve"))
        return zm_crypto_get() != NULL;
    return !strcmp(capability, "ipc");
}

int zm_curve_keypair(char *out_public, char *out_secret)
{
    const zm_crypto *crypto = zm_crypto_get();
    uint8_t public_key[ZM_KEY_SIZE], secret_key[ZM_KEY_SIZE];
    if (!crypto || crypto->box_keypair(public_key, secret_key) < 0)
        return -ENOTSUP;
    zm_z85_encode(out_public, public_key, ZM_KEY_SIZE);
    zm_z85_encode(out_secret, secret_key, ZM_KEY_SIZE);
    explicit_bzero(secret_key, sizeof secret_key);
    return 0;
}

int zm_curve_public(char *out_public, const char *secret)
{
    const zm_crypto *crypto = zm_crypto_get();
    uint8_t public_key[ZM_KEY_SIZE], secret_key[ZM_KEY_SIZE];
    if (!crypto)
        return -ENOTSUP;
    if (strlen(secret) != ZM_Z85_LENGTH(ZM_KEY_SIZE)
        || zm_z85_decode(secret_key, secret, ZM_Z85_LENGTH(ZM_KEY_SIZE)) < 0)
        return -EINVAL;
    crypto->scalarmult_base(public_key, secret_key);
    explicit_bzero(secret_key, sizeof secret_key);
    zm_z85_encode(out_public, public_key, ZM_KEY_SIZE);
    return 0;
}

void zm_counts_get(zm_counts *out)
{
    out->blocks = zm_alloc_live();
    out->contexts = atomic_load(&zm_live_contexts);
    out->sockets = atomic_load(&zm_live_sockets);
    out->connections = atomic_load(&zm_live_connections);
    zm_sockets_driven(&out->in_flight, &out->entries);
    out->threads = atomic_load(&zm_live_threads);
}
