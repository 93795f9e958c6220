"""docs/reference/parity.md names tests that are there, for every row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "parity.md"
ROWS = 125

#: A row of a table: its cells.
_ROW = re.compile(r"^\| (?!---|#|defect)(.*) \|$", re.MULTILINE)


def rows() -> list[list[str]]:
    return [row.split(" | ") for row in _ROW.findall(PAGE.read_text(encoding="utf-8"))]


def missing(name: str) -> bool:
    """Is there no such test of ours?"""
    path, _, function = name.partition("::")
    file = TESTS / path
    return not file.exists() or f"def {function}(" not in file.read_text(encoding="utf-8")


def test_there_is_a_row_for_everything_and_none_is_empty():
    numbered = [cells for cells in rows() if cells[0].isdigit()]
    assert [int(number) for number, _, _ in numbered] == list(range(1, ROWS + 1))
    for number, what, shown_by in numbered:
        assert what, number
        assert shown_by.startswith("`"), number


def test_every_test_that_is_named_exists():
    names = [name for cells in rows() for name in re.findall(r"`([\w/]+\.py[\w:]*)`", cells[-1])]
    assert len(names) > ROWS
    ours = [name for name in names if not name.startswith("suite/")]
    assert [name for name in ours if missing(name)] == []


@pytest.mark.parametrize("name", ["unit/ext/test_calls.py::test_nonsense", "nowhere.py::test_x"])
def test_a_test_that_is_not_there_is_noticed(name):
    assert missing(name)
