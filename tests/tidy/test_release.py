"""The version is the same wherever it is written, and the changelog is about it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def written(path: str, pattern: str) -> str:
    found = re.search(pattern, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    assert found, path
    return found[1]


def test_the_version_is_the_same_everywhere():
    version = written("zmq_monocoque/_version.py", r'^__version__ = "([\d.]+)"')
    assert written("pyproject.toml", r'^version = "([\d.]+)"') == version
    assert written("CHANGELOG.md", r"^## ([\d.]+) ") == version
    assert written("compat/pyproject.toml", r'"zmq_monocoque==([\d.]+)"') == version


def test_a_release_has_a_date():
    when = written("CHANGELOG.md", r"^## \S+ \((.*)\)")
    assert re.fullmatch(r"not released|\d{4}-\d\d-\d\d", when)
