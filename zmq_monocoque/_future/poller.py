"""Pollers that answer futures."""

from __future__ import annotations

import asyncio
import os
from asyncio import Future
from typing import TYPE_CHECKING, Any

import zmq_monocoque as zmq
from zmq_monocoque._future.futures import _set_unless_done
from zmq_monocoque._future.loop import _Async
from zmq_monocoque._future.quiet import EVENTS, POLLIN
from zmq_monocoque._future.socket import _AsyncSocket
from zmq_monocoque.constants import Errno

if TYPE_CHECKING:
    from zmq_monocoque._future.loop import _Unwatch


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
            ready = self._zm_ready()
        except Exception as error:
            return self._zm_failed(error)
        if ready or timeout == 0 or not self.sockets:
            return self._zm_done(ready)
        if not self._zm_open():
            return self._zm_failed(zmq.ZMQError(Errno.ENOTSOCK))
        loop = self._current_loop()
        future = self._Future(loop=loop)
        self._zm_wait(loop, future, -1 if timeout is None else timeout)
        return future

    def _zm_open(self) -> list[tuple[Any, int]]:
        """What can be polled: a closed socket that is still registered is none."""
        return [
            (socket, mask)
            for socket, mask in self.sockets
            if not isinstance(socket, zmq.Socket) or not socket.closed
        ]

    def _zm_ready(self) -> list[tuple[Any, int]]:
        """What is ready now."""
        sockets = self._zm_open()
        for socket, _ in sockets:
            if isinstance(socket, zmq.Socket) and not isinstance(socket, _AsyncSocket):
                socket.get(EVENTS)  # its descriptor is quiet after this
        ready = zmq.zmq_poll(sockets, 0)
        for socket, mask in sockets:
            if not isinstance(socket, _AsyncSocket):
                continue
            socket._zm_look()
            # What was given back, only this object knows of.
            if mask & socket.get(EVENTS) and all(socket is not other for other, _ in ready):
                ready.append((socket, mask & socket.get(EVENTS)))
        return ready

    def _zm_wait(
        self, loop: asyncio.AbstractEventLoop, future: Future[Any], timeout: float
    ) -> None:
        ends: list[_Unwatch] = []

        def look() -> None:
            if future.done():
                return
            try:
                ready = self._zm_ready()
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
                waits: Any = socket._zm_waits
                waits.forget(inner)
                inner.cancel()

            ends.append(stop)

        def watch_descriptor(fd: int, mask: int) -> None:
            # One of our own: others may watch the same one in this loop.
            fd = os.dup(fd)
            ends.append(lambda: os.close(fd))
            ends.append(self._zm_watch(loop, fd, mask, look))

        def end(_: Future[Any]) -> None:
            for stop in reversed(ends):
                stop()

        if timeout >= 0:
            timer = loop.call_later(timeout / 1000, _set_unless_done, future, [])
            ends.append(timer.cancel)
        future.add_done_callback(end)
        try:
            for socket, mask in self._zm_open():
                if isinstance(socket, _AsyncSocket):
                    watch_socket(socket, mask)
                elif isinstance(socket, zmq.Socket):
                    watch_descriptor(socket.fileno(), POLLIN)
                else:
                    watch_descriptor(socket if isinstance(socket, int) else socket.fileno(), mask)
        except Exception as error:
            future.set_exception(error)
