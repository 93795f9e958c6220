"""Where the engine's things change in their lives, asserts say what holds: two a function.

A function changes a life when it moves a thing to another state of its table, or changes who
belongs to whom: it assigns one of the fields below. Each of those has two asserts of its own; one
of a whole thing, ``ZM_DEBUG_ASSERT(zm_conn_is_sound_locked(conn))``, counts as one. Functions that
only count, parse or copy have none to have: an assert that repeats the line above it says nothing.
"""

from __future__ import annotations

import re

from tidy.test_engine_sources import ENGINE, code_of

#: Where things with a life are.
FOLDERS = ("connection", "pipe", "socket")
#: Where a thing is in its life, who belongs to whom, and which memory the kernel may have.
FIELDS = (
    "state conn peer endpoint in_flight_conn in_flight_peer inproc zap resolution lingering"
    " driver driven order beginner monitor open closing closed slab large"
).split()
CHANGE = re.compile(rf"->(?:{'|'.join(FIELDS)})\s*=(?!=)|\bzm_\w+_become_locked\(")
ASSERT = re.compile(r"\bZM_(?:DEBUG_)?ASSERT\(")
#: A definition: its name and its body, from brace to brace at the beginning of a line.
DEFINITION = re.compile(
    r"^(?!typedef\b)[A-Za-z_][^\n;={}]*?\b(\w+)\([^;{}]*\n\{\n(.*?)^\}", re.MULTILINE | re.DOTALL
)
LEAST = 2


def asserts_of(text: str) -> dict[str, int]:
    """Functions that change a life, and how many asserts each of them has."""
    return {
        name: len(ASSERT.findall(body))
        for name, body in DEFINITION.findall(code_of(text))
        if CHANGE.search(body)
    }


def test_functions_that_change_a_life_have_two_asserts_each():
    found = {
        f"{path.relative_to(ENGINE)}: {name}": count
        for folder in FOLDERS
        for path in sorted((ENGINE / folder).glob("*.[ch]"))
        for name, count in asserts_of(path.read_text(encoding="utf-8")).items()
    }
    for name in ("connection/close.c: detach", "pipe/state.c: zm_peer_become_locked"):
        assert name in found, "functions are seen"
    assert not {name: count for name, count in found.items() if count < LEAST}


def test_a_function_that_says_too_little_is_seen():
    text = (
        "static void one(zm_conn *conn) ZM_LOCKED\n{\n    ZM_ASSERT(conn->peer);\n"
        "    /* ZM_ASSERT(conn) */\n    conn->peer = NULL;\n}\n\n"
        "void two(zm_conn *conn,\n         int x)\n{\n    zm_conn_become_locked(conn, x);\n"
        "    ZM_DEBUG_ASSERT(x);\n    ZM_ASSERT(zm_conn_is_sound_locked(conn));\n}\n\n"
        "int reads(zm_conn *conn)\n{\n    return conn->peer == NULL && conn->slab_used;\n}\n"
    )
    assert asserts_of(text) == {"one": 1, "two": 2}
