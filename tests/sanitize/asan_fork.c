/* Loaded before the programs that run under gcc's libasan, which does not know of forks: where
 * another thread has its allocator's lock at that moment, the child waits for it for ever. Later
 * releases take the lock themselves. LOCK and UNLOCK are where libasan's functions for that lie in
 * it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#ifdef LOCK
static void (*function_at(const char *base, size_t offset))(void)
{
    const void *address = base + offset;
    void (*function)(void);
    memcpy(&function, &address, sizeof address); /* ISO C has no cast for this */
    return function;
}

__attribute__((constructor)) static void lock_the_allocator_around_forks(void)
{
    void *known = dlsym(RTLD_DEFAULT, "__asan_init");
    Dl_info library;
    if (!known || !dladdr(known, &library))
        return;
    void (*unlock)(void) = function_at(library.dli_fbase, UNLOCK);
    pthread_atfork(function_at(library.dli_fbase, LOCK), unlock, unlock);
}
#endif
