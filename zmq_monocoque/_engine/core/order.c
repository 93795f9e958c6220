/* The order of what a thread sends. Messages wait for company (drive.c), but what one thread sent
 * on one socket, and then on another, leaves in that order, whoever makes it leave: the thread
 * itself, the I/O thread, or another thread. Each thread has a list of its sockets with something
 * that waits, in the order in which that began; a socket is flushed after those before it.
 *
 * No two sockets are locked together, except by a try. Where that fails, somebody else has the
 * socket that must go first, and what was to follow it waits for the next look. */
#include "internal.h"

enum {
    TRIES = 200,     /* for a lock: some microseconds */
    YIELDS_MAX = 50, /* and then for one whose holder may have to get a processor first */
    RETURNS_MAX = 16, /* to earlier sockets in a row, before order gives way to batching */
    IN_A_ROW_NS = 200 * 1000,
    PAYING_COSTS = 2, /* how much time has to pass for each nanosecond of waiting */
    IN_VAIN_COSTS = 20,
    HOLD_NS = 20 * 1000 * 1000, /* for a connection to come about before later ones' messages */
    BEGUN_MAX = 32 /* connecting sockets that are looked at together */
};

static zm_lock free_lock;
static zm_order *free_orders; /* linked by next_free; their memory stays, as that of slots does */
static pthread_key_t thread_end;
static pthread_once_t key_made = PTHREAD_ONCE_INIT;
static _Thread_local zm_order *mine;

/* --- the lists ------------------------------------------------------------------------------- */

static void order_unref(zm_order *order)
{
    if (atomic_fetch_sub(&order->refs, 1) != 1)
        return;
    zm_lock_take(&free_lock);
    order->next_free = free_orders;
    free_orders = order;
    zm_lock_give(&free_lock);
}

/* What the thread has left behind is still sent in order. */
static void thread_ended(void *order)
{
    mine = NULL;
    if (order)
        order_unref(order);
}

static void make_key(void)
{
    pthread_key_create(&thread_end, thread_ended);
}

/* The calling thread's. NULL: memory is out. */
static zm_order *make_mine(void)
{
    pthread_once(&key_made, make_key);
    zm_lock_take(&free_lock);
    zm_order *order = free_orders;
    if (order)
        free_orders = order->next_free;
    zm_lock_give(&free_lock);
    if (!order)
        order = zm_alloc_permanent(sizeof *order);
    if (!order)
        return NULL;
    zm_list_init(&order->bursts);
    zm_list_init(&order->begun);
    order->turns = (zm_allowance){0};
    order->thread = zm_thread_mark();
    order->newest = NULL;
    order->returns = 0;
    order->returned_ns = 0;
    atomic_store(&order->refs, 1);
    pthread_setspecific(thread_end, order);
    return mine = order;
}

void zm_order_after_fork(void)
{
    atomic_store(&free_lock.word, 0);
    free_orders = NULL;
    if (mine)
        pthread_setspecific(thread_end, NULL);
    mine = NULL;
}

bool zm_order_has_others(const zm_socket *s)
{
    const zm_order *order = mine;
    return order && atomic_load(&order->count) > (s->order == order);
}

void zm_order_enter_locked(zm_socket *s)
{
    zm_order *order = mine ? mine : make_mine();
    if (!order || (s->order && s->order != order))
        return; /* then it is not kept */
    order->newest = s;
    if (s->order)
        return;
    s->order = order;
    atomic_fetch_add(&order->refs, 1);
    zm_lock_take(&order->lock);
    zm_list_append(&order->bursts, &s->in_order);
    atomic_fetch_add(&order->count, 1);
    zm_lock_give(&order->lock);
}

void zm_order_leave_locked(zm_socket *s)
{
    zm_order *order = s->order;
    if (!order)
        return;
    s->order = NULL;
    zm_lock_take(&order->lock);
    zm_list_remove(&s->in_order);
    atomic_fetch_sub(&order->count, 1);
    zm_lock_give(&order->lock);
    order_unref(order);
}

void zm_order_begin_locked(zm_socket *s)
{
    zm_order *order = mine ? mine : make_mine();
    if (!order || s->beginner)
        return;
    s->beginner = order;
    atomic_fetch_add(&order->refs, 1);
    zm_lock_take(&order->lock);
    s->begun_ns = zm_now_ns();
    zm_list_append(&order->begun, &s->in_begun);
    atomic_fetch_add(&order->begun_count, 1);
    zm_lock_give(&order->lock);
}

void zm_order_begun_locked(zm_socket *s)
{
    zm_order *order = s->beginner;
    if (!order)
        return;
    s->beginner = NULL;
    zm_lock_take(&order->lock);
    zm_socket *next = s->in_begun.next == &order->begun
                          ? NULL : ZM_CONTAINER(s->in_begun.next, zm_socket, in_begun);
    zm_list_remove(&s->in_begun);
    atomic_fetch_sub(&order->begun_count, 1);
    zm_lock_give(&order->lock);
    order_unref(order);
    if (next) {
        /* It may hold messages back. Its memory stays, and to look once too often does no harm. */
        zm_socket_wake(next);
        zm_io_thread_look(next, zm_now_ns());
    }
}

bool zm_order_holds_locked(zm_socket *s)
{
    zm_order *order = s->beginner;
    bool holds = false;
    if (ZM_LIKELY(!order))
        return false;
    int64_t since = zm_now_ns() - HOLD_NS;
    zm_lock_take(&order->lock);
    for (zm_list *node = order->begun.next; node != &s->in_begun && !holds; node = node->next)
        holds = ZM_CONTAINER(node, zm_socket, in_begun)->begun_ns > since;
    zm_lock_give(&order->lock);
    return holds;
}

bool zm_order_has_begun(const zm_socket *s)
{
    const zm_order *order = mine;
    return order && atomic_load(&order->begun_count) > (s && s->beginner == order);
}

/* The memory of a socket stays, so it may be gone from the list, or be another by now: whoever
 * locks it looks again. */
static zm_socket *first_of(zm_order *order)
{
    zm_lock_take(&order->lock);
    zm_list *node = zm_list_empty(&order->bursts) ? NULL : order->bursts.next;
    zm_lock_give(&order->lock);
    return node ? ZM_CONTAINER(node, zm_socket, in_order) : NULL;
}

/* --- flushing -------------------------------------------------------------------------------- */

static bool try_for_a_while(zm_lock *lock, int yields)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (zm_lock_try(lock))
            return true;
        zm_cpu_relax();
    }
    while (yields--) {
        zm_spin_yield();
        if (zm_lock_try(lock))
            return true;
    }
    return false;
}

/* `over`: the thread stops sending there for now. */
static void flush_one(zm_socket *s, zm_order *order, bool over)
{
    if (s->order != order)
        return;
    if (over)
        s->burst = s->sent_since_wait = false;
    zm_socket_flush_locked(s);
    zm_order_leave_locked(s); /* also with what the kernel does not take now */
}

/* Those before `end` (NULL: all), while `held` is locked. False: somebody else has one of them. */
static bool flush_trying(zm_order *order, zm_socket *held, const zm_socket *end, bool over)
{
    zm_socket *first;
    int yields = order == mine ? YIELDS_MAX : 0; /* the I/O thread has others to look after */
    while ((first = first_of(order)) && first != end) {
        if (first != held && !try_for_a_while(&first->lock, yields))
            return false;
        flush_one(first, order, over);
        if (first != held)
            zm_lock_give(&first->lock);
    }
    return true;
}

bool zm_order_reached_locked(zm_socket *s)
{
    return !s->order || flush_trying(s->order, s, s, false);
}

void zm_order_flush_locked(zm_order *order, zm_socket *held)
{
    flush_trying(order, held, NULL, false);
}

/* The thread comes back to a socket, having sent on another meanwhile. What it sends now is not to
 * leave with what waits there, before the other's. But whoever goes to and fro between two sockets
 * all the time would send each message by itself. */
static bool may_return(zm_order *order)
{
    int64_t now = zm_now_ns();
    if (now - order->returned_ns > IN_A_ROW_NS)
        order->returns = 0;
    order->returned_ns = now;
    return order->returns++ < RETURNS_MAX;
}

static ZM_APART void turn(zm_socket *s, zm_order *order)
{
    if (ZM_UNLIKELY(s->order && s->order != order))
        zm_socket_flush_locked(s); /* what another thread sent there goes first */
    if (!order || !atomic_load(&order->count))
        return;
    if (s->links || (s->order == order && order->newest != s && may_return(order)))
        flush_trying(order, s, NULL, false);
}

void zm_order_turn_locked(zm_socket *s)
{
    zm_order *order = mine;
    if (s->order || (order && atomic_load(&order->count)))
        turn(s, order);
}

void zm_order_look_locked(zm_socket *s)
{
    zm_order *order = mine;
    if (order && atomic_load(&order->count))
        flush_trying(order, s, NULL, true);
}

static bool settle(zm_order *order, bool over, bool brief)
{
    zm_socket *first;
    while ((first = first_of(order))) {
        if (!brief)
            zm_lock_take(&first->lock);
        else if (!zm_lock_try(&first->lock))
            return false;
        flush_one(first, order, over);
        zm_lock_give(&first->lock);
    }
    return true;
}

bool zm_order_settle(bool over, bool brief)
{
    zm_order *order = mine;
    return !order || !atomic_load(&order->count) || settle(order, over, brief);
}

/* --- connections ----------------------------------------------------------------------------- */

int64_t zm_allowance_left(const zm_allowance *allowance, int64_t now)
{
    int64_t owed = allowance->owed_until - now;
    return owed > 0 ? ZM_TURNS_NS - owed / IN_VAIN_COSTS : ZM_TURNS_NS;
}

void zm_allowance_spend(zm_allowance *allowance, int64_t began, int64_t now, bool in_vain)
{
    if (allowance->owed_until < began)
        allowance->owed_until = began;
    allowance->owed_until += (now - began) * (in_vain ? IN_VAIN_COSTS : PAYING_COSTS);
}

/* The sockets at the front of the list. How many. */
static int begun(zm_order *order, zm_socket *out[BEGUN_MAX])
{
    int count = 0;
    zm_lock_take(&order->lock);
    ZM_LIST_EACH (node, &order->begun)
        if (count < BEGUN_MAX)
            out[count++] = ZM_CONTAINER(node, zm_socket, in_begun);
    zm_lock_give(&order->lock);
    return count;
}

void zm_order_earlier_locked(zm_socket *s)
{
    zm_order *order = s->beginner;
    zm_socket *sockets[BEGUN_MAX];
    int count = begun(order, sockets);
    for (int i = 0; i < count && sockets[i] != s; i++) {
        zm_socket *earlier = sockets[i];
        if (!zm_lock_try(&earlier->lock))
            continue;
        if (earlier->beginner == order && !earlier->driven) {
            zm_drive_for_io_thread_locked(earlier);
            zm_io_thread_resume_locked(earlier);
        }
        zm_lock_give(&earlier->lock);
    }
}

/* The caller waits for what comes next. */
static void take(zm_socket *s, struct pollfd *fd)
{
    zm_drive_take_locked(s);
    zm_driver_submit(s->driver);
    s->waiting_since = zm_now_ns();
    zm_socket_driven_locked(s, s->waiting_since);
    *fd = (struct pollfd){.fd = zm_driver_fd(s->driver), .events = POLLIN};
}

/* One step of a socket's connections. True: they are not through, and `fd` tells of the next. */
static bool take_step(zm_socket *s, const zm_order *order, struct pollfd *fd)
{
    bool waits = false;
    zm_lock_take(&s->lock);
    if (s->beginner == order) {
        zm_drive_for_io_thread_locked(s);
        if (!s->driven && zm_now_ns() - s->begun_ns > HOLD_NS)
            zm_order_begun_locked(s);
        if (!s->beginner || s->driven) {
            zm_io_thread_resume_locked(s);
        } else {
            take(s, fd);
            waits = true;
        }
    }
    zm_socket_leave(s);
    return waits;
}

/* The same of the socket in which the caller is going to wait. */
static bool step_aside(zm_socket *s, const zm_order *order, struct pollfd *fd)
{
    zm_lock_take(&s->lock);
    bool waits = s->driver && !s->driven && s->beginner != order;
    if (waits) {
        zm_drive_for_io_thread_locked(s);
        take(s, fd);
    }
    zm_socket_leave(s);
    return waits;
}

static bool any_ready(zm_socket *const *taken, int count)
{
    for (int i = 0; i < count; i++)
        if (zm_driver_ready(taken[i]->driver))
            return true;
    return false;
}

static void end_step(zm_socket *s)
{
    zm_lock_take(&s->lock);
    zm_drive_leave_locked(s, true);
    zm_socket_leave(s);
}

static ZM_APART void finish_begun(zm_order *order, const zm_socket *except, zm_socket *waiter)
{
    zm_socket *sockets[BEGUN_MAX], *waiting[BEGUN_MAX + 1];
    struct pollfd fds[BEGUN_MAX + 1];
    int64_t now = zm_now_ns(), end = now + ZM_TURNS_MAX_NS, waited = 0;
    int64_t left = zm_allowance_left(&order->turns, now), until = now + left;
    while (now < until) {
        int count = begun(order, sockets), waits = 0;
        bool others = false;
        /* `except` has its turns, too, behind them: the I/O thread would not ask who was first. */
        for (int i = 0; i < count; i++)
            if (take_step(sockets[i], order, &fds[waits])) {
                others |= sockets[i] != except;
                waiting[waits++] = sockets[i];
            }
        /* Its own connections may arrive where the thread is going to wait. */
        if (waiter && step_aside(waiter, order, &fds[waits]))
            waiting[waits++] = waiter;
        int news = others;
        if (others && !any_ready(waiting, waits)) {
            int64_t began = zm_now_ns();
            news = zm_poll_until(fds, waits, until);
            waited += zm_now_ns() - began;
        }
        now = zm_now_ns();
        if (zm_spin_crowded())
            until = end; /* they have to get a processor first */
        else if (news > 0 && now + left < end)
            until = now + left;
        for (int i = 0; i < waits; i++)
            end_step(waiting[i]);
        if (!others)
            break;
    }
    zm_allowance_spend(&order->turns, now - waited, now, now >= until);
}

void zm_order_finish(zm_socket *s, bool over)
{
    zm_order *order = mine;
    if (!order)
        return;
    if (atomic_load(&order->count))
        settle(order, over, false);
    if (atomic_load(&order->begun_count))
        finish_begun(order, s, over ? s : NULL);
}
