/* Signals, and the sleeps of the thread that runs their handlers.
 *
 * A signal that comes while a system call sleeps ends it. One that came a moment before does not,
 * nor does one that the kernel gave to another thread. Python's handlers are then due, and nobody
 * knows. So while Python's main thread is in a call that may sleep long, Python's C handler writes
 * to a pipe (signal.set_wakeup_fd), which a thread of ours reads. It raises `raised` and wakes the
 * sleeper in the way that news for its socket would. The sleeper says first where it will sleep,
 * and looks at `raised` after that, so that one of the two sees the other. */
#include "signals.h"

#include <pthread.h>
#include <signal.h>

#include "../base/clock.h"
#include "../base/fds.h"
#include "../base/lock.h"
#include "../driver/driver.h"
#include "../driver/waitset.h"
#include "../engine.h"

/* Of Python's main thread; 0: not known, nobody heeds signals. */
static _Atomic uint32_t handlers_thread;
static _Atomic bool raised;
static ZM_THREAD_LOCAL int64_t heed; /* as zm_api has it */

static struct {
    zm_lock lock;
    int writes; /* the pipe's end; 0: not made */
    int signaler;          /* for who sleeps in poll() */
    bool notified;
    zm_sleep where; /* of the sleeper; all 0: it does not sleep */
} signals;

void zm_signals_thread(int thread)
{
    atomic_store(&handlers_thread, (uint32_t) thread);
}

bool zm_signals_are_mine(void)
{
    return atomic_load_explicit(&handlers_thread, memory_order_relaxed) == zm_thread_id();
}

static void wake_sleeper(void)
{
    atomic_store(&raised, true);
    zm_lock_take(&signals.lock);
    if (signals.where.driver)
        zm_driver_wake(signals.where.driver);
    if (signals.where.word) {
        atomic_fetch_add(signals.where.word, 1);
        zm_futex_wake(signals.where.word, 1 << 20);
    }
    if (signals.where.signaler) {
        zm_signaler_set(signals.signaler);
        signals.notified = true;
    }
    zm_lock_give(&signals.lock);
}

static void *listen_for_signals(void *reads)
{
    while (zm_pipe_wait((int) (intptr_t) reads))
        wake_sleeper();
    return NULL; /* both ends stay open, so never */
}

/* The pipe, the signaler and the thread, which stay until the process ends. 0 or -errno. */
static int start_listening(void)
{
    int reads = -1, writes = -1, signaler = zm_signaler_open();
    if (signaler < 0)
        return signaler;
    int rc = zm_pipe_open(&reads, &writes);
    if (rc == 0) {
        sigset_t all, before;
        sigfillset(&all);
        pthread_attr_t detached;
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        pthread_t thread;
        pthread_sigmask(SIG_SETMASK, &all, &before);
        rc = -pthread_create(&thread, &detached, listen_for_signals, (void *) (intptr_t) reads);
        if (rc == 0)
            pthread_setname_np(thread, "zm-signals");
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&detached);
    }
    if (rc < 0) {
        zm_fd_close(signaler);
        zm_fd_close(reads);
        zm_fd_close(writes);
        return rc;
    }
    signals.signaler = signaler;
    signals.writes = writes;
    return 0;
}

int zm_signals_pipe(void)
{
    atomic_store(&raised, false);
    return signals.writes || start_listening() == 0 ? signals.writes : -1;
}

int64_t zm_signals_heed(int64_t look_ns)
{
    int64_t before = heed;
    heed = look_ns;
    return before;
}

int64_t zm_signals_look(void)
{
    return heed > 0 ? zm_now_ns() + heed : ZM_FOREVER;
}

bool zm_signals_due(void)
{
    return heed < 0 && atomic_load_explicit(&raised, memory_order_relaxed);
}

int zm_signals_signaler(void)
{
    return heed < 0 ? signals.signaler : -1;
}

bool zm_signals_sleep(zm_sleep where)
{
    if (heed >= 0)
        return true;
    zm_lock_take(&signals.lock);
    signals.where = where;
    zm_lock_give(&signals.lock);
    if (!atomic_load(&raised))
        return true;
    zm_signals_awake();
    return false;
}

void zm_signals_awake(void)
{
    if (heed >= 0)
        return;
    zm_lock_take(&signals.lock);
    signals.where = (zm_sleep){0};
    if (signals.notified)
        zm_signaler_clear(signals.signaler);
    signals.notified = false;
    zm_lock_give(&signals.lock);
}

void zm_signals_after_fork(void)
{
    atomic_store(&signals.lock.word, 0);
    signals.where = (zm_sleep){0};
    signals.notified = false;
    /* Closed by the table of descriptors; the thread is not here. */
    signals.writes = signals.signaler = 0;
    atomic_store(&raised, false);
    heed = 0;
    atomic_store(&handlers_thread, zm_thread_id());
}
