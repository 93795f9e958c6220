/* Poly1305 for the libsodium of our wheels, where the processor has AVX2: the assembly is
 * OpenSSL's, with code for AVX2 and for AVX-512 with IFMA. Here is what stands around it in
 * OpenSSL's poly1305.c, for a text in one piece. Texts in pieces remain libsodium's.
 *
 * zm_poly1305() is put where libsodium picks an implementation: libraries.py. */
#include <cpuid.h>
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "crypto_verify_16.h"
#include "onetimeauth_poly1305.h"
#include "runtime.h"
#include "sse2/poly1305_sse2.h"
#include "utils.h"

enum { BLOCK = 16, STATE_WORDS = 24 };

typedef struct functions {
    /* `size`: whole blocks. `pad`: 1, or 0 for the last block of a text, padded by who calls. */
    void (*blocks)(uint64_t *state, const unsigned char *text, size_t size, unsigned pad);
    void (*emit)(uint64_t *state, unsigned char *out_tag, const unsigned char *second_key);
} functions;

/* Takes the first half of the key, and picks functions by what stands below. */
int poly1305_init(uint64_t *state, const unsigned char *key, functions *out);

/* What the processor has: of CPUID, leaf 1 EDX and ECX, leaf 7 EBX and ECX. */
__attribute__((visibility("hidden"))) unsigned OPENSSL_ia32cap_P[4];

__attribute__((target("avx"))) static int auth(unsigned char *out, const unsigned char *text,
                                               unsigned long long size, const unsigned char *key)
{
    uint64_t state[STATE_WORDS];
    functions f;
    unsigned long long rest = size % BLOCK, whole = size - rest;
    poly1305_init(state, key, &f);
    if (whole)
        f.blocks(state, text, whole, 1);
    if (rest) {
        unsigned char last[BLOCK] = {0};
        memcpy(last, text + whole, rest);
        last[rest] = 1;
        f.blocks(state, last, BLOCK, 0);
    }
    f.emit(state, out, key + BLOCK);
    sodium_memzero(state, sizeof state);
    _mm256_zeroall(); /* the key is in there, too, after short texts */
    return 0;
}

static int verify(const unsigned char *tag, const unsigned char *text, unsigned long long size,
                  const unsigned char *key)
{
    unsigned char right[BLOCK];
    auth(right, text, size, key);
    return crypto_verify_16(tag, right);
}

/* For a processor and a kernel with AVX2. Called once, before anything else is. */
const crypto_onetimeauth_poly1305_implementation *zm_poly1305(void)
{
    static crypto_onetimeauth_poly1305_implementation implementation;
    unsigned a, b, *c = OPENSSL_ia32cap_P;
    __get_cpuid(1, &a, &b, &c[1], &c[0]);
    __get_cpuid_count(7, 0, &a, &c[2], &c[3], &b);
    if (!sodium_runtime_has_avx512f() || !(c[2] & bit_AVX512IFMA))
        c[2] &= ~(unsigned) bit_AVX512F; /* what is left is the code for AVX2 */
    implementation = crypto_onetimeauth_poly1305_sse2_implementation;
    implementation.onetimeauth = auth;
    implementation.onetimeauth_verify = verify;
    return &implementation;
}
