"""Sockets and Pollers whose calls answer futures; knows no particular event loop.

A call tries at once. Only what could not be done waits in a queue of its direction, and the
socket's descriptor is watched only while something waits. Each wake-up serves as many of those
that wait as it can, in their order; parsing (recv_json and the like) happens when a message is
taken, so that a future which was cancelled has taken nothing.

The loops' side is in `zmq_monocoque.asyncio` and `zmq_monocoque.eventloop.future`.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from warnings import warn

import zmq_monocoque as zmq
from zmq_monocoque.constants import DONTWAIT, EVENTS, FD, POLLIN, POLLOUT, RCVTIMEO, SNDTIMEO

if TYPE_CHECKING:
    from zmq_monocoque._typing import Buffer, Self

__all__: list[str] = []

Future = asyncio.Future

_T = TypeVar("_T")

#: Ends a watch that `_Async._watch` began.
_Unwatch = Callable[[], None]


class _Async:
    """What a socket and a poller ask of an event loop."""

    _Future: type[Future[Any]] = Future

    def _default_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the caller runs in."""
        raise NotImplementedError("override in subclass")

    def _watch(
        self, loop: asyncio.AbstractEventLoop, fd: Any, mask: int, callback: Callable[[], object]
    ) -> _Unwatch:
        """Has ``callback`` called whenever ``fd`` (a descriptor or a Socket) is ready."""
        raise NotImplementedError("override in subclass")


class _Waiting:
    """A future in a queue: what will serve it."""

    __slots__ = ("attempt", "load", "owner", "timer")

    def __init__(self, owner: Any, attempt: Callable[[], Any]):
        #: The socket lives as long as somebody waits for it.
        self.owner = owner
        self.attempt = attempt
        self.load: Callable[[Any], Any] | None = None
        self.timer: asyncio.TimerHandle | None = None


_Queue = OrderedDict["Future[Any]", _Waiting]


def _has_waiting(queue: _Queue) -> bool:
    """Does anybody wait, who was not cancelled a moment ago?"""
    for future in queue:
        if not future.done():
            return True
    return False


class _Waits:
    """Who waits for one socket, and the watch on its descriptor."""

    __slots__ = ("_forget", "_idle", "_look_due", "_loop", "_sync", "_unwatch", "recv", "send")

    def __init__(self, sync: zmq.Socket[bytes]):
        self.recv: _Queue = OrderedDict()
        self.send: _Queue = OrderedDict()
        self._sync = sync
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unwatch: _Unwatch | None = None
        self._idle = False
        self._look_due = False
        self._forget = self.forget

    def events(self) -> int:
        """EVENTS; the descriptor is quiet after it."""
        events: int = self._sync.get(EVENTS)
        return events

    def add(
        self,
        owner: _AsyncSocket,
        loop: asyncio.AbstractEventLoop,
        future: Future[Any],
        queues: Iterable[_Queue],
        waiting: _Waiting,
    ) -> None:
        """Has ``future`` wait."""
        if self._loop is not loop:
            self._change_loop(loop)
        if self._unwatch is None:
            self._unwatch = owner._watch(loop, owner, POLLIN, self._on_readable)
        for queue in queues:
            queue[future] = waiting
        self._idle = False
        future.add_done_callback(self._forget)
        # What was tried just now took everything in: what comes from here on makes the
        # descriptor readable. Only the other direction may have become possible.
        if self.recv and self.send:
            self.look_soon()

    def forget(self, future: Future[Any]) -> None:
        """``future`` is done, by whatever means."""
        waiting = self.recv.pop(future, None)
        waiting = self.send.pop(future, waiting)
        if waiting is not None and waiting.timer is not None:
            waiting.timer.cancel()

    def settle(self, future: Future[Any]) -> None:
        """``future`` is about to be done by us, so that it need not call `forget`."""
        future.remove_done_callback(self._forget)
        self.forget(future)

    def time_out(self, future: Future[Any], answer: Callable[[Future[Any]], None]) -> None:
        """The time of ``future`` is up."""
        if not future.done():
            self.settle(future)
            answer(future)

    def look_soon(self) -> None:
        """Looks in the next tick: a call may have taken in what others wait for."""
        if self._look_due or self._loop is None or self._loop.is_closed():
            return
        self._look_due = True
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._look_due = False
        self._serve()

    def _on_readable(self) -> None:
        if self.recv or self.send:
            self._serve()
            return
        # Nobody waits. The first time that is the end of a conversation's turn; if it goes on,
        # messages that nobody asks for shall not wake the loop.
        try:
            self.events()
        except zmq.ZMQError:
            self.unwatch()
        if self._idle:
            self.unwatch()
        self._idle = True

    def _serve(self) -> None:
        while self.recv or self.send:
            try:
                events = self.events()
            except zmq.ZMQError:
                # The context ended, or another object closed the socket: each hears of it.
                self._drain(self.recv)
                self._drain(self.send)
                self.unwatch()
                return
            served = 0
            if self.recv and events & POLLIN:
                served += self._drain(self.recv)
            if self.send and events & POLLOUT:
                served += self._drain(self.send)
            if not served:
                return

    def _drain(self, queue: _Queue) -> int:
        """Serves those who wait, from the first to one who has to wait on. How many it were."""
        served = 0
        while queue:
            future, waiting = next(iter(queue.items()))
            if future.done():
                self.forget(future)
                continue
            try:
                result = waiting.attempt()
            except zmq.Again:
                break
            except Exception as error:
                self.settle(future)
                future.set_exception(error)
            else:
                self.settle(future)
                _resolve(future, result, waiting.load)
            served += 1
        return served

    def _change_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        self.unwatch()
        for queue in (self.recv, self.send):
            for future in [*queue]:
                if future.get_loop().is_closed():
                    del queue[future]  # it cannot be done any more
        self._loop = loop
        self._look_due = False

    def unwatch(self) -> None:
        """Ends the watch."""
        unwatch, self._unwatch = self._unwatch, None
        if unwatch is not None and self._loop is not None and not self._loop.is_closed():
            unwatch()

    def close(self) -> None:
        """Cancels all who wait."""
        self.unwatch()
        for future in [*self.recv, *self.send]:
            if not future.done() and not future.get_loop().is_closed():
                self.settle(future)
                future.cancel()
        self.recv.clear()
        self.send.clear()


def _resolve(future: Future[Any], result: Any, load: Callable[[Any], Any] | None) -> None:
    """Sets what ``load`` makes of ``result``, or the exception it raises."""
    if load is not None:
        try:
            result = load(result)
        except Exception as error:
            future.set_exception(error)
            return
    future.set_result(result)


def _set_again(future: Future[Any]) -> None:
    future.set_exception(zmq.Again())


class _AsyncSocket(_Async, zmq.Socket[Any]):
    """A Socket whose send, recv, poll and their relatives return futures.

    They act when they are called, awaited or not; whatever can be done at once is done when they
    return. Exceptions of the engine are in the future. ``RCVTIMEO`` and ``SNDTIMEO`` count in the
    event loop, and DONTWAIT gives a future that is done.

    ``Socket(sync_socket)`` and `from_socket` make one of a socket that exists.
    """

    # Of this class, for programs that look whether anybody waits.
    _recv_futures: _Queue
    _send_futures: _Queue
    _shadow_sock: zmq.Socket[bytes]
    _waits: _Waits | None = None
    _poller_class: Any = None

    def __init__(
        self,
        context: Any = None,
        socket_type: int = -1,
        io_loop: Any = None,
        _from_socket: zmq.Socket[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if io_loop is not None:
            warn(
                f"{self.__class__.__name__}(io_loop) is deprecated: the current loop is used",
                DeprecationWarning,
                stacklevel=2,
            )
        if isinstance(context, zmq.Socket):
            context, _from_socket = None, context
        if _from_socket is not None:
            super().__init__(shadow=_from_socket, **kwargs)
        elif "shadow" in kwargs:
            super().__init__(context, **kwargs)
        else:
            super().__init__(context, socket_type, **kwargs)
        if _from_socket is not None and not isinstance(_from_socket, _AsyncSocket):
            sync: zmq.Socket[Any] = _from_socket
        else:
            sync = zmq.Socket(shadow=self.underlying, copy_threshold=self.copy_threshold)
        self._shadow_sock = sync
        self._waits = waits = _Waits(sync)
        self._recv_futures = waits.recv
        self._send_futures = waits.send

    @classmethod
    def from_socket(cls, socket: zmq.Socket[Any], io_loop: Any = None) -> Self:
        """An asynchronous object for ``socket``, which stays open when this one is collected."""
        return cls(_from_socket=socket, io_loop=io_loop)

    def __del__(self) -> None:
        if self._waits is not None:
            self._waits.unwatch()
        super().__del__()

    def close(self, linger: int | None = None) -> None:
        """As the synchronous one; those who wait are cancelled."""
        if self._waits is not None and not self._closed:
            self._waits.close()
        super().close(linger=linger)

    close.__doc__ = zmq.Socket.close.__doc__

    # --- receiving --------------------------------------------------------------------------------

    def recv(  # type: ignore[override]
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> Future[Any]:
        """A future of the next part: bytes, or a Frame with ``copy=False``.

        Those who wait are served in their order. Cancelling the future takes no message away.
        """
        attempt = partial(self._shadow_sock.recv, flags | DONTWAIT, copy, track)
        return self._begin(self._recv_futures, attempt, flags, RCVTIMEO)

    def recv_multipart(  # type: ignore[override]
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> Future[Any]:
        """A future of the list of all parts of the next message; else as `recv`."""
        attempt = partial(self._shadow_sock.recv_multipart, flags | DONTWAIT, copy, track)
        return self._begin(self._recv_futures, attempt, flags, RCVTIMEO)

    def recv_into(  # type: ignore[override]
        self, buf: Buffer, /, *, nbytes: int = 0, flags: int = 0
    ) -> Future[int]:
        """A future of the size of the next part, which is written into ``buf`` then."""
        attempt = partial(self._shadow_sock.recv_into, buf, nbytes=nbytes, flags=flags | DONTWAIT)
        return self._begin(self._recv_futures, attempt, flags, RCVTIMEO)

    def _deserialize(self, recvd: Any, load: Callable[[Any], Any]) -> Any:
        waiting = self._recv_futures.get(recvd)
        if waiting is not None:
            waiting.load = load
            return recvd
        future = self._Future(loop=recvd.get_loop())
        if recvd.done():
            _chain(recvd, future, load)
        else:
            # The recv() of a subclass.
            recvd.add_done_callback(lambda _: _chain(recvd, future, load))
            future.add_done_callback(lambda _: recvd.cancel())
        return future

    def __aiter__(self) -> Self:
        """``async for part in socket``: what `recv` gives, until the socket is closed."""
        return self

    async def __anext__(self) -> Any:
        if self.closed:
            raise StopAsyncIteration
        future = self.recv()
        try:
            return await future
        except asyncio.CancelledError:
            # Was it the socket's end, or is it the task that is cancelled?
            if self.closed and future.cancelled():
                raise StopAsyncIteration from None
            raise

    # --- sending ----------------------------------------------------------------------------------

    def send(  # type: ignore[override]
        self,
        data: Any,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        **kwargs: Any,
    ) -> Future[Any]:
        """A future of what the synchronous send returns; done, unless nobody can take the message.

        Messages leave in the order of the calls.
        """
        attempt = partial(
            self._shadow_sock.send, data, flags | DONTWAIT, copy, track, **kwargs
        )
        return self._begin(self._send_futures, attempt, flags, SNDTIMEO)

    def send_multipart(  # type: ignore[override]
        self,
        msg_parts: Any,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        **kwargs: Any,
    ) -> Future[Any]:
        """`send` of a message of several parts: all of it or nothing."""
        attempt = partial(
            self._shadow_sock.send_multipart, msg_parts, flags | DONTWAIT, copy, track, **kwargs
        )
        return self._begin(self._send_futures, attempt, flags, SNDTIMEO)

    # --- both -------------------------------------------------------------------------------------

    def _begin(
        self, queue: _Queue, attempt: Callable[[], Any], flags: int, timeout_option: int
    ) -> Future[Any]:
        """Tries; the future waits in ``queue`` when it was too early."""
        loop = self._default_loop()
        future = self._Future(loop=loop)
        if not queue or flags & DONTWAIT or not _has_waiting(queue):
            try:
                future.set_result(attempt())
            except zmq.Again as again:
                if flags & DONTWAIT:
                    future.set_exception(again)
            except Exception as error:
                future.set_exception(error)
            waits = self._waits
            if future.done():
                if waits.recv or waits.send:
                    waits.look_soon()
                return future
        self._wait(loop, future, (queue,), attempt, timeout_option)
        return future

    def _wait(self, loop, future, queues, attempt, timeout_option):
        timeout = self._shadow_sock.get(timeout_option)
        if timeout == 0:
            _set_again(future)
            return
        waiting = _Waiting(self, attempt)
        if timeout > 0:
            waiting.timer = loop.call_later(
                timeout / 1000, self._waits.time_out, future, _set_again
            )
        self._waits.add(self, loop, future, queues, waiting)


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
