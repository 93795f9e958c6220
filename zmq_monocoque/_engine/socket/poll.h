/* Waiting for several sockets, and descriptors; see api.h. Takes the locks of the sockets itself,
 * one after the other. */
#ifndef ZM_SOCKET_POLL_H
#define ZM_SOCKET_POLL_H

#include "../api.h"

int zm_poll_glance(zm_pollitem *items, int count);
int zm_poll(zm_pollitem *items, int count, int64_t deadline_ns);

#endif
