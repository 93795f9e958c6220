"""The engine as a pyzmq backend: the names that everything else of this package stands on.

The only Python that imports the compiled engine and the extension. Knows none of the sugar, except
at call time, to make its Frames and trackers.
"""

# ruff: noqa: F401
from __future__ import annotations

from typing import Any

from zmq_monocoque.backend._binding import ReleaseEvent, bind
from zmq_monocoque.backend._engine import driver_name, driver_reason
from zmq_monocoque.backend._misc import has, strerror, zmq_errno, zmq_version_info
from zmq_monocoque.backend._socket import IPC_PATH_MAX_LEN
from zmq_monocoque.backend.select import public_api, select_backend
from zmq_monocoque.constants import SocketOption
from zmq_monocoque.error import _error_for
from zmq_monocoque.utils.garbage import gc, gcref

__all__ = public_api

#: The name of this backend, as pyzmq keeps that of its own.
backend = __name__

#: Drafts (CLIENT/SERVER, RADIO/DISH, ...) are not built in.
PYZMQ_DRAFT_API = False


class _Host:
    """This package itself, for the binding."""

    _option_types = {int(option): option._opt_type.name for option in SocketOption}

    error = staticmethod(_error_for)
    event = ReleaseEvent
    gcref = gcref

    def option_type(self, option: int) -> str:
        return self._option_types.get(option, "int")

    def frame_class(self) -> type:
        from zmq_monocoque.sugar.frame import Frame

        return Frame

    def tracker(self, *watched: Any) -> Any:
        from zmq_monocoque.sugar.tracker import MessageTracker

        return MessageTracker(*watched)

    def finished_tracker(self) -> Any:
        from zmq_monocoque.sugar.tracker import _FINISHED_TRACKER

        return _FINISHED_TRACKER

    def copy_threshold(self) -> int:
        import zmq_monocoque

        return zmq_monocoque.COPY_THRESHOLD

    def gc_refs(self) -> dict[int, Any]:
        return gc.refs


# Context, Socket, Frame, zmq_poll and all others that speak in the terms of the host.
bind(_Host()).publish(globals())
