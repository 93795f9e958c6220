"""``PYZMQ_BACKEND=zmq_monocoque.pyzmq_backend``: real pyzmq on this engine.

The same engine as that of `zmq_monocoque`, bound to pyzmq's classes: what it raises is a
`zmq.ZMQError`, what ``recv(copy=False)`` returns is a `zmq.Frame`. Both may live in one process.

pyzmq imports this module while it is itself hardly begun, so nothing of pyzmq is looked at before
it is called. Source: pyzmq's ``zmq/backend/select.py`` for the names that a backend must have.
"""

# ruff: noqa: F401, F822
from __future__ import annotations

import importlib
from errno import EAGAIN, EINTR
from functools import cache
from threading import Event
from typing import Any

from zmq_monocoque.backend import IPC_PATH_MAX_LEN, PYZMQ_DRAFT_API, public_api
from zmq_monocoque.backend._binding import ReleaseEvent, bind
from zmq_monocoque.backend._misc import has, strerror, zmq_errno, zmq_version_info
from zmq_monocoque.constants import Errno, SocketOption

__all__ = [*public_api, "monitored_queue"]

#: The errnos whose exception is a class of its own.
_ERRORS = {
    EAGAIN: "Again",
    EINTR: "InterruptedSystemCall",
    Errno.ETERM: "ContextTerminated",
}


@cache
def _pyzmq(name: str) -> Any:
    """A module of pyzmq. By name and late: here mypy may know nothing of pyzmq."""
    return importlib.import_module(name)


@cache
def _option_types() -> dict[int, str]:
    # Ours, too: pyzmq does not know our own options by name, but by number they work.
    enums = SocketOption, _pyzmq("zmq.constants").SocketOption
    return {int(option): option._opt_type.name for enum in enums for option in enum}


class _Pyzmq:
    """The host for the binding: pyzmq, as it is installed."""

    event = ReleaseEvent

    def error(self, errno: int) -> Exception:
        return _pyzmq("zmq.error").__dict__[_ERRORS.get(errno, "ZMQError")](errno)

    def option_type(self, option: int) -> str:
        return _option_types().get(option, "int")

    def frame_class(self) -> type:
        return _pyzmq("zmq").Frame

    def tracker(self, *watched: Any) -> Any:
        return _pyzmq("zmq").MessageTracker(*watched)

    def finished_tracker(self) -> Any:
        return _pyzmq("zmq")._FINISHED_TRACKER

    def copy_threshold(self) -> int:
        return _pyzmq("zmq").COPY_THRESHOLD

    def gc_refs(self) -> dict[int, Any]:
        return _pyzmq("zmq.utils.garbage").gc.refs

    def gcref(self, obj: Any, event: Event | None) -> Any:
        return _pyzmq("zmq.utils.garbage").gcref(obj, event)


# Context, Socket, Frame, zmq_poll and all others that speak in the terms of the host.
bind(_Pyzmq()).publish(globals())
