"""The README as a package index shows it: there is no repository around it to link into."""

from __future__ import annotations

import re

_LINK = re.compile(r"\[([^\]]+)\]\((?!\w+:|#)([^)\s]+)\)")


def for_an_index(text: str) -> str:
    """Links to pages of the repository become their paths in the sdist; others stay."""
    return _LINK.sub(lambda m: m[1] if m[1] in m[2] else f"{m[1]} (`{m[2]}`)", text)
