"""ZeroMQ in tornado's event loop."""

from tornado.ioloop import IOLoop

__all__ = ["IOLoop"]
