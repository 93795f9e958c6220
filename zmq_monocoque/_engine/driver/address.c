/* Endpoint strings: what they say, whether they are well formed, and the addresses they mean.
 * Opens no descriptor of a connection (tuning.c does).
 *
 * What is refused at once and what later follows libzmq: bind() resolves everything and tells;
 * connect() looks at the syntax only, takes what is written in numbers, and leaves names to
 * zm_address_resolve(), where a failure means "later", not "never". */
#define _GNU_SOURCE
#include "address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/check.h"
#include "../base/errors.h"
#include "../base/fds.h"

_Static_assert(sizeof(((struct sockaddr_un *) 0)->sun_path) == ZM_IPC_PATH_MAX + 1,
               "a path and its NUL fill sun_path");

/* --- resolving -------------------------------------------------------------------------------- */

enum resolve_flags {
    TO_BIND = 1,     /* `*` and ephemeral ports */
    INTERFACES = 2,  /* names of network interfaces */
    NAMES = 4        /* host names: blocks */
};

/* Does this kernel have IPv6 at all? Where not, the IPV6 option means nothing. */
static bool ipv6_usable(void)
{
    static _Atomic int known = -1;
    int usable = atomic_load_explicit(&known, memory_order_relaxed);
    if (usable < 0) {
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        usable = fd >= 0 || errno != EAFNOSUPPORT;
        if (fd >= 0) {
            zm_fd_own(fd);
            zm_fd_close(fd);
        }
        atomic_store_explicit(&known, usable, memory_order_relaxed);
    }
    return usable;
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *) address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *) address)->sin_port = htons(port);
}

/* The first address of the interface that is called `name`: IPv6 where that is wanted and there
 * is one, else IPv4. */
static int resolve_interface(const char *name, bool ipv6, struct sockaddr_storage *out,
                             socklen_t *out_size)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) < 0)
        return -errno;
    int rc = -ENODEV;
    for (int pass = ipv6 ? 0 : 1; pass < 2 && rc < 0; pass++) {
        sa_family_t family = pass == 0 ? AF_INET6 : AF_INET;
        for (const struct ifaddrs *at = all; at && rc < 0; at = at->ifa_next) {
            if (!at->ifa_addr || at->ifa_addr->sa_family != family || strcmp(at->ifa_name, name))
                continue;
            *out_size = family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                           : sizeof(struct sockaddr_in);
            memcpy(out, at->ifa_addr, *out_size);
            rc = 0;
        }
    }
    freeifaddrs(all);
    return rc;
}

static int error_of_lookup(int failure, unsigned flags)
{
    switch (failure) {
    case EAI_AGAIN:
        return flags & TO_BIND ? -ENODEV : -EAGAIN;
    case EAI_MEMORY:
        return -ENOMEM;
    default:
        return flags & TO_BIND ? -ENODEV : -EINVAL;
    }
}

/* `host` without brackets, with a "%zone" perhaps. IPv4 addresses are mapped ones when `ipv6`. */
static int resolve_host(const char *host, bool ipv6, unsigned flags, struct sockaddr_storage *out,
                        socklen_t *out_size)
{
    memset(out, 0, sizeof *out);
    if (flags & TO_BIND && strcmp(host, "*") == 0) {
        if (ipv6) {
            struct sockaddr_in6 *any = (struct sockaddr_in6 *) out;
            any->sin6_family = AF_INET6;
            any->sin6_addr = (struct in6_addr) IN6ADDR_ANY_INIT;
            *out_size = sizeof *any;
        } else {
            struct sockaddr_in *any = (struct sockaddr_in *) out;
            any->sin_family = AF_INET;
            any->sin_addr.s_addr = htonl(INADDR_ANY);
            *out_size = sizeof *any;
        }
        return 0;
    }

    /* The zone is ours to read: getaddrinfo takes names of zones for link-local addresses only. */
    char plain[256];
    size_t plain_size = strcspn(host, "%");
    if (plain_size >= sizeof plain)
        return -EINVAL;
    memcpy(plain, host, plain_size);
    plain[plain_size] = '\0';
    unsigned zone = 0;
    if (host[plain_size] == '%') {
        const char *name = host + plain_size + 1;
        zone = if_nametoindex(name);
        if (!zone)
            zone = (unsigned) strtoul(name, NULL, 10);
        if (!zone)
            return -EINVAL;
    }
    if (!plain[0])
        return error_of_lookup(EAI_NONAME, flags);

    if (flags & INTERFACES) {
        int rc = resolve_interface(plain, ipv6, out, out_size);
        if (rc != -ENODEV)
            return rc;
    }
    struct addrinfo hints = {
        .ai_family = ipv6 ? AF_INET6 : AF_INET,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = (flags & TO_BIND ? AI_PASSIVE : 0) | (flags & NAMES ? 0 : AI_NUMERICHOST)
                    | (ipv6 ? AI_V4MAPPED : 0),
    };
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(plain, NULL, &hints, &found);
    if (failure)
        return error_of_lookup(failure, flags);
    ZM_ASSERT(found->ai_addrlen <= sizeof *out);
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *out_size = found->ai_addrlen;
    freeaddrinfo(found);
    if (zone && out->ss_family == AF_INET6)
        ((struct sockaddr_in6 *) out)->sin6_scope_id = zone;
    return 0;
}

/* --- tcp syntax ------------------------------------------------------------------------------- */

/* As atoi reads it, which libzmq does: leading blanks and a sign pass, what follows the digits is
 * not looked at. Numbers that are no port are refused (libzmq: taken modulo 65536). */
static int parse_port(const char *text, bool to_bind, uint16_t *out_port)
{
    if (to_bind && (strcmp(text, "*") == 0 || strcmp(text, "0") == 0)) {
        *out_port = 0;
        return 0;
    }
    errno = 0;
    char *end;
    long port = strtol(text, &end, 10);
    if (end == text || errno || port < (to_bind ? 1 : 0) || port > UINT16_MAX)
        return -EINVAL;
    *out_port = (uint16_t) port;
    return 0;
}

/* Splits "host:port" in text[0..size); brackets round the host fall away. */
static int split_host(const char *text, size_t size, bool to_bind, char host[256],
                      uint16_t *out_port)
{
    const char *colon = memrchr(text, ':', size);
    if (!colon || colon + 1 == text + size)
        return -EINVAL;
    char port[32];
    size_t port_size = (size_t) (text + size - colon) - 1;
    if (port_size >= sizeof port)
        return -EINVAL;
    memcpy(port, colon + 1, port_size);
    port[port_size] = '\0';
    int rc = parse_port(port, to_bind, out_port);
    if (rc < 0)
        return rc;

    size_t host_size = (size_t) (colon - text);
    if (host_size >= 2 && text[0] == '[' && text[host_size - 1] == ']') {
        text++;
        host_size -= 2;
    }
    if (host_size > 255)
        return -EINVAL;
    memcpy(host, text, host_size);
    host[host_size] = '\0';
    return 0;
}

/* What stands before and behind the last ';' of a tcp name. */
static const char *destination_of(const char *name, size_t *out_source_size)
{
    const char *semicolon = strrchr(name, ';');
    *out_source_size = semicolon ? (size_t) (semicolon - name) : 0;
    return semicolon ? semicolon + 1 : name;
}

/* The local address of "source;destination": numbers or an interface, never a looked-up name. */
static int resolve_source(zm_address *address, bool ipv6)
{
    size_t source_size;
    destination_of(address->name, &source_size);
    char host[256];
    uint16_t port = 0;
    int rc = split_host(address->name, source_size, true, host, &port);
    if (rc < 0)
        return rc;
    rc = resolve_host(host, ipv6, TO_BIND | INTERFACES, &address->source, &address->source_size);
    if (rc < 0)
        return rc;
    set_port(&address->source, port);
    return 0;
}

/* All that connect() looks at before it says yes: the characters, and a digit behind the last
 * colon. */
static bool connectable(const char *name)
{
    static const char inside[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:%;[]_*";
    if (!name[0] || !(isalnum((unsigned char) name[0]) || strchr("[:", name[0])))
        return false;
    if (name[strspn(name, inside)])
        return false;
    const char *colon = strrchr(name, ':');
    return colon && isdigit((unsigned char) colon[1]);
}

static int parse_tcp_bind(zm_address *address, bool ipv6)
{
    size_t source_size;
    const char *local = destination_of(address->name, &source_size);
    if (local != address->name) {
        /* A listener has no use for a source, but libzmq has it checked. */
        int rc = resolve_source(address, ipv6);
        if (rc < 0)
            return rc;
    }
    int rc = split_host(local, strlen(local), true, address->host, &address->port);
    if (rc < 0)
        return rc;
    rc = resolve_host(address->host, ipv6, TO_BIND | INTERFACES | NAMES, &address->peer,
                      &address->peer_size);
    if (rc < 0)
        return rc;
    set_port(&address->peer, address->port);
    address->resolved = true;
    return 0;
}

/* A port that is a number, and no port: refused at once, for it can only be a mistake. */
static bool port_too_large(const char *text, size_t size)
{
    const char *colon = memrchr(text, ':', size);
    return colon && isdigit((unsigned char) colon[1]) && strtoul(colon + 1, NULL, 10) > UINT16_MAX;
}

static int parse_tcp_connect(zm_address *address, bool ipv6)
{
    if (!connectable(address->name))
        return -EINVAL;
    size_t source_size;
    const char *remote = destination_of(address->name, &source_size);
    address->has_source = remote != address->name;
    if (port_too_large(address->name, strlen(address->name))
        || port_too_large(address->name, source_size))
        return -EINVAL;
    if (split_host(remote, strlen(remote), false, address->host, &address->port) < 0) {
        /* Too long for a host name is an error now; libzmq's oddities that pass its check of the
         * syntax and never resolve ("h:1;" or "a:1;b") are left to fail later. */
        address->host[0] = '\0';
        return strlen(remote) > 255 ? -EINVAL : 0;
    }
    bool numeric = resolve_host(address->host, ipv6, 0, &address->peer, &address->peer_size) == 0;
    if (numeric)
        set_port(&address->peer, address->port);
    bool source = !address->has_source || resolve_source(address, ipv6) == 0;
    address->resolved = numeric && source;
    return 0;
}

/* --- ipc syntax ------------------------------------------------------------------------------- */

static int parse_ipc(zm_address *address, bool for_bind)
{
    const char *path = address->name;
    size_t size = strlen(path);
    address->resolved = true;
    if (for_bind && strcmp(path, "*") == 0) {
        address->wildcard_ipc = true;
        return 0;
    }
    if (size > ZM_IPC_PATH_MAX)
        return -ENAMETOOLONG;
    bool abstract = path[0] == '@';
    if (abstract && size == 1)
        return -EINVAL;
    struct sockaddr_un *peer = (struct sockaddr_un *) &address->peer;
    peer->sun_family = AF_UNIX;
    memcpy(peer->sun_path, path, size);
    if (abstract)
        peer->sun_path[0] = '\0';
    /* An abstract name is as long as it says; a path ends at its NUL. */
    address->peer_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + size + !abstract);
    return 0;
}

/* --- the seam --------------------------------------------------------------------------------- */

static int parse(const char *endpoint, bool for_bind, bool ipv6, zm_address *out_address)
{
    memset(out_address, 0, sizeof *out_address);
    const char *mark = strstr(endpoint, "://");
    if (!mark || mark == endpoint || !mark[3])
        return -EINVAL;
    size_t scheme_size = (size_t) (mark - endpoint);
    size_t size = strlen(endpoint);

    static const struct {
        const char *scheme;
        int transport; /* < 0: an error */
    } known[] = {
        {"tcp", ZM_TCP},
        {"ipc", ZM_IPC},
        {"inproc", ZM_INPROC},
        {"udp", -ENOCOMPATPROTO}, /* for RADIO, DISH and DGRAM only */
    };
    int transport = -EPROTONOSUPPORT;
    for (size_t i = 0; i < ZM_COUNT(known); i++)
        if (strlen(known[i].scheme) == scheme_size
            && memcmp(known[i].scheme, endpoint, scheme_size) == 0)
            transport = known[i].transport;
    if (transport < 0)
        return transport;
    if (size >= sizeof out_address->text)
        return -ENAMETOOLONG;
    out_address->transport = (zm_transport) transport;
    memcpy(out_address->text, endpoint, size + 1);
    memcpy(out_address->name, mark + 3, size - scheme_size - 3 + 1);

    switch (out_address->transport) {
    case ZM_TCP:
        ipv6 = ipv6 && ipv6_usable();
        return for_bind ? parse_tcp_bind(out_address, ipv6) : parse_tcp_connect(out_address, ipv6);
    case ZM_IPC:
        return parse_ipc(out_address, for_bind);
    default:
        out_address->resolved = true;
        return 0;
    }
}

int zm_address_parse(const char *endpoint, bool for_bind, bool ipv6, zm_address *out_address)
{
    int rc = parse(endpoint, for_bind, ipv6, out_address);
    if (rc < 0)
        ZM_POISON(out_address);
    return rc;
}

bool zm_address_asks(const char *endpoint)
{
    static const char scheme[] = "tcp://";
    if (strncmp(endpoint, scheme, sizeof scheme - 1) != 0)
        return false;
    size_t source_size;
    const char *local = destination_of(endpoint + sizeof scheme - 1, &source_size);
    char host[256];
    uint16_t port;
    if (split_host(local, strlen(local), true, host, &port) < 0)
        return false; /* refused before anybody is asked */
    struct in6_addr ignored;
    host[strcspn(host, "%")] = '\0';
    return strcmp(host, "*") != 0 && inet_pton(AF_INET, host, &ignored) != 1
           && inet_pton(AF_INET6, host, &ignored) != 1;
}

int zm_address_resolve(zm_address *address, bool ipv6)
{
    if (address->resolved)
        return 0;
    ZM_ASSERT(address->transport == ZM_TCP);
    ipv6 = ipv6 && ipv6_usable();
    if (!address->host[0])
        return -EINVAL;
    int rc = resolve_host(address->host, ipv6, NAMES, &address->peer, &address->peer_size);
    if (rc < 0)
        return rc;
    set_port(&address->peer, address->port);
    /* `resolved` stays false: a name may mean another address the next time. */
    return address->has_source ? resolve_source(address, ipv6) : 0;
}

int zm_address_meant(const char *endpoint, bool ipv6, char *out, size_t out_size)
{
    static const char scheme[] = "tcp://";
    char host[256];
    uint16_t port = 0;
    struct sockaddr_storage found;
    socklen_t found_size = 0;
    size_t source_size;
    if (strncmp(endpoint, scheme, strlen(scheme)) != 0)
        return -EINVAL;
    const char *place = destination_of(endpoint + strlen(scheme), &source_size);
    if (*place == '*')
        return -EINVAL;
    int rc = split_host(place, strlen(place), false, host, &port);
    if (rc == 0)
        rc = resolve_host(host, ipv6 && ipv6_usable(), NAMES, &found, &found_size);
    if (rc < 0)
        return rc;
    set_port(&found, port);
    zm_address_format((struct sockaddr *) &found, found_size, out, out_size);
    return 0;
}

void zm_address_format(const struct sockaddr *address, socklen_t size, char *out, size_t out_size)
{
    if (!out_size)
        return;
    out[0] = '\0';
    if (address->sa_family == AF_UNIX) {
        const struct sockaddr_un *local = (const struct sockaddr_un *) address;
        size_t head = offsetof(struct sockaddr_un, sun_path);
        if (size <= head)
            return; /* unnamed */
        size_t room = size - head;
        if (local->sun_path[0] == '\0')
            snprintf(out, out_size, "ipc://@%.*s", (int) (room - 1), local->sun_path + 1);
        else
            snprintf(out, out_size, "ipc://%.*s", (int) room, local->sun_path);
        return;
    }
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo(address, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return;
    snprintf(out, out_size, address->sa_family == AF_INET6 ? "tcp://[%s]:%s" : "tcp://%s:%s", host,
             port);
}

/* --- accept filters --------------------------------------------------------------------------- */

int zm_cidr_parse(const char *text, zm_cidr *out_cidr)
{
    ZM_POISON(out_cidr);
    char host[256];
    size_t size = strlen(text);
    const char *slash = strrchr(text, '/');
    size_t host_size = slash ? (size_t) (slash - text) : size;
    if (host_size >= 2 && text[0] == '[' && text[host_size - 1] == ']') {
        text++;
        host_size -= 2;
    }
    if (!host_size || host_size >= sizeof host)
        return -EINVAL;
    memcpy(host, text, host_size);
    host[host_size] = '\0';

    zm_cidr cidr;
    socklen_t network_size;
    bool ipv6 = strchr(host, ':') != NULL;
    if (resolve_host(host, ipv6, 0, &cidr.network, &network_size) < 0)
        return -EINVAL;
    long bits_max = cidr.network.ss_family == AF_INET6 ? 128 : 32;
    long bits = bits_max;
    if (slash) {
        char *end;
        bits = strtol(slash + 1, &end, 10);
        if (end == slash + 1 || bits < 0 || bits > bits_max)
            return -EINVAL;
    }
    cidr.prefix_bits = (unsigned) bits;
    *out_cidr = cidr;
    return 0;
}

/* An address as 16 bytes, IPv4 mapped into IPv6; the number of bits that the mapping put before
 * it, or -1: neither. */
static int flatten(const struct sockaddr_storage *address, uint8_t out[16])
{
    if (address->ss_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *) address)->sin6_addr, 16);
        return 0;
    }
    if (address->ss_family != AF_INET)
        return -1;
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    memcpy(out + 12, &((const struct sockaddr_in *) address)->sin_addr, 4);
    return 96;
}

bool zm_cidr_match(const zm_cidr *cidr, int fd)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    uint8_t theirs[16], ours[16];
    if (getpeername(fd, (struct sockaddr *) &peer, &size) < 0 || flatten(&peer, theirs) < 0)
        return false;
    int mapped = flatten(&cidr->network, ours);
    if (mapped < 0)
        return false;
    unsigned bits = cidr->prefix_bits + (unsigned) mapped;
    if (memcmp(theirs, ours, bits / 8))
        return false;
    unsigned rest = bits % 8;
    return !rest || (theirs[bits / 8] ^ ours[bits / 8]) >> (8 - rest) == 0;
}
