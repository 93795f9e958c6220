/* Socket types as READY names them, and who may talk to whom (semantics.md#socket-types). */
#include <string.h>

#include "base/check.h"
#include "command.h"
#include "session.h"

typedef struct type_entry {
    const char *name;  /* NULL: does not speak ZMTP (STREAM, DGRAM) */
    uint32_t peers;    /* bit n: may talk to type n */
    bool has_identity;
} type_entry;

enum {
    PAIR,
    PUB,
    SUB,
    REQ,
    REP,
    DEALER,
    ROUTER,
    PULL,
    PUSH,
    XPUB,
    XSUB,
    STREAM,
    SERVER,
    CLIENT,
    RADIO,
    DISH,
    GATHER,
    SCATTER,
    DGRAM,
    PEER,
    CHANNEL,
};

#define WITH(type) (UINT32_C(1) << (type))

static const type_entry types[] = {
    [PAIR] = {"PAIR", WITH(PAIR), false},
    [PUB] = {"PUB", WITH(SUB) | WITH(XSUB), false},
    [SUB] = {"SUB", WITH(PUB) | WITH(XPUB), false},
    [REQ] = {"REQ", WITH(REP) | WITH(ROUTER), true},
    [REP] = {"REP", WITH(REQ) | WITH(DEALER), false},
    [DEALER] = {"DEALER", WITH(REP) | WITH(DEALER) | WITH(ROUTER), true},
    [ROUTER] = {"ROUTER", WITH(REQ) | WITH(DEALER) | WITH(ROUTER), true},
    [PULL] = {"PULL", WITH(PUSH), false},
    [PUSH] = {"PUSH", WITH(PULL), false},
    [XPUB] = {"XPUB", WITH(SUB) | WITH(XSUB), false},
    [XSUB] = {"XSUB", WITH(PUB) | WITH(XPUB), false},
    [SERVER] = {"SERVER", WITH(CLIENT), false},
    [CLIENT] = {"CLIENT", WITH(SERVER), false},
    [RADIO] = {"RADIO", WITH(DISH), false},
    [DISH] = {"DISH", WITH(RADIO), false},
    [GATHER] = {"GATHER", WITH(SCATTER), false},
    [SCATTER] = {"SCATTER", WITH(GATHER), false},
    [PEER] = {"PEER", WITH(PEER), false},
    [CHANNEL] = {"CHANNEL", WITH(CHANNEL), false},
};

static const type_entry *find(int socket_type)
{
    if (socket_type < 0 || (size_t) socket_type >= ZM_COUNT(types))
        return NULL;
    return types[socket_type].name ? &types[socket_type] : NULL;
}

const char *zm_socket_type_name(int socket_type)
{
    const type_entry *entry = find(socket_type);
    return entry ? entry->name : NULL;
}

bool zm__socket_type_has_identity(int socket_type)
{
    const type_entry *entry = find(socket_type);
    return entry && entry->has_identity;
}

bool zm_session_types_match(int socket_type, const char *peer_socket_type)
{
    const type_entry *entry = find(socket_type);
    if (!entry)
        return false;
    for (size_t i = 0; i < ZM_COUNT(types); i++)
        if ((entry->peers & WITH(i)) && strcmp(types[i].name, peer_socket_type) == 0)
            return true;
    return false;
}
