"""Deprecated: `IOLoopAuthenticator`, which is an `AsyncioAuthenticator`, as tornado is asyncio."""

from __future__ import annotations

import warnings
from typing import Any

import zmq_monocoque as zmq
from zmq_monocoque.auth.asyncio import AsyncioAuthenticator

__all__ = ["IOLoopAuthenticator"]

warnings.warn(
    "zmq.auth.ioloop is deprecated. Use zmq.auth.asyncio instead.",
    DeprecationWarning,
    stacklevel=2,
)


class IOLoopAuthenticator(AsyncioAuthenticator):
    """IOLoopAuthenticator(context=None, encoding="utf-8", log=None, io_loop=None).

    ``io_loop`` is deprecated and not used.
    """

    def __init__(
        self,
        context: zmq.Context[Any] | None = None,
        encoding: str = "utf-8",
        log: Any = None,
        io_loop: Any = None,
    ) -> None:
        loop = None if io_loop is None else getattr(io_loop, "asyncio_loop", io_loop)
        super().__init__(context=context, loop=loop, encoding=encoding, log=log)
