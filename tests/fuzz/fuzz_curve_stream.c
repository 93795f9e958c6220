/* What comes after a good handshake of CURVE: messages and commands that are sealed as they should
 * be, or nearly so, and bytes that are not. Third byte: & 01 as server; then as fuzz_curve.c. */
#include "curve_say.h"

void fuzz_curve_stream(const uint8_t *bytes, size_t size)
{
    static curve_talk c;
    input in = {bytes, bytes + size};
    setup how = setup_of(&in);
    add_security(&how, ZM_CURVE, take(&in) & 1);
    curve_begin(&c, &how);
    curve_shake_hands(&c);
    curve_say(&c, &in);
    curve_end(&c);
    check(&how, c.t.stream, c.t.size, NULL);
}
