"""References lead somewhere: `S-20` to semantics.md, a page to a page, a test to a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
SEMANTICS = ROOT / "docs" / "reference" / "semantics.md"
PROTOCOL = ROOT / "docs" / "reference" / "protocol.md"


def sections(text: str) -> dict[str, str]:
    """The behaviours of semantics.md: number to text."""
    parts = re.split(r"^### (S-\d+)\n", text, flags=re.MULTILINE)
    return {
        number: re.split(r"^## ", body, flags=re.MULTILINE)[0]
        for number, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def named_tests(text: str) -> list[str]:
    return re.findall(r"`([\w/]+\.py[\w:]*)`", text)


def missing(name: str) -> bool:
    """Is there no such test of ours?"""
    path, _, function = name.partition("::")
    file = TESTS / path
    return not file.exists() or f"def {function}(" not in file.read_text(encoding="utf-8")


def test_the_behaviours_are_numbered_and_each_names_its_tests():
    found = sections(SEMANTICS.read_text(encoding="utf-8"))
    assert list(found) == [f"S-{n:02}" for n in range(1, len(found) + 1)]
    assert len(found) > 120
    unproved = [number for number, body in found.items() if not named_tests(body)]
    assert unproved == []


@pytest.mark.parametrize("page", [SEMANTICS, PROTOCOL], ids=lambda page: page.stem)
def test_every_test_that_a_page_names_exists(page):
    named = [name for name in named_tests(page.read_text(encoding="utf-8")) if "::" in name]
    assert named
    assert [name for name in named if missing(name)] == []


def test_the_rules_of_this_file_can_fail():
    found = sections("### S-01\n\nA.\n\nShown by `a/b.py::test_c`.\n\n## Next\n\n### S-02\n\nB.\n")
    assert list(found) == ["S-01", "S-02"]
    assert named_tests(found["S-01"]) == ["a/b.py::test_c"]
    assert named_tests(found["S-02"]) == []
    assert missing("unit/test_options.py::test_nonsense")
    assert missing("nowhere.py::test_x")
