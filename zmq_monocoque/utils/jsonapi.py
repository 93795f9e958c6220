"""JSON for `send_json` and `recv_json`: bytes out, bytes or str in."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["dumps", "loads"]

#: The module that does the work.
jsonmod = json


def dumps(o: object, **kwargs: Any) -> bytes:
    """``o`` as UTF-8; keywords go to ``json.dumps``."""
    return json.dumps(o, **kwargs).encode()


def loads(s: bytes | str, **kwargs: Any) -> dict[str, Any] | list[Any] | str | float:
    """The value of the UTF-8 text ``s``; keywords go to ``json.loads``.

    UnicodeDecodeError, ValueError.
    """
    # Decoded here: json.loads would guess at UTF-16 and UTF-32.
    if isinstance(s, bytes):
        s = s.decode()
    value: dict[str, Any] | list[Any] | str | float = json.loads(s, **kwargs)
    return value
