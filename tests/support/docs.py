"""What the pages for readers consist of: those at the root, docs/ and the examples'."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")),
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

#: Also one in a list, whose lines are all indented as its first.
_BLOCK = re.compile(r"^([ ]*)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """``kind``: python, c, sh, text (what the block before prints), mermaid or "" (pictures)."""

    kind: str
    text: str

    @property
    def file(self) -> str | None:
        """The name in the first line of a program that is a file."""
        first = {"python": r"# (\w+\.py)\b", "c": r"/\* (\w+\.c) \*/"}.get(self.kind)
        named = re.match(first, self.text) if first else None
        return named[1] if named else None


def blocks(page: Path) -> list[Block]:
    found = _BLOCK.findall(page.read_text())
    return [Block(kind, textwrap.dedent(text)) for _, kind, text in found]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _BLOCK.sub("", page.read_text())


def spans(page: Path) -> list[str]:
    """What stands in backticks, on one line or over two."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]
