"""The walks of a body and of a frame on the architecture page are those that the code takes.

Method: each table of the page is read as a chain of functions. Each function has to be defined in
the file that is named, and the one before it has to call it, or a member of a table that it is put
into. A folder that was left is not entered again.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "zmq_monocoque"
PAGE = ROOT / "docs" / "internals" / "architecture.md"
ROW = re.compile(r"^\| `([\w/.]+):(\w+)` \| (.+) \|$")


class Step(NamedTuple):
    file: str
    function: str
    reached: str  #: "call", "table `x`", or, of the first, from where it comes
    returns: bool


def walks(page: str) -> dict[str, list[Step]]:
    """Title to steps."""
    found = {}
    for part in page.split("<!-- walk: ")[1:]:
        title, rest = part.split(" -->\n\n", 1)
        rows = [ROW.match(line) for line in rest.split("\n\n", 1)[0].splitlines()[2:]]
        assert all(rows), f"not a row of a walk, in {title!r}"
        found[title] = [
            Step(row[1], row[2], row[3].removesuffix(", returns"), row[3].endswith(", returns"))
            for row in rows
            if row
        ]
    return found


def body(step: Step) -> str:
    """What the function does; empty where the file has no such function."""
    path = PACKAGE / step.file
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    head = rf"^[a-zA-Z_][^\n;{{}}=]*\b{step.function}\([^;{{}}]*\)[^;{{}}]*\n\{{\n(.*?)^\}}"
    match = re.search(head, text, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def tables() -> str:
    sources = [p for p in sorted(PACKAGE.rglob("*.c")) if "_capi" not in p.parts]
    return "\n".join(p.read_text(encoding="utf-8") for p in sources)


def faults(steps: list[Step], every_table: str) -> list[str]:
    out = []
    caller = None
    folders: list[str] = []
    for step in steps:
        text = body(step)
        if not text:
            out.append(f"{step.file} has no {step.function}")
        if caller:
            at = body(caller)
            member = re.fullmatch(r"table `(\w+)`", step.reached)
            if member and not (
                re.search(rf"->{member[1]}\(", at)
                and re.search(rf"\.{member[1]} = {step.function}\b", every_table)
            ):
                out.append(f"{caller.function} does not reach {step.function} by {step.reached}")
            if not member and not re.search(rf"\b{step.function}\(", at):
                out.append(f"{caller.function} does not call {step.function}")
        folder = str(Path(step.file).parent)
        if folder not in folders[-1:]:
            if folder in folders and not (caller and folder == str(Path(caller.file).parent)):
                out.append(f"{folder} is entered again, at {step.function}")
            folders.append(folder)
        if not step.returns:
            caller = step
    return out


def test_the_walks_of_the_page_are_those_of_the_code():
    found = walks(PAGE.read_text(encoding="utf-8"))
    assert len(found) == 4 and all(len(steps) > 5 for steps in found.values())
    every_table = tables()
    assert {title: faults(steps, every_table) for title, steps in found.items()} == {
        title: [] for title in found
    }


def test_a_step_that_is_not_taken_is_seen():
    every_table = tables()
    for steps in walks(PAGE.read_text(encoding="utf-8")).values():
        for i in range(1, len(steps) - 1):
            if not (steps[i].returns or steps[i - 1].returns):
                assert faults(steps[:i] + steps[i + 1 :], every_table)
        moved = steps[0]._replace(function="zm_no_such_function")
        assert "has no zm_no_such_function" in faults([moved, *steps[1:]], every_table)[0]


def test_a_folder_that_is_entered_twice_is_seen():
    steps = walks(PAGE.read_text(encoding="utf-8"))["a sent body, into its peer's queue"]
    again = [*steps, steps[3]._replace(function="zm_socket_recv_part_locked")]
    assert any("is entered again" in fault for fault in faults(again, tables()))
