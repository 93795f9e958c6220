"""Tornado's event loop in a process that gevent has patched."""

from tornado.ioloop import IOLoop

__all__ = ["IOLoop"]
