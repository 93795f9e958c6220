/* What the tests of the drivers share: how they check, what they do again and again, and their
 * tables. One process a test (main.c). */
#ifndef DRIVERS_H
#define DRIVERS_H

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/lock.h"
#include "driver/driver.h"

#define CHECK(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "%s:%d: not so: %s (errno %d %s)\n", __FILE__, __LINE__, #x, errno, \
                    strerror(errno)); \
            _exit(1); \
        } \
    } while (0)
#define CHECK_EQUAL(a, b) \
    do { \
        long long left_ = (long long) (a), right_ = (long long) (b); \
        if (left_ != right_) { \
            fprintf(stderr, "%s:%d: %s is %lld, not %s = %lld\n", __FILE__, __LINE__, #a, left_, \
                    #b, right_); \
            _exit(1); \
        } \
    } while (0)

#define LIMIT (zm_now_ns() + 20000 * ZM_MS)

extern const char *liburing_path;
extern zm_driver_kind kind;
extern zm_driver *driver;
extern zm_lock lock;

/* --- helpers.c ----------------------------------------------------------------------------- */

void open_driver(void);
void pair(int fds[2]);
void close_pair(int fds[2]);
int listener(struct sockaddr_in *address, int backlog);
int tcp_socket(void);
int32_t result_of(zm_op *op);
void nothing_completes(void);
void wait_for_something(int64_t spin_ns);
bool fd_readable(void);
void wait_fd_readable(void);
pthread_t run(void *(*function)(void *), void *argument);
struct msghdr *message(struct msghdr *header, struct iovec *vector, void *data, size_t size);

/* --- tables: one a file, up to a test without a name ----------------------------------------- */

typedef struct driver_test {
    const char *name;
    void (*function)(void);
} driver_test;

#define TEST(name) {#name, name}
extern const driver_test request_tests[], waiting_tests[], thread_tests[], random_tests[],
    opening_tests[], fault_tests[];

#endif
