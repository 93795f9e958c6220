/* zm_options on the heap, for callers that do not know the struct. */
#include "base/alloc.h"
#include "socket/options.h"

void *shim_options_new(int socket_type, int blocky, int ipv6)
{
    zm_options *options = zm_alloc(sizeof *options);
    if (options)
        zm_options_init(options, socket_type, blocky, ipv6);
    return options;
}

void *shim_options_copy(const zm_options *from)
{
    zm_options *options = zm_alloc(sizeof *options);
    if (options && zm_options_copy(options, from) < 0) {
        zm_free(options);
        return NULL;
    }
    return options;
}

void shim_options_free(zm_options *options)
{
    zm_options_fini(options);
    zm_free(options);
}

const zm_bytes *shim_options_metadata(const zm_options *options)
{
    return &options->metadata;
}
