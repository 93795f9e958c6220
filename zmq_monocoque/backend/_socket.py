"""The backend's Socket: everything that is done once a socket. The lane does the messages."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import ENAMETOOLONG, ENOENT, ENOTSOCK
from typing import Any, ClassVar

from zmq_monocoque.backend._context import ContextMixin
from zmq_monocoque.backend._engine import ffi, lib
from zmq_monocoque.backend._misc import strerror

# Option numbers that are treated apart, whatever enum the host has.
_IDENTITY = 5
_TYPE = 16
_LINGER = 17
_CURVE_KEYS = (48, 49, 50)

#: By the type of an option: a pointer to its value, and the size of that.
_NUMBERS = {
    "int": (ffi.typeof("int *"), ffi.sizeof("int")),
    "fd": (ffi.typeof("int *"), ffi.sizeof("int")),
    "int64": (ffi.typeof("int64_t *"), ffi.sizeof("int64_t")),
}
_SIZE = ffi.typeof("size_t *")

#: Room for a bytes option, as pyzmq has it. The engine refuses to answer a longer one (EINVAL).
_OPTION_BYTES_MAX = 255
#: A key as Z85 text: 40 characters and a NUL.
_CURVE_KEY_BYTES = 41

#: By the number of a monitor's event: what its value says.
_HANDSHAKE_ERRORS: dict[int, Callable[[int], str]] = {
    0x0800: lambda value: f"HANDSHAKE_FAILED_NO_DETAIL: {strerror(value) or 'end of stream'}",
    0x2000: lambda value: f"HANDSHAKE_FAILED_PROTOCOL: 0x{value:08x}",
    0x4000: lambda value: f"HANDSHAKE_FAILED_AUTH: {value}",
}

#: Bytes of sockaddr_un.sun_path that a name can use.
IPC_PATH_MAX_LEN = 107


def encode_address(address: Any) -> bytes:
    """An endpoint as the engine wants it; TypeError when it is neither str nor bytes."""
    if isinstance(address, str):
        return address.encode()
    if not isinstance(address, bytes):
        raise TypeError(f"Expected addr to be str, got addr={address!r}")
    return address


class SocketMixin:
    """Socket(context, socket_type, shadow=0, copy_threshold=None): a socket of the engine.

    ``shadow``: the number (`underlying`) of a socket that exists, instead of context and type.
    ``copy_threshold``: bytes from which ``send(copy=False)`` does not copy.
    """

    # Values for one whose __init__ failed half way: it is closed.
    context: Any = None
    _closed: bool = True
    _pid: int = 0
    # The lane's.
    copy_threshold: int
    underlying: int

    _attach: Callable[[int], None]
    _get_int: Callable[[int], int]

    _check: Callable[[int], int]
    _retry: Callable[..., int]
    _option_type: Callable[[int], str]
    _default_copy_threshold: Callable[[], int]
    _context_class: ClassVar[type[ContextMixin]]

    def __init__(
        self,
        context: Any = None,
        socket_type: int = -1,
        shadow: int = 0,
        copy_threshold: int | None = None,
    ) -> None:
        self._pid = os.getpid()
        self.context = context
        if shadow:
            handle = shadow
        elif context is None:
            raise TypeError("context must be specified")
        elif not isinstance(context, self._context_class):
            raise TypeError(
                f"Cannot convert {type(context).__name__} to a Context of zmq_monocoque"
            )
        elif socket_type == -1:
            raise TypeError("socket_type must be specified")
        # What may fail comes first: a socket that was made would not be closed then.
        self.copy_threshold = (
            self._default_copy_threshold() if copy_threshold is None else copy_threshold
        )
        if not shadow:
            handle = self._check(lib.zm_socket_new(context.underlying, socket_type))
        self._attach(handle)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Is the socket closed, by whomever? Asks the engine, so it is true of shadows, too."""
        if self._closed:
            return True
        c_type, room = _NUMBERS["int"]
        value = ffi.new(c_type)
        size = ffi.new(_SIZE, room)
        if lib.zm_socket_get(self.underlying, _TYPE, value, size) == -ENOTSOCK:
            self._closed = True
        return self._closed

    def close(self, linger: int | None = None) -> None:
        """Closes the socket; what is queued may still leave for LINGER ms (``linger`` sets it).

        Twice is fine, and in a forked child it does nothing. Source: zmq_close(3).
        """
        if linger is not None and not isinstance(linger, int):
            raise TypeError(f"linger must be an int or None, got {linger!r}")
        if self._closed or self._pid != os.getpid():
            return
        handle = self.underlying
        if linger is not None:
            # Errors are those of a socket that is gone already.
            c_type, size = _NUMBERS["int"]
            lib.zm_socket_set(handle, _LINGER, ffi.new(c_type, linger), size)
        answer = lib.zm_socket_close(handle)
        if answer != -ENOTSOCK:
            self._check(answer)
        self._closed = True
        self._attach(0)

    def set(self, option: int, optval: Any) -> None:
        """Sets a socket option.

        ``optval`` is an int or, for bytes options, bytes: TypeError for anything else,
        OverflowError for an int that the option has no room for. Source: zmq_setsockopt(3).
        """
        kind = self._option_type(option)
        if isinstance(optval, str):
            raise TypeError("unicode not allowed, use setsockopt_string")
        value: Any
        if kind == "bytes":
            if not isinstance(optval, bytes):
                raise TypeError(f"expected bytes, got: {optval!r}")
            value, size = ffi.from_buffer(optval), len(optval)
        else:
            if not isinstance(optval, int):
                raise TypeError(f"expected int, got: {optval!r}")
            c_type, size = _NUMBERS[kind]
            value = ffi.new(c_type, optval)
        self._retry(lib.zm_socket_set, self.underlying, option, value, size)

    def get(self, option: int) -> Any:
        """Reads a socket option: int, or bytes for a bytes option.

        Keys of CURVE come as Z85 text of 40 characters. Source: zmq_getsockopt(3).
        """
        kind = self._option_type(option)
        if kind == "bytes":
            return self._get_bytes(option)
        if kind != "int64":
            return self._get_int(option)
        c_type, room = _NUMBERS[kind]
        value = ffi.new(c_type)
        size = ffi.new(_SIZE, room)
        self._retry(lib.zm_socket_get, self.underlying, option, value, size)
        return value[0]

    def _get_bytes(self, option: int) -> bytes:
        room = _CURVE_KEY_BYTES if option in _CURVE_KEYS else _OPTION_BYTES_MAX
        value = ffi.new("char[]", room)
        size = ffi.new(_SIZE, room)
        self._retry(lib.zm_socket_get, self.underlying, option, value, size)
        answer: bytes = ffi.unpack(value, size[0])
        # The engine ends text with a NUL. An identity is no text and may end with one itself.
        if option != _IDENTITY and answer.endswith(b"\0"):
            answer = answer[:-1]
        return answer

    def bind(self, addr: str | bytes) -> None:
        """Accepts peers on an endpoint. Source: zmq_bind(3)."""
        endpoint = encode_address(addr)
        try:
            self._retry(lib.zm_socket_bind, self.underlying, endpoint)
        except Exception as error:
            _explain_ipc(error, endpoint.decode(errors="replace"))
            raise

    def connect(self, addr: str | bytes) -> None:
        """Connects to an endpoint, now or when it comes up. Source: zmq_connect(3)."""
        self._retry(lib.zm_socket_connect, self.underlying, encode_address(addr))

    def unbind(self, addr: str | bytes) -> None:
        """Ends a `bind`; ZMQError(ENOENT) when there is none to ``addr``. Source: zmq_unbind(3)."""
        self._retry(lib.zm_socket_unbind, self.underlying, encode_address(addr))

    def disconnect(self, addr: str | bytes) -> None:
        """Ends a `connect`; ZMQError(ENOENT) as `unbind`. Source: zmq_disconnect(3)."""
        self._retry(lib.zm_socket_disconnect, self.underlying, encode_address(addr))

    def monitor(self, addr: str | bytes | None, events: int = 0xFFFF) -> None:
        """Publishes what happens to the connections on a PAIR bound to ``addr`` (inproc).

        None stops it. Source: zmq_socket_monitor(3).
        """
        endpoint = ffi.NULL if addr is None else encode_address(addr)
        self._retry(lib.zm_socket_monitor, self.underlying, endpoint, events)

    def join(self, group: str | bytes) -> None:
        """Joins a group of a DISH (draft): RuntimeError."""
        raise RuntimeError("libzmq and pyzmq must be built with draft support")

    def leave(self, group: str | bytes) -> None:
        """Leaves a group of a DISH (draft): RuntimeError."""
        raise RuntimeError("libzmq and pyzmq must be built with draft support")

    def stats(self) -> dict[str, Any]:
        """What became of messages and connections since the socket was made (ours).

        peers               now: those that messages may go to or come from
        connections         now: those over tcp and ipc, handshakes under way included
        messages_sent       whole messages that went to a peer's queue and were not dropped there
        messages_received   whole messages that arrived
        bytes_sent          on the wire, with framing, commands and handshakes
        bytes_received      the same
        messages_dropped    of those to send: no room (HWM) or no peer where the pattern drops,
                            replaced (CONFLATE), lost with their connection when partly sent, or
                            queued for a peer that was given up
        reconnects          connections of connect() that were made again
        out_queued          now: messages that wait to be sent
        in_queued           now: messages that wait to be received
        connects_failed     attempts of connect() that led to no connection
        handshakes_failed   connections that ended before both sides were content: refused,
                            broken off, timed out; of either side's doing
        last_connect_error    why the last of the first did, as text; "" when none did
        last_handshake_error  why the last of the second did: the monitor's event, and its value
        """
        out = ffi.new("zm_stats *")
        self._check(lib.zm_socket_stats(self.underlying, out))
        found: dict[str, Any] = {
            name: getattr(out, name)
            for name, _ in ffi.typeof("zm_stats").fields
            if not name.startswith("last_")
        }
        error, event = out.last_connect_error, out.last_handshake_event
        found["last_connect_error"] = strerror(error) if error else ""
        found["last_handshake_error"] = (
            _HANDSHAKE_ERRORS[event](out.last_handshake_value) if event else ""
        )
        return found


def _explain_ipc(error: Any, endpoint: str) -> None:
    """Says which path it was: the system's text for these two errors does not."""
    if not endpoint.startswith("ipc://"):
        return
    path = endpoint[len("ipc://") :]
    if error.errno == ENAMETOOLONG:
        error.strerror = (
            f'ipc path "{path}" is longer than {IPC_PATH_MAX_LEN} characters '
            "(zmq.IPC_PATH_MAX_LEN; the size of sockaddr_un.sun_path)."
        )
    elif error.errno == ENOENT:
        error.strerror = f'No such file or directory for ipc path "{path}".'
