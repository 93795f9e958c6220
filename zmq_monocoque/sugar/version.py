"""Which pyzmq and which libzmq we stand for.

Programs branch on these numbers, so they name what we behave like. Our own version is
`monocoque_version` (``zmq_monocoque._version.__version__``).
"""

from __future__ import annotations

from zmq_monocoque._version import __version__ as _own_version
from zmq_monocoque.backend import zmq_version_info

__all__ = [
    "zmq_version",
    "zmq_version_info",
    "pyzmq_version",
    "pyzmq_version_info",
    "__version__",
    "__revision__",
]

VERSION_MAJOR = 27
VERSION_MINOR = 3
VERSION_PATCH = 0
VERSION_EXTRA = ""
#: The version of the pyzmq whose API this is: programs look at it. Ours is `monocoque_version`.
__version__ = f"{VERSION_MAJOR}.{VERSION_MINOR}.{VERSION_PATCH}{VERSION_EXTRA}"
#: Of pyzmq's development versions; empty.
__revision__ = ""
version_info: tuple[int, int, int] | tuple[int, int, int, float] = (
    VERSION_MAJOR,
    VERSION_MINOR,
    VERSION_PATCH,
)


def pyzmq_version() -> str:
    """The pyzmq whose API this is, as a string."""
    return __version__


def pyzmq_version_info() -> tuple[int, int, int] | tuple[int, int, int, float]:
    """The pyzmq whose API this is, as numbers: (27, 3, 0)."""
    return version_info


def zmq_version() -> str:
    """The libzmq whose behaviour this is, as a string: "4.3.5"."""
    return ".".join(map(str, zmq_version_info()))


def monocoque_version() -> str:
    """The version of zmq_monocoque."""
    return _own_version
