"""What needs a lock says so, and clang refuses to have it done without.

Method: functions that end in _locked are read from the headers; then calls without the lock are
planted behind a copy of one of the engine's files, and clang is asked about it.
"""

from __future__ import annotations

import re

import pytest
from tidy import lint_locks

#: With its parameters, and the words behind them.
PROTOTYPE = re.compile(r"^[a-z][\w \*]*?\b(\w+_locked)\(([^;{]*?)[;{]", re.MULTILINE | re.DOTALL)
WORDS = ("ZM_LOCKED", "ZM_GIVES", "ZM_NEEDS")

INCLUDES = '#include "connection/connection.h"\n#include "context/handles.h"\n'
#: What is done without the lock, and what clang finds wrong with it.
WITHOUT = {
    "void planted(zm_socket *s) { zm_reap_ended_locked(s); }": "calling function",
    "void planted(zm_conn *conn) { zm_conn_close_locked(conn); }": "calling function",
    "int planted(zm_conn *conn) { return conn->state; }": "reading variable",
    "void planted(zm_socket *s) { s->work_left = true; }": "writing variable",
    "void planted(zm_socket *s) { zm_socket_lock_take(s); }": "still held",
    "void planted(zm_socket *s) { zm_socket_lock_give(s); }": "was not held",
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


def unmarked(text: str) -> list[str]:
    return [name for name, rest in PROTOTYPE.findall(text) if not any(w in rest for w in WORDS)]


def test_every_function_that_ends_in_locked_is_held_to_it():
    found = {
        p.name: unmarked(p.read_text(encoding="utf-8")) for p in lint_locks.ENGINE.rglob("*.h")
    }
    assert not {name: names for name, names in found.items() if names}


def test_a_function_that_is_not_is_seen():
    assert unmarked("void zm_x_locked(zm_socket *s,\n    int b);\n") == ["zm_x_locked"]
    assert unmarked("void zm_x_locked(zm_socket *s) ZM_LOCKED;\n") == []


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
