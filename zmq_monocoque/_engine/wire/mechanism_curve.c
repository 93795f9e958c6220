/* The CURVE mechanism (RFC 26, as libzmq speaks it). S, C are the long-term keys of server and
 * client, S', C' those of this connection; Box[text](A->B) is sealed with A's secret and B's public
 * key.
 *
 *     client   HELLO C' Box[zeros](C'->S)
 *     server   WELCOME Box[S' cookie](S->C')       cookie: C', s', sealed with a key that lasts
 *     client   INITIATE cookie                     as long as this handshake
 *                Box[C vouch properties](C'->S')   vouch: Box[C' S](C->S')
 *     server   READY Box[properties](S'->C')
 *     both     MESSAGE Box[flags text]
 *
 * A nonce is 16 or 8 bytes that name its use, and 8 or 16 that are a counter or random. The server
 * makes keys, and works with them, only for a client that knows S; it remembers who the client is
 * only once the client has proved that it has c. Keys are wiped when they have done their work. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/crypto.h"
#include "command.h"
#include "mechanism.h"
#include "session_private.h"

enum {
    KEY = ZM_KEY_SIZE,
    MAC = ZM_MAC_SIZE,
    COUNTER = 8,      /* bytes of a nonce that count */
    RANDOM = 16,      /* bytes of a nonce that are random */
    PREFIX_COUNT = ZM_NONCE_SIZE - COUNTER,
    PREFIX_RANDOM = ZM_NONCE_SIZE - RANDOM,

    /* HELLO: 6 name, 2 version, 72 zeros, 32 C', 8 counter, box of 64 */
    HELLO_VERSION_AT = 6,
    HELLO_KEY_AT = 80,
    HELLO_COUNTER_AT = HELLO_KEY_AT + KEY,
    HELLO_BOX_AT = HELLO_COUNTER_AT + COUNTER,
    HELLO_TEXT = 64,
    HELLO_SIZE = HELLO_BOX_AT + MAC + HELLO_TEXT,

    COOKIE_TEXT = 2 * KEY,
    COOKIE_SIZE = RANDOM + MAC + COOKIE_TEXT,

    /* WELCOME: 8 name, 16 random, box of S' and cookie */
    WELCOME_RANDOM_AT = 8,
    WELCOME_BOX_AT = WELCOME_RANDOM_AT + RANDOM,
    WELCOME_TEXT = KEY + COOKIE_SIZE,
    WELCOME_SIZE = WELCOME_BOX_AT + MAC + WELCOME_TEXT,

    VOUCH_TEXT = 2 * KEY,
    VOUCH_BOX = MAC + VOUCH_TEXT,

    /* INITIATE: 9 name, cookie, 8 counter, box of C, 16 random, vouch, properties */
    INITIATE_COOKIE_AT = 9,
    INITIATE_COUNTER_AT = INITIATE_COOKIE_AT + COOKIE_SIZE,
    INITIATE_MAC_AT = INITIATE_COUNTER_AT + COUNTER,
    INITIATE_TEXT_AT = INITIATE_MAC_AT + MAC,
    INITIATE_TEXT_MIN = KEY + RANDOM + VOUCH_BOX,
    INITIATE_SIZE_MIN = INITIATE_TEXT_AT + INITIATE_TEXT_MIN,

    /* READY: 6 name, 8 counter, box of properties */
    READY_COUNTER_AT = 6,
    READY_MAC_AT = READY_COUNTER_AT + COUNTER,
    READY_TEXT_AT = READY_MAC_AT + MAC,

    /* MESSAGE: 8 name, 8 counter, box of flags and text */
    MESSAGE_COUNTER_AT = 8,
    MESSAGE_MAC_AT = MESSAGE_COUNTER_AT + COUNTER,
    MESSAGE_FLAGS_AT = MESSAGE_MAC_AT + MAC, /* what is before is the room of zm_box_seal() */

    INNER_MORE = 1,
    INNER_COMMAND = 2,
};

_Static_assert(HELLO_SIZE == 200 && WELCOME_SIZE == 168 && INITIATE_SIZE_MIN == 257
                   && READY_TEXT_AT == 30 && ZM__CURVE_HEAD == MESSAGE_FLAGS_AT + 1,
               "the sizes of ZMTP.md 4.6 and 4.7");
_Static_assert((int) MESSAGE_FLAGS_AT == (int) ZM_BOX_ROOM, "sealing writes none before the body");

typedef enum curve_step {
    WANTS_HELLO, WANTS_INITIATE, WANTS_WELCOME, WANTS_READY, DONE
} curve_step;

/* Of the handshake only. */
typedef struct curve_keys {
    uint8_t own_public[KEY], own_secret[KEY]; /* long-term */
    uint8_t server[KEY];                      /* client: S */
    uint8_t short_public[KEY], short_secret[KEY];
    uint8_t peer_short[KEY]; /* server: C' */
    uint8_t cookie_key[KEY];
} curve_keys;

typedef struct curve {
    curve_step step;
    curve_keys *keys; /* NULL: the handshake is over */
    uint8_t shared[KEY]; /* handshake */
    uint8_t send_key[KEY], receive_key[KEY];
    uint64_t counter;      /* of what was sent last */
    uint64_t peer_counter; /* of what came last, and was genuine */
} curve;

/* --- nonces ---------------------------------------------------------------------------------- */

static void store_u64(uint8_t *out, uint64_t value)
{
    uint64_t big = __builtin_bswap64(value);
    memcpy(out, &big, sizeof big);
}

static uint64_t load_u64(const uint8_t *bytes)
{
    uint64_t big;
    memcpy(&big, bytes, sizeof big);
    return __builtin_bswap64(big);
}

/* `prefix` and what follows it, which fills the rest. */
static void make_nonce(uint8_t nonce[ZM_NONCE_SIZE], const char *prefix, const uint8_t *rest)
{
    size_t size = strlen(prefix);
    ZM_ASSERT(size == PREFIX_COUNT || size == PREFIX_RANDOM);
    memcpy(nonce, prefix, size);
    memcpy(nonce + size, rest, ZM_NONCE_SIZE - size);
}

/* The next counter, at `out` and in the nonce. */
static void count_nonce(curve *c, uint8_t nonce[ZM_NONCE_SIZE], const char *prefix, uint8_t *out)
{
    store_u64(out, ++c->counter);
    make_nonce(nonce, prefix, out);
}

static void random_nonce(uint8_t nonce[ZM_NONCE_SIZE], const char *prefix, uint8_t *out)
{
    zm_crypto_get()->randombytes_buf(out, RANDOM);
    make_nonce(nonce, prefix, out);
}

/* --- life ------------------------------------------------------------------------------------ */

static void wipe_keys(curve *c)
{
    if (!c->keys)
        return;
    explicit_bzero(c->keys, sizeof *c->keys);
    zm_free(c->keys);
    c->keys = NULL;
}

static void curve_fini(zm_session *session)
{
    curve *c = session->mechanism_state;
    wipe_keys(c);
    explicit_bzero(c, sizeof *c);
    zm_free(c);
    session->mechanism_state = NULL;
}

static int curve_init(zm_session *session, const zm_session_config *config)
{
    curve *c = zm_calloc(sizeof *c);
    curve_keys *keys = zm_calloc(sizeof *keys);
    if (!c || !keys) {
        zm_free(c);
        zm_free(keys);
        return -ENOMEM;
    }
    memcpy(keys->own_secret, config->curve_secret, KEY);
    if (!config->as_server) {
        memcpy(keys->own_public, config->curve_public, KEY);
        memcpy(keys->server, config->curve_server, KEY);
    }
    c->step = config->as_server ? WANTS_HELLO : WANTS_WELCOME;
    c->keys = keys;
    session->mechanism_state = c;
    return 0;
}

static int forged(zm_session *session)
{
    return zm__session_fault(session, ZM__CRYPTOGRAPHIC);
}

/* As above; what was put into `out` since it had `before` bytes is not sent. */
static int withdraw(zm_session *session, size_t before)
{
    session->out_size = before;
    return forged(session);
}

static const char *message_prefix(bool from_server)
{
    return from_server ? "CurveZMQMESSAGES" : "CurveZMQMESSAGEC";
}

static void done(zm_session *session, zm_event *event)
{
    curve *c = session->mechanism_state;
    bool as_server = session->config.as_server;
    zm_box_key(c->send_key, c->shared, message_prefix(as_server));
    zm_box_key(c->receive_key, c->shared, message_prefix(!as_server));
    explicit_bzero(c->shared, sizeof c->shared);
    wipe_keys(c);
    c->step = DONE;
    zm__session_activate(session, event);
}

/* --- the client ------------------------------------------------------------------------------ */

static int send_hello(zm_session *session, curve *c)
{
    static const uint8_t zeros[HELLO_TEXT];
    const zm_crypto *crypto = zm_crypto_get();
    curve_keys *keys = c->keys;
    uint8_t nonce[ZM_NONCE_SIZE];
    size_t before = session->out_size;
    uint8_t *body = zm__command_send(session, "HELLO", HELLO_SIZE - HELLO_VERSION_AT);
    if (!body)
        return -ENOMEM;
    body -= HELLO_VERSION_AT;
    memset(body + HELLO_VERSION_AT, 0, HELLO_KEY_AT - HELLO_VERSION_AT);
    body[HELLO_VERSION_AT] = 1;
    if (crypto->box_keypair(keys->short_public, keys->short_secret) < 0)
        return withdraw(session, before);
    memcpy(body + HELLO_KEY_AT, keys->short_public, KEY);
    count_nonce(c, nonce, "CurveZMQHELLO---", body + HELLO_COUNTER_AT);
    if (crypto->box_easy(body + HELLO_BOX_AT, zeros, HELLO_TEXT, nonce, keys->server,
                         keys->short_secret) < 0)
        return withdraw(session, before); /* no key: the zeros of an option that was not set */
    return 0;
}

static int send_initiate(zm_session *session, curve *c, const uint8_t *server_short,
                         const uint8_t *cookie)
{
    const zm_crypto *crypto = zm_crypto_get();
    curve_keys *keys = c->keys;
    uint8_t nonce[ZM_NONCE_SIZE], vouch[VOUCH_TEXT];
    size_t properties_size = zm__command_properties_size(session), before = session->out_size;
    size_t text_size = INITIATE_TEXT_MIN + properties_size;
    uint8_t *body = zm__command_send(session, "INITIATE",
                                     INITIATE_TEXT_AT + text_size - INITIATE_COOKIE_AT);
    if (!body)
        return -ENOMEM;
    body -= INITIATE_COOKIE_AT;
    memcpy(body + INITIATE_COOKIE_AT, cookie, COOKIE_SIZE);

    uint8_t *text = body + INITIATE_TEXT_AT;
    memcpy(text, keys->own_public, KEY);
    random_nonce(nonce, "VOUCH---", text + KEY);
    memcpy(vouch, keys->short_public, KEY);
    memcpy(vouch + KEY, keys->server, KEY);
    if (crypto->box_easy(text + KEY + RANDOM, vouch, VOUCH_TEXT, nonce, server_short,
                         keys->own_secret) < 0)
        return withdraw(session, before);
    zm__command_put_properties(session, text + INITIATE_TEXT_MIN);

    count_nonce(c, nonce, "CurveZMQINITIATE", body + INITIATE_COUNTER_AT);
    crypto->box_detached_afternm(text, body + INITIATE_MAC_AT, text, text_size, nonce, c->shared);
    return 0;
}

static int take_welcome(zm_session *session, curve *c, const uint8_t *body, size_t size)
{
    const zm_crypto *crypto = zm_crypto_get();
    uint8_t nonce[ZM_NONCE_SIZE], text[WELCOME_TEXT];
    /* libzmq tells a wrong size as a forgery, too. */
    if (size != WELCOME_SIZE)
        return forged(session);
    make_nonce(nonce, "WELCOME-", body + WELCOME_RANDOM_AT);
    if (crypto->box_open_easy(text, body + WELCOME_BOX_AT, MAC + WELCOME_TEXT, nonce,
                              c->keys->server, c->keys->short_secret) < 0
        || crypto->box_beforenm(c->shared, text, c->keys->short_secret) < 0)
        return forged(session);
    c->step = WANTS_READY;
    return send_initiate(session, c, text, text + KEY);
}

static int take_ready(zm_session *session, curve *c, uint8_t *body, size_t size, zm_event *event)
{
    uint8_t nonce[ZM_NONCE_SIZE];
    if (size < READY_TEXT_AT)
        return zm__session_fault(session, ZM__MALFORMED_READY);
    uint8_t *text = body + READY_TEXT_AT;
    size_t text_size = size - READY_TEXT_AT;
    make_nonce(nonce, "CurveZMQREADY---", body + READY_COUNTER_AT);
    if (zm_crypto_get()->box_open_detached_afternm(text, text, body + READY_MAC_AT, text_size,
                                                   nonce, c->shared) < 0)
        return forged(session);
    c->peer_counter = load_u64(body + READY_COUNTER_AT);
    int answer = zm__command_take_ready(session, text, text_size);
    if (answer == 0)
        done(session, event);
    return answer;
}

static int client_command(zm_session *session, curve *c, uint8_t *body, size_t size,
                          zm_event *event)
{
    if (zm__command_is(body, size, "ERROR"))
        return zm__command_take_error(session, body + 6, size - 6);
    if (c->step == WANTS_WELCOME && zm__command_is(body, size, "WELCOME"))
        return take_welcome(session, c, body, size);
    if (c->step == WANTS_READY && zm__command_is(body, size, "READY"))
        return take_ready(session, c, body, size, event);
    return zm__session_fault(session, ZM__UNEXPECTED_COMMAND);
}

/* --- the server ------------------------------------------------------------------------------ */

static int send_welcome(zm_session *session, curve *c)
{
    const zm_crypto *crypto = zm_crypto_get();
    curve_keys *keys = c->keys;
    uint8_t nonce[ZM_NONCE_SIZE], text[WELCOME_TEXT], cookie[COOKIE_TEXT];
    size_t before = session->out_size;
    uint8_t *body = zm__command_send(session, "WELCOME", WELCOME_SIZE - WELCOME_RANDOM_AT);
    if (!body)
        return -ENOMEM;
    body -= WELCOME_RANDOM_AT;
    crypto->randombytes_buf(keys->cookie_key, KEY);
    memcpy(text, keys->short_public, KEY);
    memcpy(cookie, keys->peer_short, KEY);
    memcpy(cookie + KEY, keys->short_secret, KEY);
    random_nonce(nonce, "COOKIE--", text + KEY);
    crypto->secretbox_easy(text + KEY + RANDOM, cookie, COOKIE_TEXT, nonce, keys->cookie_key);
    explicit_bzero(cookie, sizeof cookie);

    random_nonce(nonce, "WELCOME-", body + WELCOME_RANDOM_AT);
    if (crypto->box_easy(body + WELCOME_BOX_AT, text, WELCOME_TEXT, nonce, keys->peer_short,
                         keys->own_secret) < 0)
        return withdraw(session, before);
    return 0;
}

static int take_hello(zm_session *session, curve *c, const uint8_t *body, size_t size)
{
    const zm_crypto *crypto = zm_crypto_get();
    curve_keys *keys = c->keys;
    uint8_t nonce[ZM_NONCE_SIZE], text[HELLO_TEXT];
    if (size != HELLO_SIZE || body[HELLO_VERSION_AT] != 1 || body[HELLO_VERSION_AT + 1] != 0)
        return zm__session_fault(session, ZM__MALFORMED_HELLO);
    make_nonce(nonce, "CurveZMQHELLO---", body + HELLO_COUNTER_AT);
    memcpy(keys->peer_short, body + HELLO_KEY_AT, KEY);
    if (crypto->box_open_easy(text, body + HELLO_BOX_AT, MAC + HELLO_TEXT, nonce, keys->peer_short,
                              keys->own_secret) < 0
        || crypto->box_keypair(keys->short_public, keys->short_secret) < 0)
        return forged(session);
    c->step = WANTS_INITIATE;
    return send_welcome(session, c);
}

/* Is the cookie the one that was sent? */
static bool cookie_is_ours(const curve_keys *keys, const uint8_t *cookie)
{
    const zm_crypto *crypto = zm_crypto_get();
    uint8_t nonce[ZM_NONCE_SIZE], text[COOKIE_TEXT];
    make_nonce(nonce, "COOKIE--", cookie);
    bool ours = crypto->secretbox_open_easy(text, cookie + RANDOM, MAC + COOKIE_TEXT, nonce,
                                            keys->cookie_key) == 0
                && crypto->memcmp(text, keys->peer_short, KEY) == 0
                && crypto->memcmp(text + KEY, keys->short_secret, KEY) == 0;
    explicit_bzero(text, sizeof text);
    return ours;
}

static int take_initiate(zm_session *session, curve *c, uint8_t *body, size_t size,
                         zm_event *event)
{
    const zm_crypto *crypto = zm_crypto_get();
    curve_keys *keys = c->keys;
    uint8_t nonce[ZM_NONCE_SIZE], vouch[VOUCH_TEXT];
    if (size < INITIATE_SIZE_MIN)
        return zm__session_fault(session, ZM__MALFORMED_INITIATE);
    bool ours = cookie_is_ours(keys, body + INITIATE_COOKIE_AT);
    explicit_bzero(keys->cookie_key, KEY);
    if (!ours || crypto->box_beforenm(c->shared, keys->peer_short, keys->short_secret) < 0)
        return forged(session);

    uint8_t *text = body + INITIATE_TEXT_AT;
    size_t text_size = size - INITIATE_TEXT_AT;
    make_nonce(nonce, "CurveZMQINITIATE", body + INITIATE_COUNTER_AT);
    if (crypto->box_open_detached_afternm(text, text, body + INITIATE_MAC_AT, text_size, nonce,
                                          c->shared) < 0)
        return forged(session);
    /* The vouch shows that whoever has c chose C'. */
    make_nonce(nonce, "VOUCH---", text + KEY);
    if (crypto->box_open_easy(vouch, text + KEY + RANDOM, VOUCH_BOX, nonce, text,
                              keys->short_secret) < 0)
        return forged(session);
    if (crypto->memcmp(vouch, keys->peer_short, KEY) != 0)
        return zm__session_fault(session, ZM__KEY_EXCHANGE);
    c->peer_counter = load_u64(body + INITIATE_COUNTER_AT);
    c->step = WANTS_READY; /* ours, that is */
    int answer = zm__command_take_properties(session, text + INITIATE_TEXT_MIN,
                                             text_size - INITIATE_TEXT_MIN);
    if (answer < 0 || session->config.zap) {
        if (answer == 0)
            zm__session_ask(session, event, text, KEY);
        return answer;
    }
    return zm__mechanism_curve.admitted(session, event);
}

static int curve_admitted(zm_session *session, zm_event *event)
{
    curve *c = session->mechanism_state;
    uint8_t nonce[ZM_NONCE_SIZE];
    size_t size = zm__command_properties_size(session);
    uint8_t *body = zm__command_send(session, "READY", READY_TEXT_AT - READY_COUNTER_AT + size);
    if (!body)
        return -ENOMEM;
    body -= READY_COUNTER_AT;
    zm__command_put_properties(session, body + READY_TEXT_AT);
    count_nonce(c, nonce, "CurveZMQREADY---", body + READY_COUNTER_AT);
    zm_crypto_get()->box_detached_afternm(body + READY_TEXT_AT, body + READY_MAC_AT,
                                          body + READY_TEXT_AT, size, nonce, c->shared);
    done(session, event);
    return 0;
}

static int server_command(zm_session *session, curve *c, uint8_t *body, size_t size,
                          zm_event *event)
{
    if (c->step == WANTS_HELLO && zm__command_is(body, size, "HELLO"))
        return take_hello(session, c, body, size);
    if (c->step == WANTS_INITIATE && zm__command_is(body, size, "INITIATE"))
        return take_initiate(session, c, body, size, event);
    return zm__session_fault(session, ZM__UNEXPECTED_COMMAND);
}

/* --- both ------------------------------------------------------------------------------------ */

static int curve_start(zm_session *session, zm_event *event)
{
    (void) event;
    return session->config.as_server ? 0 : send_hello(session, session->mechanism_state);
}

static uint32_t curve_bound(const zm_session *session, uint64_t *out_size)
{
    const curve *c = session->mechanism_state;
    *out_size = ZM__SHORT_COMMAND_MAX;
    if (c->step == WANTS_HELLO || c->step == WANTS_WELCOME)
        return c->step == WANTS_HELLO ? ZM__MALFORMED_HELLO : ZM__MALFORMED_WELCOME;
    bool as_server = session->config.as_server;
    *out_size = zm__session_with_metadata(session, as_server ? INITIATE_SIZE_MIN : READY_TEXT_AT);
    return as_server ? ZM__MALFORMED_INITIATE : ZM__MALFORMED_READY;
}

static int curve_command(zm_session *session, uint8_t *body, size_t size, zm_event *event)
{
    curve *c = session->mechanism_state;
    return session->config.as_server ? server_command(session, c, body, size, event)
                                     : client_command(session, c, body, size, event);
}

int zm__curve_open(zm_session *session, uint8_t *body, size_t size, unsigned *out_flags)
{
    curve *c = session->mechanism_state;
    if (size <= 1 || size <= body[0])
        return zm__session_fault(session, ZM__MALFORMED_COMMAND);
    if (!zm__command_is(body, size, "MESSAGE"))
        return zm__session_fault(session, ZM__UNEXPECTED_COMMAND);
    if (size < ZM__CURVE_HEAD)
        return zm__session_fault(session, ZM__MALFORMED_MESSAGE);
    uint64_t counter = load_u64(body + MESSAGE_COUNTER_AT);
    if (counter <= c->peer_counter)
        return zm__session_fault(session, ZM__INVALID_SEQUENCE);
    uint8_t *text = body + MESSAGE_FLAGS_AT;
    if (zm_box_open(text, size - MESSAGE_FLAGS_AT, body + MESSAGE_MAC_AT,
                    body + MESSAGE_COUNTER_AT, c->receive_key) < 0)
        return forged(session);
    c->peer_counter = counter; /* a forgery does not move it */
    *out_flags = (text[0] & INNER_MORE ? ZM_FRAME_MORE : 0u)
                 | (text[0] & INNER_COMMAND ? ZM_FRAME_COMMAND : 0u);
    return 0;
}

void zm__curve_seal(zm_session *session, uint8_t *body, unsigned flags, size_t size)
{
    curve *c = session->mechanism_state;
    uint8_t counter[COUNTER], mac[MAC];
    store_u64(counter, ++c->counter);
    uint8_t *text = body + MESSAGE_FLAGS_AT;
    text[0] = (uint8_t) ((flags & ZM_FRAME_MORE ? INNER_MORE : 0)
                         | (flags & ZM_FRAME_COMMAND ? INNER_COMMAND : 0));
    zm_box_seal(text, 1 + size, mac, counter, c->send_key);
    zm__command_name(body, "MESSAGE");
    memcpy(body + MESSAGE_COUNTER_AT, counter, COUNTER);
    memcpy(body + MESSAGE_MAC_AT, mac, MAC);
}

const zm__mechanism zm__mechanism_curve = {
    .name = "CURVE",
    .init = curve_init,
    .fini = curve_fini,
    .start = curve_start,
    .bound = curve_bound,
    .command = curve_command,
    .admitted = curve_admitted,
};
