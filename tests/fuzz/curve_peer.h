/* The other side of CURVE (RFC 26), which says what it should, or something near it: what it seals
 * can be changed before and after. Written from the RFC, not from zmtp/mechanism_curve.c. */
#ifndef ZM_FUZZ_CURVE_PEER_H
#define ZM_FUZZ_CURVE_PEER_H

#include "harness.h"

enum { COOKIE_SIZE = 96, PEER_BODY_MAX = 3000 };

/* How the next thing that is said differs from the right one. All zeros: not at all. */
typedef struct mistake {
    uint16_t text_at;    /* modulo the size of what is sealed */
    uint8_t text_xor;
    uint16_t body_at;    /* modulo the size of the sealed body */
    uint8_t body_xor;
    int8_t resize;       /* bytes added to the body's end, or taken from it */
    bool wrong_key;
} mistake;

typedef struct curve_peer {
    bool is_server; /* the peer, not the session */
    mistake wrong;
    uint8_t own_public[32], own_secret[32], short_public[32], short_secret[32];
    uint8_t session_long[32], session_short[32]; /* public keys of the session */
    uint8_t shared[32];
    uint8_t cookie[COOKIE_SIZE];
    uint64_t counter, heard_counter;
    bool knows;   /* has what its second handshake command needs */
    bool spoiled; /* said something wrong in the handshake */
    size_t size;
    uint8_t body[PEER_BODY_MAX]; /* what it said last */
} curve_peer;

/* Keys of both sides: the peer's own, and those that the session is configured with. */
void curve_peer_begin(curve_peer *peer, setup *how);

/* Each makes `body`, without the frame's header. */
void curve_peer_hello(curve_peer *peer);
void curve_peer_welcome(curve_peer *peer);
void curve_peer_initiate(curve_peer *peer, const uint8_t *properties, size_t size);
void curve_peer_ready(curve_peer *peer, const uint8_t *properties, size_t size);
void curve_peer_message(curve_peer *peer, uint8_t flags, const uint8_t *text, size_t size);

/* What the session says in its handshake. It has to be right in every byte, but for an INITIATE
 * that answers something wrong. */
void curve_peer_take(curve_peer *peer, const uint8_t *body, size_t size);
/* Opens a MESSAGE of the session in place; answers where its text begins. */
uint8_t *curve_peer_open(curve_peer *peer, uint8_t *body, size_t size, uint8_t *out_flags,
                         size_t *out_size);

#endif
