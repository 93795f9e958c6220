/* The options that a type of socket has beside those of all types (socket/options_table.c), and the
 * defaults in which types differ. What an option does is in the pattern's own file. */
#include <errno.h>
#include <limits.h>
#include <stddef.h>

#include "../base/check.h"
#include "../socket/option_rows.h"
#include "../socket/options.h"

/* --- publishers ------------------------------------------------------------------------------- */

/* Those that change more than one field. */
static int set_publisher(zm_options *options, int option, const void *value, size_t size)
{
    int number = 0;
    int rc = zm_option_number(value, size, 0, INT_MAX, &number);
    if (rc < 0)
        return rc;
    switch (option) {
    case XPUB_VERBOSE:
        options->xpub_verbose = number != 0;
        options->xpub_verboser = false;
        return 0;
    case XPUB_VERBOSER:
        options->xpub_verbose = options->xpub_verboser = number != 0;
        return 0;
    default:
        ZM_ASSERT(option == XPUB_MANUAL_LAST_VALUE);
        options->xpub_manual = options->xpub_manual_last_value = number != 0;
        return 0;
    }
}

static int set_welcome(zm_options *options, int option, const void *value, size_t size)
{
    ZM_ASSERT(option == XPUB_WELCOME_MSG);
    if (!value && size)
        return -EINVAL;
    int rc = zm_bytes_set(&options->xpub_welcome, value, size);
    if (rc == 0)
        options->has_welcome = size > 0;
    return rc;
}

/* A subscription in a peer's name: only where the application decides (XPUB_MANUAL). */
static int subscribe_for_peer(zm_options *options, int option, const void *value, size_t size)
{
    ZM_ASSERT(option == SUBSCRIBE || option == UNSUBSCRIBE);
    return options->xpub_manual && (value || !size) ? ZM_OPTION_OF_SOCKET : -EINVAL;
}

static const option_row publisher[] = {
    {SUBSCRIBE, RULED, 0, 0, 0, 0, subscribe_for_peer},
    {UNSUBSCRIBE, RULED, 0, 0, 0, 0, subscribe_for_peer},
    {XPUB_VERBOSE, RULED, 0, 0, 0, 0, set_publisher},
    {XPUB_NODROP, FLAG, 0, AT(xpub_nodrop), 0, INT_MAX, NULL},
    {XPUB_MANUAL, FLAG, 0, AT(xpub_manual), 0, INT_MAX, NULL},
    {XPUB_WELCOME_MSG, RULED, 0, 0, 0, 0, set_welcome},
    {XPUB_VERBOSER, RULED, 0, 0, 0, 0, set_publisher},
    {XPUB_MANUAL_LAST_VALUE, RULED, 0, 0, 0, 0, set_publisher},
    {ONLY_FIRST_SUBSCRIBE, FLAG, 0, AT(only_first_subscribe), 0, INT_MAX, NULL},
    {TOPICS_COUNT, RULED, READ_ONLY, 0, 0, 0, NULL},
};

/* --- subscribers ------------------------------------------------------------------------------ */

static int subscribe(zm_options *options, int option, const void *value, size_t size)
{
    (void) options;
    ZM_ASSERT(option == SUBSCRIBE || option == UNSUBSCRIBE);
    return value || !size ? ZM_OPTION_OF_SOCKET : -EINVAL;
}

static const option_row sub[] = {
    {SUBSCRIBE, RULED, 0, 0, 0, 0, subscribe},
    {UNSUBSCRIBE, RULED, 0, 0, 0, 0, subscribe},
    {TOPICS_COUNT, RULED, READ_ONLY, 0, 0, 0, NULL},
};

static const option_row xsub[] = {
    {ONLY_FIRST_SUBSCRIBE, FLAG, 0, AT(only_first_subscribe), 0, INT_MAX, NULL},
    {TOPICS_COUNT, RULED, READ_ONLY, 0, 0, 0, NULL},
};

/* --- requests, replies, routing --------------------------------------------------------------- */

static const option_row req[] = {
    {PROBE_ROUTER, FLAG, 0, AT(probe_router), 0, INT_MAX, NULL},
    {REQ_CORRELATE, FLAG, 0, AT(req_correlate), 0, INT_MAX, NULL},
    {REQ_RELAXED, FLAG, 0, AT(req_relaxed), 0, INT_MAX, NULL},
};

static const option_row dealer[] = {
    {PROBE_ROUTER, FLAG, 0, AT(probe_router), 0, INT_MAX, NULL},
};

/* Also of REP, which is a ROUTER in libzmq. */
static const option_row router[] = {
    {ROUTER_MANDATORY, FLAG, 0, AT(router_mandatory), 0, INT_MAX, NULL},
    {ROUTER_RAW, FLAG, 0, AT(router_raw), 0, INT_MAX, NULL},
    {PROBE_ROUTER, FLAG, 0, AT(probe_router), 0, INT_MAX, NULL},
    {ROUTER_HANDOVER, FLAG, 0, AT(router_handover), 0, INT_MAX, NULL},
    {CONNECT_ROUTING_ID, BYTES, 0, AT(connect_routing_id), 1, INT_MAX, NULL},
};

static const option_row stream[] = {
    {CONNECT_ROUTING_ID, BYTES, 0, AT(connect_routing_id), 1, INT_MAX, NULL},
    {STREAM_NOTIFY, FLAG, 0, AT(stream_notify), 0, 1, NULL},
};

/* --- by type ---------------------------------------------------------------------------------- */

static const struct {
    const option_row *rows;
    size_t count;
    bool forgets; /* LINGER is 0 unless it is set */
} types[ZM_SOCKET_TYPES] = {
    [ZM_PUB] = {publisher, ZM_COUNT(publisher), false},
    [ZM_XPUB] = {publisher, ZM_COUNT(publisher), false},
    [ZM_SUB] = {sub, ZM_COUNT(sub), true},
    [ZM_XSUB] = {xsub, ZM_COUNT(xsub), true},
    [ZM_ROUTER] = {router, ZM_COUNT(router), false},
    [ZM_REP] = {router, ZM_COUNT(router), false},
    [ZM_REQ] = {req, ZM_COUNT(req), false},
    [ZM_DEALER] = {dealer, ZM_COUNT(dealer), false},
    [ZM_STREAM] = {stream, ZM_COUNT(stream), false},
};

const option_row *zm_option_of_type(int socket_type, int option)
{
    for (size_t i = 0; i < types[socket_type].count; i++)
        if (types[socket_type].rows[i].number == option)
            return &types[socket_type].rows[i];
    return NULL;
}

bool zm_type_forgets(int socket_type)
{
    return types[socket_type].forgets;
}
