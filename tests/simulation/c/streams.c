/* STREAM sockets, which speak plain TCP with one another and with programs that have no engine
 * (S-64). There are no messages: each side of a connection sends bytes that say whose they are, and
 * where they belong, and has a book of what came. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/errors.h"
#include "workload.h"

enum { HEAD = 4, UNKNOWN = -1, PIECE_MAX = 20000 };

/* One side of a connection. Its number is what it sends first. */
typedef struct side {
    end *of; /* NULL: a program without the engine */
    uint32_t life;
    stream_name name;
    bool told;   /* the empty message of its begin was read */
    bool gone;   /* that of its end */
    bool closed; /* by this side itself */
    uint64_t sent, got;
    uint8_t head[HEAD];
    int other; /* whose bytes come */
} side;

static service *served; /* NULL: this run has none */
static side *sides;
static int side_count, side_room;
static uint32_t lives[ENDS_MAX]; /* of an end: it has begun anew so often */
static int wanted[ENDS_MAX];     /* connections that it has asked for, and not closed */

static int side_new(end *of)
{
    if (side_count == side_room) {
        side_room = side_room ? 2 * side_room : 64;
        sides = realloc(sides, (size_t) side_room * sizeof *sides);
    }
    sides[side_count] = (side) {.of = of, .life = of ? lives[of->id] : 0, .other = UNKNOWN};
    return side_count++;
}

static bool is_current(const side *s, const end *e)
{
    return s->of == e && s->life == lives[e->id];
}

static bool is_there(const side *s)
{
    return !s->gone && !s->closed;
}

static int side_named(const end *e, const stream_name *name)
{
    for (int i = side_count - 1; i >= 0; i--)
        if (is_current(&sides[i], e) && sides[i].name.size == name->size
            && !memcmp(sides[i].name.bytes, name->bytes, name->size))
            return i;
    return UNKNOWN;
}

/* --- bytes and their laws -------------------------------------------------------------------- */

static uint8_t byte_of(int number, uint64_t at)
{
    if (at < HEAD)
        return (uint8_t) ((uint32_t) number >> 8 * at);
    return (uint8_t) ((uint64_t) number * 131 + at * 7 + (at >> 8) * 31);
}

static void fill(int number, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = byte_of(number, sides[number].sent + i);
}

/* Each comes once, in its place, from the one at the other end. */
static void came(int number, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        side *s = &sides[number];
        if (s->got < HEAD) {
            s->head[s->got] = data[i];
            if (++s->got < HEAD)
                continue;
            uint32_t other = s->head[0] | (uint32_t) s->head[1] << 8 | (uint32_t) s->head[2] << 16
                             | (uint32_t) s->head[3] << 24;
            if (other >= (uint32_t) side_count || (int) other == number)
                sim_broken("a stream's bytes come as they were sent",
                           "connection %d: of %u, which there is not", number, other);
            for (int k = 0; k < side_count; k++)
                if (sides[k].other == (int) other)
                    sim_broken("a stream's bytes come as they were sent",
                               "connection %d: of %u, as %d", number, other, k);
            s->other = (int) other;
            if (sides[other].other != UNKNOWN && sides[other].other != number)
                sim_broken("a stream's bytes come as they were sent",
                           "connection %d: of %u, to which %d speaks", number, other,
                           sides[other].other);
            continue;
        }
        if (s->got >= sides[s->other].sent || data[i] != byte_of(s->other, s->got))
            sim_broken("a stream's bytes come as they were sent",
                       "connection %d: byte %llu of %d, which sent %llu", number,
                       (unsigned long long) s->got, s->other,
                       (unsigned long long) sides[s->other].sent);
        s->got++;
    }
}

/* Nothing has broken connections but those who have them. */
static bool undisturbed(void)
{
    return !served->disturbed && !killings && !TALLY->resets && !PLAN->no_files
           && !PLAN->no_memory;
}

static bool is_open(const side *s)
{
    return !s->of || (s->of->open && !s->of->failed && s->life == lives[s->of->id]);
}

/* As far as one of the two has heard of the other. */
static const side *other_end(int number)
{
    if (sides[number].other != UNKNOWN)
        return &sides[sides[number].other];
    for (int i = 0; i < side_count; i++)
        if (sides[i].other == number)
            return &sides[i];
    return NULL;
}

/* A message of `e`. */
static void arrived(end *e, const stream_name *name, const uint8_t *data, size_t size)
{
    int number = side_named(e, name);
    if (number == UNKNOWN) {
        number = side_new(e);
        sides[number].name = *name;
    }
    side *s = &sides[number];
    sim_say("socket %d: recv of connection %d: %zu bytes", e->id, number, size);
    if (!s->told && size)
        sim_broken("a stream tells who comes and goes",
                   "socket %d: bytes of connection %d before its begin", e->id, number);
    if (s->gone)
        sim_broken("a stream tells who comes and goes",
                   "socket %d: %zu bytes of connection %d after its end", e->id, size, number);
    if (!s->told) {
        s->told = true;
        return;
    }
    if (size) {
        came(number, data, size);
        return;
    }
    const side *other = other_end(number);
    bool alone = undisturbed() && other && is_open(other) && !other->closed;
    if (s->closed && alone)
        sim_broken("a stream tells who comes and goes",
                   "socket %d: the end of connection %d, which it closed", e->id, number);
    if (alone)
        sim_broken("a connection lasts", "socket %d: connection %d ended, and nobody ended it",
                   e->id, number);
    if (s->closed) /* it had ended before, so the close was nobody's, and it comes again */
        wanted[e->id] += !e->binder;
    s->gone = true;
    s->closed = false;
}

static void all_came(int number)
{
    const side *s = &sides[number];
    if (!s->told && s->of)
        sim_broken("who connects comes back", "socket %d: connection %d has not begun", s->of->id,
                   number);
    for (int k = 0; s->other == UNKNOWN && k < side_count; k++)
        if (sides[k].other == number && sides[k].sent < HEAD && sides[k].sent == s->got)
            return; /* it has not said yet who it is */
    if (s->other == UNKNOWN)
        sim_broken("a stream's bytes come as they were sent", "connection %d: nothing came",
                   number);
    const side *other = &sides[s->other];
    if (!is_there(other))
        sim_broken("a stream tells who comes and goes",
                   "connection %d: its other end %d is no more", number, s->other);
    if (s->got != other->sent)
        sim_broken("a stream's bytes come as they were sent",
                   "connection %d: %llu bytes of %llu of %d", number, (unsigned long long) s->got,
                   (unsigned long long) other->sent, s->other);
}

void streams_at_rest(void)
{
    if (!served)
        return;
    for (int i = 0; undisturbed() && i < side_count; i++)
        if (is_there(&sides[i]) && is_open(&sides[i]))
            all_came(i);
    const end *hub = &ends[served->first_end];
    for (int i = 1; i < served->end_count; i++) {
        const end *e = hub + i;
        int there = 0;
        for (int k = 0; k < side_count; k++)
            there += is_current(&sides[k], e) && sides[k].told && is_there(&sides[k]);
        if (e->open && hub->open && !served->disturbed && !PLAN->no_files
            && there != wanted[e->id])
            sim_broken("who connects comes back", "socket %d: %d connections, %d were asked for",
                       e->id, there, wanted[e->id]);
    }
}

/* --- what threads do ------------------------------------------------------------------------- */

static int send_some(end *e, int number, size_t size, int flags)
{
    uint8_t data[PIECE_MAX];
    side *s = &sides[number];
    stream_name name = s->name;
    fill(number, data, size);
    s->sent += size;
    int rc = app_send_bytes(e, &name, data, size, flags);
    s = &sides[number]; /* it may have moved */
    if (rc < 0)
        s->sent -= size;
    else
        progress++;
    sim_say("socket %d: send %zu bytes of connection %d: %d", e->id, size, number, rc);
    return rc;
}

static int end_it(end *e, int number)
{
    stream_name name = sides[number].name;
    sides[number].closed = true;
    int rc = app_send_bytes(e, &name, "", 0, ZM_DONTWAIT);
    sides[number].closed = rc == 0;
    wanted[e->id] -= rc == 0 && !e->binder;
    sim_say("socket %d: ends connection %d: %d", e->id, number, rc);
    return rc;
}

/* One of those that are there; UNKNOWN: there is none. */
static int any_side(const end *e)
{
    int found = UNKNOWN;
    uint32_t seen = 0;
    for (int i = 0; i < side_count; i++)
        if (is_current(&sides[i], e) && is_there(&sides[i]) && sim_below(++seen) == 0)
            found = i;
    return found;
}

/* Who has not said yet who it is. */
static int silent_side(const end *e)
{
    for (int i = 0; i < side_count; i++)
        if (is_current(&sides[i], e) && is_there(&sides[i]) && !sides[i].sent)
            return i;
    return UNKNOWN;
}

static size_t some_bytes(void)
{
    static const uint32_t most[] = {1, 10, 1000, 1000, 9000, PIECE_MAX};
    return 1 + sim_below(most[sim_below(6)]);
}

static void one_that_is_gone(end *e)
{
    for (int i = 0; i < side_count; i++)
        if (is_current(&sides[i], e) && !is_there(&sides[i]) && sim_below(3) == 0) {
            int rc = app_send_bytes(e, &sides[i].name, "x", 1, ZM_DONTWAIT);
            if (rc != -EHOSTUNREACH && rc != -ETERM && rc != -ENOTSOCK && rc != -EINTR)
                sim_broken("a stream tells who comes and goes",
                           "socket %d: a send to connection %d, which is gone: %d", e->id, i, rc);
            return;
        }
}

static int turn(end *e)
{
    int number = silent_side(e);
    if (number != UNKNOWN) {
        int rc = send_some(e, number, HEAD + sim_below(100), ZM_DONTWAIT);
        if (rc != -EAGAIN && rc != -EHOSTUNREACH) /* its end is still to be read */
            return rc;
    }
    bool sends = e->budget && now == LIVE;
    if (sends && sim_below(2)) {
        e->budget--;
        number = any_side(e);
        if (number == UNKNOWN && !e->binder && !wanted[e->id] && attach_end(e) == 0)
            wanted[e->id]++;
        if (number == UNKNOWN)
            return 0;
        if (sim_below(20) == 0 && sides[number].told)
            return end_it(e, number);
        if (sim_below(20) == 0)
            one_that_is_gone(e);
        return send_some(e, number, some_bytes(), sim_below(2) ? ZM_DONTWAIT : 0);
    }
    uint8_t data[STREAM_BYTES_MAX];
    stream_name name;
    size_t size;
    int rc = 0, flags = 0;
    if (sends || number != UNKNOWN || sim_below(3) == 0) { /* it has more to do */
        flags = ZM_DONTWAIT;
        rc = await(e, ZM_POLLIN);
    } else if (loop_waits(e)) {
        flags = ZM_DONTWAIT;
        rc = loop_wait(e, ZM_POLLIN, loop_until(e->rcvtimeo));
    }
    if (rc == 0)
        rc = app_recv_bytes(e, flags, &name, data, &size);
    if (rc == 0) {
        progress++;
        arrived(e, &name, data, size);
    }
    return rc;
}

/* The id is there before the connection is, and takes what is to be sent. */
static void known_before(end *e)
{
    stream_name name = {.size = sizeof name.bytes};
    if (zm_socket_get(e->handle, OPT_ROUTING_ID, name.bytes, &name.size) < 0 || name.size != 5
        || name.bytes[0] || side_named(e, &name) != UNKNOWN)
        return;
    int number = side_new(e);
    sides[number].name = name;
    send_some(e, number, HEAD + some_bytes(), ZM_DONTWAIT);
}

void *own_stream(void *argument)
{
    end *e = argument;
    sim_draw_from((uint64_t) e->id);
    lives[e->id]++;
    wanted[e->id] = 0;
    sim_sleep((int64_t) sim_below(50) * SIM_MS);
    bool counted = true;
    e->looper = sim_current;
    int rc = open_end(e);
    if (rc == 0) {
        loop_open(e);
        rc = attach_end(e);
    }
    e->failed = rc < 0;
    served->disturbed |= e->failed;
    wanted[e->id] = !e->binder;
    if (rc == 0 && !e->binder && sim_below(2))
        known_before(e);
    while (!e->failed && now != CLOSING) {
        rc = turn(e);
        if (rc == -ETERM || rc == -ENOTSOCK)
            break;
        if (churn && sim_below(400) == 0) {
            served->disturbed = true;
            sim_say("socket %d: the program leaves", e->id);
            break;
        }
        if (counted && !(e->budget && now == LIVE)) {
            counted = false;
            working--;
        }
        app_memory();
        think();
    }
    working -= counted;
    while (now != CLOSING)
        sim_sleep(20 * SIM_MS);
    close_end(e);
    return NULL;
}

/* --- a program without the engine ------------------------------------------------------------ */

extern int __wrap_socket(int family, int type, int protocol);
extern int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
extern ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
extern ssize_t __wrap_recv(int fd, void *out, size_t size, int flags);
extern int __wrap_close(int fd);

/* False: the connection is over. */
static bool say(int fd, int number, size_t size)
{
    uint8_t data[PIECE_MAX];
    fill(number, data, size);
    struct iovec part = {data, size};
    sides[number].sent += size;
    ssize_t rc = __wrap_sendmsg(fd, &(struct msghdr) {.msg_iov = &part, .msg_iovlen = 1}, 0);
    int error = errno;
    sides[number].sent -= size - (rc > 0 ? (size_t) rc : 0);
    return rc > 0 || error == EAGAIN || error == EINTR;
}

static bool hear(int fd, int number)
{
    uint8_t data[3000];
    ssize_t rc = __wrap_recv(fd, data, 1 + sim_below(sizeof data), 0);
    if (rc <= 0)
        return rc < 0 && (errno == EAGAIN || errno == EINTR);
    progress++;
    came(number, data, (size_t) rc);
    return true;
}

static bool over(void)
{
    return now == CLOSING;
}

static void visit(int hub_host, bool stays)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t) (7000 + served->id))};
    int fd = __wrap_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    to.sin_addr.s_addr = htonl(sim_host_address(hub_host));
    __wrap_connect(fd, (const struct sockaddr *) &to, sizeof to);
    int number = side_new(NULL), pieces = 1 + (int) sim_below(20);
    bool there = true;
    while (there && !over() && (pieces || stays)) {
        if (!sides[number].sent || (pieces && now == LIVE && sim_below(3) == 0)) {
            there = say(fd, number, sides[number].sent ? some_bytes() : HEAD);
            pieces -= sides[number].sent && pieces;
        } else {
            there = hear(fd, number);
        }
        do
            sim_sleep((int64_t) (1 + sim_below(20)) * SIM_MS);
        while (hush);
    }
    sides[number].closed = true;
    sim_say("a program ends connection %d", number);
    __wrap_close(fd);
}

static void *own_program(void *argument)
{
    const end *hub = argument;
    for (int visits = 1 + (int) sim_below(4); !over(); visits -= visits > 0) {
        sim_sleep((int64_t) sim_below(200) * SIM_MS);
        if (visits || sim_below(10) == 0)
            visit(hub->host, visits < 2);
    }
    return NULL;
}

sim_thread *streams_program(void)
{
    if (!served || !sim_less(sim_below(2), 0, "program"))
        return NULL;
    int host = (int) sim_below((uint32_t) host_total);
    sim_say("a program without the engine on host %d", host);
    return sim_spawn("program", host, false, own_program, &ends[served->first_end]);
}

/* --------------------------------------------------------------------------------------------- */

void draw_streams(void)
{
    served = &services[service_total];
    *served = (service) {.id = service_total++, .first_end = end_total, .streams = true};
    served->end_count = 1 + (int) sim_below(3);
    int hub_host = (int) sim_below((uint32_t) host_total);
    snprintf(served->endpoint, sizeof served->endpoint, "tcp://10.0.0.%d:%d", hub_host,
             7000 + served->id);
    for (int i = 0; i < served->end_count; i++) {
        end *e = &ends[end_total];
        *e = (end) {.id = end_total++, .of = served, .sharers = 1, .type = T_STREAM};
        e->binder = i == 0;
        e->host = i ? (int) sim_below((uint32_t) host_total) : hub_host;
        served->remote |= e->host != hub_host;
        e->absent = i > 0 && !sim_less(1, 0, "socket%d", e->id);
        draw_options(e);
        if (e->sndtimeo < 0)
            e->sndtimeo = 50; /* two who wait for each other to read would wait for ever */
        e->budget = sim_less(1 + sim_below(40), 1, "sends%d", e->id);
        if (e->absent) {
            e->budget = 0;
            continue;
        }
        infinite |= e->rcvtimeo < 0;
        sim_say("socket %d: type %d of streams on host %d, %s, marks %d %d, timeouts %d %d, sends "
                "%u", e->id, e->type, e->host, served->endpoint, e->sndhwm, e->rcvhwm, e->rcvtimeo,
                e->sndtimeo, e->budget);
    }
}
