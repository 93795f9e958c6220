"""`MessageTracker`: has the engine let go of the memory of a message?"""

from __future__ import annotations

import time
from threading import Event
from typing import Final

from zmq_monocoque.backend import Frame
from zmq_monocoque.error import NotDone

__all__ = ["MessageTracker", "_FINISHED_TRACKER"]


class MessageTracker:
    """Watches any number of messages that were given to the engine without a copy.

    ``towatch``: events (set when a message's memory is free again), tracked Frames, and other
    trackers. ValueError for a Frame that is not tracked, TypeError for anything else.
    """

    events: set[Event]
    peers: set[MessageTracker]

    def __init__(self, *towatch: MessageTracker | Event | Frame) -> None:
        self.events = set()
        self.peers = set()
        for item in towatch:
            if isinstance(item, Event):
                self.events.add(item)
            elif isinstance(item, MessageTracker):
                self.peers.add(item)
            elif isinstance(item, Frame):
                if not item.tracker:
                    raise ValueError("Not a tracked message")
                self.peers.add(item.tracker)
            else:
                raise TypeError(f"Require Events or Message Frames, not {type(item)}")

    @property
    def done(self) -> bool:
        """Is the memory of every watched message free for reuse?"""
        return all(event.is_set() for event in self.events) and all(
            peer.done for peer in self.peers
        )

    def wait(self, timeout: float | int = -1) -> None:
        """Waits until `done`, at most ``timeout`` seconds (negative: without limit).

        NotDone when the time is over first.
        """
        without_limit = timeout is False or timeout < 0  # False: pyzmq's rule
        end = None if without_limit else time.monotonic() + timeout

        def left() -> float | None:
            return None if end is None else max(0.0, end - time.monotonic())

        for event in self.events:
            if not event.wait(left()):
                raise NotDone
        for peer in self.peers:
            remaining = left()
            peer.wait(-1 if remaining is None else remaining)


# What a send answers that has copied: nothing is left to wait for.
#: The tracker of messages that were copied: done from the beginning.
_FINISHED_TRACKER: Final[MessageTracker] = MessageTracker()
