"""`allow_interrupt`: what Windows needs for Ctrl-C; elsewhere, as here, nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["allow_interrupt"]


class allow_interrupt:
    """A block in which Ctrl-C is noticed. It always is: ``action`` is not called."""

    def __init__(self, action: Callable[[], Any] | None = None) -> None:
        self.action = action

    def __enter__(self) -> None:
        pass

    def __exit__(self, *args: object) -> None:
        pass
