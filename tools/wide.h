/* CURVE's cipher and its tag for processors with AVX-512: see wide.c. */
#ifndef ZM_WIDE_H
#define ZM_WIDE_H

#include <stddef.h>
#include <stdint.h>

enum {
    ZM_WIDE_BYTES = 1024,     /* zm_wide_salsa20_xor() is for no less */
    ZM_WIDE_TAG_BYTES = 256,  /* nor zm_wide_poly1305() */
};

/* Encrypts the beginning of `in`, which may be `out`, with the stream from block `counter` on.
 * Answers how much that was: what is left has less than ZM_WIDE_BYTES, and begins a block. */
size_t zm_wide_salsa20_xor(uint8_t *out, const uint8_t *in, size_t size, const uint8_t nonce[8],
                           uint64_t counter, const uint8_t key[32]);

void zm_wide_poly1305(uint8_t out[16], const uint8_t *in, size_t size, const uint8_t key[32]);

#endif
