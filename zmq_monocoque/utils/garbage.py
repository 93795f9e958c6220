"""What of Python's memory the engine holds: zero-copy messages that have not left yet.

The extension keeps the references and gives them back by itself, so there is no thread and no
socket here; `gc.refs` shows what is out, as pyzmq's does.
"""

from __future__ import annotations

from collections import namedtuple
from threading import Event

__all__ = ["GarbageCollector", "gc", "gcref"]


class gcref(namedtuple("gcref", ["obj", "event"])):
    """``obj`` in the engine's hands, and the ``event`` (or None) that is set when it is back."""

    __slots__ = ()


class GarbageCollector:
    """The table of what is out."""

    refs: dict[int, gcref]

    def __init__(self) -> None:
        self.refs = {}

    def store(self, obj: object, event: Event | None = None) -> int:
        """Keeps ``obj`` until its entry is taken out of `refs`; answers the key of the entry.

        ``event`` is kept with it, and never set.
        """
        entry = gcref(obj, event)
        key = id(entry)
        self.refs[key] = entry
        return key

    def is_alive(self) -> bool:
        """Is a collector at work? Always: the extension needs no starting."""
        return True

    def start(self) -> None:
        """Does nothing."""

    def stop(self) -> None:
        """Does nothing: what the engine holds stays valid until the engine lets go of it."""


#: The one that programs of pyzmq's look at.
gc = GarbageCollector()
