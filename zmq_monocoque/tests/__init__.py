"""Deprecated: base classes for tests of programs that use sockets, as others still import them."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from functools import wraps
from threading import Thread
from typing import Any
from unittest import SkipTest, TestCase, skipIf

import zmq_monocoque as zmq
from zmq_monocoque.utils import jsonapi

warnings.warn(
    "zmq.tests is deprecated in pyzmq 25: it is better to keep contexts and sockets of one's own.",
    DeprecationWarning,
    stacklevel=2,
)

try:
    import zmq_monocoque.green as gzmq

    have_gevent = True
except ImportError:
    have_gevent = False

PYPY = platform.python_implementation() == "PyPy"

skip_pypy = skipIf(PYPY, "Doesn't work on PyPy")
require_zmq_4 = skipIf(zmq.zmq_version_info() < (4,), "requires zmq >= 4")

#: Seconds that a context gets to end.
_TERM_SECONDS = 10


def skip_green(f: Callable[..., Any]) -> Callable[..., Any]:
    """Skips a test under gevent."""

    @wraps(f)
    def skipping(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.green:
            raise SkipTest("not under gevent")
        return f(self, *args, **kwargs)

    return skipping


def term_context(ctx: zmq.Context[Any], timeout: float) -> None:
    """Ends a context; RuntimeError when it has not ended after ``timeout`` seconds."""
    thread = Thread(target=ctx.term, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        # The next test is to have another one.
        zmq.Context._instance = None
        raise RuntimeError("context could not terminate, open sockets likely remain in test")


class BaseZMQTestCase(TestCase):
    """A context, and sockets that are closed after the test."""

    green = False
    teardown_timeout: float = _TERM_SECONDS
    test_timeout_seconds = 60
    context: zmq.Context[Any]
    sockets: list[zmq.Socket[Any]]

    @property
    def Context(self) -> type[zmq.Context[Any]]:
        return gzmq.Context if self.green else zmq.Context

    def setUp(self) -> None:
        super().setUp()
        if self.green and not have_gevent:
            raise SkipTest("requires gevent")
        self.context = self.Context.instance()
        self.sockets = []

    def tearDown(self) -> None:
        contexts = {self.context}
        while self.sockets:
            socket = self.sockets.pop()
            # Only contexts that tests made themselves are still to be ended.
            contexts.add(socket.context)
            socket.close(0)
        for context in contexts:
            term_context(context, self.teardown_timeout)
        super().tearDown()

    def create_bound_pair(
        self, type1: int = zmq.PAIR, type2: int = zmq.PAIR, interface: str = "tcp://127.0.0.1"
    ) -> tuple[zmq.Socket[Any], zmq.Socket[Any]]:
        """Two sockets, the second connected to the first."""
        s1, s2 = self.socket(type1), self.socket(type2)
        for s in (s1, s2):
            s.setsockopt(zmq.LINGER, 0)
        port = s1.bind_to_random_port(interface)
        s2.connect(f"{interface}:{port}")
        return s1, s2

    def socket(self, socket_type: int) -> zmq.Socket[Any]:
        """A socket of the test's context."""
        s = self.context.socket(socket_type)
        self.sockets.append(s)
        return s

    def ping_pong(self, s1: Any, s2: Any, msg: bytes) -> bytes:
        """Sends a message from one to two and back; what came back."""
        s1.send(msg)
        s2.send(s2.recv())
        return bytes(s1.recv())

    def ping_pong_json(self, s1: Any, s2: Any, o: Any) -> Any:
        """As `ping_pong`, with JSON; SkipTest without it."""
        if jsonapi.jsonmod is None:
            raise SkipTest("No json library")
        s1.send_json(o)
        s2.send_json(s2.recv_json())
        return s1.recv_json()

    def ping_pong_pyobj(self, s1: Any, s2: Any, o: Any) -> Any:
        """As `ping_pong`, with pickles."""
        s1.send_pyobj(o)
        s2.send_pyobj(s2.recv_pyobj())
        return s1.recv_pyobj()

    def assertRaisesErrno(
        self, errno: int, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """``func`` has to raise a ZMQError with this errno."""
        with self.assertRaises(zmq.ZMQError) as caught:
            func(*args, **kwargs)
        self.assertEqual(caught.exception.errno, errno)

    def _select_recv(self, multipart: bool, socket: Any, **kwargs: Any) -> Any:
        timeout = kwargs.pop("timeout", 5)
        readable, _, _ = zmq.select([socket], [], [], timeout=timeout)
        self.assertTrue(readable, "Should have received a message")
        kwargs["flags"] = zmq.DONTWAIT | kwargs.get("flags", 0)
        return (socket.recv_multipart if multipart else socket.recv)(**kwargs)

    def recv(self, socket: Any, **kwargs: Any) -> Any:
        """Receives, waiting ``timeout`` seconds (default 5) at most."""
        return self._select_recv(False, socket, **kwargs)

    def recv_multipart(self, socket: Any, **kwargs: Any) -> Any:
        """As `recv`, all parts."""
        return self._select_recv(True, socket, **kwargs)


class PollZMQTestCase(BaseZMQTestCase):
    """As its base."""


class GreenTest:
    """To mix in before a `BaseZMQTestCase`: the same under gevent."""

    green = True
    teardown_timeout: float = _TERM_SECONDS

    def assertRaisesErrno(
        self, errno: int, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """A greenlet may not wait for ever for what should fail."""
        if errno == zmq.EAGAIN:
            raise SkipTest("Skipping because we're green.")
        super().assertRaisesErrno(errno, func, *args, **kwargs)  # type: ignore[misc]

    def skip_green(self) -> None:
        """Skips this test."""
        raise SkipTest("Skipping because we are green")
