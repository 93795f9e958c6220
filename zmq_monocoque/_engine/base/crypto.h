/* The primitives of CURVE (NaCl's crypto_box: X25519, XSalsa20, Poly1305), as function pointers
 * into libsodium, which the package PyNaCl brings. Found and loaded when they are first needed;
 * knows nothing of what is encrypted. */
#ifndef ZM_BASE_CRYPTO_H
#define ZM_BASE_CRYPTO_H

#include <stddef.h>

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
    int (*scalarmult_base)(unsigned char *public_key, const unsigned char *secret_key);
    void (*randombytes_buf)(void *out, size_t size);
    int (*memcmp)(const void *a, const void *b, size_t size); /* in constant time */
} zm_crypto;

/* Where to look: the path of a shared object that exports libsodium's functions. Nothing is opened
 * yet. Called before the first zm_crypto_get(), or not at all. */
void zm_crypto_path(const char *path);
/* The functions; NULL: there is no libsodium. Loaded by the first call. */
const zm_crypto *zm_crypto_get(void);

#endif
