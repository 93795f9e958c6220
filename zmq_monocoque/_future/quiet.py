"""Calls that never wait, and say so by NotImplemented instead of an exception."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq_monocoque as zmq
from zmq_monocoque.constants import Flag, PollEvent, SocketOption

if TYPE_CHECKING:
    from zmq_monocoque._future.waits import _Waits
    from zmq_monocoque._typing import Buffer

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


def _is_plain(kind: Any) -> bool:
    """Are the calls of this class of sockets the extension's own, which know `_QUIET`?"""
    return kind is zmq.Socket or all(
        getattr(kind, name) is getattr(zmq.Socket, name) for name in _QUIET_CALLS
    )


class _Adapter:
    """Stands for a socket whose class has calls of its own: they raise Again."""

    def __init__(self, sync: zmq.Socket[Any]):
        self._sync = sync
        self._zm_get_int = sync._zm_get_int
        self._zm_spin = sync._zm_spin

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
                more = bool(self._sync._zm_get_int(RCVMORE))
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

    def _zm_get_int(self, option: int) -> int:
        if option == RCVMORE:
            return int(self._more)
        value: int = self._sync._zm_get_int(option)
        return value | POLLIN if option == EVENTS else value
