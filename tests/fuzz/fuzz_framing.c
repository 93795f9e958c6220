/* What a peer of each version sends after the handshake, byte for byte. Third byte: the version. */
#include <string.h>

#include "harness.h"

static void shake_hands(talk *t, int version)
{
    static const uint8_t anonymous[] = {3, 0, 'i', 'd'};
    static const uint8_t v1[] = {0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 0, 6, 3, 0, 'i', 'd'};
    static const uint8_t v2[] = {0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 1, 6, 0, 2, 'i', 'd'};
    static const uint8_t ready[] = "\5READY";
    uint8_t greeting[GREETING_SIZE];
    switch (version) {
    case 0:
        talk_say(t, anonymous, sizeof anonymous);
        break;
    case 1:
        talk_say(t, v1, sizeof v1);
        break;
    case 2:
        talk_say(t, v2, sizeof v2);
        break;
    default:
        greet(greeting, "NULL", version == 3 ? 0 : 1);
        talk_say(t, greeting, sizeof greeting);
        say_frame(t, ZM_FRAME_COMMAND, ready, sizeof ready - 1);
    }
}

void fuzz_framing(const uint8_t *bytes, size_t size)
{
    static talk t;
    input in = {bytes, bytes + size};
    setup how = setup_of(&in);
    talk_begin(&t, &how);
    shake_hands(&t, take(&in) % 5);
    talk_say(&t, in.at, (size_t) (in.end - in.at));
    talk_end(&t);
    check(&how, t.stream, t.size, &t.out);
}
