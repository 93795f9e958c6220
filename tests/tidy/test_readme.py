"""README.md is short, and its links lead somewhere on a package index's page, too."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RELATIVE = re.compile(r"\]\((?!\w+:|#)")


def for_an_index(text: str) -> str:
    path = ROOT / "zmq_monocoque" / "_build" / "readme.py"
    spec = importlib.util.spec_from_file_location("readme_of_the_clone", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.for_an_index(text)


def test_the_readme_is_short():
    assert (ROOT / "README.md").read_text().count("\n") < 120


def test_the_readme_links_to_what_a_newcomer_asks_for():
    text = (ROOT / "README.md").read_text()
    for page in ("CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "docs/ways-in.md"):
        assert f"]({page})" in text, page


def test_no_link_of_the_readme_leads_nowhere_on_an_index():
    text = (ROOT / "README.md").read_text()
    assert RELATIVE.search(text)
    shown = for_an_index(text)
    assert not RELATIVE.search(shown)
    assert "[pyzmq](https://" in shown and "Tutorial (`docs/tutorial/README.md`)" in shown


def test_a_path_is_not_said_twice():
    assert for_an_index("[docs/a](docs/a), [a](b/c), [d](#e)") == "docs/a, a (`b/c`), [d](#e)"
