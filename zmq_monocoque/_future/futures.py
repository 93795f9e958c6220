"""Futures that give back what their task did not see, and what futures are given."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import zmq_monocoque as zmq
from zmq_monocoque._pace import Pace

if TYPE_CHECKING:
    from zmq_monocoque._future.waits import _Waits


class _GivesBack:
    """A future of something received, which returns it when its task is cancelled.

    To be mixed into a class of futures. The case is that of a task which was about to go on with
    the message, and is cancelled in the same tick: asyncio lets it see the cancellation only.
    """

    _zm_waits: _Waits | None = None
    #: What was taken off the socket, before any parsing; a buffer that was filled.
    _taken: Any = None
    #: Is that a list of messages?
    _many = False
    # The future's.
    _asyncio_future_blocking: bool

    def __await__(self: Any) -> Generator[Any, None, Any]:
        if not self.done() and not self._zm_waits.spin():
            self._asyncio_future_blocking = True
            try:
                yield self
            except BaseException:
                self._return_taken()
                raise
            self._zm_waits.pace.rest()
        self._taken = None
        return self.result()

    __iter__: Any = __await__

    def cancel(self: Any, msg: Any = None) -> bool:
        cancelled: bool = super().cancel(msg)  # type: ignore[misc]
        if cancelled and self._zm_waits is not None:
            self._zm_waits.forget(self)
        return cancelled

    def _return_taken(self) -> None:
        taken, self._taken = self._taken, None
        if taken is not None and self._zm_waits is not None:
            for message in taken if self._many else [taken]:
                self._zm_waits.give_back(message)


class _GivesWay(_GivesBack):
    """A future that has its result, and gives its loop a turn when it is awaited."""

    _zm_pace: Pace | None = None

    def __await__(self: Any) -> Generator[Any, None, Any]:
        pace, self._zm_pace = self._zm_pace, None
        if pace is not None:
            try:
                yield
                yield  # whom a timer or a descriptor has woken by now
            except BaseException:
                self._return_taken()
                raise
            pace.rest()
        self._taken = None
        return self.result()

    __iter__: Any = __await__


def _resolve(future: Future[Any], result: Any, load: Callable[[Any], Any] | None) -> None:
    """Sets what ``load`` makes of ``result``, or the exception it raises."""
    if load is not None:
        try:
            result = load(result)
        except Exception as error:
            future.set_exception(error)
            return
    future.set_result(result)


def _chain(inner: Future[Any], outer: Future[Any], load: Callable[[Any], Any]) -> None:
    """Gives ``outer`` what ``load`` makes of what ``inner`` got."""
    if outer.done():
        return
    if inner.cancelled():
        outer.cancel()
    elif (error := inner.exception()) is not None:
        outer.set_exception(error)
    else:
        _resolve(outer, inner.result(), load)


def _set_again(future: Future[Any], sync: Any = None, event: int = 0) -> None:
    """Again, to one that waited for ``event`` of the socket ``sync`` for as long as it may."""
    error = zmq.Again()
    if sync is not None:
        sync._zm_explain(error, event)
    future.set_exception(error)


def _set_unless_done(future: Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _set_no_events(future: Future[Any]) -> None:
    future.set_result(0)
