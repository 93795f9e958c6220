"""`AsyncioAuthenticator`: a ZAP handler as a task of an event loop."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import zmq_monocoque as zmq
import zmq_monocoque.asyncio
from zmq_monocoque.auth.base import Authenticator

__all__ = ["AsyncioAuthenticator"]


class AsyncioAuthenticator(Authenticator):
    """AsyncioAuthenticator(context=None, loop=None, encoding="utf-8", log=None).

    ``loop`` is deprecated and not used: the loop that `start` is called in is the one.
    """

    def __init__(
        self,
        context: zmq.Context[Any] | None = None,
        loop: Any = None,
        encoding: str = "utf-8",
        log: Any = None,
    ) -> None:
        super().__init__(context=context, encoding=encoding, log=log)
        if loop is not None:
            warnings.warn(
                f"{type(self).__name__}(loop) is deprecated and ignored",
                DeprecationWarning,
                stacklevel=2,
            )
        self._zm_task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the task, in the running loop. Errors as `Authenticator.start`."""
        super().start()
        requests = self._zm_handle_requests()
        try:
            self._zm_task = asyncio.ensure_future(requests)
        except BaseException:
            requests.close()
            super().stop()
            raise

    async def _zm_handle_requests(self) -> None:
        zap = self.zap_socket
        assert zap is not None, "not started"
        poller = zmq.asyncio.Poller()
        poller.register(zap, zmq.POLLIN)
        try:
            while self.zap_socket is zap:
                if await poller.poll():
                    await self.handle_zap_message(zap.recv_multipart())
        except zmq.ContextTerminated:
            zap.close()

    def stop(self) -> None:
        """Ends the task. May be called again."""
        if self._zm_task is not None:
            self._zm_task.cancel()
            self._zm_task = None
        super().stop()
