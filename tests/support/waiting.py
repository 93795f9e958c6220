"""Waiting for events: never for time."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

#: How long what has to come may take: a machine that runs tests may stand still for seconds.
TIMEOUT = 60.0 if "ZM_SANITIZE" in os.environ else 30.0
#: How many times as many examples the property tests are to try.
EXAMPLES = int(os.environ.get("ZM_EXAMPLES", "1"))


def eventually(condition: Callable[[], object], timeout: float = TIMEOUT, step: float = 0.005):
    """Polls ``condition`` until it is truthy, and returns what it returned."""
    end = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {condition}")
        time.sleep(step)


def never_readable(fd, seconds: float = 0.15) -> bool:
    """For facts of the form "nothing comes", where no later event marks the end."""
    return not select.select([fd], [], [], seconds)[0]


def sleeps_for_long(thread: int | None) -> bool:
    """Does this thread of ours sleep in the kernel, and go on doing so (or has it ended)?

    Who waits for the GIL sleeps, too, but for 5 ms at a time.
    """

    def sleep() -> str:
        with open(f"/proc/self/task/{thread}/status") as status:
            return "".join(line for line in status if line.startswith(("State:", "voluntary")))

    try:
        before = sleep()
        time.sleep(0.02)
        return "(sleeping)" in before and sleep() == before
    except FileNotFoundError:
        return True


class Background:
    """Runs ``function`` in a thread; ``result()`` is what it returned, or raises what it raised."""

    def __init__(self, function: Callable[[], object]):
        self._function = function
        self._value: object = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error

    def result(self, timeout: float = TIMEOUT):
        self.thread.join(timeout)
        assert not self.thread.is_alive(), f"{self._function} did not end within {timeout} s"
        if self._error is not None:
            raise self._error
        return self._value

    def still_runs(self, after: float) -> bool:
        """Is it still at work after so many seconds?"""
        self.thread.join(after)
        return self.thread.is_alive()

    def blocked(self) -> Background:
        """Waits until the thread sleeps in the kernel (or ended), and returns self."""
        eventually(lambda: sleeps_for_long(self.thread.native_id))
        return self
