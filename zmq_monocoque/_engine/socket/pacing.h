/* When a burst leaves, when a wait spins, and when the I/O thread comes back: functions of what was
 * seen of a socket, and of `now`. No clock is read here and nothing locked; the caller has the
 * socket's lock. docs/internals/flush_and_spin.md says why, and shows each decision as a table that
 * these functions have printed. */
#ifndef ZM_SOCKET_PACING_H
#define ZM_SOCKET_PACING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/clock.h"

enum {
    /* sends */
    ZM_PAUSE_NS = 100 * 1000, /* sends further apart than this are not a burst */
    ZM_PAUSE_PEER_NS = 1000, /* and this for every peer that the last one was encoded for */
    ZM_FLUSH_BYTES = 64 * 1024,
    ZM_FLUSH_MANY_BYTES = 128 * 1024, /* of each of several peers */
    ZM_PATIENCE_NS = 2000 * 1000, /* of a sender, for a peer that is full, until it has room */

    /* the I/O thread's look at a burst */
    ZM_LOOK_GAP_FIRST_NS = 50 * 1000,
    ZM_LOOK_GAP_LATE_NS = 200 * 1000, /* after it had to flush; and so many times what that took: */
    ZM_LOOK_GAP_SHARE = 4,
    ZM_LOOK_GAP_MAX_NS = 1000 * 1000,

    /* spins */
    ZM_SPIN_NS = 60 * 1000, /* a little more than one loopback round trip's work */
    ZM_SPIN_PAYS_NS = 150 * 1000, /* a wait that ended within this would have been worth a spin */
    ZM_LOOP_PAYS_NS = 250 * 1000, /* the same of a wait in an event loop: slower to wake */
    ZM_SPIN_CREDIT_MAX = 16,
    ZM_SPIN_COSTS = 4, /* credit, of a wait in vain */
    ZM_SPIN_DEBT = 8, /* waits in an event loop before a spin that failed is tried again */

    /* the I/O thread's look at a socket */
    ZM_QUIET_NS = 1000 * 1000, /* the least and the most time that it gives an */
    ZM_QUIET_MAX_NS = 100 * 1000 * 1000, /* application which is about */
    ZM_AWAY_NS = 1000 * 1000, /* before a socket that was left alone is looked at again */
    ZM_STEP_NS = 250 * 1000, /* for a thread that has begun a handshake, to go on with it */
    ZM_PARK_NS = 500 * 1000, /* a thread sleeps in the socket for this long: until told */

    /* polls */
    ZM_STALE_NS = 50 * 1000,
    ZM_STALE_ITEM_NS = 4 * 1000, /* and this for each item: looks are to take a tenth of the time */

    /* connections that are about to be */
    ZM_TURNS_NS = 1000 * 1000, /* for one, since something last came of it */
    ZM_TURNS_MAX_NS = 50 * 1000 * 1000, /* at once */
    ZM_TURNS_PAYING_COSTS = 2, /* how much time has to pass for each nanosecond of it */
    ZM_TURNS_IN_VAIN_COSTS = 20,
    ZM_HOLD_NS = 50 * 1000 * 1000 /* before the messages of later ones go without them */
};

/* --- sends ----------------------------------------------------------------------------------- */

typedef struct zm_burst {
    bool on; /* what is sent waits for company */
    bool sent_since_wait; /* since the application last waited or polled */
    int64_t flushed_ns; /* and, while nothing waits, when the last send was */
    int64_t look_gap; /* from there to the I/O thread's next look */
} zm_burst;

/* The application waits, or polls: all has left. */
static inline void zm_burst_end(zm_burst *burst)
{
    burst->on = burst->sent_since_wait = false;
}

/* A send with no burst on. True: it leaves at once. False: a burst begins with it, and the I/O
 * thread is to look `look_gap` from now. `peers`: for whom it was encoded; the time between two
 * sends includes the second one itself, which to a thousand takes longer than any pause. `behind`:
 * this is the first send since the application waited, and there is something to read. */
static inline bool zm_burst_send(zm_burst *burst, int64_t now, uint32_t peers, bool behind)
{
    int64_t pause = ZM_PAUSE_NS + (int64_t) peers * ZM_PAUSE_PEER_NS;
    burst->on = burst->sent_since_wait ? now - burst->flushed_ns <= pause : behind;
    burst->sent_since_wait = true;
    burst->flushed_ns = now;
    return !burst->on;
}

/* Bytes of one peer, of one or several that wait, with which a burst leaves. */
static inline size_t zm_burst_bytes(bool several)
{
    return several ? ZM_FLUSH_MANY_BYTES : ZM_FLUSH_BYTES;
}

/* The I/O thread looks; `waiting`: something is to be sent. When it leaves: `now`: at once, and
 * zm_burst_left() is told; a later time: look again then; ZM_FOREVER: the burst is over. */
int64_t zm_burst_look(zm_burst *burst, int64_t now, bool waiting);
/* The I/O thread has flushed, which took `took_ns`. When to look again. */
int64_t zm_burst_left(zm_burst *burst, int64_t took_ns);

/* --- spins ----------------------------------------------------------------------------------- */

/* Learned, because nobody can tell before whether a spin will pay. */
typedef struct zm_spin {
    int credit;
    bool loop_spun; /* the wait in an event loop began with a spin */
    int64_t loop_began; /* when it began; 0: there is none */
} zm_spin;

/* For how long the next wait spins. */
static inline int64_t zm_spin_time(const zm_spin *spin)
{
    return spin->credit > 0 ? ZM_SPIN_NS : 0;
}
/* A wait has ended. `woken`: by what it waited for. */
void zm_spin_learn(zm_spin *spin, bool woken, int64_t waited_ns);
/* The same of one in an event loop, which sleeps elsewhere. */
void zm_spin_loop_begins(zm_spin *spin, int64_t now, bool spins);
void zm_spin_loop_ends(zm_spin *spin, int64_t now);

/* --- the I/O thread and the application ------------------------------------------------------- */

typedef struct zm_presence {
    int64_t driven_ns; /* when an application thread drove last */
    int64_t quiet_ns; /* for how long after that the I/O thread leaves the socket alone */
    uint32_t reads, reads_seen; /* parts received; as the I/O thread saw it last */
} zm_presence;

/* An application thread drives. */
static inline void zm_presence_drives(zm_presence *presence, int64_t now)
{
    int64_t gap = now - presence->driven_ns;
    presence->driven_ns = now;
    /* An application that serves many sockets in turn comes back to each after some milliseconds,
     * and is not away in between. */
    if (gap < ZM_QUIET_MAX_NS / 2 && 2 * gap > presence->quiet_ns)
        presence->quiet_ns = 2 * gap;
    else if (presence->quiet_ns > ZM_QUIET_NS)
        presence->quiet_ns -= presence->quiet_ns / 64;
}
/* The I/O thread looks. Is the application about, and will it do all by itself? It drove or flushed
 * (`touched`) a moment ago, or works through what came with its last drive. */
bool zm_presence_lasts(zm_presence *presence, int64_t now, int64_t touched, bool handshakes);
/* If so: when the I/O thread looks again whether that is still true. */
int64_t zm_presence_look(const zm_presence *presence, int64_t now, int64_t touched,
                         bool handshakes);
/* The same of a socket that has just been opened. The looks at sockets that are opened one after
 * another fall together in one wake. */
int64_t zm_presence_first_look(int64_t now);
/* A thread waits in the socket. Has it waited for so long that the I/O thread leaves the socket to
 * it, and is told when it leaves? */
static inline bool zm_presence_parks(int64_t now, int64_t waiting_since)
{
    return now - waiting_since > ZM_PARK_NS;
}

/* --- polls ----------------------------------------------------------------------------------- */

/* Of the sockets beside ready ones, the one that may have news was looked at in the kernel at
 * `looked` last. Is it time, with so many items? */
static inline bool zm_is_stale(int64_t now, int64_t looked, int items)
{
    return now - looked > ZM_STALE_NS + (int64_t) items * ZM_STALE_ITEM_NS;
}

/* --- connections that are about to be --------------------------------------------------------- */

/* Time that may be spent on waiting for others: half of all time, a twentieth where in vain. */
typedef struct zm_allowance {
    int64_t owed_until;
} zm_allowance;

int64_t zm_allowance_left(const zm_allowance *allowance, int64_t now);
void zm_allowance_spend(zm_allowance *allowance, int64_t began, int64_t now, bool in_vain);

#endif
