/* Signals that interrupt a wait: the thread that heeds them, and where it sleeps. What a thread
 * sleeps in is its own; no lock is needed, and handlers take none. */
#ifndef ZM_CONTEXT_SIGNALS_H
#define ZM_CONTEXT_SIGNALS_H

#include "../driver/driver.h"
#include "../objects.h"

/* Where a thread is about to sleep: in a driver, on a word, or in poll() with the signaler. */
typedef struct zm_sleep {
    zm_driver *driver;
    _Atomic uint32_t *word; /* counted up for a signal */
    bool signaler;
} zm_sleep;

/* A wait of a thread that heeds signals (see api.h) goes back to its caller (-EINTR) when one came,
 * however short before: the caller runs handlers, and calls again. A thread that is not told of
 * signals ends its wait at this time, to look for them; ZM_FOREVER: it need not. */
int64_t zm_signals_look(void);
/* True: sleep, and call zm_signals_awake() after it. False: a signal came. */
bool zm_signals_sleep(zm_sleep where);
void zm_signals_awake(void);
/* To be polled for input by a thread that sleeps with the signaler; -1: it hears of no signals. */
int zm_signals_signaler(void);
/* For a call that never sleeps: is it time to go back to the caller? */
bool zm_signals_due(void);
int zm_signals_pipe(void);
bool zm_signals_are_mine(void);
int64_t zm_signals_heed(int64_t look_ns);
void zm_signals_after_fork(void);

#endif
