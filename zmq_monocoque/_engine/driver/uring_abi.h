/* The part of io_uring's kernel interface and of liburing 2.15's structures that we use, declared
 * by ourselves: the functions come from python-liburing's shared object at run time, so neither
 * liburing's headers nor recent kernel headers are needed to build. The numbers are ABI.
 * Source: Linux include/uapi/linux/io_uring.h, liburing src/include/liburing.h. */
#ifndef ZM_DRIVER_URING_ABI_H
#define ZM_DRIVER_URING_ABI_H

#include <stddef.h>
#include <stdint.h>

/* --- kernel -------------------------------------------------------------------------------- */
typedef struct zm_uring_sqe {
    uint8_t opcode;
    uint8_t flags;
    uint16_t ioprio;
    int32_t fd;
    uint64_t off;  /* connect: size of the address; msg_ring: user_data at the target */
    uint64_t addr;
    uint32_t len;  /* msg_ring: res at the target */
    uint32_t op_flags; /* msg_flags, accept_flags, poll32_events ... by opcode */
    uint64_t user_data;
    uint16_t buf_index;
    uint16_t personality;
    int32_t file_index;
    uint64_t addr3;
    uint64_t reserved;
} zm_uring_sqe;
_Static_assert(sizeof(zm_uring_sqe) == 64, "ABI");

typedef struct zm_uring_cqe {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
} zm_uring_cqe;
_Static_assert(sizeof(zm_uring_cqe) == 16, "ABI");

typedef struct zm_uring_params {
    uint32_t sq_entries, cq_entries;
    uint32_t flags;
    uint32_t sq_thread_cpu, sq_thread_idle;
    uint32_t features;
    uint32_t wq_fd;
    uint32_t reserved[3];
    uint64_t sq_offsets[5], cq_offsets[5];
} zm_uring_params;
_Static_assert(sizeof(zm_uring_params) == 120, "ABI");

typedef struct zm_uring_timespec {
    int64_t tv_sec;
    int64_t tv_nsec;
} zm_uring_timespec;

/* The last argument of io_uring_enter2() with ZM_URING_ENTER_EXT_ARG. */
typedef struct zm_uring_wait_arg {
    uint64_t sigmask;
    uint32_t sigmask_size;
    uint32_t min_wait_us;
    uint64_t timespec; /* of zm_uring_timespec, relative; 0: no limit */
} zm_uring_wait_arg;
_Static_assert(sizeof(zm_uring_wait_arg) == 24, "ABI");

enum {
    ZM_URING_OP_POLL_ADD = 6,
    ZM_URING_OP_SENDMSG = 9,
    ZM_URING_OP_ACCEPT = 13,
    ZM_URING_OP_ASYNC_CANCEL = 14,
    ZM_URING_OP_CONNECT = 16,
    ZM_URING_OP_RECV = 27,
    ZM_URING_OP_MSG_RING = 40,
};

enum {
    ZM_URING_SETUP_CQSIZE = 1u << 3,
    ZM_URING_SETUP_CLAMP = 1u << 4,
    ZM_URING_SETUP_SUBMIT_ALL = 1u << 7,   /* Linux 5.18 */
    ZM_URING_SETUP_COOP_TASKRUN = 1u << 8, /* Linux 5.19 */
    ZM_URING_SETUP_TASKRUN_FLAG = 1u << 9, /* Linux 5.19 */
};

enum {
    ZM_URING_FEATURE_NODROP = 1u << 1, /* Linux 5.5: completions that do not fit are kept */
    ZM_URING_FEATURE_SUBMIT_STABLE = 1u << 2, /* Linux 5.5 */
    ZM_URING_FEATURE_FAST_POLL = 1u << 5, /* Linux 5.7: poll is armed by itself */
    ZM_URING_FEATURE_EXT_ARG = 1u << 8, /* Linux 5.11: a wait with a time limit */
};

enum { ZM_URING_ENTER_GETEVENTS = 1u << 0, ZM_URING_ENTER_EXT_ARG = 1u << 3 };
enum { ZM_URING_SQ_CQ_OVERFLOW = 1u << 1, ZM_URING_SQ_TASKRUN = 1u << 2 };
enum { ZM_URING_CQE_MORE = 1u << 1, ZM_URING_CQE_SOCK_NONEMPTY = 1u << 2 }; /* the latter: 5.19 */
enum { ZM_URING_RECV_POLL_FIRST = 1u << 0 }; /* in ioprio; Linux 5.19 */
enum { ZM_URING_POLL_MULTI = 1u << 0 };

/* --- liburing ------------------------------------------------------------------------------ */
typedef struct zm_liburing_sq {
    unsigned *khead, *ktail, *kring_mask, *kring_entries, *kflags, *kdropped, *array;
    zm_uring_sqe *sqes;
    unsigned sqe_head, sqe_tail;
    size_t ring_size;
    void *ring;
    unsigned ring_mask, ring_entries;
    unsigned sqes_size;
    unsigned pad;
} zm_liburing_sq;

typedef struct zm_liburing_cq {
    unsigned *khead, *ktail, *kring_mask, *kring_entries, *kflags, *koverflow;
    zm_uring_cqe *cqes;
    size_t ring_size;
    void *ring;
    unsigned ring_mask, ring_entries;
    unsigned pad[2];
} zm_liburing_cq;

typedef struct zm_liburing_ring {
    zm_liburing_sq sq;
    zm_liburing_cq cq;
    unsigned flags;
    int ring_fd;
    unsigned features;
    int enter_ring_fd;
    uint8_t int_flags;
    uint8_t pad[3];
    unsigned pad2;
    uint64_t spare[16]; /* ours: room for a liburing whose structure has grown at its end */
} zm_liburing_ring;
_Static_assert(offsetof(zm_liburing_ring, spare) == 216, "liburing 2.15");

#endif
