"""Deprecated: str and bytes for code that once ran on Python 2."""

from __future__ import annotations

from warnings import warn

__all__ = ["asbytes", "bytes", "unicode", "basestring", "b", "u", "cast_bytes", "cast_unicode"]

bytes = bytes
unicode = str
#: What isinstance() takes for text.
basestring = (str,)


def _warn() -> None:
    warn("zmq.utils.strtypes is deprecated in pyzmq 23.", DeprecationWarning, stacklevel=3)


def cast_bytes(s: str | bytes, encoding: str = "utf8", errors: str = "strict") -> bytes:
    """``s`` as bytes; TypeError when it is neither bytes nor str.

    ``encoding`` and ``errors`` as of ``str.encode``.
    """
    _warn()
    if isinstance(s, bytes):
        return s
    if isinstance(s, str):
        return s.encode(encoding, errors)
    raise TypeError(f"Expected unicode or bytes, got {s!r}")


def cast_unicode(s: str | bytes, encoding: str = "utf8", errors: str = "strict") -> str:
    """``s`` as str; TypeError when it is neither bytes nor str.

    ``encoding`` and ``errors`` as of ``bytes.decode``.
    """
    _warn()
    if isinstance(s, bytes):
        return s.decode(encoding, errors)
    if isinstance(s, str):
        return s
    raise TypeError(f"Expected unicode or bytes, got {s!r}")


b = asbytes = cast_bytes
u = cast_unicode
