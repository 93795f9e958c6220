/* Names that are looked up, by threads of their own. A resolution is that of its owner until it is
 * told of or dropped. Each is called with the socket's lock. */
#ifndef ZM_SOCKET_RESOLVER_H
#define ZM_SOCKET_RESOLVER_H

#include "../driver/address.h"
#include "../objects.h"

/* What came of it: 0 and `address` with what it resolved to, or -errno. `s` is locked. */
typedef void zm_resolved(void *owner, const zm_address *address, int result);
/* Looks the name in `address` up. `done` is called from a command of `s`, unless the resolution is
 * dropped before; *out_resolution is dead once it is called. 0 or -errno. */
int zm_resolution_start(zm_socket *s, const zm_address *address, bool ipv6, void *owner,
                        zm_resolved *done, zm_resolution **out_resolution);
/* Nobody waits for it any more. NULL allowed. */
void zm_resolution_drop(zm_resolution *taken);
void zm_resolver_after_fork(void);

#endif
