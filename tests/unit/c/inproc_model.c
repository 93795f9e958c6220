/* An inproc link against a count of what was written and read: messages of several parts both ways,
 * taken back now and then, with high-water marks; whoever waits is told. Commands arrive late. With
 * each allocation failing in turn. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/list.h"
#include "context/context.h"
#include "model.h"
#include "pipe/inproc.h"
#include "pipe/metadata.h"
#include "pipe/peer.h"
#include "socket/endpoint.h"
#include "socket/socket.h"
#include "socket/transfer.h"
#include "socket/wakeup.h"

enum { STEPS = 1200, COMMANDS_MAX = 64, PARTS_MAX = 4, LARGE = 5000 };

/* One socket, what it has sent and read, and what its pattern was told. */
typedef struct end {
    zm_socket socket;
    uint32_t written, staged; /* complete messages; parts of the one that is being written */
    uint32_t read, part; /* likewise */
    bool refused; /* a write was, and nobody has told it of room since */
    bool told; /* it may read */
} end;

static zm_context context;
static end ends[2];
static uint32_t parts_of[2][1 << 16]; /* by the number of the message: how many it has */
static zm_endpoint *endpoints[2];
static struct {
    zm_socket *socket;
    zm_command *command;
} commands[COMMANDS_MAX];
static int command_count;

static end *end_of(const zm_peer *peer)
{
    return ZM_CONTAINER(peer->socket, end, socket);
}

/* --- what a link calls that is not there ------------------------------------------------------ */

bool zm_socket_post(zm_socket *s, zm_command *command)
{
    if (atomic_exchange(&command->posted, true))
        return false;
    CHECK(command_count < COMMANDS_MAX);
    commands[command_count].socket = s;
    commands[command_count++].command = command;
    return true;
}

static void take_command(void)
{
    zm_socket *s = commands[0].socket;
    zm_command *command = commands[0].command;
    memmove(commands, commands + 1, (size_t) --command_count * sizeof *commands);
    atomic_store(&command->posted, false);
    command->run(s, command);
}

void zm_commands_take_locked(zm_socket *s)
{
    (void) s; /* it is taken in when its time comes */
}

zm_endpoint *zm_endpoint_new_locked(zm_socket *s, zm_endpoint_kind kind, const zm_endpoint_ops *ops,
                                    const zm_address *address)
{
    zm_endpoint *ep = zm_calloc(sizeof *ep);
    if (!ep)
        return NULL;
    ep->socket = s;
    ep->kind = kind;
    ep->ops = ops;
    memcpy(ep->text, address->text, sizeof ep->text);
    endpoints[s == &ends[1].socket] = ep;
    return ep;
}

void zm_endpoint_free_locked(zm_endpoint *taken)
{
    endpoints[taken->socket == &ends[1].socket] = NULL;
    zm_free(taken);
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

void zm_driver_wake(zm_driver *driver)
{
    (void) driver;
    abort();
}

void zm_metadata_unref(zm_metadata *taken)
{
    CHECK(!taken);
}

void zm_socket_notify_locked(zm_socket *s)
{
    (void) s;
}

/* --- the pattern ------------------------------------------------------------------------------ */

static void nothing(zm_peer *peer)
{
    (void) peer;
}

static void readable(zm_peer *peer)
{
    end_of(peer)->told = true;
}

static void writable(zm_peer *peer)
{
    end_of(peer)->refused = false;
}

static const zm_pattern pattern = {
    .attached = nothing, .detached = nothing, .readable = readable, .writable = writable};

/* --- both ends -------------------------------------------------------------------------------- */

static zm_peer *peer_of(end *e)
{
    zm_list *peers = &e->socket.peers;
    return zm_list_empty(peers) ? NULL : ZM_CONTAINER(peers->next, zm_peer, link);
}

/* Every part says which it is, of which message and of whose. */
static size_t fill(uint8_t *out, int from, uint32_t message, uint32_t part)
{
    uint32_t head[3] = {(uint32_t) from, message, part};
    memcpy(out, head, sizeof head);
    return sizeof head + (message % 50 == 49 ? LARGE : message % 7);
}

static bool write_part(int from)
{
    static uint8_t body[LARGE + 12];
    end *e = &ends[from], *reader = &ends[!from];
    zm_peer *peer = peer_of(e);
    bool more = e->staged + 1 < PARTS_MAX && one_in(3);
    size_t size = fill(body, from, e->written, e->staged);
    uint32_t unread = e->written - reader->read;
    int rc = zm_peer_write_locked(peer, body, size, NULL, more);
    if (rc == -EAGAIN) {
        CHECK(!e->staged); /* one that has begun can be ended */
        CHECK(unread); /* somebody will read, and then there is room */
        e->refused = true;
        return false;
    }
    if (rc == -ENOMEM) {
        e->staged = 0; /* the message is gone as a whole */
        return true;
    }
    if (rc == -EHOSTUNREACH)
        return true; /* the other end found no memory to be made in */
    CHECK(rc == 0);
    uint32_t hwm = (uint32_t) (e->socket.options.sndhwm + reader->socket.options.rcvhwm);
    CHECK(e->staged || unread < hwm);
    e->staged++;
    if (!more) {
        parts_of[from][e->written % (1 << 16)] = e->staged;
        e->written++;
        e->staged = 0;
    }
    return false;
}

static void read_part(int to)
{
    end *e = &ends[to], *writer = &ends[!to];
    zm_peer *peer = peer_of(e);
    if (!zm_peer_can_read_locked(peer)) {
        e->told = false;
        return;
    }
    CHECK(e->read < writer->written); /* only what is complete */
    zm_frame frame;
    zm_peer_read_locked(peer, &frame);
    uint8_t expected[12];
    CHECK(frame.size == fill(expected, !to, e->read, e->part));
    CHECK(memcmp(frame.data, expected, sizeof expected) == 0);
    e->part++;
    bool more = e->part < parts_of[!to][e->read % (1 << 16)];
    CHECK(more == ((frame.flags & ZM_MORE) != 0));
    if (!more) {
        e->read++;
        e->part = 0;
    }
    if (frame.block)
        zm_block_unref(frame.block);
}

static int join(bool bind_first)
{
    static zm_address address = {.transport = ZM_INPROC, .text = "inproc://model", .name = "model"};
    int rc = 0;
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = (i == 0) == bind_first ? zm_inproc_bind_locked(&ends[1].socket, &address)
                                    : zm_inproc_connect_locked(&ends[0].socket, &address);
    return rc;
}

static void open_ends(uint64_t seed)
{
    memset(ends, 0, sizeof ends);
    memset(&context, 0, sizeof context);
    zm_list_init(&context.waited_names);
    for (int i = 0; i < 2; i++) {
        zm_socket *s = &ends[i].socket;
        s->context = &context;
        s->pattern = &pattern;
        s->open = true;
        s->options.sndhwm = 1 + (int) ((seed + (uint64_t) i) % 9);
        s->options.rcvhwm = 1 + (int) ((seed / 9 + (uint64_t) i) % 9);
        zm_list_init(&s->peers);
        zm_list_init(&s->ended);
        zm_list_init(&s->crowded);
        zm_list_init(&s->untold);
    }
}

static void close_ends(void)
{
    for (int i = 0; i < 2; i++) {
        zm_socket *s = &ends[i].socket;
        s->closing = true;
        zm_inproc_tell_locked(s);
        while (peer_of(&ends[i]))
            zm_peer_free_locked(peer_of(&ends[i]));
        if (endpoints[i] && endpoints[i]->kind == ZM_INPROC_BIND)
            endpoints[i]->ops->let_go(endpoints[i], 0);
        else if (endpoints[i])
            zm_endpoint_free_locked(endpoints[i]);
    }
    zm_inproc_forget_waiting(&context);
    while (command_count)
        take_command();
    for (int i = 0; i < 2; i++) {
        zm_free(ends[i].socket.peer_table);
        CHECK(zm_list_empty(&ends[i].socket.peers));
    }
    zm_names_fini(&context.names);
}

/* Takes every command, and reads all. False: there are not both ends. */
static bool read_all(void)
{
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 2; i++)
            zm_inproc_tell_locked(&ends[i].socket);
        while (command_count)
            take_command();
        for (int i = 0; i < 2; i++) {
            if (!peer_of(&ends[i]) || zm_peer_is_ended_locked(peer_of(&ends[i])))
                return false;
            if (zm_peer_can_read_locked(peer_of(&ends[i])))
                read_part(i);
        }
    }
    return true;
}

static void scenario(uint64_t seed)
{
    open_ends(seed);
    bool failed = join(one_in(2)) < 0;
    for (int step = 0; step < STEPS && !failed; step++) {
        int i = (int) random_below(2);
        bool here = peer_of(&ends[i]) != NULL;
        if (command_count && one_in(4)) {
            take_command();
            /* The binder's end is made by its first command; without memory the link ends. */
            failed |= !peer_of(&ends[1]) && !command_count;
        } else if (here && one_in(30) && ends[i].staged) {
            zm_peer_rollback_locked(peer_of(&ends[i]));
            ends[i].staged = 0;
        } else if (one_in(10)) {
            ends[i].socket.tells_later = true;
        } else if (one_in(10)) {
            zm_inproc_tell_locked(&ends[i].socket);
        } else if (here && one_in(2)) {
            failed |= write_part(i);
        } else if (here) {
            read_part(i);
        }
        for (int k = 0; k < 2; k++)
            failed |= peer_of(&ends[k]) && zm_peer_is_ended_locked(peer_of(&ends[k]));
    }
    failed |= !read_all();
    for (int i = 0; i < 2 && !failed; i++) {
        CHECK(!ends[i].refused); /* who was refused has been told of room */
        ends[!i].told = false;
        do
            failed |= write_part(i);
        while (ends[i].staged && !failed);
    }
    failed |= !read_all();
    for (int i = 0; i < 2 && !failed; i++) {
        CHECK(ends[i].read == ends[!i].written && !ends[i].part);
        CHECK(ends[!i].told); /* who had found nothing has been told of more */
    }
    close_ends();
}

static void kept(zm_block *taken)
{
    (void) taken;
}

/* Whoever reads may copy what there is, even if that is nothing. */
static void check_that_no_bytes_have_an_address(void)
{
    zm_block foreign = {.refs = 1, .release = kept};
    open_ends(0);
    CHECK(join(true) == 0 && read_all());
    for (int k = 0; k < 2; k++) {
        CHECK(zm_peer_write_locked(peer_of(&ends[0]), NULL, 0, k ? &foreign : NULL, false) == 0);
        while (command_count)
            take_command();
        zm_frame frame;
        zm_peer_read_locked(peer_of(&ends[1]), &frame);
        CHECK(frame.data && !frame.size);
        if (frame.block)
            zm_block_unref(frame.block);
    }
    close_ends();
    CHECK(foreign.refs == 1);
}

static void write_message(int from)
{
    do
        write_part(from);
    while (ends[from].staged);
}

/* Who waits is told of a burst once it is over, and once. */
static void check_that_a_burst_is_told_of_at_its_end(void)
{
    open_ends(8); /* room for 11 messages */
    CHECK(join(true) == 0 && read_all() && !command_count);
    zm_socket *s = &ends[0].socket;
    for (int burst = 0; burst < 2; burst++) {
        s->tells_later = true;
        for (int i = 0; i < 5; i++)
            write_message(0);
        CHECK(!command_count);
        zm_inproc_tell_locked(s);
        CHECK(command_count == 1 && !s->tells_later);
        CHECK(read_all() && ends[1].read == ends[0].written);
    }
    s->tells_later = true;
    zm_inproc_tell_locked(s);
    CHECK(!command_count); /* of nothing nobody is told */
    write_message(0);
    CHECK(command_count == 1);
    CHECK(read_all());
    close_ends();
}

int main(int argc, char **argv)
{
    run_model(argc, argv, scenario);
    check_that_no_bytes_have_an_address();
    check_that_a_burst_is_told_of_at_its_end();
    return 0;
}
