/* A reap that gives way to a thread which wants the lock leaves word that there is more: to a
 * socket that waits over inproc alone nobody else may ever come. */
#include "base/check.h"
#include "base/list.h"
#include "base/lock.h"
#include "model.h"
#include "no_driver.h"
#include "socket/socket.h"
#include "socket/wakeup.h"

enum { ENDED = 100 };

static zm_socket s;
static zm_ended ended[ENDED];
static int reaped;

/* --- what a wake-up calls, and is not called here -------------------------------------------- */

int zm_signaler_open(void)
{
    return -1;
}

void zm_signaler_set(int signaler)
{
    (void) signaler;
}

void zm_signaler_clear(int signaler)
{
    (void) signaler;
}

/* --- the test -------------------------------------------------------------------------------- */

static void reap(zm_ended *one)
{
    (void) one;
    reaped++;
}

int main(void)
{
    zm_list_init(&s.ended);
    for (int i = 0; i < ENDED; i++) {
        ended[i].reap = reap;
        zm_list_append(&s.ended, &ended[i].link);
    }
    atomic_store(&s.lock.word, 2); /* held by us, and somebody sleeps for it */
    zm_reap_ended_locked(&s);
    CHECK(reaped > 0 && reaped < ENDED);
    CHECK(atomic_load(&s.attention) == 1);
    atomic_store(&s.lock.word, 1);
    zm_commands_take_locked(&s);
    CHECK(reaped == ENDED);
    CHECK(atomic_load(&s.attention) == 0);
    return 0;
}
