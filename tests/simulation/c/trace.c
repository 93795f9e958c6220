/* What happened, for a person and for a comparison of two runs. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim.h"

enum { THREADS_SHOWN = 100 };

static FILE *out;
static bool every_step;
static uint64_t hash = 0xcbf29ce484222325u;

static void mix(uint64_t value)
{
    hash = (hash ^ value) * 0x100000001b3u;
    hash ^= hash >> 29;
}

void sim_trace_to(const char *path)
{
    out = path[0] == '-' && !path[1] ? stdout : fopen(path, "w");
    if (!out) {
        perror(path);
        exit(2);
    }
}

void sim_note_switch(const sim_thread *to)
{
    mix((uint64_t) to->id << 48 ^ (uint64_t) sim_clock);
}

uint64_t sim_fingerprint(void)
{
    return hash;
}

static void write_line(FILE *to, const char *text)
{
    fprintf(to, "%.9f %d %s#%d %s\n", (double) (sim_clock - 1000 * SIM_S) / 1e9,
            sim_current ? sim_current->host : 0, sim_current ? sim_current->name : "-",
            sim_current ? sim_current->id : 0, text);
}

void sim_say(const char *format, ...)
{
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    for (const char *c = text; *c; c++)
        mix((uint64_t) *c);
    if (out)
        write_line(out, text);
}

void sim_trace_steps(void)
{
    every_step = true;
}

void sim_step_said(const char *format, ...)
{
    if (!out || !every_step)
        return;
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    write_line(out, text);
}

void sim_broken(const char *law, const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (out)
        write_line(out, text);
    printf("BROKEN %s: %s\n  seed %llu, luck %llu, at %.6f s, step %llu\n", law, text,
           (unsigned long long) PLAN->seed, (unsigned long long) PLAN->luck,
           (double) (sim_clock - 1000 * SIM_S) / 1e9, (unsigned long long) sim_steps);
    int left = THREADS_SHOWN;
    for (const sim_thread *t = sim_threads; t && left; t = t->next)
        if (!t->done && left--)
            printf("  %s#%d on host %d: %s%s for %.6f s\n", t->name, t->id, t->host,
                   t == sim_current ? "runs, " : t->runnable ? "can run, " : "waits, ",
                   t->doing ? t->doing : "-",
                   t->doing ? (double) (sim_clock - t->doing_since) / 1e9 : 0.0);
    sim_print_sockets();
    fflush(NULL);
    _exit(3);
}
