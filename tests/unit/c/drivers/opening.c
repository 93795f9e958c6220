/* Opening, forking, and the table of descriptors. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "drivers.h"

static void a_forked_child_closes_its_copies_only(void)
{
    int s[2];
    pair(s);
    char buffer[4];
    zm_op op = {0};
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    nothing_completes();
    int kept = dup(s[1]); /* not the engine's */
    CHECK(zm_fd_count() >= 3);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        zm_driver_after_fork();
        zm_fd_close_all_after_fork();
        CHECK_EQUAL(zm_fd_count(), 0);
        CHECK(fcntl(s[0], F_GETFD) < 0 && fcntl(s[1], F_GETFD) < 0);
        CHECK(fcntl(zm_driver_fd(driver), F_GETFD) < 0);
        CHECK(fcntl(kept, F_GETFD) >= 0);
        int reused = open("/dev/null", O_RDONLY | O_CLOEXEC); /* an old number */
        zm_driver_close(driver);
        CHECK(fcntl(reused, F_GETFD) >= 0);
        /* And a new driver works here. */
        open_driver();
        zm_op own = {0};
        pair(s);
        zm_driver_recv(driver, &own, s[0], buffer, sizeof buffer);
        CHECK(write(s[1], "ab", 2) == 2);
        CHECK_EQUAL(result_of(&own), 2);
        zm_driver_close(driver);
        close_pair(s);
        zm_driver_after_fork();
        CHECK_EQUAL(zm_fd_count(), 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_EQUAL(status, 0);
    CHECK(write(s[1], "x", 1) == 1);
    CHECK_EQUAL(result_of(&op), 1);
    close(kept);
    close_pair(s);
}

static void opening_fails_cleanly_without_memory_or_descriptors(void)
{
    int64_t live = zm_alloc_live(), owned = zm_fd_count();
    zm_driver *other = NULL;
    int failures = 0;
    for (int n = 0;; n++) {
        zm_alloc_fail_after(n);
        int rc = zm_driver_open(kind, &other);
        zm_alloc_fail_after(-1);
        if (rc == 0)
            break;
        failures++;
        CHECK_EQUAL(rc, -ENOMEM);
        CHECK_EQUAL(zm_alloc_live(), live);
        CHECK_EQUAL(zm_fd_count(), owned);
    }
    CHECK(failures > 0);
    zm_driver_close(other);
    CHECK_EQUAL(zm_alloc_live(), live);
    CHECK_EQUAL(zm_fd_count(), owned);

    struct rlimit old, none;
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    int probe = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(probe);
    for (int allowed = 0; allowed < 3; allowed++) {
        none = old;
        none.rlim_cur = (rlim_t) (probe + allowed);
        CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
        int rc = zm_driver_open(kind, &other);
        CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
        if (rc == 0) {
            zm_driver_close(other);
            CHECK(allowed > 0);
        } else {
            CHECK_EQUAL(rc, -EMFILE);
        }
        CHECK_EQUAL(zm_alloc_live(), live);
        CHECK_EQUAL(zm_fd_count(), owned);
    }
}

static void the_descriptor_table_takes_any_number(void)
{
    int64_t owned = zm_fd_count();
    zm_fd_own(-1);
    zm_fd_close(-1);
    CHECK_EQUAL(zm_fd_release(-1), -1);
    CHECK_EQUAL(zm_fd_release(1 << 30), 1 << 30);
    zm_fd_own(2147483647); /* beyond the table: no crash */
    CHECK_EQUAL(zm_fd_generation(2147483647), 0);
    zm_fd_own(100000);
    zm_fd_own(100000);
    CHECK_EQUAL(zm_fd_count(), owned + 1);
    uint32_t first = zm_fd_generation(100000);
    CHECK(first != 0);
    CHECK_EQUAL(zm_fd_release(100000), 100000);
    CHECK_EQUAL(zm_fd_generation(100000), 0);
    zm_fd_own(100000);
    CHECK(zm_fd_generation(100000) != 0 && zm_fd_generation(100000) != first);
    zm_fd_release(100000);
    CHECK_EQUAL(zm_fd_count(), owned);
}

static void a_library_that_does_not_fit_gives_a_reason(void)
{
    CHECK(zm_uring_load(NULL) < 0);
    CHECK(strstr(zm_uring_reason(), "not installed"));
    CHECK(zm_uring_load("/nonexistent/liburing.so") < 0);
    CHECK(strstr(zm_uring_reason(), "/nonexistent/liburing.so"));
    CHECK(zm_uring_load("libm.so.6") < 0);
    CHECK(strstr(zm_uring_reason(), "does not export"));
    zm_driver *other;
    CHECK_EQUAL(zm_driver_open(ZM_DRIVER_IO_URING, &other), -ENOSYS);
    CHECK_EQUAL(zm_driver_open((zm_driver_kind) 9, &other), -EINVAL);
}

static void a_kernel_that_forbids_io_uring_gives_a_reason(void)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 425, 0, 1), /* io_uring_setup */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = ZM_COUNT(program), .filter = program};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    CHECK_EQUAL(zm_uring_load(liburing_path), -EPERM);
    CHECK(strstr(zm_uring_reason(), "kernel.io_uring_disabled"));
    zm_driver *other;
    CHECK_EQUAL(zm_driver_open(ZM_DRIVER_IO_URING, &other), -ENOSYS);
    CHECK_EQUAL(zm_driver_open(ZM_DRIVER_EPOLL, &other), 0);
    zm_driver_close(other);
}

const driver_test opening_tests[] = {
    TEST(a_forked_child_closes_its_copies_only),
    TEST(opening_fails_cleanly_without_memory_or_descriptors),
    TEST(the_descriptor_table_takes_any_number),
    TEST(a_library_that_does_not_fit_gives_a_reason),
    TEST(a_kernel_that_forbids_io_uring_gives_a_reason),
    {0},
};
