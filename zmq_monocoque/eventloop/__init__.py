"""ZeroMQ in tornado's event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado.ioloop import IOLoop

if TYPE_CHECKING:  # see __init__.pyi of the package
    from zmq_monocoque.eventloop import future as future
    from zmq_monocoque.eventloop import ioloop as ioloop
    from zmq_monocoque.eventloop import zmqstream as zmqstream

__all__ = ["IOLoop"]
