/* The NULL mechanism (RFC 37): both sides send READY at once; ready when one came. */
#include <errno.h>

#include "command.h"
#include "mechanism.h"
#include "session_private.h"

static int null_start(zm_session *session)
{
    int answer = zm__command_send_ready(session);
    session->ready_sent = answer == 0;
    return answer;
}

static int null_command(zm_session *session, const uint8_t *body, size_t size, zm_event *event)
{
    if (zm__command_is(body, size, "READY")) {
        session->ready_received = true;
        int answer = zm__command_take_properties(session, body + 6, size - 6);
        if (answer == 0)
            zm__session_activate(session, event);
        return answer;
    }
    if (zm__command_is(body, size, "ERROR"))
        return zm__command_take_error(session, body + 6, size - 6);
    return zm__session_break(session, -EPROTO, ZM_FAULT_PROTOCOL, ZM__UNEXPECTED_COMMAND);
}

const zm__mechanism zm__mechanism_null = {
    .name = "NULL",
    .start = null_start,
    .command = null_command,
};
