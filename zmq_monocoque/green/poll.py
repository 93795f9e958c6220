"""The Poller of `zmq_monocoque.green`."""

from __future__ import annotations

import time
from typing import Any

from gevent import sleep
from gevent.event import Event
from gevent.hub import get_hub

import zmq_monocoque as zmq
from zmq_monocoque._pace import pace_of
from zmq_monocoque.constants import EVENTS, POLLIN, POLLOUT

#: gevent's numbers.
_READ = 1
_WRITE = 2


class _Poller(zmq.Poller):
    """A Poller that lets other greenlets run while it waits."""

    def poll(self, timeout: float | None = -1) -> list[tuple[Any, int]]:
        """As `zmq_monocoque.Poller.poll`."""
        pace = pace_of(get_hub())
        if timeout != 0 and pace.is_due():
            pace.rest()
            sleep(0)
        ready = self._zm_ready()
        if ready or timeout == 0 or not self.sockets:
            return ready
        forever = timeout is None or timeout < 0
        end = float("inf") if timeout is None or timeout < 0 else time.monotonic() + timeout / 1000
        event = Event()
        watchers: list[Any] = []
        try:
            self._zm_watch(event, watchers)
            while not ready:
                left = end - time.monotonic()
                if left <= 0:
                    break
                event.wait(None if forever else left)
                pace.rest()
                event.clear()
                ready = self._zm_ready()
            return ready
        finally:
            for watcher in watchers:
                watcher.stop()
                watcher.close()
            for socket, _ in self.sockets:
                if _is_green(socket):
                    socket._zm_wait_end(event)

    def _zm_ready(self) -> list[tuple[Any, int]]:
        """What is ready now."""
        for socket, _ in self.sockets:
            if isinstance(socket, zmq.Socket):
                socket.get(EVENTS)  # its descriptor is quiet after this
        ready = super().poll(0)
        for socket, _ in self.sockets:
            if _is_green(socket):
                socket._zm_state_changed()
        return ready

    def _zm_watch(self, event: Event, watchers: list[Any]) -> None:
        """Has ``event`` set when anything may be ready. ``watchers`` are to be closed."""
        loop = get_hub().loop
        for socket, mask in self.sockets:
            if _is_green(socket):
                socket._zm_wait_begin(event, mask)
                continue
            if isinstance(socket, zmq.Socket):
                fd, events = socket.fileno(), _READ
            else:
                fd = socket if isinstance(socket, int) else socket.fileno()
                events = (_READ if mask & POLLIN else 0) | (_WRITE if mask & POLLOUT else 0)
            watcher = loop.io(fd, events)
            watchers.append(watcher)
            watcher.start(event.set)


def _is_green(socket: Any) -> bool:
    from zmq_monocoque.green.core import _Socket  # which imports this module

    return isinstance(socket, _Socket)
