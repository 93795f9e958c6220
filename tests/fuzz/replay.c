/* Runs a fuzz target without libFuzzer: over the files of a corpus, and over copies of them damaged
 * at random. Deterministic: the same arguments make the same run. targets.py builds it, and says
 * which variables it wants (ZM_FUZZ_TARGET and others).
 *
 *   ./replay ROUNDS SEED FILE...       ROUNDS damaged copies of each file; prints the inputs run
 *
 * When the target fails, the input that did it is in ./crash.bin. */
#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <string.h>

#include "harness.h"

static uint8_t bytes[INPUT_MAX];
static size_t bytes_size;

static void save(void)
{
    FILE *file = fopen("crash.bin", "wb");
    if (file) {
        fwrite(bytes, 1, bytes_size, file);
        fclose(file);
    }
}

static void on_abort(int signal_number)
{
    (void) signal_number;
    save();
}

/* xorshift64* */
static uint64_t state;

static size_t dice(size_t sides)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (size_t) ((state * UINT64_C(2685821657736338717)) >> 33) % sides;
}

static void damage(void)
{
    static const uint8_t telling[] = {0, 1, 2, 3, 4, 5, 6, 7, 0x7F, 0x80, 0xFE, 0xFF};
    for (size_t times = 1 + dice(4); times > 0; times--) {
        size_t at = dice(bytes_size);
        size_t length = 1 + dice(12);
        switch (dice(5)) {
        case 0:
            bytes[at] ^= (uint8_t) (1 << dice(8));
            break;
        case 1:
            bytes[at] = telling[dice(sizeof telling)];
            break;
        case 2: /* take out */
            if (length < bytes_size - at) {
                memmove(bytes + at, bytes + at + length, bytes_size - at - length);
                bytes_size -= length;
            }
            break;
        case 3: /* repeat */
            if (length <= bytes_size - at && bytes_size + length <= INPUT_MAX) {
                memmove(bytes + at + length, bytes + at, bytes_size - at);
                bytes_size += length;
            }
            break;
        default: /* end early */
            if (at > 2)
                bytes_size = at;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    signal(SIGABRT, on_abort);
    __sanitizer_set_death_callback(save);
    LLVMFuzzerInitialize(&argc, &argv);
    size_t rounds = strtoul(argv[1], NULL, 10);
    state = strtoull(argv[2], NULL, 10) | 1;
    size_t runs = 0;
    for (int i = 3; i < argc; i++) {
        static uint8_t original[INPUT_MAX];
        FILE *file = fopen(argv[i], "rb");
        if (!file) {
            perror(argv[i]);
            return 2;
        }
        size_t size = fread(original, 1, sizeof original, file);
        fclose(file);
        for (size_t round = 0; round <= rounds; round++, runs++) {
            memcpy(bytes, original, size);
            bytes_size = size;
            if (round > 0 && size > 0)
                damage();
            LLVMFuzzerTestOneInput(bytes, bytes_size);
        }
    }
    printf("%zu\n", runs);
    return 0;
}
