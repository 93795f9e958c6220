"""Sockets, Contexts and Pollers for tornado: their calls return tornado futures.

As `zmq_monocoque.asyncio`, with handlers of an `IOLoop` in the place of readers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from warnings import warn

from tornado.concurrent import Future
from tornado.ioloop import IOLoop

import zmq_monocoque as _zmq
from zmq_monocoque import _future
from zmq_monocoque.constants import POLLIN, POLLOUT

__all__ = ["CancelledError", "Context", "Poller", "Socket"]


class CancelledError(Exception):
    """What a cancelled future of this module raises."""


class _TornadoFuture(Future[Any]):
    """A future whose cancellation is an exception like others."""

    def cancel(self, msg: Any = None) -> bool:
        if self.done():
            return False
        self.set_exception(CancelledError())
        self.exception()  # nobody need look at it
        return True

    def cancelled(self) -> bool:
        return self.done() and isinstance(self.exception(), CancelledError)


class _Receipt(_future._GivesBack, _TornadoFuture):
    pass


class _Pause(_future._GivesWay, _TornadoFuture):
    pass


class _AsyncTornado(_future._Async):
    """Tornado's side of sockets and pollers."""

    _Future = _TornadoFuture
    _zm_Receipt = _Receipt
    _zm_Pause = _Pause

    def _default_loop(self) -> asyncio.AbstractEventLoop:
        current: Any = IOLoop.current()
        loop: asyncio.AbstractEventLoop = current.asyncio_loop
        return loop

    def _zm_watch(
        self, loop: asyncio.AbstractEventLoop, fd: Any, mask: int, callback: Callable[[], object]
    ) -> Callable[[], object]:
        io_loop = IOLoop.current()
        events = (IOLoop.READ if mask & POLLIN else 0) | (IOLoop.WRITE if mask & POLLOUT else 0)

        def call_back(fd: Any, events: int) -> None:
            callback()

        io_loop.add_handler(fd, call_back, events)
        return lambda: io_loop.remove_handler(fd)


class Poller(_AsyncTornado, _future._AsyncPoller):
    """A Poller whose `poll` returns a future."""


class Socket(_AsyncTornado, _future._AsyncSocket):
    """As `zmq_monocoque.asyncio.Socket`, with futures of tornado's loop."""

    _poller_class = Poller


class Context(_zmq.Context[Socket]):
    """A Context that makes sockets for tornado; ``Context(other)`` shares the other's engine."""

    _socket_class = Socket
    # Not the synchronous one's.
    _instance = None
    io_loop: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.pop("io_loop", None) is not None:
            warn(
                f"{self.__class__.__name__}(io_loop) is deprecated: the current loop is used",
                DeprecationWarning,
                stacklevel=2,
            )
        init: Any = super().__init__  # type: ignore[misc]
        init(*args, **kwargs)
