"""Sockets and Pollers whose calls answer futures; knows no particular event loop.

A call tries at once. Only what could not be done waits, in a queue of its direction, and the
socket's descriptor is watched only while something waits. Each wake-up serves as many of those
that wait as it can, in their order. Parsing (recv_json and the like) happens when a message is
taken, so that a cancelled future has taken nothing; and a message that was given to a task which
is cancelled before it sees it goes back, to be received next.

The loops' side is in `zmq_monocoque.asyncio` and `zmq_monocoque.eventloop.future`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio import _get_running_loop
from collections import OrderedDict, deque
from collections.abc import Callable, Generator
from operator import methodcaller
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload
from warnings import warn

import zmq_monocoque as zmq
from zmq_monocoque._pace import Pace, Stride, pace_of
from zmq_monocoque.constants import Errno, Flag, PollEvent, SocketOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zmq_monocoque._typing import Buffer, Self, TypeAlias

__all__: list[str] = []

Future = asyncio.Future

_T = TypeVar("_T")

# As plain numbers: the operators of an enum take a microsecond.
DONTWAIT = int(Flag.DONTWAIT)
POLLIN = int(PollEvent.POLLIN)
POLLOUT = int(PollEvent.POLLOUT)
EVENTS = int(SocketOption.EVENTS)
RCVMORE = int(SocketOption.RCVMORE)
SNDMORE = int(Flag.SNDMORE)
RCVTIMEO = int(SocketOption.RCVTIMEO)
SNDTIMEO = int(SocketOption.SNDTIMEO)

#: A flag of the extension's calls: DONTWAIT, and NotImplemented instead of Again.
_QUIET = 1 << 30

#: The calls that know it.
_QUIET_CALLS = (
    "recv",
    "recv_multipart",
    "recv_into",
    "recv_many",
    "send",
    "send_multipart",
    "send_many",
)

#: How long messages that come while their task spins may keep it from its loop, in seconds.
_AWAY_MAX = 250e-6

#: Tries what somebody waits for, on what stands for the socket; NotImplemented: not yet.
_Attempt: TypeAlias = "Callable[[Any], Any]"
#: Ends a watch that `_Async._watch` began.
_Unwatch: TypeAlias = "Callable[[], object]"


class _GivesBack:
    """A future of something received, which returns it when its task is cancelled.

    To be mixed into a class of futures. The case is that of a task which was about to go on with
    the message, and is cancelled in the same tick: asyncio lets it see the cancellation only.
    """

    _waits: _Waits | None = None
    #: What was taken off the socket, before any parsing; a buffer that was filled.
    _taken: Any = None
    #: Is that a list of messages?
    _many = False
    # The future's.
    _asyncio_future_blocking: bool

    def __await__(self: Any) -> Generator[Any, None, Any]:
        if not self.done() and not self._waits.spin():
            self._asyncio_future_blocking = True
            try:
                yield self
            except BaseException:
                self._return_taken()
                raise
            self._waits.pace.rest()
        self._taken = None
        return self.result()

    __iter__: Any = __await__

    def cancel(self: Any, msg: Any = None) -> bool:
        cancelled: bool = super().cancel(msg)  # type: ignore[misc]
        if cancelled and self._waits is not None:
            self._waits.forget(self)
        return cancelled

    def _return_taken(self) -> None:
        taken, self._taken = self._taken, None
        if taken is not None and self._waits is not None:
            for message in taken if self._many else [taken]:
                self._waits.give_back(message)


class _GivesWay(_GivesBack):
    """A future that has its result, and gives its loop a turn when it is awaited."""

    _pace: Pace | None = None

    def __await__(self: Any) -> Generator[Any, None, Any]:
        pace, self._pace = self._pace, None
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


class _Async:
    """What a socket and a poller ask of an event loop."""

    _Future: type[Future[Any]]
    #: As `_Future`, and `_GivesBack`.
    _Receipt: type[Future[Any]]
    #: As `_Future`, and `_GivesWay`.
    _Pause: type[Future[Any]]

    def _default_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the caller runs in."""
        raise NotImplementedError("override in subclass")

    def _watch(
        self, loop: asyncio.AbstractEventLoop, fd: Any, mask: int, callback: Callable[[], object]
    ) -> _Unwatch:
        """Has ``callback`` called whenever ``fd`` (a descriptor or a Socket) is ready."""
        raise NotImplementedError("override in subclass")

    #: The loop that ran last time.
    _home: Any = None
    #: Of the loop that `_current_loop` answered.
    _pace: Any = None

    def _current_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that runs, or else `_default_loop`."""
        # asyncio's own answer takes a system call before Python 3.12.
        home = self._home
        if home is not None and home._thread_id == get_ident():
            return home
        loop = _get_running_loop() or self._default_loop()
        if isinstance(loop, asyncio.BaseEventLoop):
            self._home = loop
        self._pace = pace_of(loop)
        return loop

    def _turn(self, loop: asyncio.AbstractEventLoop) -> _Turn | None:
        """What those who spin in ``loop`` share; None: they had better not."""
        return None

    def _done(self, result: Any) -> Future[Any]:
        """A future of the running loop that has its result."""
        loop = self._current_loop()
        future: Any
        if self._pace.is_due():
            future = self._Pause(loop=loop)
            future._pace = self._pace
        else:
            future = self._Future(loop=loop)
        future.set_result(result)
        return future

    def _failed(self, error: Exception) -> Future[Any]:
        future = self._Future(loop=self._current_loop())
        future.set_exception(error)
        return future


class _Turn:
    """Sees to it that those who spin in a loop leave it alone when it has anything to do.

    A task whose messages come while it spins never waits for its loop. So the first time, a visit
    is planned there; others have their turn before it, and it must take place in time.
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
            return waits.sync._spin()
        if not waits.sync._spin():
            return False
        self._planned = 1
        self._began = monotonic()
        waits.loop.call_soon(self._visit)
        return True

    def _visit(self) -> None:
        """The loop has looked at everything; whose time was up goes on to spin."""
        self._planned = 0
        waits, self._waits = self._waits, None
        if waits is not None:
            waits.spin()


class _Waiting:
    """A future in a queue: who and what will serve it."""

    __slots__ = ("attempt", "load", "owner", "timer")

    def __init__(self, owner: _AsyncSocket, attempt: _Attempt):
        self.owner = owner  # which lives as long as somebody waits for it
        self.attempt = attempt
        self.load: Callable[[Any], Any] | None = None
        self.timer: asyncio.TimerHandle | None = None


_Queue: TypeAlias = "OrderedDict[Future[Any], _Waiting]"


class _Waits:
    """Who waits for one socket, and the watch on its descriptor."""

    __slots__ = (
        "_forget",
        "_idle",
        "_look_due",
        "_turn",
        "_unwatch",
        "left",
        "loop",
        "pace",
        "recv",
        "send",
        "source",
        "stride",
        "sync",
    )

    def __init__(self, sync: zmq.Socket[Any]):
        self.recv: _Queue = OrderedDict()
        self.send: _Queue = OrderedDict()
        #: Whose calls know `_QUIET`.
        self.sync = sync if _is_plain(type(sync)) else _Adapter(sync)
        #: What to receive from: the socket, or what was given back to it.
        self.source: Any = self.sync
        self.loop: Any = None
        self.pace: Any = None
        #: Calls until `_try` looks at the clock.
        self.left = 0
        self.stride = Stride()
        self._turn: _Turn | None = None
        self._unwatch: _Unwatch | None = None
        self._idle = False
        self._look_due = False
        self._forget = self.forget

    # --- the queues -------------------------------------------------------------------------------

    def is_busy(self, queue: _Queue) -> bool:
        """Does anybody wait there who was not cancelled a moment ago?"""
        return bool(queue) and any(not future.done() for future in queue)

    def add(
        self,
        loop: asyncio.AbstractEventLoop,
        future: Future[Any],
        queues: tuple[_Queue, ...],
        waiting: _Waiting,
    ) -> None:
        """Has ``future`` wait in each of ``queues``."""
        self.watch(loop, waiting.owner)
        for queue in queues:
            queue[future] = waiting
        self._idle = False
        if not isinstance(future, _GivesBack):  # which tells of its end itself
            future.add_done_callback(self._forget)
        # The try before this took in all that there was; what comes from here on makes the
        # descriptor readable. Only who waits for the other direction must be told.
        if self.recv and self.send:
            self.look_soon()

    def forget(self, future: Future[Any]) -> None:
        """``future`` is done, by whatever means."""
        waiting = self.recv.pop(future, None)
        waiting = self.send.pop(future, waiting)
        if waiting is not None and waiting.timer is not None:
            waiting.timer.cancel()

    def settle(self, future: Future[Any]) -> None:
        """Before ``future`` is done by us: it need not call `forget` then."""
        if not isinstance(future, _GivesBack):
            future.remove_done_callback(self._forget)
        self.forget(future)

    def time_out(self, future: Future[Any], answer: Callable[[Future[Any]], None]) -> None:
        """The time of ``future`` is up."""
        if not future.done():
            self.settle(future)
            answer(future)

    def give_back(self, taken: Any) -> None:
        """Has ``taken`` received next, since nobody saw it."""
        if not isinstance(self.source, _GivenBack):
            self.source = _GivenBack(self, self.sync)
        self.source.add(taken)
        if self.recv:
            self.look_soon()

    def exhausted(self) -> None:
        """All that was given back is received."""
        self.source = self.sync

    # --- serving them -----------------------------------------------------------------------------

    def spin(self) -> bool:
        """Before the first who waits to receive goes to sleep: has a message come by now?"""
        turn = self._turn
        if turn is None or len(self.recv) != 1 or not turn.spin(self):
            return False
        return self._drain(self.recv) > 0

    def look_soon(self) -> None:
        """Serves in the next tick: a call may have taken in what somebody waits for."""
        if self._look_due or self.loop is None or self.loop.is_closed():
            return
        self._look_due = True
        self.loop.call_soon(self._look)

    def _look(self) -> None:
        self._look_due = False
        self._serve()

    def _on_readable(self) -> None:
        if self.recv or self.send:
            self._serve()
            return
        # Nobody waits. Once that is somebody who does other things between two messages; twice,
        # and messages that nobody asks for need not wake the loop any more.
        try:
            self.sync._get_int(EVENTS)
        except zmq.ZMQError:
            self._idle = True
        if self._idle:
            self.unwatch()
        self._idle = True

    def _serve(self) -> None:
        while self.recv or self.send:
            try:
                events = self.source._get_int(EVENTS)
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
        """Serves those who wait, up to the first who has to wait on. How many it were."""
        served = 0
        while queue:
            future, waiting = next(iter(queue.items()))
            if future.done():
                self.forget(future)
                continue
            try:
                result = waiting.attempt(self.source if queue is self.recv else self.sync)
            except Exception as error:
                self.settle(future)
                future.set_exception(error)
            else:
                if result is NotImplemented:
                    break
                self.settle(future)
                if isinstance(future, _GivesBack):
                    future._taken = result
                _resolve(future, result, waiting.load)
            served += 1
        return served

    # --- the watch --------------------------------------------------------------------------------

    def watch(self, loop: asyncio.AbstractEventLoop, owner: _AsyncSocket) -> None:
        """Has ``loop`` watch the descriptor."""
        if self.loop is not loop:
            self._change_loop(loop, owner)
        if self._unwatch is None:
            self._unwatch = owner._watch(loop, owner, POLLIN, self._on_readable)

    def _change_loop(self, loop: asyncio.AbstractEventLoop, owner: _AsyncSocket) -> None:
        self.unwatch()
        for queue in (self.recv, self.send):
            for future in [*queue]:
                if future.get_loop().is_closed():
                    del queue[future]  # nobody can wait for it any more
        self.loop = loop
        self.pace = pace_of(loop)
        self._turn = owner._turn(loop)
        self._look_due = False

    def unwatch(self) -> None:
        """Lets go of the descriptor."""
        unwatch, self._unwatch = self._unwatch, None
        if unwatch is not None and self.loop is not None and not self.loop.is_closed():
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


def _set_again(future: Future[Any]) -> None:
    future.set_exception(zmq.Again())


def _set_unless_done(future: Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _set_no_events(future: Future[Any]) -> None:
    future.set_result(0)


def _is_plain(kind: Any) -> bool:
    """Are the calls of this class of sockets the extension's own, which know `_QUIET`?"""
    return kind is zmq.Socket or all(
        getattr(kind, name) is getattr(zmq.Socket, name) for name in _QUIET_CALLS
    )


class _Adapter:
    """Stands for a socket whose class has calls of its own: they raise Again."""

    def __init__(self, sync: zmq.Socket[Any]):
        self._sync = sync
        self._get_int = sync._get_int
        self._spin = sync._spin

    def recv(self, flags: int, *args: Any) -> Any:
        return self._try(self._sync.recv, flags & ~_QUIET | DONTWAIT, *args)

    def recv_multipart(self, flags: int, *args: Any) -> Any:
        return self._try(self._sync.recv_multipart, flags & ~_QUIET | DONTWAIT, *args)

    def recv_into(self, buf: Buffer, /, *, nbytes: int, flags: int) -> Any:
        flags = flags & ~_QUIET | DONTWAIT
        return self._try(self._sync.recv_into, buf, nbytes=nbytes, flags=flags)

    def recv_many(self, max: int, *, flags: int, **kwargs: Any) -> Any:
        flags = flags & ~_QUIET | DONTWAIT
        return self._try(self._sync.recv_many, max, flags=flags, **kwargs)

    def send_many(self, messages: Any, *, flags: int, **kwargs: Any) -> Any:
        flags = flags & ~_QUIET | DONTWAIT
        return self._try(self._sync.send_many, messages, flags=flags, **kwargs)

    def send(self, data: Any, flags: int, *args: Any, **kwargs: Any) -> Any:
        return self._try(self._sync.send, data, flags & ~_QUIET | DONTWAIT, *args, **kwargs)

    def send_multipart(self, parts: Any, flags: int, *args: Any, **kwargs: Any) -> Any:
        flags = flags & ~_QUIET | DONTWAIT
        return self._try(self._sync.send_multipart, parts, flags, *args, **kwargs)

    def _try(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except zmq.Again:
            return NotImplemented


class _GivenBack:
    """Stands for a socket while there are messages that were given back to it.

    Receives as the socket does, except that it never has to wait.
    """

    def __init__(self, waits: _Waits, sync: Any):
        self._waits = waits
        self._sync = sync
        #: Messages, or what is left of them; and whether the socket has more parts of them.
        self._messages: deque[tuple[list[Any], bool]] = deque()
        self._more = False

    def add(self, taken: Any) -> None:
        parts = [*taken] if isinstance(taken, list) else [taken]
        more = False
        if not isinstance(taken, list):
            with contextlib.suppress(zmq.ZMQError):  # closed meanwhile: nobody will ask
                more = bool(self._sync._get_int(RCVMORE))
        self._messages.append((parts, more))

    def _next(self) -> Any:
        parts, rest = self._messages[0]
        part = parts.pop(0)
        self._more = bool(parts) or rest
        if not parts:
            self._messages.popleft()
            # The rest of this one comes from the socket, and so does RCVMORE.
            if not self._messages:
                self._waits.exhausted()
        return part

    def recv(self, flags: int, copy: bool = True, track: bool = False) -> Any:
        part = self._next()
        body = part.bytes if isinstance(part, zmq.Frame) else part
        if copy:
            return body
        frame = zmq.Frame(body, copy=True)
        frame.more = self._more
        return frame

    def recv_multipart(self, flags: int, copy: bool = True, track: bool = False) -> list[Any]:
        parts, rest = self._messages[0]
        received = [self.recv(flags, copy) for _ in range(len(parts))]
        if rest:
            received += self._sync.recv_multipart(flags, copy, track)
        return received

    def recv_many(self, max: int, *, flags: int, copy: bool, multipart: bool) -> Any:
        received: list[Any] = []
        while self._messages and len(received) < max:
            parts = self.recv_multipart(flags, copy)
            received.append(parts if multipart or len(parts) > 1 else parts[0])
        if received and len(received) >= max:
            return received
        try:
            more = self._sync.recv_many(
                max - len(received), flags=flags, copy=copy, multipart=multipart
            )
        except zmq.ZMQError:
            more = NotImplemented  # the next call hears of it
        return received if more is NotImplemented else received + more

    def recv_into(self, buf: Buffer, /, *, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buf).cast("B")
        if not 0 <= nbytes <= len(view):
            raise ValueError(f"nbytes={nbytes} does not fit a buffer of {len(view)} bytes")
        body = self.recv(flags)
        room = min(nbytes or len(view), len(body))
        view[:room] = body[:room]
        return len(body)

    def _get_int(self, option: int) -> int:
        if option == RCVMORE:
            return int(self._more)
        value: int = self._sync._get_int(option)
        return value | POLLIN if option == EVENTS else value


class _AsyncSocket(_Async, zmq.Socket["Future[Any]"]):
    """A Socket whose send, recv, poll and their relatives return futures.

    They act when they are called, awaited or not; whatever can be done at once is done when they
    return. Exceptions of the engine are in the future. RCVTIMEO and SNDTIMEO count in the event
    loop, and DONTWAIT gives a future that is done. `close` cancels those who wait.

    ``Socket(sync_socket)`` and `from_socket` make one of a socket that exists.
    """

    # Mappings of future -> what it waits for: programs look whether anybody waits.
    _recv_futures: _Queue
    _send_futures: _Queue
    _shadow_sock: zmq.Socket[Any]
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
        sync: zmq.Socket[Any] | None = None
        init: Any = super().__init__  # type: ignore[misc]
        if _from_socket is not None:
            init(shadow=_from_socket, **kwargs)
            if not isinstance(_from_socket, _AsyncSocket):
                sync = _from_socket
        elif kwargs.get("shadow"):
            init(context, **kwargs)
        else:
            init(context, socket_type, **kwargs)
        try:
            if sync is None:
                sync = zmq.Socket(shadow=self.underlying, copy_threshold=self.copy_threshold)
            self._waits = waits = _Waits(sync)
        except BaseException:
            self._discard()
            raise
        self._shadow_sock = sync
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

    def _get_loop(self) -> asyncio.AbstractEventLoop:
        """The current loop, which watches the socket from now on. Not needed to use it."""
        loop = self._current_loop()
        waits: Any = self._waits
        waits.watch(loop, self)
        return loop

    def close(self, linger: int | None = None) -> None:
        """As the synchronous one; the futures of those who wait are cancelled."""
        if self._waits is not None and not self._closed:
            self._waits.close()
        super().close(linger=linger)

    def get(self, option: int) -> Any:
        """As the synchronous one."""
        if self._waits is None:
            return super().get(option)
        if option == RCVMORE:
            return self._waits.source._get_int(RCVMORE)
        if option != EVENTS:
            return self._shadow_sock.get(option)
        events = self._waits.source._get_int(EVENTS)
        self._look()
        return events

    getsockopt = get

    def bind(self, addr: str) -> Any:
        """As the synchronous one: it does not wait."""
        try:
            return super().bind(addr)
        finally:
            self._look()

    def connect(self, addr: str) -> Any:
        """As the synchronous one: it does not wait."""
        try:
            return super().connect(addr)
        finally:
            self._look()

    def _look(self) -> None:
        """After a call that may have made possible what somebody waits for."""
        waits: Any = self._waits
        if waits.recv or waits.send:
            waits.look_soon()

    # --- receiving --------------------------------------------------------------------------------

    @overload  # type: ignore[override]
    def recv(
        self, flags: int = 0, copy: Literal[True] = True, track: bool = False
    ) -> Future[bytes]: ...
    @overload
    def recv(
        self, flags: int = 0, *, copy: Literal[False], track: bool = False
    ) -> Future[zmq.Frame]: ...
    @overload
    def recv(self, flags: int, copy: Literal[False], track: bool = False) -> Future[zmq.Frame]: ...
    @overload
    def recv(
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> Future[bytes | zmq.Frame]: ...
    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Future[Any]:
        """A future of the next part: bytes, or a Frame with ``copy=False``.

        Those who wait are served in their order. Cancelling the future takes no message away.
        """
        waits: Any = self._waits
        if not waits.recv:
            future = self._try(flags, waits.source.recv, flags | _QUIET, copy, track)
            if future is not None:
                return future
        attempt = methodcaller("recv", flags | _QUIET, copy, track)
        return self._begin(self._recv_futures, attempt, flags, RCVTIMEO, self._Receipt)

    @overload  # type: ignore[override]
    def recv_multipart(
        self, flags: int = 0, copy: Literal[True] = True, track: bool = False
    ) -> Future[list[bytes]]: ...
    @overload
    def recv_multipart(
        self, flags: int = 0, *, copy: Literal[False], track: bool = False
    ) -> Future[list[zmq.Frame]]: ...
    @overload
    def recv_multipart(
        self, flags: int, copy: Literal[False], track: bool = False
    ) -> Future[list[zmq.Frame]]: ...
    @overload
    def recv_multipart(
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> Future[list[bytes] | list[zmq.Frame]]: ...
    def recv_multipart(self, flags: int = 0, copy: bool = True, track: bool = False) -> Future[Any]:
        """A future of the list of all parts of the next message; else as `recv`."""
        waits: Any = self._waits
        if not waits.recv:
            future = self._try(flags, waits.source.recv_multipart, flags | _QUIET, copy, track)
            if future is not None:
                return future
        attempt = methodcaller("recv_multipart", flags | _QUIET, copy, track)
        return self._begin(self._recv_futures, attempt, flags, RCVTIMEO, self._Receipt)

    def recv_into(  # type: ignore[override]
        self, buf: Buffer, /, *, nbytes: int = 0, flags: int = 0
    ) -> Future[int]:
        """A future of the size of the next part, which is written into ``buf`` then."""
        waits: Any = self._waits
        quiet = flags | _QUIET
        if not waits.recv:
            future = self._try(flags, waits.source.recv_into, buf, nbytes=nbytes, flags=quiet)
            if future is not None:
                return future
        attempt = methodcaller("recv_into", buf, nbytes=nbytes, flags=quiet)
        # Not one that gives back: the buffer has what was received, in part perhaps.
        return self._begin(self._recv_futures, attempt, flags, RCVTIMEO, self._Future)

    @overload  # type: ignore[override]
    def recv_many(
        self,
        max: int,
        *,
        flags: int = 0,
        copy: Literal[True] = True,
        multipart: Literal[True],
    ) -> Future[list[list[bytes]]]: ...
    @overload
    def recv_many(
        self, max: int, *, flags: int = 0, copy: Literal[True] = True, multipart: bool = False
    ) -> Future[list[bytes | list[bytes]]]: ...
    @overload
    def recv_many(
        self, max: int, *, flags: int = 0, copy: bool = True, multipart: bool = False
    ) -> Future[list[Any]]: ...
    def recv_many(
        self, max: int, *, flags: int = 0, copy: bool = True, multipart: bool = False
    ) -> Future[Any]:
        """A future of up to ``max`` messages: at least one, and those that are there with it.

        As the synchronous one. Cancelling the future takes no message away.
        """
        waits: Any = self._waits
        arguments: Any = {"flags": flags | _QUIET, "copy": copy, "multipart": multipart}
        if not waits.recv:
            future = self._try(flags, waits.source.recv_many, max, **arguments)
            if future is not None:
                return future
        attempt = methodcaller("recv_many", max, **arguments)
        future = self._begin(self._recv_futures, attempt, flags, RCVTIMEO, self._Receipt)
        if isinstance(future, _GivesBack):
            future._many = True
        return future

    def _deserialize(self, recvd: Any, load: Callable[[Any], Any]) -> Any:
        waiting = self._recv_futures.get(recvd)
        if waiting is not None:
            waiting.load = load
            return recvd
        if isinstance(recvd, _GivesWay):
            pausing: Any = recvd
            pause: Any = self._Pause(loop=pausing.get_loop())
            pause._pace, pause._waits, pause._taken = pausing._pace, pausing._waits, pausing._taken
            _chain(pausing, pause, load)
            return pause
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

    async def __anext__(self) -> bytes:
        if self.closed:
            raise StopAsyncIteration
        future = self.recv()
        try:
            return await future
        except asyncio.CancelledError:
            # Is it the socket's end, or that of the task?
            if self.closed and future.cancelled():
                raise StopAsyncIteration from None
            raise

    # --- sending ----------------------------------------------------------------------------------

    def send(  # type: ignore[override]
        self,
        data: Buffer | zmq.Frame,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        **kwargs: Any,
    ) -> Future[zmq.MessageTracker | None]:
        """A future of what the synchronous send returns; done, unless nobody has room for it.

        Messages leave in the order of the calls.
        """
        waits: Any = self._waits
        if not waits.send:
            call = waits.sync.send
            future = self._try(flags, call, data, flags | _QUIET, copy, track, **kwargs)
            if future is not None:
                return future
        attempt = methodcaller("send", data, flags | _QUIET, copy, track, **kwargs)
        return self._begin(self._send_futures, attempt, flags, SNDTIMEO, self._Future)

    def send_multipart(  # type: ignore[override]
        self,
        msg_parts: Sequence[Buffer | zmq.Frame],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        **kwargs: Any,
    ) -> Future[zmq.MessageTracker | None]:
        """`send` of a message of several parts: all of it, or nothing."""
        waits: Any = self._waits
        if not waits.send:
            call = waits.sync.send_multipart
            future = self._try(flags, call, msg_parts, flags | _QUIET, copy, track, **kwargs)
            if future is not None:
                return future
        attempt = methodcaller("send_multipart", msg_parts, flags | _QUIET, copy, track, **kwargs)
        return self._begin(self._send_futures, attempt, flags, SNDTIMEO, self._Future)

    def send_many(  # type: ignore[override]
        self,
        messages: Iterable[Buffer | zmq.Frame | Sequence[Buffer | zmq.Frame]],
        *,
        flags: int = 0,
        copy: bool = True,
    ) -> Future[int]:
        """A future of how many of ``messages`` were sent; it waits until that is all of them.

        Fewer after SNDTIMEO, with DONTWAIT, and when the next one failed; its exception only when
        none was sent. Those that were sent stay sent when the future is cancelled.
        """
        try:
            messages = [*messages]
        except Exception as error:
            return self._failed(error)
        sent = 0

        def attempt(sync: Any) -> Any:
            nonlocal sent
            while True:
                try:
                    count = sync.send_many(messages[sent:], flags=flags | _QUIET, copy=copy)
                except Exception:
                    if not sent:
                        raise
                    return sent
                if count is NotImplemented:
                    return sent if sent and flags & DONTWAIT else NotImplemented
                sent += count
                if sent == len(messages):
                    return sent

        def time_out(future: Future[Any]) -> None:
            if sent:
                future.set_result(sent)
            else:
                _set_again(future)

        waits: Any = self._waits
        if not waits.send:
            future = self._try(flags, attempt, waits.sync)
            if future is not None:
                return future
        return self._begin(self._send_futures, attempt, flags, SNDTIMEO, self._Future, time_out)

    if TYPE_CHECKING:
        # These are the synchronous class's, over the calls above: what they return is, too.

        def recv_string(  # type: ignore[override]
            self, flags: int = 0, encoding: str = "utf-8"
        ) -> Future[str]: ...

        def recv_pyobj(self, flags: int = 0) -> Future[Any]: ...

        def recv_json(  # type: ignore[override]
            self, flags: int = 0, **kwargs: Any
        ) -> Future[Any]: ...

        def recv_serialized(  # type: ignore[override]
            self, deserialize: Callable[[list[Any]], _T], flags: int = 0, copy: bool = True
        ) -> Future[_T]: ...

        def send_string(  # type: ignore[override]
            self,
            u: str,
            flags: int = 0,
            copy: bool = True,
            encoding: str = "utf-8",
            **kwargs: Any,
        ) -> Future[zmq.MessageTracker | None]: ...

        def send_pyobj(  # type: ignore[override]
            self, obj: Any, flags: int = 0, protocol: int = ..., **kwargs: Any
        ) -> Future[zmq.MessageTracker | None]: ...

        def send_json(  # type: ignore[override]
            self, obj: Any, flags: int = 0, **kwargs: Any
        ) -> Future[zmq.MessageTracker | None]: ...

        def send_serialized(  # type: ignore[override]
            self,
            msg: _T,
            serialize: Callable[[_T], Sequence[Buffer | zmq.Frame]],
            flags: int = 0,
            copy: bool = True,
            **kwargs: Any,
        ) -> Future[zmq.MessageTracker | None]: ...

    # --- both -------------------------------------------------------------------------------------

    def _try(
        self, flags: int, call: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any] | None:
        """Makes a call. A future of what came of it; None: it has to wait, and may."""
        try:
            result = call(*args, **kwargs)
        except Exception as error:
            return self._failed(error)
        if result is NotImplemented:
            return self._failed(zmq.Again()) if flags & DONTWAIT else None
        waits: Any = self._waits
        if waits.recv or waits.send:
            waits.look_soon()
        # `_done`, spelt out: this is on the way of every message.
        home = self._home
        if home is None or home._thread_id != get_ident():
            home = self._current_loop()
        left = waits.left
        if left:
            waits.left = left - 1
        else:
            pause = self._pause(flags, call, result, home)
            if pause is not None:
                return pause
        future = self._Future(loop=home)
        future.set_result(result)
        return future

    def _pause(
        self, flags: int, call: Callable[..., Any], result: Any, loop: asyncio.AbstractEventLoop
    ) -> Future[Any] | None:
        """What `_try` answers when it is its loop's turn.

        None: it is not; nor in the middle of a message, where others must not come between, and not
        where a cancelled task would lose one.
        """
        waits: Any = self._waits
        due = waits.stride.is_due(self._pace)
        waits.left = waits.stride.left
        if not due:
            return None
        name = getattr(call, "__name__", "recv_into")
        receives = name in ("recv", "recv_multipart", "recv_many")
        partial = flags & SNDMORE or name == "recv_into"
        if receives:
            with contextlib.suppress(zmq.ZMQError):  # another thread closed it
                partial = waits.source._get_int(RCVMORE)
        if partial:
            waits.left = 0
            return None
        future: Any = self._Pause(loop=loop)
        future._pace = self._pace
        if receives:
            future._waits, future._taken, future._many = waits, result, name == "recv_many"
        future.set_result(result)
        return future

    def _begin(
        self,
        queue: _Queue,
        attempt: _Attempt,
        flags: int,
        timeout_option: int,
        kind: type[Future[Any]],
        time_out: Callable[[Future[Any]], None] = _set_again,
    ) -> Future[Any]:
        """A future of ``kind`` that waits in ``queue``; if nobody did, it was tried already."""
        waits: Any = self._waits
        if queue and (flags & DONTWAIT or not waits.is_busy(queue)):
            source = waits.source if queue is waits.recv else waits.sync
            done = self._try(flags, attempt, source)
            if done is not None:
                return done
        timeout = waits.sync._get_int(timeout_option)
        loop = self._current_loop()
        if timeout == 0:
            future = self._Future(loop=loop)
            time_out(future)
            return future
        future = kind(loop=loop)
        if isinstance(future, _GivesBack):
            future._waits = waits
        self._add(loop, future, (queue,), attempt, timeout, time_out)
        return future

    def _add(
        self,
        loop: asyncio.AbstractEventLoop,
        future: Future[Any],
        queues: tuple[_Queue, ...],
        attempt: _Attempt,
        timeout: float,
        answer: Callable[[Future[Any]], None],
    ) -> None:
        """Has ``future`` wait, for ``timeout`` ms unless that is negative."""
        waits: Any = self._waits
        waiting = _Waiting(self, attempt)
        if timeout >= 0:
            waiting.timer = loop.call_later(timeout / 1000, waits.time_out, future, answer)
        waits.add(loop, future, queues, waiting)

    def poll(  # type: ignore[override]
        self, timeout: float | None = None, flags: int = POLLIN
    ) -> Future[int]:
        """A future of those of ``flags`` that are there; 0 after ``timeout`` ms (None: no limit).

        ZMQError(ENOTSUP) is raised at once when the socket is closed.
        """
        if self.closed:
            raise self._closed_error()
        queues = tuple(
            queue
            for queue, event in ((self._recv_futures, POLLIN), (self._send_futures, POLLOUT))
            if flags & event
        )
        try:
            events = self.get(EVENTS) & flags
        except Exception as error:
            return self._failed(error)
        if events or timeout == 0 or not queues:
            return self._done(events)

        def attempt(_: Any) -> Any:
            waits: Any = self._waits
            return waits.source._get_int(EVENTS) & flags or NotImplemented

        loop = self._current_loop()
        future = self._Future(loop=loop)

        self._add(loop, future, queues, attempt, -1 if timeout is None else timeout, _set_no_events)
        return future


class _AsyncPoller(_Async, zmq.Poller):
    """A Poller whose poll() returns a future. Synchronous sockets, asynchronous ones, descriptors
    and objects with ``fileno()`` may be mixed."""

    def poll(  # type: ignore[override]
        self, timeout: float | None = -1
    ) -> Future[list[tuple[Any, int]]]:
        """A future of (socket, mask) of what is ready; empty after ``timeout`` ms.

        It is cancelled when one of the asynchronous sockets is closed meanwhile. Closed ones are
        not waited for; ZMQError(ENOTSOCK) when there are no others. Else as the synchronous one.
        """
        try:
            ready = self._ready()
        except Exception as error:
            return self._failed(error)
        if ready or timeout == 0 or not self.sockets:
            return self._done(ready)
        if not self._open():
            return self._failed(zmq.ZMQError(Errno.ENOTSOCK))
        loop = self._current_loop()
        future = self._Future(loop=loop)
        self._wait(loop, future, -1 if timeout is None else timeout)
        return future

    def _open(self) -> list[tuple[Any, int]]:
        """What can be polled: a closed socket that is still registered is none."""
        return [
            (socket, mask)
            for socket, mask in self.sockets
            if not isinstance(socket, zmq.Socket) or not socket.closed
        ]

    def _ready(self) -> list[tuple[Any, int]]:
        """What is ready now."""
        sockets = self._open()
        for socket, _ in sockets:
            if isinstance(socket, zmq.Socket) and not isinstance(socket, _AsyncSocket):
                socket.get(EVENTS)  # its descriptor is quiet after this
        ready = zmq.zmq_poll(sockets, 0)
        for socket, mask in sockets:
            if not isinstance(socket, _AsyncSocket):
                continue
            socket._look()
            # What was given back, only this object knows of.
            if mask & socket.get(EVENTS) and all(socket is not other for other, _ in ready):
                ready.append((socket, mask & socket.get(EVENTS)))
        return ready

    def _wait(self, loop: asyncio.AbstractEventLoop, future: Future[Any], timeout: float) -> None:
        ends: list[_Unwatch] = []

        def look() -> None:
            if future.done():
                return
            try:
                ready = self._ready()
            except Exception as error:
                future.set_exception(error)
            else:
                if ready:
                    future.set_result(ready)

        def watch_socket(socket: _AsyncSocket, mask: int) -> None:
            def on_events(inner: Future[int]) -> None:
                if future.done():
                    return
                if inner.cancelled():  # by its close()
                    future.cancel()
                    return
                look()
                if not future.done() and not socket.closed:  # somebody else was faster
                    watch_socket(socket, mask)

            inner = socket.poll(-1, mask)
            inner.add_done_callback(on_events)

            def stop() -> None:
                waits: Any = socket._waits
                waits.forget(inner)
                inner.cancel()

            ends.append(stop)

        def watch_descriptor(fd: int, mask: int) -> None:
            # One of our own: others may watch the same one in this loop.
            fd = os.dup(fd)
            ends.append(lambda: os.close(fd))
            ends.append(self._watch(loop, fd, mask, look))

        def end(_: Future[Any]) -> None:
            for stop in reversed(ends):
                stop()

        if timeout >= 0:
            timer = loop.call_later(timeout / 1000, _set_unless_done, future, [])
            ends.append(timer.cancel)
        future.add_done_callback(end)
        try:
            for socket, mask in self._open():
                if isinstance(socket, _AsyncSocket):
                    watch_socket(socket, mask)
                elif isinstance(socket, zmq.Socket):
                    watch_descriptor(socket.fileno(), POLLIN)
                else:
                    watch_descriptor(socket if isinstance(socket, int) else socket.fileno(), mask)
        except Exception as error:
            future.set_exception(error)
