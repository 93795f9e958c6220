#include "curve_peer.h"

#include <string.h>

#include "base/crypto.h"

enum { KEY = 32, MAC = 16, NONCE = 24, VOUCH = MAC + 2 * KEY };

static const zm_crypto *sodium(void)
{
    static const zm_crypto *functions;
    if (!functions) {
        const char *path = getenv("ZM_FUZZ_SODIUM");
        zm_crypto_path(path ? path : "");
        functions = zm_crypto_get();
        if (!functions)
            fprintf(stderr, "ZM_FUZZ_SODIUM is to name PyNaCl's _sodium*.so, or libsodium.so\n");
        REQUIRE(functions);
    }
    return functions;
}

static void make_pair(uint8_t *public_key, uint8_t *secret_key, uint8_t seed)
{
    memset(secret_key, seed, KEY);
    sodium()->scalarmult_base(public_key, secret_key);
}

void curve_peer_begin(curve_peer *peer, setup *how)
{
    static uint8_t session_public[KEY], session_secret[KEY], peer_public[KEY];
    memset(peer, 0, offsetof(curve_peer, body));
    peer->is_server = !how->config.as_server;
    make_pair(session_public, session_secret, 0x51);
    make_pair(peer->own_public, peer->own_secret, 0x52);
    make_pair(peer->short_public, peer->short_secret, 0x53);
    memcpy(peer_public, peer->own_public, KEY);
    memcpy(peer->session_long, session_public, KEY);
    how->config.curve_public = session_public;
    how->config.curve_secret = session_secret;
    how->config.curve_server = peer->is_server ? peer_public : session_public;
}

/* --- saying ---------------------------------------------------------------------------------- */

static void put(curve_peer *peer, const void *bytes, size_t size)
{
    REQUIRE(size <= sizeof peer->body - peer->size);
    if (size)
        memcpy(peer->body + peer->size, bytes, size);
    peer->size += size;
}

static void put_zeros(curve_peer *peer, size_t size)
{
    REQUIRE(size <= sizeof peer->body - peer->size);
    memset(peer->body + peer->size, 0, size);
    peer->size += size;
}

static void name(curve_peer *peer, const char *text)
{
    uint8_t size = (uint8_t) strlen(text);
    peer->size = 0;
    put(peer, &size, 1);
    put(peer, text, size);
}

/* Puts the next counter, and makes a nonce of it. */
static void count(curve_peer *peer, const char *prefix, uint8_t nonce[NONCE])
{
    uint64_t big = __builtin_bswap64(++peer->counter);
    memcpy(nonce, prefix, NONCE - 8);
    memcpy(nonce + NONCE - 8, &big, 8);
    put(peer, nonce + NONCE - 8, 8);
}

/* Puts 16 bytes that could be random, and makes a nonce of them. */
static void number(curve_peer *peer, const char *prefix, uint8_t nonce[NONCE])
{
    memcpy(nonce, prefix, 8);
    memset(nonce + 8, 0xA5, 16);
    put(peer, nonce + 8, 16);
}

/* Puts a box of the last `size` bytes that were put, in their place. */
static void seal(curve_peer *peer, size_t size, const uint8_t *nonce, const uint8_t *shared)
{
    uint8_t key[KEY];
    uint8_t *text = peer->body + peer->size - size;
    put_zeros(peer, MAC);
    memmove(text + MAC, text, size);
    if (size)
        text[MAC + peer->wrong.text_at % size] ^= peer->wrong.text_xor;
    memcpy(key, shared, KEY);
    key[0] ^= peer->wrong.wrong_key;
    sodium()->box_detached_afternm(text + MAC, text, text + MAC, size, nonce, key);
}

/* The changes that come after sealing. */
static void spoil(curve_peer *peer)
{
    const mistake *wrong = &peer->wrong;
    if (wrong->text_xor || wrong->body_xor || wrong->resize || wrong->wrong_key)
        peer->spoiled = true;
    if (wrong->resize < 0 && (size_t) -wrong->resize <= peer->size)
        peer->size -= (size_t) -wrong->resize;
    else if (wrong->resize > 0)
        put_zeros(peer, (size_t) wrong->resize);
    if (peer->size)
        peer->body[wrong->body_at % peer->size] ^= wrong->body_xor;
}

static void shared_with(const uint8_t *public_key, const uint8_t *secret_key, uint8_t *out)
{
    if (sodium()->box_beforenm(out, public_key, secret_key) < 0)
        memset(out, 0, KEY); /* a public key that is none: the session sees to it */
}

void curve_peer_hello(curve_peer *peer)
{
    static const uint8_t version[] = {1, 0};
    uint8_t nonce[NONCE], shared[KEY];
    name(peer, "HELLO");
    put(peer, version, sizeof version);
    put_zeros(peer, 72);
    put(peer, peer->short_public, KEY);
    count(peer, "CurveZMQHELLO---", nonce);
    put_zeros(peer, 64);
    shared_with(peer->session_long, peer->short_secret, shared);
    seal(peer, 64, nonce, shared);
    spoil(peer);
}

void curve_peer_welcome(curve_peer *peer)
{
    uint8_t nonce[NONCE], shared[KEY];
    name(peer, "WELCOME");
    number(peer, "WELCOME-", nonce);
    put(peer, peer->short_public, KEY);
    put(peer, peer->cookie, COOKIE_SIZE);
    shared_with(peer->session_short, peer->own_secret, shared);
    seal(peer, KEY + COOKIE_SIZE, nonce, shared);
    spoil(peer);
}

void curve_peer_initiate(curve_peer *peer, const uint8_t *properties, size_t size)
{
    uint8_t nonce[NONCE], vouch_nonce[NONCE], shared[KEY];
    mistake later = peer->wrong;
    name(peer, "INITIATE");
    put(peer, peer->cookie, COOKIE_SIZE);
    count(peer, "CurveZMQINITIATE", nonce);
    put(peer, peer->own_public, KEY);
    number(peer, "VOUCH---", vouch_nonce);
    put(peer, peer->short_public, KEY);
    put(peer, peer->session_long, KEY);
    shared_with(peer->session_short, peer->own_secret, shared);
    /* A change at 32 KB and beyond is one of the vouch. */
    bool in_vouch = later.text_at & 0x8000;
    if (!in_vouch)
        peer->wrong = (mistake){0};
    seal(peer, 2 * KEY, vouch_nonce, shared);
    peer->wrong = later;
    if (in_vouch)
        peer->wrong.text_xor = 0;
    peer->spoiled = peer->spoiled || in_vouch;
    put(peer, properties, size);
    seal(peer, KEY + 16 + VOUCH + size, nonce, peer->shared);
    spoil(peer);
}

void curve_peer_ready(curve_peer *peer, const uint8_t *properties, size_t size)
{
    uint8_t nonce[NONCE];
    name(peer, "READY");
    count(peer, "CurveZMQREADY---", nonce);
    put(peer, properties, size);
    seal(peer, size, nonce, peer->shared);
    spoil(peer);
}

void curve_peer_message(curve_peer *peer, uint8_t flags, const uint8_t *text, size_t size)
{
    uint8_t nonce[NONCE];
    name(peer, "MESSAGE");
    count(peer, peer->is_server ? "CurveZMQMESSAGES" : "CurveZMQMESSAGEC", nonce);
    put(peer, &flags, 1);
    put(peer, text, size);
    seal(peer, 1 + size, nonce, peer->shared);
    spoil(peer);
}

/* --- hearing --------------------------------------------------------------------------------- */

static bool begins(const uint8_t *body, size_t size, const char *text)
{
    return size > strlen(text) && body[0] == strlen(text) && !memcmp(body + 1, text, body[0]);
}

static void nonce_of(uint8_t nonce[NONCE], const char *prefix, const uint8_t *rest)
{
    memcpy(nonce, prefix, strlen(prefix));
    memcpy(nonce + strlen(prefix), rest, NONCE - strlen(prefix));
}

static void count_heard(curve_peer *peer, const uint8_t *bytes)
{
    uint64_t big;
    memcpy(&big, bytes, sizeof big);
    REQUIRE(__builtin_bswap64(big) == ++peer->heard_counter);
}

static void take_hello(curve_peer *peer, const uint8_t *body, size_t size)
{
    static const uint8_t zeros[72];
    uint8_t nonce[NONCE], text[64];
    REQUIRE(size == 200 && body[6] == 1 && body[7] == 0 && memcmp(body + 8, zeros, 72) == 0);
    memcpy(peer->session_short, body + 80, KEY);
    count_heard(peer, body + 112);
    nonce_of(nonce, "CurveZMQHELLO---", body + 112);
    REQUIRE(
        sodium()->box_open_easy(text, body + 120, 80, nonce, peer->session_short, peer->own_secret)
        == 0);
    REQUIRE(memcmp(text, zeros, sizeof text) == 0);
    shared_with(peer->session_short, peer->short_secret, peer->shared);
    peer->knows = true;
}

static void take_welcome(curve_peer *peer, const uint8_t *body, size_t size)
{
    uint8_t nonce[NONCE], text[KEY + COOKIE_SIZE];
    REQUIRE(size == 168);
    nonce_of(nonce, "WELCOME-", body + 8);
    REQUIRE(sodium()->box_open_easy(text, body + 24, sizeof text + MAC, nonce, peer->session_long,
                                    peer->short_secret)
            == 0);
    memcpy(peer->session_short, text, KEY);
    memcpy(peer->cookie, text + KEY, COOKIE_SIZE);
    shared_with(peer->session_short, peer->short_secret, peer->shared);
    peer->knows = true;
}

static void take_initiate(curve_peer *peer, const uint8_t *body, size_t size)
{
    enum { AT = 9 + COOKIE_SIZE + 8 };
    uint8_t nonce[NONCE], text[2048], vouch[2 * KEY];
    REQUIRE(size >= AT + MAC + KEY + 16 + VOUCH && size <= sizeof text);
    REQUIRE(memcmp(body + 9, peer->cookie, COOKIE_SIZE) == 0);
    count_heard(peer, body + 9 + COOKIE_SIZE);
    nonce_of(nonce, "CurveZMQINITIATE", body + 9 + COOKIE_SIZE);
    REQUIRE(sodium()->box_open_detached_afternm(text, body + AT + MAC, body + AT, size - AT - MAC,
                                                nonce, peer->shared)
            == 0);
    REQUIRE(memcmp(text, peer->session_long, KEY) == 0);
    nonce_of(nonce, "VOUCH---", text + KEY);
    REQUIRE(sodium()->box_open_easy(vouch, text + KEY + 16, VOUCH, nonce, text, peer->short_secret)
            == 0);
    REQUIRE(memcmp(vouch, peer->session_short, KEY) == 0);
    REQUIRE(memcmp(vouch + KEY, peer->own_public, KEY) == 0);
}

static void take_ready(curve_peer *peer, const uint8_t *body, size_t size)
{
    uint8_t nonce[NONCE], text[2048];
    REQUIRE(size >= 6 + 8 + MAC && size <= sizeof text);
    count_heard(peer, body + 6);
    nonce_of(nonce, "CurveZMQREADY---", body + 6);
    REQUIRE(sodium()->box_open_detached_afternm(text, body + 14 + MAC, body + 14, size - 14 - MAC,
                                                nonce, peer->shared)
            == 0);
}

void curve_peer_take(curve_peer *peer, const uint8_t *body, size_t size)
{
    if (peer->is_server && begins(body, size, "HELLO"))
        take_hello(peer, body, size);
    else if (peer->is_server && begins(body, size, "INITIATE") && peer->spoiled)
        peer->heard_counter++; /* what it answers was changed, with the right key, by us */
    else if (peer->is_server && begins(body, size, "INITIATE"))
        take_initiate(peer, body, size);
    else if (!peer->is_server && begins(body, size, "WELCOME"))
        take_welcome(peer, body, size);
    else if (!peer->is_server && begins(body, size, "READY"))
        take_ready(peer, body, size);
    else
        REQUIRE(!peer->is_server && begins(body, size, "ERROR"));
}

uint8_t *curve_peer_open(curve_peer *peer, uint8_t *body, size_t size, uint8_t *out_flags,
                         size_t *out_size)
{
    uint8_t nonce[NONCE];
    uint8_t *text = body + 16 + MAC;
    REQUIRE(size >= 33 && begins(body, size, "MESSAGE"));
    count_heard(peer, body + 8);
    nonce_of(nonce, peer->is_server ? "CurveZMQMESSAGEC" : "CurveZMQMESSAGES", body + 8);
    REQUIRE(sodium()->box_open_detached_afternm(text, text, body + 16, size - 16 - MAC, nonce,
                                                peer->shared)
            == 0);
    *out_flags = text[0];
    *out_size = size - 33;
    return text + 1;
}
