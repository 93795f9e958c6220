/* Connecting through a SOCKS5 proxy (RFC 1928, 1929): a few short exchanges on the descriptor
 * before it becomes a connection. The proxy looks the destination's name up. */
#include "socks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "../driver/address.h"
#include "../driver/driver.h"
#include "../driver/driver_private.h"
#include "endpoint.h"
#include "options.h"
#include "socket.h"

enum { VERSION = 5, AUTH_VERSION = 1, NO_AUTH = 0, BY_PASSWORD = 2, CONNECT = 1 };
enum { IPV4 = 1, NAME = 3, IPV6 = 4 };

enum stage { IDLE, GREETING, METHOD, PASSWORD, ADMITTED, REQUEST, ANSWER, ANSWER_REST };

bool zm_socks_wanted(const zm_endpoint *ep)
{
    return ep->kind == ZM_CONNECTER && ep->address.transport == ZM_TCP
           && ep->options.socks_proxy.size > 0;
}

int zm_socks_address(const zm_endpoint *ep, zm_address *out_proxy)
{
    char text[ZM_ENDPOINT_MAX];
    const zm_bytes *proxy = &ep->options.socks_proxy;
    if (proxy->size + sizeof "tcp://" > sizeof text)
        return -EINVAL;
    memcpy(text, "tcp://", 6);
    memcpy(text + 6, proxy->data, proxy->size);
    text[6 + proxy->size] = 0;
    return zm_address_parse(text, false, ep->options.tuning.ipv6, out_proxy);
}

bool zm_socks_busy(const zm_endpoint *ep)
{
    return ep->socks.stage != IDLE;
}

/* --- one exchange ---------------------------------------------------------------------------- */

static int say(zm_endpoint *ep, enum stage stage, size_t size)
{
    zm_socks *x = &ep->socks;
    x->stage = (uint8_t) stage;
    x->size = size;
    x->done = 0;
    return 0;
}

static int hear(zm_endpoint *ep, enum stage stage, size_t size)
{
    say(ep, stage, size);
    ep->socks.hearing = true;
    return 0;
}

static void put(zm_socks *x, size_t *at, const void *data, size_t size)
{
    memcpy(x->bytes + *at, data, size);
    *at += size;
}

static int greet(zm_endpoint *ep)
{
    bool known = ep->options.socks_username.size > 0;
    ep->socks.hearing = false;
    ep->socks.bytes[0] = VERSION;
    ep->socks.bytes[1] = 1;
    ep->socks.bytes[2] = known ? BY_PASSWORD : NO_AUTH;
    return say(ep, GREETING, 3);
}

static int give_password(zm_endpoint *ep)
{
    const zm_bytes *user = &ep->options.socks_username, *password = &ep->options.socks_password;
    zm_socks *x = &ep->socks;
    size_t at = 0;
    uint8_t user_size = (uint8_t) user->size, password_size = (uint8_t) password->size;
    x->hearing = false;
    x->bytes[at++] = AUTH_VERSION;
    x->bytes[at++] = user_size;
    put(x, &at, user->data, user_size);
    x->bytes[at++] = password_size;
    if (password_size)
        put(x, &at, password->data, password_size);
    return say(ep, PASSWORD, at);
}

static int request(zm_endpoint *ep)
{
    static const uint8_t head[] = {VERSION, CONNECT, 0};
    const zm_address *to = &ep->address;
    zm_socks *x = &ep->socks;
    size_t at = 0;
    uint16_t port = htons(to->port);
    struct in_addr v4;
    struct in6_addr v6;
    x->hearing = false;
    put(x, &at, head, sizeof head);
    /* A numeric address goes as one, whether or not the socket itself could use it (IPV6). */
    if (inet_pton(AF_INET, to->host, &v4) == 1) {
        x->bytes[at++] = IPV4;
        put(x, &at, &v4, sizeof v4);
    } else if (inet_pton(AF_INET6, to->host, &v6) == 1) {
        x->bytes[at++] = IPV6;
        put(x, &at, &v6, sizeof v6);
    } else {
        size_t size = strlen(to->host);
        if (size > 255)
            return -EINVAL;
        x->bytes[at++] = NAME;
        x->bytes[at++] = (uint8_t) size;
        put(x, &at, to->host, size);
    }
    put(x, &at, &port, sizeof port);
    return say(ep, REQUEST, at);
}

/* A whole message was sent, or is in `bytes`: what comes next. 1: connected; 0: go on; -errno. */
static int next(zm_endpoint *ep)
{
    zm_socks *x = &ep->socks;
    const uint8_t *in = x->bytes;
    switch (x->stage) {
    case GREETING:
        return hear(ep, METHOD, 2);
    case METHOD:
        if (in[0] != VERSION)
            return -EPROTO;
        if (in[1] == BY_PASSWORD && ep->options.socks_username.size)
            return give_password(ep);
        return in[1] == NO_AUTH ? request(ep) : -EACCES;
    case PASSWORD:
        return hear(ep, ADMITTED, 2);
    case ADMITTED:
        return in[0] == AUTH_VERSION && in[1] == 0 ? request(ep) : -EACCES;
    case REQUEST:
        return hear(ep, ANSWER, 5);
    case ANSWER: {
        if (in[0] != VERSION || in[1] != 0)
            return -ECONNREFUSED;
        size_t rest = in[3] == IPV4 ? 4 : in[3] == IPV6 ? 16 : in[3] == NAME ? in[4] + 1u : 0;
        /* The byte behind the type was read already; two of port follow. */
        return rest ? hear(ep, ANSWER_REST, rest - 1 + 2) : -EPROTO;
    }
    default:
        x->stage = IDLE;
        return 1;
    }
}

static void start(zm_endpoint *ep) ZM_LOCKED
{
    zm_socks *x = &ep->socks;
    zm_driver *driver = ep->socket->driver;
    uint8_t *from = x->bytes + x->done;
    size_t size = x->size - x->done;
    if (x->hearing) {
        zm_driver_recv(driver, &ep->op, ep->fd, from, size);
        return;
    }
    x->vector = (struct iovec){from, size};
    x->header = (struct msghdr){.msg_iov = &x->vector, .msg_iovlen = 1};
    zm_driver_send(driver, &ep->op, ep->fd, &x->header);
}

void zm_socks_start_locked(zm_endpoint *ep)
{
    greet(ep);
    start(ep);
}

int zm_socks_step_locked(zm_endpoint *ep, int32_t res)
{
    zm_socks *x = &ep->socks;
    int rc = res == 0 && x->hearing ? -ECONNRESET : res < 0 ? res : 0;
    if (rc == 0) {
        x->done += (size_t) res;
        rc = x->done < x->size ? 0 : next(ep);
    }
    if (rc == 0)
        start(ep);
    else
        x->stage = IDLE;
    return rc;
}
