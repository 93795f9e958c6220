"""Proxies, capabilities, error texts, keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zmq_monocoque.backend._engine import ffi, interruptible, lib, says_if_inherited

#: The libzmq whose behaviour this is.
ZMQ_VERSION_INFO = (4, 3, 5)

#: A CURVE key as Z85 text.
CURVE_KEY_CHARS = 40


def zmq_version_info() -> tuple[int, int, int]:
    """The libzmq whose behaviour this is, as numbers."""
    return ZMQ_VERSION_INFO


def has(capability: str) -> bool:
    """Does the engine have a ``capability`` ("ipc", "curve", ...)? Unknown ones it has not.

    TypeError when it is no text.
    Source: zmq_has(3).
    """
    if not isinstance(capability, str):
        raise TypeError(f"capability must be a str, got {capability!r}")
    return bool(lib.zm_has(capability.encode()))


def strerror(errno: int) -> str:
    """The text of an ``errno``, ZMQ's own included. Source: zmq_strerror(3)."""
    return ffi.string(lib.zm_error_text(errno)).decode(errors="replace")


def zmq_errno() -> int:
    """The errno of this thread's last call that failed. Source: zmq_errno(3)."""
    return lib.zm_last_errno()


def curve(
    error: Callable[[int], Exception],
) -> tuple[Callable[[], tuple[bytes, bytes]], Callable[[str | bytes], bytes]]:
    """curve_keypair and curve_public for one host."""

    def curve_keypair() -> tuple[bytes, bytes]:
        """A new (public, secret) pair of CURVE keys, 40 bytes of Z85 each.

        ZMQError(ENOTSUP): the engine has no CURVE (PyNaCl is missing). Source:
        zmq_curve_keypair(3).
        """
        public, secret = ffi.new("char[41]"), ffi.new("char[41]")
        answer = lib.zm_curve_keypair(public, secret)
        if answer < 0:
            raise error(-answer)
        return ffi.string(public), ffi.string(secret)

    def curve_public(secret_key: str | bytes) -> bytes:
        """The public key of ``secret_key``, both 40 bytes of Z85.

        ValueError when the length is another; ZMQError: EINVAL when it is no Z85, ENOTSUP when
        the engine has no CURVE. Source: zmq_curve_public(3).
        """
        if isinstance(secret_key, str):
            secret_key = secret_key.encode()
        if len(secret_key) != CURVE_KEY_CHARS:
            raise ValueError("secret key must be a 40 byte z85 encoded string")
        public = ffi.new("char[41]")
        answer = lib.zm_curve_public(public, secret_key)
        if answer < 0:
            raise error(-answer)
        return ffi.string(public)

    return curve_keypair, curve_public


def devices(
    socket_class: type, retry: Callable[..., int]
) -> tuple[Callable[..., int], Callable[..., int], Callable[..., int]]:
    """proxy, proxy_steerable and monitored_queue, for the sockets of one host. They run until
    ContextTerminated."""

    def handle_of(name: str, socket: Any, optional: bool = False) -> int:
        if socket is None and optional:
            return -1
        if not isinstance(socket, socket_class):
            raise TypeError(f"{name} must be a Socket, got {socket!r}")
        return socket.underlying  # type: ignore[attr-defined]

    def run(sockets: tuple[Any, ...], call: Callable[..., int], *args: Any) -> int:
        with says_if_inherited("socket", *(s._zm_pid for s in sockets if s is not None)):
            return retry(interruptible, call, *args)

    def proxy(frontend: Any, backend: Any, capture: Any = None) -> int:
        """Passes messages between ``frontend`` and ``backend``, and a copy of each to ``capture``.

        Source: zmq_proxy(3).
        """
        return proxy_steerable(frontend, backend, capture)

    def proxy_steerable(
        frontend: Any, backend: Any, capture: Any = None, control: Any = None
    ) -> int:
        """As `proxy`; ``control`` receives PAUSE, RESUME, TERMINATE and STATISTICS.

        Answers 0 after TERMINATE. STATISTICS is answered by 8 parts, each a uint64: messages and
        bytes received and sent by the frontend, then by the backend. Source:
        zmq_proxy_steerable(3).
        """
        handles = (
            handle_of("frontend", frontend),
            handle_of("backend", backend),
            handle_of("capture", capture, optional=True),
            handle_of("control", control, optional=True),
        )
        # The state outlives a signal: the counts go on, and a pause lasts.
        state = ffi.new("zm_proxy_state *")
        sockets = (frontend, backend, capture, control)
        return run(sockets, lib.zm_proxy_run, *handles, state)

    def monitored_queue(
        in_socket: Any,
        out_socket: Any,
        mon_socket: Any,
        in_prefix: bytes = b"in",
        out_prefix: bytes = b"out",
    ) -> int:
        """As `proxy`; each message also goes to ``mon_socket``, behind a prefix: ``in_prefix`` when
        it came from ``in_socket``, ``out_prefix`` when from ``out_socket``.

        Between two ROUTERs the first two parts of each message are swapped, so that the sender of
        one side is the recipient's address of the other.
        """
        handles = (
            handle_of("in_socket", in_socket),
            handle_of("out_socket", out_socket),
            handle_of("mon_socket", mon_socket),
        )
        return run(
            (in_socket, out_socket, mon_socket),
            lib.zm_monitored_queue_run,
            *handles,
            in_prefix,
            len(in_prefix),
            out_prefix,
            len(out_prefix),
        )

    return proxy, proxy_steerable, monitored_queue
