"""Writes docs/reference/options.md: ``python docs/site/options.py``.

Type, range, sockets and what can be read are those of the engine's own tables
(socket/options_table.c and pattern/options.c in zmq_monocoque/_engine), and defaults what new
sockets answer. What no table knows is told here: meaning, unit, when a change takes effect, and
since which libzmq there is one: by the headers of its releases from 2.1.0 to 4.3.5, and what is
older by their history.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

import options_told as told

import zmq_monocoque as zmq
from zmq_monocoque.constants import SocketOption, SocketType

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "options.md"
ENGINE = ROOT / "zmq_monocoque" / "_engine"
OF_ALL = ENGINE / "socket" / "options_table.c"
OF_TYPES = ENGINE / "pattern" / "options.c"
STABLE = [SocketType(number) for number in range(12)]
NUMBERS = {"INT_MAX": "2147483647", "INT_MIN": "-2147483648", "TEXT_MAX": "255"}
HEAD = """# Socket options

<!-- Written by docs/site/options.py. -->

An option is set and read as an attribute (`socket.linger = 0`), or with `socket.set(zmq.LINGER, 0)`
and `socket.get(zmq.LINGER)`. Set on a context, it is the default of sockets that are made later. A
value outside the range is `ZMQError` with EINVAL and changes nothing; so is an option of another
type of socket, and reading what can only be set. An int that is too large for the option is an
OverflowError, and a value of another type a TypeError.

When a change takes effect:

- *at once*: for whatever the socket does next;
- *next endpoint*: for what is bound or connected later. Set it before `bind` and `connect`.

`since` is the release of libzmq whose zmq.h has the option first, or "ours"; all are here since
0.1.0. "As a draft": it is among the drafts of zmq.h to this day; libzmq's stable builds, and so
pyzmq's wheels, take it all the same.
Where nothing is said about a difference there is none.
"""


def tables() -> dict[str, str]:
    """Sockets to the engine's table of the options that they have."""
    text = OF_TYPES.read_text()
    found = {"all": OF_ALL.read_text()}
    for socket_type, table in re.findall(r"\[ZM_(\w+)\] = \{(\w+),", text):
        begin = text.index(f"option_row {table}[] = {{")
        found[socket_type] = text[begin : text.index("};", begin)]
    return found


def rows() -> dict[str, dict[str, str]]:
    """The engine's tables: type, range, sockets and whether it can be read, of each option."""
    found: dict[str, dict[str, str]] = {}
    pattern = r"\{(\w+), (\w+), ([^,]+), AT\([\w.]+\), (\S+), (\S+), NULL\},"
    stated = [(who, row) for who, text in tables().items() for row in re.findall(pattern, text)]
    for sockets, (name, kind, flags, low, high) in stated:
        low, high = NUMBERS.get(low, low), NUMBERS.get(high, high)
        name = f"MONOCOQUE_{name}" if kind == "LIMIT" else name
        if name in found:
            found[name]["sockets"] += f", {sockets}"
            continue
        found[name] = {
            "kind": {"NUMBER": "int", "LIMIT": "int, 64 bits"}.get(kind, kind.lower()),
            "range": span(kind, low, high),
            "sockets": sockets,
            "access": access("READ" in flags, "READ_ONLY" not in flags),
        }
    return found


def row_of(name: str, table: dict[str, dict[str, str]]) -> dict[str, str]:
    """The table's row, and what is told of an option that has none, or rules of its own."""
    return {**table.get(name, {}), **told.OPTIONS[name].row}


def span(kind: str, low: str, high: str) -> str:
    if kind in ("BYTES", "TEXT"):
        return f"{low} to {high} bytes" if high != NUMBERS["INT_MAX"] else f"from {low} byte"
    if kind == "LIMIT":
        return "-1 (no limit), or from 1"
    if kind in ("FLAG", "TRUTH"):
        return "0, 1" if high == "1" else "0, or any other for 1"
    if high == NUMBERS["INT_MAX"]:
        return f"from {low}" if low != NUMBERS["INT_MIN"] else "any"
    return f"{low} to {high}"


def access(read: bool, write: bool) -> str:
    return {(1, 1): "set, read", (1, 0): "read", (0, 1): "set"}[int(read), int(write)]


def defaults(option: SocketOption) -> str:
    """What new sockets answer; per type where they do not agree."""
    answers: dict[str, list[str]] = {}
    with zmq.Context() as context:
        for socket_type in STABLE:
            with context.socket(socket_type) as socket:
                try:
                    value = socket.get(option)
                except zmq.ZMQError:
                    continue
            answers.setdefault(value_of(value), []).append(socket_type.name)
    if len(answers) <= 1:
        return "".join(answers)
    common = max(answers, key=lambda value: len(answers[value]))
    others = [f"{value} for {', '.join(types)}" for value, types in answers.items()]
    return f"{common}; " + "; ".join(o for o in others if not o.startswith(f"{common} for"))


def value_of(value: int | bytes) -> str:
    if isinstance(value, bytes):
        return f'"{value.decode()}"' if value.strip(b"\0") else "empty"
    return str(value)


def entry(option: SocketOption, row: dict[str, str]) -> str:
    own = told.OPTIONS[option.name]
    kind = row["kind"] + (f", {own.unit}" if own.unit else "")
    default = own.default or defaults(option)
    facts = {
        "type": kind,
        "range": row["range"],
        "default": default or "cannot be read",
        "sockets": row["sockets"],
        "access": row["access"],
        "takes effect": {"now": "at once", "next": "next endpoint", "": ""}[own.effect],
        "since": own.since,
        "libzmq": own.difference,
    }
    also = [name for name, value in SocketOption.__members__.items() if value is option]
    also.remove(option.name)
    text = f"### {option.name}\n\n{textwrap.fill(own.text, 100)}\n\n"
    text += f"Also called {', '.join(also)}.\n\n" if also else ""
    text += "| | |\n| --- | --- |\n"
    text += "".join(f"| {name} | {fact} |\n" for name, fact in facts.items() if fact)
    return text


def page() -> str:
    table = rows()
    text = HEAD
    for title, names in told.GROUPS.items():
        text += f"\n## {title}\n"
        for name in names.split():
            text += "\n" + entry(SocketOption[name], row_of(name, table))
    text += f"\n## Known by name only\n\n{textwrap.fill(told.REFUSED_TEXT, 100)}\n\n"
    return (
        text
        + "| options | why |\n| --- | --- |\n"
        + "".join(
            f"| {', '.join(names.split())} | {why} |\n" for names, why in told.REFUSED.items()
        )
    )


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.exit(0)
