/* Faults, through kernels/shim.c; and planted errors. */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "drivers.h"

static void of_shim(const char *name, void *out_function)
{
    void *shim = dlopen(liburing_path, RTLD_NOW | RTLD_NOLOAD);
    void *address = shim ? dlsym(shim, name) : NULL;
    CHECK(address);
    memcpy(out_function, &address, sizeof address);
}

static void fail_next(int error, int times)
{
    void (*function)(int, int);
    of_shim("shim_fail_next", &function);
    function(error, times);
}

static void kernel_waits_with_nothing(bool on)
{
    void (*function)(bool);
    of_shim("shim_dontwait", &function);
    function(on);
}

static unsigned calls_made(void)
{
    unsigned (*function)(void);
    of_shim("shim_calls", &function);
    return function();
}

static void fault_interrupted_wait_has_submitted(void)
{
    int s[2];
    pair(s);
    char got;
    struct msghdr header;
    struct iovec vector;
    zm_op op = {0};
    zm_driver_send(driver, &op, s[0], message(&header, &vector, "x", 1));
    zm_driver_wait_prepare(driver);
    fail_next(-EINTR, 1);
    zm_driver_wait(driver, LIMIT, 0);
    CHECK_EQUAL(read(s[1], &got, 1), 1);
    CHECK_EQUAL(result_of(&op), 1);
    close_pair(s);
}

/* The time of a wait passes while the kernel has no memory for it. */
static void fault_a_wait_that_the_kernel_refuses_ends_at_its_deadline(void)
{
    static const int errors[] = {-EAGAIN, -EBUSY};
    for (size_t i = 0; i < ZM_COUNT(errors); i++) {
        fail_next(errors[i], 1000);
        unsigned before = calls_made();
        zm_driver_wait_prepare(driver);
        CHECK_EQUAL(zm_driver_wait(driver, zm_now_ns() - 1, 0), -ETIMEDOUT);
        CHECK_EQUAL(calls_made() - before, 1);
        fail_next(0, 0);
    }
}

/* What is complete is reaped before the kernel is asked again for the memory that it lacks. */
static void fault_a_wait_that_the_kernel_refuses_ends_for_what_is_there(void)
{
    int s[2];
    pair(s);
    char got[4];
    struct msghdr header;
    struct iovec vector;
    zm_op receives = {0}, sends = {0};
    zm_driver_recv(driver, &receives, s[0], got, sizeof got);
    zm_driver_submit(driver);
    CHECK(write(s[1], "x", 1) == 1);
    wait_fd_readable();
    zm_driver_send(driver, &sends, s[0], message(&header, &vector, "x", 1));
    fail_next(-EAGAIN, 1000);
    unsigned before = calls_made();
    zm_driver_wait_prepare(driver);
    CHECK_EQUAL(zm_driver_wait(driver, LIMIT, 0), 0);
    CHECK(calls_made() - before < 100);
    fail_next(0, 0);
    CHECK_EQUAL(result_of(&receives), 1);
    CHECK_EQUAL(result_of(&sends), 1);
    close_pair(s);
}

static void fault_what_the_kernel_refused_is_submitted_later(void)
{
    int s[2];
    pair(s);
    char got[8];
    struct msghdr header;
    struct iovec vector;
    zm_completion done[4];
    zm_op first = {0}, second = {0};
    zm_driver_send(driver, &first, s[0], message(&header, &vector, "x", 1));
    zm_driver_submit(driver);
    CHECK_EQUAL(read(s[1], got, sizeof got), 1);
    zm_driver_send(driver, &second, s[0], &header);
    fail_next(-EBUSY, 2);
    zm_driver_submit(driver); /* the first's completion is there */
    CHECK(read(s[1], got, sizeof got) < 0);
    wait_fd_readable();
    CHECK(zm_driver_reap(driver, done, 4) >= 1);
    CHECK_EQUAL(read(s[1], got, sizeof got), 1);
    CHECK_EQUAL(result_of(&second), 1);

    zm_driver_send(driver, &first, s[0], &header);
    fail_next(-EAGAIN, 1000); /* with nothing to reap */
    zm_driver_submit(driver);
    CHECK(read(s[1], got, sizeof got) < 0);
    fail_next(0, 0);
    wait_fd_readable();
    while (zm_driver_reap(driver, done, 4) == 0) {
    }
    CHECK_EQUAL(read(s[1], got, sizeof got), 1);
    close_pair(s);
}

/* Sleeps for a moment in the driver, which must not be busy meanwhile. */
static void nothing_is_tried_again_and_again(void)
{
    unsigned before = calls_made();
    int64_t until = zm_now_ns() + 20 * ZM_MS;
    while (zm_now_ns() < until) {
        nothing_completes();
        zm_driver_wait_prepare(driver);
        zm_driver_wait(driver, until, 0);
    }
    CHECK(calls_made() - before < 20);
}

static void fault_what_the_kernel_does_not_wait_with_is_made_when_it_can_be(void)
{
    static char bulk[1 << 20], sink[1 << 20];
    int s[2];
    struct sockaddr_in address;
    int l = listener(&address, 8);
    char buffer[4];
    zm_op op = {0};
    struct msghdr header;
    struct iovec vector;
    zm_completion done;
    pair(s);
    kernel_waits_with_nothing(true);
    for (int i = 0; i < 3; i++) {
        zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
        nothing_is_tried_again_and_again();
        if (i == 1)
            zm_driver_cancel(driver, &op);
        else
            CHECK(write(s[1], "x", 1) == 1);
        CHECK_EQUAL(result_of(&op), i == 1 ? -ECANCELED : 1);
    }

    zm_driver_accept(driver, &op, l);
    nothing_is_tried_again_and_again();
    int client = tcp_socket();
    CHECK(connect(client, (struct sockaddr *) &address, sizeof address) == 0
          || errno == EINPROGRESS);
    int fd = result_of(&op);
    CHECK(fd >= 0);
    zm_fd_close(fd);
    zm_fd_close(client);
    zm_fd_close(l);

    do {
        zm_driver_send(driver, &op, s[0], message(&header, &vector, bulk, sizeof bulk));
        zm_driver_submit(driver);
    } while (zm_driver_reap(driver, &done, 1) == 1);
    nothing_is_tried_again_and_again();
    while (read(s[1], sink, sizeof sink) > 0) {
    }
    CHECK(result_of(&op) > 0);
    kernel_waits_with_nothing(false);
    close_pair(s);
}

/* Planted errors: they must be seen. */
static void canary_close_with_a_request_in_flight(void)
{
    int s[2];
    pair(s);
    char buffer[4];
    static zm_op op;
    zm_driver_recv(driver, &op, s[0], buffer, sizeof buffer);
    zm_driver_close(driver);
}

static void canary_request_names_freed_memory(void)
{
    int s[2];
    pair(s);
    char *buffer = zm_alloc(16);
    static zm_op op;
    zm_free(buffer);
    zm_driver_recv(driver, &op, s[0], buffer, 16);
    zm_driver_submit(driver);
}

const driver_test fault_tests[] = {
    TEST(fault_interrupted_wait_has_submitted),
    TEST(fault_a_wait_that_the_kernel_refuses_ends_at_its_deadline),
    TEST(fault_a_wait_that_the_kernel_refuses_ends_for_what_is_there),
    TEST(fault_what_the_kernel_refused_is_submitted_later),
    TEST(fault_what_the_kernel_does_not_wait_with_is_made_when_it_can_be),
    TEST(canary_close_with_a_request_in_flight),
    TEST(canary_request_names_freed_memory),
    {0},
};
