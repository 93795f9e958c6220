/* Endpoint strings and the descriptors behind them: parsing, name resolution, opening and tuning of
 * listening and connecting sockets for tcp and ipc. Knows no ZMTP and no options: what it needs is
 * in zm_tuning. */
#ifndef ZM_DRIVER_ADDRESS_H
#define ZM_DRIVER_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

typedef enum zm_transport { ZM_TCP = 1, ZM_IPC = 2, ZM_INPROC = 3 } zm_transport;

enum { ZM_ENDPOINT_MAX = 512, ZM_IPC_PATH_MAX = 107 };

typedef struct zm_address {
    zm_transport transport;
    char text[ZM_ENDPOINT_MAX]; /* as given */
    char name[ZM_ENDPOINT_MAX]; /* behind "scheme://" */
    bool resolved; /* `peer` is filled; false: `host` is a name to be looked up */
    bool wildcard_ipc; /* exactly "*" behind "ipc:" and "//": bind makes a path */
    char host[256];
    uint16_t port;
    struct sockaddr_storage peer; /* tcp, ipc */
    socklen_t peer_size;
    bool has_source; /* tcp connect "source;destination" */
    struct sockaddr_storage source;
    socklen_t source_size;
} zm_address;

/* Everything about a descriptor that options decide. -1: leave as the system has it. */
typedef struct zm_tuning {
    bool ipv6;
    int backlog;
    int sndbuf, rcvbuf;
    int tos, priority;
    int keepalive, keepalive_cnt, keepalive_idle, keepalive_intvl;
    int maxrt_ms; /* TCP_USER_TIMEOUT; 0 or less: off */
    int busy_poll;
    char device[17]; /* SO_BINDTODEVICE; "" none */
} zm_tuning;

/* Splits and checks an endpoint (semantics.md#transports-and-endpoints, #errors). 0 or
 *   -EINVAL no "://", empty parts, bad port (also over 65535: differences (b));
 *   -EPROTONOSUPPORT unknown scheme; -ENOCOMPATPROTO known but not for these socket types (udp);
 *   -ENAMETOOLONG ipc path; -ENODEV bind to an unknown interface or host.
 * For bind, tcp hosts and interface names are resolved here (may block in getaddrinfo: call it
 * without locks). For connect, names are left for zm_address_resolve(). */
int zm_address_parse(const char *endpoint, bool for_bind, bool ipv6, zm_address *out_address);
/* May zm_address_parse() for bind, or zm_address_meant(), ask a name server? */
bool zm_address_asks(const char *endpoint);
/* Fills `peer` (and `source`) of an address that is not resolved; a name is looked up anew each
 * time (blocking; own thread). 0; -EAGAIN: try later; -EINVAL, -ENODEV: no such host, device.
 * libzmq goes on trying after every error. */
int zm_address_resolve(zm_address *address, bool ipv6);
/* The endpoint that a tcp one stands for in unbind() and disconnect(): its name or number resolved
 * (blocking), its port as bind() reads it, but no wildcards and no interfaces (S-31). 0 or
 * -errno. */
int zm_address_meant(const char *endpoint, bool ipv6, char *out, size_t out_size);
/* "tcp://127.0.0.1:5555", "tcp://[::1]:5555", "ipc:///path", "ipc://@name". */
void zm_address_format(const struct sockaddr *address, socklen_t size, char *out, size_t out_size);

/* socket + options + bind + listen, CLOEXEC, non-blocking. `use_fd` >= 0: adopts that listening
 * descriptor instead (-EBADF, -ENOTSOCK; -EINVAL: it does not listen). Whatever is at an ipc path
 * is unlinked first (S: 1.2). *out_endpoint is what LAST_ENDPOINT tells; *out_directory is the
 * directory that the ipc wildcard made ("" none), to be removed with the socket file at close.
 * 0 or -errno. */
int zm_listener_open(const zm_address *address, const zm_tuning *tuning, int use_fd, int *out_fd,
                     char out_endpoint[ZM_ENDPOINT_MAX], char out_directory[ZM_ENDPOINT_MAX]);
/* Removes the socket file and the directory of an ipc wildcard, after the listener was closed.
 * Nothing for "" directories: other paths stay, as with libzmq. */
void zm_listener_remove_files(const char *endpoint, const char *directory);
/* A tuned descriptor, bound to the source address if there is one, to be connected to
 * address->peer. 0 or -errno. */
int zm_connecter_open(const zm_address *address, const zm_tuning *tuning, int *out_fd);
/* Connects to an ipc address. The kernel says yes or no at once: 0 or -errno; -EAGAIN: the
 * listener is behind with accepting, and nothing tells when that changes. */
int zm_connecter_local(const zm_address *address, int fd);
/* Options that an accepted or connected descriptor needs (TCP_NODELAY, keepalive, TOS ...).
 * Failures are not errors. */
void zm_connection_tune(int fd, zm_transport transport, const zm_tuning *tuning);

/* SO_RCVLOWAT: how much must have come before a waiting receive is woken. The kernel wakes it
 * earlier when the stream ends or its buffer is full. */
void zm_connection_lowat(int fd, size_t bytes);

/* TCP_CONGESTION: a connection within this machine stops pacing what it sends, if the system's
 * choice is BBR (ADR 14). */
void zm_connection_unpace(int fd);

/* Receives what is there, without waiting and past the driver, which must have no receive of this
 * descriptor in flight. Bytes, 0 (end of stream), or -errno: -EAGAIN, nothing is there. */
int zm_connection_recv(int fd, void *out, size_t size);
/* Bytes that the kernel has for the peer and has not got rid of yet; those it has for us. */
size_t zm_connection_unsent(int fd);
size_t zm_connection_unread(int fd);
/* "127.0.0.1", or "localhost:UID:GID:PID" for ipc (semantics.md#messages-and-properties). */
void zm_peer_address(int fd, zm_transport transport, char *out, size_t size);
/* The local address of a descriptor in endpoint form; `fallback` where there is none, as
 * for the unnamed end of an ipc connection. */
void zm_local_endpoint(int fd, const char *fallback, char out[ZM_ENDPOINT_MAX]);

/* --- accept filters (deprecated options, still used) ---------------------------------------- */
typedef struct zm_cidr {
    struct sockaddr_storage network;
    unsigned prefix_bits;
} zm_cidr;
int zm_cidr_parse(const char *text, zm_cidr *out_cidr); /* 0, -EINVAL */
bool zm_cidr_match(const zm_cidr *cidr, int fd); /* the peer of fd */

#endif
