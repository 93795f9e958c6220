/* What base/crypto.c looks for in libsodium, in numbers that are small enough to be quick, and
 * random enough that nothing opens with another key. Every draw comes from the seed. It keeps no
 * secret from anybody: what is simulated is who has which key. */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

enum { KEY = 32, MAC = 16, NONCE = 24, BLOCK = 64 };

static const uint64_t prime = ((uint64_t) 1 << 61) - 1;

/* --- numbers --------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

typedef struct digest {
    uint64_t lanes[4];
    unsigned next;
} digest;

static void absorb(digest *d, const void *data, size_t size)
{
    const uint8_t *at = data;
    for (size_t n; size; size -= n, at += n) {
        uint64_t word = 0;
        n = size < 8 ? size : 8;
        memcpy(&word, at, n);
        uint64_t *lane = &d->lanes[d->next++ & 3];
        *lane = mix(*lane + word + n * 0x9e3779b97f4a7c15u);
    }
}

static void squeeze(digest *d, void *out, size_t size)
{
    uint64_t all = d->next;
    for (int i = 0; i < 4; i++)
        all = mix(all + d->lanes[i] * 0x9e3779b97f4a7c15u);
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = mix(all + (at / 8 + 1) * 0x9e3779b97f4a7c15u);
        memcpy((uint8_t *) out + at, &word, size - at < 8 ? size - at : 8);
    }
}

static uint64_t power(uint64_t base, uint64_t exponent)
{
    uint64_t result = 1;
    for (base %= prime; exponent; exponent >>= 1) {
        if (exponent & 1)
            result = (uint64_t) ((unsigned __int128) result * base % prime);
        base = (uint64_t) ((unsigned __int128) base * base % prime);
    }
    return result;
}

/* A key has one number in its first bytes; what follows is told by it. */
static uint64_t number_of(const uint8_t *key)
{
    uint64_t number;
    memcpy(&number, key, sizeof number);
    return number;
}

static void stream_over(uint8_t *out, const uint8_t *text, size_t size, const uint8_t *nonce,
                        size_t nonce_size, uint64_t block, const uint8_t *key)
{
    digest d = {0};
    uint64_t seed;
    absorb(&d, key, KEY);
    absorb(&d, nonce, nonce_size);
    squeeze(&d, &seed, sizeof seed);
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = 0, pad = mix(seed + (block * BLOCK + at) * 0x9e3779b97f4a7c15u);
        size_t n = size - at < 8 ? size - at : 8;
        memcpy(&word, text + at, n);
        word ^= pad;
        memcpy(out + at, &word, n);
    }
}

static void tag(uint8_t *mac, const uint8_t *text, size_t size, const uint8_t *nonce,
                size_t nonce_size, const uint8_t *key)
{
    digest d = {0};
    absorb(&d, key, KEY);
    absorb(&d, nonce, nonce_size);
    absorb(&d, text, size);
    squeeze(&d, mac, MAC);
}

/* --- libsodium's names ----------------------------------------------------------------------- */

static int sodium_init(void)
{
    return 0;
}

static void randombytes_buf(void *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *) out)[i] = (uint8_t) (sim_random() >> 24);
}

static int scalarmult_base(uint8_t *public_key, const uint8_t *secret_key)
{
    uint64_t number = power(3, number_of(secret_key));
    digest d = {0};
    absorb(&d, &number, sizeof number);
    squeeze(&d, public_key, KEY);
    memcpy(public_key, &number, sizeof number);
    return 0;
}

static int box_keypair(uint8_t *public_key, uint8_t *secret_key)
{
    randombytes_buf(secret_key, KEY);
    return scalarmult_base(public_key, secret_key);
}

static int box_beforenm(uint8_t *shared, const uint8_t *public_key, const uint8_t *secret_key)
{
    uint64_t number = power(number_of(public_key), number_of(secret_key));
    digest d = {0};
    absorb(&d, &number, sizeof number);
    squeeze(&d, shared, KEY);
    return 0;
}

static int box_detached_afternm(uint8_t *out, uint8_t *mac, const uint8_t *text,
                                unsigned long long size, const uint8_t *nonce, const uint8_t *key)
{
    stream_over(out, text, size, nonce, NONCE, 0, key);
    tag(mac, out, size, nonce, NONCE, key);
    return 0;
}

static int box_open_detached_afternm(uint8_t *out, const uint8_t *text, const uint8_t *mac,
                                     unsigned long long size, const uint8_t *nonce,
                                     const uint8_t *key)
{
    uint8_t right[MAC];
    tag(right, text, size, nonce, NONCE, key);
    if (memcmp(right, mac, MAC))
        return -1;
    stream_over(out, text, size, nonce, NONCE, 0, key);
    return 0;
}

/* `out` and `text` may lie over each other, as they may with libsodium. */
static int secretbox_easy(uint8_t *out, const uint8_t *text, unsigned long long size,
                          const uint8_t *nonce, const uint8_t *key)
{
    memmove(out + MAC, text, size);
    return box_detached_afternm(out + MAC, out, out + MAC, size, nonce, key);
}

static int secretbox_open_easy(uint8_t *out, const uint8_t *box, unsigned long long size,
                               const uint8_t *nonce, const uint8_t *key)
{
    if (size < MAC || box_open_detached_afternm(out, box + MAC, box, size - MAC, nonce, key) < 0)
        return -1;
    return 0;
}

static int box_easy(uint8_t *out, const uint8_t *text, unsigned long long size,
                    const uint8_t *nonce, const uint8_t *public_key, const uint8_t *secret_key)
{
    uint8_t shared[KEY];
    box_beforenm(shared, public_key, secret_key);
    return secretbox_easy(out, text, size, nonce, shared);
}

static int box_open_easy(uint8_t *out, const uint8_t *box, unsigned long long size,
                         const uint8_t *nonce, const uint8_t *public_key,
                         const uint8_t *secret_key)
{
    uint8_t shared[KEY];
    box_beforenm(shared, public_key, secret_key);
    return secretbox_open_easy(out, box, size, nonce, shared);
}

static int core_hsalsa20(uint8_t *out, const uint8_t *in, const uint8_t *key, const uint8_t *unused)
{
    (void) unused;
    digest d = {0};
    absorb(&d, key, KEY);
    absorb(&d, in, 16);
    squeeze(&d, out, KEY);
    return 0;
}

static int stream_salsa20_xor_ic(uint8_t *out, const uint8_t *text, unsigned long long size,
                                 const uint8_t *nonce, uint64_t block, const uint8_t *key)
{
    stream_over(out, text, size, nonce, 8, block, key);
    return 0;
}

static int onetimeauth(uint8_t *mac, const uint8_t *text, unsigned long long size,
                       const uint8_t *key)
{
    tag(mac, text, size, NULL, 0, key);
    return 0;
}

static int onetimeauth_verify(const uint8_t *mac, const uint8_t *text, unsigned long long size,
                              const uint8_t *key)
{
    uint8_t right[MAC];
    tag(right, text, size, NULL, 0, key);
    return memcmp(right, mac, MAC) ? -1 : 0;
}

static int compare(const void *a, const void *b, size_t size)
{
    return memcmp(a, b, size) ? -1 : 0;
}

/* --- the shared object ----------------------------------------------------------------------- */

#define NAMED(name, function) {name, (void (*)(void)) (function)}

static const struct {
    const char *name;
    void (*function)(void);
} exports[] = {
    NAMED("sodium_init", sodium_init),
    NAMED("sodium_memcmp", compare),
    NAMED("randombytes_buf", randombytes_buf),
    NAMED("crypto_box_keypair", box_keypair),
    NAMED("crypto_box_beforenm", box_beforenm),
    NAMED("crypto_box_easy", box_easy),
    NAMED("crypto_box_open_easy", box_open_easy),
    NAMED("crypto_box_detached_afternm", box_detached_afternm),
    NAMED("crypto_box_open_detached_afternm", box_open_detached_afternm),
    NAMED("crypto_secretbox_easy", secretbox_easy),
    NAMED("crypto_secretbox_open_easy", secretbox_open_easy),
    NAMED("crypto_core_hsalsa20", core_hsalsa20),
    NAMED("crypto_stream_salsa20_xor_ic", stream_salsa20_xor_ic),
    NAMED("crypto_onetimeauth_poly1305", onetimeauth),
    NAMED("crypto_onetimeauth_poly1305_verify", onetimeauth_verify),
    NAMED("crypto_scalarmult_base", scalarmult_base),
};

void *__wrap_dlopen(const char *path, int flags)
{
    (void) path;
    (void) flags;
    return (void *) exports;
}

void *__wrap_dlsym(void *library, const char *name)
{
    (void) library;
    for (size_t i = 0; i < sizeof exports / sizeof exports[0]; i++)
        if (!strcmp(exports[i].name, name))
            return *(void **) &exports[i].function;
    return NULL;
}
