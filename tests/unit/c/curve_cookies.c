/* The cookies of a CURVE server: which of its keys open them, and on which connection.
 * run() is given the shared object that has libsodium, and exits with 1 where all is not
 * well. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/secret.h"
#include "zmtp/session.h"

#define CHECK(x) \
    ((x) ? (void) 0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), exit(1)))

enum { DEALER = 5, ROUTER = 6, CRYPTOGRAPHIC = 0x11000001, BYTES_MAX = 2048, INITIATE_MIN = 257 };

static const int64_t second = 1000000000;
static uint8_t server_public[32], server_secret[32], client_public[32], client_secret[32];

/* One side: the bytes that are for it, and a session that has taken `taken` of them. */
typedef struct side {
    zm_session session;
    uint8_t bytes[BYTES_MAX];
    size_t size, taken;
    bool ready;
    ssize_t error;
} side;

static void start(side *s, bool as_server, const zm_cookie_keys *cookies)
{
    zm_session_config config = {
        .socket_type = as_server ? ROUTER : DEALER,
        .mechanism = ZM_CURVE,
        .as_server = as_server,
        .max_msg_size = -1,
        .curve_public = client_public,
        .curve_secret = as_server ? server_secret : client_secret,
        .curve_server = server_public,
        .cookies = cookies,
    };
    memset(s, 0, sizeof *s);
    CHECK(zm_session_init(&s->session, &config) == 0);
}

static void give(side *to, const uint8_t *bytes, size_t size)
{
    CHECK(size <= BYTES_MAX - to->size);
    if (size)
        memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

static void take(side *s)
{
    while (s->taken < s->size && !s->error) {
        zm_event event;
        ssize_t n = zm_session_next(&s->session, s->bytes + s->taken, s->size - s->taken, &event);
        if (n == 0)
            return;
        if (n < 0) {
            s->error = n;
            return;
        }
        s->taken += (size_t) n;
        s->ready |= event.kind == ZM_EVENT_READY;
    }
}

/* What `from` has to say reaches `to`. */
static void carry(side *from, side *to)
{
    give(to, from->session.out, from->session.out_size);
    from->session.out_size = 0;
    take(to);
}

/* As far as the client's INITIATE, which is left in its `out`. */
static void until_initiate(side *client, side *server)
{
    for (int i = 0; i < 9 && client->session.out_size <= INITIATE_MIN; i++) {
        carry(client, server);
        carry(server, client);
    }
    CHECK(!client->error && !server->error && client->session.out_size > INITIATE_MIN);
}

static void end(side *s)
{
    zm_session_fini(&s->session);
}

/* Is the INITIATE of a client taken that says it `seconds` after its HELLO? */
static bool taken_after(int64_t seconds, bool somebody_else_comes)
{
    zm_cookie_keys *keys = zm_secret_new();
    int64_t now = 5 * second;
    zm_cookie_keys_turn(keys, now);
    side client, server;
    start(&client, false, NULL);
    start(&server, true, keys);
    until_initiate(&client, &server);
    if (somebody_else_comes)
        zm_cookie_keys_turn(keys, now + 61 * second);
    zm_cookie_keys_turn(keys, now + seconds * second);
    carry(&client, &server);
    carry(&server, &client);
    CHECK(server.ready == client.ready);
    CHECK(server.ready || (server.error == -EPROTO && server.session.fault_value == CRYPTOGRAPHIC));
    bool taken = server.ready;
    end(&client);
    end(&server);
    zm_secret_free(keys);
    return taken;
}

/* All that one client said is said again on another connection to the same socket. */
static void replayed_on_another_connection(void)
{
    zm_cookie_keys *keys = zm_secret_new();
    zm_cookie_keys_turn(keys, 1);
    static side client, first, other;
    static uint8_t recorded[BYTES_MAX];
    size_t size = 0;
    start(&client, false, NULL);
    start(&first, true, keys);
    start(&other, true, keys);
    for (int i = 0; i < 5; i++) {
        CHECK(size + client.session.out_size <= BYTES_MAX);
        memcpy(recorded + size, client.session.out, client.session.out_size);
        size += client.session.out_size;
        carry(&client, &first);
        carry(&first, &client);
    }
    CHECK(first.ready && client.ready);
    give(&other, recorded, size);
    take(&other);
    CHECK(!other.ready && other.session.fault_value == CRYPTOGRAPHIC);
    end(&client);
    end(&first);
    end(&other);
    zm_secret_free(keys);
}

static void keys_of_its_own(void)
{
    side client, server;
    start(&client, false, NULL);
    start(&server, true, NULL);
    until_initiate(&client, &server);
    carry(&client, &server);
    CHECK(server.ready);
    end(&client);
    end(&server);
}

int run(const char *sodium)
{
    zm_crypto_path(sodium);
    const zm_crypto *crypto = zm_crypto_get();
    CHECK(crypto);
    crypto->box_keypair(server_public, server_secret);
    crypto->box_keypair(client_public, client_secret);

    CHECK(taken_after(0, false));
    CHECK(taken_after(59, false));
    CHECK(taken_after(61, false));
    CHECK(taken_after(119, false));
    CHECK(taken_after(119, true));
    CHECK(!taken_after(120, false));
    CHECK(!taken_after(120, true));
    CHECK(!taken_after(1000000, false));
    replayed_on_another_connection();
    keys_of_its_own();
    CHECK(zm_alloc_live() == 0);
    return 0;
}
