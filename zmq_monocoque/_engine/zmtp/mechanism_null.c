/* The NULL mechanism (RFC 37): both sides send READY at once; ready when one came. A side that
 * wants to know first who the peer may be keeps its READY until it does. */
#include <errno.h>
#include <string.h>

#include "command.h"
#include "mechanism.h"
#include "session_private.h"

static int null_admitted(zm_session *session, zm_event *event)
{
    int answer = zm__command_send_properties(session, "READY");
    session->ready_sent = answer == 0;
    if (session->ready_sent && session->ready_received)
        zm__session_activate(session, event);
    return answer;
}

static int null_start(zm_session *session, zm_event *event)
{
    if (!session->config.zap)
        return null_admitted(session, event);
    zm__session_ask(session, event, NULL, 0);
    return 0;
}

static uint32_t null_bound(const zm_session *session, uint64_t *out_size)
{
    *out_size = zm__session_with_metadata(session, strlen("READY") + 1);
    return ZM__MALFORMED_READY;
}

static int null_command(zm_session *session, uint8_t *body, size_t size, zm_event *event)
{
    if (zm__command_is(body, size, "READY") && !session->ready_received) {
        session->ready_received = true;
        int answer = zm__command_take_properties(session, body + 6, size - 6);
        if (answer == 0 && session->ready_sent)
            zm__session_activate(session, event);
        return answer;
    }
    if (zm__command_is(body, size, "ERROR"))
        return zm__command_take_error(session, body + 6, size - 6);
    return zm__session_fault(session, ZM__UNEXPECTED_COMMAND);
}

const zm__mechanism zm__mechanism_null = {
    .name = "NULL",
    .start = null_start,
    .bound = null_bound,
    .command = null_command,
    .admitted = null_admitted,
};
