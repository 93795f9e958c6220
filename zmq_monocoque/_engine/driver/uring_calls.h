/* The five functions of liburing that the driver needs, for processes that cannot load
 * python-liburing: its shared object is bound to the interpreter's symbols. */
#ifndef ZM_DRIVER_URING_CALLS_H
#define ZM_DRIVER_URING_CALLS_H

#include "uring_abi.h"

int zm_uring_calls_init(unsigned entries, zm_liburing_ring *ring, zm_uring_params *params);
void zm_uring_calls_exit(zm_liburing_ring *ring);
int zm_uring_calls_dontfork(zm_liburing_ring *ring);
int zm_uring_calls_enter2(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                          void *argument, size_t size);
int zm_uring_calls_sync_msg(zm_uring_sqe *sqe);

#endif
