/* What a thread claimed on its way into wait() is given up by the next reap. The harm of a claim
 * that stays comes after 2^31 requests, so this reaches into the driver instead of making them:
 *
 *     ring_claim LIBURING STUBS
 *
 * Exit 0: passed, 77: no io_uring here, else: failed. */
#include <dlfcn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "driver/io_uring_private.h"

#define CHECK(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
            _exit(1); \
        } \
    } while (0)

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    CHECK(dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL));
    if (zm_uring_load(argv[1]) < 0) {
        printf("%s\n", zm_uring_reason());
        return 77;
    }
    zm_driver *driver;
    CHECK(zm_driver_open(ZM_DRIVER_IO_URING, &driver) == 0);
    zm_uring *u = uring_of(driver);
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);

    /* Another thread waited once; 2^31 + 1 requests later. */
    u->claim_tail = atomic_load(u->sq_head) - (1u << 31) - 1;
    u->claim_thread = zm_thread_id() + 1;
    zm_completion done;
    CHECK(zm_driver_reap(driver, &done, 1) == 0);

    zm_op op = {0};
    char byte = 0;
    zm_driver_recv(driver, &op, fds[0], &byte, 1);
    zm_driver_submit(driver);
    CHECK(op.thread == zm_thread_id()); /* 0: taken for one that the other thread submitted too */
    CHECK(write(fds[1], "x", 1) == 1);
    zm_driver_wait_prepare(driver);
    CHECK(zm_driver_wait(driver, zm_now_ns() + 20000 * ZM_MS, 0) == 0);
    CHECK(zm_driver_reap(driver, &done, 1) == 1 && done.res == 1 && byte == 'x');
    zm_driver_close(driver);
    return 0;
}
