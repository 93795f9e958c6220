/* A two-level table of atomic words indexed by descriptor. The first chunk is static, so that
 * nothing is allocated in ordinary programs; later chunks are made on demand and stay. Knows
 * nothing of what the descriptors are. */
#define _GNU_SOURCE
#include "fds.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "check.h"

/* 4096 x 16384 = 64 M descriptors; Linux's default fs.nr_open is 1 M. */
enum { CHUNK_FDS = 4096, CHUNKS = 16384 };

/* Bit 0: registered; bit 1: it was the program's. The rest counts the registrations of this
 * number. */
enum { REGISTERED = 1, ADOPTED = 2, GENERATION_STEP = 4 };

typedef struct fd_chunk {
    _Atomic uint32_t words[CHUNK_FDS];
} fd_chunk;

static fd_chunk first_chunk;
static _Atomic(fd_chunk *) later_chunks[CHUNKS];
static _Atomic int64_t registered_count;
static _Atomic uint32_t fork_generation;

static fd_chunk *chunk_at(size_t index)
{
    return index == 0 ? &first_chunk
                      : atomic_load_explicit(&later_chunks[index], memory_order_acquire);
}

/* NULL for a descriptor beyond the table, or one whose chunk does not exist. */
static _Atomic uint32_t *word_of(int fd)
{
    size_t index = (size_t) fd / CHUNK_FDS;
    if (fd < 0 || index >= CHUNKS)
        return NULL;
    fd_chunk *chunk = chunk_at(index);
    return chunk ? &chunk->words[fd % CHUNK_FDS] : NULL;
}

/* Without memory the descriptor stays unregistered: a forked child then keeps its copy open. */
static void make_chunk(int fd)
{
    size_t index = (size_t) fd / CHUNK_FDS;
    if (index == 0 || index >= CHUNKS)
        return;
    fd_chunk *made = zm_calloc(sizeof *made), *present = NULL;
    if (made && !atomic_compare_exchange_strong(&later_chunks[index], &present, made))
        zm_free(made); /* another thread was faster */
}

static void enter(int fd, uint32_t bits)
{
    if (fd < 0)
        return;
    _Atomic uint32_t *word = word_of(fd);
    if (ZM_UNLIKELY(!word)) {
        make_chunk(fd);
        if (!(word = word_of(fd)))
            return;
    }
    uint32_t seen = atomic_load_explicit(word, memory_order_relaxed);
    uint32_t wanted;
    do {
        wanted = ((seen + GENERATION_STEP) & ~(uint32_t) ADOPTED) | bits;
    } while (!atomic_compare_exchange_weak_explicit(word, &seen, wanted, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (!(seen & REGISTERED))
        atomic_fetch_add_explicit(&registered_count, 1, memory_order_relaxed);
}

void zm_fd_own(int fd)
{
    enter(fd, REGISTERED);
}

void zm_fd_adopt(int fd)
{
    enter(fd, REGISTERED | ADOPTED);
}

bool zm_fd_is_adopted(int fd)
{
    return zm_fd_generation(fd) & ADOPTED;
}

int zm_fd_release(int fd)
{
    _Atomic uint32_t *word = word_of(fd);
    if (word
        && (atomic_fetch_and_explicit(word, ~(uint32_t) REGISTERED, memory_order_acq_rel)
            & REGISTERED))
        atomic_fetch_sub_explicit(&registered_count, 1, memory_order_relaxed);
    return fd;
}

void zm_fd_close(int fd)
{
    if (fd < 0)
        return;
    /* Unregistered first: once closed, the number may be another thread's new descriptor. Not
     * repeated after EINTR: on Linux the descriptor is gone then. */
    close(zm_fd_release(fd));
}

enum {
    USUAL_FDS = 1024, /* RLIMIT_NOFILE, nearly everywhere */
    LINKS_ALONE = 3, /* of the threads' directory with one in it */
};

void zm_fds_make_room(int fd)
{
    struct stat threads;
    if (stat("/proc/self/task", &threads) < 0 || threads.st_nlink != LINKS_ALONE)
        return;
    int last = fcntl(fd, F_DUPFD_CLOEXEC, USUAL_FDS - 1);
    if (last >= 0)
        close(last);
}

int64_t zm_fd_count(void)
{
    return atomic_load_explicit(&registered_count, memory_order_relaxed);
}

uint32_t zm_fd_generation(int fd)
{
    _Atomic uint32_t *word = word_of(fd);
    uint32_t value = word ? atomic_load_explicit(word, memory_order_acquire) : 0;
    return value & REGISTERED ? value : 0;
}

void zm_fd_close_all_after_fork(void)
{
    atomic_fetch_add(&fork_generation, 1);
    for (size_t index = 0; index < CHUNKS; index++) {
        fd_chunk *chunk = chunk_at(index);
        for (size_t i = 0; chunk && i < CHUNK_FDS; i++) {
            int fd = (int) (index * CHUNK_FDS + i);
            if (zm_fd_is_adopted(fd))
                zm_fd_release(fd);
            else if (atomic_load_explicit(&chunk->words[i], memory_order_relaxed) & REGISTERED)
                zm_fd_close(fd);
        }
    }
}

uint32_t zm_fork_generation(void)
{
    return atomic_load_explicit(&fork_generation, memory_order_relaxed);
}
