/* Endpoints for callers that do not know the structs. Descriptors and answers come back as numbers:
 * >= 0 or -errno. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"
#include "driver/address.h"

static zm_tuning tuning = {
    .backlog = 100,
    .sndbuf = -1,
    .rcvbuf = -1,
    .keepalive = -1,
    .keepalive_cnt = -1,
    .keepalive_idle = -1,
    .keepalive_intvl = -1,
};

/* What all later calls tune with; numbers in the order of the struct. */
void shim_tune(const int numbers[11], const char *device)
{
    tuning.backlog = numbers[0];
    tuning.sndbuf = numbers[1];
    tuning.rcvbuf = numbers[2];
    tuning.tos = numbers[3];
    tuning.priority = numbers[4];
    tuning.keepalive = numbers[5];
    tuning.keepalive_cnt = numbers[6];
    tuning.keepalive_idle = numbers[7];
    tuning.keepalive_intvl = numbers[8];
    tuning.maxrt_ms = numbers[9];
    tuning.busy_poll = numbers[10];
    strncpy(tuning.device, device, sizeof tuning.device - 1);
}

int shim_bind(const char *endpoint, int ipv6, int use_fd, char *out_endpoint, char *out_directory)
{
    zm_address address;
    out_endpoint[0] = out_directory[0] = '\0';
    int rc = zm_address_parse(endpoint, true, ipv6, &address);
    if (rc < 0)
        return rc;
    int fd;
    rc = zm_listener_open(&address, &tuning, use_fd, &fd, out_endpoint, out_directory);
    return rc < 0 ? rc : fd;
}

/* 1: resolved without a look-up; 0: left for later; < 0: refused. */
int shim_parse(const char *endpoint, int for_bind, int ipv6)
{
    zm_address address;
    int rc = zm_address_parse(endpoint, for_bind, ipv6, &address);
    return rc < 0 ? rc : address.resolved;
}

/* A descriptor ready for connect(), and the address for it. */
int shim_connecter(const char *endpoint, int ipv6, void *out_peer, unsigned *out_size)
{
    zm_address address;
    int fd = -1;
    int rc = zm_address_parse(endpoint, false, ipv6, &address);
    if (rc == 0)
        rc = zm_address_resolve(&address, ipv6);
    if (rc == 0)
        rc = zm_connecter_open(&address, &tuning, &fd);
    if (rc < 0)
        return rc;
    memcpy(out_peer, &address.peer, address.peer_size);
    *out_size = address.peer_size;
    return fd;
}

int shim_connect(const char *endpoint, int ipv6)
{
    struct sockaddr_storage peer;
    unsigned size;
    int fd = shim_connecter(endpoint, ipv6, &peer, &size);
    if (fd >= 0)
        connect(fd, (struct sockaddr *) &peer, size);
    return fd;
}

void shim_tune_connection(int fd, int transport)
{
    zm_connection_tune(fd, (zm_transport) transport, &tuning);
}

int shim_filter(const char *text, int fd)
{
    zm_cidr cidr;
    int rc = zm_cidr_parse(text, &cidr);
    return rc < 0 ? rc : zm_cidr_match(&cidr, fd);
}
