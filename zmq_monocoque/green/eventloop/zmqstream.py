"""`ZMQStream` for green sockets."""

from __future__ import annotations

from typing import Any

from zmq_monocoque.eventloop import zmqstream
from zmq_monocoque.eventloop.zmqstream import IOLoop

__all__ = ["ZMQStream"]


class ZMQStream(zmqstream.ZMQStream):
    """As `zmq_monocoque.eventloop.zmqstream.ZMQStream`."""

    def __init__(self, socket: Any, io_loop: IOLoop | None = None) -> None:
        super().__init__(socket, io_loop=io_loop or IOLoop.current())
