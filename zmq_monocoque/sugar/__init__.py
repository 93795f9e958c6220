"""The classes that programs use, in pure Python over the backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zmq_monocoque import error as error
from zmq_monocoque.backend import proxy
from zmq_monocoque.constants import DeviceType
from zmq_monocoque.error import (
    Again,
    ContextTerminated,
    DraftFDWarning,
    InterruptedSystemCall,
    NotDone,
    ZMQBaseError,
    ZMQBindError,
    ZMQError,
    ZMQVersionError,
)
from zmq_monocoque.sugar.context import Context, SyncContext
from zmq_monocoque.sugar.frame import Frame, Message
from zmq_monocoque.sugar.poll import Poller, select
from zmq_monocoque.sugar.socket import Socket, SyncSocket
from zmq_monocoque.sugar.stopwatch import Stopwatch
from zmq_monocoque.sugar.tracker import _FINISHED_TRACKER, MessageTracker
from zmq_monocoque.sugar.version import (
    __revision__,
    __version__,
    pyzmq_version,
    pyzmq_version_info,
    zmq_version,
    zmq_version_info,
)

if TYPE_CHECKING:  # see __init__.pyi of the package
    from zmq_monocoque.sugar import attrsettr as attrsettr
    from zmq_monocoque.sugar import context as context
    from zmq_monocoque.sugar import frame as frame
    from zmq_monocoque.sugar import poll as poll
    from zmq_monocoque.sugar import socket as socket
    from zmq_monocoque.sugar import stopwatch as stopwatch
    from zmq_monocoque.sugar import tracker as tracker
    from zmq_monocoque.sugar import version as version


def device(device_type: DeviceType, frontend: Socket[Any], backend: Socket[Any]) -> int:
    """Deprecated: `proxy` of ``frontend`` and ``backend``. ``device_type`` is ignored."""
    return proxy(frontend, backend)


__all__ = [
    "device",
    "Context",
    "SyncContext",
    "DraftFDWarning",
    "ZMQBaseError",
    "ZMQBindError",
    "ZMQError",
    "NotDone",
    "ContextTerminated",
    "InterruptedSystemCall",
    "Again",
    "ZMQVersionError",
    "Frame",
    "Message",
    "Poller",
    "select",
    "Socket",
    "SyncSocket",
    "MessageTracker",
    "_FINISHED_TRACKER",
    "zmq_version",
    "zmq_version_info",
    "pyzmq_version",
    "pyzmq_version_info",
    "__version__",
    "__revision__",
    "Stopwatch",
]
