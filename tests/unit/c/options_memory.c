/* The life of options under the sanitizers: random settings by a seed, copies, memory that runs
 * out at each place in turn. Prints the seed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/z85.h"
#include "socket/options.h"

#define CHECK(x) \
    ((x) ? (void) 0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), exit(1)))

static uint64_t state;

static uint32_t random_below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t) ((state * 2685821657736338717u) >> 33) % n;
}

/* A value on the heap of exactly its size, so that a byte read behind it is found. */
static size_t random_value(uint8_t **out)
{
    static const char *const texts[] = {
        "X-a:b",       "X-name:value",
        "127.0.0.1/8", "::1/64",
        "[::1]",       "/",
        "10.0.0.1",    "X-:vvv",
        "lo",          "0000000000000000000000000000000000000000",
        "u",
    };
    if (random_below(3) == 0) {
        const char *text = texts[random_below(sizeof texts / sizeof *texts)];
        size_t size = strlen(text);
        *out = malloc(size);
        memcpy(*out, text, size);
        return size;
    }
    static const size_t sizes[] = {0, 1, 4, 4, 4, 8, 16, 17, 31, 32, 40, 41, 255, 256, 300};
    size_t size = sizes[random_below(sizeof sizes / sizeof *sizes)];
    *out = malloc(size ? size : 1);
    for (size_t i = 0; i < size; i++)
        (*out)[i] = (uint8_t) (size == 4 && i ? 0 : random_below(256));
    return size;
}

static void same_answers(const zm_options *a, const zm_options *b, int type)
{
    for (int option = 0; option < 128; option++)
        for (size_t room = 0; room < 400; room = room < 48 ? room + 1 : room * 2) {
            uint8_t *ours = malloc(room + 1), *theirs = malloc(room + 1);
            size_t our_size = room, their_size = room;
            int rc = zm_options_get(a, type, option, ours, &our_size);
            CHECK(zm_options_get(b, type, option, theirs, &their_size) == rc);
            if (rc == 0) {
                CHECK(our_size == their_size && our_size <= room);
                CHECK(memcmp(ours, theirs, room) == 0);
            }
            free(ours);
            free(theirs);
        }
}

int main(int argc, char **argv)
{
    state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    printf("seed %llu\n", (unsigned long long) state);
    fflush(stdout);
    state = state * 2654435761u + 1;
    int64_t live = zm_alloc_live();

    for (int type = 0; type < ZM_SOCKET_TYPES; type++) {
        zm_options options, before, copy;
        zm_options_init(&options, type, true, false);
        for (int i = 0; i < 3000; i++) {
            uint8_t *value;
            size_t size = random_value(&value);
            int option = (int) random_below(128);
            bool null = random_below(20) == 0;
            bool starving = random_below(4) == 0;
            if (starving) {
                CHECK(zm_options_copy(&before, &options) == 0);
                zm_alloc_fail_after(0);
            }
            int rc = zm_options_set(&options, type, option, null ? NULL : value, size);
            zm_alloc_fail_after(-1);
            CHECK(rc == 0 || rc == ZM_OPTION_OF_SOCKET || rc == -EINVAL
                  || (rc == -ENOMEM && starving));
            if (starving) {
                if (rc < 0 && i % 16 == 0)
                    same_answers(&options, &before, type);
                zm_options_fini(&before);
            }
            free(value);
        }
        int attempts = 0, rc;
        do { /* every allocation of a copy fails once */
            int64_t now = zm_alloc_live();
            zm_alloc_fail_after(attempts++);
            rc = zm_options_copy(&copy, &options);
            zm_alloc_fail_after(-1);
            CHECK(rc == 0 || (rc == -ENOMEM && zm_alloc_live() == now));
        } while (rc < 0);
        CHECK(attempts > 5);
        same_answers(&options, &copy, type);
        zm_options_fini(&options); /* the copy does not need it */
        uint8_t out[256];
        size_t room = sizeof out;
        CHECK(zm_options_get(&copy, type, 68, out, &room) <= 0);
        zm_options_fini(&copy);
        zm_options_fini(&copy);
    }
    CHECK(zm_alloc_live() == live);
    return 0;
}
