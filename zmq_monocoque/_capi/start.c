/* Starts the engine in a process that need not have Python: the driver, by what the machine has and
 * the same environment variables as in Python (docs/reference/environment.md); and where libsodium
 * may be. */
#include "capi.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* A library that is installed with us, by its path from the directory that we are in. */
static void add_installed(const char *name)
{
    char path[PATH_BYTES];
    Dl_info self;
    if (!dladdr((const void *) &capi_start, &self) || !self.dli_fname)
        return;
    const char *slash = strrchr(self.dli_fname, '/');
    int length = slash ? (int) (slash - self.dli_fname) : 0;
    int n = snprintf(path, sizeof path, "%.*s/%s", length, self.dli_fname, name);
    if (slash && n > 0 && (size_t) n < sizeof path)
        zm_crypto_path(path);
}

static void start(void)
{
    const char *driver = getenv("ZMQ_MONOCOQUE_DRIVER");
    zm_engine_init_alone(driver ? driver : ""); /* one that is not there: the best there is */
    zm_signals_exact_set(1);
    add_installed("../../_libs/libsodium.so"); /* of our wheels */
    zm_crypto_path("libsodium.so.23");
    zm_crypto_path("libsodium.so.26");
    /* PyNaCl's extension, which can be opened only where there is a Python. */
    add_installed("../../../nacl/_sodium.abi3.so");
    const char *spin = getenv("ZMQ_MONOCOQUE_SPIN");
    if (spin && (!strcmp(spin, "0") || !strcmp(spin, "1")))
        zm_spin_set(*spin == '1');
}

void capi_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
}
