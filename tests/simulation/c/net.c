/* Sockets, and the network between hosts: TCP as its ends see it (windows, resets, half-open ends,
 * connects that are refused or answered late), and unix sockets.
 *
 * A stream that the program has closed, and a link whose ends are gone, stay in memory: events may
 * name them, and a run is short. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "kernel.h"
#include "sim.h"

enum { SEGMENT = 16 * 1024, NAMES_MAX = 1 << 15, CHAINS = 1 << 12, SYN_TRIES = 5,
       PORT_FIRST = 32768, SOCKETS_SHOWN = 100 };

typedef enum state { FRESH, LISTENING, CONNECTING, CONNECTED, FAILED } state;

typedef struct bytes {
    uint8_t *data;
    size_t head, size, room;
} bytes;

typedef struct direction {
    bytes out, in; /* not yet there; there, and not yet read */
    size_t in_flight;
    bool ends, end_sent, ended;
    int64_t last_arrival;
} direction;

typedef struct stream stream;

typedef struct link {
    stream *ends[2]; /* NULL: closed */
    direction ways[2]; /* from that end to the other */
    bool dead[2];      /* that end knows nothing of the link any more */
    bool local;
    int64_t stalled_until;
} link;

struct stream {
    sim_file file;
    int family, host, error, lowat;
    state state;
    bool closed, told;
    struct sockaddr_storage local, remote;
    socklen_t local_size, remote_size;
    stream *line, *line_last, *line_next; /* of a listener: who waits to be accepted */
    int line_count, line_max;
    stream *chain_next; /* of listeners, by name */
    link *link;
    int side;
    int tries;
};

static stream *listeners[CHAINS]; /* tcp: by hash of address and port */
static struct {
    char path[sizeof(((struct sockaddr_un *) 0)->sun_path)];
    size_t size;
    stream *listener; /* NULL: it is gone, and its file is still there */
} paths[NAMES_MAX];
static int path_count;
static uint32_t next_port = PORT_FIRST, next_path;

static int connecting;

static void become(stream *s, state next)
{
    connecting += (next == CONNECTING) - (s->state == CONNECTING);
    s->state = next;
}

bool sim_somebody_connects(void)
{
    return connecting > 0;
}

/* --- bytes ----------------------------------------------------------------------------------- */

static void put(bytes *b, const void *data, size_t size)
{
    if (b->head + b->size + size > b->room) {
        memmove(b->data, b->data + b->head, b->size);
        b->head = 0;
        while (b->room < b->size + size)
            b->room = b->room ? 2 * b->room : 4096;
        b->data = realloc(b->data, b->room);
    }
    memcpy(b->data + b->head + b->size, data, size);
    b->size += size;
}

static void take(bytes *b, size_t size)
{
    b->head += size;
    b->size -= size;
    if (!b->size)
        b->head = 0;
}

static void forget(bytes *b)
{
    free(b->data);
    *b = (bytes) {0};
}

/* --- links ----------------------------------------------------------------------------------- */

typedef struct segment {
    link *link;
    int from;
    size_t size;
    bool end;
} segment;

static void transmit(link *l, int from);

static int64_t latency(const link *l)
{
    if (l && l->local)
        return 1 + sim_below(2000);
    return PLAN->latency + (PLAN->jitter ? (int64_t) sim_below((uint32_t) PLAN->jitter) : 0);
}

/* That end learns that the link is no more. */
static void tell_reset(link *l, int side, int error)
{
    stream *s = l->ends[side];
    if (l->dead[side])
        return;
    l->dead[side] = true;
    sim_step_said("reset told to %d", s ? s->file.fd : -1);
    forget(&l->ways[side].out);
    l->ways[side].in_flight = 0;
    if (s) {
        s->error = error;
        sim_changed(&s->file);
    }
}

typedef struct news {
    link *link;
    int side, error;
} news;

static void reset_arrives(void *argument)
{
    news *n = argument;
    tell_reset(n->link, n->side, n->error);
    free(n);
}

static void send_reset(link *l, int side)
{
    news *n = malloc(sizeof *n);
    *n = (news) {l, side, ECONNRESET};
    sim_at(sim_clock + latency(l), reset_arrives, n);
}

static void break_link(link *l)
{
    if (l->dead[0] && l->dead[1])
        return;
    TALLY->resets++;
    int first = (int) sim_below(2);
    sim_say("reset %d-%d", l->ends[0] ? l->ends[0]->file.fd : -1,
            l->ends[1] ? l->ends[1]->file.fd : -1);
    tell_reset(l, first, sim_below(4) ? ECONNRESET : sim_below(2) ? ETIMEDOUT : EPIPE);
    if (!sim_chance(PLAN->half_open))
        tell_reset(l, !first, ECONNRESET);
}

static void arrive(void *argument)
{
    segment s = *(segment *) argument;
    link *l = s.link;
    direction *way = &l->ways[s.from];
    stream *here = l->ends[!s.from], *there = l->ends[s.from];
    free(argument);
    TALLY->segments++;
    if (l->dead[s.from])
        return;
    if (l->dead[!s.from] || (!here && s.size)) {
        send_reset(l, s.from); /* nobody is there */
        return;
    }
    if (!l->local && sim_chance(PLAN->reset)) {
        break_link(l);
        if (!l->dead[s.from])
            send_reset(l, s.from); /* it sends that again, and hears of it then */
        return;
    }
    if (s.end) {
        way->ended = true;
    } else {
        way->in_flight -= s.size;
        TALLY->bytes += s.size;
        put(&way->in, way->out.data + way->out.head, s.size);
        take(&way->out, s.size);
    }
    if (here)
        sim_changed(&here->file);
    if (there && there->link == l)
        sim_changed(&there->file);
    transmit(l, s.from);
}

static void transmit(link *l, int from)
{
    direction *way = &l->ways[from];
    if (l->dead[from])
        return;
    for (;;) {
        size_t busy = way->in.size + way->in_flight;
        size_t window = (size_t) PLAN->rcvbuf > busy ? (size_t) PLAN->rcvbuf - busy : 0;
        size_t n = way->out.size - way->in_flight;
        if (n > window)
            n = window;
        if (n > SEGMENT)
            n = SEGMENT;
        bool end = !n && way->ends && !way->end_sent && way->out.size == 0;
        if (!n && !end)
            return;
        if (!l->local && sim_chance(PLAN->stalls)) {
            l->stalled_until = sim_clock + (int64_t) sim_below(3000) * SIM_MS;
            sim_say("stall until %.6f", (double) l->stalled_until / 1e9);
        }
        int64_t when = sim_clock + latency(l);
        if (when < way->last_arrival)
            when = way->last_arrival;
        if (when < l->stalled_until)
            when = l->stalled_until;
        when += (int64_t) ((double) n * 1e9 / (double) (l->local ? 4000000000LL : PLAN->rate));
        way->last_arrival = when;
        segment *s = malloc(sizeof *s);
        *s = (segment) {l, from, n, end};
        way->in_flight += n;
        way->end_sent |= end;
        sim_at(when, arrive, s);
    }
}

typedef struct opening {
    link *link;
    int from;
} opening;

static void window_opens(void *argument)
{
    opening *o = argument;
    transmit(o->link, o->from);
    free(o);
}

void sim_print_sockets(void)
{
    static const char *const names[] = {"fresh", "listens", "connects", "connected", "failed"};
    for (int fd = 2048, left = SOCKETS_SHOWN; fd < 2048 + 4096 && left; fd++) {
        sim_file *file = sim_file_of(fd);
        if (!file || !sim_is_socket(file))
            continue;
        left--;
        const stream *s = (const stream *) file;
        printf("  socket %d of host %d: %s, error %d, lowat %d", fd, s->host, names[s->state],
               s->error, s->lowat);
        if (s->link) {
            const direction *out = &s->link->ways[s->side], *in = &s->link->ways[!s->side];
            printf(", peer %d%s%s, out %zu (%zu in flight), in %zu%s",
                   s->link->ends[!s->side] ? s->link->ends[!s->side]->file.fd : -1,
                   s->link->dead[s->side] ? ", dead" : "",
                   s->link->dead[!s->side] ? ", dead there" : "", out->out.size, out->in_flight,
                   in->in.size, in->ended ? ", ended" : "");
        }
        printf("\n");
    }
}

/* --- streams --------------------------------------------------------------------------------- */

static uint32_t stream_mask(sim_file *file)
{
    stream *s = (stream *) file;
    if (s->error)
        return POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP;
    switch (s->state) {
    case LISTENING:
        return s->line ? POLLIN : 0;
    case CONNECTING:
        return 0;
    case CONNECTED: {
        direction *in = &s->link->ways[!s->side], *out = &s->link->ways[s->side];
        uint32_t mask = 0;
        size_t enough = s->lowat > 1 ? (size_t) s->lowat : 1;
        if (in->ended || in->in.size >= enough || in->in.size >= (size_t) PLAN->rcvbuf)
            mask |= POLLIN;
        if (in->ended)
            mask |= POLLRDHUP;
        if (out->out.size * 3 <= (size_t) PLAN->sndbuf * 2)
            mask |= POLLOUT;
        return mask;
    }
    default:
        return POLLOUT | POLLHUP;
    }
}

static stream **chain_of(const struct sockaddr_storage *name);

static void drop_listener(stream *s)
{
    stream **at = s->family == AF_INET ? chain_of(&s->local) : NULL;
    while (at && *at && *at != s)
        at = &(*at)->chain_next;
    if (at && *at)
        *at = s->chain_next;
    for (int i = 0; i < path_count; i++)
        if (paths[i].listener == s)
            paths[i].listener = NULL;
    for (stream *child = s->line; child; child = child->line_next) {
        child->link->ends[child->side] = NULL;
        child->link->dead[child->side] = true;
        send_reset(child->link, !child->side);
    }
    s->line = NULL;
}

static void stream_closed(sim_file *file)
{
    stream *s = (stream *) file;
    sim_leave_sets(file);
    sim_changed(file); /* requests of rings that are left let go of it */
    s->closed = true;
    sim_step_said("closed %d", file->fd);
    if (s->state == LISTENING)
        drop_listener(s);
    else if (s->state == CONNECTING)
        become(s, FAILED);
    link *l = s->link;
    if (!l)
        return;
    l->ends[s->side] = NULL;
    direction *in = &l->ways[!s->side];
    if (in->in.size && !l->dead[s->side]) {
        l->dead[s->side] = true; /* not all was read: the peer is told so */
        send_reset(l, !s->side);
    } else if (!l->dead[s->side]) {
        l->ways[s->side].ends = true;
        transmit(l, s->side);
    }
    forget(&in->in);
}

static const sim_kind stream_kind = {"socket", stream_mask, stream_closed};

bool sim_is_socket(const sim_file *file)
{
    return file->kind == &stream_kind;
}

static stream *stream_at(sim_file *file)
{
    return file && sim_is_socket(file) ? (stream *) file : NULL;
}

static stream *stream_of(int fd)
{
    return stream_at(sim_file_of(fd));
}

static stream *new_stream(int family, int host)
{
    stream *s = calloc(1, sizeof *s);
    s->family = family;
    s->host = host;
    s->file.waiters.next = s->file.waiters.prev = &s->file.waiters;
    s->local.ss_family = s->remote.ss_family = (sa_family_t) family;
    s->local_size = s->remote_size = family == AF_INET ? sizeof(struct sockaddr_in)
                                                       : sizeof(sa_family_t);
    return s;
}

int __wrap_socket(int family, int type, int protocol)
{
    (void) protocol;
    sim_syscall();
    if (family == AF_INET6)
        return sim_answer(-EAFNOSUPPORT);
    stream *s = new_stream(family, sim_current->host);
    s->file.flags = type & SOCK_NONBLOCK ? O_NONBLOCK : 0;
    return sim_answer(sim_fd_new(&s->file, &stream_kind));
}

uint32_t sim_host_address(int host)
{
    return 0x0a000000u + (uint32_t) host;
}

static bool same_name(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *x = (const void *) a, *y = (const void *) b;
    return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
}

/* 0.0.0.0 and 127.0.0.1 are those of a host. */
static void make_whole(struct sockaddr_in *in, int host)
{
    uint32_t address = ntohl(in->sin_addr.s_addr);
    if (address == INADDR_ANY || address >> 24 == 127)
        in->sin_addr.s_addr = htonl(sim_host_address(host));
}

static stream **chain_of(const struct sockaddr_storage *name)
{
    const struct sockaddr_in *in = (const void *) name;
    return &listeners[(in->sin_port * 31u + in->sin_addr.s_addr * 2654435761u) % CHAINS];
}

static stream *listener_at(const struct sockaddr_storage *name)
{
    stream *s = *chain_of(name);
    while (s && !same_name(&s->local, name))
        s = s->chain_next;
    return s;
}

static void enter_listener(stream *s)
{
    stream **chain = chain_of(&s->local);
    s->chain_next = *chain;
    *chain = s;
}

static int path_at(const struct sockaddr_un *name, socklen_t size)
{
    size_t length = size - offsetof(struct sockaddr_un, sun_path);
    for (int i = 0; i < path_count; i++)
        if (paths[i].size == length && !memcmp(paths[i].path, name->sun_path, length))
            return i;
    return -1;
}

static int bind_path(stream *s, const struct sockaddr *address, socklen_t size)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(&name, address, size < sizeof name ? size : sizeof name);
    if (size == sizeof(sa_family_t)) { /* a name of the kernel's choice */
        snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "%05x", next_path++);
        size = offsetof(struct sockaddr_un, sun_path) + 6;
    } else if (name.sun_path[0]) {
        size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(name.sun_path) + 1);
    }
    if (path_at(&name, size) >= 0)
        return -EADDRINUSE;
    int i = 0;
    while (i < path_count && paths[i].size)
        i++;
    if (i == path_count)
        path_count++;
    paths[i].size = size - offsetof(struct sockaddr_un, sun_path);
    memcpy(paths[i].path, name.sun_path, paths[i].size);
    paths[i].listener = s;
    memcpy(&s->local, &name, sizeof name);
    s->local_size = size;
    return 0;
}

static in_port_t fresh_port(void)
{
    if (next_port > UINT16_MAX)
        next_port = PORT_FIRST;
    return htons((uint16_t) next_port++);
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    sim_syscall();
    stream *s = stream_of(fd);
    if (!s)
        return sim_answer(-EBADF);
    if (s->family == AF_UNIX)
        return sim_answer(bind_path(s, address, size));
    struct sockaddr_in *in = (struct sockaddr_in *) &s->local;
    memcpy(in, address, sizeof *in);
    make_whole(in, s->host);
    if (in->sin_port == 0)
        in->sin_port = fresh_port();
    else if (listener_at(&s->local))
        return sim_answer(-EADDRINUSE);
    return 0;
}

int __wrap_listen(int fd, int backlog)
{
    sim_syscall();
    stream *s = stream_of(fd);
    s->state = LISTENING;
    s->line_max = backlog > 0 ? backlog : 1;
    if (s->family == AF_INET)
        enter_listener(s);
    sim_say("listen %d", fd);
    return 0;
}

static link *join(stream *client, stream *listener)
{
    link *l = calloc(1, sizeof *l);
    stream *child = new_stream(client->family, listener->host);
    l->local = client->family == AF_UNIX || client->host == listener->host;
    l->ends[0] = client;
    l->ends[1] = child;
    child->state = CONNECTED;
    child->link = l;
    child->side = 1;
    child->local = listener->local;
    child->local_size = listener->local_size;
    child->remote = client->local;
    child->remote_size = client->local_size;
    if (listener->line)
        listener->line_last->line_next = child;
    else
        listener->line = child;
    listener->line_last = child;
    listener->line_count++;
    sim_changed(&listener->file);
    return l;
}

static void connected(void *argument)
{
    stream *s = argument;
    if (s->closed || s->error)
        return;
    become(s, CONNECTED);
    sim_step_said("connected %d", s->file.fd);
    sim_changed(&s->file);
}

static void refused(void *argument)
{
    stream *s = argument;
    if (s->closed)
        return;
    TALLY->refused++;
    become(s, FAILED);
    s->error = s->tries > SYN_TRIES ? ETIMEDOUT : ECONNREFUSED;
    sim_changed(&s->file);
}

static void knock(void *argument)
{
    stream *s = argument;
    if (s->closed)
        return;
    stream *listener = listener_at(&s->remote);
    bool local = listener && listener->host == s->host;
    if (!listener || (!local && sim_chance(PLAN->refuse))) {
        sim_at(sim_clock + latency(NULL), refused, s);
        return;
    }
    if (listener->line_count >= listener->line_max || (!local && sim_chance(PLAN->drop))) {
        if (++s->tries > SYN_TRIES)
            sim_at(sim_clock, refused, s);
        else
            sim_at(sim_clock + (SIM_S << (s->tries - 1)), knock, s);
        return;
    }
    s->link = join(s, listener);
    s->side = 0;
    sim_at(sim_clock + latency(s->link), connected, s);
}

static int connect_path(stream *s, const struct sockaddr *address, socklen_t size)
{
    const struct sockaddr_un *name = (const void *) address;
    if (size > sizeof(sa_family_t) && name->sun_path[0])
        size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(name->sun_path) + 1);
    int i = path_at(name, size);
    if (i < 0)
        return -ENOENT;
    stream *listener = paths[i].listener;
    if (!listener || listener->state != LISTENING)
        return -ECONNREFUSED;
    if (listener->line_count > listener->line_max)
        return -EAGAIN;
    s->link = join(s, listener);
    s->side = 0;
    become(s, CONNECTED);
    sim_changed(&s->file);
    return 0;
}

int sim_socket_connect(sim_file *file, const struct sockaddr *address, socklen_t size)
{
    stream *s = stream_at(file);
    if (!s)
        return -EBADF;
    if (s->error) {
        int error = s->error;
        if (s->state == FAILED)
            s->error = 0;
        become(s, FAILED);
        return -error;
    }
    switch (s->state) {
    case CONNECTING:
        return -EALREADY;
    case CONNECTED:
        if (s->told)
            return -EISCONN;
        s->told = true;
        return sim_below(2) ? 0 : -EISCONN;
    case FAILED:
        return -ECONNABORTED;
    default:
        break;
    }
    TALLY->connects++;
    if (s->family == AF_UNIX)
        return connect_path(s, address, size);
    struct sockaddr_in *local = (struct sockaddr_in *) &s->local;
    make_whole(local, s->host);
    if (!local->sin_port)
        local->sin_port = fresh_port();
    memcpy(&s->remote, address, size);
    s->remote_size = size;
    make_whole((struct sockaddr_in *) &s->remote, s->host);
    become(s, CONNECTING);
    sim_at(sim_clock + latency(NULL), knock, s);
    return -EINPROGRESS;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    sim_syscall();
    int rc = sim_socket_connect(sim_file_of(fd), address, size);
    sim_run_task_work();
    return sim_answer(rc);
}

int sim_socket_accept(sim_file *file, int flags)
{
    stream *s = stream_at(file);
    if (!s)
        return -EBADF;
    if (s->state != LISTENING)
        return -EINVAL;
    stream *child = s->line;
    if (!child)
        return -EAGAIN;
    if (child->link->dead[child->side] && sim_below(2)) {
        s->line = child->line_next;
        s->line_count--;
        return -ECONNABORTED;
    }
    int accepted = sim_fd_new(&child->file, &stream_kind);
    if (accepted < 0)
        return accepted;
    s->line = child->line_next;
    s->line_count--;
    child->file.flags = flags;
    sim_say("accept %d from %d", accepted, file->fd);
    return accepted;
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    (void) address;
    (void) size;
    sim_syscall();
    int rc = sim_chance(PLAN->stray) ? (sim_below(2) ? -EAGAIN : -EINTR)
                                     : sim_socket_accept(sim_file_of(fd), flags);
    if (rc == -EAGAIN && stream_of(fd) && stream_of(fd)->line)
        sim_changed(&stream_of(fd)->file); /* a stray one: the kernel's edge comes again */
    sim_run_task_work();
    return sim_answer(rc);
}

/* --- bytes through a socket ------------------------------------------------------------------ */

int sim_socket_recv(sim_file *file, void *out, size_t size, bool *out_more)
{
    stream *s = stream_at(file);
    if (!s)
        return -EBADF;
    if (out_more)
        *out_more = false;
    if (s->state != CONNECTED)
        return s->error ? -s->error : s->state == CONNECTING ? -EAGAIN : -ENOTCONN;
    direction *in = &s->link->ways[!s->side];
    if (!in->in.size) {
        if (s->error)
            return -s->error;
        return in->ended ? 0 : -EAGAIN;
    }
    size_t n = in->in.size < size ? in->in.size : size;
    if (n > 1 && sim_chance(PLAN->shorts)) {
        TALLY->shorts++;
        n = 1 + sim_below((uint32_t) n);
    }
    sim_step_said("recv on %d: %zu bytes", file->fd, n);
    memcpy(out, in->in.data + in->in.head, n);
    take(&in->in, n);
    if (out_more)
        *out_more = in->in.size > 0;
    opening *o = malloc(sizeof *o);
    *o = (opening) {s->link, !s->side};
    sim_at(sim_clock + latency(s->link), window_opens, o);
    return (int) n;
}

void (*sim_on_send)(int fd, const void *data, size_t size);

int sim_socket_send(sim_file *file, const struct msghdr *message)
{
    stream *s = stream_at(file);
    if (!s)
        return -EBADF;
    if (s->error)
        return s->state == CONNECTED && s->error == ECONNRESET && sim_below(2) ? -EPIPE : -s->error;
    if (s->state != CONNECTED)
        return s->state == CONNECTING ? -EAGAIN : -ENOTCONN;
    direction *out = &s->link->ways[s->side];
    if (s->link->dead[s->side])
        return -EPIPE;
    size_t room = out->out.size < (size_t) PLAN->sndbuf ? (size_t) PLAN->sndbuf - out->out.size : 0;
    if (!room)
        return -EAGAIN;
    if (room > 1 && sim_chance(PLAN->shorts)) {
        TALLY->shorts++;
        room = 1 + sim_below((uint32_t) room);
    }
    size_t sent = 0;
    for (size_t i = 0; i < message->msg_iovlen && room; i++) {
        const struct iovec *part = &message->msg_iov[i];
        size_t n = part->iov_len < room ? part->iov_len : room;
        if (sim_on_send)
            sim_on_send(file->fd, part->iov_base, n);
        put(&out->out, part->iov_base, n);
        room -= n;
        sent += n;
    }
    sim_step_said("send on %d: %zu bytes", file->fd, sent);
    transmit(s->link, s->side);
    return (int) sent;
}

ssize_t __wrap_recv(int fd, void *out, size_t size, int flags)
{
    (void) flags;
    sim_syscall();
    bool more = false;
    int rc = sim_chance(PLAN->stray) ? -EINTR : sim_socket_recv(sim_file_of(fd), out, size, &more);
    /* Less than was asked for is all that there was, says epoll(7): the rest has come just now. */
    if (more && (size_t) rc < size)
        sim_changed(sim_file_of(fd));
    sim_run_task_work();
    return sim_answer(rc);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    (void) flags;
    sim_syscall();
    int rc = sim_chance(PLAN->stray) ? -EINTR : sim_socket_send(sim_file_of(fd), message);
    sim_run_task_work();
    return sim_answer(rc);
}

int __wrap_shutdown(int fd, int how)
{
    (void) how;
    stream *s = stream_of(fd);
    sim_syscall();
    if (s && s->link)
        break_link(s->link);
    return 0;
}

/* --- asking ---------------------------------------------------------------------------------- */

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
    stream *s = stream_of(fd);
    sim_syscall();
    if (!s)
        return sim_answer(-EBADF);
    if (level == SOL_SOCKET && option == SO_RCVLOWAT && size == sizeof(int)) {
        memcpy(&s->lowat, value, sizeof s->lowat);
        sim_changed(&s->file);
    }
    return 0;
}

int __wrap_getsockopt(int fd, int level, int option, void *out, socklen_t *size)
{
    stream *s = stream_of(fd);
    sim_syscall();
    if (!s)
        return sim_answer(-EBADF);
    if (level == SOL_SOCKET && option == SO_PEERCRED) {
        struct ucred who = {.pid = 1000 + s->host, .uid = 1000, .gid = 1000};
        memcpy(out, &who, *size < sizeof who ? *size : sizeof who);
        return 0;
    }
    if (level == IPPROTO_TCP && option == TCP_CONGESTION) {
        snprintf(out, *size, "cubic");
        return 0;
    }
    int value = 0;
    if (level == SOL_SOCKET && option == SO_ERROR)
        value = s->error;
    else if (level == SOL_SOCKET && option == SO_ACCEPTCONN)
        value = s->state == LISTENING;
    else if (level == SOL_SOCKET && option == SO_DOMAIN)
        value = s->family;
    memcpy(out, &value, *size < sizeof value ? *size : sizeof value);
    return 0;
}

static int tell_name(const struct sockaddr_storage *name, socklen_t size, void *out,
                     socklen_t *out_size)
{
    memcpy(out, name, size < *out_size ? size : *out_size);
    *out_size = size;
    return 0;
}

int __wrap_getsockname(int fd, struct sockaddr *out, socklen_t *size)
{
    stream *s = stream_of(fd);
    sim_syscall();
    return s ? tell_name(&s->local, s->local_size, out, size) : sim_answer(-EBADF);
}

int __wrap_getpeername(int fd, struct sockaddr *out, socklen_t *size)
{
    stream *s = stream_of(fd);
    sim_syscall();
    if (!s || s->state != CONNECTED || s->error)
        return sim_answer(s ? -ENOTCONN : -EBADF);
    return tell_name(&s->remote, s->remote_size, out, size);
}

int __wrap_fcntl(int fd, int what, ...)
{
    sim_file *file = sim_file_of(fd);
    sim_syscall();
    if (!file)
        return sim_answer(-EBADF);
    if (what == F_GETFL)
        return file->flags;
    return 0;
}

int __wrap_ioctl(int fd, unsigned long what, ...)
{
    va_list more;
    va_start(more, what);
    int *out = va_arg(more, int *);
    va_end(more);
    stream *s = stream_of(fd);
    sim_syscall();
    if (!s || s->state != CONNECTED)
        return sim_answer(-EINVAL);
    *out = (int) (what == SIOCOUTQ ? s->link->ways[s->side].out.size
                                   : s->link->ways[!s->side].in.size);
    return 0;
}

/* --- files of unix sockets ------------------------------------------------------------------- */

int __wrap_unlink(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    sim_syscall();
    int i = path_at(&name, (socklen_t) (offsetof(struct sockaddr_un, sun_path) +
                                        strlen(name.sun_path) + 1));
    if (i < 0)
        return sim_answer(-ENOENT);
    paths[i].size = 0;
    paths[i].listener = NULL;
    return 0;
}

char *__wrap_mkdtemp(char *template)
{
    sim_syscall();
    snprintf(template + strlen(template) - 6, 7, "%06u", next_path++ % 1000000);
    return template;
}

int __wrap_rmdir(const char *path)
{
    (void) path;
    sim_syscall();
    return 0;
}

int __wrap_stat(const char *path, struct stat *out)
{
    (void) path;
    (void) out;
    sim_syscall();
    return sim_answer(-ENOENT);
}
