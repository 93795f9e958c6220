"""No circle among the engine's C files: who calls whom, and which header includes which.

A file calls another one when it names a function or a table that is defined there, also by way of
an inline function of a header. Calls through a table are none: that is what the tables are for.
"""

from __future__ import annotations

import re
from pathlib import Path

from tidy.test_engine_sources import ENGINE, code_of

#: A definition at the beginning of a line that other files can name: functions, then tables.
FUNCTION = re.compile(
    r"^(?!static\b|typedef\b|extern\b)[A-Za-z_][^\n;={}]*?\b(\w+)\([^;{}]*\)\n\{", re.M
)
TABLE = re.compile(
    r"^(?!static\b|typedef\b|extern\b)[a-z_][\w ]*? \**(zm_\w+)(?:\[[^\]]*\])? = ", re.M
)
INLINE = re.compile(r"^static inline [^;{}]*?\b(\w+)\([^;{}]*\)\n\{(.*?)^\}", re.M | re.S)
INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)

Graph = dict[str, set[str]]


def defined(code: str) -> set[str]:
    return {*FUNCTION.findall(code), *TABLE.findall(code)}


def calls(files: dict[str, str]) -> Graph:
    """Name of a .c file to the files whose functions and tables it names."""
    codes = {name: code_of(text) for name, text in files.items()}
    home = {
        symbol: name
        for name, code in codes.items()
        if name.endswith(".c")
        for symbol in defined(code)
    }
    inline: dict[str, set[str]] = {}
    for name, code in codes.items():
        if name.endswith(".h"):
            for symbol, body in INLINE.findall(code):
                inline[symbol] = set(re.findall(r"\w+", body))

    def reached(names: set[str], seen: set[str]) -> set[str]:
        out = {home[name] for name in names if name in home}
        for name in names & inline.keys() - seen:
            out |= reached(inline[name], seen | {name})
        return out

    return {
        name: reached(set(re.findall(r"\w+", code)), set()) - {name}
        for name, code in codes.items()
        if name.endswith(".c")
    }


def includes(files: dict[str, str]) -> Graph:
    """Name of a header to those that it includes."""
    graph: Graph = {}
    for name, text in files.items():
        if name.endswith(".h"):
            folder = Path(name).parent
            named = {
                str((folder / include).resolve().relative_to(Path.cwd()))
                for include in INCLUDE.findall(text)
            }
            graph[name] = named | {i for i in INCLUDE.findall(text) if i in files}
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Each circle's members, sorted."""

    def from_here(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for name in graph.get(todo.pop(), set()) - seen:
                seen.add(name)
                todo.append(name)
        return seen

    reach = {name: from_here(name) for name in graph}
    found = {
        tuple(sorted(other for other in reach[name] if name in reach.get(other, set())))
        for name in graph
        if name in reach[name]
    }
    return [list(circle) for circle in sorted(found)]


def engine() -> dict[str, str]:
    return {str(p.relative_to(ENGINE)): p.read_text() for p in sorted(ENGINE.rglob("*.[ch]"))}


def test_no_file_of_the_engine_calls_itself_by_way_of_others():
    graph = calls(engine())
    assert "driver/driver.c" in graph["socket/drive.c"], "calls are seen"
    assert "socket/transfer.c" in graph["socket/drive.c"], "also those of inline functions"
    assert circles(graph) == []


def test_no_header_of_the_engine_includes_itself_by_way_of_others():
    assert circles(includes(engine())) == []


def test_a_circle_of_calls_is_found():
    files = {
        "a.c": "int zm_a(void)\n{\n    return zm_step();\n}\n",
        "a.h": "static inline int zm_step(void)\n{\n    return zm_b(); /* zm_c */\n}\n",
        "b.c": "int zm_b(void)\n{\n    return zm_table.size;\n}\n",
        "c.c": "const zm_things zm_table = {\n    .first = zm_a, /* zm_b */\n};\n",
        "d.c": "static int zm_a(void)\n{\n    return zm_b();\n}\n",
    }
    assert calls(files)["a.c"] == {"b.c"}
    assert circles(calls(files)) == [["a.c", "b.c", "c.c"]]
    del files["c.c"]
    assert circles(calls(files)) == []


def test_a_circle_of_headers_is_found():
    files = {"a.h": '#include "x/b.h"\n', "x/b.h": '#include "../a.h"\n', "c.h": "/* a.h */\n"}
    assert circles(includes(files)) == [["a.h", "x/b.h"]]
    files["x/b.h"] = ""
    assert circles(includes(files)) == []
