/* A run with less in it: `--less "hosts=1 service2=0 only=p3.120>5,f0.2"`.
 *
 * What a run is made of is drawn by sim_less(), by name; the option may name a smaller number. What
 * its schedule and its faults are is a list of choices: where the plain thing was not done. `only`
 * replays those that it lists, and nothing else of the kind happens. shrink.py writes them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

enum { NAME_MAX = 24, GIVEN_MAX = 256 };

typedef struct limit {
    char name[NAME_MAX];
    uint32_t most;
} limit;

typedef struct choice {
    uint64_t number;
    int thread, to;
    char kind; /* 0: a free place of the table */
} choice;

static limit given[GIVEN_MAX];
static int given_count;
static choice *table; /* of `only`, by hash; NULL: the seed chooses */
static size_t table_size;
static FILE *record;
static bool tell;

bool sim_replays(void)
{
    return table != NULL;
}

/* --- what is drawn --------------------------------------------------------------------------- */

uint32_t sim_less(uint32_t value, uint32_t least, const char *format, ...)
{
    char name[NAME_MAX];
    va_list list;
    va_start(list, format);
    vsnprintf(name, sizeof name, format, list);
    va_end(list);
    for (int i = 0; i < given_count; i++)
        if (!strcmp(given[i].name, name) && given[i].most < value)
            value = given[i].most > least ? given[i].most : least;
    if (tell) {
        printf("DRAWN %s=%u/%u\n", name, value, least);
        fflush(stdout);
    }
    return value;
}

void sim_tell_drawn(void)
{
    tell = true;
}

/* --- what is chosen -------------------------------------------------------------------------- */

static choice *place_of(char kind, int thread, uint64_t number)
{
    uint64_t hash = (number * 31 + (uint64_t) thread) * 0x9e3779b97f4a7c15u + (uint64_t) kind;
    size_t i = (hash >> 20) % table_size;
    while (table[i].kind
           && !(table[i].kind == kind && table[i].thread == thread && table[i].number == number))
        i = (i + 1) % table_size;
    return &table[i];
}

int sim_chosen(char kind, int thread, uint64_t number)
{
    const choice *c = place_of(kind, thread, number);
    return c->kind ? c->to : -1;
}

void sim_note_choice(char kind, int thread, uint64_t number, int to)
{
    if (record)
        fprintf(record, "%c%d.%llu>%d\n", kind, thread, (unsigned long long) number, to);
}

void sim_record_to(const char *path)
{
    record = fopen(path, "w");
    if (!record) {
        perror(path);
        exit(2);
    }
    setvbuf(record, NULL, _IOLBF, 0); /* the run may crash */
}

static void read_choices(const char *text)
{
    size_t count = 1;
    for (const char *c = text; *c; c++)
        count += *c == ',';
    table_size = 4 * count;
    table = calloc(table_size, sizeof *table);
    for (const char *c = text; *c;) {
        choice one;
        unsigned long long number;
        int size = 0;
        if (sscanf(c, "%c%d.%llu>%d%n", &one.kind, &one.thread, &number, &one.to, &size) != 4) {
            fprintf(stderr, "what choice is %.20s?\n", c);
            exit(2);
        }
        one.number = number;
        *place_of(one.kind, one.thread, one.number) = one;
        c += size + (c[size] == ',');
    }
}

static char *text_of_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t room = 0;
    if (!file || getdelim(&text, &room, '\0', file) < 0) {
        perror(path);
        exit(2);
    }
    fclose(file);
    return text;
}

void sim_have_less(const char *argument)
{
    char *text = argument[0] == '@' ? text_of_file(argument + 1) : strdup(argument);
    for (char *word = strtok(text, " \n"); word; word = strtok(NULL, " \n")) {
        char *value = strchr(word, '=');
        if (!value || value - word >= NAME_MAX || given_count == GIVEN_MAX) {
            fprintf(stderr, "--less takes name=number, not %s\n", word);
            exit(2);
        }
        *value++ = 0;
        if (!strcmp(word, "only")) {
            read_choices(value);
            continue;
        }
        limit *l = &given[given_count++];
        memcpy(l->name, word, strlen(word) + 1);
        l->most = (uint32_t) strtoul(value, NULL, 0);
    }
    free(text);
}
