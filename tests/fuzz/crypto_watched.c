/* Stands between base/crypto.c and libsodium, which has no sanitizers in it:
 *   - the bytes that a call is to read and to write are there (AddressSanitizer is asked);
 *   - random bytes, and keys made of them, are the same in every run;
 *   - the costly functions of two keys are computed once for each pair, so that a handshake takes
 *     a small part of its time. What they answer is libsodium's own. */
#include <dlfcn.h>
#include <sanitizer/asan_interface.h>
#include <stdbool.h>
#include <string.h>

#include "base/crypto.h"
#include "harness.h"

/* PyNaCl's extension, which has libsodium in it, wants this to be there, and does not look at it
 * while its own functions are not called. */
extern char _Py_NoneStruct[64];
char _Py_NoneStruct[64];

void *watched_dlsym(void *library, const char *name);

typedef unsigned char u8;
typedef unsigned long long ull;

static struct {
    __typeof__(((zm_crypto *) NULL)->box_beforenm) beforenm;
    __typeof__(((zm_crypto *) NULL)->scalarmult_base) scalarmult_base;
    int (*easy)(u8 *, const u8 *, ull, const u8 *, const u8 *);
    int (*open_easy)(u8 *, const u8 *, ull, const u8 *, const u8 *);
    __typeof__(((zm_crypto *) NULL)->box_detached_afternm) detached;
    __typeof__(((zm_crypto *) NULL)->box_open_detached_afternm) open_detached;
    __typeof__(((zm_crypto *) NULL)->secretbox_easy) secretbox;
    __typeof__(((zm_crypto *) NULL)->secretbox_open_easy) secretbox_open;
    __typeof__(((zm_crypto *) NULL)->core_hsalsa20) hsalsa20;
    __typeof__(((zm_crypto *) NULL)->stream_salsa20_xor_ic) salsa20;
    __typeof__(((zm_crypto *) NULL)->onetimeauth_poly1305) poly1305;
    __typeof__(((zm_crypto *) NULL)->onetimeauth_poly1305_verify) poly1305_verify;
    __typeof__(((zm_crypto *) NULL)->memcmp) memcmp;
} sodium;

static void there(const void *bytes, ull size)
{
    REQUIRE(!__asan_region_is_poisoned((void *) (uintptr_t) bytes, (size_t) size));
}

static void there_with_key(const void *text, ull size, const void *nonce, const void *key)
{
    there(text, size);
    there(nonce, ZM_NONCE_SIZE);
    there(key, ZM_KEY_SIZE);
}

/* --- random bytes ---------------------------------------------------------------------------- */

static uint64_t random_state;

void random_restart(void)
{
    random_state = 1;
}

static void randombytes(void *out, size_t size)
{
    u8 *at = out;
    there(out, size);
    for (size_t i = 0; i < size; i++) {
        random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        at[i] = (u8) (random_state >> 56);
    }
}

/* --- functions of two keys ------------------------------------------------------------------- */

typedef struct known {
    bool used;
    int answer;
    u8 public_key[ZM_KEY_SIZE], secret_key[ZM_KEY_SIZE], out[ZM_KEY_SIZE];
} known;

enum { KNOWN = 1024 }; /* a power of two */

static known shared_keys[KNOWN], public_keys[KNOWN];

static known *look_up(known *table, const u8 *public_key, const u8 *secret_key)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < ZM_KEY_SIZE; i++)
        hash = ((hash ^ public_key[i]) * 16777619u ^ secret_key[i]) * 16777619u;
    known *k = &table[hash % KNOWN];
    if (k->used && memcmp(k->public_key, public_key, ZM_KEY_SIZE) == 0
        && memcmp(k->secret_key, secret_key, ZM_KEY_SIZE) == 0)
        return k;
    k->used = false;
    memcpy(k->public_key, public_key, ZM_KEY_SIZE);
    memcpy(k->secret_key, secret_key, ZM_KEY_SIZE);
    return k;
}

static int beforenm(u8 *shared, const u8 *public_key, const u8 *secret_key)
{
    there(shared, ZM_KEY_SIZE);
    there(public_key, ZM_KEY_SIZE);
    there(secret_key, ZM_KEY_SIZE);
    known *k = look_up(shared_keys, public_key, secret_key);
    if (!k->used) {
        k->answer = sodium.beforenm(k->out, public_key, secret_key);
        k->used = true;
    }
    if (k->answer == 0)
        memcpy(shared, k->out, ZM_KEY_SIZE);
    return k->answer;
}

static int scalarmult_base(u8 *public_key, const u8 *secret_key)
{
    static const u8 none[ZM_KEY_SIZE];
    there(public_key, ZM_KEY_SIZE);
    there(secret_key, ZM_KEY_SIZE);
    known *k = look_up(public_keys, none, secret_key);
    if (!k->used) {
        k->answer = sodium.scalarmult_base(k->out, secret_key);
        k->used = true;
    }
    memcpy(public_key, k->out, ZM_KEY_SIZE);
    return k->answer;
}

static int keypair(u8 *public_key, u8 *secret_key)
{
    randombytes(secret_key, ZM_KEY_SIZE);
    return scalarmult_base(public_key, secret_key);
}

static int box_easy(u8 *out, const u8 *text, ull size, const u8 *nonce, const u8 *public_key,
                    const u8 *secret_key)
{
    u8 shared[ZM_KEY_SIZE];
    there(text, size);
    there(nonce, ZM_NONCE_SIZE);
    there(out, size + ZM_MAC_SIZE);
    if (beforenm(shared, public_key, secret_key) < 0)
        return -1;
    return sodium.easy(out, text, size, nonce, shared);
}

static int box_open_easy(u8 *out, const u8 *box, ull size, const u8 *nonce, const u8 *public_key,
                         const u8 *secret_key)
{
    u8 shared[ZM_KEY_SIZE];
    there(box, size);
    there(nonce, ZM_NONCE_SIZE);
    there(out, size < ZM_MAC_SIZE ? 0 : size - ZM_MAC_SIZE);
    if (beforenm(shared, public_key, secret_key) < 0)
        return -1;
    return sodium.open_easy(out, box, size, nonce, shared);
}

/* --- the others ------------------------------------------------------------------------------ */

static int detached(u8 *out, u8 *mac, const u8 *text, ull size, const u8 *nonce, const u8 *shared)
{
    there_with_key(text, size, nonce, shared);
    there(out, size);
    there(mac, ZM_MAC_SIZE);
    return sodium.detached(out, mac, text, size, nonce, shared);
}

static int open_detached(u8 *out, const u8 *text, const u8 *mac, ull size, const u8 *nonce,
                         const u8 *shared)
{
    there_with_key(text, size, nonce, shared);
    there(out, size);
    there(mac, ZM_MAC_SIZE);
    return sodium.open_detached(out, text, mac, size, nonce, shared);
}

static int secretbox(u8 *out, const u8 *text, ull size, const u8 *nonce, const u8 *key)
{
    there_with_key(text, size, nonce, key);
    there(out, size + ZM_MAC_SIZE);
    return sodium.secretbox(out, text, size, nonce, key);
}

static int secretbox_open(u8 *out, const u8 *box, ull size, const u8 *nonce, const u8 *key)
{
    there_with_key(box, size, nonce, key);
    there(out, size < ZM_MAC_SIZE ? 0 : size - ZM_MAC_SIZE);
    return sodium.secretbox_open(out, box, size, nonce, key);
}

static int hsalsa20(u8 *out, const u8 *in, const u8 *key, const u8 *constant)
{
    there(out, ZM_KEY_SIZE);
    there(in, ZM_NONCE_SIZE - 8);
    there(key, ZM_KEY_SIZE);
    return sodium.hsalsa20(out, in, key, constant);
}

static int salsa20(u8 *out, const u8 *text, ull size, const u8 *nonce, uint64_t block,
                   const u8 *key)
{
    there(out, size);
    there(text, size);
    there(nonce, 8);
    there(key, ZM_KEY_SIZE);
    return sodium.salsa20(out, text, size, nonce, block, key);
}

static int poly1305(u8 *mac, const u8 *text, ull size, const u8 *key)
{
    there(mac, ZM_MAC_SIZE);
    there(text, size);
    there(key, ZM_KEY_SIZE);
    return sodium.poly1305(mac, text, size, key);
}

static int poly1305_verify(const u8 *mac, const u8 *text, ull size, const u8 *key)
{
    there(mac, ZM_MAC_SIZE);
    there(text, size);
    there(key, ZM_KEY_SIZE);
    return sodium.poly1305_verify(mac, text, size, key);
}

static int compare(const void *a, const void *b, size_t size)
{
    there(a, size);
    there(b, size);
    return sodium.memcmp(a, b, size);
}

/* --- where base/crypto.c looks --------------------------------------------------------------- */

static void *address_in(void *library, const char *name)
{
    void *address = dlsym(library, name);
    REQUIRE(address);
    return address;
}

void *watched_dlsym(void *library, const char *name)
{
/* `ours` in place of the function `name`, which `theirs` keeps; it may need another of theirs. */
#define STANDS_FOR(wanted, ours, theirs, actual) \
    if (strcmp(name, wanted) == 0) { \
        void *address = address_in(library, actual); \
        memcpy(&sodium.theirs, &address, sizeof address); \
        return (void *) (uintptr_t) ours; \
    }
    STANDS_FOR("crypto_box_beforenm", beforenm, beforenm, name)
    STANDS_FOR("crypto_scalarmult_base", scalarmult_base, scalarmult_base, name)
    STANDS_FOR("crypto_box_easy", box_easy, easy, "crypto_box_easy_afternm")
    STANDS_FOR("crypto_box_open_easy", box_open_easy, open_easy, "crypto_box_open_easy_afternm")
    STANDS_FOR("crypto_box_detached_afternm", detached, detached, name)
    STANDS_FOR("crypto_box_open_detached_afternm", open_detached, open_detached, name)
    STANDS_FOR("crypto_secretbox_easy", secretbox, secretbox, name)
    STANDS_FOR("crypto_secretbox_open_easy", secretbox_open, secretbox_open, name)
    STANDS_FOR("crypto_core_hsalsa20", hsalsa20, hsalsa20, name)
    STANDS_FOR("crypto_stream_salsa20_xor_ic", salsa20, salsa20, name)
    STANDS_FOR("crypto_onetimeauth_poly1305", poly1305, poly1305, name)
    STANDS_FOR("crypto_onetimeauth_poly1305_verify", poly1305_verify, poly1305_verify, name)
    STANDS_FOR("sodium_memcmp", compare, memcmp, name)
#undef STANDS_FOR
    if (strcmp(name, "crypto_box_keypair") == 0)
        return (void *) (uintptr_t) keypair;
    if (strcmp(name, "randombytes_buf") == 0)
        return (void *) (uintptr_t) randombytes;
    /* sodium_init, and nothing that takes a pointer unseen. */
    REQUIRE(strcmp(name, "sodium_init") == 0);
    return dlsym(library, name);
}
