"""The exceptions. Knows the errnos and their texts (through the backend); raises nothing itself."""

from __future__ import annotations

from errno import EINTR
from typing import Any, Literal

from zmq_monocoque.constants import Errno

__all__ = [
    "DraftFDWarning",
    "ZMQBaseError",
    "ZMQBindError",
    "ZMQError",
    "NotDone",
    "ContextTerminated",
    "InterruptedSystemCall",
    "Again",
    "ZMQVersionError",
]


class ZMQBaseError(Exception):
    """Above every exception of this package."""


class ZMQError(ZMQBaseError):
    """A call failed with an errno.

    ``errno`` defaults to the calling thread's last one (`zmq_errno`), and ``msg`` to the text of
    that errno. ``strerror`` may be changed by whoever knows more; ``str(error)`` shows it.
    """

    errno: int | None = None
    strerror: str

    def __init__(self, errno: int | None = None, msg: str | None = None):
        # The backend imports this module, hence late.
        from zmq_monocoque.backend import strerror, zmq_errno

        if errno is None:
            errno = zmq_errno()
        if isinstance(errno, int):
            self.errno = errno
            self.strerror = strerror(errno) if msg is None else msg
        else:
            # As pyzmq: a lone message in the place of the errno.
            self.strerror = str(errno) if msg is None else msg

    def __str__(self) -> str:
        return self.strerror

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({str(self)!r})"


class ZMQBindError(ZMQBaseError):
    """No port was free: see `Socket.bind_to_random_port`."""


class NotDone(ZMQBaseError):
    """`MessageTracker.wait` reached its timeout."""


class ContextTerminated(ZMQError):
    """ETERM: the context was terminated under the call. ``errno`` and ``msg`` are not looked at."""

    def __init__(self, errno: int | Literal["ignored"] = "ignored", msg: str = "ignored") -> None:
        super().__init__(Errno.ETERM)


class Again(ZMQError):
    """EAGAIN: the call would have had to wait, or waited for as long as it may.

    ``errno`` and ``msg`` are not looked at.
    """

    def __init__(self, errno: int | Literal["ignored"] = "ignored", msg: str = "ignored") -> None:
        super().__init__(Errno.EAGAIN)


class InterruptedSystemCall(ZMQError, InterruptedError):
    """EINTR. Calls are retried after a signal, so programs do not see this one.

    ``errno`` and ``msg`` are not looked at.
    """

    errno = EINTR
    strerror: str

    def __init__(self, errno: int | Literal["ignored"] = "ignored", msg: str = "ignored") -> None:
        super().__init__(EINTR)

    def __str__(self) -> str:
        return f"{super().__str__()}: a call that is retried let a signal through (our mistake)"


class ZMQVersionError(NotImplementedError):
    """The feature ``msg`` needs a newer libzmq, ``min_version``, than the one we stand for."""

    min_version: str
    version: str
    msg: str

    def __init__(self, min_version: str, msg: str = "Feature") -> None:
        self.msg = msg
        self.min_version = min_version
        self.version = ".".join(map(str, _libzmq_version()))

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({str(self)!r})"

    def __str__(self) -> str:
        return f"{self.msg} requires libzmq >= {self.min_version}, have {self.version}"


class DraftFDWarning(RuntimeWarning):
    """Never issued here: every socket has an ``FD`` of its own. Kept so that filters import.

    ``msg`` is the text that it would have.
    """

    def __init__(self, msg: str = "") -> None:
        super().__init__(msg or "socket.FD of a thread-safe (draft) socket is experimental")


def _libzmq_version() -> tuple[int, int, int]:
    from zmq_monocoque.backend import zmq_version_info

    return zmq_version_info()


def _error_for(errno: int) -> ZMQError:
    """The exception for an errno; its class is the one that callers catch."""
    if errno == Errno.EAGAIN:
        return Again(errno)
    if errno == Errno.ETERM:
        return ContextTerminated(errno)
    if errno == EINTR:
        return InterruptedSystemCall(errno)
    return ZMQError(errno)


def _add_note(error: BaseException, note: str, *args: Any) -> None:
    """Adds the note that a function of ``backend._notes`` makes, if it makes one, to ``error``.

    Shown by tracebacks of Python 3.11 and later; exceptions had no notes before. Never fails:
    the error stays as it is where descriptors are out (for the import) or the socket is closed.
    """
    if not hasattr(error, "add_note"):
        return
    try:
        from zmq_monocoque.backend import _notes  # only those who fail need it

        text = getattr(_notes, note)(*args)
    except Exception:
        return
    if text:
        error.add_note(text)


def _check_rc(rc: int, errno: int | None = None, error_without_errno: bool = True) -> None:
    """Raises when ``rc`` is -1, by ``errno`` (default: this thread's last one).

    With ``error_without_errno`` False, an errno of 0 is no error.
    """
    if rc != -1:
        return
    if errno is None:
        from zmq_monocoque.backend import zmq_errno

        errno = zmq_errno()
    if errno == 0 and not error_without_errno:
        return
    raise _error_for(errno)


def _check_version(
    min_version_info: tuple[int] | tuple[int, int] | tuple[int, int, int], msg: str = "Feature"
) -> None:
    """Raises ZMQVersionError unless ``zmq_version_info() >= min_version_info``."""
    if _libzmq_version() < min_version_info:
        raise ZMQVersionError(".".join(map(str, min_version_info)), msg)
