/* A queue that a connection still sends from, though it is over, is left alone by the connections
 * that come and go meanwhile: the kernel reads that memory until the send has landed. */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/list.h"
#include "connection/connection.h"
#include "connection/connection_private.h"
#include "context/process.h"
#include "driver/address.h"
#include "driver/driver.h"
#include "model.h"
#include "pipe/frames.h"
#include "pipe/metadata.h"
#include "pipe/peer.h"
#include "socket/endpoint.h"
#include "socket/monitor.h"
#include "socket/order.h"
#include "socket/socket.h"
#include "socket/transfer.h"
#include "socket/wakeup.h"

/* --- what a connection calls that is not there ------------------------------------------------ */

_Atomic int64_t zm_live_connections;

/* In flight until landed() says otherwise, cancelled or not. */
void zm_driver_send(zm_driver *driver, zm_op *op, int fd, struct msghdr *lent)
{
    (void) driver, (void) fd, (void) lent;
    CHECK(!op->in_flight);
    op->in_flight = true;
}

void zm_driver_cancel(zm_driver *driver, zm_op *op)
{
    (void) driver;
    CHECK(op->in_flight);
}

void zm_fd_close(int fd)
{
    (void) fd;
}

bool zm_order_holds_locked(zm_socket *s)
{
    (void) s;
    return false;
}

void zm_connection_unpace(int fd)
{
    (void) fd;
}

void zm_socket_notify_locked(zm_socket *s)
{
    (void) s;
}

void zm_conn_settled_locked(zm_conn *conn)
{
    (void) conn;
}

void zm_metadata_unref(zm_metadata *taken)
{
    CHECK(!taken);
}

size_t zm_connection_unsent(int fd)
{
    (void) fd;
    abort();
}

void zm_endpoint_close_locked(zm_endpoint *endpoint)
{
    (void) endpoint;
    abort();
}

void zm_drive_for_room_locked(zm_conn *conn)
{
    (void) conn;
    abort();
}

void zm_monitor_event(zm_socket *s, int event, uint32_t value, const char *endpoint)
{
    (void) s, (void) event, (void) value, (void) endpoint;
    abort();
}

void zm_session_fini(zm_session *session)
{
    (void) session;
    abort();
}

size_t zm_session_frame_bound(const zm_session *session, size_t size)
{
    (void) session, (void) size;
    abort();
}

size_t zm_session_frame_begin(zm_session *session, uint8_t *out, unsigned flags, size_t size)
{
    (void) session, (void) out, (void) flags, (void) size;
    abort();
}

size_t zm_session_frame_end(zm_session *session, uint8_t *out, unsigned flags, size_t size)
{
    (void) session, (void) out, (void) flags, (void) size;
    abort();
}

size_t zm_session_subscription(zm_session *session, uint8_t *out, bool subscribe,
                               const uint8_t *topic, size_t size)
{
    (void) session, (void) out, (void) subscribe, (void) topic, (void) size;
    abort();
}

size_t zm_session_ping(zm_session *session, uint8_t *out, uint32_t ttl_ms)
{
    (void) session, (void) out, (void) ttl_ms;
    abort();
}

/* --- the test --------------------------------------------------------------------------------- */

enum { BODY = 1000, SENT_OF_FIRST = 100, CONTROL = 10, NOWHERE = 0xee };

static zm_socket s;
static zm_conn first, second;

static void told(zm_peer *peer)
{
    (void) peer;
}

static const zm_pattern pattern = {
    .attached = told, .detached = told, .readable = told, .writable = told};

/* A connection takes the peer over, its handshake done. */
static void open_on(zm_conn *conn, zm_peer *peer)
{
    memset(conn, 0, sizeof *conn);
    conn->socket = &s;
    conn->fd = 1;
    conn->session.plain_framing = true;
    conn->send_op.owner = conn;
    conn->state = ZM_CONN_ACTIVE;
    conn->peer = peer;
    peer->conn = conn;
    zm_list_append(&s.conns, &conn->link);
}

static void landed(zm_conn *conn, int32_t res)
{
    conn->send_op.in_flight = false;
    zm_conn_send_done_locked(&conn->send_op, res);
}

/* A peer with two messages, whose first connection is over with a part of them in flight. */
static zm_peer *peer_with_a_send_in_flight(void)
{
    static const char body[BODY];
    memset(&s, 0, sizeof s);
    s.pattern = &pattern;
    zm_list_init(&s.peers);
    zm_list_init(&s.conns);
    zm_list_init(&s.ended);
    zm_list_init(&s.wants_send);
    zm_list_init(&s.wants_recv);
    zm_peer *peer = zm_peer_new_locked(&s);
    CHECK(peer);
    zm_peer_attach_locked(peer);
    open_on(&first, peer);
    for (int i = 0; i < 2; i++)
        CHECK(zm_peer_write_locked(peer, body, sizeof body, NULL, false) == 0);
    zm_conn_flush_locked(&first);
    landed(&first, SENT_OF_FIRST); /* the rest goes on as another send */
    zm_conn_flush_locked(&first);
    CHECK(first.send_op.in_flight && peer->out.submitted == peer->out.bytes);
    zm_conn_drop_locked(&first);
    CHECK(peer->in_flight_conn == &first && !peer->conn);
    return peer;
}

static void finish(zm_peer *peer)
{
    size_t left = peer->out.bytes;
    CHECK(left == peer->out.submitted && peer->out.sent_of_first == SENT_OF_FIRST);
    for (size_t i = 0; i < first.header.msg_iovlen; i++) { /* the kernel reads it */
        const struct iovec *vector = &first.header.msg_iov[i];
        CHECK(memchr(vector->iov_base, NOWHERE, vector->iov_len) == NULL);
    }
    landed(&first, 0);
    CHECK(!peer->in_flight_conn && !peer->out.submitted);
    CHECK(peer->out.count == 1 && s.stats.messages_dropped == 1); /* what was sent in part */
    zm_peer_free_locked(peer);
    zm_free(s.peer_table);
}

/* The second connection is over before the first one's send has landed. */
static void check_that_a_second_end_leaves_it_alone(bool speaking)
{
    zm_peer *peer = peer_with_a_send_in_flight();
    open_on(&second, peer);
    if (speaking) {
        CHECK(zm_conn_control_locked(&second, "subscribes", CONTROL) == 0);
        zm_conn_flush_locked(&second);
        CHECK(second.send_op.in_flight && !second.sending_queue);
    }
    zm_conn_drop_locked(&second);
    CHECK(peer->in_flight_conn == &first);
    if (speaking)
        landed(&second, CONTROL);
    CHECK(peer->in_flight_conn == &first);
    finish(peer);
    zm_conn_free_control_locked(&second, second.flying, 0);
}

/* What the second connection has to say itself has been sent meanwhile. */
static void check_that_a_second_send_leaves_it_alone(void)
{
    zm_peer *peer = peer_with_a_send_in_flight();
    open_on(&second, peer);
    CHECK(zm_conn_control_locked(&second, "subscribes", CONTROL) == 0);
    zm_conn_flush_locked(&second);
    landed(&second, CONTROL);
    CHECK(peer->out.submitted == peer->out.bytes);
    CHECK(zm_outq_forget_waiting(&peer->out) == 0); /* as CONFLATE has it */
    zm_conn_drop_locked(&second);
    finish(peer);
}

int main(void)
{
    check_that_a_second_end_leaves_it_alone(false);
    check_that_a_second_end_leaves_it_alone(true);
    check_that_a_second_send_leaves_it_alone();
    return 0;
}
