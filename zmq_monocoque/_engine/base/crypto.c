/* Finds libsodium's functions in a shared object. PyNaCl's extension exports them all, whether it
 * has libsodium inside (its wheels) or is linked to the system's. Opening it runs none of its
 * Python code. */
#include "crypto.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

static char where[PATH_BYTES];
static zm_crypto functions;
static bool usable;
static pthread_once_t once = PTHREAD_ONCE_INIT;

void zm_crypto_path(const char *path)
{
    size_t size = strlen(path) + 1;
    if (size <= sizeof where)
        memcpy(where, path, size);
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
    void *library = where[0] ? dlopen(where, RTLD_LAZY | RTLD_LOCAL) : NULL;
    usable = library && resolve(library, "sodium_init", &init)
             && resolve(library, "crypto_box_keypair", &f->box_keypair)
             && resolve(library, "crypto_box_beforenm", &f->box_beforenm)
             && resolve(library, "crypto_box_easy", &f->box_easy)
             && resolve(library, "crypto_box_open_easy", &f->box_open_easy)
             && resolve(library, "crypto_box_detached_afternm", &f->box_detached_afternm)
             && resolve(library, "crypto_box_open_detached_afternm", &f->box_open_detached_afternm)
             && resolve(library, "crypto_secretbox_easy", &f->secretbox_easy)
             && resolve(library, "crypto_secretbox_open_easy", &f->secretbox_open_easy)
             && resolve(library, "crypto_scalarmult_base", &f->scalarmult_base)
             && resolve(library, "randombytes_buf", &f->randombytes_buf)
             && resolve(library, "sodium_memcmp", &f->memcmp) && init() >= 0;
}

const zm_crypto *zm_crypto_get(void)
{
    pthread_once(&once, load);
    return usable ? &functions : NULL;
}
