/* What the extension calls: the table, and each of its functions. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/errors.h"
#include "fake_api.h"

zm_socket sockets[SOCKETS_MAX];
int any_locked, violations, last_errno;
int keep_sent, let_go_on_send;
zm_block *kept[KEPT_MAX];
int kept_count;
zm_metadata metadata = {.refs = 0};
static zm_socket nobody;

int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int scripted(script *s, int *out)
{
    if (s->next == s->count)
        return 0;
    *out = s->answers[s->next++];
    return 1;
}

static int stale(const zm_socket *s, uint32_t generation)
{
    return !s->alive || s->generation != generation;
}

/* For calls with the GIL: every one while a part is being read is against the contract. */
static int gone(const zm_socket *s, uint32_t generation)
{
    violations += any_locked;
    return stale(s, generation);
}

static zm_socket *socket_find(int64_t handle, uint32_t *out_generation)
{
    uint32_t index = (uint32_t) handle & 0xFFFF, generation = (uint32_t) (handle >> 16);
    if (handle <= 0 || index >= SOCKETS_MAX || sockets[index].generation != generation
        || !sockets[index].alive)
        return NULL;
    *out_generation = generation;
    return &sockets[index];
}

static int put(zm_socket *s, zm_block *taken, size_t size, int flags)
{
    zm_socket *to = s->peer;
    to->queue[to->tail++ % QUEUE_MAX] = (item){
        .block = taken, .size = size, .more = flags & ZM_SNDMORE};
    if (to->wake_fd >= 0)
        eventfd_write(to->wake_fd, 1);
    return 0;
}

static int full(const zm_socket *s)
{
    return s->peer->tail - s->peer->head >= (unsigned) s->hwm;
}

static int api_send(zm_socket *s, uint32_t generation, const void *data, size_t size, int flags)
{
    int answer = 0;
    if (gone(s, generation))
        return -ENOTSOCK;
    s->sends++;
    s->patient += !!(flags & ZM_PATIENT);
    scripted(&s->on_send, &answer);
    if (answer < 0 || full(s))
        return answer < 0 ? answer : -EAGAIN;
    zm_block *block = zm_block_new(size);
    if (!block)
        return -ENOMEM;
    memcpy(block->data, data, size);
    put(s, block, size, flags);
    return answer;
}

static int api_send_block(zm_socket *s, uint32_t generation, zm_block *block, size_t size,
                          int flags)
{
    int answer = 0;
    if (gone(s, generation))
        return -ENOTSOCK;
    s->send_blocks++;
    s->patient += !!(flags & ZM_PATIENT);
    while (let_go_on_send && kept_count)
        zm_block_unref(kept[--kept_count]);
    scripted(&s->on_send, &answer);
    if (answer < 0 || full(s))
        return answer < 0 ? answer : -EAGAIN;
    if (keep_sent && kept_count < KEPT_MAX)
        kept[kept_count++] = zm_block_ref(block);
    put(s, block, size, flags);
    return answer;
}

static int recv_begin(zm_socket *s, uint32_t generation, int flags, zm_part *part)
{
    int answer = 0;
    s->patient += !!(flags & ZM_PATIENT);
    if (gone(s, generation))
        return -ENOTSOCK;
    if (scripted(&s->on_recv, &answer) && answer < 0)
        return answer;
    if (s->head == s->tail)
        return -EAGAIN;
    s->current = s->queue[s->head++ % QUEUE_MAX];
    s->last_more = s->current.more;
    *part = (zm_part){.data = s->current.block->data,
                      .size = s->current.size,
                      .block = s->current.block,
                      .metadata = s->with_metadata ? &metadata : NULL,
                      .more = !!s->current.more};
    s->locked = any_locked = 1;
    return 0;
}

static void recv_end(zm_socket *s, zm_part *part)
{
    violations += !s->locked || part->block != s->current.block;
    s->locked = any_locked = 0;
    zm_block_unref(s->current.block);
    if (s->tail - s->head == (unsigned) s->hwm - 1 && s->peer->wake_fd >= 0)
        eventfd_write(s->peer->wake_fd, 1); /* room again */
}

static int recv_next(zm_socket *s, zm_part *part)
{
    recv_end(s, part);
    return recv_begin(s, s->generation, 0, part) == 0;
}

static zm_block *part_own(const zm_part *part)
{
    violations += !any_locked;
    if (part->size >= 8192)
        return zm_block_ref(part->block);
    zm_block *copy = zm_block_new(part->size);
    if (copy)
        memcpy(copy->data, part->data, part->size);
    return copy;
}

static int64_t deadline(zm_socket *s, uint32_t generation, int direction)
{
    (void) direction;
    if (gone(s, generation))
        return -1;
    s->deadlines++;
    return s->timeout_ms <= 0 ? s->timeout_ms : now_ns() + s->timeout_ms * 1000000LL;
}

/* A handle's socket, for calls that take `brief`: as scripted, then for real. */
static int brief_call(int64_t handle, bool brief, zm_socket **out)
{
    uint32_t generation;
    int answer;
    zm_socket *s = socket_find(handle, &generation);
    violations += any_locked;
    if (!s)
        return -ENOTSOCK;
    s->brief_calls += brief;
    s->long_calls += !brief;
    *out = s;
    return brief && scripted(&s->on_brief, &answer) ? answer : 0;
}

static int get(int64_t handle, int option, void *out, size_t *inout_size, bool brief)
{
    zm_socket *s;
    int rc = brief_call(handle, brief, &s);
    if (rc < 0 || option < 0)
        return rc < 0 ? rc : -EINVAL;
    if (*inout_size > sizeof s->option) { /* as text, with its NUL */
        *inout_size = s->option_size;
        memcpy(out, s->bytes, s->option_size);
        return 0;
    }
    memcpy(out, &s->option, *inout_size);
    return 0;
}

static int set(int64_t handle, int option, const void *value, size_t size, bool brief)
{
    zm_socket *s;
    int rc = brief_call(handle, brief, &s);
    if (rc < 0 || option < 0)
        return rc < 0 ? rc : -EINVAL;
    s->option = 0;
    memcpy(&s->option, value, size < sizeof s->option ? size : sizeof s->option);
    s->option_size = size < sizeof s->bytes ? size : sizeof s->bytes;
    memcpy(s->bytes, value, s->option_size);
    return 0;
}

static int endpoint(int64_t handle, const char *text, bool brief)
{
    zm_socket *s;
    (void) text;
    return brief_call(handle, brief, &s);
}

static int monitor(int64_t handle, const char *text, int events, bool brief)
{
    (void) events;
    return endpoint(handle, text, brief);
}

static int socket_close(int64_t handle, bool brief)
{
    zm_socket *s;
    int rc = brief_call(handle, brief, &s);
    if (rc == 0)
        fake_close(handle);
    return rc;
}

static int64_t socket_new(int64_t context, int type, bool brief)
{
    (void) brief;
    return type < 0 ? -EINVAL : context == 1 ? fake_socket() : -EFAULT;
}

static void make_way(zm_socket *s, uint32_t generation)
{
    (void) generation;
    s->lock_waits++;
}

static int flush(zm_socket *s, uint32_t generation)
{
    if (!stale(s, generation))
        s->flushes++;
    return 0;
}

static int api_wait(zm_socket *s, uint32_t generation, int event, int64_t end)
{
    int answer;
    if (stale(s, generation))
        return -ENOTSOCK;
    s->waits++;
    s->last_deadline = end;
    if (scripted(&s->on_wait, &answer))
        return answer;
    for (;;) {
        if (!s->alive)
            return -ENOTSOCK;
        if (event == ZM_POLLIN ? s->head != s->tail : !full(s))
            return 0;
        int64_t left = end < 0 ? 1000000000 : end - now_ns();
        if (left <= 0)
            return -EAGAIN;
        struct pollfd fd = {.fd = s->wake_fd, .events = POLLIN};
        struct timespec time = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        if (ppoll(&fd, 1, &time, NULL) < 0 && errno == EINTR)
            return -EINTR;
        eventfd_t value;
        if (fd.revents)
            eventfd_read(s->wake_fd, &value);
    }
}

static int spin(zm_socket *s, uint32_t generation)
{
    return stale(s, generation) ? -ENOTSOCK : s->head != s->tail;
}

/* The first socket among the items is the one that is scripted and counted. */
static int look(zm_pollitem *items, int count, int glance)
{
    int ready = 0, first = 1;
    for (int i = 0; i < count; i++) {
        uint32_t generation;
        int answer;
        items[i].revents = 0;
        if (items[i].socket < 0)
            continue;
        zm_socket *s = socket_find(items[i].socket, &generation);
        if (!s)
            return -ENOTSOCK;
        if (first) {
            s->glances += glance;
            s->polls += !glance;
            if (scripted(glance ? &s->on_glance : &s->on_poll, &answer))
                return answer;
        }
        first = 0;
        items[i].revents = items[i].events
                           & ((s->head != s->tail ? ZM_POLLIN : 0) | (full(s) ? 0 : ZM_POLLOUT));
        ready += items[i].revents != 0;
    }
    return ready;
}

static int poll_glance(zm_pollitem *items, int count)
{
    violations += any_locked;
    return look(items, count, 1);
}

static int api_poll(zm_pollitem *items, int count, int64_t end)
{
    (void) end;
    return look(items, count, 0);
}

static zm_block *block_foreign(const void *data, size_t size, void (*release)(zm_block *),
                               void *hint)
{
    zm_block *block = zm_alloc(sizeof *block);
    if (!block)
        return NULL;
    atomic_init(&block->refs, 1);
    block->data = (uint8_t *) (uintptr_t) data;
    block->size = size;
    block->release = release;
    block->hint = hint;
    return block;
}

static void block_foreign_free(zm_block *taken)
{
    zm_free(taken);
}

static zm_block *block_ref(zm_block *borrowed)
{
    return zm_block_ref(borrowed);
}

static void block_unref(zm_block *taken)
{
    zm_block_unref(taken);
}

static zm_metadata *metadata_ref(zm_metadata *borrowed)
{
    borrowed->refs++;
    return borrowed;
}

static void metadata_unref(zm_metadata *taken)
{
    taken->refs--;
}

static const char *metadata_get(const zm_metadata *borrowed, const char *name)
{
    (void) borrowed;
    if (strcmp(name, "Socket-Type") == 0)
        return "PUSH";
    if (strcmp(name, "__fd") == 0)
        return "12";
    return strcmp(name, "Odd") == 0 ? "\xff" : NULL;
}

static const char *api_strerror(int error)
{
    (void) error;
    return "error";
}

static void set_errno(int error)
{
    last_errno = error;
}

static bool signals_are_mine(void)
{
    return false;
}

static int signals_pipe(void)
{
    return -1;
}

static int64_t signals_heed(int64_t look_ns)
{
    return look_ns;
}

zm_api api = {
    .size = sizeof(zm_api),
    .version = ZM_API_VERSION,
    .nobody = &nobody,
    .socket_find = socket_find,
    .send = api_send,
    .send_block = api_send_block,
    .recv_begin = recv_begin,
    .recv_end = recv_end,
    .recv_next = recv_next,
    .part_own = part_own,
    .deadline = deadline,
    .socket_new = socket_new,
    .socket_close = socket_close,
    .set = set,
    .get = get,
    .bind = endpoint,
    .connect = endpoint,
    .endpoint_end = endpoint,
    .monitor = monitor,
    .poll_glance = poll_glance,
    .make_way = make_way,
    .flush = flush,
    .signals_are_mine = signals_are_mine,
    .signals_pipe = signals_pipe,
    .signals_heed = signals_heed,
    .wait = api_wait,
    .spin = spin,
    .poll = api_poll,
    .block_foreign = block_foreign,
    .block_foreign_free = block_foreign_free,
    .block_ref = block_ref,
    .block_unref = block_unref,
    .metadata_ref = metadata_ref,
    .metadata_unref = metadata_unref,
    .metadata_get = metadata_get,
    .now_ns = now_ns,
    .strerror = api_strerror,
    .set_errno = set_errno,
};
