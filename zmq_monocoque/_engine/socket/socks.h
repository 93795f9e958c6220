/* SOCKS_PROXY: the exchange with a SOCKS5 proxy, on the request of the endpoint that connects,
 * which owns it. The socket's lock is held by whoever calls or reads any of this. */
#ifndef ZM_SOCKET_SOCKS_H
#define ZM_SOCKET_SOCKS_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "../driver/address.h"
#include "../objects.h"

/* One message to or from a SOCKS5 proxy (socks.c). */
enum { ZM_SOCKS_BYTES = 520 };
typedef struct zm_socks {
    uint8_t stage; /* 0: not talking to a proxy */
    bool hearing;
    size_t size, done;
    struct iovec vector;
    struct msghdr header;
    uint8_t bytes[ZM_SOCKS_BYTES];
} zm_socks;

bool zm_socks_wanted(const zm_endpoint *endpoint);
/* The proxy's address, which may need resolving. 0 or -errno. */
int zm_socks_address(const zm_endpoint *endpoint, zm_address *out_proxy);
bool zm_socks_busy(const zm_endpoint *endpoint);
/* The descriptor is connected to the proxy: asks it for the destination. */
void zm_socks_start_locked(zm_endpoint *endpoint) ZM_LOCKED;
/* A step is complete. 1: connected to the destination; 0: more to come; -errno: refused. */
int zm_socks_step_locked(zm_endpoint *endpoint, int32_t res) ZM_LOCKED;

#endif
