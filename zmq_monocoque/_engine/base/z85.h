/* Z85 (RFC 32): bytes as printable text, four bytes to five characters. */
#ifndef ZM_BASE_Z85_H
#define ZM_BASE_Z85_H

#include <stddef.h>
#include <stdint.h>

/* Characters of `size` bytes, without the NUL. */
#define ZM_Z85_LENGTH(size) ((size) / 4 * 5)

/* Writes ZM_Z85_LENGTH(size) characters and a NUL. 0, or -EINVAL: `size` is no multiple of 4. */
int zm_z85_encode(char *out, const uint8_t *data, size_t size);
/* Writes length / 5 * 4 bytes. 0, or -EINVAL: `length` is no multiple of 5, a character is not
 * of the alphabet, or five of them are more than 32 bits. Then `out` is undefined. */
int zm_z85_decode(uint8_t *out, const char *text, size_t length);

#endif
