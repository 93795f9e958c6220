"""The Socket and Context of `zmq_monocoque.green`.

A call is made with DONTWAIT. If that was too early, the greenlet waits for the socket's descriptor
in gevent's hub, and tries again. The descriptor tells only once of what is there, and a call of one
greenlet can take in what another one waits for: hence, after each call, all who wait are looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from warnings import warn

from gevent import sleep
from gevent.event import Event
from gevent.hub import get_hub

import zmq_monocoque as zmq
from zmq_monocoque._pace import Stride, pace_of
from zmq_monocoque.constants import (
    EVENTS,
    FD,
    NOBLOCK,
    POLLIN,
    POLLOUT,
    RCVMORE,
    RCVTIMEO,
    SNDMORE,
    SNDTIMEO,
)
from zmq_monocoque.green.poll import _Poller

#: gevent's number for "readable".
_READ = 1


class _Socket(zmq.Socket[bytes]):
    """A Socket whose calls that wait let other greenlets run; RCVTIMEO and SNDTIMEO count.

    Any number of greenlets of one thread may wait for it.
    """

    _poller_class = _Poller
    _repr_cls = "zmq.green.Socket"
    #: Who waits: an event to set, and what for.
    _zm_waiting: dict[Event, int]
    _zm_stride: Stride
    #: Of the hub that the descriptor is watched in.
    _zm_hub: Any = None
    _zm_watcher: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._zm_waiting = {}
        self._zm_stride = Stride()
        super().__init__(*args, **kwargs)

    def __del__(self) -> None:
        self._zm_drop_watcher()
        super().__del__()

    def close(self, linger: int | None = None) -> None:
        """As `zmq_monocoque.Socket.close`; calls that wait raise ZMQError(ENOTSOCK)."""
        self._zm_drop_watcher()
        super().close(linger=linger)
        for event in [*self._zm_waiting]:
            event.set()

    # --- waiting ----------------------------------------------------------------------------------

    def _zm_wait_begin(self, event: Event, mask: int) -> None:
        """Has ``event`` set when the socket may be ready for ``mask``, until `_zm_wait_end`."""
        hub = get_hub()
        if self._zm_hub is not hub:
            self._zm_drop_watcher()
            self._zm_watcher = hub.loop.io(super().get(FD), _READ)
            self._zm_hub = hub
        self._zm_waiting[event] = mask
        if not self._zm_watcher.active:
            self._zm_watcher.start(self._zm_state_changed)
        # Between the last try and now nothing else ran. Who was watched already, though, may have
        # been told of what it did not wait for.
        self._zm_state_changed()

    def _zm_wait_end(self, event: Event) -> None:
        self._zm_waiting.pop(event, None)
        if not self._zm_waiting and self._zm_watcher is not None:
            self._zm_watcher.stop()

    def _zm_drop_watcher(self) -> None:
        watcher, self._zm_watcher, self._zm_hub = self._zm_watcher, None, None
        if watcher is not None:
            watcher.stop()
            watcher.close()

    def _zm_state_changed(self) -> None:
        """Something was done or has come: tells those who can go on."""
        if not self._zm_waiting:
            return
        try:
            events: Any = super().get(EVENTS)
        except zmq.ZMQError:
            events = POLLIN | POLLOUT  # their calls find out
        for event, mask in self._zm_waiting.items():
            if events & mask:
                event.set()

    def _zm_call(self, call: Callable[[], Any], flags: int, mask: int, timeout_option: int) -> Any:
        """Makes ``call``, which has DONTWAIT, until it need not wait; or once if ``flags`` say so.

        Again when the time is up.
        """
        if not flags & NOBLOCK:
            self._zm_give_way(mask)
        deadline: float | None = None
        while True:
            try:
                return call()
            except zmq.Again as error:
                if flags & NOBLOCK:
                    raise
                if deadline is None:
                    deadline = self._zm_deadline(timeout_option)
                left = deadline - time.monotonic()
                if left <= 0:
                    self._zm_explain(error, mask)
                    raise
            finally:
                self._zm_state_changed()
            event = Event()
            self._zm_wait_begin(event, mask)
            try:
                event.wait(None if left == float("inf") else left)
            finally:
                self._zm_wait_end(event)
                pace_of(get_hub()).rest()

    def _zm_give_way(self, mask: int) -> None:
        """Lets others run when calls that need not wait have kept them from it; before the call,
        since whoever is killed meanwhile is to have taken nothing. Not in the middle of a message:
        theirs could come between."""
        stride = self._zm_stride
        if stride.left:
            stride.left -= 1
            return
        pace = pace_of(get_hub())
        if stride.is_due(pace) and not (
            stride.partial if mask == POLLOUT else zmq.Socket.get(self, RCVMORE)
        ):
            pace.rest()
            sleep(0)

    def _zm_deadline(self, timeout_option: int) -> float:
        milliseconds: Any = super().get(timeout_option)
        return float("inf") if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    # --- calls ------------------------------------------------------------------------------------

    def send(  # type: ignore[override]
        self, data: Any, flags: int = 0, copy: bool = True, track: bool = False, **kwargs: Any
    ) -> Any:
        """As `zmq_monocoque.Socket.send`."""
        send = super().send
        sent = self._zm_call(
            lambda: send(data, flags | NOBLOCK, copy, track, **kwargs), flags, POLLOUT, SNDTIMEO
        )
        self._zm_stride.partial = flags & SNDMORE
        return sent

    def send_multipart(
        self,
        msg_parts: Any,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        **kwargs: Any,
    ) -> Any:
        """As `zmq_monocoque.Socket.send_multipart`."""
        send_multipart = super().send_multipart
        sent = self._zm_call(
            lambda: send_multipart(msg_parts, flags | NOBLOCK, copy, track, **kwargs),
            flags,
            POLLOUT,
            SNDTIMEO,
        )
        self._zm_stride.partial = flags & SNDMORE
        return sent

    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """As `zmq_monocoque.Socket.recv`."""
        recv = super().recv
        return self._zm_call(lambda: recv(flags | NOBLOCK, copy, track), flags, POLLIN, RCVTIMEO)

    def recv_multipart(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """As `zmq_monocoque.Socket.recv_multipart`."""
        recv_multipart = super().recv_multipart
        return self._zm_call(
            lambda: recv_multipart(flags | NOBLOCK, copy, track), flags, POLLIN, RCVTIMEO
        )

    def recv_into(self, buf: Any, /, *, nbytes: int = 0, flags: int = 0) -> int:
        """As `zmq_monocoque.Socket.recv_into`, whose buffer is called ``buf`` here."""
        recv_into = super().recv_into
        size: int = self._zm_call(
            lambda: recv_into(buf, nbytes=nbytes, flags=flags | NOBLOCK), flags, POLLIN, RCVTIMEO
        )
        return size

    def recv_many(
        self, max: int, *, flags: int = 0, copy: bool = True, multipart: bool = False
    ) -> list[Any]:
        """As `zmq_monocoque.Socket.recv_many`."""
        recv_many = super().recv_many
        messages: list[Any] = self._zm_call(
            lambda: recv_many(max, flags=flags | NOBLOCK, copy=copy, multipart=multipart),
            flags,
            POLLIN,
            RCVTIMEO,
        )
        return messages

    def send_many(self, messages: Any, *, flags: int = 0, copy: bool = True) -> int:
        """As `zmq_monocoque.Socket.send_many`."""
        send_many = super().send_many
        messages = [*messages]
        sent = 0

        def send_rest() -> None:
            nonlocal sent
            while True:
                sent += send_many(messages[sent:], flags=flags | NOBLOCK, copy=copy)
                if sent == len(messages):
                    return

        try:
            self._zm_call(send_rest, flags, POLLOUT, SNDTIMEO)
        except Exception:
            if not sent:
                raise
        return sent

    def get(self, option: int) -> Any:
        """As `zmq_monocoque.Socket.get`; a UserWarning for RCVTIMEO and SNDTIMEO, as pyzmq."""
        if option in (RCVTIMEO, SNDTIMEO):
            _warn_of_timeouts()
        value = super().get(option)
        if option == EVENTS:
            self._zm_state_changed()
        return value

    def getsockopt(self, option: int) -> Any:
        """As `zmq_monocoque.Socket.getsockopt`."""
        value = super().getsockopt(option)
        if option == EVENTS:
            self._zm_state_changed()
        return value

    def set(self, option: int, optval: Any) -> None:
        """As `zmq_monocoque.Socket.set`; a UserWarning for RCVTIMEO and SNDTIMEO, as pyzmq."""
        if option in (RCVTIMEO, SNDTIMEO):
            _warn_of_timeouts()
        super().set(option, optval)

    def bind(self, addr: str) -> Any:
        """As `zmq_monocoque.Socket.bind`."""
        try:
            return super().bind(addr)
        finally:
            self._zm_state_changed()

    def connect(self, addr: str) -> Any:
        """As `zmq_monocoque.Socket.connect`."""
        try:
            return super().connect(addr)
        finally:
            self._zm_state_changed()


def _warn_of_timeouts() -> None:
    warn(
        "RCVTIMEO and SNDTIMEO count for green sockets here, but not in pyzmq; gevent.Timeout does "
        "for both.",
        UserWarning,
        stacklevel=4,
    )


class _Context(zmq.Context[_Socket]):
    """A `zmq_monocoque.Context` that makes sockets for greenlets."""

    _socket_class = _Socket
    _repr_cls = "zmq.green.Context"
    # Not the synchronous one's.
    _instance = None
