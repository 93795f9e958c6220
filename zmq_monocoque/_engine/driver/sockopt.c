/* Descriptors for endpoints: opened, given their options, bound and listening, or ready to be
 * connected; and what can be asked of them later. Knows addresses (endpoint.c), no ZMTP. */
#define _GNU_SOURCE
#include "address.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/check.h"
#include "../base/fds.h"

enum { CONTROL_NAME_BYTES = 16 }; /* TCP_CA_NAME_MAX */

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

static void set_tos(int fd, int family, int tos)
{
    if (tos <= 0)
        return;
    /* IP_TOS also on IPv6 sockets: it is what mapped IPv4 peers see. */
    set_int(fd, IPPROTO_IP, IP_TOS, tos);
    if (family == AF_INET6)
        set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, tos);
}

/* What must be there before bind or connect. Only the device is worth failing for: traffic by
 * another way than the one asked for would be wrong, not slow. */
static int tune_early(int fd, int family, const zm_tuning *tuning)
{
    if (family == AF_INET6)
        set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (tuning->sndbuf >= 0)
        set_int(fd, SOL_SOCKET, SO_SNDBUF, tuning->sndbuf);
    if (tuning->rcvbuf >= 0)
        set_int(fd, SOL_SOCKET, SO_RCVBUF, tuning->rcvbuf);
    set_tos(fd, family, tuning->tos);
    if (tuning->priority > 0)
        set_int(fd, SOL_SOCKET, SO_PRIORITY, tuning->priority);
    if (tuning->device[0]
        && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, tuning->device,
                      (socklen_t) strlen(tuning->device))
               < 0)
        return -errno;
    return 0;
}

static int open_socket(int family, int *out_fd)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    zm_fd_own(fd);
    *out_fd = fd;
    return 0;
}

/* --- listening -------------------------------------------------------------------------------- */

/* A fresh directory that only we may enter, in the first of the usual places that is one. */
static int make_directory(char out[ZM_ENDPOINT_MAX])
{
    static const char *const places[] = {"TMPDIR", "TEMPDIR", "TMP"};
    const char *place = "";
    for (size_t i = 0; i < ZM_COUNT(places) && !place[0]; i++) {
        const char *candidate = getenv(places[i]);
        struct stat seen;
        if (candidate && candidate[0] && stat(candidate, &seen) == 0 && S_ISDIR(seen.st_mode))
            place = candidate;
    }
    size_t size = strlen(place);
    const char *slash = size && place[size - 1] != '/' ? "/" : "";
    int written = snprintf(out, ZM_ENDPOINT_MAX, "%s%stmpXXXXXX", place, slash);
    if (written >= ZM_ENDPOINT_MAX || (size_t) written + strlen("/socket") > ZM_IPC_PATH_MAX)
        return -ENAMETOOLONG;
    return mkdtemp(out) ? 0 : -errno;
}

static int listen_on(int fd, const struct sockaddr *address, socklen_t size, int backlog)
{
    if (bind(fd, address, size) < 0 || listen(fd, backlog) < 0)
        return -errno;
    return 0;
}

static int listen_tcp(const zm_address *address, const zm_tuning *tuning, int *out_fd)
{
    int family = address->peer.ss_family;
    int fd = -1;
    int rc = open_socket(family, &fd);
    if (rc < 0)
        return rc;
    rc = tune_early(fd, family, tuning);
    if (rc == 0)
        rc = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0)
        rc = listen_on(fd, (const struct sockaddr *) &address->peer, address->peer_size,
                       tuning->backlog);
    if (rc < 0) {
        zm_fd_close(fd);
        return rc;
    }
    *out_fd = fd;
    return 0;
}

static int listen_ipc(const zm_address *address, const zm_tuning *tuning, int *out_fd,
                      char out_directory[ZM_ENDPOINT_MAX])
{
    struct sockaddr_un local;
    socklen_t size = address->peer_size;
    memcpy(&local, &address->peer, sizeof local);
    int fd = -1;
    int rc;
    if (address->wildcard_ipc) {
        rc = make_directory(out_directory);
        if (rc < 0) {
            out_directory[0] = '\0';
            return rc;
        }
        memset(&local, 0, sizeof local);
        local.sun_family = AF_UNIX;
        int written = snprintf(local.sun_path, sizeof local.sun_path, "%s/socket", out_directory);
        ZM_ASSERT(written > 0 && (size_t) written < sizeof local.sun_path);
        size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + (size_t) written + 1);
    } else if (local.sun_path[0]) {
        /* What a process that crashed left behind; libzmq asks no questions either, so that a
         * second bind takes a path over. */
        unlink(local.sun_path);
    }
    rc = open_socket(AF_UNIX, &fd);
    if (rc == 0) {
        rc = listen_on(fd, (const struct sockaddr *) &local, size, tuning->backlog);
        if (rc == 0) {
            *out_fd = fd;
            return 0;
        }
        zm_fd_close(fd);
    }
    if (address->wildcard_ipc) {
        unlink(local.sun_path);
        rmdir(out_directory);
        out_directory[0] = '\0';
    }
    return rc;
}

/* Stays as it is: other processes may have it, too. */
static int adopt(int fd, int *out_fd)
{
    int listening = 0;
    socklen_t size = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0)
        return -errno;
    if (!listening)
        return -EINVAL;
    zm_fd_adopt(fd);
    *out_fd = fd;
    return 0;
}

int zm_listener_open(const zm_address *address, const zm_tuning *tuning, int use_fd, int *out_fd,
                     char out_endpoint[ZM_ENDPOINT_MAX], char out_directory[ZM_ENDPOINT_MAX])
{
    ZM_ASSERT(address->transport == ZM_TCP || address->transport == ZM_IPC);
    ZM_ASSERT(address->resolved);
    ZM_POISON(out_fd);
    out_directory[0] = '\0';
    int rc;
    if (use_fd >= 0)
        rc = adopt(use_fd, out_fd);
    else if (address->transport == ZM_TCP)
        rc = listen_tcp(address, tuning, out_fd);
    else
        rc = listen_ipc(address, tuning, out_fd, out_directory);
    if (rc == 0)
        zm_local_endpoint(*out_fd, address->text, out_endpoint);
    return rc;
}

void zm_listener_remove_files(const char *endpoint, const char *directory)
{
    if (!directory[0])
        return;
    unlink(endpoint + strlen("ipc://"));
    rmdir(directory);
}

/* --- connecting ------------------------------------------------------------------------------- */

int zm_connecter_open(const zm_address *address, const zm_tuning *tuning, int *out_fd)
{
    ZM_POISON(out_fd);
    ZM_ASSERT(address->peer_size > 0);
    int family = address->peer.ss_family;
    int fd = -1;
    int rc = open_socket(family, &fd);
    if (rc < 0)
        return rc;
    if (family != AF_UNIX)
        rc = tune_early(fd, family, tuning);
    if (rc == 0 && address->has_source) {
        /* Several connections may leave from one port to different places. */
        rc = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (rc == 0
            && bind(fd, (const struct sockaddr *) &address->source, address->source_size) < 0)
            rc = -errno;
    }
    if (rc < 0) {
        zm_fd_close(fd);
        return rc;
    }
    *out_fd = fd;
    return 0;
}

int zm_connecter_local(const zm_address *address, int fd)
{
    ZM_ASSERT(address->transport == ZM_IPC);
    return connect(fd, (const struct sockaddr *) &address->peer, address->peer_size) < 0 ? -errno
                                                                                         : 0;
}

void zm_connection_tune(int fd, zm_transport transport, const zm_tuning *tuning)
{
    if (transport != ZM_TCP)
        return;
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (tuning->keepalive != -1) {
        set_int(fd, SOL_SOCKET, SO_KEEPALIVE, tuning->keepalive);
        if (tuning->keepalive_cnt != -1)
            set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, tuning->keepalive_cnt);
        if (tuning->keepalive_idle != -1)
            set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, tuning->keepalive_idle);
        if (tuning->keepalive_intvl != -1)
            set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, tuning->keepalive_intvl);
    }
    if (tuning->maxrt_ms > 0)
        set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, tuning->maxrt_ms);
    int family = 0;
    socklen_t size = sizeof family;
    if (tuning->tos > 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0)
        set_tos(fd, family, tuning->tos);
    if (tuning->priority > 0)
        set_int(fd, SOL_SOCKET, SO_PRIORITY, tuning->priority);
    if (tuning->busy_poll > 0)
        set_int(fd, SOL_SOCKET, SO_BUSY_POLL, tuning->busy_poll);
}

/* --- asking ----------------------------------------------------------------------------------- */

void zm_peer_address(int fd, zm_transport transport, char *out, size_t size)
{
    if (!size)
        return;
    out[0] = '\0';
    if (transport == ZM_IPC) {
        struct ucred peer;
        socklen_t peer_size = sizeof peer;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0)
            snprintf(out, size, "localhost:%u:%u:%d", peer.uid, peer.gid, peer.pid);
        return;
    }
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof peer;
    char host[NI_MAXHOST];
    if (getpeername(fd, (struct sockaddr *) &peer, &peer_size) == 0
        && getnameinfo((const struct sockaddr *) &peer, peer_size, host, sizeof host, NULL, 0,
                       NI_NUMERICHOST)
               == 0)
        snprintf(out, size, "%s", host);
}

static void endpoint_of(const struct sockaddr_storage *address, socklen_t size,
                        const char *fallback, char out[ZM_ENDPOINT_MAX])
{
    out[0] = '\0';
    if (size)
        zm_address_format((const struct sockaddr *) address, size, out, ZM_ENDPOINT_MAX);
    if (!out[0])
        snprintf(out, ZM_ENDPOINT_MAX, "%s", fallback);
}

void zm_local_endpoint(int fd, const char *fallback, char out[ZM_ENDPOINT_MAX])
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *) &address, &size) < 0)
        size = 0;
    endpoint_of(&address, size, fallback, out);
}

void zm_connection_lowat(int fd, size_t bytes)
{
    int value = (int) bytes;
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value);
}

/* Are both ends on one address, and so on one machine? */
static bool is_local(int fd)
{
    zm_cidr here;
    socklen_t size = sizeof here.network;
    if (getsockname(fd, (struct sockaddr *) &here.network, &size) < 0)
        return false;
    here.prefix_bits = here.network.ss_family == AF_INET6 ? 128 : 32;
    return zm_cidr_match(&here, fd);
}

void zm_connection_unpace(int fd)
{
    static const char paced[] = "bbr", unpaced[] = "reno"; /* reno: there, and permitted, always */
    char name[CONTROL_NAME_BYTES] = "";
    socklen_t size = sizeof name;
    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0
        && strncmp(name, paced, sizeof paced - 1) == 0 && is_local(fd))
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, unpaced, sizeof unpaced - 1);
}

static size_t queued(int fd, unsigned long which)
{
    int bytes = 0;
    return ioctl(fd, which, &bytes) == 0 && bytes > 0 ? (size_t) bytes : 0;
}

size_t zm_connection_unsent(int fd)
{
    return queued(fd, SIOCOUTQ);
}

size_t zm_connection_unread(int fd)
{
    return queued(fd, SIOCINQ);
}

int zm_connection_recv(int fd, void *out, size_t size)
{
    ssize_t n;
    do
        n = recv(fd, out, size < INT32_MAX ? size : INT32_MAX, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int) n;
}
