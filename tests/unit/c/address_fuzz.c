/* Endpoint strings at random under the sanitizers: every answer is one of those that the header
 * names, what was taken is whole, and nothing but parsing happens. Prints the seed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/errors.h"
#include "base/fds.h"
#include "driver/address.h"

#define CHECK(x) \
    ((x) ? (void) 0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), exit(1)))

static uint64_t state;

static uint32_t random_below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t) ((state * 2685821657736338717u) >> 33) % n;
}

/* Only numbers and interfaces: a name would be looked up when binding. */
static const char *const pieces[] = {
    "tcp://", "ipc://", "inproc://", "udp://",    "://",  "*",  "0",   ":",    ";",
    "[",      "]",      "::1",       "127.0.0.1", "lo",   "%",  "%lo", "5555", "99999",
    "@",      "/",      "-1",        " ",         "\xff", "0x", ".",   "1",
};

static char *random_text(void)
{
    char text[2048] = "";
    size_t size = 0;
    if (random_below(4))
        size = (size_t) sprintf(text, "%s", pieces[random_below(4)]);
    for (uint32_t n = random_below(8); n; n--) {
        const char *piece = pieces[random_below(sizeof pieces / sizeof *pieces)];
        for (uint32_t times = random_below(40) ? 1 : random_below(200); times; times--)
            if (size + strlen(piece) < sizeof text)
                size += (size_t) sprintf(text + size, "%s", piece);
    }
    char *exact = malloc(size + 1);
    memcpy(exact, text, size + 1);
    return exact;
}

static void check_address(const zm_address *address, const char *text, bool for_bind)
{
    CHECK(strcmp(address->text, text) == 0);
    CHECK(strcmp(address->name, strstr(text, "://") + 3) == 0);
    CHECK(memchr(address->host, '\0', sizeof address->host));
    if (for_bind)
        CHECK(address->resolved);
    if (!address->resolved || address->transport == ZM_INPROC)
        return;
    CHECK(address->wildcard_ipc || address->peer_size > 0);
    CHECK(address->peer_size <= sizeof address->peer);
    char formatted[ZM_ENDPOINT_MAX];
    if (address->peer_size) {
        zm_address_format((const struct sockaddr *) &address->peer, address->peer_size, formatted,
                          sizeof formatted);
        CHECK(strncmp(formatted, text, 6) == 0);
        for (size_t room = 0; room < 20; room++) {
            char *small = malloc(room + 1);
            zm_address_format((const struct sockaddr *) &address->peer, address->peer_size, small,
                              room);
            free(small);
        }
    }
}

int main(int argc, char **argv)
{
    state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    int rounds = argc > 2 ? atoi(argv[2]) : 20000;
    printf("seed %llu\n", (unsigned long long) state);
    fflush(stdout);
    state = state * 2654435761u + 1;
    int taken = 0;
    for (int i = 0; i < rounds; i++) {
        char *text = random_text();
        zm_address address;
        bool ipv6 = random_below(2);
        /* Binding looks names up, so only what needs no looking up is bound here. */
        bool no_name = strncmp(text, "tcp://", 6) != 0
                       || strncmp(text, "tcp://127.0.0.1:", 16) == 0;
        bool for_bind = no_name && random_below(2);
        int rc = zm_address_parse(text, for_bind, ipv6, &address);
        CHECK(rc == 0 || rc == -EINVAL || rc == -EPROTONOSUPPORT || rc == -ENOCOMPATPROTO
              || rc == -ENAMETOOLONG || rc == -ENODEV);
        if (rc == 0) {
            taken++;
            check_address(&address, text, for_bind);
        }
        zm_cidr cidr;
        CHECK(zm_cidr_parse(text, &cidr) <= 0);
        const char *name = strstr(text, "://");
        rc = name ? zm_cidr_parse(name + 3, &cidr) : 0;
        CHECK(rc == 0 || rc == -EINVAL);
        free(text);
    }
    CHECK(taken > rounds / 50);
    CHECK(zm_fd_count() == 0);
    return 0;
}
