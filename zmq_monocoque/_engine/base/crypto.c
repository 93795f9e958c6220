/* Finds libsodium's functions in a shared object. PyNaCl's extension exports them all, whether it
 * has libsodium inside (its wheels) or is linked to the system's. Opening it runs none of its
 * Python code. */
#include "crypto.h"
#include "check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum {
    PATHS_MAX = 4,
    PATH_BYTES = 4096,
    BLOCK = 64,
    PORTION = 256, /* four blocks at once, in little more time than one (measured, SSE2 and AVX2) */
    WIDE = 512, /* eight, in the time of four (AVX2) */
    AHEAD = 2 * WIDE + BLOCK, /* decrypted before the tag is looked at */
};

/* A program may have functions of the same names (NaCl's): libsodium is to call its own. The
 * sanitizers cannot have it so, and musl does not know it: the libsodium of our wheels is linked
 * to itself. */
#if defined(ZM_ASAN) || defined(ZM_TSAN) || !defined(RTLD_DEEPBIND)
#define OWN_FIRST 0
#else
#define OWN_FIRST RTLD_DEEPBIND
#endif

static char where[PATHS_MAX][PATH_BYTES];
static int paths;
static zm_crypto functions;
static bool usable;
static pthread_once_t once = PTHREAD_ONCE_INIT;

void zm_crypto_path(const char *path)
{
    size_t size = strlen(path) + 1;
    if (size > 1 && size <= PATH_BYTES && paths < PATHS_MAX)
        memcpy(where[paths++], path, size);
}

static bool resolve(void *library, const char *name, void *out_function)
{
    void *address = dlsym(library, name);
    memcpy(out_function, &address, sizeof address); /* ISO C has no cast for this */
    return address != NULL;
}

static void load(void)
{
    int (*init)(void);
    zm_crypto *f = &functions;
    /* Never unloaded: sessions hold functions of it. */
    void *library = NULL;
    for (int i = 0; i < paths && !library; i++)
        library = dlopen(where[i], RTLD_LAZY | RTLD_LOCAL | OWN_FIRST);
    usable = library && resolve(library, "sodium_init", &init)
             && resolve(library, "crypto_box_keypair", &f->box_keypair)
             && resolve(library, "crypto_box_beforenm", &f->box_beforenm)
             && resolve(library, "crypto_box_easy", &f->box_easy)
             && resolve(library, "crypto_box_open_easy", &f->box_open_easy)
             && resolve(library, "crypto_box_detached_afternm", &f->box_detached_afternm)
             && resolve(library, "crypto_box_open_detached_afternm", &f->box_open_detached_afternm)
             && resolve(library, "crypto_secretbox_easy", &f->secretbox_easy)
             && resolve(library, "crypto_secretbox_open_easy", &f->secretbox_open_easy)
             && resolve(library, "crypto_core_hsalsa20", &f->core_hsalsa20)
             && resolve(library, "crypto_stream_salsa20_xor_ic", &f->stream_salsa20_xor_ic)
             && resolve(library, "crypto_onetimeauth_poly1305", &f->onetimeauth_poly1305)
             && resolve(library, "crypto_onetimeauth_poly1305_verify",
                        &f->onetimeauth_poly1305_verify)
             && resolve(library, "crypto_scalarmult_base", &f->scalarmult_base)
             && resolve(library, "randombytes_buf", &f->randombytes_buf)
             && resolve(library, "sodium_memcmp", &f->memcmp) && init() >= 0;
}

const zm_crypto *zm_crypto_get(void)
{
    pthread_once(&once, load);
    return usable ? &functions : NULL;
}

/* --- many boxes with one key ----------------------------------------------------------------- */

/* Like XSalsa20-Poly1305 in libsodium: the first 32 bytes of the stream are the key of the tag, the
 * text is encrypted with what follows. */

void zm_box_key(uint8_t out_key[ZM_KEY_SIZE], const uint8_t *shared, const char *prefix)
{
    functions.core_hsalsa20(out_key, (const unsigned char *) prefix, shared, NULL);
}

/* Bytes of stream to make for `size`: the last 512 of them cost as much as any number of blocks
 * above four, and up to four as much as any above one. */
static size_t rounded(size_t size)
{
    size_t whole = size / WIDE * WIDE, rest = size - whole;
    return whole + (rest <= BLOCK ? rest : rest <= PORTION ? PORTION : WIDE);
}

/* Stream over `data`, which begins with that of `block`. */
static void xor_stream(uint8_t *data, size_t size, const uint8_t *nonce, uint64_t block,
                       const uint8_t *key)
{
    size_t whole = rounded(size) == size ? size : size / WIDE * WIDE, rest = size - whole;
    /* In one call: there may be a way to make the last block beside the others. */
    if (whole)
        functions.stream_salsa20_xor_ic(data, data, whole, nonce, block, key);
    if (!rest)
        return;
    uint8_t portion[WIDE] = {0};
    block += whole / BLOCK;
    memcpy(portion, data + whole, rest);
    functions.stream_salsa20_xor_ic(portion, portion, rounded(rest), nonce, block, key);
    memcpy(data + whole, portion, rest);
}

void zm_box_seal(uint8_t *text, size_t size, uint8_t mac[ZM_MAC_SIZE], const uint8_t *nonce,
                 const uint8_t *key)
{
    uint8_t *room = text - ZM_BOX_ROOM;
    memset(room, 0, ZM_BOX_ROOM);
    xor_stream(room, ZM_BOX_ROOM + size, nonce, 0, key);
    functions.onetimeauth_poly1305(mac, text, size, room);
    explicit_bzero(room, ZM_BOX_ROOM);
}

int zm_box_open(uint8_t *text, size_t size, const uint8_t *mac, const uint8_t *nonce,
                const uint8_t *key)
{
    /* The tag is looked at first and needs one block of the stream, which costs nearly as much
     * alone as with those that follow. */
    uint8_t plain[AHEAD];
    size_t total = ZM_BOX_ROOM + size;
    size_t first = total <= AHEAD ? (rounded(total) + BLOCK - 1) / BLOCK * BLOCK : 2 * WIDE;
    size_t head = total <= first ? size : first - ZM_BOX_ROOM;
    memset(plain, 0, ZM_BOX_ROOM);
    memcpy(plain + ZM_BOX_ROOM, text, head);
    memset(plain + ZM_BOX_ROOM + head, 0, first - ZM_BOX_ROOM - head);
    functions.stream_salsa20_xor_ic(plain, plain, first, nonce, 0, key);
    bool forged = functions.onetimeauth_poly1305_verify(mac, text, size, plain) < 0;
    explicit_bzero(plain, ZM_BOX_ROOM);
    if (forged)
        return -1;
    memcpy(text, plain + ZM_BOX_ROOM, head);
    xor_stream(text + head, size - head, nonce, first / BLOCK, key);
    return 0;
}
