"""`ZMQStream`: a socket of a tornado loop, with callbacks for what it received and sent."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from queue import Queue
from typing import Any
from warnings import warn

from tornado.ioloop import IOLoop
from tornado.log import gen_log

import zmq_monocoque as zmq
from zmq_monocoque._future import _AsyncSocket
from zmq_monocoque._future.quiet import DONTWAIT, EVENTS, POLLIN, POLLOUT
from zmq_monocoque._pace import Stride, pace_of
from zmq_monocoque.utils import jsonapi

__all__ = ["IOLoop", "ZMQStream"]

#: Messages of one stream, in each direction, before others in the loop get a turn, unless their
#: callbacks take long.
_TURN_MESSAGES_MAX = 64


class ZMQStream:
    """ZMQStream(socket, io_loop=None): calls back about messages of ``socket``.

    Messages are lists of parts. What is sent is queued, and leaves in the loop as soon as the
    socket takes it. A callback may be a coroutine function; what one raises is logged.

    ``io_loop`` is the current one by default. An asynchronous socket is replaced by a synchronous
    object for the same one, with a RuntimeWarning. Closing the stream closes the socket.
    """

    socket: Any
    io_loop: IOLoop
    poller: zmq.Poller
    bind: Callable[..., Any]
    bind_to_random_port: Callable[..., int]
    connect: Callable[..., Any]
    setsockopt: Callable[..., None]
    getsockopt: Callable[..., Any]
    setsockopt_string: Callable[..., None]
    setsockopt_unicode: Callable[..., None]
    getsockopt_string: Callable[..., str]
    getsockopt_unicode: Callable[..., str]

    def __init__(self, socket: zmq.Socket[Any], io_loop: IOLoop | None = None) -> None:
        if isinstance(socket, _AsyncSocket):
            warn(
                f"ZMQStream expects a synchronous zmq.Socket, not {socket!r}: "
                "it uses a synchronous shadow of it",
                RuntimeWarning,
                stacklevel=2,
            )
            socket = zmq.Socket(shadow=socket)
        self.socket = socket
        self.io_loop = io_loop or IOLoop.current()
        self.poller = zmq.Poller()
        self.poller.register(socket, POLLIN | POLLOUT)
        self._fd: int = socket.FD
        self._send_queue: Queue[tuple[Any, dict[str, Any]]] = Queue()
        self._recv_callback: Callable[..., Any] | None = None
        self._recv_copy = False
        self._send_callback: Callable[..., Any] | None = None
        self._close_callback: Callable[[], Any] | None = None
        # Set by flush() until the next tick: callbacks had their turn.
        self._flushed = False
        self._zm_look_due = False
        self._zm_stride = Stride()
        for name in (
            "bind",
            "bind_to_random_port",
            "connect",
            "setsockopt",
            "getsockopt",
            "setsockopt_string",
            "setsockopt_unicode",
            "getsockopt_string",
            "getsockopt_unicode",
        ):
            setattr(self, name, getattr(socket, name))
        self.io_loop.add_handler(socket, self._handle_events, IOLoop.READ)
        self._zm_look_soon()  # at what came before

    # --- callbacks --------------------------------------------------------------------------------

    def on_recv(self, callback: Callable[[list[Any]], Any] | None, copy: bool = True) -> None:
        """Has ``callback(parts)`` called for each message: bytes, or Frames with ``copy=False``.

        None: messages stay in the socket.
        """
        self._check_closed()
        assert callback is None or callable(callback)
        self._recv_callback = callback
        self._recv_copy = copy
        if callback is not None:
            self._zm_look_soon()

    def on_recv_stream(
        self, callback: Callable[[ZMQStream, list[Any]], Any] | None, copy: bool = True
    ) -> None:
        """As `on_recv`, with this stream as the first argument."""
        if callback is None:
            self.on_recv(None)
            return
        call = callback
        self.on_recv(lambda message: call(self, message), copy=copy)

    def stop_on_recv(self) -> None:
        """Ends `on_recv`; messages stay in the socket."""
        self.on_recv(None)

    def on_send(self, callback: Callable[[list[Any], Any], Any] | None) -> None:
        """Has ``callback(parts, tracker)`` called for each message that was sent."""
        self._check_closed()
        assert callback is None or callable(callback)
        self._send_callback = callback

    def on_send_stream(self, callback: Callable[[ZMQStream, list[Any], Any], Any] | None) -> None:
        """As `on_send`, with this stream as the first argument."""
        if callback is None:
            self.on_send(None)
            return
        call = callback
        self.on_send(lambda message, status: call(self, message, status))

    def stop_on_send(self) -> None:
        """Ends `on_send`."""
        self.on_send(None)

    def on_err(self, callback: Callable[..., Any]) -> None:
        """Deprecated, does nothing with ``callback``."""
        gen_log.warning("on_err does nothing: there is no such event")

    def stop_on_err(self) -> None:
        """Deprecated, does nothing."""
        gen_log.warning("stop_on_err does nothing: there is no such event")

    def set_close_callback(self, callback: Callable[[], Any] | None) -> None:
        """Has ``callback()`` called when the stream is closed."""
        self._close_callback = callback

    def _run_callback(self, callback: Callable[..., Any], *args: Any) -> None:
        try:
            answer = callback(*args)
        except Exception:
            gen_log.error("Uncaught exception in ZMQStream callback", exc_info=True)
            raise
        if isawaitable(answer):
            self._zm_run_awaitable(answer)

    def _zm_run_awaitable(self, answer: Awaitable[Any]) -> None:
        # In the stream's loop, which need not be the one that runs: flush() may be called anywhere.
        loop: Any = self.io_loop
        future = asyncio.ensure_future(answer, loop=loop.asyncio_loop)

        def log_error(future: asyncio.Future[Any]) -> None:
            if future.cancelled():
                return
            if (error := future.exception()) is not None:
                gen_log.error("Uncaught exception in ZMQStream callback", exc_info=error)

        future.add_done_callback(log_error)

    # --- sending ----------------------------------------------------------------------------------

    def send_multipart(
        self,
        msg: Sequence[Any],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        callback: Callable[[list[Any], Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Queues ``msg``, a message of several parts. ``callback`` replaces that of `on_send`.

        ``flags``, ``copy`` and ``track`` are those of `zmq_monocoque.Socket.send_multipart`.
        """
        self._check_closed()
        if callback is not None:
            self.on_send(callback)
        kwargs.update(flags=flags, copy=copy, track=track)
        self._send_queue.put((msg, kwargs))
        self._zm_look_soon()

    def send(
        self,
        msg: Any,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        callback: Callable[[list[Any], Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Queues ``msg``, a message of one part; else as `send_multipart`."""
        self.send_multipart([msg], flags=flags, copy=copy, track=track, callback=callback, **kwargs)

    def send_string(
        self,
        u: str,
        flags: int = 0,
        encoding: str = "utf-8",
        callback: Callable[[list[Any], Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Queues the text ``u`` in that ``encoding``; else as `send`.

        TypeError for anything but a str.
        """
        if not isinstance(u, str):
            raise TypeError("str objects only")
        self.send(u.encode(encoding), flags=flags, callback=callback, **kwargs)

    send_unicode = send_string

    def send_json(
        self,
        obj: Any,
        flags: int = 0,
        callback: Callable[[list[Any], Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Queues ``obj`` as JSON; else as `send`."""
        self.send(jsonapi.dumps(obj), flags=flags, callback=callback, **kwargs)

    def send_pyobj(
        self,
        obj: Any,
        flags: int = 0,
        protocol: int = -1,
        callback: Callable[[list[Any], Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Queues ``obj`` as a pickle of that ``protocol``; else as `send`."""
        self.send(pickle.dumps(obj, protocol), flags=flags, callback=callback, **kwargs)

    # --- state ------------------------------------------------------------------------------------

    def receiving(self) -> bool:
        """Is there a callback for messages?"""
        return self._recv_callback is not None

    def sending(self) -> bool:
        """Are there messages that were not sent yet?"""
        return not self._send_queue.empty()

    def closed(self) -> bool:
        """Is the stream closed? It is, too, once its socket was closed by somebody else."""
        if self.socket is None:
            return True
        if self.socket.closed:
            self.close()
            return True
        return False

    def close(self, linger: int | None = None) -> None:
        """Closes the socket, with LINGER of ``linger`` ms if given, and leaves the loop.

        Queued messages that the socket has not taken are dropped.
        """
        socket = self.socket
        if socket is None:
            return
        if socket.closed:
            warn(
                f"Unregistering FD {self._fd} after closing socket: another one may have the same "
                "number by now. Close the stream, not its socket.",
                stacklevel=2,
            )
            self.io_loop.remove_handler(self._fd)
        else:
            self.io_loop.remove_handler(socket)
            socket.close(linger)
        self.socket = None
        if self._close_callback is not None:
            self._run_callback(self._close_callback)

    def _check_closed(self) -> None:
        if self.socket is None:
            raise OSError("Stream is closed")

    # --- the loop's side --------------------------------------------------------------------------

    def _zm_look_soon(self) -> None:
        """Handles events in the next tick, also those that the descriptor does not tell of."""
        if not self._zm_look_due:
            self._zm_look_due = True
            self.io_loop.add_callback(self._zm_look)

    def _zm_look(self) -> None:
        self._zm_look_due = False
        if self.socket is not None and (self.receiving() or self.sending()):
            self._handle_events(self.socket, 0)

    def _handle_events(self, fd: Any, events: int) -> None:
        if self.socket is None:
            gen_log.warning("Got events for closed stream %s", self)
            return
        try:
            # Its descriptor is quiet after this, so whatever is left needs another look.
            found = self.socket.get(EVENTS)
        except zmq.ContextTerminated:
            gen_log.warning("Got events for stream %s after terminating context", self)
            self.io_loop.remove_handler(self._fd)
            return
        except zmq.ZMQError as error:
            gen_log.warning("Got events for stream %s attached to closed socket: %s", self, error)
            self.closed()
            return
        if self._flushed:
            return  # _finish_flush looks again
        turns = _TURN_MESSAGES_MAX
        pace, stride = pace_of(self.io_loop), self._zm_stride
        pace.rest()
        try:
            while turns and self._zm_handle_one(found):
                turns -= 1
                if stride.left:
                    stride.left -= 1
                elif stride.is_due(pace):
                    turns = 0
                if self.socket is None or self._flushed:
                    return
                # A receive that finds nothing has taken in all that there is, as this would. Behind
                # a send, which takes in some of it, there is none where EVENTS said no before.
                if self._send_queue.queue or not found & POLLIN:
                    found = self.socket.get(EVENTS)
        except BaseException:
            self._zm_look_soon()
            raise
        if not turns:
            self._zm_look_soon()

    def _zm_handle_one(self, found: int) -> bool:
        """One message in each direction. Was there any?"""
        handled = False
        if found & POLLIN and self._recv_callback is not None:
            handled = self._handle_recv()
        if found & POLLOUT and self._send_queue.queue and self.socket is not None:
            handled |= self._handle_send()
        return handled

    def _handle_recv(self) -> bool:
        try:
            message = self.socket.recv_multipart(DONTWAIT, copy=self._recv_copy)
        except zmq.Again:
            return False
        if self._recv_callback is not None:
            self._run_callback(self._recv_callback, message)
        return True

    def _handle_send(self) -> bool:
        # Out of the queue first: what cannot be sent at all must not be in the way of others.
        message, kwargs = self._send_queue.get_nowait()
        flags = kwargs["flags"] | DONTWAIT
        try:
            status = self.socket.send_multipart(message, **{**kwargs, "flags": flags})
        except zmq.Again:
            self._send_queue.queue.appendleft((message, kwargs))
            return False
        if self._send_callback is not None:
            self._run_callback(self._send_callback, message, status)
        return True

    def flush(self, flag: int = POLLIN | POLLOUT, limit: int | None = None) -> int:
        """Handles what can be handled now, callbacks included, up to ``limit`` messages.

        ``flag`` picks the directions. Messages that arrived are taken even if there is no callback:
        they are dropped then. The loop handles no more of them in this tick. How many it were.
        """
        self._check_closed()
        count = 0
        while self.socket is not None and (limit is None or count < limit):
            found = self.socket.get(EVENTS) & flag
            if found & POLLIN and self._handle_recv():
                count += 1
            elif found & POLLOUT and self.sending() and self._handle_send():
                count += 1
            else:
                break
        if count and self.socket is not None:
            self._flushed = True
            self.io_loop.add_callback(self._finish_flush)
        elif self.socket is not None:
            self._zm_look_soon()
        return count

    def _finish_flush(self) -> None:
        self._flushed = False
        self._zm_look_soon()
