"""The states of the engine's things as pictures, from the tables in their C files.

    python tests/tidy/states.py --write

puts them into docs/internals/architecture.md, where a test compares them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "zmq_monocoque" / "_engine"
PAGE = ROOT / "docs" / "internals" / "architecture.md"
#: What has states: the prefix of their names, the file of the table, the header of the enum.
MACHINES = {
    "a connection": ("ZM_CONN_", "connection/state.c", "connection/connection.h"),
    "an endpoint": ("ZM_ENDPOINT_", "socket/endpoint_state.c", "socket/endpoint.h"),
    "a peer": ("ZM_PIPE_", "pipe/state.c", "pipe/peer.h"),
}

ROW = re.compile(r"\[(ZM_\w+)\] = ([^,]*),")


def table(text: str, prefix: str) -> dict[str, list[str]]:
    """State to what it may become, both without the prefix, as `next_states` says it."""
    body = text[text.index("next_states[] = {") :]
    body = body[: body.index("};")]
    return {
        name.removeprefix(prefix): re.findall(r"TO\((\w+)\)", targets)
        for name, targets in ROW.findall(body)
    }


def meanings(text: str, prefix: str) -> dict[str, str]:
    """State to what is said of it beside the enum."""
    return dict(re.findall(rf"^    {prefix}(\w+),? +/\* (.*?) \*/$", text, re.MULTILINE))


def picture(states: dict[str, list[str]], says: dict[str, str]) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(states))}"]
    for state, targets in states.items():
        lines += [f"    {state} --> {target}" for target in targets or ["[*]"]]
    lines += ["```", "", "| state | what it means |", "| --- | --- |"]
    lines += [f"| {state} | {says[state]} |" for state in states]
    return "\n".join(lines)


def marks(thing: str) -> tuple[str, str]:
    return f"<!-- states of {thing}: by tests/tidy/states.py -->", "<!-- end of states -->"


def wanted() -> dict[str, str]:
    """Thing to its picture."""
    out = {}
    for thing, (prefix, source, header) in MACHINES.items():
        states = table((ENGINE / source).read_text(encoding="utf-8"), prefix)
        says = meanings((ENGINE / header).read_text(encoding="utf-8"), prefix)
        out[thing] = picture(states, says)
    return out


def replaced(page: str) -> str:
    """The page with its pictures made anew."""
    for thing, text in wanted().items():
        begin, end = marks(thing)
        at = page.index(begin) + len(begin)
        page = page[:at] + f"\n\n{text}\n\n" + page[page.index(end, at) :]
    return page


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
