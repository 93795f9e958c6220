"""What needs a lock says so, and clang refuses to have it done without.

Method: what is said and what is named are read from the headers, and agree; then calls without the
lock are planted in a file, and clang is asked about it.
"""

from __future__ import annotations

import re

import pytest
from tidy import lint_locks
from tidy.test_engine_sources import code_of

#: Of a header: its name, its parameters and the words behind them.
PROTOTYPE = re.compile(r"^[a-z][\w \*]*?\b(\w+)\(([^;{]*?)[;{]", re.MULTILINE | re.DOTALL)
#: What says that a socket's lock is held by whoever calls.
HELD = ("ZM_LOCKED", "ZM_GIVES(zm_a_socket)")
#: What gives the lock up, and is named after that.
GIVERS = {"zm_socket_lock_give", "zm_socket_lock_is_given", "zm_socket_leave"}

INCLUDES = "".join(
    f'#include "{name}"\n'
    for name in (
        *("capi.h", "connection/connection.h", "context/context.h", "context/handles.h"),
        *("pipe/inproc.h", "socket/order.h"),
    )
)
#: What is done without the lock, and what clang finds wrong with it.
WITHOUT = {
    "void planted(zm_socket *s) { zm_reap_ended_locked(s); }": "calling function",
    "void planted(zm_conn *conn) { zm_conn_close_locked(conn); }": "calling function",
    "int planted(zm_conn *conn) { return conn->state; }": "reading variable",
    "void planted(zm_socket *s) { s->work_left = true; }": "writing variable",
    "void planted(zm_socket *s) { zm_socket_lock_take(s); }": "still held",
    "void planted(zm_socket *s) { zm_socket_lock_give(s); }": "was not held",
    "int planted(zm_context *context) { return context->max_sockets; }": "reading variable",
    "int planted(zm_context *context) ZM_NEEDS(zm_a_link) { return context->ipv6; }": "a_context",
    "void planted(zm_link_side *side) ZM_LOCKED { side->out_fresh = 0; }": "writing variable",
    "bool planted(zm_socket *s) ZM_LOCKED { return s->in_order.next; }": "an_order",
    "void planted(capi_cell *cell) { capi_cell_unlock(cell); }": "was not held",
}
WITH = """void planted(int64_t handle)
{
    zm_socket *s;
    if (zm_socket_lock_for(handle, false, &s) != 0)
        return;
    zm_reap_ended_locked(s);
    s->work_left = true;
    zm_socket_lock_give(s);
}
"""


def wrong_names(text: str) -> list[str]:
    """Functions of a header that end in _locked and need no lock, or need one and do not."""
    return [
        name
        for name, rest in PROTOTYPE.findall(code_of(text))
        if name.endswith("_locked") != any(word in rest for word in HELD) and name not in GIVERS
    ]


def test_a_function_of_a_header_ends_in_locked_exactly_if_it_needs_a_sockets_lock():
    found = {p.name: wrong_names(p.read_text()) for p in lint_locks.ENGINE.rglob("*.h")}
    assert not {name: names for name, names in found.items() if names}


def test_a_name_that_is_wrong_is_seen():
    assert wrong_names("void zm_x_locked(zm_socket *s,\n    int b);\n") == ["zm_x_locked"]
    assert wrong_names("void zm_x_locked(zm_socket *s) ZM_LOCKED;\n") == []
    assert wrong_names("static inline int zm_x(zm_socket *s) ZM_LOCKED\n{\n") == ["zm_x"]
    assert wrong_names("int zm_x(int a);\nvoid zm_y(int b)\n    ZM_LOCKED;\n") == ["zm_y"]
    assert wrong_names("void zm_x(zm_socket *s) ZM_GIVES(zm_a_socket);\n") == ["zm_x"]


def said_of(tmp_path, code: str) -> str:
    command = lint_locks.tool()
    if not command:
        pytest.skip("neither clang nor clang-tidy is here")
    source = tmp_path / "planted.c"
    source.write_text(INCLUDES + code, encoding="utf-8")
    return lint_locks.check(command, source)


@pytest.mark.parametrize("code", WITHOUT)
def test_what_is_done_without_the_lock_is_refused(tmp_path, code):
    assert WITHOUT[code] in said_of(tmp_path, code)


def test_what_is_done_with_the_lock_is_not(tmp_path):
    assert said_of(tmp_path, WITH) == ""
