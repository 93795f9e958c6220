/* One program with all targets: ZM_FUZZ_TARGET names the one that runs. */
#include <string.h>

#include "harness.h"

static const struct {
    const char *name;
    void (*run)(const uint8_t *input, size_t size);
} targets[] = {
    {"greeting", fuzz_greeting},
    {"framing", fuzz_framing},
    {"commands", fuzz_commands},
    {"null", fuzz_null},
    {"plain", fuzz_plain},
    {"curve", fuzz_curve},
    {"curve_stream", fuzz_curve_stream},
};

static void (*chosen)(const uint8_t *input, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;
    const char *name = getenv("ZM_FUZZ_TARGET");
    for (size_t i = 0; name && i < sizeof targets / sizeof *targets; i++)
        if (strcmp(targets[i].name, name) == 0)
            chosen = targets[i].run;
    if (chosen)
        return 0;
    fprintf(stderr, "ZM_FUZZ_TARGET is to name a target\n");
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size >= INPUT_MIN && size <= INPUT_MAX)
        chosen(input, size);
    return 0;
}
