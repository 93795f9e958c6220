"""socket/pacing.h: when a burst leaves, a wait spins and the I/O thread comes back, and the page
that says so (docs/internals/flush_and_spin.md)."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from support.c import ENGINE, build_program, run_program

PAGE = Path(__file__).parents[2] / "docs" / "internals" / "flush_and_spin.md"
UNITS = {"us": 1000, "ms": 1_000_000, "KB": 1024, "": 1}


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text()


def constants(text: str) -> dict[str, int]:
    """``NAME = 60 * 1000`` wherever an enum says so."""
    found = re.findall(r"\b([A-Z]\w+) = ([\d *]+)", text)
    return {name: math.prod(map(int, product.split("*"))) for name, product in found}


def said(text: str) -> list[tuple[str, int]]:
    """(constant, value) for each ``60 us (`NAME```."""
    found = re.findall(r"([\d,]+)(?: (us|ms|KB))?\s+\(`([A-Z]\w+)`", text)
    return [(name, int(number.replace(",", "")) * UNITS[unit]) for number, unit, name in found]


def test_each_decision_is_the_one_that_the_page_shows(tmp_path, page):
    sources = ("socket/pacing.c", "base/alloc.c", "base/check.c")
    program = build_program(tmp_path, "pacing_tables", "pacing_tables.c", *sources)
    for table in run_program(program).strip().split("\n\n"):
        assert table in page, f"the code decides otherwise than {PAGE.name} says:\n{table}"


def test_the_page_gives_each_constant_its_value(page):
    defined = {}
    for path in [*ENGINE.glob("socket/*.[ch]"), ENGINE / "base" / "lock.c"]:
        defined |= constants(path.read_text())
    wrong = [(name, value) for name, value in said(page) if defined.get(name) != value]
    assert not wrong, wrong
    explained = {name for name, _ in said(page)}
    missing = set(constants((ENGINE / "socket" / "pacing.h").read_text())) - explained
    assert not missing, f"{PAGE.name} does not explain {sorted(missing)}"


def test_a_wrong_value_and_a_missing_one_are_seen():
    assert constants("enum { ZM_A_NS = 60 * 1000, /* x */\n ZM_B = 4 };") == {
        "ZM_A_NS": 60_000,
        "ZM_B": 4,
    }
    text = "for 60 us (`ZM_A_NS`), at most 4\n(`ZM_B`: so), 1,000 KB (`C_BYTES`), 20 (so)"
    assert said(text) == [("ZM_A_NS", 60_000), ("ZM_B", 4), ("C_BYTES", 1_024_000)]
