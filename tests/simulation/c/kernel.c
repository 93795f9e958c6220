/* The kernel's own half: descriptors, eventfds, epoll, poll and futexes, with what Linux promises
 * of them and no more. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "sim.h"

/* Far from the descriptors that the program really has. */
enum { FIRST_FD = 2048, FDS_MAX = 1 << 17 };

static sim_file *files[FDS_MAX];
static int lowest_free, fds_open;

/* --- descriptors ----------------------------------------------------------------------------- */

int sim_fd_new(sim_file *file, const sim_kind *kind)
{
    if (sim_chance(PLAN->no_files)) {
        TALLY->strays++;
        return -EMFILE;
    }
    int i = lowest_free;
    while (files[i])
        i++;
    lowest_free = i + 1;
    files[i] = file;
    file->kind = kind;
    file->fd = i + FIRST_FD;
    file->host = sim_current ? sim_current->host : SIM_NO_HOST;
    file->waiters.next = file->waiters.prev = &file->waiters;
    fds_open++;
    return file->fd;
}

sim_file *sim_file_of(int fd)
{
    return fd >= FIRST_FD && fd < FIRST_FD + FDS_MAX ? files[fd - FIRST_FD] : NULL;
}

int sim_fd_count(void)
{
    return fds_open;
}

int sim_fd_close(int fd)
{
    sim_file *file = sim_file_of(fd);
    if (!file)
        return -EBADF;
    files[fd - FIRST_FD] = NULL;
    if (fd - FIRST_FD < lowest_free)
        lowest_free = fd - FIRST_FD;
    fds_open--;
    file->gone = true;
    if (!file->holds)
        file->kind->closed(file);
    return 0;
}

/* Rings first: what their requests hold is closed for good then. */
void sim_close_all(int host)
{
    for (int rings = 1; rings >= 0; rings--)
        for (int i = 0; i < FDS_MAX; i++)
            if (files[i] && files[i]->host == host) {
                if (rings)
                    sim_ring_dies(files[i]);
                else
                    sim_fd_close(i + FIRST_FD);
            }
}

void sim_let_go(sim_file *file)
{
    if (--file->holds == 0 && file->gone)
        file->kind->closed(file);
}

void sim_listen_to(sim_file *file, sim_waiter *waiter)
{
    waiter->next = &file->waiters;
    waiter->prev = file->waiters.prev;
    waiter->prev->next = waiter;
    file->waiters.prev = waiter;
}

void sim_listen_no_more(sim_waiter *waiter)
{
    if (!waiter->next)
        return;
    waiter->prev->next = waiter->next;
    waiter->next->prev = waiter->prev;
    waiter->next = waiter->prev = NULL;
}

void sim_changed(sim_file *file)
{
    for (sim_waiter *waiter = file->waiters.next, *next; waiter != &file->waiters; waiter = next) {
        next = waiter->next;
        waiter->changed(waiter, file);
    }
}

/* --- eventfds and pipes ---------------------------------------------------------------------- */

typedef struct counter {
    sim_file file;
    uint64_t count;
    uint64_t setting; /* of an alarm */
} counter;

static uint32_t counter_mask(sim_file *file)
{
    return (((counter *) file)->count ? POLLIN : 0) | POLLOUT;
}

static void counter_closed(sim_file *file)
{
    sim_leave_sets(file);
    free(file);
}

static const sim_kind counter_kind = {"eventfd", counter_mask, counter_closed};

int __wrap_eventfd(unsigned count, int flags)
{
    sim_syscall();
    counter *c = calloc(1, sizeof *c);
    c->count = count;
    c->file.flags = flags;
    int fd = sim_fd_new(&c->file, &counter_kind);
    if (fd >= 0 && count) /* always ready, and shared by all: it does not go with a host */
        c->file.host = SIM_NO_HOST;
    return sim_answer(fd);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    sim_syscall();
    counter *c = (counter *) sim_file_of(fd);
    if (!c)
        return sim_answer(-EBADF);
    uint64_t more;
    memcpy(&more, bytes, sizeof more);
    c->count += more;
    sim_changed(&c->file);
    sim_run_task_work();
    return (ssize_t) size;
}

ssize_t __wrap_read(int fd, void *out, size_t size)
{
    sim_syscall();
    counter *c = (counter *) sim_file_of(fd);
    if (!c)
        return sim_answer(-EBADF);
    sim_run_task_work();
    if (!c->count)
        return sim_answer(-EAGAIN);
    memcpy(out, &c->count, size);
    c->count = 0;
    sim_changed(&c->file);
    return (ssize_t) size;
}

/* --- alarms ---------------------------------------------------------------------------------- */

static const sim_kind alarm_kind = {"timerfd", counter_mask, counter_closed};

/* A time that an alarm is set to. What it is set to later makes this one void. */
typedef struct ring {
    int fd;
    uint64_t setting;
} ring;

static uint64_t settings; /* of all alarms */

static void rings(void *taken_argument)
{
    ring *r = taken_argument;
    sim_file *file = sim_file_of(r->fd);
    if (file && file->kind == &alarm_kind && ((counter *) file)->setting == r->setting) {
        ((counter *) file)->count = 1;
        sim_changed(file);
    }
    free(r);
}

int __wrap_timerfd_create(int clock, int flags)
{
    (void) clock;
    sim_syscall();
    counter *c = calloc(1, sizeof *c);
    c->file.flags = flags;
    return sim_answer(sim_fd_new(&c->file, &alarm_kind));
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *time,
                           struct itimerspec *before)
{
    (void) flags, (void) before;
    sim_syscall();
    counter *c = (counter *) sim_file_of(fd);
    if (!c)
        return sim_answer(-EBADF);
    int64_t when = time->it_value.tv_sec * SIM_S + time->it_value.tv_nsec;
    c->count = 0;
    c->setting = ++settings;
    if (when) {
        ring *r = malloc(sizeof *r);
        *r = (ring){fd, c->setting};
        sim_at(when > sim_clock ? when : sim_clock, rings, r);
    }
    sim_run_task_work();
    return 0;
}

int __wrap_close(int fd)
{
    sim_syscall();
    int rc = sim_answer(sim_fd_close(fd));
    sim_run_task_work();
    return rc;
}

/* --- epoll ----------------------------------------------------------------------------------- */

typedef struct item {
    sim_waiter waiter;
    struct item *next, *prev, *ready_next; /* of the set; of those that may be ready */
    struct set *set;
    sim_file *target;
    bool ready, off; /* off: one shot, and that is over */
    struct epoll_event event;
} item;

typedef struct set {
    sim_file file;
    item *items, *ready, *ready_last;
} set;

static uint32_t events_of(item *i)
{
    uint32_t mask = i->target->kind->mask(i->target);
    return mask & ((i->event.events & 0xffff) | EPOLLERR | EPOLLHUP);
}

static void append_ready(set *s, item *i)
{
    if (i->ready)
        return;
    i->ready = true;
    i->ready_next = NULL;
    if (s->ready)
        s->ready_last->ready_next = i;
    else
        s->ready = i;
    s->ready_last = i;
}

static void item_changed(sim_waiter *waiter, sim_file *target)
{
    item *i = waiter->owner;
    (void) target;
    if (i->off || !events_of(i))
        return;
    append_ready(i->set, i);
    sim_changed(&i->set->file);
}

/* Readable while something in the set is. What was, and is no more, is forgotten by this look. */
static uint32_t set_mask(sim_file *file)
{
    set *s = (set *) file;
    for (item *i = s->ready; i; i = s->ready) {
        if (!i->off && events_of(i))
            return POLLIN;
        i->ready = false;
        s->ready = i->ready_next;
    }
    return 0;
}

static void unlink_item(set *s, item *gone)
{
    if (gone->prev)
        gone->prev->next = gone->next;
    else
        s->items = gone->next;
    if (gone->next)
        gone->next->prev = gone->prev;
    item *kept = gone->ready ? s->ready : NULL;
    if (gone->ready)
        s->ready = s->ready_last = NULL;
    for (item *next; kept; kept = next) {
        next = kept->ready_next;
        kept->ready = false;
        if (kept != gone)
            append_ready(s, kept);
    }
    sim_listen_no_more(&gone->waiter);
    free(gone);
}

static void set_closed(sim_file *file)
{
    set *s = (set *) file;
    sim_leave_sets(file);
    while (s->items)
        unlink_item(s, s->items);
    free(s);
}

static const sim_kind set_kind = {"epoll", set_mask, set_closed};

/* Called by kinds when their last descriptor goes: the kernel takes them out of every set. */
void sim_leave_sets(sim_file *file)
{
    for (sim_waiter *waiter = file->waiters.next, *next; waiter != &file->waiters; waiter = next) {
        next = waiter->next;
        if (waiter->changed == item_changed) {
            item *i = waiter->owner;
            unlink_item(i->set, i);
        }
    }
}

int __wrap_epoll_create1(int flags)
{
    sim_syscall();
    set *s = calloc(1, sizeof *s);
    s->file.flags = flags;
    return sim_answer(sim_fd_new(&s->file, &set_kind));
}

/* By the file, which few sets watch. */
static item *item_of(const set *s, sim_file *target)
{
    for (sim_waiter *w = target->waiters.next; w != &target->waiters; w = w->next)
        if (w->changed == item_changed && ((item *) w->owner)->set == s)
            return w->owner;
    return NULL;
}

static int control(set *s, int what, int fd, const struct epoll_event *event)
{
    sim_file *target = sim_file_of(fd);
    if (!s || !target)
        return -EBADF;
    item *i = item_of(s, target);
    if (what == EPOLL_CTL_DEL) {
        if (!i)
            return -ENOENT;
        unlink_item(s, i);
        return 0;
    }
    if (what == EPOLL_CTL_ADD && i)
        return -EEXIST;
    if (what == EPOLL_CTL_MOD && !i)
        return -ENOENT;
    if (!i) {
        i = calloc(1, sizeof *i);
        *i = (item) {.set = s, .target = target, .next = s->items};
        if (i->next)
            i->next->prev = i;
        i->waiter = (sim_waiter) {.changed = item_changed, .owner = i};
        s->items = i;
        sim_listen_to(target, &i->waiter);
    }
    i->event = *event;
    i->off = false;
    if (!i->ready) /* else it is no edge to those who watch this set, whatever it is now */
        item_changed(&i->waiter, target);
    return 0;
}

int __wrap_epoll_ctl(int fd, int what, int target, struct epoll_event *event)
{
    sim_syscall();
    int rc = sim_answer(control((set *) sim_file_of(fd), what, target, event));
    sim_run_task_work();
    return rc;
}

static int take_ready(set *s, struct epoll_event *out, int count)
{
    int n = 0;
    item *list = s->ready;
    s->ready = s->ready_last = NULL;
    for (item *i = list, *next; i; i = next) {
        next = i->ready_next;
        i->ready = false;
        uint32_t events = i->off ? 0 : events_of(i);
        if (!events)
            continue;
        if (n == count) {
            append_ready(s, i);
            continue;
        }
        out[n].events = events;
        out[n++].data = i->event.data;
        if (i->event.events & EPOLLONESHOT)
            i->off = true;
        else if (!(i->event.events & EPOLLET))
            append_ready(s, i);
    }
    return n;
}

typedef struct sleeper {
    sim_waiter waiter;
    sim_thread *thread;
} sleeper;

static void wake_sleeper(sim_waiter *waiter, sim_file *file)
{
    (void) file;
    sim_wake(((sleeper *) waiter->owner)->thread);
}

static int wait_for_set(int fd, struct epoll_event *out, int count, int64_t until)
{
    set *s = (set *) sim_file_of(fd);
    if (!s)
        return -EBADF;
    sim_run_task_work();
    for (;;) {
        int n = take_ready(s, out, count);
        if (n || sim_clock >= until)
            return n;
        if (sim_chance(PLAN->stray)) {
            TALLY->strays++;
            return -EINTR;
        }
        sleeper sleeps = {.thread = sim_current};
        sleeps.waiter = (sim_waiter) {.changed = wake_sleeper, .owner = &sleeps};
        sim_listen_to(&s->file, &sleeps.waiter);
        sim_block(s, until);
        sim_listen_no_more(&sleeps.waiter);
        if (sim_has_task_work(sim_current)) {
            sim_run_task_work();
            if (sim_below(2))
                return -EINTR; /* the kernel's way to have it done */
        }
    }
}

int __wrap_epoll_wait(int fd, struct epoll_event *out, int count, int ms)
{
    sim_syscall();
    int64_t until = ms < 0 ? SIM_NEVER : sim_clock + ms * SIM_MS;
    return sim_answer(wait_for_set(fd, out, count, until));
}

int sim_epoll_pwait2(int fd, struct epoll_event *out, int count, const struct timespec *limit)
{
    return wait_for_set(fd, out, count, sim_until(limit));
}

/* --- poll ------------------------------------------------------------------------------------ */

int64_t sim_until(const struct timespec *limit)
{
    return limit ? sim_clock + limit->tv_sec * SIM_S + limit->tv_nsec : SIM_NEVER;
}

static int look(struct pollfd *fds, int count)
{
    int n = 0;
    for (int i = 0; i < count; i++) {
        sim_file *file = sim_file_of(fds[i].fd);
        uint32_t mask = fds[i].fd < 0 ? 0 : file ? file->kind->mask(file) : POLLNVAL;
        fds[i].revents = (short) (mask & ((uint32_t) fds[i].events | POLLERR | POLLHUP | POLLNVAL));
        n += fds[i].revents != 0;
    }
    return n;
}

static int wait_for_some(struct pollfd *fds, int count, int64_t until)
{
    sim_run_task_work();
    for (;;) {
        int n = look(fds, count);
        if (n || sim_clock >= until)
            return n;
        if (!sim_current->engines && sim_chance(PLAN->stray)) {
            TALLY->strays++;
            return -EINTR;
        }
        sleeper *sleeps = calloc((size_t) count + 1, sizeof *sleeps);
        for (int i = 0; i < count; i++) {
            sim_file *file = sim_file_of(fds[i].fd);
            sleeps[i].thread = sim_current;
            sleeps[i].waiter = (sim_waiter) {.changed = wake_sleeper, .owner = &sleeps[i]};
            if (file)
                sim_listen_to(file, &sleeps[i].waiter);
        }
        sim_block(fds, until);
        for (int i = 0; i < count; i++)
            sim_listen_no_more(&sleeps[i].waiter);
        free(sleeps);
        sim_run_task_work();
    }
}

int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *limit, const void *mask)
{
    (void) mask;
    sim_syscall();
    return sim_answer(wait_for_some(fds, (int) count, sim_until(limit)));
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int ms)
{
    sim_syscall();
    int64_t until = ms < 0 ? SIM_NEVER : sim_clock + ms * SIM_MS;
    return sim_answer(wait_for_some(fds, (int) count, until));
}

/* --- futexes --------------------------------------------------------------------------------- */

long sim_futex(uint32_t *word, int what, uint32_t value, const struct timespec *until_time)
{
    what &= FUTEX_CMD_MASK;
    if (what == FUTEX_WAKE) {
        TALLY->wakes++;
        int n = sim_wake_key(word, (int) value);
        sim_run_task_work();
        return n;
    }
    int64_t until = until_time ? until_time->tv_sec * SIM_S + until_time->tv_nsec : SIM_NEVER;
    if (until_time && until_time->tv_sec > INT32_MAX)
        until = SIM_NEVER;
    sim_run_task_work();
    for (;;) {
        if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != value)
            return -EAGAIN;
        if (sim_clock >= until)
            return -ETIMEDOUT;
        if (sim_chance(PLAN->stray)) {
            TALLY->strays++;
            return sim_current->engines || sim_below(2) ? 0 : -EINTR;
        }
        bool woken = sim_block(word, until);
        if (!woken)
            return -ETIMEDOUT;
        bool by_word = sim_current->by_key; /* or for its task work */
        sim_run_task_work();
        if (by_word)
            return 0;
    }
}
