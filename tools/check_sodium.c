/* tools/wheels.py: what our wheels' libsodium has that libsodium has not, Poly1305 and Salsa20 for
 * newer processors, against the definitions (RFC 8439, 2.5; Salsa20's specification), written down
 * here as plainly as can be. Exits with the line that went wrong. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { SIZE_MAX_TRIED = 1300, KEY = 32, TAG = 16, BLOCK = 16, WORDS = 3, TEXTS = 4, KEYS = 6 };

int sodium_init(void);
int crypto_stream_salsa20_xor_ic(uint8_t *, const uint8_t *, unsigned long long, const uint8_t *,
                                 uint64_t, const uint8_t *);
int crypto_onetimeauth_poly1305(uint8_t *, const uint8_t *, unsigned long long, const uint8_t *);
int crypto_onetimeauth_poly1305_verify(const uint8_t *, const uint8_t *, unsigned long long,
                                       const uint8_t *);

#define NEED(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "check_sodium.c:%d: %s, for %zu bytes\n", __LINE__, #condition, size); \
            return __LINE__ & 0x7f; \
        } \
    } while (0)

/* --- Poly1305 --------------------------------------------------------------------------------- */

typedef struct {
    uint64_t words[WORDS]; /* the lowest first; below 2^131 */
} number;

static const number P = {{UINT64_MAX - 4, UINT64_MAX, 3}}; /* 2^130 - 5 */

static number plus(number a, number b)
{
    unsigned __int128 sum = 0;
    for (int i = 0; i < WORDS; i++) {
        sum += (unsigned __int128) a.words[i] + b.words[i];
        a.words[i] = (uint64_t) sum;
        sum >>= 64;
    }
    return a;
}

static number minus_p(number a)
{
    number complement;
    for (int i = 0; i < WORDS; i++)
        complement.words[i] = ~P.words[i];
    return plus(plus(a, complement), (number){{1}});
}

static number reduced(number a)
{
    number less = minus_p(a);
    return less.words[WORDS - 1] >> 63 ? a : less;
}

/* Bit by bit. */
static number times(number a, const uint64_t r[2])
{
    number product = {{0}};
    for (int bit = 127; bit >= 0; bit--) {
        product = reduced(plus(product, product));
        if (r[bit / 64] >> bit % 64 & 1)
            product = reduced(plus(product, a));
    }
    return product;
}

static void poly1305(uint8_t *out, const uint8_t *text, size_t size, const uint8_t *key)
{
    uint64_t r[2];
    number sum = {{0}}, s = {{0}};
    memcpy(r, key, sizeof r);
    memcpy(s.words, key + sizeof r, sizeof r);
    r[0] &= 0x0ffffffc0fffffff;
    r[1] &= 0x0ffffffc0ffffffc;
    for (size_t at = 0; at < size; at += BLOCK) {
        uint8_t block[WORDS * 8] = {0};
        size_t here = size - at < BLOCK ? size - at : BLOCK;
        number value;
        memcpy(block, text + at, here);
        block[here] = 1;
        memcpy(value.words, block, sizeof block);
        sum = times(reduced(plus(sum, value)), r);
    }
    sum = plus(sum, s);
    memcpy(out, sum.words, TAG);
}

/* --- Salsa20 ---------------------------------------------------------------------------------- */

static void quarter(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
#define TURNED(x, n) ((x) << (n) | (x) >> (32 - (n)))
    *b ^= TURNED(*a + *d, 7);
    *c ^= TURNED(*b + *a, 9);
    *d ^= TURNED(*c + *b, 13);
    *a ^= TURNED(*d + *c, 18);
}

static void salsa20(uint8_t *text, size_t size, const uint8_t *nonce, uint64_t block,
                    const uint8_t *key)
{
    for (size_t at = 0; at < size; at += 64, block++) {
        uint32_t in[16], x[16];
        memcpy(in, "expa", 4);
        memcpy(in + 1, key, 16);
        memcpy(in + 5, "nd 3", 4);
        memcpy(in + 6, nonce, 8);
        memcpy(in + 8, &block, 8);
        memcpy(in + 10, "2-by", 4);
        memcpy(in + 11, key + 16, 16);
        memcpy(in + 15, "te k", 4);
        memcpy(x, in, sizeof x);
        for (int round = 0; round < 20; round += 2) {
            /* Columns, then rows, each from the diagonal on. */
            for (int i = 0, d = 0; i < 4; i++, d += 5)
                quarter(&x[d], &x[(d + 4) % 16], &x[(d + 8) % 16], &x[(d + 12) % 16]);
            for (int i = 0, d = 0; i < 4; i++, d += 5)
                quarter(&x[d], &x[4 * i + (i + 1) % 4], &x[4 * i + (i + 2) % 4],
                        &x[4 * i + (i + 3) % 4]);
        }
        for (int i = 0; i < 16; i++)
            x[i] += in[i];
        for (size_t i = 0; i < 64 && at + i < size; i++)
            text[at + i] ^= ((uint8_t *) x)[i];
    }
}

/* --- both ------------------------------------------------------------------------------------- */

static uint64_t state = 1;

static void random_bytes(uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        state = state * 6364136223846793005 + 1442695040888963407;
        out[i] = (uint8_t) (state >> 56);
    }
}

/* Texts and keys that bring numbers to their limits: 0 is random. */
static void make_text(uint8_t *out, size_t size, int kind)
{
    memset(out, kind == 1 ? 0 : 0xff, size);
    if (kind == 0)
        random_bytes(out, size);
    for (size_t i = 0; kind == 3 && i < size; i += BLOCK)
        out[i] = 0xfb;
}

static void make_key(uint8_t *out, int kind)
{
    memset(out, 0xff, KEY);
    if (kind == 0)
        random_bytes(out, KEY);
    for (int i = 0; kind > 1 && i < KEY / 2; i++)
        out[i] = i ? 0 : (uint8_t) (kind - 2);
}

int main(void)
{
    static uint8_t text[SIZE_MAX_TRIED], wanted[SIZE_MAX_TRIED];
    uint8_t key[KEY], nonce[8], tag[TAG], right[TAG];
    size_t size = 0;
    NEED(sodium_init() >= 0);
    for (size = 0; size <= SIZE_MAX_TRIED; size++) {
        /* A whole last block, one that is nearly so, and the least that can be in one. */
        int kinds = (size + 1) % BLOCK <= 2 ? TEXTS * KEYS : 1;
        for (int kind = 0; kind < kinds; kind++) {
            make_text(text, size, kind % TEXTS);
            make_key(key, kind / TEXTS);
            poly1305(right, text, size, key);
            NEED(crypto_onetimeauth_poly1305(tag, text, size, key) == 0
                 && !memcmp(tag, right, TAG));
            NEED(crypto_onetimeauth_poly1305_verify(right, text, size, key) == 0);
            right[size % TAG] ^= 1;
            NEED(crypto_onetimeauth_poly1305_verify(right, text, size, key) == -1);
        }
        make_text(text, size, 0);
        make_key(key, 0);
        make_text(nonce, sizeof nonce, 0);
        /* With a carry in the counter of blocks, too. */
        uint64_t block = size % 2 ? size % 3 : UINT32_MAX - size % 9;
        memcpy(wanted, text, size);
        salsa20(wanted, size, nonce, block, key);
        NEED(crypto_stream_salsa20_xor_ic(text, text, size, nonce, block, key) == 0
             && !memcmp(text, wanted, size));
    }
    return 0;
}
