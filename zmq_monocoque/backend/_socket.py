"""The backend's Socket: what is done once a socket and is not the extension's."""

from __future__ import annotations

from collections.abc import Callable
from errno import ENAMETOOLONG, ENOENT
from typing import Any, ClassVar

from zmq_monocoque.backend._context import ContextMixin
from zmq_monocoque.backend._engine import ffi, lib, says_if_inherited
from zmq_monocoque.backend._misc import strerror
from zmq_monocoque.constants import SocketOption
from zmq_monocoque.error import _add_note

#: By the number of a monitor's event: what its value says.
_HANDSHAKE_ERRORS: dict[int, Callable[[int], str]] = {
    0x0800: lambda value: f"HANDSHAKE_FAILED_NO_DETAIL: {strerror(value) or 'end of stream'}",
    0x2000: lambda value: f"HANDSHAKE_FAILED_PROTOCOL: 0x{value:08x}",
    0x4000: lambda value: f"HANDSHAKE_FAILED_AUTH: {value}",
}

#: Bytes of the endpoints that an error names.
_ENDPOINTS_ROOM = 2048

#: Bytes of sockaddr_un.sun_path that a name can use.
IPC_PATH_MAX_LEN = 107


class SocketMixin:
    """Socket(context, socket_type, shadow=0, copy_threshold=None): a socket of the engine.

    ``shadow``: the number (`underlying`) of a socket that exists, instead of context and type.
    ``copy_threshold``: bytes from which ``send(copy=False)`` does not copy.
    """

    # For one whose __init__ failed half way.
    context: Any = None

    # The extension's.
    copy_threshold: int
    underlying: int
    _zm_pid: int
    _zm_attach: Callable[[int], None]
    _zm_open: Callable[[int, int], None]
    _zm_bind: Callable[[str | bytes], None]

    _zm_check: Callable[[int], int]
    _zm_context_class: ClassVar[type[ContextMixin]]

    def __init__(
        self,
        context: Any = None,
        socket_type: int = -1,
        shadow: int = 0,
        copy_threshold: int | None = None,
    ) -> None:
        # Past the host's __setattr__, which is slow, and past __dict__: see SocketOptionReader.
        object.__setattr__(self, "context", context)
        if not shadow:
            if context is None:
                raise TypeError("context must be specified")
            if not isinstance(context, self._zm_context_class):
                raise TypeError(
                    f"Cannot convert {type(context).__name__} to a Context of zmq_monocoque"
                )
            if socket_type == -1:
                raise TypeError("socket_type must be specified")
        # What may fail comes first: a socket that was made would not be closed then.
        if copy_threshold is not None:
            self.copy_threshold = copy_threshold
        if shadow:
            self._zm_attach(shadow)
        else:
            self._zm_open(context.underlying, socket_type)

    def bind(self, addr: str | bytes) -> None:
        """Accepts peers on an endpoint. Source: zmq_bind(3)."""
        try:
            self._zm_bind(addr)
        except Exception as error:
            _explain_ipc(error, addr)
            _add_note(error, "of_bind", getattr(error, "errno", None), _as_text(addr))
            raise

    def _zm_explain(self, error: Any, event: int) -> None:
        """Adds to an error of send and recv why; called by the extension."""
        _add_note(error, "of_message", self, getattr(error, "errno", None), event)

    def _zm_explain_option(self, error: Any, option: int, value: object) -> None:
        """Adds to EINVAL of set and get why; called by the extension."""
        _add_note(error, "of_option", option, value, map(int, SocketOption))

    def _zm_explain_end(self, error: Any, addr: str | bytes) -> None:
        """Adds to ENOENT of unbind and disconnect why; called by the extension."""
        _add_note(error, "of_end", self._zm_endpoints)

    def _zm_endpoints(self) -> list[str]:
        """What unbind() and disconnect() would find, as far as there is room for them."""
        out = ffi.new("char[]", _ENDPOINTS_ROOM)
        self._zm_check(lib.zm_socket_endpoints(self.underlying, out, _ENDPOINTS_ROOM))
        return ffi.string(out).decode(errors="replace").splitlines()

    def join(self, group: str | bytes) -> None:
        """Joins a ``group`` of a DISH (draft): RuntimeError."""
        raise RuntimeError("libzmq and pyzmq must be built with draft support")

    def leave(self, group: str | bytes) -> None:
        """Leaves a ``group`` of a DISH (draft): RuntimeError."""
        raise RuntimeError("libzmq and pyzmq must be built with draft support")

    def stats(self) -> dict[str, Any]:
        """What became of messages and connections since the socket was made (ours): a dictionary.

        ``peers``
            now: those that messages may go to or come from
        ``connections``
            now: those over tcp and ipc, handshakes under way included
        ``messages_sent``
            whole messages that went to a peer's queue and were not dropped there
        ``messages_received``
            whole messages that arrived
        ``bytes_sent``
            on the wire, with framing, commands and handshakes
        ``bytes_received``
            the same
        ``messages_dropped``
            of those to send: no room (HWM) or no peer where the pattern drops, replaced (CONFLATE),
            lost with their connection when partly sent, or queued for a peer that was given up
        ``reconnects``
            connections of connect() that were made again
        ``out_queued``
            now: messages that wait to be sent
        ``in_queued``
            now: messages that wait to be received
        ``connects_failed``
            attempts of connect() that led to no connection
        ``last_connect_error``
            why the last of these did, as text; "" when none did
        ``handshakes_failed``
            connections that ended before both sides were content: refused, broken off, timed out;
            of either side's doing
        ``last_handshake_error``
            why the last of these did: the monitor's event, and its value; "" when none did

        ZMQError(ENOTSOCK) when the socket is closed.
        """
        out = ffi.new("zm_stats *")
        with says_if_inherited("socket", self._zm_pid):
            self._zm_check(lib.zm_socket_stats(self.underlying, out))
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


def _as_text(addr: str | bytes) -> str:
    return addr.decode(errors="replace") if isinstance(addr, bytes) else addr


def _explain_ipc(error: Any, addr: str | bytes) -> None:
    """Says which path it was: the system's text for these two errors does not."""
    endpoint = _as_text(addr)
    if not (isinstance(endpoint, str) and endpoint.startswith("ipc://")):
        return
    path = endpoint[len("ipc://") :]
    errno = getattr(error, "errno", None)
    if errno == ENAMETOOLONG:
        error.strerror = (
            f'ipc path "{path}" is longer than {IPC_PATH_MAX_LEN} characters '
            "(zmq.IPC_PATH_MAX_LEN; the size of sockaddr_un.sun_path)."
        )
    elif errno == ENOENT:
        error.strerror = f'No such file or directory for ipc path "{path}".'
