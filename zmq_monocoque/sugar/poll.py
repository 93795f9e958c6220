"""`Poller` and `select`: readiness of many sockets. The backend's zmq_poll does the waiting."""

from __future__ import annotations

from typing import Any

from zmq_monocoque.backend import zmq_poll
from zmq_monocoque.constants import POLLERR, POLLIN, POLLOUT

__all__ = ["Poller", "select"]


class Poller:
    """Remembers what to watch. Sockets, descriptors and objects with ``fileno()`` may be mixed."""

    sockets: list[tuple[Any, int]]
    _map: dict[Any, int]

    def __init__(self) -> None:
        self.sockets = []
        #: Where in `sockets` each one is.
        self._map = {}

    def __contains__(self, socket: Any) -> bool:
        return socket in self._map

    def register(self, socket: Any, flags: int = POLLIN | POLLOUT) -> None:
        """Watches ``socket`` for ``flags``, in place of what was watched for before.

        Flags of 0 end the watching.
        """
        if not flags:
            if socket in self._map:
                self.unregister(socket)
            return
        index = self._map.get(socket)
        if index is None:
            self._map[socket] = len(self.sockets)
            self.sockets.append((socket, flags))
        else:
            self.sockets[index] = (socket, flags)

    def modify(self, socket: Any, flags: int = POLLIN | POLLOUT) -> None:
        """As `register`."""
        self.register(socket, flags)

    def unregister(self, socket: Any) -> None:
        """Ends the watching of ``socket``; KeyError when there was none."""
        gone = self._map.pop(socket)
        del self.sockets[gone]
        for other, index in self._map.items():
            if index > gone:
                self._map[other] = index - 1

    def poll(self, timeout: int | None = None) -> list[tuple[Any, int]]:
        """Waits up to ``timeout`` ms (None or negative: without limit) for anything to be ready.

        Answers (socket, mask) of what is; descriptors stand for objects with ``fileno()``. The
        answer is empty after the timeout, and at once when nothing is watched. Raises as
        `zmq_poll`.
        """
        return zmq_poll(self.sockets, -1 if timeout is None or timeout < 0 else int(timeout))


def select(
    rlist: list[Any], wlist: list[Any], xlist: list[Any], timeout: float | None = None
) -> tuple[list[Any], list[Any], list[Any]]:
    """As ``select.select``, also for ZeroMQ sockets; ``timeout`` is in seconds.

    Answers which of ``rlist`` are readable, of ``wlist`` writable, of ``xlist`` in error. Raises
    as `zmq_poll`.
    """
    flags: dict[Any, int] = {}
    for sockets, flag in ((rlist, POLLIN), (wlist, POLLOUT), (xlist, POLLERR)):
        for socket in sockets:
            flags[socket] = flags.get(socket, 0) | flag
    milliseconds = -1 if timeout is None or timeout < 0 else int(timeout * 1000)
    ready = zmq_poll(list(flags.items()), milliseconds)
    return (
        [socket for socket, mask in ready if mask & POLLIN],
        [socket for socket, mask in ready if mask & POLLOUT],
        [socket for socket, mask in ready if mask & POLLERR],
    )
