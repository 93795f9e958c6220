"""Deprecated: `tornado.ioloop` itself. Sockets work in any of its loops."""

# ruff: noqa: F403
from typing import Any
from warnings import warn

from tornado import ioloop as _ioloop
from tornado.ioloop import *
from tornado.ioloop import IOLoop

_DEPRECATED = "zmq.eventloop.ioloop is deprecated: sockets work in tornado's and asyncio's loops."
warn(_DEPRECATED, DeprecationWarning, stacklevel=2)

#: There is no loop of our own.
ZMQIOLoop = IOLoop


def install() -> None:
    """Deprecated: there is nothing to install."""
    warn(_DEPRECATED, DeprecationWarning, stacklevel=2)


def __getattr__(name: str) -> Any:
    return getattr(_ioloop, name)
