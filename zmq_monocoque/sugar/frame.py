"""`Frame`: one message part, with the options-as-attributes and repr of the sugar layer.

The buffer protocol, ``bytes``, ``get`` and ``set`` come from the extension's C type.
"""

from __future__ import annotations

from zmq_monocoque.backend import Frame as FrameBase
from zmq_monocoque.sugar.attrsettr import AttributeSetter

__all__ = ["Frame", "Message"]

_REPR_BYTES_MAX = 16
_REPR_HEAD_BYTES = 12


def _size_text(size: int) -> str:
    """1234567 -> "1MB"; rounds down."""
    if size < 1000:
        return f"{size}B"
    if size < 1 << 20:
        return f"{size // 1000}kB"
    if size < 10**9:
        return f"{size // 10**6}MB"
    return f"{size // 10**9}GB"


class Frame(FrameBase, AttributeSetter):
    """Frame(data=None, track=False, copy=None, copy_threshold=None): one part of a message.

    ``data`` is any C-contiguous buffer. ``copy`` None copies when it is shorter than
    ``copy_threshold`` bytes (default ``zmq.COPY_THRESHOLD``). ``track`` True gives the frame a
    `MessageTracker`. A Frame is itself a writable buffer of bytes of one dimension.

    ``frame[key]`` is ``frame.get(key)``: a property of the message (``zmq.MORE``), or by name one
    of the connection it came from ("Socket-Type", "Peer-Address", "User-Id", and whatever a ZAP
    handler answered). Raises TypeError for str data, ZMQError(EINVAL) for a missing property.
    """

    def __getitem__(self, key: int | str | bytes) -> int | str:
        return self.get(key)

    def __repr__(self) -> str:
        size = len(self)
        if size <= _REPR_BYTES_MAX:
            shown = repr(self.bytes)
        else:
            with memoryview(self) as view:
                shown = f"{bytes(view[:_REPR_HEAD_BYTES])!r}...{_size_text(size)}"
        cls = self.__class__
        # Ours goes by the name under which programs know it; subclasses by their own.
        module = "zmq" if cls.__module__ == __name__ else cls.__module__
        return f"<{module}.{cls.__name__}({shown})>"


# The older name.
Message = Frame
