#include "pacing.h"

#include "../base/clock.h"

/* --- sends ----------------------------------------------------------------------------------- */

int64_t zm_burst_look(zm_burst *burst, int64_t now, bool waiting)
{
    if (!burst->on)
        return ZM_FOREVER;
    if (!waiting) {
        burst->on = false;
        burst->look_gap = ZM_LOOK_GAP_FIRST_NS;
        return ZM_FOREVER;
    }
    if (now - burst->flushed_ns >= burst->look_gap)
        return now;
    /* The application flushes by itself: it is in full swing, so look less often. */
    if (burst->look_gap < ZM_LOOK_GAP_MAX_NS)
        burst->look_gap *= 2;
    return burst->flushed_ns + burst->look_gap;
}

int64_t zm_burst_left(zm_burst *burst, int64_t took_ns)
{
    /* To many peers it takes long: most of the time is to be left to the application. */
    burst->look_gap = ZM_LOOK_GAP_LATE_NS;
    if (burst->look_gap < took_ns * ZM_LOOK_GAP_SHARE)
        burst->look_gap = took_ns * ZM_LOOK_GAP_SHARE;
    return burst->flushed_ns + burst->look_gap;
}

/* --- spins ----------------------------------------------------------------------------------- */

static void gain(zm_spin *spin)
{
    spin->credit += spin->credit < ZM_SPIN_CREDIT_MAX;
}

void zm_spin_learn(zm_spin *spin, bool woken, int64_t waited_ns)
{
    if (woken && waited_ns < ZM_SPIN_PAYS_NS)
        gain(spin);
    else if (spin->credit > 0)
        spin->credit -= spin->credit > ZM_SPIN_COSTS ? ZM_SPIN_COSTS : spin->credit;
}

void zm_spin_loop_begins(zm_spin *spin, int64_t now, bool spins)
{
    spin->loop_began = now;
    spin->loop_spun = spins;
}

void zm_spin_loop_ends(zm_spin *spin, int64_t now)
{
    int64_t waited_ns = now - spin->loop_began;
    spin->loop_began = 0;
    if (waited_ns < (spin->loop_spun ? ZM_SPIN_PAYS_NS : ZM_LOOP_PAYS_NS))
        gain(spin);
    else if (spin->credit > ZM_SPIN_COSTS)
        spin->credit -= ZM_SPIN_COSTS;
    else if (spin->loop_spun)
        spin->credit = -ZM_SPIN_DEBT;
}

/* --- the I/O thread and the application ------------------------------------------------------- */

bool zm_presence_lasts(zm_presence *presence, int64_t now, int64_t touched, bool handshakes)
{
    bool reading = presence->reads != presence->reads_seen;
    presence->reads_seen = presence->reads;
    if (handshakes)
        return now - touched < ZM_STEP_NS;
    return now - touched < (reading ? ZM_QUIET_MAX_NS : presence->quiet_ns);
}

/* `at` or a little later: the looks at many sockets that are used in turn, every few milliseconds,
 * fall together in one wake. */
static int64_t together(int64_t at, int64_t quiet_ns)
{
    int64_t grid = ZM_AWAY_NS;
    if (quiet_ns < 2 * grid)
        return at;
    while (4 * grid <= quiet_ns)
        grid *= 2;
    return (at + grid - 1) / grid * grid;
}

int64_t zm_presence_look(const zm_presence *presence, int64_t now, int64_t touched, bool handshakes)
{
    int64_t at = handshakes ? touched + ZM_STEP_NS
                            : together(touched + presence->quiet_ns, presence->quiet_ns);
    return at > now ? at : now + ZM_AWAY_NS;
}

int64_t zm_presence_first_look(int64_t now)
{
    return (now + ZM_STEP_NS + ZM_AWAY_NS - 1) / ZM_AWAY_NS * ZM_AWAY_NS;
}

/* --- connections that are about to be --------------------------------------------------------- */

int64_t zm_allowance_left(const zm_allowance *allowance, int64_t now)
{
    int64_t owed = allowance->owed_until - now;
    return owed > 0 ? ZM_TURNS_NS - owed / ZM_TURNS_IN_VAIN_COSTS : ZM_TURNS_NS;
}

void zm_allowance_spend(zm_allowance *allowance, int64_t began, int64_t now, bool in_vain)
{
    int costs = in_vain ? ZM_TURNS_IN_VAIN_COSTS : ZM_TURNS_PAYING_COSTS;
    if (allowance->owed_until < began)
        allowance->owed_until = began;
    allowance->owed_until += (now - began) * costs;
}
