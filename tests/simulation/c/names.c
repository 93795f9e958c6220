/* Addresses and paths, who listens there, and the files of unix sockets. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net.h"

enum { NAMES_MAX = 1 << 15, CHAINS = 1 << 12, PORT_FIRST = 32768 };

static stream *listeners[CHAINS]; /* tcp: by hash of address and port */
static struct {
    char path[sizeof(((struct sockaddr_un *) 0)->sun_path)];
    size_t size;
    stream *listener; /* NULL: it is gone, and its file is still there */
} paths[NAMES_MAX];
static int path_count;
static uint32_t next_port = PORT_FIRST, next_path;

/* --- hosts ----------------------------------------------------------------------------------- */

enum { HOSTS_THAT_MOVE = 16, NETWORK = 0x0a000000, MOVE = 1 << 16 };

static uint32_t moves[HOSTS_THAT_MOVE];
static int64_t moved_at[HOSTS_THAT_MOVE];

uint32_t sim_host_address(int host)
{
    uint32_t moved = host >= 0 && host < HOSTS_THAT_MOVE ? moves[host] : 0;
    return NETWORK + (uint32_t) host + moved * MOVE;
}

void sim_host_move(int host)
{
    moves[host]++;
    moved_at[host] = sim_clock;
    sim_say("host %d has another address", host);
}

uint32_t sim_host_address_told(int host)
{
    bool old = host >= 0 && host < HOSTS_THAT_MOVE && moves[host]
               && sim_clock < moved_at[host] + 2 * SIM_S && sim_below(3) == 0;
    return sim_host_address(host) - (old ? MOVE : 0);
}

/* --------------------------------------------------------------------------------------------- */

static bool same_name(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *x = (const void *) a, *y = (const void *) b;
    return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
}

void make_whole(struct sockaddr_in *in, int host)
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

stream *listener_at(const struct sockaddr_storage *name)
{
    stream *s = *chain_of(name);
    while (s && !same_name(&s->local, name))
        s = s->chain_next;
    return s;
}

void enter_listener(stream *s)
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

in_port_t fresh_port(void)
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

int path_listener(const struct sockaddr *address, socklen_t size, stream **out)
{
    const struct sockaddr_un *name = (const void *) address;
    if (size > sizeof(sa_family_t) && name->sun_path[0])
        size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(name->sun_path) + 1);
    int i = path_at(name, size);
    if (i < 0)
        return -ENOENT;
    *out = paths[i].listener;
    return *out && (*out)->state == LISTENING ? 0 : -ECONNREFUSED;
}

void leave_names(stream *s)
{
    stream **at = s->family == AF_INET ? chain_of(&s->local) : NULL;
    while (at && *at && *at != s)
        at = &(*at)->chain_next;
    if (at && *at)
        *at = s->chain_next;
    for (int i = 0; i < path_count; i++)
        if (paths[i].listener == s)
            paths[i].listener = NULL;
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
