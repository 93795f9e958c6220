"""The extension over a stand-in for the engine, compiled here (tests/unit/ext/)."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from .waiting import TIMEOUT

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "zmq_monocoque"
EAGAIN, EINVAL, EINTR, ENOTSOCK, ETERM = 11, 22, 4, 88, 156384712 + 53
DONTWAIT, SNDMORE = 1, 2
SEND_FLUSH = 1
MORE, SRCFD, SHARED = 1, 2, 3
POLLIN, POLLOUT = 1, 2
LATER = -(1 << 31)  # ZM_LATER
#: Built to run without a GIL: there it is the share of new objects that makes a collection begin.
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
needs_thresholds = pytest.mark.skipif(
    FREE_THREADED, reason="no threshold has a collection begin at the next object here"
)
BIG = 100_000
COPIED_MAX = 8 * 1024  # from here on a bytes object's own memory is sent


def engine_build():
    """zmq_monocoque/_build/engine.py: the flags, those of the sanitizers included."""
    spec = importlib.util.spec_from_file_location("engine_build", PACKAGE / "_build" / "engine.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_shared(target: Path, sources: list[Path], *flags: str) -> Path:
    build = engine_build()
    command = ["gcc", "-shared", "-fPIC", "-Wextra", *build.CFLAGS]
    command += [f"-isystem{sysconfig.get_paths()['include']}", f"-I{PACKAGE / '_engine'}"]
    command += [*flags, *map(str, sources), "-o", str(target), *build.LDFLAGS]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT * 6)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return target


class Fake:
    """The stand-in, with arguments of the right width."""

    def __init__(self, path: Path):
        self._library = ctypes.CDLL(str(path))
        for name in ("fake_api", "fake_api_wrong"):
            getattr(self._library, name).restype = ctypes.c_void_p
        for name in ("fake_socket", "fake_count", "fake_live"):
            getattr(self._library, name).restype = ctypes.c_int64

    def __getattr__(self, name: str):
        function = getattr(self._library, "fake_" + name)

        def call(*args):
            wide = [
                ctypes.c_int64(a) if i == 0 and isinstance(a, int) else a
                for i, a in enumerate(args)
            ]
            return function(*wide)

        return call

    def script(self, handle: int, call: str, value: int) -> None:
        self._library.fake_script(ctypes.c_int64(handle), ord(call), value)

    def count(self, handle: int, what: str) -> int:
        return self._library.fake_count(ctypes.c_int64(handle), ord(what))

    def set(self, handle: int, what: str, value: int) -> None:
        self._library.fake_set(ctypes.c_int64(handle), ord(what), value)

    def deliver(self, handle: int, body: bytes, more: bool = False) -> None:
        self._library.fake_deliver(
            ctypes.c_int64(handle), body, ctypes.c_size_t(len(body)), int(more)
        )


class Error(Exception):
    def __init__(self, errno: int):
        self.errno = errno


class Again(Error):
    pass


class GcRef(NamedTuple):
    obj: object
    event: object


class Tracker:
    def __init__(self, *events):
        self.events = events

    @property
    def done(self) -> bool:
        return all(e.is_set() for e in self.events)


FINISHED = Tracker()


class Hooks:
    def __init__(self):
        self.refs = {}
        self.threshold = 65536
        self.frame = None

    def error(self, errno):
        return Again(errno) if errno == EAGAIN else Error(errno)

    def frame_class(self):
        return self.frame

    def event(self):
        return threading.Event()

    def tracker(self, *watched):
        return Tracker(*watched)

    def finished_tracker(self):
        return FINISHED

    def copy_threshold(self):
        return self.threshold

    def gc_refs(self):
        return self.refs

    def gcref(self, obj, event):
        return GcRef(obj, event)

    def option_type(self, option):
        self.asked = [*getattr(self, "asked", ()), option]
        return {5: "bytes", 50: "bytes", 6: "int64", 7: "fd", 200: "bytes"}.get(option, "int")


T = TypeVar("T")


def raises_errno(errno: int, kind: type = Error):
    return pytest.raises(kind, check=lambda e: e.errno == errno)


def refs_of(obj) -> int:
    return sys.getrefcount(obj)


class Parts:
    """A sequence that does something when its parts are asked for."""

    def __init__(self, hook, *parts):
        self.hook, self.parts = hook, parts

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, i):
        if i == len(self.parts) - 1 or isinstance(i, slice):
            self.hook()
        return list(self.parts[i]) if isinstance(i, slice) else self.parts[i]
