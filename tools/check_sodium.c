/* tools/wheels.py: what our wheels' libsodium has that libsodium has not, Poly1305 and Salsa20 for
 * newer processors, against the definitions (RFC 8439, 2.5; Salsa20's specification), written down
 * here as plainly as can be. Exits with the line that went wrong. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { SIZE_MAX_TRIED = 1300, LONG = 300001, KEY = 32, TAG = 16, BLOCK = 16, WORDS = 3 };
enum { TEXTS = 4, KEYS = 6, BITS = 130, SOLVED = 12, ROOM = 512 * 1024 };

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

static number minus(number a, number b)
{
    for (int i = 0; i < WORDS; i++)
        b.words[i] = ~b.words[i];
    return plus(plus(a, b), (number){{1}});
}

/* Of a number below 2 P. */
static number reduced(number a)
{
    number less = minus(a, P);
    return less.words[WORDS - 1] >> 63 ? a : less;
}

/* Bit by bit. */
static number times(number a, number b)
{
    number product = {{0}};
    for (int bit = BITS - 1; bit >= 0; bit--) {
        product = reduced(plus(product, product));
        if (b.words[bit / 64] >> bit % 64 & 1)
            product = reduced(plus(product, a));
    }
    return product;
}

static number difference(number a, number b)
{
    return reduced(minus(plus(a, P), b));
}

/* a^(P - 2) */
static number inverse(number a)
{
    number power = {{1}}, exponent = P;
    exponent.words[0] -= 2;
    for (int bit = BITS - 1; bit >= 0; bit--) {
        power = times(power, power);
        if (exponent.words[bit / 64] >> bit % 64 & 1)
            power = times(power, a);
    }
    return power;
}

static number r_of(const uint8_t *key)
{
    number r = {{0}};
    memcpy(r.words, key, KEY / 2);
    r.words[0] &= 0x0ffffffc0fffffff;
    r.words[1] &= 0x0ffffffc0ffffffc;
    return r;
}

static number sum_of(const uint8_t *text, size_t size, number r)
{
    number sum = {{0}};
    for (size_t at = 0; at < size; at += BLOCK) {
        uint8_t block[WORDS * 8] = {0};
        size_t here = size - at < BLOCK ? size - at : BLOCK;
        number value;
        memcpy(block, text + at, here);
        block[here] = 1;
        memcpy(value.words, block, sizeof block);
        sum = times(reduced(plus(sum, value)), r);
    }
    return sum;
}

static void poly1305(uint8_t *out, const uint8_t *text, size_t size, const uint8_t *key)
{
    number s = {{0}};
    memcpy(s.words, key + KEY / 2, KEY / 2);
    number sum = plus(sum_of(text, size, r_of(key)), s);
    memcpy(out, sum.words, TAG);
}

/* Makes the last of its blocks such that they come to `sum`. False: no block does. */
static bool solve(uint8_t *text, size_t size, const uint8_t *key, number sum)
{
    number r = r_of(key), before = sum_of(text, size - BLOCK, r);
    before = reduced(plus(before, (number){{0, 0, 1}}));
    number last = difference(times(sum, inverse(r)), before);
    memcpy(text + size - BLOCK, last.words, BLOCK);
    return !last.words[WORDS - 1];
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

/* Around powers of two at which one limb or another ends, and around P. */
static number limit(void)
{
    static const int shifts[] = {0, 26, 44, 52, 64, 78, 88, 104, 128, 130};
    uint8_t choice[2];
    random_bytes(choice, sizeof choice);
    int shift = shifts[choice[0] % 10];
    number power = {{0}};
    power.words[shift / 64] = UINT64_C(1) << shift % 64;
    power = reduced(plus(power, (number){{choice[1] % 7}}));
    return difference(power, (number){{3}});
}

static int check_tag(const uint8_t *text, size_t size, const uint8_t *key)
{
    uint8_t tag[TAG], right[TAG];
    poly1305(right, text, size, key);
    NEED(crypto_onetimeauth_poly1305(tag, text, size, key) == 0 && !memcmp(tag, right, TAG));
    NEED(crypto_onetimeauth_poly1305_verify(right, text, size, key) == 0);
    right[size % TAG] ^= 1;
    NEED(crypto_onetimeauth_poly1305_verify(right, text, size, key) == -1);
    return 0;
}

static int check_stream(uint8_t *text, size_t size)
{
    static uint8_t wanted[SIZE_MAX_TRIED];
    uint8_t key[KEY], nonce[8];
    random_bytes(key, sizeof key);
    random_bytes(nonce, sizeof nonce);
    /* With a carry in the counter of blocks, too. */
    uint64_t block = size % 2 ? size % 3 : UINT32_MAX - size % 9;
    memcpy(wanted, text, size);
    salsa20(wanted, size, nonce, block, key);
    NEED(crypto_stream_salsa20_xor_ic(text, text, size, nonce, block, key) == 0
         && !memcmp(text, wanted, size));
    return 0;
}

int main(void)
{
    size_t size = 0;
    uint8_t key[KEY];
    /* Texts end where memory does. */
    uint8_t *room = mmap(NULL, 2 * ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(room != MAP_FAILED && mprotect(room, ROOM, PROT_READ | PROT_WRITE) == 0);
    NEED(sodium_init() >= 0);
    for (size = 0; size <= SIZE_MAX_TRIED; size++) {
        uint8_t *text = room + ROOM - size;
        /* A whole last block, one that is nearly so, and the least that can be in one. */
        int kinds = (size + 1) % BLOCK <= 2 ? TEXTS * KEYS : 1, wrong = 0;
        for (int kind = 0; kind < kinds && !wrong; kind++) {
            make_text(text, size, kind % TEXTS);
            make_key(key, kind / TEXTS);
            wrong = check_tag(text, size, key);
        }
        /* With nothing behind the whole blocks, and with a byte. */
        bool solved = size >= BLOCK && size % BLOCK <= 1;
        for (int i = 0; i < SOLVED && solved && !wrong; i++) {
            static const int keys[] = {0, 1, 3}; /* random, the largest, one */
            make_text(text, size, 0);
            make_key(key, keys[i % 3]);
            if (solve(text, size - size % BLOCK, key, limit()))
                wrong = check_tag(text, size, key);
        }
        make_text(text, size, 0);
        if (wrong || (wrong = check_stream(text, size)))
            return wrong;
    }
    make_text(room + ROOM - LONG, LONG, 0);
    make_key(key, 0);
    return check_tag(room + ROOM - LONG, LONG, key);
}
