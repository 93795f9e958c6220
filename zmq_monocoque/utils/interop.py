"""Numbers that name sockets and contexts, from whoever has them."""

from __future__ import annotations

from typing import Any

__all__ = ["cast_int_addr"]


def cast_int_addr(n: Any) -> int:
    """``n``, an int, or a cffi pointer or number, as an int; ValueError for anything else."""
    if isinstance(n, int):
        return n
    # Only somebody who has imported cffi can own such a value, and its core is always loaded.
    import _cffi_backend  # type: ignore[import-untyped]

    if isinstance(n, _cffi_backend._CDataBase):
        return int(_cffi_backend.FFI().cast("size_t", n))
    raise ValueError(f"Cannot cast {n!r} to int")
