"""Backends by name. This package has one, and pyzmq's choice among several is not its matter: the
module is here for programs that look at a backend themselves."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["public_api", "select_backend"]

#: The names that pyzmq reads of a backend, `monitored_queue` apart.
public_api = [
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


def select_backend(name: str) -> dict[str, Any]:
    """The names of a backend, by what its module has for them: `public_api` and
    ``monitored_queue``.

    ImportError when there is no such module or its import fails; AttributeError when it lacks one
    of the names.
    """
    try:
        module = import_module(name)
    except ImportError:
        raise
    except Exception as error:
        raise ImportError(f"Importing {name} failed with {error}") from error
    return {wanted: getattr(module, wanted) for wanted in ("monitored_queue", *public_api)}
