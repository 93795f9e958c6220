/* The CURVE mechanism (RFC 26, as libzmq speaks it). S, C are the long-term keys of server and
 * client, S', C' those of this connection; Box[text](A->B) is sealed with A's secret and B's public
 * key.
 *
 *     client   HELLO C' Box[zeros](C'->S)
 *     server   WELCOME Box[S' cookie](S->C')       cookie: C', s', sealed with a key that lasts
 *     client   INITIATE cookie                     a minute or two
 *                Box[C vouch properties](C'->S')   vouch: Box[C' S](C->S')
 *     server   READY Box[properties](S'->C')
 *     both     MESSAGE Box[flags text]
 *
 * A nonce is 16 or 8 bytes that name its use, and 8 or 16 that are a counter or random. The server
 * makes keys, and works with them, only for a client that knows S. Between WELCOME and INITIATE it
 * keeps none: they are in the cookie. It does keep the cookie's nonce, 16 bytes, so that what was
 * recorded from one connection opens nothing on another. Secrets live in locked memory, pass over
 * the stack, and are wiped when they have done their work. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/crypto.h"
#include "base/secret.h"
#include "base/wire_order.h"
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
               "the sizes of protocol.md#curve-handshake, #curve-messages");
_Static_assert((int) MESSAGE_FLAGS_AT == (int) ZM_BOX_ROOM, "sealing writes none before the body");

typedef enum curve_step {
    WANTS_HELLO,
    WANTS_INITIATE,
    WANTS_WELCOME,
    WANTS_READY,
    DONE
} curve_step;

/* Of a client, during the handshake. */
typedef struct curve_names {
    uint8_t own[KEY];    /* C */
    uint8_t server[KEY]; /* S */
    uint8_t own_short[KEY];
} curve_names;

typedef union curve_secrets {
    struct {
        uint8_t own[KEY]; /* long-term */
        union {
            uint8_t cookie[COOKIE_TEXT];
            struct {
                uint8_t peer_short[KEY]; /* server: C', no secret */
                uint8_t own_short[KEY];
            };
        };
        uint8_t shared[KEY];
    };
    struct {
        uint8_t send[KEY], receive[KEY];
    }; /* when the handshake is over */
} curve_secrets;

_Static_assert(sizeof(curve_secrets) <= ZM_SECRET_BYTES, "they fit");
_Static_assert(sizeof(zm_cookie_keys) <= ZM_SECRET_BYTES, "they fit");

typedef struct curve {
    curve_step step;
    uint8_t cookie_nonce[RANDOM]; /* server: of the cookie that is out */
    curve_secrets *secrets;       /* NULL: all are in the cookie */
    curve_names *names;           /* client; NULL: the handshake is over */
    zm_cookie_keys *own_cookies;  /* server; NULL: the configuration's */
    uint64_t counter;      /* of what was sent last */
    uint64_t peer_counter; /* of what came last, and was genuine */
} curve;

/* --- nonces ---------------------------------------------------------------------------------- */

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
    zm_store_u64(out, ++c->counter);
    make_nonce(nonce, prefix, out);
}

static void random_nonce(uint8_t nonce[ZM_NONCE_SIZE], const char *prefix, uint8_t *out)
{
    zm_crypto_get()->randombytes_buf(out, RANDOM);
    make_nonce(nonce, prefix, out);
}

/* --- cookie keys ----------------------------------------------------------------------------- */

static const int64_t cookie_age_ns = INT64_C(60) * 1000 * 1000 * 1000;

void zm_cookie_keys_turn(zm_cookie_keys *keys, int64_t now_ns)
{
    if (!keys->made || now_ns - keys->made >= cookie_age_ns) {
        memcpy(keys->before, keys->now, KEY);
        keys->before_until = keys->made ? keys->made + 2 * cookie_age_ns : 0;
        keys->made = now_ns;
        zm_crypto_get()->randombytes_buf(keys->now, KEY);
    }
    if (keys->before_until && now_ns >= keys->before_until) {
        explicit_bzero(keys->before, KEY);
        keys->before_until = 0;
    }
}

/* --- life ------------------------------------------------------------------------------------ */

static void forget_secrets(curve *c)
{
    zm_secret_free(c->secrets);
    c->secrets = NULL;
}

static void curve_fini(zm_session *session)
{
    curve *c = session->mechanism_state;
    forget_secrets(c);
    zm_secret_free(c->own_cookies);
    zm_free(c->names);
    zm_free(c);
    session->mechanism_state = NULL;
}

static int curve_init(zm_session *session, const zm_session_config *config)
{
    curve *c = session->mechanism_state = zm_calloc(sizeof *c);
    if (!c)
        return -ENOMEM;
    c->step = config->as_server ? WANTS_HELLO : WANTS_WELCOME;
    c->secrets = zm_secret_new();
    if (!c->secrets)
        return -ENOMEM;
    if (config->curve_secret)
        memcpy(c->secrets->own, config->curve_secret, KEY);
    if (config->as_server && !config->cookies) {
        c->own_cookies = zm_secret_new();
        if (!c->own_cookies)
            return -ENOMEM;
        zm_cookie_keys_turn(c->own_cookies, 1);
    } else if (!config->as_server) {
        c->names = zm_alloc(sizeof *c->names);
        if (!c->names)
            return -ENOMEM;
        memcpy(c->names->own, config->curve_public, KEY);
        memcpy(c->names->server, config->curve_server, KEY);
    }
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
    curve_secrets *secrets = c->secrets;
    zm_box_key(secrets->send, secrets->shared, message_prefix(as_server));
    zm_box_key(secrets->receive, secrets->shared, message_prefix(!as_server));
    explicit_bzero(secrets->own_short, sizeof secrets->own_short);
    explicit_bzero(secrets->shared, sizeof secrets->shared);
    zm_free(c->names);
    c->names = NULL;
    c->step = DONE;
    zm__session_activate(session, event);
}

/* --- the client ------------------------------------------------------------------------------ */

static int send_hello(zm_session *session, curve *c)
{
    static const uint8_t zeros[HELLO_TEXT];
    const zm_crypto *crypto = zm_crypto_get();
    curve_names *names = c->names;
    uint8_t nonce[ZM_NONCE_SIZE];
    size_t before = session->out_size;
    uint8_t *body = zm__command_send(session, "HELLO", HELLO_SIZE - HELLO_VERSION_AT);
    if (!body)
        return -ENOMEM;
    body -= HELLO_VERSION_AT;
    memset(body + HELLO_VERSION_AT, 0, HELLO_KEY_AT - HELLO_VERSION_AT);
    body[HELLO_VERSION_AT] = 1;
    if (crypto->box_keypair(names->own_short, c->secrets->own_short) < 0)
        return withdraw(session, before);
    memcpy(body + HELLO_KEY_AT, names->own_short, KEY);
    count_nonce(c, nonce, "CurveZMQHELLO---", body + HELLO_COUNTER_AT);
    if (crypto->box_easy(body + HELLO_BOX_AT, zeros, HELLO_TEXT, nonce, names->server,
                         c->secrets->own_short)
        < 0)
        return withdraw(session, before); /* no key: the zeros of an option that was not set */
    return 0;
}

static int send_initiate(zm_session *session, curve *c, const uint8_t *server_short,
                         const uint8_t *cookie)
{
    const zm_crypto *crypto = zm_crypto_get();
    const curve_names *names = c->names;
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
    memcpy(text, names->own, KEY);
    random_nonce(nonce, "VOUCH---", text + KEY);
    memcpy(vouch, names->own_short, KEY);
    memcpy(vouch + KEY, names->server, KEY);
    if (crypto->box_easy(text + KEY + RANDOM, vouch, VOUCH_TEXT, nonce, server_short,
                         c->secrets->own)
        < 0)
        return withdraw(session, before);
    zm__command_put_properties(session, text + INITIATE_TEXT_MIN);

    count_nonce(c, nonce, "CurveZMQINITIATE", body + INITIATE_COUNTER_AT);
    crypto->box_detached_afternm(text, body + INITIATE_MAC_AT, text, text_size, nonce,
                                 c->secrets->shared);
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
                              c->names->server, c->secrets->own_short)
            < 0
        || crypto->box_beforenm(c->secrets->shared, text, c->secrets->own_short) < 0)
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
                                                   nonce, c->secrets->shared)
        < 0)
        return forged(session);
    c->peer_counter = zm_load_u64(body + READY_COUNTER_AT);
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

static const zm_cookie_keys *cookie_keys(const zm_session *session)
{
    const curve *c = session->mechanism_state;
    return c->own_cookies ? c->own_cookies : session->config.cookies;
}

/* S' and s' are in secrets->cookie and `own_short` only until this is done. */
static int send_welcome(zm_session *session, curve *c, const uint8_t *own_short)
{
    const zm_crypto *crypto = zm_crypto_get();
    curve_secrets *secrets = c->secrets;
    uint8_t nonce[ZM_NONCE_SIZE], text[WELCOME_TEXT];
    size_t before = session->out_size;
    uint8_t *body = zm__command_send(session, "WELCOME", WELCOME_SIZE - WELCOME_RANDOM_AT);
    if (!body)
        return -ENOMEM;
    body -= WELCOME_RANDOM_AT;
    memcpy(text, own_short, KEY);
    random_nonce(nonce, "COOKIE--", text + KEY);
    memcpy(c->cookie_nonce, text + KEY, RANDOM);
    crypto->secretbox_easy(text + KEY + RANDOM, secrets->cookie, COOKIE_TEXT, nonce,
                           cookie_keys(session)->now);

    random_nonce(nonce, "WELCOME-", body + WELCOME_RANDOM_AT);
    if (crypto->box_easy(body + WELCOME_BOX_AT, text, WELCOME_TEXT, nonce, secrets->peer_short,
                         secrets->own)
        < 0)
        return withdraw(session, before);
    forget_secrets(c);
    return 0;
}

static int take_hello(zm_session *session, curve *c, const uint8_t *body, size_t size)
{
    const zm_crypto *crypto = zm_crypto_get();
    curve_secrets *secrets = c->secrets;
    uint8_t nonce[ZM_NONCE_SIZE], text[HELLO_TEXT], own_short[KEY];
    if (size != HELLO_SIZE || body[HELLO_VERSION_AT] != 1 || body[HELLO_VERSION_AT + 1] != 0)
        return zm__session_fault(session, ZM__MALFORMED_HELLO);
    make_nonce(nonce, "CurveZMQHELLO---", body + HELLO_COUNTER_AT);
    memcpy(secrets->peer_short, body + HELLO_KEY_AT, KEY);
    if (crypto->box_open_easy(text, body + HELLO_BOX_AT, MAC + HELLO_TEXT, nonce,
                              secrets->peer_short, secrets->own)
            < 0
        || crypto->box_keypair(own_short, secrets->own_short) < 0)
        return forged(session);
    c->step = WANTS_INITIATE;
    return send_welcome(session, c, own_short);
}

static bool unseal(curve *c, const uint8_t *cookie, const uint8_t *nonce, const uint8_t *key)
{
    return zm_crypto_get()->secretbox_open_easy(c->secrets->cookie, cookie + RANDOM,
                                                MAC + COOKIE_TEXT, nonce, key)
           == 0;
}

/* Takes C' and s' from the cookie, which must be the one that was sent on this connection. */
static bool open_cookie(const zm_session *session, curve *c, const uint8_t *cookie)
{
    const zm_cookie_keys *keys = cookie_keys(session);
    uint8_t nonce[ZM_NONCE_SIZE];
    make_nonce(nonce, "COOKIE--", cookie);
    return zm_crypto_get()->memcmp(cookie, c->cookie_nonce, RANDOM) == 0
           && (unseal(c, cookie, nonce, keys->now)
               || (keys->before_until && unseal(c, cookie, nonce, keys->before)));
}

static int take_initiate(zm_session *session, curve *c, uint8_t *body, size_t size, zm_event *event)
{
    const zm_crypto *crypto = zm_crypto_get();
    uint8_t nonce[ZM_NONCE_SIZE], vouch[VOUCH_TEXT];
    if (size < INITIATE_SIZE_MIN)
        return zm__session_fault(session, ZM__MALFORMED_INITIATE);
    curve_secrets *secrets = c->secrets = zm_secret_new();
    if (!secrets)
        return zm__session_break(session, -ENOMEM, ZM_FAULT_NONE, 0);
    if (!open_cookie(session, c, body + INITIATE_COOKIE_AT)
        || crypto->box_beforenm(secrets->shared, secrets->peer_short, secrets->own_short) < 0)
        return forged(session);

    uint8_t *text = body + INITIATE_TEXT_AT;
    size_t text_size = size - INITIATE_TEXT_AT;
    make_nonce(nonce, "CurveZMQINITIATE", body + INITIATE_COUNTER_AT);
    if (crypto->box_open_detached_afternm(text, text, body + INITIATE_MAC_AT, text_size, nonce,
                                          secrets->shared)
        < 0)
        return forged(session);
    /* The vouch shows that whoever has c chose C'. */
    make_nonce(nonce, "VOUCH---", text + KEY);
    if (crypto->box_open_easy(vouch, text + KEY + RANDOM, VOUCH_BOX, nonce, text,
                              secrets->own_short)
        < 0)
        return forged(session);
    if (crypto->memcmp(vouch, secrets->peer_short, KEY) != 0)
        return zm__session_fault(session, ZM__KEY_EXCHANGE);
    c->peer_counter = zm_load_u64(body + INITIATE_COUNTER_AT);
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
                                          body + READY_TEXT_AT, size, nonce, c->secrets->shared);
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
    uint64_t counter = zm_load_u64(body + MESSAGE_COUNTER_AT);
    if (counter <= c->peer_counter)
        return zm__session_fault(session, ZM__INVALID_SEQUENCE);
    uint8_t *text = body + MESSAGE_FLAGS_AT;
    if (zm_box_open(text, size - MESSAGE_FLAGS_AT, body + MESSAGE_MAC_AT, body + MESSAGE_COUNTER_AT,
                    c->secrets->receive)
        < 0)
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
    zm_store_u64(counter, ++c->counter);
    uint8_t *text = body + MESSAGE_FLAGS_AT;
    text[0] = (uint8_t) ((flags & ZM_FRAME_MORE ? INNER_MORE : 0)
                         | (flags & ZM_FRAME_COMMAND ? INNER_COMMAND : 0));
    zm_box_seal(text, 1 + size, mac, counter, c->secrets->send);
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
