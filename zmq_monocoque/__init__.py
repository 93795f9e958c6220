"""ZeroMQ for Python on an engine of our own, behind pyzmq's interface.

``import zmq_monocoque as zmq`` and go on as before. ``__version__`` is that of the pyzmq whose
interface this is, because programs check it; ours is `monocoque_version()`.
"""

# ruff: noqa: F401, F403, I001
from __future__ import annotations

import os

from zmq_monocoque import backend, constants, error, sugar, utils
from zmq_monocoque.backend import (
    IPC_PATH_MAX_LEN as IPC_PATH_MAX_LEN,
    PYZMQ_DRAFT_API as PYZMQ_DRAFT_API,
    curve_keypair as curve_keypair,
    curve_public as curve_public,
    has as has,
    proxy as proxy,
    proxy_steerable as proxy_steerable,
    strerror as strerror,
    zmq_errno as zmq_errno,
    zmq_poll as zmq_poll,
)
from zmq_monocoque.constants import *
from zmq_monocoque.error import *
from zmq_monocoque.sugar import *
from zmq_monocoque.sugar import __revision__, __version__
from zmq_monocoque.sugar.tracker import _FINISHED_TRACKER
from zmq_monocoque.sugar.version import monocoque_version

#: Bytes from which ``copy=False`` does not copy. May be assigned to; read at every use.
COPY_THRESHOLD = 65536

#: Drafts of libzmq (CLIENT/SERVER, RADIO/DISH, ...) are not built in.
DRAFT_API = backend.has("draft") and backend.PYZMQ_DRAFT_API


def get_includes() -> list[str]:
    """Directories for the compiler of what includes this package's files; the last has zmq.h."""
    package = os.path.dirname(os.path.abspath(__file__))
    return [
        os.path.dirname(package),
        os.path.join(package, "utils"),
        os.path.join(package, "_capi", "include"),
    ]


def get_library_dirs() -> list[str]:
    """Directories for the linker: ``-lzmq`` finds libzmq's C interface over this engine there."""
    return [os.path.join(os.path.dirname(os.path.abspath(__file__)), "_capi", "zmq")]


__all__ = (
    ["get_includes", "COPY_THRESHOLD", "DRAFT_API"]
    + constants.__all__
    + sugar.__all__
    + backend.__all__
)
