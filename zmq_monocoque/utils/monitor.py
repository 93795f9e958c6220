"""Messages of a socket monitor (`Socket.get_monitor_socket`). Source: zmq_socket_monitor(3)."""

from __future__ import annotations

import struct
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypedDict, overload

from zmq_monocoque.constants import Event

if TYPE_CHECKING:
    import zmq_monocoque
    import zmq_monocoque.asyncio

__all__ = ["parse_monitor_message", "recv_monitor_message"]

#: The event's number and its value, in the machine's order, without padding.
_HEAD = struct.Struct("=hi")


class _MonitorMessage(TypedDict):
    """One event. ``value`` is a descriptor, an errno, ms or details, by the event."""

    event: Event
    value: Event
    endpoint: bytes


def parse_monitor_message(msg: list[bytes]) -> _MonitorMessage:
    """``msg``, the two parts of a monitor message, taken apart; RuntimeError when they are no
    event.

    ``value`` is an `Event` as in pyzmq: an int that names itself where it is a protocol error.
    """
    if len(msg) != 2 or len(msg[0]) != _HEAD.size:
        raise RuntimeError(f"Invalid event message format: {msg}")
    event, value = _HEAD.unpack(msg[0])
    return {"event": Event(event), "value": Event(value), "endpoint": msg[1]}


async def _parse_when_there(message: Awaitable[list[bytes]]) -> _MonitorMessage:
    return parse_monitor_message(await message)


@overload
def recv_monitor_message(
    socket: zmq_monocoque.asyncio.Socket, flags: int = 0
) -> Awaitable[_MonitorMessage]: ...


@overload
def recv_monitor_message(
    socket: zmq_monocoque.Socket[bytes], flags: int = 0
) -> _MonitorMessage: ...


def recv_monitor_message(socket: zmq_monocoque.Socket[Any], flags: int = 0) -> Any:
    """Receives from ``socket``, a monitor's PAIR; see `parse_monitor_message` for what it returns.

    ``flags``: of the receive. Awaitable when the socket's own ``recv_multipart`` is. Raises what
    that raises.
    """
    message: Any = socket.recv_multipart(flags)
    if isinstance(message, Awaitable):
        return _parse_when_there(message)
    return parse_monitor_message(message)
