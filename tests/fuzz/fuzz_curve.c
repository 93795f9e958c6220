/* The handshake of CURVE in both roles, by a peer that has keys and makes mistakes. Third byte: see
 * add_security(); then the steps of curve_say.h. */
#include "curve_say.h"

void fuzz_curve(const uint8_t *bytes, size_t size)
{
    static curve_talk c;
    input in = {bytes, bytes + size};
    setup how = setup_of(&in);
    add_security(&how, ZM_CURVE, take(&in));
    curve_begin(&c, &how);
    curve_say(&c, &in);
    curve_end(&c);
    check(&how, c.t.stream, c.t.size, NULL);
}
