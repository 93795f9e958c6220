/* Prints the decisions of socket/pacing.h as tables in Markdown: docs/internals/flush_and_spin.md
 * has them, and the test beside this compares. What does not fit a table is checked here. */
#include "model.h"
#include "socket/pacing.h"

#define US(ns) ((double) (ns) / 1000)

static const char *yes(bool that)
{
    return that ? "yes" : "no";
}

static void table_of_sends(void)
{
    static const struct {
        const char *since;
        bool again, behind;
        int64_t gap_us;
        uint32_t peers;
    } rows[] = {
        {"nothing", false, false, 0, 1},     {"nothing", false, true, 0, 1},
        {"a send", true, false, 10, 1},      {"a send", true, false, 101, 1},
        {"a send", true, false, 102, 1},     {"a send", true, false, 500, 1000},
        {"a send", true, false, 1101, 1000},
    };
    printf("| since the last wait | something to read | us since the last send | peers |"
           " at once |\n"
           "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        zm_burst burst = {.sent_since_wait = rows[i].again,
                          .flushed_ns = 7 * ZM_MS,
                          .look_gap = ZM_LOOK_GAP_FIRST_NS};
        int64_t now = burst.flushed_ns + rows[i].gap_us * ZM_US;
        bool at_once = zm_burst_send(&burst, now, rows[i].peers, rows[i].behind);
        CHECK(burst.on == !at_once && burst.sent_since_wait && burst.flushed_ns == now);
        if (rows[i].again)
            printf("| a send | any | %lld | %u | %s |\n", (long long) rows[i].gap_us, rows[i].peers,
                   yes(at_once));
        else
            printf("| nothing | %s | any | any | %s |\n", yes(rows[i].behind), yes(at_once));
        zm_burst_end(&burst);
        CHECK(!burst.on && !burst.sent_since_wait);
    }
}

static void table_of_looks(void)
{
    printf("| look | the application flushes | after us | what it does | next look after us |\n"
           "| --- | --- | --- | --- | --- |\n");
    zm_burst burst = {.look_gap = ZM_LOOK_GAP_FIRST_NS};
    CHECK(zm_burst_look(&burst, 5, true) == ZM_FOREVER); /* none is on */
    burst.on = true;
    int64_t now = burst.look_gap;
    for (int look = 1; look <= 6; look++) {
        burst.flushed_ns = now - 10 * ZM_US; /* a moment before the look */
        int64_t at = burst.look_gap, next = zm_burst_look(&burst, now, true);
        CHECK(next > now);
        printf("| %d | all the time | %.0f | nothing | %.0f |\n", look, US(at), US(burst.look_gap));
        now = next;
    }
    static const int64_t took_us[] = {20, 50, 500};
    for (int i = 0; i < 3; i++) {
        int64_t at = burst.look_gap;
        CHECK(zm_burst_look(&burst, burst.flushed_ns + at, true) == burst.flushed_ns + at);
        int64_t next = zm_burst_left(&burst, took_us[i] * ZM_US);
        CHECK(next == burst.flushed_ns + burst.look_gap);
        printf("| %d | no more | %.0f | flushes, in %lld us | %.0f |\n", 7 + i, US(at),
               (long long) took_us[i], US(burst.look_gap));
    }
    CHECK(zm_burst_look(&burst, now, false) == ZM_FOREVER);
    CHECK(!burst.on && burst.look_gap == ZM_LOOK_GAP_FIRST_NS);
    printf("| 10 | and nothing waits | | the burst is over | |\n");
}

static void table_of_spins(void)
{
    static const struct {
        const char *what;
        int times;
        bool loop, woken;
        int64_t waited_us;
    } rows[] = {
        {"as long as a round trip", 1, false, true, 20},
        {"the same", 20, false, true, 20},
        {"longer", 1, false, true, 150},
        {"in vain", 3, false, false, 20},
        {"in vain", 1, false, false, 20},
        {"in an event loop, not spun", 1, true, true, 249},
        {"in an event loop, spun", 1, true, true, 149},
        {"in an event loop, spun in vain", 1, true, true, 150},
        {"in an event loop, not spun", 9, true, true, 249},
    };
    zm_spin spin = {0};
    printf("| wait | us | times | credit after | the next one spins |\n"
           "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int n = 0; n < rows[i].times; n++) {
            if (rows[i].loop) {
                bool spins = zm_spin_time(&spin) > 0;
                zm_spin_loop_begins(&spin, ZM_MS, spins);
                CHECK(spin.loop_began == ZM_MS);
                zm_spin_loop_ends(&spin, ZM_MS + rows[i].waited_us * ZM_US);
                CHECK(!spin.loop_began);
            } else {
                zm_spin_learn(&spin, rows[i].woken, rows[i].waited_us * ZM_US);
            }
            CHECK(spin.credit >= -ZM_SPIN_DEBT && spin.credit <= ZM_SPIN_CREDIT_MAX);
        }
        int64_t spins = zm_spin_time(&spin);
        CHECK(spins == 0 || spins == ZM_SPIN_NS);
        printf("| %s | %lld | %d | %d | %s |\n", rows[i].what, (long long) rows[i].waited_us,
               rows[i].times, spin.credit, yes(spins > 0));
    }
}

static void table_of_presence(void)
{
    static const struct {
        const char *what;
        double gap_ms;
        int drives;
        bool reads, handshakes;
    } rows[] = {
        {"drives", 0.1, 10, false, false},  {"drives", 3, 10, false, false},
        {"drives", 30, 10, false, false},   {"drives", 60, 10, false, false},
        {"reads on", 0.1, 10, true, false}, {"has a handshake", 0.1, 10, false, true},
    };
    printf("| the application | ms between drives | left alone for ms | looked at after ms |\n"
           "| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        zm_presence presence = {.quiet_ns = ZM_QUIET_NS};
        int64_t now = 1000 * ZM_MS, alone = 0;
        for (int n = 0; n < rows[i].drives; n++) {
            zm_presence_drives(&presence, now);
            now += (int64_t) (rows[i].gap_ms * ZM_MS);
        }
        int64_t touched = presence.driven_ns, quiet_ns = presence.quiet_ns;
        CHECK(quiet_ns >= ZM_QUIET_NS && quiet_ns <= ZM_QUIET_MAX_NS);
        for (bool lasts = true; lasts; alone += lasts * 10 * ZM_US) {
            presence.reads += rows[i].reads; /* or it has read all */
            lasts = zm_presence_lasts(&presence, touched + alone, touched, rows[i].handshakes);
        }
        int64_t look = zm_presence_look(&presence, touched, touched, rows[i].handshakes) - touched;
        printf("| %s | %g | %g | %g |\n", rows[i].what, rows[i].gap_ms, (double) alone / ZM_MS,
               (double) look / ZM_MS);
        /* Whose time is over is looked at again all the same. */
        CHECK(zm_presence_look(&presence, touched + ZM_QUIET_MAX_NS * 2, touched, false)
              == touched + ZM_QUIET_MAX_NS * 2 + ZM_AWAY_NS);
    }
    CHECK(!zm_presence_parks(ZM_PARK_NS, 0) && zm_presence_parks(ZM_PARK_NS + 1, 0));
}

/* Looks at sockets that are used in turn fall together, but not so late that it would matter. */
static void check_that_looks_fall_together(void)
{
    for (int64_t quiet_ns = ZM_QUIET_NS; quiet_ns <= ZM_QUIET_MAX_NS; quiet_ns += ZM_MS / 3) {
        zm_presence presence = {.quiet_ns = quiet_ns};
        int64_t touched = 12345 * ZM_US, at = touched + quiet_ns;
        int64_t look = zm_presence_look(&presence, touched, touched, false);
        CHECK(look >= at && look <= at + quiet_ns / 2);
    }
    int64_t looks = 0, last = 0, opened = 12345 * ZM_US;
    for (int i = 0; i < 200; i++, opened += 50 * ZM_US) {
        int64_t look = zm_presence_first_look(opened);
        CHECK(look >= opened + ZM_STEP_NS && look < opened + ZM_STEP_NS + ZM_AWAY_NS);
        looks += look != last;
        last = look;
    }
    CHECK(looks <= 11);
}

static void table_of_polls(void)
{
    printf("| items | looked at after us |\n| --- | --- |\n");
    for (int items = 1; items <= 1000; items *= 10) {
        int64_t age = 0;
        while (!zm_is_stale(age, 0, items))
            age++;
        printf("| %d | %.0f |\n", items, US(age - 1));
    }
}

static void table_of_turns(void)
{
    static const struct {
        const char *what;
        double waited_ms, later_ms;
        bool in_vain;
    } rows[] = {
        {"nothing", 0, 0, false},
        {"1 ms, something came", 1, 0, false},
        {"1 ms, something came", 1, 2, false},
        {"1 ms, in vain", 1, 0, true},
        {"1 ms, in vain", 1, 10, true},
        {"1 ms, in vain", 1, 20, true},
        {"5 ms, in vain", 5, 0, true},
        {"5 ms, in vain", 5, 81, true},
    };
    printf("| has waited | ms ago | may wait for us |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        zm_allowance allowance = {0};
        int64_t began = 1000 * ZM_MS, end = began + (int64_t) (rows[i].waited_ms * ZM_MS);
        zm_allowance_spend(&allowance, began, end, rows[i].in_vain);
        int64_t left = zm_allowance_left(&allowance, end + (int64_t) (rows[i].later_ms * ZM_MS));
        printf("| %s | %g | %.0f |\n", rows[i].what, rows[i].later_ms, US(left > 0 ? left : 0));
    }
}

int main(void)
{
    CHECK(zm_burst_bytes(false) == ZM_FLUSH_BYTES && zm_burst_bytes(true) == ZM_FLUSH_MANY_BYTES);
    check_that_looks_fall_together();
    table_of_sends();
    printf("\n");
    table_of_looks();
    printf("\n");
    table_of_spins();
    printf("\n");
    table_of_presence();
    printf("\n");
    table_of_polls();
    printf("\n");
    table_of_turns();
    return 0;
}
