/* The options with rules of their own: security, metadata, filters and the rest. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/secret.h"
#include "../base/wire_order.h"
#include "../base/z85.h"
#include "../driver/address.h"
#include "options.h"
#include "options_private.h"

/* 1 makes this side a server of the mechanism; 0 takes security away, whichever it was. */
int zm_option_set_server(zm_options *options, int mechanism, const void *value, size_t size)
{
    int number = 0;
    int rc = zm_option_number(value, size, 0, 1, &number);
    if (rc < 0)
        return rc;
    options->as_server = number;
    options->mechanism = number ? mechanism : MECHANISM_NULL;
    return 0;
}

int zm_option_set_plain(zm_options *options, zm_bytes *place, const void *value, size_t size)
{
    if (!value && size == 0) {
        options->mechanism = MECHANISM_NULL;
        return 0;
    }
    if (!value || size == 0 || size > TEXT_MAX)
        return -EINVAL;
    int rc = zm_bytes_set(place, value, size);
    if (rc < 0)
        return rc;
    zm_secret_moved();
    options->as_server = false;
    options->mechanism = MECHANISM_PLAIN;
    return 0;
}

/* 32 bytes, or 40 characters of Z85 with or without the NUL. */
static int read_key(uint8_t key[KEY_BYTES], const void *value, size_t size)
{
    const char *text = value;
    if (!value)
        return -EINVAL;
    if (size == KEY_BYTES) {
        memcpy(key, value, KEY_BYTES);
        return 0;
    }
    if (size != KEY_CHARS && !(size == KEY_CHARS + 1 && text[KEY_CHARS] == '\0'))
        return -EINVAL;
    return zm_z85_decode(key, text, KEY_CHARS) < 0 ? -EINVAL : 0;
}

int zm_option_set_key(zm_options *options, uint8_t place[KEY_BYTES], const void *value, size_t size)
{
    uint8_t key[KEY_BYTES];
    int rc = read_key(key, value, size);
    if (rc < 0)
        return rc;
    memcpy(place, key, sizeof key);
    options->mechanism = MECHANISM_CURVE;
    return 0;
}

int zm_option_set_secret(zm_options *options, const void *value, size_t size)
{
    uint8_t *key = zm_secret_new();
    if (!key)
        return -ENOMEM;
    int rc = read_key(key, value, size);
    if (rc < 0) {
        zm_secret_free(key);
        return rc;
    }
    zm_secret_free(options->curve_secret);
    options->curve_secret = key;
    options->mechanism = MECHANISM_CURVE;
    return 0;
}

/* libzmq tells raw from Z85 by the room (32 or 41). Ours takes any other room from 40 for Z85, so
 * that pyzmq's reading of bytes, with 255 of them, works. */
int zm_option_get_key(const uint8_t key[KEY_BYTES], void *out, size_t *inout_size)
{
    if (*inout_size == KEY_BYTES)
        return zm_option_answer(out, inout_size, key, KEY_BYTES);
    char text[KEY_CHARS + 1];
    zm_z85_encode(text, key, KEY_BYTES);
    int rc = zm_option_answer(out, inout_size, text,
                              *inout_size > KEY_CHARS ? sizeof text : KEY_CHARS);
    explicit_bzero(text, sizeof text);
    return rc;
}

/* Where the property `name` belongs among the others, which are sorted; *out_has: it is there. */
static size_t metadata_place(const zm_bytes *metadata, const uint8_t *name, size_t name_size,
                             bool *out_has)
{
    size_t at = 0;
    *out_has = false;
    while (at < metadata->size) {
        const uint8_t *entry = metadata->data + at;
        size_t entry_name_size = entry[0];
        uint32_t value_size = zm_load_u32(entry + 1 + entry_name_size);
        size_t common = entry_name_size < name_size ? entry_name_size : name_size;
        int order = memcmp(entry + 1, name, common);
        *out_has = order == 0 && entry_name_size == name_size;
        if (order > 0 || (order == 0 && entry_name_size >= name_size))
            break;
        at += 1 + entry_name_size + sizeof value_size + value_size;
    }
    return at;
}

/* "X-name:value". The first value of a name stays. */
int zm_option_add_metadata(zm_options *options, const uint8_t *text, size_t size)
{
    /* libzmq takes four bytes for an int, which this option is not. */
    if (!text || size < 4 || size == sizeof(int) || size > UINT32_MAX)
        return -EINVAL;
    const uint8_t *colon = memchr(text, ':', size);
    if (!colon || colon + 1 == text + size || text[0] != 'X' || text[1] != '-')
        return -EINVAL;
    size_t name_size = (size_t) (colon - text);
    if (name_size > NAME_MAX_BYTES)
        return -EINVAL;
    zm_bytes *metadata = &options->metadata;
    bool has;
    size_t at = metadata_place(metadata, text, name_size, &has);
    if (has)
        return 0;
    size_t value_size = size - name_size - 1;
    size_t entry_size = 1 + name_size + sizeof(uint32_t) + value_size;
    uint8_t *grown = zm_realloc(metadata->data, metadata->size + entry_size);
    if (!grown)
        return -ENOMEM;
    uint8_t *entry = grown + at;
    memmove(entry + entry_size, entry, metadata->size - at);
    *entry++ = (uint8_t) name_size;
    memcpy(entry, text, name_size);
    zm_store_u32(entry + name_size, (uint32_t) value_size);
    memcpy(entry + name_size + sizeof(uint32_t), colon + 1, value_size);
    metadata->data = grown;
    metadata->size += entry_size;
    return 0;
}

int zm_option_add_tcp_filter(zm_options *options, const void *value, size_t size)
{
    if (!value && size == 0) {
        zm_free(options->tcp_filters);
        options->tcp_filters = NULL;
        options->tcp_filter_count = 0;
        return 0;
    }
    char text[TEXT_MAX + 1];
    zm_cidr cidr;
    if (!value || size == 0 || size > TEXT_MAX)
        return -EINVAL;
    memcpy(text, value, size);
    text[size] = '\0';
    if (zm_cidr_parse(text, &cidr) < 0)
        return -EINVAL;
    if (cidr.network.ss_family == AF_INET6 && !options->tuning.ipv6)
        return -EINVAL;
    zm_cidr *grown = zm_realloc(options->tcp_filters,
                                (options->tcp_filter_count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    grown[options->tcp_filter_count++] = cidr;
    options->tcp_filters = grown;
    return 0;
}

int zm_option_add_ipc_filter(int32_t **ids, size_t *count, const void *value, size_t size)
{
    if (!value && size == 0) {
        zm_free(*ids);
        *ids = NULL;
        *count = 0;
        return 0;
    }
    int id = 0;
    int rc = zm_option_number(value, size, INT_MIN, INT_MAX, &id);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < *count; i++)
        if ((*ids)[i] == id)
            return 0;
    int32_t *grown = zm_realloc(*ids, (*count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    grown[(*count)++] = id;
    *ids = grown;
    return 0;
}

int zm_option_set_device(zm_options *options, const void *value, size_t size)
{
    char *device = options->tuning.device;
    if (!value && size == 0) {
        device[0] = '\0';
        return 0;
    }
    if (!value || size == 0 || size >= sizeof options->tuning.device)
        return -EINVAL;
    memcpy(device, value, size);
    device[size] = '\0';
    return 0;
}

/* Kept in tenths of a second, as the PING carries it. */
int zm_option_set_heartbeat_ttl(zm_options *options, const void *value, size_t size)
{
    int number = 0;
    int rc = zm_option_number(value, size, -99, UINT16_MAX * 100 + 99, &number);
    if (rc == 0)
        options->heartbeat_ttl_ds = number / 100;
    return rc;
}
