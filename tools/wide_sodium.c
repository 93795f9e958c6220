/* Puts wide.c into libsodium, behind what it has for processors with AVX-512 F, DQ and VL: those
 * that have BW and IFMA as well use ours for all that is long enough. */
#include "crypto_verify_16.h"
#include "onetimeauth_poly1305.h"
#include "stream_salsa20.h"
#include "wide.h"

#include <cpuid.h>
#include <stdbool.h>

extern crypto_stream_salsa20_implementation crypto_stream_salsa20_xmm6int_avx2_implementation_wide;
extern crypto_onetimeauth_poly1305_implementation
    crypto_onetimeauth_poly1305_sse2_implementation_wide;

/* libsodium has asked whether the system keeps such registers. */
static bool has_ours(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_AVX512IFMA && b & bit_AVX512BW;
}

static int stream_xor_ic(unsigned char *c, const unsigned char *m, unsigned long long size,
                         const unsigned char *nonce, uint64_t counter, const unsigned char *key)
{
    size_t done = 0;
    if (size >= ZM_WIDE_BYTES)
        done = zm_wide_salsa20_xor(c, m, size, nonce, counter, key);
    if (done == size)
        return 0;
    return crypto_stream_salsa20_xmm6int_avx2_implementation_wide.stream_xor_ic(
        c + done, m + done, size - done, nonce, counter + done / 64, key);
}

const crypto_stream_salsa20_implementation *zm_wide_stream(void)
{
    static crypto_stream_salsa20_implementation ours;
    if (!has_ours())
        return &crypto_stream_salsa20_xmm6int_avx2_implementation_wide;
    ours = crypto_stream_salsa20_xmm6int_avx2_implementation_wide;
    ours.stream_xor_ic = stream_xor_ic;
    return &ours;
}

static int onetimeauth(unsigned char *out, const unsigned char *in, unsigned long long size,
                       const unsigned char *key)
{
    if (size < ZM_WIDE_TAG_BYTES)
        return crypto_onetimeauth_poly1305_sse2_implementation_wide.onetimeauth(out, in, size, key);
    zm_wide_poly1305(out, in, size, key);
    return 0;
}

static int onetimeauth_verify(const unsigned char *tag, const unsigned char *in,
                              unsigned long long size, const unsigned char *key)
{
    unsigned char right[16];
    onetimeauth(right, in, size, key);
    return crypto_verify_16(tag, right);
}

const crypto_onetimeauth_poly1305_implementation *zm_wide_onetimeauth(void)
{
    static crypto_onetimeauth_poly1305_implementation ours;
    if (!has_ours())
        return &crypto_onetimeauth_poly1305_sse2_implementation_wide;
    ours = crypto_onetimeauth_poly1305_sse2_implementation_wide;
    ours.onetimeauth = onetimeauth;
    ours.onetimeauth_verify = onetimeauth_verify;
    return &ours;
}
