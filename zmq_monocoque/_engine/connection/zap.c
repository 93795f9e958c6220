/* Asks the context's ZAP handler (RFC 27), a REP or ROUTER bound to inproc://zeromq.zap.01, who
 * may come in. Each question has an inproc link of its own, and is put without waiting: the answer
 * comes to the socket as a command, like anything else that another socket has for it. */
#include "zap.h"

#include <errno.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/block.h"
#include "../base/check.h"
#include "../base/secret.h"
#include "../base/wire_order.h"
#include "../driver/address.h"
#include "../pipe/frames.h"
#include "../pipe/inproc.h"
#include "../pipe/peer.h"
#include "../socket/endpoint.h"
#include "../socket/options.h"
#include "../zmtp/session.h"
#include "connection.h"

#define HANDLER "zeromq.zap.01"

enum { REPLY_PARTS = 7, ADDRESS_BYTES = 128 };

/* ZMQ_PROTOCOL_ERROR_ZAP_* */
enum {
    ZAP_UNSPECIFIED = 0x20000000,
    ZAP_MALFORMED_REPLY = 0x20000001,
    ZAP_BAD_REQUEST_ID = 0x20000002,
    ZAP_BAD_VERSION = 0x20000003,
    ZAP_INVALID_STATUS_CODE = 0x20000004,
    ZAP_INVALID_METADATA = 0x20000005,
};

struct zm_zap {
    zm_peer asker; /* our end of the link; the pattern does not know it */
    zm_conn *conn;
};

void zm_zap_free_locked(zm_zap *taken)
{
    ZM_DEBUG_ASSERT(taken->conn->zap == taken);
    ZM_DEBUG_ASSERT(taken->asker.inproc);
    taken->conn->zap = NULL;
    zm_inproc_close_locked(&taken->asker);
    zm_frames_fini(&taken->asker.in);
    zm_free(taken);
}

static void answered(zm_peer *asker) ZM_LOCKED;

/* --- the question ---------------------------------------------------------------------------- */

static int put(zm_zap *zap, const void *data, size_t size, bool more) ZM_LOCKED
{
    return zm_inproc_write_locked(&zap->asker, data, size, NULL, more ? ZM_MORE : 0);
}

static int put_password(zm_zap *zap, const uint8_t *password, size_t size) ZM_LOCKED
{
    zm_block *block = zm_block_new_secret(size);
    if (!block)
        return -ENOMEM;
    memcpy(block->data, password, size);
    zm_secret_moved();
    int rc = zm_inproc_write_locked(&zap->asker, block->data, size, block, 0);
    zm_block_unref(block);
    return rc;
}

static int put_text(zm_zap *zap, const char *text, bool more) ZM_LOCKED
{
    return put(zap, text, strlen(text), more);
}

static int put_credentials(zm_zap *zap, const zm_event *event) ZM_LOCKED
{
    switch (zap->conn->session.config.mechanism) {
    case ZM_PLAIN: {
        const uint8_t *name = event->data, *password = name + 1 + name[0];
        int rc = put(zap, name + 1, name[0], true);
        return rc < 0 ? rc : put_password(zap, password + 1, password[0]);
    }
    case ZM_CURVE:
        return put(zap, event->data, event->size, false);
    default:
        return 0;
    }
}

/* The frames of S-101. The routing id is our own, not the peer's: libzmq's reading of the RFC. */
static int put_question(zm_zap *zap, const zm_event *event) ZM_LOCKED
{
    static const char *const names[] = {
        [ZM_NULL] = "NULL", [ZM_PLAIN] = "PLAIN", [ZM_CURVE] = "CURVE"};
    zm_conn *conn = zap->conn;
    const zm_options *o = &conn->endpoint->options;
    char address[ADDRESS_BYTES];
    zm_peer_address(conn->fd, conn->transport, address, sizeof address);
    zm_mechanism mechanism = conn->session.config.mechanism;
    int rc = put(zap, "", 0, true);
    if (rc == 0)
        rc = put_text(zap, "1.0", true);
    if (rc == 0)
        rc = put_text(zap, "1", true);
    if (rc == 0)
        rc = put(zap, o->zap_domain.data, o->zap_domain.size, true);
    if (rc == 0)
        rc = put_text(zap, address, true);
    if (rc == 0)
        rc = put(zap, o->routing_id.data, o->routing_id.size, true);
    if (rc == 0)
        rc = put_text(zap, names[mechanism], mechanism != ZM_NULL);
    if (rc == 0)
        rc = put_credentials(zap, event);
    if (rc == 0)
        conn->socket->stats.messages_sent--; /* none of the application's */
    return rc;
}

/* Nobody is there to be asked. */
static int decide_alone(zm_conn *conn) ZM_LOCKED
{
    const zm_options *o = &conn->endpoint->options;
    if (o->mechanism != ZM_PLAIN && !o->zap_enforce_domain)
        return zm_conn_admit_locked(conn, 200);
    zm_conn_broke_locked(conn, EFAULT);
    return -ECONNABORTED;
}

int zm_zap_ask_locked(zm_conn *conn, const zm_event *event)
{
    ZM_DEBUG_ASSERT(conn->state == ZM_CONN_HANDSHAKE);
    ZM_DEBUG_ASSERT(!conn->zap);
    zm_zap *zap = zm_calloc(sizeof *zap);
    if (!zap)
        return -ENOMEM;
    zap->asker.socket = conn->socket;
    zap->conn = conn;
    int rc = zm_inproc_ask_locked(&zap->asker, HANDLER, answered);
    if (rc < 0) {
        zm_free(zap);
        if (rc == -ECONNREFUSED)
            return decide_alone(conn);
        zm_conn_broke_locked(conn, -rc);
        return -ECONNABORTED;
    }
    conn->zap = zap;
    if (put_question(zap, event) == 0)
        return 0;
    zm_conn_broke_locked(conn, EFAULT); /* the handler is just closing */
    return -ECONNABORTED;
}

/* --- the answer ------------------------------------------------------------------------------ */

static bool frame_is(const zm_frame *frame, const char *text)
{
    return frame->size == strlen(text) && memcmp(frame->data, text, frame->size) == 0;
}

static bool metadata_is_well_formed(const uint8_t *p, size_t left)
{
    while (left) {
        size_t head = 1 + (size_t) p[0] + 4;
        if (left < head)
            return false;
        size_t size = zm_load_u32(p + head - 4);
        if (left - head < size)
            return false;
        p += head + size;
        left -= head + size;
    }
    return true;
}

/* What is wrong with a reply; 0: nothing. */
static uint32_t fault_of(const zm_frame *parts, size_t count)
{
    if (count != REPLY_PARTS)
        return ZAP_MALFORMED_REPLY;
    if (parts[0].size)
        return ZAP_UNSPECIFIED;
    if (!frame_is(&parts[1], "1.0"))
        return ZAP_BAD_VERSION;
    if (!frame_is(&parts[2], "1"))
        return ZAP_BAD_REQUEST_ID;
    const uint8_t *status = parts[3].data;
    if (parts[3].size != 3 || status[0] < '2' || status[0] > '5' || status[1] != '0'
        || status[2] != '0')
        return ZAP_INVALID_STATUS_CODE;
    if (parts[5].size > UINT32_MAX || !metadata_is_well_formed(parts[6].data, parts[6].size))
        return ZAP_INVALID_METADATA;
    return 0;
}

/* Keeps the user id and the metadata as one run of properties. */
static int keep_properties(zm_conn *conn, const zm_frame *user, const zm_frame *metadata)
{
    static const char name[] = "\7User-Id";
    size_t name_size = sizeof name - 1;
    size_t size = name_size + sizeof(uint32_t) + user->size + metadata->size;
    uint8_t *p = zm_alloc(size);
    if (!p)
        return -ENOMEM;
    conn->zap_properties = (zm_bytes){.data = p, .size = size};
    memcpy(p, name, name_size);
    zm_store_u32(p += name_size, (uint32_t) user->size);
    p += sizeof(uint32_t);
    if (user->size)
        memcpy(p, user->data, user->size);
    if (metadata->size)
        memcpy(p + user->size, metadata->data, metadata->size);
    return 0;
}

/* The parts of the first message that came. Those beyond the ones a reply has are only counted. */
static size_t take_parts(zm_peer *asker, zm_frame parts[REPLY_PARTS])
{
    size_t count = 0;
    bool more = true;
    while (more) {
        zm_frame frame = zm_frames_take(&asker->in);
        more = frame.flags & ZM_MORE;
        if (count < REPLY_PARTS)
            parts[count] = frame;
        else if (frame.block)
            zm_block_unref(frame.block);
        count++;
    }
    return count;
}

/* The handler answered, or went away. */
static void answered(zm_peer *asker)
{
    zm_zap *zap = ZM_CONTAINER(asker, zm_zap, asker);
    zm_conn *conn = zap->conn;
    /* If the handler went away, the peer goes on waiting until its handshake takes too long. */
    if (!zm_inproc_can_read_locked(asker))
        return;
    zm_frame parts[REPLY_PARTS] = {0};
    size_t count = take_parts(asker, parts);
    uint32_t fault = fault_of(parts, count);
    unsigned status = fault ? 0 : (parts[3].data[0] - '0') * 100u;
    int rc = status == 200 ? keep_properties(conn, &parts[5], &parts[6]) : 0;
    for (size_t i = 0; i < REPLY_PARTS; i++)
        if (parts[i].block)
            zm_block_unref(parts[i].block);
    zm_zap_free_locked(zap);
    if (rc < 0)
        zm_conn_broke_locked(conn, -rc);
    else if (fault)
        zm_conn_refused_locked(conn, fault);
    else
        zm_conn_admit_locked(conn, status);
}
