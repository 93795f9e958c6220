/* The name of a peer that is over is free for the next one, also while the kernel still has a send
 * of it. Not while messages of it are to be read: they come with that name. */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/list.h"
#include "connection/connection.h"
#include "model.h"
#include "pattern/shared.h"
#include "pipe/metadata.h"
#include "pipe/peer.h"
#include "socket/endpoint.h"
#include "socket/options.h"
#include "socket/pattern.h"
#include "socket/socket.h"
#include "socket/transfer.h"
#include "socket/wakeup.h"

/* --- what a router calls that is not there ---------------------------------------------------- */

bool zm_always(zm_socket *sock)
{
    (void) sock;
    return true;
}

int zm_bytes_set(zm_bytes *bytes, const void *borrowed, size_t size)
{
    (void) bytes, (void) borrowed, (void) size;
    abort();
}

void zm_conn_failed_locked(zm_conn *conn, bool reconnect)
{
    (void) conn, (void) reconnect;
    abort();
}

void zm_drive_for_room_locked(zm_conn *conn)
{
    (void) conn;
    abort();
}

void zm_endpoint_close_locked(zm_endpoint *endpoint)
{
    (void) endpoint;
    abort();
}

bool zm_fair_can_recv_locked(zm_socket *sock)
{
    (void) sock;
    abort();
}

void zm_fair_readable(zm_peer *peer)
{
    (void) peer;
}

int zm_fair_recv_locked(zm_socket *sock, zm_frame *out_frame, zm_peer **out_peer)
{
    (void) sock, (void) out_frame, (void) out_peer;
    abort();
}

void zm_forget_nothing(zm_peer *peer)
{
    (void) peer;
}

void zm_metadata_unref(zm_metadata *taken)
{
    CHECK(!taken);
}

void zm_probe_locked(zm_peer *peer)
{
    (void) peer;
}

void zm_socket_notify_locked(zm_socket *sock)
{
    (void) sock;
}

/* --- the test --------------------------------------------------------------------------------- */

static zm_socket s;
static zm_conn over; /* that still sends */

static zm_peer *peer_named(const char *name)
{
    zm_peer *peer = zm_peer_new_locked(&s);
    CHECK(peer);
    peer->wanted_id_size = strlen(name);
    peer->wanted_id = zm_alloc(peer->wanted_id_size);
    CHECK(peer->wanted_id);
    memcpy(peer->wanted_id, name, peer->wanted_id_size);
    zm_peer_attach_locked(peer);
    return peer;
}

/* `unread`: messages of the first one, when it is over. Is its name free? */
static bool is_free(int unread)
{
    memset(&s, 0, sizeof s);
    memset(&over, 0, sizeof over);
    s.pattern = &zm_pattern_router;
    s.state = zm_calloc(s.pattern->state_size);
    CHECK(s.state && s.pattern->opened(&s) == 0);
    zm_list_init(&s.peers);
    zm_list_init(&s.ended);
    zm_turn_init(&s.readers);
    zm_turn_init(&s.writers);
    zm_peer *first = peer_named("name");
    CHECK(!first->ignored);
    while (unread--)
        CHECK(zm_peer_queue_locked(first, (const uint8_t *) "x", 1, false, NULL) == 0);
    first->in_flight_conn = &over;
    over.in_flight_peer = first;
    zm_peer_end_locked(first);
    zm_peer *second = peer_named("name");
    bool free_name = !second->ignored;
    first->in_flight_conn = NULL;
    zm_peer_free_locked(first);
    zm_peer *third = peer_named("name"); /* is the second one's still, or free again */
    CHECK(third->ignored == free_name);
    zm_peer_free_locked(third);
    zm_peer_free_locked(second);
    s.pattern->closed(&s);
    zm_free(s.state);
    zm_free(s.peer_table);
    return free_name;
}

int main(void)
{
    CHECK(is_free(0));
    CHECK(!is_free(1));
    return 0;
}
