/* The handshake of PLAIN, in both roles, and what comes after it:
 * frames with sizes that are right. Third byte: see add_security(). */
#include "harness.h"

void fuzz_plain(const uint8_t *bytes, size_t size)
{
    static talk t;
    uint8_t greeting[GREETING_SIZE];
    input in = {bytes, bytes + size};
    setup how = setup_of(&in);
    add_security(&how, ZM_PLAIN, take(&in));
    talk_begin(&t, &how);
    greet(greeting, "PLAIN", 1);
    talk_say(&t, greeting, sizeof greeting);
    say_frames(&t, &in);
    talk_end(&t);
    check(&how, t.stream, t.size, &t.out);
}
