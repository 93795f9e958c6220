/* Z85 by RFC 32. Knows nothing of keys. */
#include "z85.h"

#include <errno.h>

static const char alphabet[85 + 1] =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/* The digit of a character plus one; 0: not of the alphabet. Always looks at the whole alphabet:
 * the time must not tell a secret key's characters. */
static unsigned digit_plus_one(unsigned char c)
{
    unsigned found = 0;
    for (unsigned i = 0; i < 85; i++)
        found |= (i + 1) & (0u - (unsigned) (alphabet[i] == (char) c));
    return found;
}

int zm_z85_encode(char *out, const uint8_t *data, size_t size)
{
    if (size % 4)
        return -EINVAL;
    for (size_t at = 0; at < size; at += 4) {
        uint32_t value = (uint32_t) data[at] << 24 | (uint32_t) data[at + 1] << 16
                         | (uint32_t) data[at + 2] << 8 | data[at + 3];
        for (int i = 4; i >= 0; i--) {
            out[i] = alphabet[value % 85];
            value /= 85;
        }
        out += 5;
    }
    *out = '\0';
    return 0;
}

int zm_z85_decode(uint8_t *out, const char *text, size_t length)
{
    if (length % 5)
        return -EINVAL;
    for (size_t at = 0; at < length; at += 5) {
        uint64_t value = 0;
        for (size_t i = 0; i < 5; i++) {
            unsigned digit = digit_plus_one((unsigned char) text[at + i]);
            if (!digit)
                return -EINVAL;
            value = value * 85 + (digit - 1);
        }
        if (value > UINT32_MAX)
            return -EINVAL;
        *out++ = (uint8_t) (value >> 24);
        *out++ = (uint8_t) (value >> 16);
        *out++ = (uint8_t) (value >> 8);
        *out++ = (uint8_t) value;
    }
    return 0;
}
