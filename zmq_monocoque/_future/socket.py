"""Sockets whose calls answer futures."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import Future
from collections.abc import Callable
from functools import partial
from operator import methodcaller
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload
from warnings import warn

import zmq_monocoque as zmq
from zmq_monocoque._future.futures import _chain, _GivesBack, _GivesWay, _set_again, _set_no_events
from zmq_monocoque._future.loop import _Async
from zmq_monocoque._future.quiet import (
    _QUIET,
    DONTWAIT,
    EVENTS,
    POLLIN,
    POLLOUT,
    RCVMORE,
    RCVTIMEO,
    SNDMORE,
    SNDTIMEO,
)
from zmq_monocoque._future.waits import _Waiting, _Waits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zmq_monocoque._future.waits import _Attempt, _Queue
    from zmq_monocoque._typing import Buffer, Self

_T = TypeVar("_T")


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
    _zm_waits: _Waits | None = None
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
            self._zm_waits = waits = _Waits(sync)
        except BaseException:
            self._zm_discard()
            raise
        self._shadow_sock = sync
        self._recv_futures = waits.recv
        self._send_futures = waits.send

    @classmethod
    def from_socket(cls, socket: zmq.Socket[Any], io_loop: Any = None) -> Self:
        """An asynchronous object for ``socket``, which stays open when this one is collected.

        ``io_loop`` is ignored.
        """
        return cls(_from_socket=socket, io_loop=io_loop)

    def __del__(self) -> None:
        if self._zm_waits is not None:
            self._zm_waits.unwatch()
        super().__del__()

    def _get_loop(self) -> asyncio.AbstractEventLoop:
        """The current loop, which watches the socket from now on. Not needed to use it."""
        loop = self._current_loop()
        waits: Any = self._zm_waits
        waits.watch(loop, self)
        return loop

    def close(self, linger: int | None = None) -> None:
        """As `zmq_monocoque.Socket.close`; the futures of those who wait are cancelled."""
        if self._zm_waits is not None and not self._closed:
            self._zm_waits.close()
        super().close(linger=linger)

    def get(self, option: int) -> Any:
        """As `zmq_monocoque.Socket.get`."""
        if self._zm_waits is None:
            return super().get(option)
        if option == RCVMORE:
            return self._zm_waits.source._zm_get_int(RCVMORE)
        if option != EVENTS:
            return self._shadow_sock.get(option)
        events = self._zm_waits.source._zm_get_int(EVENTS)
        self._zm_look()
        return events

    getsockopt = get

    def bind(self, addr: str) -> Any:
        """As `zmq_monocoque.Socket.bind`: it does not wait."""
        try:
            return super().bind(addr)
        finally:
            self._zm_look()

    def connect(self, addr: str) -> Any:
        """As `zmq_monocoque.Socket.connect`: it does not wait."""
        try:
            return super().connect(addr)
        finally:
            self._zm_look()

    def _zm_look(self) -> None:
        """After a call that may have made possible what somebody waits for."""
        waits: Any = self._zm_waits
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

        Arguments as of `zmq_monocoque.Socket.recv`. Those who wait are served in their order.
        Cancelling the future takes no message away.
        """
        waits: Any = self._zm_waits
        if not waits.recv:
            future = self._zm_try(flags, waits.source.recv, flags | _QUIET, copy, track)
            if future is not None:
                return future
        attempt = methodcaller("recv", flags | _QUIET, copy, track)
        return self._zm_begin(self._recv_futures, attempt, flags, RCVTIMEO, self._zm_Receipt)

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
        waits: Any = self._zm_waits
        if not waits.recv:
            future = self._zm_try(flags, waits.source.recv_multipart, flags | _QUIET, copy, track)
            if future is not None:
                return future
        attempt = methodcaller("recv_multipart", flags | _QUIET, copy, track)
        return self._zm_begin(self._recv_futures, attempt, flags, RCVTIMEO, self._zm_Receipt)

    def recv_into(  # type: ignore[override]
        self, buf: Buffer, /, *, nbytes: int = 0, flags: int = 0
    ) -> Future[int]:
        """A future of the size of the next part, which is written into ``buf`` then.

        Arguments as of `zmq_monocoque.Socket.recv_into`.
        """
        waits: Any = self._zm_waits
        quiet = flags | _QUIET
        if not waits.recv:
            future = self._zm_try(flags, waits.source.recv_into, buf, nbytes=nbytes, flags=quiet)
            if future is not None:
                return future
        attempt = methodcaller("recv_into", buf, nbytes=nbytes, flags=quiet)
        # Not one that gives back: the buffer has what was received, in part perhaps.
        return self._zm_begin(self._recv_futures, attempt, flags, RCVTIMEO, self._Future)

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

        As `zmq_monocoque.Socket.recv_many`. Cancelling the future takes no message away.
        """
        waits: Any = self._zm_waits
        arguments: Any = {"flags": flags | _QUIET, "copy": copy, "multipart": multipart}
        if not waits.recv:
            future = self._zm_try(flags, waits.source.recv_many, max, **arguments)
            if future is not None:
                return future
        attempt = methodcaller("recv_many", max, **arguments)
        future = self._zm_begin(self._recv_futures, attempt, flags, RCVTIMEO, self._zm_Receipt)
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
            pause: Any = self._zm_Pause(loop=pausing.get_loop())
            pause._zm_pace, pause._zm_waits, pause._taken = (
                pausing._zm_pace,
                pausing._zm_waits,
                pausing._taken,
            )
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
        """A future of what the synchronous send returns; done, unless nobody has room for it, or,
        with ROUTER_MANDATORY, the peer that it goes to.

        Arguments as of `zmq_monocoque.Socket.send`. Messages leave in the order of the calls: while
        one waits, so do all that are sent after it, to other peers, too, and those with DONTWAIT
        raise Again.
        """
        waits: Any = self._zm_waits
        if not waits.send:
            call = waits.sync.send
            future = self._zm_try(flags, call, data, flags | _QUIET, copy, track, **kwargs)
            if future is not None:
                return future
        attempt = methodcaller("send", data, flags | _QUIET, copy, track, **kwargs)
        return self._zm_begin(self._send_futures, attempt, flags, SNDTIMEO, self._Future)

    def send_multipart(  # type: ignore[override]
        self,
        msg_parts: Sequence[Buffer | zmq.Frame],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        **kwargs: Any,
    ) -> Future[zmq.MessageTracker | None]:
        """As `zmq_monocoque.Socket.send_multipart`, a future: all of the message, or nothing."""
        waits: Any = self._zm_waits
        if not waits.send:
            call = waits.sync.send_multipart
            future = self._zm_try(flags, call, msg_parts, flags | _QUIET, copy, track, **kwargs)
            if future is not None:
                return future
        attempt = methodcaller("send_multipart", msg_parts, flags | _QUIET, copy, track, **kwargs)
        return self._zm_begin(self._send_futures, attempt, flags, SNDTIMEO, self._Future)

    def send_many(  # type: ignore[override]
        self,
        messages: Iterable[Buffer | zmq.Frame | Sequence[Buffer | zmq.Frame]],
        *,
        flags: int = 0,
        copy: bool = True,
    ) -> Future[int]:
        """A future of how many of ``messages`` were sent; it waits until that is all of them.

        Arguments as of `zmq_monocoque.Socket.send_many`. Fewer after SNDTIMEO, with DONTWAIT, and
        when the next one failed; its exception only when
        none was sent. Those that were sent stay sent when the future is cancelled.
        """
        try:
            messages = [*messages]
        except Exception as error:
            return self._zm_failed(error)
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

        waits: Any = self._zm_waits

        def time_out(future: Future[Any]) -> None:
            if sent:
                future.set_result(sent)
            else:
                _set_again(future, waits.sync, POLLOUT)

        if not waits.send:
            future = self._zm_try(flags, attempt, waits.sync)
            if future is not None:
                return future
        return self._zm_begin(self._send_futures, attempt, flags, SNDTIMEO, self._Future, time_out)

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

    def _zm_try(
        self, flags: int, call: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any] | None:
        """Makes a call. A future of what came of it; None: it has to wait, and may."""
        waits: Any = self._zm_waits
        try:
            result = call(*args, **kwargs)
        except Exception as error:
            return self._zm_failed(error)
        finally:
            # One that fails, too, may have taken in what others wait for.
            if waits.recv or waits.send:
                waits.look_soon()
        if result is NotImplemented:
            return self._zm_failed(zmq.Again()) if flags & DONTWAIT else None
        # `_zm_done`, spelt out: this is on the way of every message.
        home = self._zm_home
        if home is None or home._thread_id != get_ident():
            home = self._current_loop()
        left = waits.left
        if left:
            waits.left = left - 1
        else:
            pause = self._zm_pause(flags, call, result, home)
            if pause is not None:
                return pause
        future = self._Future(loop=home)
        future.set_result(result)
        return future

    def _zm_pause(
        self, flags: int, call: Callable[..., Any], result: Any, loop: asyncio.AbstractEventLoop
    ) -> Future[Any] | None:
        """What `_zm_try` answers when it is its loop's turn.

        None: it is not; nor in the middle of a message, where others must not come between, and not
        where a cancelled task would lose one.
        """
        waits: Any = self._zm_waits
        due = waits.stride.is_due(self._zm_pace)
        waits.left = waits.stride.left
        if not due:
            return None
        name = getattr(call, "__name__", "recv_into")
        receives = name in ("recv", "recv_multipart", "recv_many")
        partial = flags & SNDMORE or name == "recv_into"
        if receives:
            with contextlib.suppress(zmq.ZMQError):  # another thread closed it
                partial = waits.source._zm_get_int(RCVMORE)
        if partial:
            waits.left = 0
            return None
        future: Any = self._zm_Pause(loop=loop)
        future._zm_pace = self._zm_pace
        if receives:
            future._zm_waits, future._taken, future._many = waits, result, name == "recv_many"
        future.set_result(result)
        return future

    def _zm_begin(
        self,
        queue: _Queue,
        attempt: _Attempt,
        flags: int,
        timeout_option: int,
        kind: type[Future[Any]],
        time_out: Callable[[Future[Any]], None] | None = None,
    ) -> Future[Any]:
        """A future of ``kind`` that waits in ``queue``; if nobody did, it was tried already."""
        waits: Any = self._zm_waits
        busy = waits.is_busy(queue)
        if busy and flags & DONTWAIT and queue is waits.send:
            return self._zm_failed(zmq.Again())  # those who wait go first
        if queue and (flags & DONTWAIT or not busy):
            source = waits.source if queue is waits.recv else waits.sync
            done = self._zm_try(flags, attempt, source)
            if done is not None:
                return done
        timeout = waits.sync._zm_get_int(timeout_option)
        loop = self._current_loop()
        if time_out is None:
            time_out = _set_again
            if timeout > 0:
                event = POLLIN if queue is waits.recv else POLLOUT
                time_out = partial(_set_again, sync=waits.sync, event=event)
        if timeout == 0:
            future = self._Future(loop=loop)
            time_out(future)
            return future
        future = kind(loop=loop)
        if isinstance(future, _GivesBack):
            future._zm_waits = waits
        self._zm_add(loop, future, (queue,), attempt, timeout, time_out)
        return future

    def _zm_add(
        self,
        loop: asyncio.AbstractEventLoop,
        future: Future[Any],
        queues: tuple[_Queue, ...],
        attempt: _Attempt,
        timeout: float,
        answer: Callable[[Future[Any]], None],
    ) -> None:
        """Has ``future`` wait, for ``timeout`` ms unless that is negative."""
        waits: Any = self._zm_waits
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
            raise self._zm_closed_error()
        queues = tuple(
            queue
            for queue, event in ((self._recv_futures, POLLIN), (self._send_futures, POLLOUT))
            if flags & event
        )
        try:
            events = self.get(EVENTS) & flags
        except Exception as error:
            return self._zm_failed(error)
        if events or timeout == 0 or not queues:
            return self._zm_done(events)

        def attempt(_: Any) -> Any:
            waits: Any = self._zm_waits
            return waits.source._zm_get_int(EVENTS) & flags or NotImplemented

        loop = self._current_loop()
        future = self._Future(loop=loop)

        self._zm_add(
            loop, future, queues, attempt, -1 if timeout is None else timeout, _set_no_events
        )
        return future
