"""Sockets of the module under test: endpoints, what they hold, what they refuse."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import struct
import time

import pytest

from .waiting import TIMEOUT, eventually

TRANSPORTS = ("inproc", "ipc", "tcp")

_names = itertools.count()


def bind(s, address: str = "tcp://127.0.0.1:*") -> str:
    """Binds ``s``; the endpoint for others to connect to."""
    s.bind(address)
    return s.LAST_ENDPOINT.decode()


def binds(zmq, s, address: str) -> bool:
    """Binds ``s``; False: somebody has the address."""
    try:
        s.bind(address)
    except zmq.ZMQError as error:
        assert error.errno == errno.EADDRINUSE
        return False
    return True


def rebind(zmq, s, address: str) -> None:
    """Binds an address that an earlier socket may be just about to give up."""
    eventually(lambda: binds(zmq, s, address))


def fresh_inproc() -> str:
    """An inproc name that no other test uses."""
    return f"inproc://fresh-{next(_names)}"


def address_for(transport: str, ipc_address: str) -> str:
    """Something to bind to; only for inproc and ipc may it also be connected to beforehand."""
    return {"tcp": "tcp://127.0.0.1:*", "ipc": ipc_address, "inproc": fresh_inproc()}[transport]


def bind_over(s, transport: str, ipc_address: str) -> str:
    """Binds ``s`` to a fresh endpoint of the transport, and returns it."""
    if transport == "inproc":
        address = fresh_inproc()
    elif transport == "ipc":
        address = f"{ipc_address}{next(_names)}"
    else:
        address = "tcp://127.0.0.1:*"
    s.bind(address)
    return s.LAST_ENDPOINT.decode()


def port_of(s) -> int:
    """The tcp port of a socket's last endpoint."""
    return int(s.LAST_ENDPOINT.rsplit(b":", 1)[1])


def free_port() -> int:
    """A tcp port that nobody listens on, just now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def dead_endpoint():
    """A tcp endpoint that refuses every connection for as long as the block runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can take the port
        yield f"tcp://127.0.0.1:{holder.getsockname()[1]}"


@contextlib.contextmanager
def refused(zmq, errno: int):
    """The block must raise a ZMQError with this errno."""
    with pytest.raises(zmq.ZMQError) as info:
        yield info
    assert info.value.errno == errno, info.value


def errno_of(error: type[Exception], call, *args, **kwargs) -> int:
    """The errno with which ``call`` fails; it must fail with ``error``."""
    try:
        call(*args, **kwargs)
    except error as e:
        return e.errno
    raise AssertionError(f"{call} did not fail")


def send_until_full(zmq, s, limit: int, payload: bytes = b"") -> int:
    """Sends numbered messages (4 bytes + payload) without waiting; how many were taken."""
    for n in range(limit):
        try:
            s.send(n.to_bytes(4, "big") + payload, zmq.DONTWAIT)
        except zmq.Again:
            return n
    return limit


def waiting(s) -> list[list[bytes]]:
    """All whole messages that are there now."""
    out = []
    while s.poll(0):
        out.append(s.recv_multipart())
    return out


def drain(s, *, multipart: bool = False) -> list:
    """Everything that ``s`` has now."""
    out = []
    while True:
        try:
            out.append(s.recv_multipart(1) if multipart else s.recv(1))
        except Exception as e:
            if getattr(e, "errno", None) != errno.EAGAIN:
                raise
            return out


def receive(s, count: int) -> list[list[bytes]]:
    """Exactly ``count`` messages, each waited for (RCVTIMEO)."""
    return [s.recv_multipart() for _ in range(count)]


def connected(*sockets) -> None:
    """Waits until each of these senders has someone to send to."""
    for s in sockets:
        assert s.poll(int(TIMEOUT * 1000), 2), "nobody connected"


def events_become(s, wanted: int) -> None:
    """Reads EVENTS until it says ``wanted`` (libzmq attaches peers only inside such calls)."""
    eventually(lambda: s.events == wanted)


def monitored(s):
    """A monitor of all events of ``s``; read it with ``monitor_events``."""
    m = s.get_monitor_socket()
    m.linger = 0
    m.rcvtimeo = int(TIMEOUT * 1000)
    return m


@contextlib.contextmanager
def watched(s):
    """The monitor of ``s``, which ends with the block."""
    monitor = monitored(s)
    try:
        yield monitor
    finally:
        s.disable_monitor()
        monitor.close()


def monitor_events(monitor, until: int | None = None, timeout: float = TIMEOUT) -> list:
    """Reads (event, value, endpoint) from a monitor socket until the event ``until`` came.

    Without ``until``: what is there now.
    """
    out = []
    end = time.monotonic() + timeout
    while True:
        left = max(0.0, end - time.monotonic()) if until is not None else 0.0
        if not monitor.poll(int(left * 1000)):
            if until is None:
                return out
            raise AssertionError(f"no event {until:#x} within {timeout} s, only {out}")
        head, endpoint = monitor.recv_multipart()
        event, value = struct.unpack("=HI", head)
        out.append((event, value, endpoint))
        if until is not None and event == until:
            return out


def next_value(monitor, event: int) -> int:
    """The value of the next such event."""
    return monitor_events(monitor, until=event)[-1][1]


def wait_for_event(monitor, event: int, times: int = 1) -> list:
    """Reads until ``event`` came ``times`` times; returns everything that was read."""
    out = []
    for _ in range(times):
        out += monitor_events(monitor, until=event)
    return out


def know(pub) -> None:
    """Lets a PUB take in the subscriptions that lie before it (inproc: they do already)."""
    _ = pub.events


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 on this machine")
