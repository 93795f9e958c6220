"""zmq_poll: many sockets and file descriptors at once. The extension does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zmq_monocoque import _ext


def make_zmq_poll(binding: _ext.Binding) -> Callable[..., list[tuple[Any, int]]]:
    """zmq_poll for the sockets of one host."""
    poll = binding.poll

    def zmq_poll(sockets: Sequence[tuple[Any, int]], timeout: int = -1) -> list[tuple[Any, int]]:
        """Waits until something of ``sockets`` is ready.

        Takes pairs (socket, mask), where a socket is a Socket, a descriptor (int) or an object
        with ``fileno()``; ``timeout`` is in ms, negative: without limit. Answers (socket, mask)
        of those that are ready; the descriptor stands for an object with ``fileno()``. A socket
        that is closed is never ready.
        A signal does not move the end. TypeError, ValueError for what cannot be polled,
        ContextTerminated. Source: zmq_poll(3).
        """
        return poll(sockets, timeout)

    return zmq_poll
