/* What is known of a connection, as its messages tell it: the READY properties of the peer, its
 * address, the descriptor, and what a ZAP handler said. Immutable once made. */
#include "metadata.h"

#include <stdio.h>
#include <string.h>

#include "../base/alloc.h"
#include "../socket/options.h"
#include "../zmtp/session.h"

struct zm_metadata {
    _Atomic uint32_t refs;
    size_t size;
    char text[]; /* name NUL value NUL ... */
};

static size_t put(char *out, const void *name, size_t name_size, const void *value,
                  size_t value_size)
{
    /* C strings, as libzmq has them. Cut here, so that no peer can smuggle in a pair of its own. */
    name_size = strnlen(name, name_size);
    value_size = strnlen(value, value_size);
    if (out) {
        memcpy(out, name, name_size);
        out[name_size] = 0;
        memcpy(out + name_size + 1, value, value_size);
        out[name_size + 1 + value_size] = 0;
    }
    return name_size + value_size + 2;
}

/* Writes the pairs of encoded, well-formed properties to `out`. Who the peer is, it does not say by
 * itself: its `User-Id` is left out unless `trusted`. */
static size_t put_all(char *out, const uint8_t *properties, size_t size, bool trusted)
{
    size_t at = 0;
    const uint8_t *p = properties, *end = p + size;
    while (size && p < end) {
        size_t name_size = *p++;
        const uint8_t *name = p;
        p += name_size;
        size_t value_size = (size_t) p[0] << 24 | (size_t) p[1] << 16 | (size_t) p[2] << 8 | p[3];
        p += 4;
        if (trusted || name_size != 7 || memcmp(name, "User-Id", 7) != 0)
            at += put(out ? out + at : NULL, name, name_size, p, value_size);
        p += value_size;
    }
    return at;
}

/* Writes all pairs to `out`, or only counts (NULL). The first of a name counts. */
static size_t fill(char *out, const zm_session *session, int fd, const char *peer_address,
                   const zm_bytes *more)
{
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    size_t at = put(out, "Peer-Address", 12, peer_address, strlen(peer_address));
    at += put(out ? out + at : NULL, "__fd", 4, number, strlen(number));
    at += put_all(out ? out + at : NULL, more->data, more->size, true);
    if (session)
        at += put_all(out ? out + at : NULL, session->peer_metadata, session->peer_metadata_size,
                      false);
    return at;
}

zm_metadata *zm_metadata_new(const zm_session *session, int fd, const char *peer_address,
                             const zm_bytes *more)
{
    size_t size = fill(NULL, session, fd, peer_address, more);
    zm_metadata *metadata = zm_alloc(sizeof *metadata + size);
    if (!metadata)
        return NULL;
    atomic_init(&metadata->refs, 1);
    metadata->size = size;
    fill(metadata->text, session, fd, peer_address, more);
    return metadata;
}

zm_metadata *zm_metadata_ref(zm_metadata *borrowed)
{
    atomic_fetch_add_explicit(&borrowed->refs, 1, memory_order_relaxed);
    return borrowed;
}

void zm_metadata_unref(zm_metadata *taken)
{
    if (taken && atomic_fetch_sub_explicit(&taken->refs, 1, memory_order_acq_rel) == 1)
        zm_free(taken);
}

const char *zm_metadata_get(const zm_metadata *metadata, const char *name)
{
    size_t name_size = strlen(name);
    const char *p = metadata->text, *end = p + metadata->size;
    while (p < end) {
        size_t n = strlen(p);
        const char *value = p + n + 1;
        if (n == name_size && !memcmp(p, name, n))
            return value;
        p = value + strlen(value) + 1;
    }
    return NULL;
}
