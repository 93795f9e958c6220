"""Sockets, Contexts and Pollers for asyncio: their calls return `asyncio.Future`.

::

    import zmq_monocoque.asyncio as zmq_asyncio

    async def echo(address):
        with zmq_asyncio.Context() as context, context.socket(zmq.REP) as socket:
            socket.bind(address)
            async for request in socket:
                await socket.send(request)

They belong to the loop that runs when they are used, and may be used in another one later.
"""

from __future__ import annotations

import asyncio
import selectors
from asyncio import Future, SelectorEventLoop
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from warnings import warn
from weakref import WeakKeyDictionary

import zmq_monocoque as _zmq
from zmq_monocoque import _future
from zmq_monocoque.constants import POLLIN, POLLOUT

__all__ = ["Context", "Socket", "Poller", "ZMQEventLoop", "install"]


class ProactorSelectorThreadWarning(RuntimeWarning):
    """Of Windows, where sockets need a selector beside the proactor; never issued here."""


#: What the sockets of a loop share.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _future._Turn] = WeakKeyDictionary()


class _Receipt(_future._GivesBack, Future[Any]):
    pass


class _Pause(_future._GivesWay, Future[Any]):
    pass


class _AsyncIO(_future._Async):
    """asyncio's side of sockets and pollers."""

    _Future = Future
    _zm_Receipt = _Receipt
    _zm_Pause = _Pause

    def _default_loop(self) -> asyncio.AbstractEventLoop:
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            warn(
                "No running event loop. zmq.asyncio should be used from within an asyncio loop.",
                RuntimeWarning,
                stacklevel=4,
            )
        return asyncio.get_event_loop()

    def _zm_turn(self, loop: asyncio.AbstractEventLoop) -> _future._Turn | None:
        # Only of the loops that tell what they call next.
        ready = getattr(loop, "_ready", None)
        if not isinstance(loop, asyncio.BaseEventLoop) or not isinstance(ready, deque):
            return None
        turn = _turns.get(loop)
        if turn is None:
            turn = _turns[loop] = _future._Turn(ready)
        return turn

    def _zm_watch(
        self, loop: asyncio.AbstractEventLoop, fd: Any, mask: int, callback: Callable[[], object]
    ) -> Callable[[], object]:
        number = fd if isinstance(fd, int) else fd.fileno()
        if mask & POLLIN:
            loop.add_reader(number, callback)
        if mask & POLLOUT:
            loop.add_writer(number, callback)

        def unwatch() -> None:
            if mask & POLLIN:
                loop.remove_reader(number)
            if mask & POLLOUT:
                loop.remove_writer(number)

        return unwatch


class Poller(_AsyncIO, _future._AsyncPoller):
    """A Poller whose `poll` returns a future."""


class Socket(_AsyncIO, _future._AsyncSocket):
    """A Socket whose send, recv, poll and their relatives, as recv_json, return futures.

    They act when they are called, awaited or not; whatever can be done at once is done when they
    return. Exceptions of the engine are in the future. RCVTIMEO and SNDTIMEO count in the event
    loop, and DONTWAIT gives a future that is done. `close` cancels those who wait.

    ``Socket(context, socket_type)``; ``Socket(sync_socket)`` and `from_socket` make one of a
    socket that exists. ``io_loop`` is deprecated and ignored.
    """

    _poller_class = Poller


class Context(_zmq.Context[Socket]):
    """A `zmq_monocoque.Context` that makes sockets for asyncio.

    ``Context(other)`` shares the engine of another one.
    """

    _socket_class = Socket
    # Not the synchronous one's.
    _instance = None

    if TYPE_CHECKING:
        # The synchronous one's would be of sockets that give bytes.
        def __init__(
            self, io_threads: int | _zmq.Context[Any] = 1, shadow: _zmq.Context[Any] | int = 0
        ) -> None: ...


class ZMQEventLoop(SelectorEventLoop):
    """Deprecated: any event loop will do. ``selector``: as of asyncio's SelectorEventLoop."""

    def __init__(self, selector: selectors.BaseSelector | None = None):
        _deprecated()
        super().__init__(selector)


def install() -> None:
    """Deprecated: there is nothing to install."""
    _deprecated()


def _deprecated() -> None:
    warn(
        "ZMQEventLoop and zmq.asyncio.install are deprecated: no special event loop is needed.",
        DeprecationWarning,
        stacklevel=3,
    )
