"""zmq_poll: many sockets and file descriptors at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from errno import EINTR
from typing import Any

from zmq_monocoque.backend._engine import ffi, lib

#: zm_pollitem.events is a short.
_EVENTS_MASK = 0x7FFF


def make_zmq_poll(
    socket_class: type, check: Callable[[int], int]
) -> Callable[..., list[tuple[Any, int]]]:
    """zmq_poll for the sockets of one host."""

    def zmq_poll(sockets: Sequence[tuple[Any, int]], timeout: int = -1) -> list[tuple[Any, int]]:
        """Waits until something of ``sockets`` is ready.

        Takes pairs (socket, mask), where a socket is a Socket, a descriptor (int) or an object
        with ``fileno()``; ``timeout`` is in ms, negative: without limit. Answers (socket, mask)
        of those that are ready; the descriptor stands for an object with ``fileno()``.
        A signal does not move the end. TypeError, ValueError for what cannot be polled,
        ContextTerminated. Source: zmq_poll(3).
        """
        count = len(sockets)
        if timeout is None:
            timeout = -1
        milliseconds = _c_int(timeout)
        if count == 0:
            return []
        deadline = -1 if milliseconds < 0 else lib.zm_clock_ns() + milliseconds * 1_000_000
        items = ffi.new("zm_pollitem[]", count)
        names: list[Any] = []
        for i in range(count):
            item, (subject, events) = items[i], sockets[i]
            item.events = _c_int(events) & _EVENTS_MASK
            item.fd = -1
            item.socket = -1
            if isinstance(subject, socket_class):
                item.socket = subject.underlying  # type: ignore[attr-defined]
            elif isinstance(subject, int):
                item.fd = subject
            elif hasattr(subject, "fileno"):
                try:
                    item.fd = subject = int(subject.fileno())
                except (TypeError, ValueError):
                    raise ValueError("fileno() must return a valid integer fd") from None
            else:
                raise TypeError(
                    "Socket must be a 0MQ socket, an integer fd or have a fileno() method: "
                    f"{subject!r}"
                )
            names.append(subject)
        while (ready := lib.zm_poll(items, count, deadline)) == -EINTR:
            pass
        if check(ready) == 0:
            return []
        return [(names[i], revents) for i in range(count) if (revents := items[i].revents) != 0]

    return zmq_poll


def _c_int(value: Any) -> int:
    """``value`` cut to an integer that fits a C int."""
    if not isinstance(value, (int, float)):
        raise TypeError("an integer is required")
    number = int(value)
    if not -(1 << 31) <= number < 1 << 31:
        raise OverflowError("value too large to convert to int")
    return number
