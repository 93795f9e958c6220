/* Programs with a loop of their own: they ask for EVENTS, and as long as there are none they wait
 * at ZMQ_FD, which tells only of what is new. The descriptor is made when it is asked for first: as
 * soon as the socket is, or after so many waits of another kind, behind an EVENTS that said no. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "workload.h"

enum { WAITS_BEFORE = 12 };

void loop_draw(end *e)
{
    bool loops = sim_less(sim_below(3) == 0, 0, "loops%d", e->id);
    e->waits = loops ? AT_FD + sim_below(3) : IN_CALLS;
    e->early = sim_below(3) == 0;
    e->waits_before = sim_below(2) ? 0 : sim_below(WAITS_BEFORE);
    e->set = 0;
    if (loops)
        sim_say("socket %d: waits at FD in way %d, %s, after %u other waits", e->id, e->waits,
                e->early ? "made early" : "made late", e->waits_before);
}

/* Where the program waits for the socket: its descriptor, or a set that has it. -errno: there is
 * none. */
static int descriptor(end *e)
{
    int fd;
    size_t size = sizeof fd;
    int rc = zm_socket_get(e->handle, OPT_FD, &fd, &size);
    if (rc < 0 || e->waits == IN_CALLS || e->waits == AT_FD)
        return rc < 0 ? rc : fd;
    if (!e->set) {
        int set = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event event = {.events = EPOLLIN | (e->waits == BY_EDGES ? EPOLLET : 0)};
        if (set < 0)
            return -errno;
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
        e->set = set;
    }
    return e->set;
}

void loop_open(end *e)
{
    if (e->waits != IN_CALLS && e->early)
        descriptor(e);
}

void loop_close(end *e)
{
    if (e->set)
        close(e->set);
    e->set = 0;
}

bool loop_waits(end *e)
{
    if (e->waits == IN_CALLS || e->looper != sim_current)
        return false;
    if (!e->waits_before)
        return true;
    e->waits_before--;
    return false;
}

/* What another part of the program does meanwhile, which asks for no EVENTS behind it. */
static void in_passing(end *e)
{
    if (e->waits == IN_CALLS || sim_below(4))
        return;
    sim_sleep((int64_t) sim_below(20) * SIM_MS);
    if (e->type == T_SUB && !e->of->conflates && sim_below(4))
        ask_for(e, sim_below(TOPICS), !e->fickle || sim_below(2));
    else
        set_option(e, OPT_RCVTIMEO, e->rcvtimeo);
}

int loop_wait(end *e, short events, int64_t until)
{
    app_begin(events == ZM_POLLIN ? "recv at FD" : "send at FD", e);
    int rc, found;
    for (;;) {
        size_t size = sizeof found;
        rc = zm_socket_get(e->handle, OPT_EVENTS, &found, &size);
        if (rc < 0 || found & events)
            break;
        int64_t left = until - sim_clock;
        rc = left > 0 ? descriptor(e) : -EAGAIN;
        if (rc < 0)
            break;
        in_passing(e);
        if (rc == e->set) {
            struct epoll_event event;
            bool for_ever = until == SIM_NEVER;
            epoll_wait(rc, &event, 1, for_ever ? -1 : (int) ((left + SIM_MS - 1) / SIM_MS));
        } else {
            struct timespec limit = {left / SIM_S, left % SIM_S};
            struct pollfd item = {.fd = rc, .events = POLLIN};
            ppoll(&item, 1, until == SIM_NEVER ? NULL : &limit, NULL);
        }
        sim_yield(); /* who was woken with it has a processor of its own */
    }
    app_end();
    return rc < 0 ? rc : 0;
}

int64_t loop_until(int ms)
{
    return ms < 0 ? SIM_NEVER : sim_clock + ms * SIM_MS;
}

int loop_recv(end *e, arrival *a)
{
    int64_t until = loop_until(e->rcvtimeo);
    int rc;
    do {
        rc = sim_below(2) ? app_recv(e, ZM_DONTWAIT, a) : -EAGAIN; /* some try before they look */
        if (rc == -EAGAIN && (rc = loop_wait(e, ZM_POLLIN, until)) == 0)
            rc = app_recv(e, ZM_DONTWAIT, a);
    } while (rc == -EAGAIN && sim_clock < until);
    return rc;
}

int loop_send(end *e, const arrival *to)
{
    int64_t until = loop_until(e->sndtimeo);
    uint32_t number;
    int rc;
    while ((rc = app_send(e, to, ZM_DONTWAIT, &number)) == -EAGAIN && sim_clock < until)
        if ((rc = loop_wait(e, ZM_POLLOUT, until)) < 0)
            break;
    return rc;
}
