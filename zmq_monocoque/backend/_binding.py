"""Binds the engine and the extension to one package's classes.

The engine answers numbers. A *host* says what they are to become: zmq_monocoque's own exceptions,
Frames and trackers, or those of a real pyzmq that runs on this engine (PYZMQ_BACKEND). `bind` is
called once for each host, and everything that it makes raises and returns that host's objects.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from errno import EINTR
from threading import Event
from typing import Any, Protocol

from zmq_monocoque import _ext
from zmq_monocoque.backend._context import ContextMixin
from zmq_monocoque.backend._engine import lib
from zmq_monocoque.backend._misc import curve, devices
from zmq_monocoque.backend._poll import make_zmq_poll
from zmq_monocoque.backend._socket import SocketMixin

__all__ = ["Backend", "Host", "ReleaseEvent", "bind"]


class Host(Protocol):
    """What a package gives, for the engine to speak in its terms.

    All of it is asked at call time, never while the host is still being imported.
    """

    def error(self, errno: int) -> Exception:
        """The exception for an errno, of the class that callers catch."""

    def option_type(self, option: int) -> str:
        """The type of a socket option: "int", "int64", "bytes" or "fd" ("int" when unknown)."""

    def frame_class(self) -> type:
        """What ``recv(copy=False)`` returns."""

    def event(self) -> Event:
        """A new event, for a tracker to wait for: a `ReleaseEvent`."""

    def tracker(self, *watched: Any) -> Any:
        """A tracker that is done once all of ``watched`` are: an event, or other trackers."""

    def finished_tracker(self) -> Any:
        """The tracker that every send which copied returns."""

    def copy_threshold(self) -> int:
        """``zmq.COPY_THRESHOLD`` now: a program may change it."""

    def gc_refs(self) -> dict[int, Any]:
        """``zmq.utils.garbage.gc.refs``: what shows the memory that was lent to the engine."""

    def gcref(self, obj: Any, event: Event | None) -> Any:
        """An entry of `gc_refs`."""


class ReleaseEvent(Event):
    """An event that the extension sets. Who waits for it also finishes what the engine let go of:
    the main thread could not do that as a pending call while it sleeps here."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set() or _ext.wait_event(self, timeout)

    def set(self) -> None:
        super().set()
        _ext.wake_waiters()


# Not typing's NamedTuple, for which Python 3.14 imports annotationlib, and ast for that.
class Backend(
    namedtuple(
        "Backend",
        "Context Socket Frame Message zmq_poll proxy proxy_steerable monitored_queue"
        " curve_keypair curve_public",
    )
):
    """The public names of a pyzmq backend that depend on the host."""

    def publish(self, module: dict[str, Any]) -> None:
        """Makes them names of ``module``, its globals: there pickles find them again."""
        for name, value in self._asdict().items():
            value.__module__, value.__qualname__ = module["__name__"], value.__name__
            module[name] = value


def bind(host: Host) -> Backend:
    """The engine in the terms of ``host``."""

    def check(answer: int) -> int:
        """The answer of an engine call, or the exception for it."""
        if answer >= 0:
            return answer
        lib.zm_set_last_errno(-answer)
        raise host.error(-answer)

    def retry(call: Callable[..., int], *args: Any) -> int:
        """`check` of a call that a signal may end early; Python's handlers run in between."""
        while (answer := call(*args)) == -EINTR:
            pass
        return check(answer)

    ext_socket, ext_frame = _ext.bind(int(lib.zm_api_address()), host)
    context = _bound(ContextMixin, (), "Context", check, _zm_binding=ext_socket._zm_binding)
    socket = _bound(SocketMixin, (ext_socket,), "Socket", check, _zm_context_class=context)
    proxy, proxy_steerable, monitored_queue = devices(socket, retry)
    curve_keypair, curve_public = curve(host.error)
    return Backend(
        Context=context,
        Socket=socket,
        Frame=ext_frame,
        Message=ext_frame,
        zmq_poll=make_zmq_poll(ext_socket._zm_binding),
        proxy=proxy,
        proxy_steerable=proxy_steerable,
        monitored_queue=monitored_queue,
        curve_keypair=curve_keypair,
        curve_public=curve_public,
    )


def _bound(
    mixin: type, bases: tuple[type, ...], name: str, check: Callable[[int], int], **namespace: Any
) -> type:
    """A class of ``mixin`` that raises the host's errors."""
    namespace |= {
        "__module__": mixin.__module__,
        "__qualname__": name,
        "__doc__": mixin.__doc__,
        "_zm_check": staticmethod(check),
    }
    return type(name, (mixin, *bases), namespace)
