/* Numbers as they stand on the wire: the most significant byte first, at any address, on any
 * machine. */
#ifndef ZM_BASE_WIRE_ORDER_H
#define ZM_BASE_WIRE_ORDER_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t zm_load_u32(const uint8_t *bytes)
{
    uint32_t big;
    memcpy(&big, bytes, sizeof big);
    return be32toh(big);
}

static inline uint64_t zm_load_u64(const uint8_t *bytes)
{
    uint64_t big;
    memcpy(&big, bytes, sizeof big);
    return be64toh(big);
}

static inline void zm_store_u32(uint8_t *out, uint32_t value)
{
    uint32_t big = htobe32(value);
    memcpy(out, &big, sizeof big);
}

static inline void zm_store_u64(uint8_t *out, uint64_t value)
{
    uint64_t big = htobe64(value);
    memcpy(out, &big, sizeof big);
}

#endif
