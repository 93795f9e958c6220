# The classes are made at run time, for whichever package the engine is bound to; this is what
# zmq_monocoque's own look like.
from collections.abc import Iterable, Sequence
from typing import Any, Literal, overload

from typing_extensions import Buffer

from zmq_monocoque.backend._options import ContextOptions, MessageOptions, SocketOptions
from zmq_monocoque.backend.select import public_api as public_api
from zmq_monocoque.backend.select import select_backend as select_backend
from zmq_monocoque.sugar.context import Context as _SugarContext
from zmq_monocoque.sugar.frame import Frame as _SugarFrame
from zmq_monocoque.sugar.tracker import MessageTracker

__all__ = [
    "Context",
    "Socket",
    "Frame",
    "Message",
    "proxy",
    "proxy_steerable",
    "zmq_poll",
    "strerror",
    "zmq_errno",
    "has",
    "curve_keypair",
    "curve_public",
    "zmq_version_info",
    "IPC_PATH_MAX_LEN",
    "PYZMQ_DRAFT_API",
]

backend: str
IPC_PATH_MAX_LEN: int
PYZMQ_DRAFT_API: bool

_bytes = bytes

class Frame(MessageOptions):
    buffer: memoryview
    bytes: _bytes
    more: bool
    tracker: Any  # a MessageTracker, or None
    tracker_event: Any
    group: str
    routing_id: int
    def __init__(
        self,
        data: Buffer | None = None,
        track: bool = False,
        copy: bool | None = None,
        copy_threshold: int | None = None,
    ) -> None: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __copy__(self) -> Frame: ...
    def fast_copy(self) -> Frame: ...
    def get(self, option: int | str | _bytes, /) -> int | str: ...
    def set(self, option: int | str, value: Any, /) -> None: ...

Message = Frame

class Context(ContextOptions):
    closed: bool
    _zm_pid: int
    @property
    def underlying(self) -> int: ...
    def __init__(self, io_threads: int = 1, shadow: int = 0) -> None: ...
    def get(self, option: int) -> int: ...
    def set(self, option: int, optval: int) -> None: ...
    def term(self, timeout: int | None = None) -> None: ...
    def holders(self) -> list[str]: ...

class Socket(SocketOptions):
    context: Any
    copy_threshold: int
    _closed: bool
    _zm_pid: int
    @property
    def closed(self) -> bool: ...
    @property
    def underlying(self) -> int: ...
    # For `zmq_monocoque._future` and `zmq_monocoque.green`.
    def _zm_explain(self, error: Any, event: int) -> None: ...
    def _zm_get_int(self, option: int, /) -> int: ...
    def _zm_spin(self) -> bool: ...
    def __init__(
        self,
        context: _SugarContext[Any] | None = None,
        socket_type: int = -1,
        shadow: int = 0,
        copy_threshold: int | None = None,
    ) -> None: ...
    def close(self, linger: int | None = None) -> None: ...
    def get(self, option: int) -> int | bytes: ...
    def set(self, option: int, optval: int | bytes) -> None: ...
    # What bind and connect answer is the sugar's.
    def bind(self, addr: str) -> Any: ...
    def connect(self, addr: str) -> Any: ...
    def unbind(self, addr: str) -> None: ...
    def disconnect(self, addr: str) -> None: ...
    def monitor(self, addr: str | None, events: int = ...) -> None: ...
    def join(self, group: str) -> None: ...
    def leave(self, group: str) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    # As pyzmq has them. A Frame answers with its own tracker, which only track=True gives it.
    @overload
    def send(
        self,
        data: Buffer,
        flags: int = 0,
        copy: Literal[True] = True,
        track: bool = False,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> None: ...
    @overload
    def send(
        self,
        data: Buffer,
        flags: int = 0,
        *,
        copy: Literal[False],
        track: bool = False,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> MessageTracker: ...
    @overload
    def send(
        self,
        data: Buffer,
        flags: int,
        copy: Literal[False],
        track: bool = False,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> MessageTracker: ...
    @overload
    def send(
        self,
        data: _SugarFrame,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> MessageTracker: ...
    @overload
    def send(
        self,
        data: Buffer | _SugarFrame,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> MessageTracker | None: ...
    def send_multipart(
        self,
        msg_parts: Sequence[Buffer | _SugarFrame],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        **kwargs: Any,
    ) -> MessageTracker | None: ...
    @overload
    def recv(self, flags: int = 0, copy: Literal[True] = True, track: bool = False) -> bytes: ...
    @overload
    def recv(self, flags: int = 0, *, copy: Literal[False], track: bool = False) -> _SugarFrame: ...
    @overload
    def recv(self, flags: int, copy: Literal[False], track: bool = False) -> _SugarFrame: ...
    @overload
    def recv(
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> bytes | _SugarFrame: ...
    @overload
    def recv_multipart(
        self, flags: int = 0, copy: Literal[True] = True, track: bool = False
    ) -> list[bytes]: ...
    @overload
    def recv_multipart(
        self, flags: int = 0, *, copy: Literal[False], track: bool = False
    ) -> list[_SugarFrame]: ...
    @overload
    def recv_multipart(
        self, flags: int, copy: Literal[False], track: bool = False
    ) -> list[_SugarFrame]: ...
    @overload
    def recv_multipart(
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> list[bytes] | list[_SugarFrame]: ...
    def recv_into(self, buffer: Any, /, *, nbytes: int = 0, flags: int = 0) -> int: ...
    def send_many(
        self,
        messages: Iterable[_SugarFrame | Buffer | Sequence[_SugarFrame | Buffer]],
        *,
        flags: int = 0,
        copy: bool = True,
    ) -> int: ...
    @overload
    def recv_many(
        self,
        max: int,
        *,
        flags: int = 0,
        copy: Literal[True] = True,
        multipart: Literal[True],
    ) -> list[list[bytes]]: ...
    @overload
    def recv_many(
        self, max: int, *, flags: int = 0, copy: Literal[True] = True, multipart: bool = False
    ) -> list[bytes | list[bytes]]: ...
    @overload
    def recv_many(
        self, max: int, *, flags: int = 0, copy: bool = True, multipart: bool = False
    ) -> list[Any]: ...

def zmq_poll(sockets: Sequence[Any], timeout: int | None = -1) -> list[tuple[Any, int]]: ...
def proxy(frontend: Socket, backend: Socket, capture: Socket | None = None) -> int: ...
def proxy_steerable(
    frontend: Socket,
    backend: Socket,
    capture: Socket | None = None,
    control: Socket | None = None,
) -> int: ...
def monitored_queue(
    in_socket: Socket,
    out_socket: Socket,
    mon_socket: Socket,
    in_prefix: bytes = b"in",
    out_prefix: bytes = b"out",
) -> int: ...
def strerror(errno: int) -> str: ...
def zmq_errno() -> int: ...
def has(capability: str) -> bool: ...
def curve_keypair() -> tuple[bytes, bytes]: ...
def curve_public(secret_key: str | bytes) -> bytes: ...
def zmq_version_info() -> tuple[int, int, int]: ...
def driver_name() -> str: ...
def driver_reason() -> str: ...
