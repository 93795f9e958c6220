/* What sockets are asked, and told. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "net.h"

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
