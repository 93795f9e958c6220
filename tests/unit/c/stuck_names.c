/* Loaded before everything: looking up a name that ends in ".stuck" takes until names_go() is
 * called, as with a name server that does not answer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static bool free_to_go;
static int inside, most, asked;

int names_inside(void);
int names_most(void);
int names_asked(void);
void names_go(void);

int names_inside(void)
{
    return inside;
}

int names_most(void)
{
    return most;
}

int names_asked(void)
{
    return asked;
}

void names_go(void)
{
    pthread_mutex_lock(&lock);
    free_to_go = true;
    pthread_cond_broadcast(&change);
    pthread_mutex_unlock(&lock);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    const char *end = name ? strrchr(name, '.') : NULL;
    pthread_mutex_lock(&lock);
    if (!real)
        *(void **) &real = dlsym(RTLD_NEXT, "getaddrinfo");
    bool numbers = hints && hints->ai_flags & AI_NUMERICHOST;
    bool stuck = !numbers && end && !strcmp(end, ".stuck");
    if (stuck) {
        asked++;
        if (++inside > most)
            most = inside;
        while (!free_to_go)
            pthread_cond_wait(&change, &lock);
        inside--;
    }
    pthread_mutex_unlock(&lock);
    return stuck ? EAI_NONAME : real(name, service, hints, out);
}
