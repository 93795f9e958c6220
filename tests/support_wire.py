"""Helpers for tests that speak ZMTP by hand, and for tests over several transports.

Everything here is written from RFC 13, 15, 23 and 37, and knows nothing of the engine: a frame
that both sides got wrong in the same way would be seen.
"""

from __future__ import annotations

import itertools
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from support import TIMEOUT, RawPeer, eventually, monitor_events, port_of

MORE, LONG, COMMAND = 1, 2, 4
TRANSPORTS = ("inproc", "ipc", "tcp")

_names = itertools.count()


def bind_over(s, transport: str, ipc_address: str) -> str:
    """Binds ``s`` to a fresh endpoint of the transport, and returns it."""
    if transport == "inproc":
        address = f"inproc://test-{next(_names)}"
    elif transport == "ipc":
        address = f"{ipc_address}{next(_names)}"
    else:
        address = "tcp://127.0.0.1:*"
    s.bind(address)
    return s.LAST_ENDPOINT.decode()


def fresh_inproc() -> str:
    return f"inproc://test-{next(_names)}"


def monitored(s):
    """A monitor of all events of ``s``; read it with ``support.monitor_events``."""
    m = s.get_monitor_socket()
    m.linger = 0
    m.rcvtimeo = int(TIMEOUT * 1000)
    return m


@contextmanager
def watched(s):
    """The monitor of ``s``, which ends with the block."""
    monitor = monitored(s)
    try:
        yield monitor
    finally:
        s.disable_monitor()
        monitor.close()


def wait_for_event(monitor, event: int, times: int = 1) -> list:
    """Reads until ``event`` came ``times`` times; returns everything that was read."""
    out = []
    for _ in range(times):
        out += monitor_events(monitor, until=event)
    return out


def refused(error: type[Exception], call, *args, **kwargs) -> int:
    """The errno with which ``call`` fails; it must fail with ``error``."""
    try:
        call(*args, **kwargs)
    except error as e:
        return e.errno
    raise AssertionError(f"{call} did not fail")


def never_readable(fd, seconds: float = 0.15) -> bool:
    """For facts of the form "nothing comes", where no later event marks the end."""
    return not select.select([fd], [], [], seconds)[0]


# --- ZMTP 3.x ------------------------------------------------------------------------------------


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


class ZmtpPeer(RawPeer):
    """A raw peer that can frame and unframe, and nothing else."""

    def recv_frame(self) -> tuple[int, bytes]:
        """(flags, body) of the next frame of ZMTP 2.0 and later."""
        (flags,) = self.recv_exactly(1)
        if flags & LONG:
            (size,) = struct.unpack(">Q", self.recv_exactly(8))
        else:
            (size,) = self.recv_exactly(1)
        return flags, self.recv_exactly(size)

    def recv_command(self) -> tuple[bytes, bytes]:
        """(name, data) of the next frame, which must be a command."""
        flags, body = self.recv_frame()
        assert flags & COMMAND, f"no command: {flags} {body!r}"
        return body[1 : 1 + body[0]], body[1 + body[0] :]

    def recv_message(self) -> list[bytes]:
        """The parts of the next message; no command may come in between."""
        parts = []
        while True:
            flags, body = self.recv_frame()
            assert not flags & COMMAND, f"a command where a message should be: {body!r}"
            parts.append(body)
            if not flags & MORE:
                return parts

    def send_message(self, *parts: bytes) -> None:
        self.send(message(*parts))

    def handshake(
        self, socket_type: str, identity: bytes | None = None, minor: int = 1, **extra: bytes
    ) -> dict[bytes, bytes]:
        """The NULL handshake of ZMTP 3.x; returns the properties of the other side's READY."""
        self.send(greeting(minor))
        theirs = self.recv_exactly(64)
        assert theirs[0] == 0xFF and theirs[9] & 1 and theirs[10] == 3, theirs
        self.send(ready(socket_type, identity, **extra))
        name, data = self.recv_command()
        assert name == b"READY"
        return parse_properties(data)

    def round_trip(self) -> None:
        """Returns once the other side has read everything that was sent before."""
        self.send(ping(0, b"mark"))
        while True:
            flags, body = self.recv_frame()
            if flags & COMMAND and body == b"\x04PONGmark":
                return

    def nothing_comes(self, seconds: float = 0.15) -> bool:
        return never_readable(self.sock, seconds)


@contextmanager
def zmtp_connect(s) -> Iterator[ZmtpPeer]:
    """A raw peer connected to the tcp endpoint that ``s`` bound last."""
    with ZmtpPeer.connect(port_of(s)) as peer:
        yield peer


class RawListener:
    """A listening TCP socket on an ephemeral loopback port."""

    def __init__(self, port: int = 0):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(16)
        self.sock.settimeout(TIMEOUT)
        self.port = self.sock.getsockname()[1]
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.accepted: list[ZmtpPeer] = []

    def accept(self) -> ZmtpPeer:
        peer = ZmtpPeer(self.sock.accept()[0])
        self.accepted.append(peer)
        return peer

    def nobody_comes(self, seconds: float = 0.2) -> bool:
        return never_readable(self.sock, seconds)

    def __enter__(self) -> RawListener:
        return self

    def __exit__(self, *_) -> None:
        for peer in self.accepted:
            peer.close()
        self.sock.close()


def free_port() -> int:
    """A tcp port that nobody listens on, just now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def drain(s, *, multipart: bool = False) -> list:
    """Everything that ``s`` has now."""
    import errno

    out = []
    while True:
        try:
            out.append(s.recv_multipart(1) if multipart else s.recv(1))
        except Exception as e:
            if getattr(e, "errno", None) != errno.EAGAIN:
                raise
            return out


def events_become(s, wanted: int) -> None:
    """Reads EVENTS until it says ``wanted`` (libzmq attaches peers only inside such calls)."""
    eventually(lambda: s.events == wanted)


# --- ZMTP 2.0 and 1.0, and how bytes arrive -------------------------------------------------------

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


SOCK_DIAG_BY_FAMILY, NETLINK_SOCK_DIAG, LISTENING = 20, 4, 10


def waiting_at(netlink: socket.socket, here: tuple[str, int], there: tuple[str, int]) -> int:
    """Bytes in the receive queue of the TCP connection from ``here`` (sock_diag(7)); 0: no such."""
    ends = struct.pack(">HH", here[1], there[1])
    ends += socket.inet_aton(here[0]).ljust(16, b"\0") + socket.inet_aton(there[0]).ljust(16, b"\0")
    question = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
    question += ends + struct.pack("=Iq", 0, -1)  # any interface, any cookie
    netlink.send(struct.pack("=IHHII", 16 + len(question), SOCK_DIAG_BY_FAMILY, 1, 0, 0) + question)
    answer = netlink.recv(4096)
    if struct.unpack_from("=H", answer, 4)[0] != SOCK_DIAG_BY_FAMILY or answer[17] == LISTENING:
        return 0
    return struct.unpack_from("=I", answer, 72)[0]


def wait_until_taken(sock: socket.socket) -> None:
    """Returns once the other end, in this machine, has read all that was sent on ``sock``."""
    here, there = sock.getpeername(), sock.getsockname()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as netlink:
        eventually(lambda: not waiting_at(netlink, here, there), step=0.0002)


def deliver(peer: RawPeer, data: bytes, cuts: range | list[int]) -> None:
    """Sends ``data`` so that the other side reads it in pieces that end at ``cuts``."""
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    at = 0
    for cut in [*cuts, len(data)]:
        if at < cut <= len(data):
            peer.send(data[at:cut])
            at = cut
            wait_until_taken(peer.sock)
