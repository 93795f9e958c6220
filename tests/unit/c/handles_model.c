/* Handles against a list of those that are open: whatever number comes, old, damaged or made up, it
 * leads to its own slot or to none. With each allocation failing in turn. */
#include <errno.h>
#include <string.h>

#include "context/context.h"
#include "context/handles.h"
#include "model.h"
#include "socket/socket.h"

enum { OPEN_MAX = 40, SLOTS_SEEN_MAX = 1000, OLD_MAX = 4096, STEPS = 3000 };

/* What handles.c counts over the drivers of sockets, which have none here. */
unsigned zm_driver_in_flight(const zm_driver *driver)
{
    (void) driver;
    abort();
}
uint64_t zm_driver_entries(const zm_driver *driver)
{
    (void) driver;
    abort();
}

typedef struct opened {
    int64_t handle;
    void *slot;
} opened;

/* One table of each kind, looked at alike. */
typedef struct kind {
    opened open[OPEN_MAX];
    uint32_t count;
    int64_t old[OLD_MAX]; /* closed */
    uint32_t old_count;
    void *slots[SLOTS_SEEN_MAX]; /* they stay for ever, also for those who look for leaks */
    uint32_t slot_count;
    uint32_t most_open; /* ever, at once: so many slots are enough */
    int stale; /* the answer for a handle that leads nowhere */
} kind;

static kind sockets = {.stale = -ENOTSOCK}, contexts = {.stale = -EFAULT};

static _Atomic uint32_t *generation_of(kind *k, void *slot)
{
    return k == &sockets ? &((zm_socket *) slot)->generation : &((zm_context *) slot)->generation;
}

static zm_lock *lock_of(kind *k, void *slot)
{
    return k == &sockets ? &((zm_socket *) slot)->lock : &((zm_context *) slot)->lock;
}

/* What zm_socket_lock_for() or its like says; *out_slot is unlocked again. */
static int look_up(kind *k, int64_t handle, bool brief, void **out_slot)
{
    zm_socket *s = NULL;
    zm_context *context = NULL;
    int rc = k == &sockets ? zm_socket_lock_for(handle, brief, &s)
                           : zm_context_lock_for(handle, brief, &context);
    if (rc != 0)
        return rc;
    *out_slot = k == &sockets ? (void *) s : (void *) context;
    CHECK(!zm_lock_try(lock_of(k, *out_slot))); /* it came locked */
    zm_lock_give(lock_of(k, *out_slot));
    return 0;
}

static void check(kind *k, int64_t handle)
{
    void *slot, *expected = NULL;
    for (uint32_t i = 0; i < k->count; i++)
        if (k->open[i].handle == handle)
            expected = k->open[i].slot;
    if (!expected) {
        CHECK(look_up(k, handle, one_in(2), &slot) == k->stale);
        return;
    }
    CHECK(look_up(k, handle, false, &slot) == 0 && slot == expected);
    zm_lock_take(lock_of(k, expected));
    CHECK(look_up(k, handle, true, &slot) == ZM_LATER);
    zm_lock_give(lock_of(k, expected));
}

static bool open_one(kind *k)
{
    void *slot = k == &sockets ? (void *) zm_socket_slot_take() : (void *) zm_context_slot_take();
    if (!slot)
        return true; /* memory is out */
    bool seen = false;
    for (uint32_t i = 0; i < k->slot_count; i++)
        seen |= k->slots[i] == slot;
    for (uint32_t i = 0; i < k->count; i++)
        CHECK(k->open[i].slot != slot);
    if (!seen) {
        CHECK(k->slot_count < SLOTS_SEEN_MAX);
        k->slots[k->slot_count++] = slot;
    }
    atomic_store(generation_of(k, slot), zm_generation_new());
    int64_t handle = k == &sockets ? zm_socket_handle(slot) : zm_context_handle(slot);
    CHECK(handle > 0);
    for (uint32_t i = 0; i < k->old_count; i++)
        CHECK(k->old[i] != handle); /* never twice */
    k->open[k->count++] = (opened){handle, slot};
    k->most_open = k->count > k->most_open ? k->count : k->most_open;
    CHECK(k->slot_count == k->most_open);
    return false;
}

static void close_one(kind *k, uint32_t i)
{
    opened gone = k->open[i];
    atomic_store(generation_of(k, gone.slot), 0);
    if (k == &sockets)
        zm_socket_slot_give(gone.slot);
    else
        zm_context_slot_give(gone.slot);
    k->open[i] = k->open[--k->count];
    k->old[k->old_count++ % OLD_MAX] = gone.handle;
    if (k->old_count == OLD_MAX)
        k->old_count = 0;
}

static int64_t any_handle(kind *k)
{
    if (one_in(3) && k->count)
        return k->open[random_below(k->count)].handle;
    if (one_in(2) && k->old_count)
        return k->old[random_below(k->old_count)];
    /* Bits above those of the generation are not looked at. */
    if (one_in(2) && k->count)
        return k->open[random_below(k->count)].handle ^ (int64_t) (1ull << random_below(52));
    return (int64_t) ((uint64_t) random_below(1 << 20) << 32 | random_below(UINT32_MAX));
}

static void scenario(uint64_t seed)
{
    (void) seed;
    for (int i = 0; i < STEPS; i++) {
        kind *k = one_in(2) ? &sockets : &contexts;
        if (one_in(3) && k->count < OPEN_MAX)
            open_one(k);
        else if (one_in(3) && k->count)
            close_one(k, random_below(k->count));
        check(k, any_handle(k));
    }
    for (kind *k = &sockets; k; k = k == &sockets ? &contexts : NULL)
        while (k->count)
            close_one(k, 0);
}

/* In the child of a fork every handle leads nowhere, and no slot is used again. */
static void check_fork(void)
{
    int64_t handles[2];
    for (int i = 0; i < 2; i++) {
        kind *k = i ? &contexts : &sockets;
        CHECK(!open_one(k));
        handles[i] = k->open[0].handle;
        zm_lock_take(lock_of(k, k->open[0].slot)); /* by a thread that is gone */
    }
    zm_handles_after_fork();
    for (int i = 0; i < 2; i++) {
        kind *k = i ? &contexts : &sockets;
        void *slot;
        CHECK(look_up(k, handles[i], false, &slot) == k->stale);
        k->count = 0;
        k->most_open = k->slot_count + 1; /* a slot that was never seen */
        CHECK(!open_one(k));
        check(k, handles[i]);
        check(k, k->open[0].handle);
    }
}

int main(int argc, char **argv)
{
    run_model(argc, argv, scenario);
    check_fork();
    return 0;
}
