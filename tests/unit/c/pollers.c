/* Threads that poll() one socket share its signaler: none clears it as long as it is for another,
 * and it does not stay set when it is for nobody. The threads are played one step at a time. The
 * same of the descriptor, which one thread quiets. */
#include "base/check.h"
#include "base/list.h"
#include "base/lock.h"
#include "model.h"
#include "no_driver.h"
#include "socket/socket.h"
#include "socket/wakeup.h"

enum { SIGNALER = 7 };

static zm_socket s;
static bool is_set;       /* the signaler */
static bool tell_meanwhile; /* as it is being cleared */

/* --- what a wake-up calls -------------------------------------------------------------------- */

int zm_signaler_open(void)
{
    return SIGNALER;
}

void zm_signaler_set(int signaler)
{
    CHECK(signaler == SIGNALER);
    is_set = true;
}

void zm_signaler_clear(int signaler)
{
    CHECK(signaler == SIGNALER);
    if (tell_meanwhile) {
        tell_meanwhile = false;
        zm_socket_wake(&s);
    }
    is_set = false;
}

/* --- the threads ----------------------------------------------------------------------------- */

static uint32_t enter(void)
{
    uint32_t since;
    CHECK(zm_socket_poller_enters_locked(&s, &since) == SIGNALER);
    return since;
}

static void leave(uint32_t since)
{
    zm_socket_poller_leaves_locked(&s, since, is_set);
}

static void one_alone(void)
{
    uint32_t a = enter();
    zm_socket_wake(&s);
    CHECK(is_set);
    leave(a);
    CHECK(!is_set && !atomic_load(&s.has_watchers));
    zm_socket_wake(&s);
    CHECK(!is_set); /* nobody is there */
}

static void who_does_not_sleep_yet_hears_it(void)
{
    uint32_t a = enter(), b = enter(), c = enter();
    zm_socket_wake(&s);
    leave(a);
    CHECK(is_set);
    /* It comes back before the others were there, and hears what was not for it. */
    for (int times = 0; times < 3; times++) {
        a = enter();
        leave(a);
        CHECK(is_set);
    }
    a = enter();
    leave(b);
    CHECK(is_set);
    b = enter();
    leave(c);
    CHECK(!is_set); /* a and b came after it */
    zm_socket_wake(&s);
    leave(b);
    CHECK(is_set);
    leave(a);
    CHECK(!is_set);
}

static void a_tell_while_it_is_cleared_stays(void)
{
    uint32_t a = enter();
    zm_socket_wake(&s);
    uint32_t b = enter();
    tell_meanwhile = true;
    leave(a);
    CHECK(!tell_meanwhile && is_set);
    leave(b);
    CHECK(!is_set);
}

/* Whoever read EVENTS last is told nothing of what it does itself; others sleep all the same. */
static void others_than_the_watcher_hear_it(void)
{
    uint32_t a = enter();
    s.watcher = zm_thread_id();
    zm_socket_notify_locked(&s);
    CHECK(is_set);
    leave(a);
    CHECK(!is_set);
}

static void nothing(zm_socket *socket, zm_command *command)
{
    CHECK(socket == &s && !atomic_load(&command->posted));
}

/* EVENTS was read, which quiets the descriptor, and took in but a part of the commands, because
 * others wanted the lock: whoever sleeps at the descriptor comes back for the rest. */
static void what_is_left_of_the_commands_is_told_of(void)
{
    static zm_command commands[2 * ZM_STEPS_MIN];
    for (int i = 0; i < 2 * ZM_STEPS_MIN; i++) {
        commands[i].run = nothing;
        CHECK(zm_socket_post(&s, &commands[i]));
    }
    atomic_store(&s.public_fd, 8);
    atomic_store(&s.has_watchers, true);
    atomic_store(&s.lock.word, 2);
    zm_commands_take_locked(&s);
    CHECK(s.commands_left && atomic_load(&s.attention));
    CHECK(atomic_load(&s.notified));
    zm_socket_fd_clear_locked(&s);
    atomic_store(&s.lock.word, 1);
    zm_commands_take_locked(&s);
    CHECK(!s.commands_left && !atomic_load(&s.attention) && !atomic_load(&s.notified));
    atomic_store(&s.lock.word, 0);
    atomic_store(&s.public_fd, -1);
    atomic_store(&s.has_watchers, false);
}

int main(void)
{
    zm_list_init(&s.ended);
    atomic_init(&s.signaler, -1);
    atomic_init(&s.public_fd, -1);
    one_alone();
    who_does_not_sleep_yet_hears_it();
    a_tell_while_it_is_cleared_stays();
    others_than_the_watcher_hear_it();
    what_is_left_of_the_commands_is_told_of();
    CHECK(!atomic_load(&s.pollers) && !s.fresh);
    return 0;
}
