/* base/crypto.c as it is, with the functions of crypto_watched.c between it and libsodium. */
#define dlsym watched_dlsym
#include "base/crypto.c"
