"""Helpers for tests: waiting for events, raw peers, peers in other processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable

import pytest

TIMEOUT = 10.0
#: How many times as many examples the property tests are to try.
EXAMPLES = int(os.environ.get("ZM_EXAMPLES", "1"))

#: For the environment of a child that is to answer for its leaks, too, under AddressSanitizer.
CHECK_LEAKS = (
    {"ASAN_OPTIONS": os.environ["ASAN_OPTIONS"] + ":detect_leaks=1"}
    if "ASAN_OPTIONS" in os.environ
    else {}
)


def eventually(condition: Callable[[], object], timeout: float = TIMEOUT, step: float = 0.005):
    """Polls ``condition`` until it is truthy, and returns what it returned."""
    end = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {condition}")
        time.sleep(step)


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


class RawPeer:
    """A plain TCP socket that speaks bytes: a mock ZMTP peer."""

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


def port_of(s) -> int:
    """The tcp port of a socket's last endpoint."""
    return int(s.LAST_ENDPOINT.rsplit(b":", 1)[1])


class Child:
    """A Python child process running ``code``; killed at the end whatever happens.

    ``code`` sees ``sys.argv[1:] == args``. Lines it prints are read with ``line()``.
    """

    def __init__(self, code: str, *args: object):
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._printed = b""

    def line(self, timeout: float = TIMEOUT) -> str:
        assert self.process.stdout
        fd, end = self.process.stdout.fileno(), time.monotonic() + timeout
        while b"\n" not in self._printed:
            if not select.select([fd], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError("the child printed nothing")
            piece = os.read(fd, 65536)
            if not piece:
                raise AssertionError(f"the child ended, saying {self._printed!r}")
            self._printed += piece
        line, self._printed = self._printed.split(b"\n", 1)
        return line.decode()

    def wait(self, timeout: float = TIMEOUT) -> int:
        return self.process.wait(timeout)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT)
        assert self.process.stdout and self.process.stdin
        self.process.stdout.close()
        self.process.stdin.close()


# --- sockets of the module under test ------------------------------------------------------------


def bind(s, address: str = "tcp://127.0.0.1:*") -> str:
    """Binds ``s``; the endpoint for others to connect to."""
    s.bind(address)
    return s.LAST_ENDPOINT.decode()


_names = itertools.count()


def fresh_inproc() -> str:
    """An inproc name that no other test uses."""
    return f"inproc://fresh-{next(_names)}"


def address_for(transport: str, ipc_address: str) -> str:
    """Something to bind to; only for inproc and ipc may it also be connected to beforehand."""
    return {"tcp": "tcp://127.0.0.1:*", "ipc": ipc_address, "inproc": fresh_inproc()}[transport]


@contextlib.contextmanager
def refused(zmq, errno: int):
    """The block must raise a ZMQError with this errno."""
    with pytest.raises(zmq.ZMQError) as info:
        yield info
    assert info.value.errno == errno, info.value


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


def receive(s, count: int) -> list[list[bytes]]:
    """Exactly ``count`` messages, each waited for (RCVTIMEO)."""
    return [s.recv_multipart() for _ in range(count)]


def connected(*sockets) -> None:
    """Waits until each of these senders has someone to send to."""
    for s in sockets:
        assert s.poll(int(TIMEOUT * 1000), 2), "nobody connected"


# --- threads and processes -----------------------------------------------------------------------


class Background:
    """Runs ``function`` in a thread; ``result()`` is what it returned, or raises what it raised."""

    def __init__(self, function: Callable[[], object]):
        self._function = function
        self._value: object = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error

    def result(self, timeout: float = TIMEOUT):
        self.thread.join(timeout)
        assert not self.thread.is_alive(), f"{self._function} did not end within {timeout} s"
        if self._error is not None:
            raise self._error
        return self._value

    def still_runs(self, after: float) -> bool:
        """Is it still at work after so many seconds?"""
        self.thread.join(after)
        return self.thread.is_alive()

    def blocked(self) -> Background:
        """Waits until the thread sleeps in the kernel (or ended), and returns self."""

        def sleeps() -> bool:
            try:
                with open(f"/proc/self/task/{self.thread.native_id}/stat") as f:
                    return f.read().rsplit(")", 1)[1].split()[0] == "S"
            except FileNotFoundError:
                return True

        for _ in range(3):
            eventually(sleeps)
        return self


def module_source(zmq) -> str:
    """A line of source that imports the module under test as ``zmq`` in another process."""
    where = os.path.dirname(os.path.dirname(os.path.abspath(zmq.__file__)))
    return f"import sys; sys.path.insert(0, {where!r}); import {zmq.__name__} as zmq\n"


def run_python(code: str, *args: object, timeout: float = TIMEOUT) -> subprocess.CompletedProcess:
    """Runs ``code`` in a new interpreter to its end; a hang is an AssertionError."""
    command = [sys.executable, "-c", code, *map(str, args)]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"still running after {timeout} s; stderr: {late.stderr}") from None


#: Source of ``forbid(*calls, kill=False)``, which locks a program in: from then on the system calls
#: are answered by EPERM, or end the process, in all of its threads.
SECCOMP = """
IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER = 425, 426, 427

def forbid(*calls, kill=False):
    import ctypes, errno, platform, struct

    SET_MODE_FILTER, TSYNC, NO_NEW_PRIVS = 1, 1, 38
    KILL_PROCESS, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
    answer = KILL_PROCESS if kill else ERRNO | errno.EPERM
    program = [(0x20, 0, 0, 0)]  # load the number of the call
    for call in calls:
        program += [(0x15, 0, 1, call), (6, 0, 0, answer)]
    program.append((6, 0, 0, ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))

    class Filter(ctypes.Structure):
        _fields_ = [("lines", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    libc = ctypes.CDLL(None)
    seccomp = {"x86_64": 317, "aarch64": 277}.get(platform.machine())
    if not seccomp or libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(
        seccomp, SET_MODE_FILTER, TSYNC,
        ctypes.byref(Filter(len(program), ctypes.addressof(code))),
    ):
        raise SystemExit("no seccomp")
"""


class Fork:
    """A forked child that runs ``function`` and exits with 0, or with 1 and its traceback."""

    def __init__(self, function: Callable[[], object]):
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, 3.12
            self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(reading)
                function()
                status = 0
            except BaseException:
                os.write(writing, traceback.format_exc().encode()[-4000:])
            finally:
                os._exit(status)
        os.close(writing)
        self._reading = reading
        self._status: int | None = None

    def ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is not None

    def check(self, timeout: float = TIMEOUT) -> None:
        """Waits for the end, which must be a good one."""
        eventually(self.ended, timeout)
        if self._status != 0:
            raise AssertionError(
                f"the child ended with {self._status}\n{os.read(self._reading, 4096).decode()}"
            )

    def __enter__(self) -> Fork:
        return self

    def __exit__(self, *_) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            eventually(self.ended)
        os.close(self._reading)


class Signals:
    """Sends ``number`` to this process every ``every`` seconds, at most ``most`` times.

    Not by an interval timer: pytest-timeout needs that. The sending thread blocks the signal.
    """

    def __init__(self, number: int, every: float, most: int = 1 << 30):
        self._number, self._every, self._most = number, every, most
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [self._number])
        for _ in range(self._most):
            if self._stop.wait(self._every):
                return
            os.kill(os.getpid(), self._number)

    def __enter__(self) -> Signals:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT)


class RemotePyzmq:
    """Real pyzmq in another process, driven call by call.

    ``remote.socket("PUSH", linger=0)`` gives a stand-in: methods run over there, one at a time.
    """

    _CODE = """
import sys, pickle, zmq
assert "monocoque" not in zmq.__file__, zmq.__file__
context, sockets = zmq.Context(), {}
inp, out = sys.stdin.buffer, sys.stdout.buffer
while True:
    try:
        number, name, args, options = pickle.load(inp)
    except EOFError:
        break
    try:
        if name == "open":
            s = sockets[number] = context.socket(getattr(zmq, args[0]))
            s.linger, s.rcvtimeo, s.sndtimeo = 0, 10000, 10000
            for key, value in options.items():
                setattr(s, key, value)
            answer = None
        elif name == "get":
            answer = getattr(sockets[number], args[0])
        else:
            answer = getattr(sockets[number], name)(*args, **options)
            if name in ("bind", "connect"):
                answer = None
        answer = (True, answer)
    except Exception as error:
        answer = (False, repr(error))
    pickle.dump(answer, out)
    out.flush()
context.destroy(linger=0)
"""

    class _Socket:
        def __init__(self, remote: RemotePyzmq, number: int):
            self._remote, self._number = remote, number

        @property
        def LAST_ENDPOINT(self):
            return self._remote._call(self._number, "get", ("LAST_ENDPOINT",), {})

        def __getattr__(self, name):
            return lambda *args, **options: self._remote._call(self._number, name, args, options)

    def __init__(self):
        self._numbers = itertools.count()
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", self._CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def socket(self, kind: str, **options):
        if self.process.poll() is not None:  # an earlier test got it stuck
            self._close_pipes()
            self._start()
        number = next(self._numbers)
        self._call(number, "open", (kind,), options)
        return self._Socket(self, number)

    def _call(self, number, name, args, options):
        assert self.process.stdin and self.process.stdout
        pickle.dump((number, name, args, options), self.process.stdin)
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], 2 * TIMEOUT)[0]:
            self.process.kill()
            self.process.wait(TIMEOUT)
            raise AssertionError(f"{name} does not come back over there")
        good, answer = pickle.load(self.process.stdout)
        assert good, f"{name}: {answer}"
        return answer

    def __enter__(self) -> RemotePyzmq:
        return self

    def __exit__(self, *_) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(TIMEOUT)
        self._close_pipes()

    def _close_pipes(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


# --- mock ZMTP peers -----------------------------------------------------------------------------


def greeting(mechanism: bytes = b"NULL", as_server: int = 0, minor: int = 1) -> bytes:
    """The 64 bytes of a ZMTP 3 greeting (RFC 37)."""
    return (
        b"\xff"
        + bytes(8)
        + b"\x7f\x03"
        + bytes([minor])
        + mechanism.ljust(20, b"\0")
        + bytes([as_server])
        + bytes(31)
    )


def frame(body: bytes, more: bool = False, command: bool = False) -> bytes:
    """One ZMTP 2/3 frame, in its shortest form."""
    flags = more * 1 | command * 4
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | 2]) + struct.pack(">Q", len(body)) + body


def ready(socket_type: bytes, identity: bytes | None = b"") -> bytes:
    """A READY command as a peer of this type sends it."""
    properties = [(b"Socket-Type", socket_type)]
    if identity is not None and socket_type in (b"REQ", b"DEALER", b"ROUTER"):
        properties.append((b"Identity", identity))
    body = b"\x05READY" + b"".join(
        bytes([len(k)]) + k + struct.pack(">I", len(v)) + v for k, v in properties
    )
    return frame(body, command=True)


def read_frame(peer: RawPeer) -> tuple[int, bytes]:
    """The flags and the body of the next frame."""
    flags, size = peer.recv_exactly(2)
    if flags & 2:
        size = struct.unpack(">Q", bytes([size]) + peer.recv_exactly(7))[0]
    return flags, peer.recv_exactly(size)


def shake_hands(peer: RawPeer, socket_type: bytes, identity: bytes | None = b"") -> bytes:
    """Does the whole NULL handshake; the body of the other side's READY."""
    peer.send(greeting())
    peer.recv_exactly(64)
    peer.send(ready(socket_type, identity))
    flags, body = read_frame(peer)
    assert flags & 4 and body.startswith(b"\x05READY"), (flags, body)
    return body


class RawServer:
    """A listening TCP socket on 127.0.0.1 whose accepted connections are RawPeers."""

    def __init__(self, port: int = 0, backlog: int = 16):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(backlog)
        self.port = self.sock.getsockname()[1]
        self.endpoint = f"tcp://127.0.0.1:{self.port}"

    def accept(self, timeout: float = TIMEOUT) -> RawPeer:
        self.sock.settimeout(timeout)
        return RawPeer(self.sock.accept()[0])

    def nobody_comes(self, within: float) -> bool:
        """Does nobody connect within so many seconds?"""
        return not select.select([self.sock], [], [], within)[0]

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_) -> None:
        self.close()


@contextlib.contextmanager
def dead_endpoint():
    """A tcp endpoint that refuses every connection for as long as the block runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can take the port
        yield f"tcp://127.0.0.1:{holder.getsockname()[1]}"
