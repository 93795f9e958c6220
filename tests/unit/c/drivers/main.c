/* Tests of the drivers behind driver/driver.h. One process a test:
 *
 *     driver io_uring|epoll TEST LIBURING [STUBS]
 *
 * STUBS is a library with the Python symbols that LIBURING wants and nobody calls. Exit 0: passed,
 * 77: not possible here (the reason is printed), else: failed. */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "drivers.h"

static const driver_test *const tables[] = {request_tests, waiting_tests, thread_tests,
                                            random_tests,  opening_tests, fault_tests};

static const driver_test *find(const char *name)
{
    for (size_t i = 0; i < ZM_COUNT(tables); i++)
        for (const driver_test *test = tables[i]; test->name; test++)
            if (strcmp(test->name, name) == 0)
                return test;
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        for (size_t i = 0; i < ZM_COUNT(tables); i++)
            for (const driver_test *test = tables[i]; test->name; test++)
                puts(test->name);
        return 0;
    }
    CHECK(argc >= 4);
    alarm(60);
    kind = strcmp(argv[1], "epoll") == 0 ? ZM_DRIVER_EPOLL : ZM_DRIVER_IO_URING;
    liburing_path = argv[3];
    if (argc > 4 && !dlopen(argv[4], RTLD_NOW | RTLD_GLOBAL)) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    if (kind == ZM_DRIVER_IO_URING && zm_uring_load(liburing_path) < 0) {
        printf("%s\n", zm_uring_reason());
        return 77;
    }
    const driver_test *test = find(argv[2]);
    if (!test) {
        fprintf(stderr, "no test %s\n", argv[2]);
        return 1;
    }
    int64_t live = zm_alloc_live();
    open_driver();
    test->function();
    CHECK_EQUAL(zm_driver_in_flight(driver), 0);
    zm_driver_close(driver);
    zm_driver_after_fork();
    CHECK_EQUAL(zm_fd_count(), 0);
    CHECK(zm_alloc_live() <= live + 1); /* a chunk of the descriptor table may stay */
    return 0;
}
