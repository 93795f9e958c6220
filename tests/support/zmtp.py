"""The bytes of ZMTP, made by hand.

Everything here is written from RFC 13, 15, 23 and 37, and knows nothing of the engine: a frame
that both sides got wrong in the same way would be seen.
"""

from __future__ import annotations

import struct

MORE, LONG, COMMAND = 1, 2, 4


def frame(body: bytes, flags: int = 0) -> bytes:
    """One frame of ZMTP 2.0 and later (RFC 23, "framing")."""
    if len(body) > 255:
        return struct.pack(">BQ", flags | LONG, len(body)) + body
    return struct.pack(">BB", flags, len(body)) + body


def message(*parts: bytes) -> bytes:
    """A whole message of ZMTP 2.0 and later."""
    return b"".join(frame(p, MORE if i < len(parts) - 1 else 0) for i, p in enumerate(parts))


def command(name: bytes, data: bytes = b"") -> bytes:
    return frame(bytes([len(name)]) + name + data, COMMAND)


def properties(pairs: dict[bytes, bytes]) -> bytes:
    return b"".join(bytes([len(k)]) + k + struct.pack(">I", len(v)) + v for k, v in pairs.items())


def parse_properties(data: bytes) -> dict[bytes, bytes]:
    out, at = {}, 0
    while at < len(data):
        n = data[at]
        name = data[at + 1 : at + 1 + n]
        (size,) = struct.unpack_from(">I", data, at + 1 + n)
        at += 5 + n + size
        assert at <= len(data), f"a property ends beyond its command: {data!r}"
        out[name] = data[at - size : at]
    return out


def ready(socket_type: str, identity: bytes | None = None, **extra: bytes) -> bytes:
    pairs = {b"Socket-Type": socket_type.encode()}
    if identity is not None:
        pairs[b"Identity"] = identity
    pairs.update({k.replace("_", "-").encode(): v for k, v in extra.items()})
    return command(b"READY", properties(pairs))


def greeting(minor: int = 1, major: int = 3, mechanism: bytes = b"NULL") -> bytes:
    """64 bytes (RFC 37, "The Greeting")."""
    signature = b"\xff" + bytes(7) + b"\x01" + b"\x7f"
    return signature + bytes([major, minor]) + mechanism.ljust(20, b"\0") + bytes(32)


def ping(ttl_ds: int = 0, context: bytes = b"") -> bytes:
    return command(b"PING", struct.pack(">H", ttl_ds) + context)


TYPE_NUMBERS = {
    "PAIR": 0, "PUB": 1, "SUB": 2, "REQ": 3, "REP": 4, "DEALER": 5, "ROUTER": 6, "PULL": 7,
    "PUSH": 8, "XPUB": 9, "XSUB": 10,
}  # fmt: skip

VERSIONS = ("3.1", "3.0", "2.0", "1.0", "unversioned")


def frame_v1(body: bytes, flags: int = 0) -> bytes:
    """One frame of ZMTP 1.0 (RFC 13): the length counts the flags."""
    size = len(body) + 1
    if size < 255:
        return bytes([size, flags]) + body
    return b"\xff" + struct.pack(">QB", size, flags) + body


def signature(identity: bytes) -> bytes:
    """Ten bytes as libzmq sends them: also a long frame header of ZMTP 1.0."""
    return b"\xff" + struct.pack(">Q", len(identity) + 1) + b"\x7f"


def opening(version: str, kind: str, identity: bytes) -> bytes:
    """All that a peer of the version says before its first message, in its own role."""
    if version == "unversioned":
        return frame_v1(identity)
    number = bytes([TYPE_NUMBERS[kind]])
    if version == "1.0":
        return signature(identity) + b"\x00" + number + frame_v1(identity)
    if version == "2.0":
        return signature(identity) + b"\x01" + number + frame(identity)
    named = identity if kind in ("REQ", "DEALER", "ROUTER") else None
    return signature(identity) + greeting(minor=int(version[2]))[10:] + ready(kind, named)


def answer_to(version: str, kind: str, identity: bytes) -> bytes:
    """All that our side says before its first message, to a peer of the version."""
    if version == "unversioned":
        return signature(identity) + identity
    number = bytes([TYPE_NUMBERS[kind]])
    if version == "1.0":
        return signature(identity) + b"\x03" + number + frame_v1(identity)
    if version == "2.0":
        return signature(identity) + b"\x03" + number + frame(identity)
    named = identity if kind in ("REQ", "DEALER", "ROUTER") else None
    return signature(identity) + greeting()[10:] + ready(kind, named)


def parts_of(version: str, *parts: bytes) -> bytes:
    """A message in the framing of the version."""
    make = frame_v1 if version in ("1.0", "unversioned") else frame
    return b"".join(make(p, MORE if i < len(parts) - 1 else 0) for i, p in enumerate(parts))
