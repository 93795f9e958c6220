/* Endpoints on a kernel without IPv6: this file's socket() stands in for the system's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fds.h"
#include "driver/address.h"

#define CHECK(x) \
    ((x) ? (void) 0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), exit(1)))

int socket(int family, int type, int protocol)
{
    if (family == AF_INET6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return (int) syscall(SYS_socket, family, type, protocol);
}

int main(void)
{
    static const zm_tuning tuning = {
        .ipv6 = true, .backlog = 5, .sndbuf = -1, .rcvbuf = -1, .keepalive = -1};
    char endpoint[ZM_ENDPOINT_MAX], directory[ZM_ENDPOINT_MAX];
    zm_address address;
    int listener, client;
    CHECK(zm_address_parse("tcp://*:*", true, true, &address) == 0);
    CHECK(zm_listener_open(&address, &tuning, -1, &listener, endpoint, directory) == 0);
    CHECK(strncmp(endpoint, "tcp://0.0.0.0:", 14) == 0);

    char target[ZM_ENDPOINT_MAX];
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    for (int i = 0; i < 2; i++) {
        snprintf(target, sizeof target, "tcp://%s:%s", hosts[i], strrchr(endpoint, ':') + 1);
        CHECK(zm_address_parse(target, false, true, &address) == 0);
        CHECK(zm_address_resolve(&address, true) == 0);
        CHECK(zm_connecter_open(&address, &tuning, &client) == 0);
        CHECK(connect(client, (struct sockaddr *) &address.peer, address.peer_size) == 0
              || errno == EINPROGRESS);
        zm_fd_close(client);
    }
    CHECK(zm_address_parse("tcp://[::1]:*", true, true, &address) == -ENODEV);
    zm_fd_close(listener);
    CHECK(zm_fd_count() == 0);
    return 0;
}
