"""How long calls that need not wait have kept an event loop from its turn.

A task whose messages are always there never waits, and nobody else in its loop runs. So after a
while it gives way. Clocks are read once in a few calls only, as long as these are fast.
"""

from __future__ import annotations

from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

__all__: list[str] = []

#: For how long a loop is kept, in seconds.
_KEPT_MAX = 0.002

#: Calls between two looks at the clock, unless they take longer together than the second says.
_STRIDE = 16
_STRIDE_MAX = 0.0005


class Pace:
    """Of a loop: since when has it not had a turn?"""

    __slots__ = ("__weakref__", "_began")

    def __init__(self) -> None:
        self._began = 0.0

    def rest(self) -> None:
        """The loop has, or will have now, a turn."""
        self._began = 0.0

    def is_due(self, now: float | None = None) -> bool:
        """Has it been kept for long enough?"""
        if now is None:
            now = monotonic()
        if not self._began:
            self._began = now
        return now - self._began > _KEPT_MAX


class Stride:
    """Of a socket: how many calls are left to the next look at the clock."""

    __slots__ = ("_looked", "left", "partial")

    def __init__(self) -> None:
        #: The caller counts it down, which is cheaper than a call, and asks `is_due` at 0.
        self.left = 0
        #: Is a message sent in part?
        self.partial = 0
        self._looked = 0.0

    def is_due(self, pace: Pace) -> bool:
        """Should the caller give way, by its loop's pace?"""
        now = monotonic()
        self.left = 0 if now - self._looked > _STRIDE_MAX else _STRIDE
        self._looked = now
        return pace.is_due(now)


_paces: WeakKeyDictionary[Any, Pace] = WeakKeyDictionary()


def pace_of(loop: Any) -> Pace:
    """The one of a loop, or of a hub."""
    pace = _paces.get(loop)
    if pace is None:
        pace = _paces[loop] = Pace()
    return pace
