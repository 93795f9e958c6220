/* A ring made and ended by system calls alone, in liburing's structure. Kernels that the driver can
 * use at all (5.11) have both rings in one mapping. */
#include "uring_calls.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OFFSET_RINGS = 0, OFFSET_SQES = 0x10000000 };
enum { FEATURE_SINGLE_MMAP = 1 << 0, REGISTER_SEND_MSG_RING = 31 };

/* Where the kernel put the parts of a ring, in bytes from the start of the mapping. */
typedef struct offsets {
    uint32_t head, tail, mask, entries, word[3]; /* sq: flags, dropped, array; cq: overflow, cqes,
                                                    flags */
} offsets;

static offsets offsets_from(const uint64_t *source)
{
    offsets at;
    memcpy(&at, source, sizeof at);
    return at;
}

static void *map(int fd, size_t size, off_t offset)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
    return at == MAP_FAILED ? NULL : at;
}

static int map_rings(zm_liburing_ring *ring, const zm_uring_params *params)
{
    offsets sq = offsets_from(params->sq_offsets), cq = offsets_from(params->cq_offsets);
    size_t sq_end = sq.word[2] + params->sq_entries * sizeof(uint32_t);
    size_t cq_end = cq.word[1] + params->cq_entries * sizeof(zm_uring_cqe);
    ring->sq.ring_size = sq_end > cq_end ? sq_end : cq_end;
    ring->sq.sqes_size = params->sq_entries * (unsigned) sizeof(zm_uring_sqe);
    char *base = map(ring->ring_fd, ring->sq.ring_size, OFFSET_RINGS);
    if (!base)
        return -errno;
    ring->sq.ring = ring->cq.ring = base;
    ring->sq.sqes = map(ring->ring_fd, ring->sq.sqes_size, OFFSET_SQES);
    if (!ring->sq.sqes)
        return -errno;
    ring->sq.khead = (unsigned *) (base + sq.head);
    ring->sq.ktail = (unsigned *) (base + sq.tail);
    ring->sq.kring_mask = (unsigned *) (base + sq.mask);
    ring->sq.kring_entries = (unsigned *) (base + sq.entries);
    ring->sq.kflags = (unsigned *) (base + sq.word[0]);
    ring->sq.kdropped = (unsigned *) (base + sq.word[1]);
    ring->sq.array = (unsigned *) (base + sq.word[2]);
    ring->sq.ring_mask = *ring->sq.kring_mask;
    ring->sq.ring_entries = *ring->sq.kring_entries;
    ring->cq.khead = (unsigned *) (base + cq.head);
    ring->cq.ktail = (unsigned *) (base + cq.tail);
    ring->cq.kring_mask = (unsigned *) (base + cq.mask);
    ring->cq.kring_entries = (unsigned *) (base + cq.entries);
    ring->cq.koverflow = (unsigned *) (base + cq.word[0]);
    ring->cq.cqes = (zm_uring_cqe *) (void *) (base + cq.word[1]);
    ring->cq.kflags = cq.word[2] ? (unsigned *) (base + cq.word[2]) : NULL;
    ring->cq.ring_size = ring->sq.ring_size;
    ring->cq.ring_mask = *ring->cq.kring_mask;
    ring->cq.ring_entries = *ring->cq.kring_entries;
    for (unsigned i = 0; i < ring->sq.ring_entries; i++)
        ring->sq.array[i] = i;
    return 0;
}

int zm_uring_calls_init(unsigned entries, zm_liburing_ring *ring, zm_uring_params *params)
{
    memset(ring, 0, sizeof *ring);
    long fd = syscall(SYS_io_uring_setup, entries, params);
    if (fd < 0)
        return -errno;
    ring->ring_fd = ring->enter_ring_fd = (int) fd;
    ring->flags = params->flags;
    ring->features = params->features;
    int rc = params->features & FEATURE_SINGLE_MMAP ? map_rings(ring, params) : -ENOSYS;
    if (rc < 0)
        zm_uring_calls_exit(ring);
    return rc;
}

void zm_uring_calls_exit(zm_liburing_ring *ring)
{
    if (ring->sq.sqes)
        munmap(ring->sq.sqes, ring->sq.sqes_size);
    if (ring->sq.ring)
        munmap(ring->sq.ring, ring->sq.ring_size);
    close(ring->ring_fd);
}

int zm_uring_calls_dontfork(zm_liburing_ring *ring)
{
    if (madvise(ring->sq.sqes, ring->sq.sqes_size, MADV_DONTFORK) < 0
        || madvise(ring->sq.ring, ring->sq.ring_size, MADV_DONTFORK) < 0)
        return -errno;
    return 0;
}

int zm_uring_calls_enter2(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                          void *argument, size_t size)
{
    long rc = syscall(SYS_io_uring_enter, fd, to_submit, min_complete, flags, argument, size);
    return rc < 0 ? -errno : (int) rc;
}

int zm_uring_calls_sync_msg(zm_uring_sqe *sqe)
{
    long rc = syscall(SYS_io_uring_register, -1, REGISTER_SEND_MSG_RING, sqe, 1);
    return rc < 0 ? -errno : (int) rc;
}
