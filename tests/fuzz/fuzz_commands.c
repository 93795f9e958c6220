/* Frames of a 3.0 or 3.1 peer after the handshake: commands and messages with sizes that are
 * right, so that what is in them is looked at. Third byte: the minor version. */
#include "harness.h"

void fuzz_commands(const uint8_t *bytes, size_t size)
{
    static talk t;
    static const uint8_t ready[] = "\5READY";
    uint8_t greeting[GREETING_SIZE];
    input in = {bytes, bytes + size};
    setup how = setup_of(&in);
    talk_begin(&t, &how);
    greet(greeting, "NULL", take(&in) & 1);
    talk_say(&t, greeting, sizeof greeting);
    say_frame(&t, ZM_FRAME_COMMAND, ready, sizeof ready - 1);
    say_frames(&t, &in);
    talk_end(&t);
    check(&how, t.stream, t.size, &t.out);
}
