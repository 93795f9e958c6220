/* All that a peer may send, from its first byte on. */
#include "harness.h"

void fuzz_greeting(const uint8_t *bytes, size_t size)
{
    input in = {bytes, bytes + size};
    setup how = setup_of(&in);
    check(&how, in.at, (size_t) (in.end - in.at), NULL);
}
