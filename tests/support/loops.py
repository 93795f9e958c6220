"""What the tests of event loops share: connected sockets, and a loop around each test."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

import pytest

from .sockets import address_for
from .waiting import TIMEOUT, Background


def pair(zmq, context, kinds="PUSH PULL", address="inproc", ipc_address="", **options) -> list[Any]:
    """Two connected sockets, of which the first one binds: to an address or "inproc", "tcp", "ipc"
    (at ``ipc_address``)."""
    sockets = [context.socket(getattr(zmq, kind)) for kind in kinds.split()]
    for s in sockets:
        for name, value in options.items():
            setattr(s, name, value)
    sockets[0].bind(address if "://" in address else address_for(address, ipc_address))
    sockets[1].connect(sockets[0].LAST_ENDPOINT.decode())
    return sockets


async def ticks(count=1):
    """Lets a loop of asyncio go round."""
    for _ in range(count):
        await asyncio.sleep(0)


def live_timers(loop):
    return [handle for handle in loop._scheduled if not handle.cancelled()]


def watched(loop):
    """Descriptors in the loop, its own pipe apart."""
    return [fd for fd in loop._selector.get_map() if fd != loop._ssock.fileno()]


def run_asyncio(zmq, test: Callable[[Any], Any], timeout: float = TIMEOUT) -> Any:
    """``await test(context)`` in a loop of its own; its sockets are closed in it."""
    zaio = importlib.import_module(zmq.__name__ + ".asyncio")

    async def main():
        with zaio.Context() as context:
            try:
                return await asyncio.wait_for(test(context), timeout)
            finally:
                context.destroy(linger=0)

    return asyncio.run(main())


def run_green(zmq, test: Callable[[Any], Any], timeout: float = TIMEOUT) -> Any:
    """``test(context)`` as a greenlet, in a thread with a hub of its own."""
    gevent = pytest.importorskip("gevent")

    green = importlib.import_module(zmq.__name__ + ".green")

    def main():
        context = green.Context()
        try:
            with gevent.Timeout(timeout):
                return gevent.spawn(test, context).get()
        finally:
            context.destroy(linger=0)
            gevent.get_hub().destroy(destroy_loop=True)

    return Background(main).result(timeout + TIMEOUT)
