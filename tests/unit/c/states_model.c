/* The tables of states, each change from each state to each: what is legal happens, anything else
 * ends in an assert and changes nothing. Then peers against a count of what they have been through:
 * attached, detached, ended, read and reaped at random, with each allocation failing in turn. */
#include <setjmp.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/list.h"
#include "connection/connection.h"
#include "connection/connection_private.h"
#include "model.h"
#include "pipe/metadata.h"
#include "pipe/peer.h"
#include "socket/endpoint.h"
#include "socket/socket.h"
#include "socket/transfer.h"
#include "socket/wakeup.h"

/* --- the tables ------------------------------------------------------------------------------ */

/* An assert that fires ends in here, if it was expected. */
static jmp_buf caught;
static bool expected;

void zm_check_failed(const char *expression, const char *file, int line)
{
    if (expected)
        longjmp(caught, 1);
    fprintf(stderr, "%s (%s:%d)\n", expression, file, line);
    abort();
}

/* A machine as it was meant, apart from its table: each state with those that may follow. */
typedef struct machine {
    int states;
    const char *next[8];       /* digits */
    void (*become)(int state); /* of one thing, which is in `state` before and after */
    int state;
} machine;

static machine *current;

static void conn_becomes(int state)
{
    static zm_conn conn;
    conn.state = (zm_conn_state) current->state;
    zm_conn_become_locked(&conn, (zm_conn_state) state);
    current->state = conn.state;
}

static void endpoint_becomes(int state)
{
    static zm_endpoint endpoint;
    endpoint.state = (zm_endpoint_state) current->state;
    zm_endpoint_become_locked(&endpoint, (zm_endpoint_state) state);
    current->state = endpoint.state;
}

static void peer_becomes(int state)
{
    static zm_peer peer;
    peer.state = (zm_pipe_state) current->state;
    zm_peer_become_locked(&peer, (zm_pipe_state) state);
    current->state = peer.state;
}

enum {
    CONN_STATES = ZM_CONN_CLOSING + 1,
    ENDPOINT_STATES = ZM_ENDPOINT_CLOSING + 1,
    PIPE_STATES = ZM_PIPE_CLOSING + 1
};

static machine machines[] = {
    /* handshake, active, draining, rejected, closing */
    {CONN_STATES, {"134", "24", "4", "4", ""}, conn_becomes, 0},
    /* waiting, resolving, connecting, timed out, connected; who is closing stays so, and hears of
     * what was in flight without an assert */
    {ENDPOINT_STATES, {"1245", "05", "035", "05", "05", "012345"}, endpoint_becomes, 0},
    /* new, attached, detached, ended, closing */
    {PIPE_STATES, {"14", "23", "4", "4", ""}, peer_becomes, 0},
};

/* True: it did; false: an assert fired. */
static bool becomes(machine *m, int from, int to)
{
    current = m;
    m->state = from;
    expected = true;
    bool done = setjmp(caught) == 0;
    if (done)
        m->become(to);
    expected = false;
    return done;
}

static void check_each_change(machine *m)
{
    int last = m->states - 1;
    for (int from = 0; from < m->states; from++)
        for (int to = 0; to < m->states; to++) {
            bool legal = strchr(m->next[from], '0' + to) != NULL;
            CHECK(becomes(m, from, to) == legal);
            CHECK(m->state == (legal && from != last ? to : from));
        }
    for (int to = 0; to < m->states; to++) { /* rubbish is no state */
        CHECK(!becomes(m, m->states, to));
        CHECK(!becomes(m, 255, to));
    }
}

/* From each state there is a way to the last one. */
static void check_that_the_end_is_in_reach(const machine *m)
{
    for (int from = 0; from < m->states; from++) {
        int at = from;
        for (int steps = 0; steps < m->states && at < m->states - 1; steps++)
            at = m->next[at][strlen(m->next[at]) - 1] - '0'; /* the nearest to it */
        CHECK(at == m->states - 1);
    }
}

/* --- what a peer calls that is not there ------------------------------------------------------ */

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

void zm_metadata_unref(zm_metadata *taken)
{
    CHECK(!taken);
}

void zm_socket_notify_locked(zm_socket *s)
{
    (void) s;
}

/* --- peers ------------------------------------------------------------------------------------ */

enum { PEERS_MAX = 12, STEPS = 3000 };

/* What one has been through. */
typedef struct life {
    zm_peer *peer; /* NULL: there is none */
    bool attached, detached, ended;
    bool known; /* to the pattern, as that was told */
    uint32_t unread;
    bool flying; /* its last connection still sends */
    zm_conn conn;
} life;

static life lives[PEERS_MAX];
static zm_socket sock;

static life *life_of(const zm_peer *peer)
{
    for (int i = 0; i < PEERS_MAX; i++)
        if (lives[i].peer == peer)
            return &lives[i];
    abort();
}

static void attached(zm_peer *peer)
{
    CHECK(!life_of(peer)->known);
    life_of(peer)->known = true;
}

static void detached(zm_peer *peer)
{
    CHECK(life_of(peer)->known);
    life_of(peer)->known = false;
}

static void nothing(zm_peer *peer)
{
    (void) peer;
}

static const zm_pattern pattern = {
    .attached = attached, .detached = detached, .readable = nothing, .writable = nothing};

static zm_pipe_state state_of(const life *l)
{
    if (!l->attached)
        return l->ended ? ZM_PIPE_CLOSING : ZM_PIPE_NEW;
    if (l->detached)
        return l->ended ? ZM_PIPE_CLOSING : ZM_PIPE_DETACHED;
    return l->ended ? ZM_PIPE_ENDED : ZM_PIPE_ATTACHED;
}

/* Frees those that have ended, are read out and have nothing in flight. */
static void reap(void)
{
    zm_list ended;
    zm_list_init(&ended);
    zm_list_append_all(&ended, &sock.ended);
    while (!zm_list_empty(&ended)) {
        zm_ended *ending = ZM_CONTAINER(ended.next, zm_ended, link);
        zm_list_remove(&ending->link);
        life *l = life_of(ZM_CONTAINER(ending, zm_peer, ending));
        bool visible = l->attached && !l->detached;
        bool goes = !l->flying && !(visible && l->unread);
        CHECK(l->ended);
        uint32_t before = sock.stats.peers;
        ending->reap(ending);
        CHECK(before - sock.stats.peers == goes);
        if (goes) {
            CHECK(!l->known);
            *l = (life){0};
        }
    }
}

static void step(life *l)
{
    switch (random_below(9)) {
    case 0:
        if (!l->attached && !l->ended) {
            l->attached = true;
            zm_peer_attach_locked(l->peer);
        }
        break;
    case 1:
        zm_peer_detach_locked(l->peer);
        l->detached |= l->attached;
        break;
    case 2:
        zm_peer_end_locked(l->peer);
        l->ended = true;
        break;
    case 3:
        if (l->flying) { /* its send has landed */
            l->flying = false;
            l->peer->in_flight_conn = NULL;
            zm_peer_ripen_locked(l->peer);
        } else if (!l->ended) {
            l->flying = true;
            l->peer->in_flight_conn = &l->conn;
            l->conn.in_flight_peer = l->peer;
        }
        break;
    case 4:
    case 5:
        if (!l->ended && zm_peer_queue_locked(l->peer, (const uint8_t *) "x", 1, false, NULL) == 0)
            l->unread++;
        break;
    case 6:
        CHECK(zm_peer_can_read_locked(l->peer) == (l->unread > 0));
        if (l->unread) {
            zm_frame frame;
            zm_peer_read_locked(l->peer, &frame); /* an ended one is looked at again */
            l->unread--;
        }
        break;
    default:
        reap();
    }
    if (l->peer) {
        CHECK(l->peer->state == state_of(l));
        CHECK(zm_peer_is_attached_locked(l->peer) == l->known);
        CHECK(zm_peer_is_ended_locked(l->peer) == l->ended);
    }
}

static void scenario(uint64_t seed)
{
    (void) seed;
    memset(lives, 0, sizeof lives);
    memset(&sock, 0, sizeof sock);
    sock.pattern = &pattern;
    zm_list_init(&sock.peers);
    zm_list_init(&sock.ended);
    zm_list_init(&sock.crowded);
    for (int i = 0; i < STEPS; i++) {
        life *l = &lives[random_below(PEERS_MAX)];
        if (l->peer)
            step(l);
        else if ((l->peer = zm_peer_new_locked(&sock)))
            CHECK(l->peer->state == ZM_PIPE_NEW);
    }
    for (life *l = lives; l < lives + PEERS_MAX; l++)
        if (l->peer) {
            l->peer->in_flight_conn = NULL;
            zm_peer_free_locked(l->peer); /* from whatever state it is in */
            CHECK(!l->known);
        }
    CHECK(zm_list_empty(&sock.peers) && zm_list_empty(&sock.ended) && !sock.stats.peers);
    zm_free(sock.peer_table);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < ZM_COUNT(machines); i++) {
        check_each_change(&machines[i]);
        check_that_the_end_is_in_reach(&machines[i]);
    }
    run_model(argc, argv, scenario);
    return 0;
}
