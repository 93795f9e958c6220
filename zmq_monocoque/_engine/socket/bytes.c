/* Strings of bytes that options and metadata own (options.h). */
#include <errno.h>
#include <string.h>

#include "../base/alloc.h"
#include "options.h"

int zm_bytes_set(zm_bytes *bytes, const void *borrowed, size_t size)
{
    uint8_t *copy = NULL;
    if (size) {
        copy = zm_alloc(size);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, borrowed, size);
    }
    zm_bytes_clear(bytes);
    bytes->data = copy;
    bytes->size = size;
    return 0;
}

void zm_bytes_clear(zm_bytes *bytes)
{
    if (bytes->data)
        explicit_bzero(bytes->data, bytes->size); /* some are passwords */
    zm_free(bytes->data);
    bytes->data = NULL;
    bytes->size = 0;
}
