"""Threads, forks, signals, and programs in other processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable

import pytest

from .waiting import TIMEOUT, eventually

#: For the environment of a child that is to answer for its leaks, too, under AddressSanitizer.
CHECK_LEAKS = (
    {"ASAN_OPTIONS": os.environ["ASAN_OPTIONS"] + ":detect_leaks=1"}
    if "ASAN_OPTIONS" in os.environ
    else {}
)


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


#: Source of ``forbid(*calls, kill=False, error=EPERM)``, which locks a program in: from then on the
#: system calls are answered by the error, or end the process, in all of its threads.
SECCOMP = """
import platform
IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER, EPOLL_PWAIT2 = 425, 426, 427, 441
TIMERFD_CREATE, TIMERFD_SETTIME = (85, 86) if platform.machine() == "aarch64" else (283, 286)

def forbid(*calls, kill=False, error=1):
    import ctypes, struct

    SET_MODE_FILTER, TSYNC, NO_NEW_PRIVS = 1, 1, 38
    KILL_PROCESS, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
    answer = KILL_PROCESS if kill else ERRNO | error
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


def run_locked_in(code: str, timeout: float = TIMEOUT) -> subprocess.CompletedProcess:
    """As run_python(), of code that has forbid(). Skips where the kernel has no such filters."""
    done = run_python(SECCOMP + code, timeout=timeout)
    if "no seccomp" in done.stderr:
        pytest.skip("this kernel has no seccomp filters")
    return done


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
            s.linger, s.rcvtimeo, s.sndtimeo = 0, 30_000, 30_000
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
