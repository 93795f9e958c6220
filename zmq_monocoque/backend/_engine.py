"""Starts the compiled engine: the driver, by what the machine has and the environment asks for.

    ZMQ_MONOCOQUE_DRIVER   io_uring | epoll   default: io_uring where it works
    ZMQ_MONOCOQUE_SPIN     0 | 1              default: 1, spin before sleeping where it pays

Where io_uring cannot be used, epoll takes over in silence; `driver_reason` says why.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from importlib.machinery import PathFinder
from warnings import warn

try:
    from zmq_monocoque._engine_c import ffi, lib
except ImportError as error:
    raise ImportError(
        f"the compiled engine of zmq_monocoque cannot be loaded ({error}); in a source tree, "
        "build it with: python setup.py build_ext --inplace",
        name=error.name,
        path=error.path,
    ) from error

from zmq_monocoque import _ext

__all__ = ["driver_name", "driver_reason", "ffi", "interruptible", "lib", "says_if_inherited"]

#: interruptible(call, *args): an engine call that may wait and answers -EINTR for a signal, one
#: that came just before included.
interruptible = partial(_ext.interruptible, int(lib.zm_api_address()))


#: Wheels have libraries of their own (tools/wheels.py); what is built from source has packages.
_LIBRARIES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_libs")


def library_path(name: str, package: str, extension: str) -> str | None:
    """The shared object with the functions of ``name``: our own, or that of a package."""
    own = os.path.join(_LIBRARIES, f"{name}.so")
    return own if os.path.exists(own) else _extension_path(package, extension)


def _extension_path(package: str, name: str) -> str | None:
    """The shared object of an extension module, found without importing its package."""
    found = PathFinder.find_spec(package, sys.path)
    if found is None or not found.submodule_search_locations:
        return None
    extension = PathFinder.find_spec(f"{package}.{name}", found.submodule_search_locations)
    return extension.origin if extension is not None else None


def _start() -> None:
    path = library_path("liburing", "liburing", "liburing")
    asked = os.environ.get("ZMQ_MONOCOQUE_DRIVER", "")
    rc = lib.zm_engine_init(ffi.NULL if path is None else os.fsencode(path), os.fsencode(asked))
    # Opened when CURVE is first asked for: most programs never do.
    sodium = library_path("libsodium", "nacl", "_sodium")
    if sodium is not None:
        lib.zm_crypto_path(os.fsencode(sodium))
    if rc < 0:
        known = asked == "io_uring"
        warn(
            f"ZMQ_MONOCOQUE_DRIVER={asked}: "
            + (driver_reason() if known else "not one of io_uring, epoll")
            + f"; using {driver_name()}",
            RuntimeWarning,
            stacklevel=2,
        )
    lib.zm_signals_thread(threading.main_thread().native_id)
    os.register_at_fork(after_in_child=_ext.signals_after_fork)
    spin = os.environ.get("ZMQ_MONOCOQUE_SPIN", "")
    if spin in ("0", "1"):
        lib.zm_spin_set(int(spin))
    elif spin:
        warn(f"ZMQ_MONOCOQUE_SPIN={spin}: not one of 0, 1", RuntimeWarning, stacklevel=2)


@contextlib.contextmanager
def says_if_inherited(what: str, *pids: int) -> Iterator[None]:
    """What fails in the block says so when a fork lies between now and the processes ``pids``,
    which made what it is about."""
    try:
        yield
    except Exception as error:
        # The host's, whatever its class is: it has a text that may be added to.
        if any(pid != os.getpid() for pid in pids) and hasattr(error, "strerror"):
            error.strerror += f": the {what} was made before a fork, and is the parent's"
        raise


def driver_name() -> str:
    """Which driver new contexts use: "io_uring" or "epoll"."""
    return ffi.string(lib.zm_driver_name()).decode()


def driver_reason() -> str:
    """Why io_uring is not used, or was not for a socket made later; "" when it is."""
    return ffi.string(lib.zm_driver_reason()).decode(errors="replace")


_start()
