/* Sockets: TCP's and unix ones, how they connect (and are refused, or answered late), and the bytes
 * that go through them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

enum { SYN_TRIES = 5, SOCKETS_SHOWN = 100 };

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

static void drop_listener(stream *s)
{
    leave_names(s);
    for (stream *child = s->line; child; child = child->line_next) {
        child->link->ends[child->side] = NULL;
        child->link->dead[child->side] = true;
        link_send_reset(child->link, !child->side);
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
        link_send_reset(l, !s->side);
    } else if (!l->dead[s->side]) {
        l->ways[s->side].ends = true;
        link_transmit(l, s->side);
    }
    bytes_forget(&in->in);
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

stream *stream_of(int fd)
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
        sim_at(sim_clock + link_latency(NULL), refused, s);
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
    sim_at(sim_clock + link_latency(s->link), connected, s);
}

static int connect_path(stream *s, const struct sockaddr *address, socklen_t size)
{
    stream *listener;
    int rc = path_listener(address, size, &listener);
    if (rc < 0)
        return rc;
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
    sim_at(sim_clock + link_latency(NULL), knock, s);
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

typedef struct opening {
    link *link;
    int from;
} opening;

static void window_opens(void *argument)
{
    opening *o = argument;
    link_transmit(o->link, o->from);
    free(o);
}

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
    bytes_take(&in->in, n);
    if (out_more)
        *out_more = in->in.size > 0;
    opening *o = malloc(sizeof *o);
    *o = (opening) {s->link, !s->side};
    sim_at(sim_clock + link_latency(s->link), window_opens, o);
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
        bytes_put(&out->out, part->iov_base, n);
        room -= n;
        sent += n;
    }
    sim_step_said("send on %d: %zu bytes", file->fd, sent);
    link_transmit(s->link, s->side);
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
        link_break(s->link);
    return 0;
}
