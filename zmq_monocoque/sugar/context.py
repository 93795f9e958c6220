"""`Context`: makes sockets, keeps count of them, and ends them all.

Knows which options are the context's own and which are defaults for its sockets; the engine's
side of a context is the backend's.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from errno import EFAULT
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload
from warnings import warn
from weakref import WeakSet

from zmq_monocoque.backend import Context as ContextBase
from zmq_monocoque.constants import LINGER, ContextOption, Errno, SocketOption
from zmq_monocoque.error import ZMQError
from zmq_monocoque.sugar.attrsettr import AttributeSetter
from zmq_monocoque.sugar.socket import Socket, SyncSocket
from zmq_monocoque.utils.interop import cast_int_addr

if TYPE_CHECKING:
    from zmq_monocoque._typing import Self

__all__ = ["Context", "SyncContext"]

# At exit nobody is left to close sockets, and term() would wait for that. At the very end modules
# are empty, this one (then it is None) and those that others are made of.
_exiting = False


@atexit.register
def _notice_atexit() -> None:
    global _exiting
    _exiting = True


if TYPE_CHECKING:
    _ContextType = TypeVar("_ContextType", bound="Context[Any]")
    _SocketType = TypeVar("_SocketType", bound="Socket[Any]", covariant=True)
else:  # as in socket.py
    _ContextType = TypeVar("_ContextType")
    _SocketType = TypeVar("_SocketType", covariant=True)


class Context(ContextBase, AttributeSetter, Generic[_SocketType]):
    """Context(io_threads=1): the sockets of a program, and the engine's threads under them.

    ``Context(other)``, ``Context(shadow=other)`` and `shadow` make a second object for a context
    that exists; it does not end that one when it is collected. Of a closed one they make a new one.

    An attribute is an option of the context (``max_sockets``) or else the default of an option
    for every socket made later (``linger``); the latter are in ``sockopts``. At the end of a
    ``with`` block it is destroyed: sockets that are still open are closed, and it waits as long as
    their LINGER allows for what they have not sent yet.
    Raises ZMQError(EINVAL) when ``io_threads`` is negative.
    """

    sockopts: dict[int, Any]
    _instance: Any = None
    _instance_lock = Lock()
    _instance_pid: int | None = None
    _shadow = False
    _shadow_obj: Context[_SocketType] | int | None = None
    _warn_destroy_close = False
    _sockets: WeakSet[Any]
    # The same by their numbers. When we and they are collected as one cycle, the weak references
    # are gone before __del__ is called, and term() would wait for sockets that nobody can close.
    _zm_handles: set[int]
    # Socket's own class stands for the type variable until a subclass says otherwise.
    _socket_class: type[_SocketType] = Socket  # type: ignore[assignment]
    _repr_cls = "zmq.Context"

    @overload
    def __init__(self: SyncContext, io_threads: int = 1) -> None: ...
    @overload
    def __init__(self: SyncContext, io_threads: Context[Any], /) -> None: ...
    @overload
    def __init__(self: SyncContext, *, shadow: Context[Any] | int) -> None: ...

    def __init__(
        self: SyncContext, io_threads: int | Context[Any] = 1, shadow: Context[Any] | int = 0
    ) -> None:
        if isinstance(io_threads, Context):
            shadow, io_threads = io_threads, 1
        self.sockopts = {}
        self._sockets = WeakSet()
        self._zm_handles = set()
        self._shadow_obj = shadow or None
        address = 0
        if isinstance(shadow, Context):
            address = shadow.underlying  # 0 of a closed one: this is a new one then
        elif shadow:
            address = cast_int_addr(shadow)
        self._shadow = bool(address)
        super().__init__(io_threads=io_threads, shadow=address)

    def __del__(self) -> None:
        if not self._shadow and _exiting is False and not self.closed:
            self._warn_destroy_close = True
            # At the very end of the interpreter, modules are empty already.
            if warn is not None:
                warn(f"Unclosed context {self}", ResourceWarning, stacklevel=2, source=self)
            self._zm_destroy_unless_gone()

    def _zm_destroy_unless_gone(self) -> None:
        """`destroy`, for a context whose shadow may have ended it already."""
        try:
            self.destroy()
        except ZMQError as error:
            if error.errno != EFAULT:
                raise

    def __repr__(self) -> str:
        cls = self.__class__
        name = cls.__dict__.get("_repr_cls", f"{cls.__module__}.{cls.__name__}")
        closed = " closed" if self.closed else ""
        count = len(self._sockets)
        sockets = f"{count} socket{'s' if count > 1 else ''}" if count else ""
        return f"<{name}({sockets}) at {hex(id(self))}{closed}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        # Sockets that are open here were forgotten: closing them is a courtesy.
        self._warn_destroy_close = True
        self.destroy()

    def __copy__(self, memo: Any = None) -> Self:
        """A shadow: there is only one context."""
        return self.__class__(shadow=self)

    __deepcopy__ = __copy__

    @classmethod
    def shadow(cls: type[_ContextType], address: int | Context[Any]) -> _ContextType:
        """Another object for the context ``address``: a Context, or its ``underlying``.

        ZMQError(EFAULT) from the first use when there is no such context.
        """
        return cls(shadow=address)

    @classmethod
    def shadow_pyczmq(cls, ctx: Any) -> Self:
        """Not possible: ``ctx`` is a context of libzmq's, and none of this engine's.

        ModuleNotFoundError, as in pyzmq where pyczmq is not installed.
        """
        raise ModuleNotFoundError("No module named 'pyczmq'", name="pyczmq")

    @classmethod
    def instance(cls: type[_ContextType], io_threads: int = 1) -> _ContextType:
        """The process-wide context, made when there is none: at first, when it was closed, after
        a fork. Subclasses share it unless they say ``_instance = None``. Safe in any thread.
        ``io_threads``: as many as `Context` is given, when it is made now.
        """
        if not cls._zm_instance_is_usable():
            with cls._instance_lock:
                if not cls._zm_instance_is_usable():
                    cls._instance = cls(io_threads=io_threads)
                    cls._instance_pid = os.getpid()
        return cls._instance

    @classmethod
    def _zm_instance_is_usable(cls) -> bool:
        return (
            cls._instance is not None
            and cls._instance_pid == os.getpid()
            and not cls._instance.closed
        )

    def term(self, timeout: int | None = None) -> None:
        """Ends the context: waits until every socket is closed and has sent what it lingers over.

        Blocked calls on sockets end with ContextTerminated. Prefer `destroy`, which closes the
        sockets first. A signal handler may raise out of it; it may then be called again.

        ``timeout`` in ms (ours; None: without limit): after that ZMQError(ETIMEDOUT), whose text
        names the sockets that are open or linger, with the messages they hold. The context stays
        shut down, and term() may be called again. Without a limit, that text is a warning of the
        logger ``zmq_monocoque`` after 5 s. Source: zmq_ctx_term(3).
        """
        super().term(timeout)

    def destroy(self, linger: int | None = None) -> None:
        """Closes every socket, with ``linger`` ms for each if given, and ends the context.

        Sockets are not to be in use in other threads.
        """
        if self.closed:
            return
        # Taken out one by one: a thread that makes a socket just now may add it to the old set.
        sockets, self._sockets = self._sockets, WeakSet()
        while sockets:
            try:
                socket = sockets.pop()
            except KeyError:
                break  # the last one was collected
            if not socket.closed:
                if self._warn_destroy_close and warn is not None:
                    warn(
                        f"Destroying context with unclosed socket {socket}",
                        ResourceWarning,
                        stacklevel=3,
                        source=socket,
                    )
                # Not as an argument: a subclass may have written a close() that takes none.
                if linger is not None:
                    socket.setsockopt(LINGER, linger)
                socket.close()
        handles, self._zm_handles = self._zm_handles, set()
        while handles:
            try:
                Socket.shadow(handles.pop()).close(linger=linger)
            except ZMQError:
                pass  # closed through another object
        self.term()

    def _add_socket(self, socket: Any) -> None:
        """Has `destroy` close the socket, too."""
        self._sockets.add(socket)
        self._zm_handles.add(socket.underlying)

    def _rm_socket(self, socket: Any) -> None:
        """Forgets a socket that is closed."""
        self._zm_handles.discard(socket.underlying)
        if _exiting is False:
            self._sockets.discard(socket)

    def socket(
        self: _ContextType,
        socket_type: int,
        socket_class: Callable[[_ContextType, int], _SocketType] | None = None,
        **kwargs: Any,
    ) -> _SocketType:
        """A new socket of ``socket_type``, a `SocketType`; defaults in ``sockopts`` are set where
        they fit.

        ``socket_class`` (default: this class's) is called with the context, the type and
        ``kwargs``. Raises ZMQError: EINVAL for an unknown type, EMFILE at MAX_SOCKETS, ENOTSUP
        when the context is closed, EFAULT when another object ended it. Source: zmq_socket(3).
        """
        if self.closed:
            raise ZMQError(Errno.ENOTSUP)
        make: Any = self._socket_class if socket_class is None else socket_class
        try:
            socket = make(self, socket_type, **kwargs)
        except ZMQError as error:
            if error.errno == EFAULT and self._zm_pid != os.getpid():
                error.strerror += ": the context was made before a fork, and is the parent's"
            raise
        try:
            for option, value in self.sockopts.items():
                try:
                    socket.setsockopt(option, value)
                except ZMQError:
                    # Not an option of this type of socket.
                    pass
            self._add_socket(socket)
        except BaseException:
            socket.close()
            raise
        return socket

    def setsockopt(self, opt: int, value: Any) -> None:
        """Sets the default of the socket option ``opt`` to ``value``, for sockets made later."""
        self.sockopts[opt] = value

    def getsockopt(self, opt: int) -> Any:
        """The default of the socket option ``opt``; KeyError when none was set."""
        return self.sockopts[opt]

    def _set_attr_opt(self, name: str, opt: int, value: Any) -> None:
        if name in ContextOption.__members__:
            self.set(opt, value)
        elif name in SocketOption.__members__:
            self.sockopts[opt] = value
        else:
            raise AttributeError(f"No such context or socket option: {name}")

    def _get_attr_opt(self, name: str, opt: int) -> Any:
        if name in ContextOption.__members__:
            return self.get(opt)
        try:
            return self.sockopts[opt]
        except KeyError:
            raise AttributeError(name) from None

    def __delattr__(self, key: str) -> None:
        """Takes back the default of a socket option."""
        if key in self.__dict__:
            object.__delattr__(self, key)
            return
        name = key.upper()
        option = SocketOption.__members__.get(name)
        if option is None:
            raise AttributeError(f"No such socket option: {name!r}")
        try:
            del self.sockopts[option]
        except KeyError:
            raise AttributeError(name) from None

    def __dir__(self) -> list[str]:
        return [*{*dir(self.__class__), *self.__dict__, *ContextOption.__members__}]


def _instance_lock_anew() -> None:
    # Another thread of the parent may have held it.
    Context._instance_lock = Lock()


os.register_at_fork(after_in_child=_instance_lock_anew)

#: For annotations: a Context whose sockets are synchronous.
SyncContext: TypeAlias = Context[SyncSocket]
