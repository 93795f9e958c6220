/* What the test calls, through support/extension.py. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "fake_api.h"

void *fake_api(void)
{
    return &api;
}

static zm_api wrong;
void *fake_api_wrong(uint32_t size, uint32_t version)
{
    wrong = api;
    wrong.size = size;
    wrong.version = version;
    return &wrong;
}

uint32_t fake_api_size(void)
{
    return sizeof(zm_api);
}

uint32_t fake_api_version(void)
{
    return ZM_API_VERSION;
}

/* A handle; the socket loops back to itself. */
int64_t fake_socket(void)
{
    for (int i = 0; i < SOCKETS_MAX; i++) {
        zm_socket *s = &sockets[i];
        if (s->alive)
            continue;
        uint32_t generation = s->generation + 1;
        int wake_fd = s->generation ? s->wake_fd : -1;
        memset(s, 0, sizeof *s);
        s->generation = generation;
        s->alive = 1;
        s->peer = s;
        s->hwm = QUEUE_MAX;
        s->timeout_ms = -1;
        /* Kept for the next one in this place, or each test would leave some behind. */
        s->wake_fd = wake_fd < 0 ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : wake_fd;
        eventfd_t before;
        eventfd_read(s->wake_fd, &before);
        return (int64_t) generation << 16 | i;
    }
    abort();
}

static zm_socket *at(int64_t handle)
{
    return &sockets[handle & 0xFFFF];
}

void fake_close(int64_t handle)
{
    zm_socket *s = at(handle);
    s->alive = 0;
    if (s->wake_fd >= 0)
        eventfd_write(s->wake_fd, 1);
    while (s->head != s->tail)
        zm_block_unref(s->queue[s->head++ % QUEUE_MAX].block);
}

/* Gives the descriptors back, once no thread waits any more. */
void fake_end(void)
{
    for (int i = 0; i < SOCKETS_MAX; i++) {
        if (sockets[i].generation && sockets[i].wake_fd >= 0)
            close(sockets[i].wake_fd);
        sockets[i].wake_fd = -1;
    }
}

void fake_pair(int64_t a, int64_t b)
{
    at(a)->peer = at(b);
    at(b)->peer = at(a);
}

/* `call`: 's'end, 'r'ecv_begin, 'w'ait, poll_'g'lance, 'p'oll, one that is 'b'rief: answer `value`
 * next time. */
void fake_script(int64_t handle, int call, int value)
{
    zm_socket *s = at(handle);
    script *to = call == 's'   ? &s->on_send
                 : call == 'r' ? &s->on_recv
                 : call == 'w' ? &s->on_wait
                 : call == 'g' ? &s->on_glance
                 : call == 'p' ? &s->on_poll
                               : &s->on_brief;
    if (to->next == to->count)
        to->next = to->count = 0;
    to->answers[to->count++] = value;
}

int64_t fake_count(int64_t handle, int what)
{
    zm_socket *s = at(handle);
    switch (what) {
    case 's':
        return s->sends;
    case 'b':
        return s->send_blocks;
    case 'f':
        return s->flushes;
    case 'w':
        return s->waits;
    case 'd':
        return s->deadlines;
    case 'q':
        return s->tail - s->head;
    case 'D':
        return s->last_deadline;
    case 'g':
        return s->glances;
    case 'p':
        return s->polls;
    case 'B':
        return s->brief_calls;
    case 'L':
        return s->long_calls;
    case 'l':
        return s->lock_waits;
    case 'P':
        return s->patient;
    default:
        return -1;
    }
}

void fake_set(int64_t handle, int what, int value)
{
    zm_socket *s = at(handle);
    if (what == 'h')
        s->hwm = value;
    else if (what == 't')
        s->timeout_ms = value;
    else if (what == 'm')
        s->with_metadata = value;
    else if (what == 'w' && value) /* no eventfd writes: for timing */
        close(s->wake_fd), s->wake_fd = -1;
}

int fake_locked(void)
{
    return any_locked;
}

int fake_violations(void)
{
    return violations;
}

int fake_last_errno(void)
{
    return last_errno;
}

int64_t fake_live(void)
{
    return zm_alloc_live();
}

int fake_metadata_refs(void)
{
    return metadata.refs;
}

void fake_fail_after(int64_t n)
{
    zm_alloc_fail_after(n);
}

/* From now on the engine keeps what is sent by send_block(), until let_go(). */
void fake_keep_sent(void)
{
    keep_sent = 1;
}

static void *let_go(void *unused)
{
    (void) unused;
    while (kept_count)
        zm_block_unref(kept[--kept_count]);
    return NULL;
}

/* Lets go on a thread of the engine's own, as the I/O thread would; returns when it has ended. */
void fake_let_go(void)
{
    pthread_t thread;
    keep_sent = 0;
    if (pthread_create(&thread, NULL, let_go, NULL) == 0)
        pthread_join(thread, NULL);
}

/* Lets go inside the next send_block(), on the caller's thread. */
void fake_let_go_on_send(int on)
{
    keep_sent = 0;
    let_go_on_send = on;
}

static int let_go_delay_ms;
static void *let_go_later(void *unused)
{
    struct timespec delay = {.tv_nsec = let_go_delay_ms * 1000000L};
    nanosleep(&delay, NULL);
    return let_go(unused);
}

/* The same after a while, in the background; fake_join() waits for the thread. */
static pthread_t later;
int fake_let_go_later(int ms)
{
    keep_sent = 0;
    let_go_delay_ms = ms;
    return pthread_create(&later, NULL, let_go_later, NULL);
}

void fake_join(void)
{
    pthread_join(later, NULL);
}

/* A message from outside, whatever the peer. */
void fake_deliver(int64_t handle, const void *data, size_t size, int more)
{
    zm_block *block = zm_block_new(size);
    memcpy(block->data, data, size);
    zm_socket *s = at(handle);
    s->queue[s->tail++ % QUEUE_MAX] = (item){.block = block, .size = size, .more = more};
    if (s->wake_fd >= 0)
        eventfd_write(s->wake_fd, 1);
}

/* Nanoseconds of one send() and recv() of 64 bytes through the table alone. */
double fake_api_cost_ns(int64_t handle, int rounds)
{
    zm_socket *s = at(handle);
    static const char body[64];
    char out[64];
    int64_t begin = now_ns();
    for (int i = 0; i < rounds; i++) {
        zm_part part;
        api.send(s, s->generation, body, sizeof body, 0);
        if (api.recv_begin(s, s->generation, 0, &part) == 0) {
            memcpy(out, part.data, part.size);
            __asm__ volatile("" : : "r"(out) : "memory");
            api.recv_end(s, &part);
        }
    }
    return (double) (now_ns() - begin) / rounds;
}
