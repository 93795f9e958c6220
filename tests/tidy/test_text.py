"""House rules for every text in the repository: width, endings, no notes to ourselves."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tidy.texts import ROOT, own_files

PACKAGE = ROOT / "zmq_monocoque"
WIDTH = 100
LENGTH = 700
CODE = {".py", ".pyi", ".c", ".h"}
SUFFIXES = {*CODE, ".md", ".toml", ".ini", ".supp", ".cfg"}
#: Split, so that this file does not find itself.
NOTE = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")

#: The only Python that imports the engine or the extension: the backend, and the session in Python.
ENGINE_IMPORTERS = ("zmq_monocoque/backend/", "zmq_monocoque/zmtp.py")
ENGINE_MODULES = {"_engine_c", "_ext"}


def texts() -> list[Path]:
    return own_files(SUFFIXES)


def too_wide(text: str) -> list[int]:
    return [n for n, line in enumerate(text.splitlines(), 1) if len(line) > WIDTH]


def too_long(text: str) -> bool:
    return text.count("\n") > LENGTH


def notes(text: str) -> list[str]:
    return NOTE.findall(text)


def imported(source: str) -> set[str]:
    """Every name, dotted or relative, that the source imports or imports from."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names |= {alias.name for alias in node.names}
    return names


def imports_engine(source: str) -> bool:
    return any(name.split(".")[-1] in ENGINE_MODULES for name in imported(source))


def test_no_line_of_code_is_wider_than_100_columns():
    wide = [
        f"{p.relative_to(ROOT)}:{line}"
        for p in texts()
        if p.suffix in CODE
        for line in too_wide(p.read_text())
    ]
    assert not wide, "\n".join(wide)


def test_no_note_to_ourselves_is_left():
    found = {str(p.relative_to(ROOT)): notes(p.read_text()) for p in texts()}
    assert {name: what for name, what in found.items() if what} == {}


def test_every_text_ends_with_one_newline_and_no_line_ends_with_a_blank():
    wrong = [
        str(p.relative_to(ROOT))
        for p in texts()
        if (text := p.read_text())
        and (not text.endswith("\n") or text.endswith("\n\n") or re.search(r"[ \t]\n", text))
    ]
    assert wrong == []


def test_only_the_backend_imports_the_engine():
    wrong = [
        name
        for p in PACKAGE.rglob("*.py")
        if not (name := str(p.relative_to(ROOT))).startswith(ENGINE_IMPORTERS)
        and imports_engine(p.read_text())
    ]
    assert wrong == []


def test_the_package_imports_neither_pyzmq_nor_its_tests():
    """The demo's peer is the exception: it is a process of its own that may run on pyzmq."""
    wrong = [
        str(p.relative_to(ROOT))
        for p in PACKAGE.rglob("*.py")
        if p.name != "pyzmq_backend.py"
        and any(n == "zmq" or n.startswith("zmq.") for n in imported(p.read_text()))
    ]
    assert wrong == []


def test_no_file_of_tests_has_more_than_700_lines():
    long = [
        str(p.relative_to(ROOT))
        for p in texts()
        if p.is_relative_to(ROOT / "tests") and p.suffix in CODE and too_long(p.read_text())
    ]
    assert long == []


def test_the_rules_of_this_file_can_fail():
    assert too_long("\n" * 701) and not too_long("\n" * 700)
    assert too_wide("a" * 100 + "\n" + "b" * 101) == [2]
    assert notes("a TO" + "DO here")
    assert not notes("TODOS")
    assert imports_engine("from .._engine_c import lib")
    assert imports_engine("from zmq_monocoque import _ext")
    assert not imports_engine("from zmq_monocoque.backend import Socket")
