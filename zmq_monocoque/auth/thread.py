"""`ThreadAuthenticator`: a ZAP handler in a thread of its own."""

from __future__ import annotations

import asyncio
from threading import Event, Thread
from typing import Any

import zmq_monocoque as zmq
import zmq_monocoque.asyncio
from zmq_monocoque.auth.base import Authenticator

__all__ = ["ThreadAuthenticator"]

#: Through the pipe, to the thread.
_TERMINATE = b"TERMINATE"


class AuthenticationThread(Thread):
    """The thread: an event loop that waits for requests and for what comes through ``pipe``.

    The loop is for callbacks that are coroutine functions; it is theirs for as long as it runs.
    """

    pipe: zmq.Socket[Any]
    loop: asyncio.AbstractEventLoop
    authenticator: Authenticator
    poller: zmq.asyncio.Poller | None = None

    def __init__(self, authenticator: Authenticator, pipe: zmq.Socket[Any]) -> None:
        super().__init__(daemon=True)
        self.authenticator = authenticator
        self.log = authenticator.log
        self.pipe = pipe
        self.started = Event()

    def run(self) -> None:
        """Handles requests until it is told to end, or the context ends."""
        try:
            self.loop.run_until_complete(self._run())
        except zmq.ContextTerminated:
            self.log.debug("The context has ended")
        finally:
            self.started.set()
            # The context waits for both, if it is that which has ended.
            self.pipe.close()
            if self.authenticator.zap_socket is not None:
                self.authenticator.zap_socket.close()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def start(self) -> None:
        # Here, where there is somebody to hear that there are no descriptors left.
        self.loop = asyncio.new_event_loop()
        try:
            super().start()
        except BaseException:
            self.loop.close()
            raise

    async def _run(self) -> None:
        zap = self.authenticator.zap_socket
        assert zap is not None, "the authenticator was not started"
        self.poller = poller = zmq.asyncio.Poller()
        poller.register(self.pipe, zmq.POLLIN)
        poller.register(zap, zmq.POLLIN)
        self.started.set()
        while True:
            ready = {socket for socket, _ in await poller.poll()}
            if self.pipe in ready and self._handle_pipe_message(self.pipe.recv_multipart()):
                return
            if zap in ready:
                await self.authenticator.handle_zap_message(zap.recv_multipart())

    def _handle_pipe_message(self, msg: list[bytes]) -> bool:
        """Is this the end?"""
        if msg[:1] == [_TERMINATE]:
            return True
        self.log.error("Invalid auth API command: %r", msg[:1])
        return False


class ThreadAuthenticator(Authenticator):
    """ThreadAuthenticator(context=None, encoding="utf-8", log=None), between `start` and `stop`.

    Rules may be changed while it runs.
    """

    pipe: zmq.Socket[Any] | None
    pipe_endpoint: str = ""
    thread: AuthenticationThread | None

    def __init__(
        self, context: zmq.Context[Any] | None = None, encoding: str = "utf-8", log: Any = None
    ) -> None:
        super().__init__(context=context, encoding=encoding, log=log)
        self.pipe = None
        self.pipe_endpoint = f"inproc://{id(self)}.inproc"
        self.thread = None

    def start(self) -> None:
        """Starts the thread; it answers from when this returns. Errors as `Authenticator.start`."""
        super().start()
        ends: list[zmq.Socket[Any]] = []
        try:
            for _ in range(2):
                end = self.context.socket(zmq.PAIR, socket_class=zmq.Socket)
                ends.append(end)
                end.linger = 1
            theirs, pipe = ends
            theirs.bind(self.pipe_endpoint)
            pipe.connect(self.pipe_endpoint)
            thread = AuthenticationThread(self, theirs)
            thread.start()
        except BaseException:
            for end in ends:
                end.close()
            super().stop()
            raise
        self.pipe, self.thread = pipe, thread
        thread.started.wait()

    def stop(self) -> None:
        """Ends the thread and waits for that. May be called again."""
        if self.pipe is not None:
            try:
                self.pipe.send(_TERMINATE, zmq.DONTWAIT)
            except zmq.ZMQError:
                pass  # it has ended with the context
            assert self.thread is not None, "a pipe is there for a thread"
            self.thread.join()
            self.pipe.close()
            self.pipe = self.thread = None
        super().stop()

    def is_alive(self) -> bool:
        """Does the thread run?"""
        return self.thread is not None and self.thread.is_alive()

    def __del__(self) -> None:
        # Nothing to stop if __init__ failed.
        if "thread" in self.__dict__:
            self.stop()
