/* The primitives of CURVE (NaCl's crypto_box: X25519, XSalsa20, Poly1305), as function pointers
 * into libsodium, which the package PyNaCl brings. Found and loaded when they are first needed;
 * knows nothing of what is encrypted. */
#ifndef ZM_BASE_CRYPTO_H
#define ZM_BASE_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

enum { ZM_KEY_SIZE = 32, ZM_NONCE_SIZE = 24, ZM_MAC_SIZE = 16 };

/* libsodium's functions under their own names, without the prefixes. "afternm": with the key that
 * box_beforenm made of a public and a secret one. All answer 0, or -1: a forged text, a bad key. */
typedef struct zm_crypto {
    int (*box_keypair)(unsigned char *public_key, unsigned char *secret_key);
    int (*box_beforenm)(unsigned char *shared, const unsigned char *public_key,
                        const unsigned char *secret_key);
    int (*box_easy)(unsigned char *out, const unsigned char *text, unsigned long long size,
                    const unsigned char *nonce, const unsigned char *public_key,
                    const unsigned char *secret_key);
    int (*box_open_easy)(unsigned char *out, const unsigned char *box, unsigned long long box_size,
                         const unsigned char *nonce, const unsigned char *public_key,
                         const unsigned char *secret_key);
    /* `out` may be `text` itself. */
    int (*box_detached_afternm)(unsigned char *out, unsigned char *mac, const unsigned char *text,
                                unsigned long long size, const unsigned char *nonce,
                                const unsigned char *shared);
    int (*box_open_detached_afternm)(unsigned char *out, const unsigned char *text,
                                     const unsigned char *mac, unsigned long long size,
                                     const unsigned char *nonce, const unsigned char *shared);
    int (*secretbox_easy)(unsigned char *out, const unsigned char *text, unsigned long long size,
                          const unsigned char *nonce, const unsigned char *key);
    int (*secretbox_open_easy)(unsigned char *out, const unsigned char *box,
                               unsigned long long box_size, const unsigned char *nonce,
                               const unsigned char *key);
    int (*core_hsalsa20)(unsigned char *out, const unsigned char *in, const unsigned char *key,
                         const unsigned char *constant);
    int (*stream_salsa20_xor_ic)(unsigned char *out, const unsigned char *text,
                                 unsigned long long size, const unsigned char *nonce,
                                 uint64_t block, const unsigned char *key);
    int (*onetimeauth_poly1305)(unsigned char *mac, const unsigned char *text,
                                unsigned long long size, const unsigned char *key);
    int (*onetimeauth_poly1305_verify)(const unsigned char *mac, const unsigned char *text,
                                       unsigned long long size, const unsigned char *key);
    int (*scalarmult_base)(unsigned char *public_key, const unsigned char *secret_key);
    void (*randombytes_buf)(void *out, size_t size);
    int (*memcmp)(const void *a, const void *b, size_t size); /* in constant time */
} zm_crypto;

/* Where to look: the path of a shared object that exports libsodium's functions. Nothing is opened
 * yet. Called before the first zm_crypto_get(), or not at all; more than once: the first that can
 * be opened is taken. */
void zm_crypto_path(const char *path);
/* The functions; NULL: there is no libsodium. Loaded by the first call. */
const zm_crypto *zm_crypto_get(void);

/* --- many boxes with one key ----------------------------------------------------------------- */

/* box_detached_afternm() for the messages of one direction, in half the time: the nonces of all of
 * them begin with the same 16 bytes, so that a part of the work is done once; and the stream is
 * made in the portions that libsodium is quick at. The bytes are the same. With libsodium only. */

enum { ZM_BOX_ROOM = 32 }; /* bytes before the text that are overwritten */

/* The key for nonces that begin with `prefix` (16 bytes). */
void zm_box_key(uint8_t out_key[ZM_KEY_SIZE], const uint8_t *shared, const char *prefix);
/* Encrypts in place. `nonce`: the other 8 bytes. `mac`: not in the room. */
void zm_box_seal(uint8_t *text, size_t size, uint8_t mac[ZM_MAC_SIZE], const uint8_t *nonce,
                 const uint8_t *key);
/* Decrypts in place. 0; -1: forged, and nothing was changed. Needs no room before the text. */
int zm_box_open(uint8_t *text, size_t size, const uint8_t *mac, const uint8_t *nonce,
                const uint8_t *key);

#endif
