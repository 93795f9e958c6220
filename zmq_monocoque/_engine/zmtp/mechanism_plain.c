/* The PLAIN mechanism (RFC 24): the client says a user name and a password, which the server has
 * looked at before it answers.
 *
 *     client   HELLO user password              INITIATE properties
 *     server                         WELCOME                         READY properties, or ERROR */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "command.h"
#include "mechanism.h"
#include "session_private.h"

typedef enum plain_step { WANTS_HELLO, WANTS_INITIATE, WANTS_WELCOME, WANTS_READY } plain_step;

typedef struct plain {
    plain_step step;
    size_t hello_size;
    uint8_t hello[]; /* client: what follows the name, until it is sent */
} plain;

static int plain_init(zm_session *session, const zm_session_config *config)
{
    size_t size = config->as_server ? 0 : 2 + config->username_size + config->password_size;
    plain *p = zm_alloc(sizeof *p + size);
    if (!p)
        return -ENOMEM;
    p->step = config->as_server ? WANTS_HELLO : WANTS_WELCOME;
    p->hello_size = size;
    if (size) {
        uint8_t *out = p->hello;
        *out++ = (uint8_t) config->username_size;
        if (config->username_size)
            memcpy(out, config->username, config->username_size);
        out += config->username_size;
        *out++ = (uint8_t) config->password_size;
        if (config->password_size)
            memcpy(out, config->password, config->password_size);
    }
    session->mechanism_state = p;
    return 0;
}

static void plain_fini(zm_session *session)
{
    plain *p = session->mechanism_state;
    explicit_bzero(p->hello, p->hello_size);
    zm_free(p);
    session->mechanism_state = NULL;
}

static int plain_start(zm_session *session, zm_event *event)
{
    (void) event;
    plain *p = session->mechanism_state;
    if (p->step != WANTS_WELCOME)
        return 0;
    uint8_t *out = zm__command_send(session, "HELLO", p->hello_size);
    if (!out)
        return -ENOMEM;
    memcpy(out, p->hello, p->hello_size);
    explicit_bzero(p->hello, p->hello_size);
    return 0;
}

/* `u8 n, n bytes` at *at: moves *at behind it. */
static bool skip_text(const uint8_t **at, const uint8_t *end)
{
    if (*at == end || (size_t) (end - *at) < 1 + (size_t) **at)
        return false;
    *at += 1 + **at;
    return true;
}

static int take_hello(zm_session *session, const uint8_t *data, size_t size, zm_event *event)
{
    const uint8_t *at = data, *end = data + size;
    if (!skip_text(&at, end) || !skip_text(&at, end) || at != end)
        return zm__session_fault(session, ZM__MALFORMED_HELLO);
    zm__session_ask(session, event, data, size);
    return 0;
}

static int plain_admitted(zm_session *session, zm_event *event)
{
    (void) event;
    plain *p = session->mechanism_state;
    p->step = WANTS_INITIATE;
    return zm__command_send(session, "WELCOME", 0) ? 0 : -ENOMEM;
}

static int server_command(zm_session *session, plain *p, const uint8_t *body, size_t size,
                          zm_event *event)
{
    if (p->step == WANTS_HELLO && zm__command_is(body, size, "HELLO"))
        return take_hello(session, body + 6, size - 6, event);
    if (p->step != WANTS_INITIATE || !zm__command_is(body, size, "INITIATE"))
        return zm__session_fault(session, ZM__UNEXPECTED_COMMAND);
    int answer = zm__command_take_properties(session, body + 9, size - 9);
    if (answer == 0)
        answer = zm__command_send_properties(session, "READY");
    if (answer == 0)
        zm__session_activate(session, event);
    return answer;
}

static int client_command(zm_session *session, plain *p, const uint8_t *body, size_t size,
                          zm_event *event)
{
    if (zm__command_is(body, size, "ERROR"))
        return zm__command_take_error(session, body + 6, size - 6);
    size_t slip = strlen(ZM__PLAIN_ERROR);
    if (size >= slip && memcmp(body, ZM__PLAIN_ERROR, slip) == 0)
        return zm__command_take_error(session, body + slip, size - slip);
    if (p->step == WANTS_WELCOME && zm__command_is(body, size, "WELCOME")) {
        if (size != 8)
            return zm__session_fault(session, ZM__MALFORMED_WELCOME);
        p->step = WANTS_READY;
        return zm__command_send_properties(session, "INITIATE");
    }
    if (p->step != WANTS_READY || !zm__command_is(body, size, "READY"))
        return zm__session_fault(session, ZM__UNEXPECTED_COMMAND);
    int answer = zm__command_take_ready(session, body + 6, size - 6);
    if (answer == 0)
        zm__session_activate(session, event);
    return answer;
}

static uint32_t plain_bound(const zm_session *session, uint64_t *out_size)
{
    const plain *p = session->mechanism_state;
    *out_size = ZM__SHORT_COMMAND_MAX;
    if (p->step == WANTS_HELLO || p->step == WANTS_WELCOME)
        return p->step == WANTS_HELLO ? ZM__MALFORMED_HELLO : ZM__MALFORMED_WELCOME;
    bool as_server = session->config.as_server;
    *out_size = zm__session_with_metadata(session, strlen(as_server ? "INITIATE" : "READY") + 1);
    return as_server ? ZM__MALFORMED_INITIATE : ZM__MALFORMED_READY;
}

static int plain_command(zm_session *session, uint8_t *body, size_t size, zm_event *event)
{
    plain *p = session->mechanism_state;
    return session->config.as_server ? server_command(session, p, body, size, event)
                                     : client_command(session, p, body, size, event);
}

const zm__mechanism zm__mechanism_plain = {
    .name = "PLAIN",
    .init = plain_init,
    .fini = plain_fini,
    .start = plain_start,
    .bound = plain_bound,
    .command = plain_command,
    .admitted = plain_admitted,
};
