/* The key of a box's tag, after the box was made or opened: run() is given the shared object that
 * has libsodium, works on a stack of its own, and exits with 1 where the key is still there. */
#define _GNU_SOURCE /* memmem() */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/crypto.h"

#define CHECK(x) \
    ((x) ? (void) 0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), exit(1)))

enum { STACK = 1 << 20, SIZE_MAX_TRIED = 3000 };

static uint8_t key[ZM_KEY_SIZE] = "a key of thirty-two bytes......", nonce[8] = "number";
static uint8_t box[ZM_BOX_ROOM + SIZE_MAX_TRIED], mac[ZM_MAC_SIZE];
static size_t size;
static int answer;

/* What the calls had of the stack, copied at once. */
static uint8_t *stack, copy[STACK];

static void *seal(void *none)
{
    zm_box_seal(box + ZM_BOX_ROOM, size, mac, nonce, key);
    memcpy(copy, stack, STACK);
    return none;
}

static void *open_it(void *none)
{
    answer = zm_box_open(box + ZM_BOX_ROOM, size, mac, nonce, key);
    memcpy(copy, stack, STACK);
    return none;
}

/* Is the key nowhere that `work` has been? */
static int is_gone(void *(*work)(void *), const uint8_t *mac_key)
{
    stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(stack != MAP_FAILED && pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack, STACK) == 0);
    CHECK(pthread_create(&thread, &attributes, work, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
    munmap(stack, STACK);
    return !memmem(copy, STACK, mac_key, ZM_KEY_SIZE)
           && !memmem(box, sizeof box, mac_key, ZM_KEY_SIZE);
}

int run(const char *library)
{
    static const size_t sizes[] = {0, 17, 600, SIZE_MAX_TRIED};
    static uint8_t mac_key[ZM_KEY_SIZE];
    zm_crypto_path(library);
    const zm_crypto *crypto = zm_crypto_get();
    CHECK(crypto);
    crypto->stream_salsa20_xor_ic(mac_key, mac_key, sizeof mac_key, nonce, 0, key);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size = sizes[i];
        CHECK(is_gone(seal, mac_key));
        mac[0] ^= 1;
        CHECK(is_gone(open_it, mac_key) && answer == -1);
        mac[0] ^= 1;
        CHECK(is_gone(open_it, mac_key) && answer == 0);
    }
    return 0;
}
