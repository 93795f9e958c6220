/* tools/wide.c beside libsodium: the same bytes for every size and for numbers at their limits,
 * none read or written outside. Answers the line that went wrong. */
#include "wide.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SIZES = 2600, ROOM = 4096, KEY = 32, TAG = 16, KINDS = 6 };

#define NEED(condition) \
    do { \
        if (!(condition)) \
            return __LINE__; \
    } while (0)

/* The last bytes before memory that cannot be touched. */
static uint8_t *room(void)
{
    uint8_t *pages = mmap(NULL, 2 * ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                          0);
    return pages != MAP_FAILED && mprotect(pages + ROOM, ROOM, PROT_NONE) == 0 ? pages + ROOM
                                                                               : NULL;
}

static void fill(uint8_t *out, size_t size, int kind)
{
    static const uint8_t same[] = {0xff, 0x00, 0xfb, 0x01};
    for (size_t i = 0; i < size; i++)
        out[i] = kind < 2 ? (uint8_t) (rand() >> 5) : same[kind - 2];
}

/* Where a block's number gets its next digit of 32 bits, and of 64. */
static const uint64_t counters[KINDS] = {0, 1, 0xfffffff8, 0xfffffff0, ~UINT64_C(0) - 5, 1000};

int run(const char *path)
{
    int (*stream)(uint8_t *, const uint8_t *, unsigned long long, const uint8_t *, uint64_t,
                  const uint8_t *);
    int (*tag)(uint8_t *, const uint8_t *, unsigned long long, const uint8_t *);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    NEED(library);
    *(void **) &stream = dlsym(library, "crypto_stream_salsa20_xor_ic");
    *(void **) &tag = dlsym(library, "crypto_onetimeauth_poly1305");
    NEED(stream && tag);
    uint8_t *in_end = room(), *out_end = room(), *key = room(), *nonce = room();
    NEED(in_end && out_end && key && nonce);
    key -= KEY;
    nonce -= 8;
    for (size_t size = ZM_WIDE_TAG_BYTES; size < SIZES; size++)
        for (int kind = 0; kind < KINDS; kind++) {
            uint8_t expected[ROOM], ours[TAG], theirs[TAG];
            uint8_t *in = in_end - size, *out = out_end - size;
            fill(in, size, kind);
            fill(key, KEY, (kind + (int) size) % KINDS);
            fill(nonce, 8, 0);
            zm_wide_poly1305(ours, in, size, key);
            tag(theirs, in, size, key);
            NEED(memcmp(ours, theirs, TAG) == 0);
            if (size < ZM_WIDE_BYTES)
                continue;
            memset(out_end - SIZES, 0x5a, SIZES);
            size_t done = zm_wide_salsa20_xor(out, in, size, nonce, counters[kind], key);
            NEED(done == size || (size - done < ZM_WIDE_BYTES && done % 64 == 0));
            stream(expected, in, size, nonce, counters[kind], key);
            NEED(memcmp(out, expected, done) == 0);
            for (const uint8_t *p = out_end - SIZES; p < out_end; p++)
                NEED((p >= out && p < out + done) || *p == 0x5a);
            NEED(zm_wide_salsa20_xor(in, in, size, nonce, counters[kind], key) == done);
            NEED(memcmp(in, expected, done) == 0);
        }
    return 0;
}
