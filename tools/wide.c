/* Salsa20 and Poly1305 for processors with AVX-512 F, DQ, VL, BW and IFMA: the wheels' libsodium
 * picks them there. Neither branches nor looks up by what is secret.
 *
 * Salsa20 makes sixteen blocks at once, a lane each. What is left of a message is often less than
 * one more block, which alone takes half as long as the sixteen, since each of its steps waits for
 * the one before: it is made between their steps.
 *
 * Poly1305 takes eight blocks of sixteen bytes at once: lane by lane h = (h + block) * r^8, and at
 * the end each lane is multiplied with the power of r that is its own, and all are added up.
 * Numbers have limbs of 44, 44 and 42 bits; a product has 52 bits and what is above. */
#include "wide.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* --- Salsa20 --------------------------------------------------------------------------------- */

enum { WORDS = 16, LANES = 16, BLOCK = 64, DOUBLE_ROUNDS = 10 };

#define STEP(b, a, d, bits) b = _mm512_xor_si512(b, _mm512_rol_epi32(_mm512_add_epi32(a, d), bits))
#define QUARTER(a, b, c, d) \
    STEP(b, a, d, 7); \
    STEP(c, b, a, 9); \
    STEP(d, c, b, 13); \
    STEP(a, d, c, 18)
#define STEP1(b, a, d, bits) b = _mm_xor_si128(b, _mm_rol_epi32(_mm_add_epi32(a, d), bits))
#define QUARTER1(a, b, c, d) \
    STEP1(b, a, d, 7); \
    STEP1(c, b, a, 9); \
    STEP1(d, c, b, 13); \
    STEP1(a, d, c, 18)

/* The words of a block, which are the same in all lanes but for the counter. */
static void set_up(uint32_t words[WORDS], const uint8_t *nonce, const uint8_t *key)
{
    static const char sigma[] = "expand 32-byte k";
    for (int i = 0; i < 4; i++)
        memcpy(&words[5 * i], sigma + 4 * i, 4);
    memcpy(&words[1], key, 16);
    memcpy(&words[6], nonce, 8);
    memcpy(&words[8], (const uint64_t[]){0}, 8);
    memcpy(&words[11], key + 16, 16);
}

/* Four words of each of sixteen blocks become four of each of four blocks, in each quarter. */
INLINE void transpose4(__m512i x[4])
{
    __m512i a = _mm512_unpacklo_epi32(x[0], x[1]), b = _mm512_unpackhi_epi32(x[0], x[1]);
    __m512i c = _mm512_unpacklo_epi32(x[2], x[3]), d = _mm512_unpackhi_epi32(x[2], x[3]);
    x[0] = _mm512_unpacklo_epi64(a, c);
    x[1] = _mm512_unpackhi_epi64(a, c);
    x[2] = _mm512_unpacklo_epi64(b, d);
    x[3] = _mm512_unpackhi_epi64(b, d);
}

/* Sixteen blocks, and `tail` bytes of the next one, 0 to 64. */
INLINE void sixteen(uint8_t *out, const uint8_t *in, size_t tail, const uint32_t words[WORDS],
                    uint64_t counter)
{
    __m512i start[WORDS], x[WORDS];
    for (int i = 0; i < WORDS; i++)
        start[i] = _mm512_set1_epi32((int) words[i]);
    __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i low = _mm512_set1_epi32((int) (uint32_t) counter);
    __m512i high = _mm512_set1_epi32((int) (counter >> 32));
    start[8] = _mm512_add_epi32(low, lanes);
    start[9] = _mm512_mask_add_epi32(high, _mm512_cmplt_epu32_mask(start[8], low), high,
                                     _mm512_set1_epi32(1));
    for (int i = 0; i < WORDS; i++)
        x[i] = start[i];

    /* The block after them, by its diagonals: a, b, c, d have one word of each quarter. */
    const __m512i diagonals = _mm512_setr_epi32(0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6,
                                                11);
    const __m512i in_order = _mm512_setr_epi32(0, 13, 10, 7, 4, 1, 14, 11, 8, 5, 2, 15, 12, 9, 6,
                                               3);
    uint64_t next = counter + LANES;
    __m512i begin = _mm512_loadu_si512(words);
    begin = _mm512_mask_set1_epi32(begin, 1 << 8, (int) (uint32_t) next);
    begin = _mm512_mask_set1_epi32(begin, 1 << 9, (int) (next >> 32));
    __m512i all = _mm512_permutexvar_epi32(diagonals, begin);
    __m128i a = _mm512_castsi512_si128(all), b = _mm512_extracti32x4_epi32(all, 1);
    __m128i c = _mm512_extracti32x4_epi32(all, 2), d = _mm512_extracti32x4_epi32(all, 3);

    for (int i = 0; i < DOUBLE_ROUNDS; i++) {
        QUARTER(x[0], x[4], x[8], x[12]);
        QUARTER(x[5], x[9], x[13], x[1]);
        QUARTER(x[10], x[14], x[2], x[6]);
        QUARTER(x[15], x[3], x[7], x[11]);
        QUARTER(x[0], x[1], x[2], x[3]);
        QUARTER(x[5], x[6], x[7], x[4]);
        QUARTER(x[10], x[11], x[8], x[9]);
        QUARTER(x[15], x[12], x[13], x[14]);
        if (tail) {
            QUARTER1(a, b, c, d);
            __m128i row_b = _mm_shuffle_epi32(d, 0x39), row_d = _mm_shuffle_epi32(b, 0x93);
            c = _mm_shuffle_epi32(c, 0x4e);
            QUARTER1(a, row_b, c, row_d);
            b = _mm_shuffle_epi32(row_d, 0x39);
            c = _mm_shuffle_epi32(c, 0x4e);
            d = _mm_shuffle_epi32(row_b, 0x93);
        }
    }

    for (int i = 0; i < WORDS; i++)
        x[i] = _mm512_add_epi32(x[i], start[i]);
    for (int i = 0; i < WORDS; i += 4)
        transpose4(x + i);
    /* x[i + 4 j] has, in its quarter k, the words 4 j ... of block 4 k + i. */
    for (int i = 0; i < 4; i++) {
        __m512i p = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x44);
        __m512i q = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xee);
        __m512i r = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x44);
        __m512i s = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xee);
        __m512i blocks[4] = {
            _mm512_shuffle_i32x4(p, r, 0x88),
            _mm512_shuffle_i32x4(p, r, 0xdd),
            _mm512_shuffle_i32x4(q, s, 0x88),
            _mm512_shuffle_i32x4(q, s, 0xdd),
        };
        for (int k = 0; k < 4; k++) {
            size_t at = (size_t) (4 * k + i) * BLOCK;
            __m512i text = _mm512_loadu_si512(in + at);
            _mm512_storeu_si512(out + at, _mm512_xor_si512(text, blocks[k]));
        }
    }
    if (tail) {
        size_t at = (size_t) LANES * BLOCK;
        all = _mm512_inserti32x4(_mm512_castsi128_si512(a), b, 1);
        all = _mm512_inserti32x4(_mm512_inserti32x4(all, c, 2), d, 3);
        all = _mm512_add_epi32(_mm512_permutexvar_epi32(in_order, all), begin);
        __mmask64 bytes = ~UINT64_C(0) >> (BLOCK - tail);
        __m512i text = _mm512_maskz_loadu_epi8(bytes, in + at);
        _mm512_mask_storeu_epi8(out + at, bytes, _mm512_xor_si512(text, all));
    }
}

size_t zm_wide_salsa20_xor(uint8_t *out, const uint8_t *in, size_t size, const uint8_t nonce[8],
                           uint64_t counter, const uint8_t key[32])
{
    uint32_t words[WORDS];
    size_t done = 0;
    set_up(words, nonce, key);
    for (; size - done >= ZM_WIDE_BYTES + BLOCK + 1; done += ZM_WIDE_BYTES, counter += LANES)
        sixteen(out + done, in + done, 0, words, counter);
    size_t tail = size - done - ZM_WIDE_BYTES; /* wraps when there is less */
    if (tail == 0) {
        sixteen(out + done, in + done, 0, words, counter);
        done = size;
    } else if (tail <= BLOCK) {
        sixteen(out + done, in + done, tail, words, counter);
        done = size;
    }
    explicit_bzero(words, sizeof words);
    return done;
}

/* --- Poly1305 -------------------------------------------------------------------------------- */

__extension__ typedef unsigned __int128 uint128;

enum { LIMBS = 3, LOW_BITS = 44, TOP_BITS = 42, PARTS = 8, TAGGED = 16 };

static const uint64_t low_mask = (UINT64_C(1) << LOW_BITS) - 1;
static const uint64_t top_mask = (UINT64_C(1) << TOP_BITS) - 1;

/* Lane by lane: a factor, and twenty times its upper limbs. 2^132 is 20, modulo 2^130 - 5. */
typedef struct factor {
    __m512i r[LIMBS], s[LIMBS]; /* s[0] is not used */
} factor;

static uint64_t load64(const uint8_t *bytes)
{
    uint64_t number;
    memcpy(&number, bytes, sizeof number);
    return number;
}

/* Limbs that are up to three bits too long become such as they are, but that the second one may
 * have a little more. */
INLINE void carry(uint64_t h[LIMBS])
{
    h[1] += h[0] >> LOW_BITS;
    h[0] &= low_mask;
    h[2] += h[1] >> LOW_BITS;
    h[1] &= low_mask;
    h[0] += 5 * (h[2] >> TOP_BITS);
    h[2] &= top_mask;
    h[1] += h[0] >> LOW_BITS;
    h[0] &= low_mask;
}

INLINE void multiply(uint64_t out[LIMBS], const uint64_t a[LIMBS], const uint64_t b[LIMBS])
{
    uint64_t s1 = 20 * b[1], s2 = 20 * b[2];
    uint128 d0 = (uint128) a[0] * b[0] + (uint128) a[1] * s2 + (uint128) a[2] * s1;
    uint128 d1 = (uint128) a[0] * b[1] + (uint128) a[1] * b[0] + (uint128) a[2] * s2;
    uint128 d2 = (uint128) a[0] * b[2] + (uint128) a[1] * b[1] + (uint128) a[2] * b[0];
    d1 += (uint64_t) (d0 >> LOW_BITS);
    d2 += (uint64_t) (d1 >> LOW_BITS);
    out[0] = ((uint64_t) d0 & low_mask) + 5 * (uint64_t) (d2 >> TOP_BITS);
    out[1] = ((uint64_t) d1 & low_mask) + (out[0] >> LOW_BITS);
    out[0] &= low_mask;
    out[2] = (uint64_t) d2 & top_mask;
}

INLINE factor everywhere(const uint64_t r[LIMBS])
{
    factor f;
    for (int i = 0; i < LIMBS; i++) {
        f.r[i] = _mm512_set1_epi64((long long) r[i]);
        f.s[i] = _mm512_set1_epi64((long long) (20 * r[i]));
    }
    return f;
}

INLINE __m512i product_low(const __m512i h[LIMBS], __m512i a, __m512i b, __m512i c)
{
    __m512i sum = _mm512_madd52lo_epu64(_mm512_setzero_si512(), h[0], a);
    return _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(sum, h[2], c), h[1], b);
}

INLINE __m512i product_high(const __m512i h[LIMBS], __m512i a, __m512i b, __m512i c)
{
    __m512i sum = _mm512_madd52hi_epu64(_mm512_setzero_si512(), h[0], a);
    return _mm512_madd52hi_epu64(_mm512_madd52hi_epu64(sum, h[2], c), h[1], b);
}

/* h *= f. What is above 52 bits counts from bit 52 - 44 of the next limb on, or 52 - 42. */
INLINE void multiply_lanes(__m512i h[LIMBS], const factor *f)
{
    const __m512i low = _mm512_set1_epi64((long long) low_mask);
    const __m512i top = _mm512_set1_epi64((long long) top_mask);
    __m512i low0 = product_low(h, f->r[0], f->s[2], f->s[1]);
    __m512i low1 = product_low(h, f->r[1], f->r[0], f->s[2]);
    __m512i low2 = product_low(h, f->r[2], f->r[1], f->r[0]);
    __m512i high0 = product_high(h, f->r[0], f->s[2], f->s[1]);
    __m512i high1 = product_high(h, f->r[1], f->r[0], f->s[2]);
    __m512i high2 = product_high(h, f->r[2], f->r[1], f->r[0]);
    low1 = _mm512_add_epi64(low1, _mm512_slli_epi64(high0, 8));
    low2 = _mm512_add_epi64(low2, _mm512_slli_epi64(high1, 8));
    low1 = _mm512_add_epi64(low1, _mm512_srli_epi64(low0, LOW_BITS));
    low2 = _mm512_add_epi64(low2, _mm512_srli_epi64(low1, LOW_BITS));
    __m512i over = _mm512_add_epi64(_mm512_slli_epi64(high2, 10),
                                    _mm512_srli_epi64(low2, TOP_BITS));
    __m512i five = _mm512_add_epi64(over, _mm512_slli_epi64(over, 2));
    __m512i h0 = _mm512_add_epi64(_mm512_and_si512(low0, low), five);
    h[0] = _mm512_and_si512(h0, low);
    h[1] = _mm512_add_epi64(_mm512_and_si512(low1, low), _mm512_srli_epi64(h0, LOW_BITS));
    h[2] = _mm512_and_si512(low2, top);
}

/* h += eight blocks: of each the bytes, and one more bit, which `bits` has in each word. They come
 * into the lanes as 0 4 1 5 2 6 3 7. */
INLINE void add_blocks(__m512i h[LIMBS], const __m512i blocks[2], const __m512i bits[2])
{
    const __m512i mask = _mm512_set1_epi64((long long) low_mask);
    __m512i low = _mm512_unpacklo_epi64(blocks[0], blocks[1]);
    __m512i high = _mm512_unpackhi_epi64(blocks[0], blocks[1]);
    __m512i middle = _mm512_or_si512(_mm512_srli_epi64(low, 44), _mm512_slli_epi64(high, 20));
    __m512i top = _mm512_or_si512(_mm512_srli_epi64(high, 24),
                                  _mm512_unpackhi_epi64(bits[0], bits[1]));
    h[0] = _mm512_add_epi64(h[0], _mm512_and_si512(low, mask));
    h[1] = _mm512_add_epi64(h[1], _mm512_and_si512(middle, mask));
    h[2] = _mm512_add_epi64(h[2], top);
}

/* h modulo 2^130 - 5, and the other half of the key. */
static void finish(uint8_t out[TAGGED], uint64_t h[LIMBS], const uint8_t *pad)
{
    carry(h);
    carry(h);
    h[2] += h[1] >> LOW_BITS;
    h[1] &= low_mask;
    /* Is it 2^130 - 5 or more? Then five more go beyond 2^130. */
    uint64_t g0 = h[0] + 5, g1 = h[1] + (g0 >> LOW_BITS), g2 = h[2] + (g1 >> LOW_BITS);
    uint64_t over = (uint64_t) 0 - (g2 >> TOP_BITS);
    h[0] = (h[0] & ~over) | (g0 & low_mask & over);
    h[1] = (h[1] & ~over) | (g1 & low_mask & over);
    h[2] = (h[2] & ~over) | (g2 & top_mask & over);
    uint128 low = (uint128) (h[0] | h[1] << 44) + load64(pad);
    uint128 high = (uint128) (h[1] >> 20 | h[2] << 24) + load64(pad + 8) + (uint64_t) (low >> 64);
    memcpy(out, (const uint64_t[]){(uint64_t) low, (uint64_t) high}, TAGGED);
}

void zm_wide_poly1305(uint8_t out[16], const uint8_t *in, size_t size, const uint8_t key[32])
{
    enum { PASS = PARTS * TAGGED };
    uint64_t power[PARTS + 1][LIMBS];
    uint64_t r0 = load64(key) & UINT64_C(0x0ffffffc0fffffff);
    uint64_t r1 = load64(key + 8) & UINT64_C(0x0ffffffc0ffffffc);
    power[1][0] = r0 & low_mask;
    power[1][1] = (r0 >> 44 | r1 << 20) & low_mask;
    power[1][2] = r1 >> 24;
    multiply(power[2], power[1], power[1]);
    multiply(power[4], power[2], power[2]);
    multiply(power[8], power[4], power[4]);
    factor by = everywhere(power[8]);
    multiply(power[3], power[2], power[1]);
    multiply(power[5], power[4], power[1]);
    multiply(power[6], power[4], power[2]);
    multiply(power[7], power[4], power[3]);

    /* The first pass has what is more than a multiple of eight blocks, behind zeros, which change
     * nothing; so only the very last block can be a short one. */
    const __m512i bit = _mm512_set1_epi64(1LL << 40);
    size_t blocks = (size + TAGGED - 1) / TAGGED, first = (blocks - 1) % PARTS + 1;
    unsigned words = 0xffffu << 2 * (PARTS - first);
    __mmask8 mask0 = (__mmask8) words, mask1 = (__mmask8) (words >> 8);
    size_t in_second = first < PARTS / 2 ? first : PARTS / 2;
    __m512i h[LIMBS] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    add_blocks(h,
               (const __m512i[]){
                   _mm512_maskz_expandloadu_epi64(mask0, in),
                   _mm512_maskz_expandloadu_epi64(mask1, in + (first - in_second) * TAGGED),
               },
               (const __m512i[]){
                   _mm512_maskz_mov_epi64(mask0, bit),
                   _mm512_maskz_mov_epi64(mask1, bit),
               });
    in += first * TAGGED;
    size_t passes = (blocks - first) / PARTS;
    for (; passes > 1; passes--, in += PASS) {
        multiply_lanes(h, &by);
        add_blocks(h, (const __m512i[]){_mm512_loadu_si512(in), _mm512_loadu_si512(in + PASS / 2)},
                   (const __m512i[]){bit, bit});
    }
    multiply_lanes(h, &by);
    size_t last = size - (blocks - 1) * TAGGED, above = TAGGED - last;
    /* A short block's bit is in the byte after it, and no word of the last block has it. */
    __m512i tail = _mm512_maskz_loadu_epi8(~UINT64_C(0) >> above, in + PASS / 2);
    tail = _mm512_mask_mov_epi8(tail, above ? UINT64_C(1) << (64 - above) : 0, _mm512_set1_epi8(1));
    add_blocks(h, (const __m512i[]){_mm512_loadu_si512(in), tail},
               (const __m512i[]){bit, _mm512_maskz_mov_epi64(above ? 0x3f : 0xff, bit)});

    static const uint8_t of_lane[PARTS] = {8, 4, 7, 3, 6, 2, 5, 1};
    uint64_t own[LIMBS][PARTS];
    for (int limb = 0; limb < LIMBS; limb++)
        for (int lane = 0; lane < PARTS; lane++)
            own[limb][lane] = power[of_lane[lane]][limb];
    for (int limb = 0; limb < LIMBS; limb++) {
        by.r[limb] = _mm512_loadu_si512(own[limb]);
        by.s[limb] = _mm512_add_epi64(_mm512_slli_epi64(by.r[limb], 4),
                                      _mm512_slli_epi64(by.r[limb], 2));
    }
    multiply_lanes(h, &by);
    uint64_t sum[LIMBS];
    for (int limb = 0; limb < LIMBS; limb++)
        sum[limb] = (uint64_t) _mm512_reduce_add_epi64(h[limb]);
    finish(out, sum, key + 16);
    explicit_bzero(power, sizeof power);
    explicit_bzero(own, sizeof own);
}
