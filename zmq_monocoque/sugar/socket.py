"""`Socket`: options as attributes, endpoints, and messages that are more than bytes.

send, recv and their multipart forms are the extension's own methods, inherited through the backend;
what is here builds on them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from errno import EADDRINUSE
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from warnings import warn

from zmq_monocoque.backend import Socket as SocketBase
from zmq_monocoque.backend import zmq_poll
from zmq_monocoque.constants import (
    EVENT_ALL,
    FD,
    LAST_ENDPOINT,
    PAIR,
    POLLIN,
    RCVHWM,
    SNDHWM,
    SUBSCRIBE,
    TYPE,
    UNSUBSCRIBE,
    Errno,
    SocketOption,
    SocketType,
    _OptType,
)
from zmq_monocoque.error import ZMQBindError, ZMQError
from zmq_monocoque.sugar.attrsettr import SocketOptionReader, is_reader
from zmq_monocoque.sugar.poll import Poller
from zmq_monocoque.utils import jsonapi
from zmq_monocoque.utils.interop import cast_int_addr

if TYPE_CHECKING:
    import zmq_monocoque
    from zmq_monocoque._typing import Buffer, Self

__all__ = ["Socket", "SyncSocket"]

#: Pickles of `send_pyobj`: ``pickle.DEFAULT_PROTOCOL``, without an import of pickle.
DEFAULT_PROTOCOL = 5 if sys.version_info >= (3, 14) else 4

#: The range that stands for "any port": the system picks one.
_PORT_MIN = 49152
_PORT_END = 65536

_T = TypeVar("_T")
_RT = TypeVar("_RT")
_SocketReturnT_co = TypeVar("_SocketReturnT_co", covariant=True)
if TYPE_CHECKING:
    _SocketT_co = TypeVar("_SocketT_co", bound="Socket[Any]", covariant=True)
else:  # for a bound in quotes Python 3.14 imports annotationlib, and ast for that
    _SocketT_co = TypeVar("_SocketT_co", covariant=True)


class _SocketContext(Generic[_SocketT_co]):
    """What bind and connect return: ``with`` it, they last until the end of the block."""

    socket: _SocketT_co
    kind: str
    addr: str

    def __init__(self, socket: _SocketT_co, kind: str, addr: str):
        assert kind in ("bind", "connect")
        self.socket = socket
        self.kind = kind
        self.addr = addr

    def __repr__(self) -> str:
        return f"<SocketContext({self.kind}={self.addr!r})>"

    def __enter__(self) -> _SocketT_co:
        return self.socket

    def __exit__(self, *args: object) -> None:
        if self.socket.closed:
            return
        if self.kind == "bind":
            self.socket.unbind(self.addr)
        else:
            self.socket.disconnect(self.addr)


class Socket(SocketBase, SocketOptionReader, Generic[_SocketReturnT_co]):
    """Socket(context, socket_type): one socket; `Context.socket` makes it, too.

    ``ctx_or_socket`` is the Context, and ``socket_type`` a SocketType. ``Socket(other)``,
    ``Socket(shadow=other)`` and `shadow` make a second object for a socket that exists; it does not
    close that one when it is collected.

    ``copy_threshold``: a message of fewer bytes is copied even with ``copy=False`` (default
    ``zmq.COPY_THRESHOLD``). An attribute that the class does not have is an option, by its name in
    any case (``socket.linger = 0``): the page of socket options has them all. ``with`` closes the
    socket at the end of the block.

    libzmq forbids threads to share a socket. Here their calls are served one after the other; only
    parts that two of them send or receive one by one come to lie between each other.
    """

    _shadow = False
    _shadow_obj: Socket[Any] | int | None = None
    _monitor_socket: Any = None
    _type_name = "UNKNOWN"
    _repr_cls = "zmq.Socket"
    _poller_class = Poller
    context: zmq_monocoque.Context[Any]
    type: int

    def __init__(
        self: Socket[bytes],
        ctx_or_socket: zmq_monocoque.Context[Any] | Socket[Any] | None = None,
        socket_type: int = PAIR,
        *,
        shadow: Socket[Any] | int = 0,
        copy_threshold: int | None = None,
    ) -> None:
        context: Any = ctx_or_socket
        if isinstance(ctx_or_socket, Socket):
            context, shadow = None, ctx_or_socket
        address = 0
        if isinstance(shadow, Socket):
            self._shadow_obj = shadow
            address = shadow.underlying
            context = shadow.context if context is None and address else context
        elif shadow:
            address = cast_int_addr(shadow)
            self._shadow_obj = shadow
        if address:
            self._shadow = True
        super().__init__(context, socket_type, shadow=address, copy_threshold=copy_threshold)
        try:
            number: Any = self.get(TYPE)
        except BaseException:
            self._zm_discard()
            raise
        try:
            number = SocketType(number)
            name = number.name
        except ValueError:
            name = str(number)
        # Past __setattr__, which looks through all classes first: programs make many sockets.
        object.__setattr__(self, "type", number)
        object.__setattr__(self, "_type_name", name)

    def __del__(self) -> None:
        if not self._shadow and not self.closed:
            # At the very end of the interpreter, modules are empty already.
            if warn is not None:
                warn(f"Unclosed socket {self}", ResourceWarning, stacklevel=2, source=self)
            self.close()

    def _zm_discard(self) -> None:
        """Closes what an ``__init__`` that fails had made: a traceback may keep the object, and
        `Context.term` would wait for it."""
        if not self._shadow:
            SocketBase.close(self)

    def __repr__(self) -> str:
        cls = self.__class__
        name = cls.__dict__.get("_repr_cls", f"{cls.__module__}.{cls.__name__}")
        state = " closed" if self._closed else self._zm_queues()
        return f"<{name}(zmq.{self._type_name}) at {hex(id(self))}{state}>"

    def _zm_queues(self) -> str:
        """Peers and waiting messages, for `repr`; nothing when there are none."""
        try:
            stats = super().stats()  # a program may have a method of that name
        except ZMQError:
            return ""  # closed through another object
        names = ("peers", "out_queued", "in_queued")
        return "".join(f" {name}={stats[name]}" for name in names if stats[name])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: Any, **kwargs: Any) -> None:
        self.close()

    def __copy__(self, memo: Any = None) -> Self:
        """A shadow: there is only one socket."""
        return self.__class__.shadow(self)

    __deepcopy__ = __copy__

    @classmethod
    def shadow(cls, address: int | Socket[Any]) -> Self:
        """Another object for the socket ``address``: a Socket, or its ``underlying``.

        ZMQError(ENOTSOCK) when there is no such socket (any more).
        """
        return cls(shadow=address)

    @property
    def socket_type(self) -> int:
        """Deprecated: `type`."""
        warn("Socket.socket_type is deprecated, use Socket.type", DeprecationWarning, stacklevel=2)
        return self.type

    def close(self, linger: int | None = None) -> None:
        """Closes the socket. What is queued may still leave for LINGER ms (``linger`` sets that).

        Does not wait, may be called again. Source: zmq_close(3).
        """
        if (context := self.context) is not None:
            context._rm_socket(self)
        super().close(linger=linger)

    # --- options --------------------------------------------------------------------------------

    # Of the base on purpose: a subclass that overrides set and get (gevent's) keeps these as they
    # are.
    setsockopt = SocketBase.set
    getsockopt = SocketBase.get

    if not TYPE_CHECKING:  # as in AttributeSetter

        def __setattr__(self, key: str, value: Any) -> None:
            # subscribe is a method, and yet can be assigned to, like the option of that name.
            if key.lower() in ("subscribe", "unsubscribe"):
                option = SUBSCRIBE if key.lower() == "subscribe" else UNSUBSCRIBE
                self.set(option, value.encode() if isinstance(value, str) else value)
                return
            super().__setattr__(key, value)

    def __dir__(self) -> list[str]:
        cls = self.__class__
        names = {name for name in dir(cls) if not is_reader(getattr(cls, name, None))}
        return [*names.union(self.__dict__, SocketOption.__members__)]

    def subscribe(self, topic: str | bytes) -> None:
        """SUB: receives messages that begin with ``topic`` (a str is UTF-8), too."""
        self.set(SUBSCRIBE, topic.encode() if isinstance(topic, str) else topic)

    def unsubscribe(self, topic: str | bytes) -> None:
        """SUB: takes back one `subscribe` of the same topic."""
        self.set(UNSUBSCRIBE, topic.encode() if isinstance(topic, str) else topic)

    def set_string(self, option: int, optval: str, encoding: str = "utf-8") -> None:
        """Sets a bytes ``option`` to the text ``optval``, in that ``encoding``.

        TypeError when it is not text, or not a bytes option.
        """
        if not isinstance(optval, str):
            raise TypeError(f"strings only, not {optval.__class__}: {optval!r}")
        self.set(option, optval.encode(encoding))

    setsockopt_unicode = setsockopt_string = set_string

    def get_string(self, option: int, encoding: str = "utf-8") -> str:
        """A bytes ``option`` as text in that ``encoding``.

        TypeError for another one, ValueError for an unknown one.
        """
        if SocketOption(option)._opt_type is not _OptType.bytes:
            raise TypeError(f"option {option} will not return a string to be decoded")
        value: Any = self.get(option)
        text: str = value.decode(encoding)
        return text

    getsockopt_unicode = getsockopt_string = get_string

    def get_hwm(self) -> int:
        """The high water mark of sending, in messages."""
        value: Any = self.get(SNDHWM)
        return value

    def set_hwm(self, value: int) -> None:
        """Sets the high water marks of both directions to ``value``, in messages.

        Both are tried; the last error is raised.
        """
        raised: ZMQError | None = None
        for option in (SNDHWM, RCVHWM):
            try:
                self.set(option, value)
            except ZMQError as error:
                raised = error
        if raised is not None:
            raise raised

    if TYPE_CHECKING:
        hwm: int
    else:
        hwm = property(get_hwm, set_hwm, None, "The high water marks: see `get_hwm`, `set_hwm`.")

    def fileno(self) -> int:
        """A descriptor that is readable when EVENTS may have changed; quiet once it was read."""
        value: Any = self.get(FD)
        return value

    # --- endpoints ------------------------------------------------------------------------------

    def bind(self: _SocketT_co, addr: str) -> _SocketContext[_SocketT_co]:
        """Accepts peers on an endpoint, ``tcp://127.0.0.1:5555``; port * or 0 is any free one.

        ``with socket.bind(...)`` unbinds at the end. Raises ZMQError with ``addr`` in its text:
        EINVAL, EPROTONOSUPPORT, EADDRINUSE, EADDRNOTAVAIL, ENODEV, ENOCOMPATPROTO and, for ipc,
        ENOENT and ENAMETOOLONG. Source: zmq_bind(3).
        """
        try:
            super().bind(addr)
        except ZMQError as error:
            error.strerror += f" (addr={addr!r})"
            raise
        return self._bind_cm(addr)

    def connect(self: _SocketT_co, addr: str) -> _SocketContext[_SocketT_co]:
        """Connects to an endpoint, as soon as it is there and whenever it is back.

        ``with socket.connect(...)`` disconnects at the end. Raises ZMQError with ``addr`` in its
        text: EINVAL, EPROTONOSUPPORT, ENOCOMPATPROTO. Source: zmq_connect(3).
        """
        try:
            super().connect(addr)
        except ZMQError as error:
            error.strerror += f" (addr={addr!r})"
            raise
        return self._connect_cm(addr)

    def _bind_cm(self: _SocketT_co, addr: str) -> _SocketContext[_SocketT_co]:
        # The endpoint as it was resolved is what unbind() knows.
        try:
            endpoint: Any = self.getsockopt(LAST_ENDPOINT)
            addr = endpoint.decode()
        except (ZMQError, UnicodeDecodeError):
            pass
        return _SocketContext(self, "bind", addr)

    def _connect_cm(self: _SocketT_co, addr: str) -> _SocketContext[_SocketT_co]:
        return _SocketContext(self, "connect", addr)

    def bind_to_random_port(
        self,
        addr: str,
        min_port: int = _PORT_MIN,
        max_port: int = _PORT_END,
        max_tries: int = 100,
    ) -> int:
        """Binds to ``addr`` (without a port) on a free port, and returns that.

        Without a range the system picks the port; else up to ``max_tries`` ports of
        ``range(min_port, max_port)`` are tried, and ZMQBindError is raised when all were taken.
        Other errors of `bind` are raised at once.
        """
        if (min_port, max_port) == (_PORT_MIN, _PORT_END):
            self.bind(f"{addr}:*")
            endpoint: Any = self.getsockopt(LAST_ENDPOINT)
            return int(endpoint.rpartition(b":")[2])
        import random  # rarely needed, and slow to import

        for _ in range(max_tries):
            port = random.randrange(min_port, max_port)
            try:
                self.bind(f"{addr}:{port}")
            except ZMQError as error:
                if error.errno != EADDRINUSE:
                    raise
            else:
                return port
        raise ZMQBindError("Could not bind socket to random port.")

    # --- messages that are more than bytes --------------------------------------------------------

    def _deserialize(self, recvd: _T, load: Callable[[_T], _RT]) -> _RT:
        """What was received, loaded. Subclasses whose recv() answers later override it."""
        return load(recvd)

    def send_serialized(
        self,
        msg: _T,
        serialize: Callable[[_T], Sequence[zmq_monocoque.Frame | Buffer]],
        flags: int = 0,
        copy: bool = True,
        **kwargs: Any,
    ) -> zmq_monocoque.MessageTracker | None:
        """Sends the parts that ``serialize(msg)`` returns; else as `send_multipart`."""
        return self.send_multipart(serialize(msg), flags=flags, copy=copy, **kwargs)

    def recv_serialized(
        self, deserialize: Callable[[list[Any]], _RT], flags: int = 0, copy: bool = True
    ) -> _RT:
        """What ``deserialize`` makes of what `recv_multipart` answers."""
        return self._deserialize(self.recv_multipart(flags=flags, copy=copy), deserialize)

    def send_string(
        self,
        u: str,
        flags: int = 0,
        copy: bool = True,
        encoding: str = "utf-8",
        **kwargs: Any,
    ) -> zmq_monocoque.MessageTracker | None:
        """Sends the text ``u`` in that ``encoding``; else as `send`.

        TypeError for anything but a str.
        """
        if not isinstance(u, str):
            raise TypeError("str objects only")
        return self.send(u.encode(encoding), flags=flags, copy=copy, **kwargs)

    send_unicode = send_string

    def recv_string(self, flags: int = 0, encoding: str = "utf-8") -> str:
        """Receives a text in that ``encoding``, as `recv` does.

        UnicodeDecodeError: it was none; the message is then lost.
        """
        return self._deserialize(self.recv(flags=flags), lambda body: body.decode(encoding))

    recv_unicode = recv_string

    def send_pyobj(
        self, obj: object, flags: int = 0, protocol: int = DEFAULT_PROTOCOL, **kwargs: Any
    ) -> zmq_monocoque.MessageTracker | None:
        """Sends ``obj`` as a pickle of that ``protocol``; else as `send`.

        Raises what pickling does.
        """
        import pickle

        return self.send(pickle.dumps(obj, protocol), flags=flags, **kwargs)

    def recv_pyobj(self, flags: int = 0) -> Any:
        """Receives a pickle, as `recv` does.

        Who can send one can run code here: trusted peers only.
        """
        import pickle

        return self._deserialize(self.recv(flags), pickle.loads)

    def send_json(
        self, obj: object, flags: int = 0, **kwargs: Any
    ) -> zmq_monocoque.MessageTracker | None:
        """Sends ``obj`` as JSON; else as `send`. ``kwargs`` are for ``json.dumps``."""
        send_kwargs = {key: kwargs.pop(key) for key in ("routing_id", "group") if key in kwargs}
        return self.send(jsonapi.dumps(obj, **kwargs), flags=flags, **send_kwargs)

    def recv_json(
        self, flags: int = 0, **kwargs: Any
    ) -> list[Any] | str | int | float | dict[str, Any]:
        """Receives JSON, as `recv` does; ``kwargs`` are for ``json.loads``.

        ValueError: it was none.
        """
        return self._deserialize(self.recv(flags), lambda body: jsonapi.loads(body, **kwargs))

    # --- events -----------------------------------------------------------------------------------

    def _zm_closed_error(self) -> ZMQError:
        """That of a poll. Who inherited the socket in a fork has not closed it, and wonders."""
        error = ZMQError(Errno.ENOTSUP)
        if self._zm_pid != os.getpid():
            error.strerror += ": the socket was made before a fork, and is the parent's"
        return error

    def poll(self, timeout: int | None = None, flags: int = POLLIN) -> int:
        """Waits up to ``timeout`` ms (None: without limit) for ``flags``; those that are, or 0.

        ZMQError(ENOTSUP) when the socket is closed; ContextTerminated.
        """
        if self.closed:
            raise self._zm_closed_error()
        if self._poller_class is Poller:
            milliseconds = -1 if timeout is None or timeout < 0 else int(timeout)
            ready = zmq_poll(((self, flags),), milliseconds) if flags else []
        else:
            poller = self._poller_class()
            poller.register(self, flags)
            ready = poller.poll(timeout)
        # Ours is the only socket in there, and a shadow may stand for it.
        return ready[0][1] if ready else 0

    def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Self:
        """A connected PAIR that receives the ``events`` (default: all) of this socket.

        They go over ``addr``, an inproc endpoint that is made up when it is None.

        The same one again while it is open. Read it with `recv_monitor_message`.
        """
        if self._monitor_socket is not None:
            if not self._monitor_socket.closed:
                return self._monitor_socket
            self._monitor_socket = None
        if addr is None:
            addr = f"inproc://monitor.s-{self.fileno()}"
        self.monitor(addr, EVENT_ALL if events is None else events)
        monitor: Any = None
        try:
            monitor = self.context.socket(PAIR)
            monitor.connect(addr)
        except BaseException:
            if monitor is not None:
                monitor.close()
            with contextlib.suppress(ZMQError):
                self.monitor(None, 0)
            raise
        self._monitor_socket = monitor
        return self._monitor_socket

    def disable_monitor(self) -> None:
        """Stops the monitor; its PAIR receives EVENT_MONITOR_STOPPED."""
        self._monitor_socket = None
        self.monitor(None, 0)


#: For annotations: a Socket whose calls return what they received.
SyncSocket: TypeAlias = Socket[bytes]
