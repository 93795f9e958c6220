"""Peers that are plain TCP sockets."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .sockets import port_of
from .waiting import TIMEOUT, eventually, never_readable
from .zmtp import COMMAND, LONG, MORE, greeting, message, parse_properties, ping, ready


class RawPeer:
    """A plain TCP socket: bytes, and frames of ZMTP 2.0 and later by hand."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        sock.settimeout(TIMEOUT)
        if sock.family != socket.AF_UNIX:
            # Else a second small send waits up to 40 ms for the acknowledgement of the first.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def connect(cls, port: int) -> RawPeer:
        return cls(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT))

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def recv_exactly(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            piece = self.sock.recv(n - len(data))
            if not piece:
                raise EOFError(f"closed after {data!r}")
            data += piece
        return data

    def closed_by_peer(self, timeout: float = TIMEOUT) -> bool:
        """Reads on until the end of the stream (True) or the timeout (False)."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.sock], [], [], left)[0]:
                return False
            try:
                if not self.sock.recv(65536):
                    return True
            except ConnectionError:
                return True
        return False

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *_) -> None:
        self.close()

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


def disconnected(s, peer: RawPeer) -> bool:
    """Has ``s`` closed its connection to this peer? Calls it, since libzmq ends pipes in calls."""
    s.get(15)  # EVENTS
    return peer.closed_by_peer(0.02)


class RawListener:
    """A listening TCP socket on 127.0.0.1. What it accepted is closed with it."""

    def __init__(self, port: int = 0, backlog: int = 16):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(backlog)
        self.port = self.sock.getsockname()[1]
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.accepted: list[RawPeer] = []

    def accept(self, timeout: float = TIMEOUT) -> RawPeer:
        self.sock.settimeout(timeout)
        peer = RawPeer(self.sock.accept()[0])
        self.accepted.append(peer)
        return peer

    def nobody_comes(self, within: float = 0.2) -> bool:
        return never_readable(self.sock, within)

    def close(self) -> None:
        for peer in self.accepted:
            peer.close()
        self.sock.close()

    def __enter__(self) -> RawListener:
        return self

    def __exit__(self, *_) -> None:
        self.close()


@contextmanager
def zmtp_connect(s) -> Iterator[RawPeer]:
    """A raw peer connected to the tcp endpoint that ``s`` bound last."""
    with RawPeer.connect(port_of(s)) as peer:
        yield peer


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


def listed_at(here: tuple[str, int], there: tuple[str, int]) -> int:
    """The same from the list of all connections."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, own, other, _, queues, *_ = line.split()
        if own.endswith(f":{here[1]:04X}") and other.endswith(f":{there[1]:04X}"):
            return int(queues.partition(":")[2], 16)
    return 0


def wait_until_taken(sock: socket.socket) -> None:
    """Returns once the other end, in this machine, has read all that was sent on ``sock``."""
    here, there = sock.getpeername(), sock.getsockname()
    try:
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG)
    except OSError:  # under qemu
        eventually(lambda: not listed_at(here, there), step=0.0002)
        return
    with netlink:
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
