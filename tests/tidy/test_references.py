"""References lead somewhere: `S-20` to semantics.md, a page to a page, a test to a test."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from tidy.texts import ROOT, own_files

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


#: Documents that are not in the repository, and the numbers of their sections.
STRANGE = re.compile(
    r"\b(SEMANTICS|PYZMQ|DESIGN|STYLE|REACH|CORE)(\.md| [A-Z]?\d|, section| section)"
    r"|\bZMTP\.md\b|\bsection \d|\b8\([a-m]\)|\bdifference \([a-m]\)|\.\./shared"
)
#: A file of ours, by its path from the root, tests/, the package or the engine.
FILE = re.compile(
    r"(?<![\w./$*-])(?:tests|docs|examples|zmq_monocoque|_ext|_capi|base|driver|pattern|route"
    r"|zmtp|pipe|connection|socket|context|behaviour|fault|hostile|interop|unit)"
    r"/[\w/.-]+\.(?:pyi?|[ch]|md|toml|json|svg)\b"
)
PLACES = ("", "tests", "zmq_monocoque", "zmq_monocoque/_engine")
SUFFIXES = {".py", ".pyi", ".c", ".h", ".md", ".toml", ".ini"}


@functools.cache
def texts() -> list[Path]:
    # Not pyzmq's; nor this file, which has bad examples.
    return own_files(SUFFIXES, "pyzmq_suite", "test_references.py")


@functools.cache
def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def pages(name: str, place: Path) -> list[Path]:
    """The pages that a mention may mean: by its path, or anywhere by its name alone."""
    by_path = [base / name for base in (place, ROOT, ROOT / "docs") if (base / name).is_file()]
    return by_path or [p for p in texts() if p.name == name]


def unresolved(text: str, place: Path, numbers: set[str]) -> list[str]:
    """What a text in that folder refers to that is not there."""
    wrong = [match[0] for match in STRANGE.finditer(text)]
    wrong += [number for number in re.findall(r"\bS-\d+\b", text) if number not in numbers]
    for name, anchor in re.findall(r"(?<![\w$*])((?:[\w.-]+/)*[\w.-]+\.md)(?:#([\w-]+))?", text):
        found = pages(name, place)
        if not found or anchor and not any(anchor in anchors(page) for page in found):
            wrong.append(f"{name}#{anchor}" if anchor else name)
    for line in text.splitlines():
        if "pyzmq_suite" not in line:  # whose tests are pyzmq's
            places = [place, *(ROOT / base for base in PLACES)]
            named = FILE.findall(line)
            wrong += [name for name in named if not any((p / name).exists() for p in places)]
    for number in re.findall(r"\b[Dd]ecision (\d+)\b", text):
        if not list((ROOT / "docs" / "adr").glob(f"{int(number):04}-*.md")):
            wrong.append(f"decision {number}")
    return wrong


def test_every_reference_leads_to_something_in_the_repository():
    numbers = set(sections(SEMANTICS.read_text(encoding="utf-8")))
    wrong = {
        str(path.relative_to(ROOT)): found
        for path in texts()
        if (found := unresolved(path.read_text(encoding="utf-8"), path.parent, numbers))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    "text",
    [
        "as in S-999",
        "SEMANTICS 1.4",
        "PYZMQ Appendix A, section 2",
        "see ZMTP.md",
        "see semantics.md#nonsense",
        "see docs/reference/nonsense.md",
        "../shared/bench/pair.py",
        "difference (a)",
        "decision 99",
        "as in socket/nonsense.c",
        "tests/unit/test_nonsense.py does it",
    ],
)
def test_a_reference_to_nothing_is_noticed(text):
    assert unresolved(text, TESTS, {"S-01"})


def test_a_reference_to_something_is_left_alone():
    text = "S-01, semantics.md#s-01, docs/reference/limits.md, decision 5, unit/test_options.py"
    assert unresolved(text, TESTS, {"S-01"}) == []


def test_the_rules_of_this_file_can_fail():
    found = sections("### S-01\n\nA.\n\nShown by `a/b.py::test_c`.\n\n## Next\n\n### S-02\n\nB.\n")
    assert list(found) == ["S-01", "S-02"]
    assert named_tests(found["S-01"]) == ["a/b.py::test_c"]
    assert named_tests(found["S-02"]) == []
    assert missing("unit/test_options.py::test_nonsense")
    assert missing("nowhere.py::test_x")
