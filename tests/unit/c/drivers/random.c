/* Any order of what can be done. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "drivers.h"

static uint32_t seed;

static uint32_t dice(uint32_t sides)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 10) % sides;
}

/* Starts, cancels, writes, submits and reaps in any order: every started request completes once,
 * and the bytes come in order. */
static void any_order_of_starts_and_cancels(void)
{
    enum { PAIRS = 6, STEPS = 1000 };
    const char *given = getenv("ZM_SEED");
    seed = given ? (uint32_t) strtoul(given, NULL, 10) : (uint32_t) getpid();
    fprintf(stderr, "ZM_SEED=%u\n", seed);
    struct {
        int s[2];
        zm_op in, out;
        uint8_t buffer[8], data[8];
        struct msghdr header;
        struct iovec vector;
        uint8_t next_in, next_out;
        int started_in, done_in, started_out, done_out;
    } all[PAIRS] = {0};
    for (int i = 0; i < PAIRS; i++)
        pair(all[i].s);
    bool ending = false;
    int64_t deadline = LIMIT;
    for (int step = 0; step < STEPS || zm_driver_in_flight(driver) > 0; step++) {
        uint32_t i = dice(PAIRS);
        ending = step >= STEPS;
        if (ending)
            for (uint32_t k = 0; k < PAIRS; k++) {
                zm_driver_cancel(driver, &all[k].in);
                zm_driver_cancel(driver, &all[k].out);
            }
        switch (ending ? 5 : dice(7)) {
        case 0:
            if (!all[i].in.in_flight) {
                zm_driver_recv(driver, &all[i].in, all[i].s[0], all[i].buffer, 1 + dice(8));
                all[i].started_in++;
            }
            break;
        case 1:
            if (!all[i].out.in_flight) {
                size_t size = 1 + dice(8);
                for (size_t k = 0; k < size; k++)
                    all[i].data[k] = (uint8_t) (all[i].next_out + k);
                zm_driver_send(driver, &all[i].out, all[i].s[1],
                               message(&all[i].header, &all[i].vector, all[i].data, size));
                all[i].started_out++;
            }
            break;
        case 2:
            zm_driver_cancel(driver, dice(2) ? &all[i].in : &all[i].out);
            break;
        case 3:
            zm_driver_submit(driver);
            break;
        case 4:
            zm_driver_wake(driver);
            break;
        default: {
            zm_driver_wait_prepare(driver);
            CHECK(!ending || zm_now_ns() < deadline);
            zm_driver_wait(driver, zm_now_ns() + (dice(2) ? 0 : 200 * ZM_US), dice(2) * 20 * ZM_US);
            zm_completion done[3];
            int n = zm_driver_reap(driver, done, 1 + (int) dice(3));
            for (int d = 0; d < n; d++)
                for (int k = 0; k < PAIRS; k++) {
                    if (done[d].op == &all[k].in) {
                        all[k].done_in++;
                        CHECK(done[d].res > 0 || done[d].res == -ECANCELED);
                        for (int b = 0; b < done[d].res; b++)
                            CHECK_EQUAL(all[k].buffer[b], all[k].next_in++);
                    } else if (done[d].op == &all[k].out) {
                        all[k].done_out++;
                        CHECK(done[d].res > 0 || done[d].res == -ECANCELED);
                        if (done[d].res > 0)
                            all[k].next_out = (uint8_t) (all[k].next_out + done[d].res);
                    }
                }
        }
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        CHECK_EQUAL(all[i].started_in, all[i].done_in);
        CHECK_EQUAL(all[i].started_out, all[i].done_out);
        CHECK(all[i].started_in > 0 && all[i].started_out > 0);
        close_pair(all[i].s);
    }
    nothing_completes();
}

const driver_test random_tests[] = {
    TEST(any_order_of_starts_and_cancels),
    {0},
};
