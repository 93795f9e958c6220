"""What a socket and a poller ask of an event loop, and how spinning leaves it its turns."""

from __future__ import annotations

import asyncio
from asyncio import Future, _get_running_loop
from collections import deque
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any

from zmq_monocoque._pace import pace_of

if TYPE_CHECKING:
    from zmq_monocoque._future.waits import _Waits
    from zmq_monocoque._typing import TypeAlias

#: How long messages that come while their task spins may keep it from its loop, in seconds.
_AWAY_MAX = 250e-6
#: Ends a watch that `_Async._zm_watch` began.
_Unwatch: TypeAlias = "Callable[[], object]"


class _Async:
    """What a socket and a poller ask of an event loop."""

    _Future: type[Future[Any]]
    #: As `_Future`, and `_GivesBack`.
    _zm_Receipt: type[Future[Any]]
    #: As `_Future`, and `_GivesWay`.
    _zm_Pause: type[Future[Any]]

    def _default_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the caller runs in."""
        raise NotImplementedError("override in subclass")

    def _zm_watch(
        self, loop: asyncio.AbstractEventLoop, fd: Any, mask: int, callback: Callable[[], object]
    ) -> _Unwatch:
        """Has ``callback`` called whenever ``fd`` (a descriptor or a Socket) is ready."""
        raise NotImplementedError("override in subclass")

    #: The loop that ran last time.
    _zm_home: Any = None
    #: Of the loop that `_current_loop` answered.
    _zm_pace: Any = None

    def _current_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that runs, or else `_default_loop`."""
        # asyncio's own answer takes a system call before Python 3.12.
        home = self._zm_home
        if home is not None and home._thread_id == get_ident():
            return home
        loop = _get_running_loop() or self._default_loop()
        if isinstance(loop, asyncio.BaseEventLoop):
            self._zm_home = loop
        self._zm_pace = pace_of(loop)
        return loop

    def _zm_turn(self, loop: asyncio.AbstractEventLoop) -> _Turn | None:
        """What the sockets that spin in ``loop`` share; None: they must not spin there."""
        return None

    def _zm_done(self, result: Any) -> Future[Any]:
        """A future of the running loop that has its result."""
        loop = self._current_loop()
        future: Any
        if self._zm_pace.is_due():
            future = self._zm_Pause(loop=loop)
            future._zm_pace = self._zm_pace
        else:
            future = self._Future(loop=loop)
        future.set_result(result)
        return future

    def _zm_failed(self, error: Exception) -> Future[Any]:
        future = self._Future(loop=self._current_loop())
        future.set_exception(error)
        return future


class _Turn:
    """Keeps tasks that spin in a loop from keeping the loop from its other work.

    A task whose messages come while it spins never waits for its loop. So its first spin schedules
    a visit in the loop. What the loop has to do before it comes first, and the visit must take
    place within _AWAY_MAX: then the next receive goes through the loop.
    """

    __slots__ = ("_began", "_planned", "_ready", "_waits")

    def __init__(self, ready: deque[Any]):
        #: What the loop calls next.
        self._ready = ready
        self._planned = 0
        self._began = 0.0
        self._waits: _Waits | None = None

    def spin(self, waits: _Waits) -> bool:
        """Looks for a message for a moment. True: there is one, or an error."""
        planned = self._planned
        if len(self._ready) > planned:
            return False
        if planned:
            if monotonic() - self._began > _AWAY_MAX:
                self._waits = waits
                return False
            return waits.sync._zm_spin()
        if not waits.sync._zm_spin():
            return False
        self._planned = 1
        self._began = monotonic()
        waits.loop.call_soon(self._visit)
        return True

    def _visit(self) -> None:
        """The loop has looked at everything: the task that had to stop spinning may go on."""
        self._planned = 0
        waits, self._waits = self._waits, None
        if waits is not None:
            waits.spin()
