"""`Stopwatch`, for old code."""

from __future__ import annotations

import time
from warnings import warn


class Stopwatch:
    """Deprecated (use ``time.monotonic``): microseconds between `start` and `stop`."""

    # 0 until started: an unstarted watch counts from the clock's own zero, as pyzmq's.
    _start: float = 0

    def __init__(self) -> None:
        warn(
            "zmq.Stopwatch is deprecated. Use stdlib time.monotonic and friends instead",
            DeprecationWarning,
            stacklevel=2,
        )

    def start(self) -> None:
        """Starts, or starts anew."""
        self._start = time.monotonic()

    def stop(self) -> int:
        """Microseconds since `start`; may be asked again."""
        return int(1e6 * (time.monotonic() - self._start))
