/* Endpoints: what bind() and connect() made, listeners and connecters. An endpoint is its socket's;
 * it owns the descriptor that listens or connects, and lives until nothing of that is in flight.
 * The socket's lock is held by whoever calls or reads any of this. */
#ifndef ZM_SOCKET_ENDPOINT_H
#define ZM_SOCKET_ENDPOINT_H

#include <sys/socket.h>

#include "../base/list.h"
#include "../base/names.h"
#include "../base/timer.h"
#include "../driver/address.h"
#include "../driver/driver.h"
#include "../engine.h"
#include "../objects.h"
#include "options.h"
#include "socks.h"

enum {
    ZM_RECONNECT_STOP_REFUSED = 1,
    ZM_RECONNECT_STOP_HANDSHAKE_FAILED = 2,
    ZM_RECONNECT_STOP_AFTER_DISCONNECT = 4
};

typedef enum zm_endpoint_kind {
    ZM_LISTENER,
    ZM_CONNECTER,
    ZM_INPROC_BIND,
    ZM_INPROC_CONNECT
} zm_endpoint_kind;

/* What a kind of endpoint does. */
typedef struct zm_endpoint_ops {
    void (*done)(zm_op *op, int32_t res); /* of its request; with each timer: NULL, it has none */
    void (*retry_due)(zm_timer *timer);
    void (*timeout_due)(zm_timer *timer);
    void (*linger_due)(zm_timer *timer);
    /* unbind(), disconnect(), or its socket is closed: sends what is queued within `linger_ms`. */
    void (*let_go)(zm_endpoint *endpoint, int linger_ms);
} zm_endpoint_ops;

/* Its changes are in endpoint_state.c. */
typedef enum zm_endpoint_state {
    ZM_ENDPOINT_WAITING, /* for peers; of a connecter: for its time to try */
    ZM_ENDPOINT_RESOLVING, /* the name of its address, or of the proxy, is looked up */
    ZM_ENDPOINT_CONNECTING, /* a connect, or an exchange with the proxy, is in flight */
    ZM_ENDPOINT_TIMED_OUT, /* CONNECT_TIMEOUT has cancelled that, and it is not over yet */
    ZM_ENDPOINT_CONNECTED, /* it has a connection, which may be in its handshake still */
    ZM_ENDPOINT_CLOSING /* freed once nothing is in flight */
} zm_endpoint_state;

struct zm_endpoint {
    const zm_endpoint_ops *ops;
    ZM_HELD zm_endpoint_state state;
    zm_list link; /* socket->endpoints */
    zm_name by_text; /* socket->endpoint_names */
    ZM_HELD zm_list conns;
    zm_socket *socket;
    zm_endpoint_kind kind;
    zm_address address;
    zm_options options; /* as they were at bind() or connect() */
    char text[ZM_ENDPOINT_MAX]; /* bound: resolved; connect: as given */
    char directory[ZM_ENDPOINT_MAX]; /* made by an ipc wildcard, removed with it */
    ZM_HELD int fd;
    ZM_HELD zm_op op; /* accept or connect */
    struct sockaddr_storage to; /* where the connect in flight goes */
    ZM_HELD zm_conn *conn; /* connecter's */
    ZM_HELD zm_peer *peer; /* connecter's, kept over reconnects unless IMMEDIATE */
    ZM_HELD zm_timer retry, timeout, linger;
    ZM_HELD int attempts;
    /* Disconnected, but its queue is still to be sent. No state: it goes on through all of them,
     * over as many connections as it takes. */
    ZM_HELD bool lingering;
    ZM_HELD bool was_connected; /* once, in whatever state it is now: the next one is a reconnect */
    ZM_HELD zm_resolution *resolution;
    zm_socks socks;
    ZM_HELD uint8_t *wanted_id;
    ZM_HELD size_t wanted_id_size;
};

/* An entry in the socket's list. NULL: memory is out. */
zm_endpoint *zm_endpoint_new_locked(zm_socket *s, zm_endpoint_kind kind, const zm_endpoint_ops *ops,
                                    const zm_address *address) ZM_LOCKED;
void zm_endpoint_free_locked(zm_endpoint *taken) ZM_LOCKED;
/* It changes to `state`, unless it is closing. */
void zm_endpoint_become_locked(zm_endpoint *endpoint, zm_endpoint_state state) ZM_LOCKED;
/* For asserts: what holds of an endpoint whenever nothing is at work on it. */
bool zm_endpoint_is_sound_locked(const zm_endpoint *endpoint) ZM_LOCKED;
/* Of one that is closed. */
void zm_endpoint_free_if_done_locked(zm_endpoint *endpoint) ZM_LOCKED;
int zm_listener_bind_locked(zm_socket *s, const zm_address *address) ZM_LOCKED;
int zm_connecter_connect_locked(zm_socket *s, const zm_address *address) ZM_LOCKED;
/* bind() and connect(). Takes the lock itself: names are looked up without it. */
int zm_endpoint_open(int64_t socket, const char *text, bool bind, bool brief);
void zm_endpoints_close_locked(zm_socket *s) ZM_LOCKED;
int zm_endpoint_term(int64_t socket, const char *text, bool brief); /* unbind(), disconnect() */
bool zm_endpoint_is_raw(const zm_endpoint *endpoint); /* STREAM, ROUTER_RAW */
/* CONNECT_ROUTING_ID goes to the peer that the connect() makes. */
void zm_endpoint_give_id_locked(zm_endpoint *endpoint, zm_peer *peer) ZM_LOCKED;
/* No new connections; frees it once nothing is in flight. */
void zm_endpoint_close_locked(zm_endpoint *endpoint) ZM_LOCKED;

#endif
