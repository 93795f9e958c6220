"""A target process, honest peers, and the raw sockets that attack: see conftest.py for fixtures."""

from __future__ import annotations

import math
import os
import pickle
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support import TIMEOUT, RawPeer, eventually
from support.security import CLIENT, SERVER, make_client, make_server
from support.zmtp import properties

from zmq_monocoque.utils import z85

HERE = Path(__file__).resolve().parent
MB = 1 << 20

UNSPECIFIED, UNEXPECTED_COMMAND, INVALID_SEQUENCE, KEY_EXCHANGE = range(0x10000000, 0x10000004)
MALFORMED_COMMAND, MALFORMED_MESSAGE, MALFORMED_HELLO, MALFORMED_INITIATE = range(
    0x10000011, 0x10000015
)
MALFORMED_ERROR, MALFORMED_READY, MALFORMED_WELCOME, INVALID_METADATA = range(
    0x10000015, 0x10000019
)
CRYPTOGRAPHIC, MECHANISM_MISMATCH = 0x11000001, 0x11000002

NO_DETAIL = "HANDSHAKE_FAILED_NO_DETAIL"
PROTOCOL = "HANDSHAKE_FAILED_PROTOCOL"
AUTH = "HANDSHAKE_FAILED_AUTH"

#: The keys of support/security.py as 32 bytes each, for CURVE by hand.
SERVER_KEYS, CLIENT_KEYS = (
    (z85.decode(public), z85.decode(secret)) for public, secret in (SERVER, CLIENT)
)
#: What a raw peer says of itself.
US = properties({b"Socket-Type": b"DEALER", b"Identity": b""})


class _Options:
    """Collects what make_client and make_server set."""


def secured(mechanism: str, as_server: bool) -> dict:
    """Options, by name, of one side of the mechanism."""
    options = _Options()
    if as_server:
        make_server(options, mechanism, SERVER)
    else:
        make_client(options, mechanism, CLIENT, SERVER[0])
    return vars(options)


class Remote:
    """A process that answers calls, pickled over its pipes; killed when it does not answer."""

    def __init__(self, script: str, *args: object):
        self._command = [sys.executable, str(HERE / script), *map(str, args)]
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def call(self, name: str, *args, **options):
        process = self.process
        assert process.stdin and process.stdout
        assert process.poll() is None, f"it ended with {process.returncode}"
        pickle.dump((name, args, options), process.stdin)
        process.stdin.flush()
        if not select.select([process.stdout], [], [], 4 * TIMEOUT)[0]:
            self.kill()
            raise AssertionError(f"{name} does not come back over there")
        try:
            good, answer = pickle.load(process.stdout)
        except EOFError:
            raise AssertionError(f"it ended in {name} with {process.wait(TIMEOUT)}") from None
        assert good, f"{name}: {answer}"
        return answer

    def revive(self) -> None:
        """After a failed test: another process."""
        self.kill()
        self._close_pipes()
        self._start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT)

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            try:
                pipe.close()
            except BrokenPipeError:
                pass

    def close(self) -> int:
        """Asks it to end; its exit status."""
        assert self.process.stdin
        try:
            self.process.stdin.close()
            return self.process.wait(TIMEOUT)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.kill()
            return self.process.returncode
        finally:
            self._close_pipes()


class Target:
    """Our socket in another process. Options are set by name before it is bound or connects."""

    def __init__(self, remote: Remote):
        self.remote = remote
        self.port = 0
        self.endpoint = ""

    def open(self, kind: str = "ROUTER", zap: int = 0, **options) -> None:
        """``zap``: the status that a handler gives everybody; 0: no handler; -1: one that is stuck,
        until ``answer`` is called."""
        options = {"backlog": 1000, **options}
        self.remote.call("open", kind, options, zap)
        self.endpoint = self.remote.call("bind")
        self.port = int(self.endpoint.rsplit(":", 1)[1])

    def attack(self) -> RawPeer:
        return RawPeer.connect(self.port)

    @contextmanager
    def attackers(self, count: int) -> Iterator[list[RawPeer]]:
        """So many raw peers, connected; closed at the end."""
        peers: list[RawPeer] = []
        try:
            for _ in range(count):
                peers.append(self.attack())
            yield peers
        finally:
            for peer in peers:
                peer.close()

    def state(self) -> dict:
        return self.remote.call("state")

    def count(self, event: str, value: int = 0) -> int:
        return self.state()["events"].get((event, value), 0)

    def told(self, event: str, value: int = 0, times: int = 1) -> None:
        """Waits until the monitor has told ``event`` with ``value`` so often."""
        try:
            eventually(lambda: self.count(event, value) >= times)
        except AssertionError:
            raise AssertionError(
                f"{event} {value:#x} not {times} times: {self.state()['events']}"
            ) from None

    def left_with(self, connections: int) -> dict:
        """Waits until there are no more connections than so many; the state then."""

        def there():
            state = self.state()
            return state if state["connections"] <= connections else None

        try:
            return eventually(there)
        except AssertionError:
            raise AssertionError(f"more than {connections} connections: {self.state()}") from None

    def stays_small(self, before: dict, megabytes: float, blocks: int = 200) -> None:
        """Waits until it is no larger than ``before`` by more than so much resident memory and so
        many allocations.

        A sanitizer's runtime keeps what was freed: there, only allocations are compared.
        """
        most = before["rss"] + megabytes * MB if "ZM_SANITIZE" not in os.environ else math.inf

        def small():
            now = self.state()
            return now["blocks"] <= before["blocks"] + blocks and now["rss"] <= most

        try:
            eventually(small)
        except AssertionError:
            now = self.state()
            grown = {name: now[name] - before[name] for name in ("blocks", "rss", "connections")}
            raise AssertionError(f"grown by {grown}") from None


class Honest:
    """An honest peer in real pyzmq, and what it got before and during an attack."""

    def __init__(self, remote: Remote, record: Callable[[str, object], None]):
        self.remote = remote
        self._record = record

    def open(self, endpoint: str, kind: str = "DEALER", window: int = 50, **options) -> None:
        """``window``: messages that are on their way at once."""
        self.remote.call("open", kind, endpoint, window, options)

    def alone(self, seconds: float = 0.1) -> float:
        """Messages a second without an attack."""
        self.remote.call("start")
        time.sleep(seconds)
        return self.remote.call("stop")[1]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While the block runs, messages go there and back; every one must, and in order."""
        before = self.alone()
        self.remote.call("start")
        try:
            yield
        finally:
            count, rate = self.remote.call("stop")
        assert count > 0
        self._record("honest messages a second", f"{before:.0f} before, {rate:.0f} during")
        print(f"honest messages a second: {before:.0f} before, {rate:.0f} during")


def reset(peer: RawPeer) -> None:
    """Closes with RST, whatever is in the buffers."""
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def send_anyhow(peer: RawPeer, data: bytes) -> bool:
    """Sends to a peer that may have gone; did it take all?"""
    try:
        peer.send(data)
    except (ConnectionError, TimeoutError):
        return False
    return True


def all_closed(peers: list[RawPeer]) -> bool:
    return all(peer.closed_by_peer() for peer in peers)


def flood(peer: RawPeer, piece: bytes, megabytes: float) -> bool:
    """Sends ``piece`` again and again, reading nothing; did it all go?"""
    block = piece * max(1, 65536 // len(piece))
    for _ in range(int(megabytes * MB / len(block)) + 1):
        if not send_anyhow(peer, block):
            return False
    return True


def flood_reading(peer: RawPeer, piece: bytes, megabytes: float) -> None:
    """As flood, and reads what is answered, so that nothing has to wait for that."""
    block = piece * max(1, 65536 // len(piece))
    left = int(megabytes * MB / len(block)) + 1
    view = memoryview(block)
    peer.sock.setblocking(False)
    try:
        while left:
            readable, writable, _ = select.select([peer.sock], [peer.sock], [], TIMEOUT)
            assert readable or writable
            if readable and not peer.sock.recv(1 << 20):
                raise EOFError("closed")
            if writable:
                view = view[peer.sock.send(view) :]
                if not view:
                    view = memoryview(block)
                    left -= 1
    finally:
        peer.sock.settimeout(TIMEOUT)
