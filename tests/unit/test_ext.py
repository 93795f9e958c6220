"""The extension over a stand-in for the engine: tests/unit/c/fake_api.c, a queue in memory that can
be told what to answer. Both are compiled here, so nothing needs to be installed.

What each call returns and raises was read off pyzmq 27.3.0 by running it.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import importlib.util
import os
import pickle
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import types
import weakref
from array import array
from collections import deque
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import pytest
from support import TIMEOUT, eventually

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "zmq_monocoque"

EAGAIN, EINVAL, EINTR, ENOTSOCK, ETERM = 11, 22, 4, 88, 156384712 + 53
DONTWAIT, SNDMORE = 1, 2
SEND_FLUSH = 1
MORE, SRCFD, SHARED = 1, 2, 3
POLLIN, POLLOUT = 1, 2
LATER = -(1 << 31)  # ZM_LATER

BIG = 100_000
COPIED_MAX = 8 * 1024  # from here on a bytes object's own memory is sent


# --- building and binding ----------------------------------------------------------------------


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


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    folder = tmp_path_factory.mktemp("ext")
    base = PACKAGE / "_engine" / "base"
    ext = compile_shared(folder / "_ext.so", sorted((PACKAGE / "_ext").glob("*.c")))
    fake = compile_shared(
        folder / "fake_api.so",
        [
            Path(__file__).parent / "c" / "fake_api.c",
            *(base / name for name in ("block.c", "alloc.c", "check.c", "lock.c")),
        ],
        "-fvisibility=default",
    )
    return ext, fake


@pytest.fixture(scope="session")
def ext(built):
    spec = importlib.util.spec_from_file_location("zmq_monocoque._ext", built[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


@pytest.fixture(scope="session")
def fake_library(built):
    fake = Fake(built[1])
    yield fake
    fake.end()


@pytest.fixture
def fake(fake_library, ext):
    """The stand-in; after the test no call was out of order and no memory is left."""
    yield fake_library
    ext.drain()
    if fake_library.live():
        gc.collect()  # a traceback or a cycle may hold a frame
    assert fake_library.violations() == 0
    assert fake_library.metadata_refs() == 0
    assert fake_library.live() == 0


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


@pytest.fixture
def bound(ext, fake):
    """The classes over the stand-in: .Socket and .Frame (subclasses), .hooks."""
    hooks = Hooks()
    socket_base, frame_base = ext.bind(fake.api(), hooks)

    class Socket(socket_base, Generic[T]):
        def getsockopt(self, option):
            assert option == 13
            raise AssertionError("nobody asks for RCVMORE on the fast way")

    class Frame(frame_base):
        pass

    hooks.frame = Frame
    yield types.SimpleNamespace(
        Socket=Socket, Frame=Frame, SocketBase=socket_base, FrameBase=frame_base, hooks=hooks
    )
    ext.drain()
    assert hooks.refs == {}


@pytest.fixture
def make(bound, fake):
    """make() -> a socket that loops back to itself; `.h` is its handle."""
    handles = []

    def make_socket(kind=None):
        s = (kind or bound.Socket)()
        s.h = fake.socket()
        handles.append(s.h)
        s._attach(s.h)
        return s

    yield make_socket
    for handle in handles:
        fake.close(handle)


@pytest.fixture
def s(make):
    return make()


def raises_errno(errno: int, kind: type = Error):
    return pytest.raises(kind, check=lambda e: e.errno == errno)


def refs_of(obj) -> int:
    return sys.getrefcount(obj)


# --- binding ---------------------------------------------------------------------------------


def test_a_table_of_another_size_or_version_is_refused(ext, fake):
    size, version = fake.api_size(), fake.api_version()
    for wrong in ((size + 8, version), (size, version + 1)):
        with pytest.raises(ImportError, match="build both again"):
            ext.bind(fake.api_wrong(*wrong), Hooks())
    with pytest.raises(ImportError):
        ext.bind(0, Hooks())
    with pytest.raises(TypeError):
        ext.bind("0", Hooks())


def test_a_missing_hook_is_named_at_once(ext, fake):
    with pytest.raises(AttributeError, match="error"):
        ext.bind(fake.api(), object())


def test_two_bindings_live_side_by_side(ext, fake, bound, s):
    other_hooks = Hooks()
    other_hooks.error = lambda errno: KeyError(errno)
    other, _ = ext.bind(fake.api(), other_hooks)
    assert other is not bound.SocketBase
    with pytest.raises(KeyError):
        other().recv()
    with raises_errno(ENOTSOCK):
        bound.Socket().recv()
    o = other()
    o._attach(s.h)
    s.send(b"x")
    assert o.recv() == b"x"


def test_a_binding_is_collected_when_nobody_uses_it(ext, fake):
    hooks = Hooks()
    gone = weakref.ref(hooks)
    types_made = ext.bind(fake.api(), hooks)
    hooks.frame = types_made[1]
    types_made[0]()
    del hooks, types_made
    gc.collect()
    assert gone() is None


def test_classes_take_weakrefs_and_attributes_and_generic_parameters(bound, s):
    assert weakref.ref(s)() is s
    s.anything = 1
    assert bound.Socket[int]
    f = bound.FrameBase(b"x")
    assert weakref.ref(f)() is f


def test_a_hook_that_makes_no_exception_or_no_frame_is_an_error(ext, fake):
    hooks = Hooks()
    hooks.error = lambda errno: errno
    hooks.frame = int
    socket_type, _ = ext.bind(fake.api(), hooks)
    with pytest.raises(TypeError, match="error"):
        socket_type().recv()
    o = socket_type()
    o._attach(handle := fake.socket())
    o.send(b"x")
    with pytest.raises(TypeError, match="frame_class"):
        o.recv(copy=False)
    fake.close(handle)


def test_the_handle_is_underlying_and_a_stale_one_is_no_socket(bound, fake, s):
    assert s.underlying == s.h
    for stale in (0, -1, 1 << 40, s.h + (1 << 16)):
        o = bound.Socket()
        o._attach(stale)
        assert o.underlying == stale
        with raises_errno(ENOTSOCK):
            o.send(b"x")
    with pytest.raises(TypeError):
        s._attach("1")


# --- send and recv ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 64, 8191, 8192, COPIED_MAX, 300_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("copied", [True, False])
def test_what_is_sent_is_received(s, size, kind, copied):
    body = os.urandom(size)
    s.send(kind(body), copy=copied)
    assert s.recv() == body
    s.send(kind(body), copy=copied)
    f = s.recv(copy=False)
    assert f.bytes == body


def test_any_contiguous_buffer_is_sent_as_its_bytes(s):
    numbers = array("i", [1, 2, 3])
    s.send(numbers)
    assert s.recv() == numbers.tobytes()
    square = memoryview(bytes(range(16))).cast("B", (4, 4))
    s.send(square)
    assert s.recv() == bytes(range(16))


def test_arguments_are_taken_by_position_and_by_name(s):
    assert s.send(b"a", 0, True, False, None, None) is None
    assert s.send(data=b"b", track=False, copy=True, flags=0) is None
    assert s.recv(0, True, False) == b"a"
    assert s.recv(track=False, flags=0, copy=True) == b"b"
    s.send(b"c", flags=1.0)  # as pyzmq
    assert s.recv(True) == b"c"
    name = "".join(["fl", "ags"])  # not interned
    s.send(b"d", **{name: 0})
    assert s.recv() == b"d"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda s: s.send(), TypeError),
        (lambda s: s.send(b"", foo=1), TypeError),
        (lambda s: s.send(b"", data=b""), TypeError),
        (lambda s: s.send(b"", 0, True, False, None, None, 1), TypeError),
        (lambda s: s.send(b"", flags="x"), TypeError),
        (lambda s: s.send(b"", flags=1 << 40), OverflowError),
        (lambda s: s.send("text"), TypeError),
        (lambda s: s.send("text", copy=False), TypeError),
        (lambda s: s.send(5), TypeError),
        (lambda s: s.send(None, copy=False), TypeError),
        (lambda s: s.send([1]), TypeError),
        (lambda s: s.send(memoryview(b"abcdef")[::2]), BufferError),
        (lambda s: s.send(b"", routing_id=0), RuntimeError),
        (lambda s: s.send(b"", group="g"), RuntimeError),
        (lambda s: s.recv(0, True, False, 1), TypeError),
        (lambda s: s.recv(None), TypeError),
        (lambda s: s.recv("x"), TypeError),
        (lambda s: s.recv(foo=1), TypeError),
    ],
)
def test_bad_arguments_raise_and_send_nothing(s, fake, call, error):
    with pytest.raises(error):
        call(s)
    assert fake.count(s.h, "q") == 0


def test_a_closed_socket_is_the_first_reason(s, fake):
    fake.close(s.h)
    for call in (
        lambda: s.send(b"x"),
        lambda: s.send("x"),
        lambda: s.send(4),
        lambda: s.send(b"x" * BIG, copy=False),
        lambda: s.recv(),
        lambda: s.recv(copy=False),
        lambda: s.recv_into(bytearray(2)),
        lambda: s.recv_into(b""),
        lambda: s.send_multipart([b"a"]),
        lambda: s.recv_multipart(),
    ):
        with raises_errno(ENOTSOCK):
            call()
    assert fake.last_errno() == ENOTSOCK
    with pytest.raises(TypeError):
        s.send_multipart(["a"])
    with pytest.raises(TypeError):
        s.send(b"", flags="x")


def test_the_engines_errno_is_remembered_and_raised(s, fake):
    fake.script(s.h, "s", -ETERM)
    fake.script(s.h, "s", -ETERM)  # a failed send is tried again on its general way
    with raises_errno(ETERM):
        s.send(b"x")
    assert fake.last_errno() == ETERM
    fake.script(s.h, "r", -ETERM)
    with raises_errno(ETERM):
        s.recv()


def test_more_is_passed_on_and_other_flags_are_not(s):
    s.send(b"a", SNDMORE)
    s.send(b"b", SNDMORE | DONTWAIT, copy=False)
    s.send(b"c")
    assert [f.more for f in s.recv_multipart(copy=False)] == [True, True, False]


# --- waiting ---------------------------------------------------------------------------------


QUIET = 1 << 30  # EXT_QUIET: the event loops' own flag


def test_a_quiet_call_answers_notimplemented_where_it_would_block(s, fake):
    for call in (
        lambda: s.recv(QUIET),
        lambda: s.recv(QUIET, copy=False),
        lambda: s.recv_multipart(QUIET),
        lambda: s.recv_multipart(QUIET, copy=False),
        lambda: s.recv_into(bytearray(4), flags=QUIET),
        lambda: s.recv_many(4, flags=QUIET),
    ):
        assert call() is NotImplemented
    fake.set(s.h, "h", 2)  # room for two
    assert s.send(b"1", QUIET) is None
    assert s.send_multipart([b"2"], QUIET) is None
    for call in (
        lambda: s.send(b"3", QUIET),
        lambda: s.send(bytearray(b"3"), QUIET),
        lambda: s.send(b"x" * COPIED_MAX, QUIET),
        lambda: s.send_multipart([b"3", b"4"], QUIET),
        lambda: s.send_many([b"3", b"4"], flags=QUIET),
    ):
        assert call() is NotImplemented
    assert [s.recv(QUIET), s.recv(QUIET)] == [b"1", b"2"]
    assert fake.count(s.h, "w") == 0
    fake.script(s.h, "r", -EINVAL)
    with raises_errno(EINVAL):
        s.recv(QUIET)


def test_a_batch_is_flushed_once_if_it_stops_early(s, fake):
    fake.set(s.h, "h", 2)
    assert s.send_many([b"1", b"2", b"3"], flags=DONTWAIT) == 2
    assert fake.count(s.h, "f") == 1
    assert s.recv_many(9) == [b"1", b"2"]


def test_batches_of_every_kind_leave_nothing_behind(s, fake):
    messages = [b"1", b"x" * BIG, [b"2", b"y" * BIG], bytearray(b"z" * BIG), b""]
    for copy_in in (True, False):
        for copy_out in (True, False):
            for multipart in (True, False):
                assert s.send_many(messages, copy=copy_in) == len(messages)
                got = s.recv_many(len(messages), copy=copy_out, multipart=multipart)
                flat = [p for m in got for p in (m if isinstance(m, list) else [m])]
                assert [bytes(p) for p in flat] == [
                    b"1",
                    b"x" * BIG,
                    b"2",
                    b"y" * BIG,
                    b"z" * BIG,
                    b"",
                ]
                assert [len(m) for m in got if isinstance(m, list)] == (
                    [1, 1, 2, 1, 1] if multipart else [2]
                )


# --- what does not wait ------------------------------------------------------------------------

# Name, call, and how many calls of the table it makes.
BRIEF = {
    "set": lambda s: s.set(1, 2),
    "get": lambda s: s.get(1),
    "get_int": lambda s: s._get_int(1),
    "get bytes": lambda s: s.get(5),
    "bind": lambda s: s._bind("tcp://x"),
    "connect": lambda s: s.connect(b"tcp://x"),
    "unbind": lambda s: s.unbind(addr="tcp://x"),
    "disconnect": lambda s: s.disconnect("tcp://x"),
    "monitor": lambda s: s.monitor("inproc://x", 1),
    "stop monitor": lambda s: s.monitor(None),
    "close": lambda s: s.close(),
}


@pytest.mark.parametrize("name", BRIEF)
def test_what_does_not_wait_keeps_the_gil(fake, s, name):
    BRIEF[name](s)
    assert (fake.count(s.h, "B"), fake.count(s.h, "L")) == (1, 0)


@pytest.mark.parametrize("name", BRIEF)
def test_who_would_have_to_wait_gives_up_the_gil(fake, s, name):
    """Somebody has the socket's lock, or a name server is to be asked."""
    fake.script(s.h, "b", LATER)
    BRIEF[name](s)
    assert (fake.count(s.h, "B"), fake.count(s.h, "L")) == (1, 1)


@pytest.mark.parametrize("name", BRIEF)
def test_what_the_engine_refuses_is_raised(fake, s, name):
    fake.script(s.h, "b", -EINVAL)
    with raises_errno(EINVAL):
        BRIEF[name](s)
    assert not s.closed
    fake.close(s.h)
    if name == "close":
        s.close()  # it was closed by somebody else
    else:
        with raises_errno(ENOTSOCK):
            BRIEF[name](s)
    assert s.closed


MESSAGES = {
    "send": lambda s: s.send(b"x"),
    "send without a copy": lambda s: s.send(bytes(BIG), copy=False),
    "send_multipart": lambda s: s.send_multipart([b"x", bytes(BIG), b"y"]),
    "send_many": lambda s: s.send_many([b"x", [b"y", b"z"]]),
}
RECEIVES = {
    "recv": lambda s: s.recv(),
    "recv a frame": lambda s: s.recv(copy=False),
    "recv_multipart": lambda s: s.recv_multipart(),
    "recv_multipart of frames": lambda s: s.recv_multipart(copy=False),
    "recv_into": lambda s: s.recv_into(bytearray(9)),
    "recv_many": lambda s: s.recv_many(9),
}


@pytest.mark.parametrize("name", [*MESSAGES, *RECEIVES])
def test_a_message_waits_for_a_lock_without_the_gil(fake, s, name):
    """But not between its parts, where another thread's would come in."""
    s.send_multipart([b"a", b"b", b"c"])
    patient = fake.count(s.h, "P")
    assert patient == 2
    fake.script(s.h, "s" if name in MESSAGES else "r", LATER)
    fake.script(s.h, "s" if name in MESSAGES else "r", LATER)
    {**MESSAGES, **RECEIVES}[name](s)
    # send() tries twice before it goes to the general way.
    assert fake.count(s.h, "l") in ((1, 2) if name in ("send", "send_many") else (2,))
    parts = {"send_multipart": 2, "send_many": 1, "recv_multipart": 2}
    parts |= {"recv_multipart of frames": 2, "recv_many": 2}
    assert fake.count(s.h, "P") - patient == parts.get(name, 0)


def test_options_have_the_type_that_the_package_says(bound, fake, s):
    for option, value in [(1, -7), (7, 3), (6, 1 << 40), (5, b"a\0b\0"), (200, b"abc")]:
        s.set(option, value)
        assert s.get(option) == value
    s.set(50, b"key\0")
    assert s.get(option=50) == b"key"
    s.set(option=1, optval=True)
    assert s._get_int(1) == 1
    for option, bad, kind in [
        (1, b"1", TypeError),
        (1, "1", TypeError),
        (1, 1.0, TypeError),
        (1, 1 << 31, OverflowError),
        (6, 1 << 63, OverflowError),
        (5, 1, TypeError),
        (5, "text", TypeError),
        (5, bytearray(b"x"), TypeError),
        ("1", 1, TypeError),
        (1 << 31, 1, OverflowError),
    ]:
        with pytest.raises(kind):
            s.set(option, bad)
    for bad in ("1", None):
        with pytest.raises(TypeError):
            s.get(bad)
    with pytest.raises(TypeError, match="unicode not allowed, use setsockopt_string"):
        s.set(1, "1")
    assert bound.hooks.asked.count(1) == 1, "a type is asked for once"


def test_addresses_are_text(s):
    for bad in (1, None, bytearray(b"tcp://x")):
        with pytest.raises(TypeError, match="Expected addr to be str, got addr="):
            s.connect(bad)
    with pytest.raises(UnicodeEncodeError):
        s.connect("tcp://\udc00")
    with pytest.raises(TypeError):
        s.connect()


def test_a_socket_is_made_by_the_engine(bound, fake):
    s = bound.Socket()
    assert s.closed and s._closed
    with raises_errno(EINVAL):
        s._open(1, -1)
    with raises_errno(14):
        s._open(2, 1)
    assert s.closed
    s._open(1, 1)
    assert not s.closed and s.underlying > 0
    s.close(linger=5)
    assert s.closed and s.underlying == 0
    s.close()
    with pytest.raises(TypeError, match="linger must be an int or None"):
        s.close("1")


def test_a_socket_of_a_parent_is_left_alone(fake, s):
    pid = os.fork()
    if pid == 0:
        s.close()
        os._exit(fake.count(s.h, "B") + fake.count(s.h, "L"))
    assert os.waitpid(pid, 0)[1] == 0
    s.close()
    assert fake.count(s.h, "B") == 1


def test_a_spin_tells_whether_a_call_is_worth_while(s, fake):
    assert s._spin() is False
    fake.deliver(s.h, b"x")
    assert s._spin() is True
    s.recv()
    s._attach(0)
    assert s._spin() is True  # the call finds out what is wrong


def test_dontwait_raises_again_without_a_wait(s, fake):
    fake.set(s.h, "h", 0)
    for call in (
        lambda: s.recv(DONTWAIT),
        lambda: s.recv(flags=DONTWAIT, copy=False),
        lambda: s.recv_into(bytearray(1), flags=DONTWAIT),
        lambda: s.recv_multipart(DONTWAIT),
        lambda: s.send(b"x", DONTWAIT),
        lambda: s.send(b"x" * BIG, DONTWAIT, copy=False),
        lambda: s.send_multipart([b"x"], DONTWAIT),
    ):
        with raises_errno(EAGAIN, Again):
            call()
    assert fake.count(s.h, "w") == fake.count(s.h, "d") == 0


def test_a_timeout_of_zero_does_not_wait_and_a_longer_one_ends(s, fake):
    fake.set(s.h, "t", 0)
    with raises_errno(EAGAIN, Again):
        s.recv()
    assert fake.count(s.h, "w") == 0
    fake.set(s.h, "t", 20)
    with raises_errno(EAGAIN, Again):
        s.recv()
    fake.set(s.h, "h", 0)
    with raises_errno(EAGAIN, Again):
        s.send(b"x")
    assert fake.count(s.h, "w") >= 2


def test_other_threads_run_while_a_call_waits(s, fake):
    got = []
    t = threading.Thread(target=lambda: got.append(s.recv()))
    t.start()
    eventually(lambda: fake.count(s.h, "w"))
    fake.deliver(s.h, b"late")
    t.join(TIMEOUT)
    assert got == [b"late"]


def test_a_send_waits_for_room(s, fake):
    fake.set(s.h, "h", 1)
    s.send(b"1")
    t = threading.Thread(target=lambda: s.send(b"2" * BIG, copy=False))
    t.start()
    eventually(lambda: fake.count(s.h, "w"))
    fake.set(s.h, "h", 2)
    fake.script(s.h, "w", 0)
    s.recv()
    fake.deliver(s.h, b"")  # sets its signaler
    t.join(TIMEOUT)
    assert not t.is_alive()


def test_the_deadline_is_asked_for_once_and_kept_over_signals(s, fake):
    fake.set(s.h, "t", 10_000)
    for answer in (0, -EINTR, -EINTR, 0, -EAGAIN):
        fake.script(s.h, "w", answer)
    with raises_errno(EAGAIN, Again):
        s.recv()
    assert fake.count(s.h, "w") == 5
    assert fake.count(s.h, "d") == 1


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals: main thread"
)
@pytest.mark.parametrize("call", ["send", "recv", "recv_multipart", "recv_into"])
def test_a_signal_runs_its_handler_and_the_call_goes_on(s, fake, call):
    fake.set(s.h, "t", 10_000)
    if call == "send":
        fake.set(s.h, "h", 0)

    def handler(*_):
        fake.set(s.h, "h", 5)
        fake.deliver(s.h, b"from the handler")

    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        args = {"send": (b"x",), "recv_into": (bytearray(4),)}.get(call, ())
        getattr(s, call)(*args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert fake.count(s.h, "d") == 1


def test_an_exception_of_a_handler_ends_the_call(s, fake):
    def handler(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            s.recv()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_a_socket_that_ends_while_a_call_waits_raises(s, fake):
    fake.script(s.h, "w", -ETERM)
    with raises_errno(ETERM):
        s.recv()


def test_flush_follows_when_the_engine_asks_for_it(s, fake):
    fake.script(s.h, "s", SEND_FLUSH)
    assert s.send(b"x") is None
    assert fake.count(s.h, "f") == 1
    fake.script(s.h, "s", SEND_FLUSH)
    s.send(b"x" * BIG, copy=False)
    assert fake.count(s.h, "f") == 2
    s.send(b"x")
    assert fake.count(s.h, "f") == 2
    fake.script(s.h, "s", SEND_FLUSH)
    s.send_multipart([b"1", b"2", b"3"])
    assert fake.count(s.h, "f") == 3


# --- what send returns, and whose memory it sends ----------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__release_buffer__ came with Python 3.12")
def test_an_exporter_is_handed_back_the_view_it_gave(bound, s):
    given_back = []

    class Exporter(bytearray):
        def __release_buffer__(self, view):
            given_back.append((view.nbytes, view.shape, view.strides))
            super().__release_buffer__(view)

    exporter = Exporter(BIG)
    for _ in range(3):
        s.send(exporter, copy=False)
        s.recv()
        bound.Frame(exporter, copy=False)
    gc.collect()
    assert given_back == [(BIG, (BIG,), (1,))] * 6


def test_send_answers_as_pyzmq_does(bound, s):
    big = bytes(BIG)
    assert s.send(b"x") is None
    assert s.send(b"x", track=True) is None
    assert s.send(b"x", copy=False) is FINISHED
    assert s.send(b"x", copy=False, track=True) is FINISHED
    assert s.send(big, copy=False) is None
    tracker = s.send(big, copy=False, track=True)
    assert isinstance(tracker, Tracker)
    assert tracker is not FINISHED
    f = bound.Frame(big, copy=False, track=True)
    assert s.send(f) is f.tracker
    assert s.send(f, copy=False, track=True) is f.tracker
    untracked = bound.Frame(b"x")
    assert s.send(untracked) is None
    assert s.send(untracked, copy=False) is None
    for options in ({}, {"copy": False}):
        with pytest.raises(ValueError, match="Not a tracked message"):
            s.send(untracked, track=True, **options)


def test_the_threshold_is_the_sockets_and_starts_as_the_modules(bound, make):
    bound.hooks.threshold = 10
    s = make()
    bound.hooks.threshold = 20
    assert s.copy_threshold == 10
    assert s.send(b"123456789", copy=False) is FINISHED
    assert s.send(b"1234567890", copy=False) is None
    s.copy_threshold = 0
    assert s.send(b"", copy=False) is None
    s.copy_threshold = 5.0
    assert s.copy_threshold == 5
    for bad in ("x", None):
        with pytest.raises(TypeError):
            s.copy_threshold = bad
    with pytest.raises(AttributeError):
        del s.copy_threshold


def test_a_zero_copy_send_shows_in_gc_refs_until_the_engine_lets_go(bound, s, fake, ext):
    big = bytes(BIG)
    before = refs_of(big)
    fake.keep_sent()
    tracker = s.send(big, copy=False, track=True)
    (key, entry), *rest = bound.hooks.refs.items()
    assert not rest
    assert entry.obj is big
    assert entry.event is tracker.events[0]
    assert key == id(entry)
    del entry
    assert refs_of(big) == before + 1
    s.recv()
    assert not tracker.done
    fake.let_go()
    eventually(lambda: tracker.done)  # a pending call of this thread
    assert bound.hooks.refs == {}
    assert refs_of(big) == before


def test_memory_the_engine_is_done_with_at_once_is_released_at_once(bound, s):
    big = bytes(BIG)
    before = refs_of(big)
    s.send(big, copy=False)
    s.recv()
    s.send(b"")  # any call into the extension
    assert bound.hooks.refs == {}
    assert refs_of(big) == before


def test_large_bytes_are_not_copied_even_with_copy_true(bound, s, fake):
    big = bytes(COPIED_MAX)
    before = refs_of(big)
    assert s.send(big) is None
    assert fake.count(s.h, "b") == 1
    assert bound.hooks.refs == {}
    assert refs_of(big) == before + 1
    assert s.recv() == big
    s.send(b"")
    assert refs_of(big) == before
    s.send(bytearray(big))  # may change: copied
    assert fake.count(s.h, "b") == 1


def test_a_failed_zero_copy_send_leaves_nothing(bound, s, fake):
    big = bytes(BIG)
    before = refs_of(big)
    fake.set(s.h, "h", 0)
    for options in ({"copy": False}, {"copy": False, "track": True}, {}):
        with raises_errno(EAGAIN, Again):
            s.send(big, DONTWAIT, **options)
        assert bound.hooks.refs == {}
        assert refs_of(big) == before


def test_a_bytearray_in_the_engines_hands_cannot_be_resized(bound, s, fake):
    data = bytearray(BIG)
    fake.keep_sent()
    s.send(data, copy=False)
    s.recv()
    with pytest.raises(BufferError):
        data.append(1)
    fake.let_go()
    s.send(b"")
    data.append(1)


def test_emptying_gc_refs_by_hand_frees_no_memory_in_use(bound, s, fake):
    fake.keep_sent()
    s.send(bytes(BIG), copy=False)
    bound.hooks.refs.clear()
    gc.collect()
    assert s.recv() == bytes(BIG)
    fake.let_go()


def test_a_waiting_thread_finishes_what_is_released_meanwhile(s, fake, ext):
    fake.keep_sent()
    tracker = s.send(bytes(BIG), copy=False, track=True)
    event = tracker.events[0]
    assert ext.wait_event(event, 0) is False
    assert ext.wait_event(event, 0.001) is False
    s.recv()
    fake.let_go_later(30)
    assert ext.wait_event(event, TIMEOUT) is True
    fake.join()
    assert ext.wait_event(event) is True


def test_several_threads_wait_for_their_own_events(s, fake, ext):
    fake.keep_sent()
    trackers = [s.send(bytes(BIG), copy=False, track=True) for _ in range(4)]
    done = []

    def wait(tracker):
        done.append(ext.wait_event(tracker.events[0], TIMEOUT))

    threads = [threading.Thread(target=wait, args=(t,)) for t in trackers]
    for t in threads:
        t.start()
    for _ in trackers:
        s.recv()
    fake.let_go_later(10)
    for t in threads:
        t.join(TIMEOUT)
    fake.join()
    assert done == [True] * 4


def test_a_wait_for_an_event_ends_by_a_signal_handlers_exception(ext):
    def handler(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            ext.wait_event(threading.Event(), TIMEOUT)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_drain_answers_how_many_and_keeps_the_exception_that_is_set(bound, s, fake, ext):
    fake.keep_sent()
    s.send(bytes(BIG), copy=False)
    s.send(bytes(BIG))
    s.recv(), s.recv()
    # Let go on this very thread's C call: no Python code runs before drain().
    fake.let_go()
    assert ext.drain() in (0, 2)  # 0: the pending call was first
    assert ext.drain() == 0

    class Watched(bytearray):
        def __del__(self):
            with pytest.raises(RuntimeError):
                raise RuntimeError

    f = bound.Frame(Watched(BIG), copy=False)
    with pytest.raises(KeyError, match="kept"):
        try:
            raise KeyError("kept")
        finally:
            del f


def test_a_release_callback_that_sends_is_no_trouble(bound, s, fake):
    class Sender(bytearray):
        def __del__(self):
            s.send(b"from __del__")

    fake.keep_sent()
    s.send(Sender(BIG), copy=False)
    s.recv()
    fake.let_go()
    s.send(b"next")
    assert sorted([s.recv(), s.recv()]) == [b"from __del__", b"next"]


# --- Python code that runs inside a call ---------------------------------------------------------


class Index:
    """A number that does something when it is read."""

    def __init__(self, hook, value: int = 0):
        self.hook, self.value = hook, value

    def __index__(self):
        self.hook()
        return self.value


class Truth:
    def __init__(self, hook, value: bool):
        self.hook, self.value = hook, value

    def __bool__(self):
        self.hook()
        return self.value


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


class Dying(bytearray):
    """A buffer that does something when it is let go of."""

    hook = staticmethod(lambda: None)

    def __del__(self):
        self.hook()


def dying(hook) -> Dying:
    data = Dying(BIG)
    data.hook = hook
    return data


#: What Python code may run through an argument of which call.
BY_ARGUMENT = {
    "send flags": lambda s, hook: s.send(b"x", Index(hook)),
    "send large, flags": lambda s, hook: s.send(bytes(BIG), Index(hook)),
    "send dontwait, flags": lambda s, hook: s.send(b"x", Index(hook, DONTWAIT)),
    "send copy": lambda s, hook: s.send(bytes(BIG), 0, Truth(hook, False)),
    "send track": lambda s, hook: s.send(bytes(BIG), 0, False, Truth(hook, True)),
    "send_multipart flags": lambda s, hook: s.send_multipart([b"x", bytes(BIG)], Index(hook)),
    "send_multipart copy": lambda s, hook: s.send_multipart([bytes(BIG)], 0, Truth(hook, False)),
    "send_multipart parts": lambda s, hook: s.send_multipart(Parts(hook, b"a", b"b")),
    "send_many flags": lambda s, hook: s.send_many([b"x", b"y"], flags=Index(hook)),
    "send_many copy": lambda s, hook: s.send_many([bytes(BIG)], copy=Truth(hook, False)),
    "send_many messages": lambda s, hook: s.send_many(Parts(hook, b"a", [b"b", b"c"])),
    "send_many last reference": lambda s, hook: s.send_many(dying(hook) for _ in range(1)),
    "recv flags": lambda s, hook: s.recv(Index(hook)),
    "recv copy": lambda s, hook: s.recv(0, Truth(hook, False)),
    "recv track": lambda s, hook: s.recv(0, False, Truth(hook, True)),
    "recv_multipart flags": lambda s, hook: s.recv_multipart(Index(hook)),
    "recv_multipart copy": lambda s, hook: s.recv_multipart(0, Truth(hook, False)),
    "recv_many max": lambda s, hook: s.recv_many(Index(hook, 5)),
    "recv_many multipart": lambda s, hook: s.recv_many(5, multipart=Truth(hook, True)),
    "recv_into nbytes": lambda s, hook: s.recv_into(bytearray(9), nbytes=Index(hook, 9)),
    "_get_int option": lambda s, hook: s._get_int(Index(hook, 21)),
    "poll list": lambda s, hook: type(s)._binding.poll(Parts(hook, (s, 1), (s, 1)), 0),
    "poll timeout": lambda s, hook: type(s)._binding.poll([(s, 1), (File(hook), 1)], 0),
}

#: The hook of the binding that runs, and in which call.
BY_BINDING = {
    "error": [
        lambda s: [s.recv(DONTWAIT) for _ in range(3)],
        lambda s: s._get_int(-1),
        lambda s: [s.recv_many(1, flags=DONTWAIT) for _ in range(2)],
    ],
    "event": [
        lambda s: s.send(bytes(BIG), copy=False, track=True),
        lambda s: s.send_multipart([b"x", bytes(BIG)], copy=False, track=True),
    ],
    "tracker": [lambda s: s.send(bytes(BIG), copy=False, track=True)],
    "gc_refs": [
        lambda s: s.send(bytes(BIG), copy=False),
        lambda s: s.send_many([b"x", bytes(BIG)], copy=False),
    ],
    "gcref": [lambda s: s.send_multipart([bytes(BIG), b"x"], copy=False)],
    "finished_tracker": [lambda s: s.send(b"x" * 9, copy=False)],
    "frame_class": [
        lambda s: s.recv(copy=False),
        lambda s: s.recv_multipart(copy=False),
        lambda s: s.recv_many(5, copy=False),
    ],
}


class File:
    def __init__(self, hook):
        self.hook = hook

    def fileno(self):
        self.hook()
        return 0


@pytest.fixture(params=["closes", "replaces", "dies"])
def meanwhile(request, s, make, fake):
    """A hook that takes the socket away, the first time it is called; `.runs`: how often it was."""
    other = make()

    def hook():
        hook.runs += 1
        if hook.runs > 1:
            return
        if request.param == "replaces":
            s._attach(other.h)
        else:
            fake.close(s.h)  # all that a context's end does
            if request.param == "closes":
                s._attach(0)

    hook.runs = 0
    hook.gone = request.param != "replaces"
    for body in (b"first", b"second"):
        fake.deliver(s.h, body, more=body == b"first")
        fake.deliver(other.h, body, more=body == b"first")
    return hook


def check_aftermath(s, hook):
    assert hook.runs, "the code did not run"
    if hook.gone:
        for call in (lambda: s.recv(DONTWAIT), lambda: s.send(b"x"), lambda: s.send_many([b"x"])):
            with raises_errno(ENOTSOCK):
                call()
        assert s._spin() is True


@pytest.mark.parametrize("call", BY_ARGUMENT.values(), ids=BY_ARGUMENT)
def test_an_argument_takes_the_socket_away(s, fake, meanwhile, call):
    with contextlib.suppress(Error):
        call(s, meanwhile)
    check_aftermath(s, meanwhile)


@pytest.mark.parametrize(
    ("hook", "call"), [(h, call) for h, calls in BY_BINDING.items() for call in calls]
)
def test_a_hook_takes_the_socket_away(bound, s, fake, meanwhile, hook, call):
    genuine = getattr(bound.hooks, hook)

    def taking_away(*arguments):
        meanwhile()
        return genuine(*arguments)

    setattr(bound.hooks, hook, taking_away)
    with contextlib.suppress(Error):
        call(s)
    check_aftermath(s, meanwhile)


@pytest.mark.parametrize("answer", [0, -EAGAIN, 1], ids=["sent", "full", "flush"])
@pytest.mark.parametrize(
    "send",
    [
        lambda s: s.send(bytes(BIG)),
        lambda s: s.send(bytes(BIG), DONTWAIT),
        lambda s: s.send_multipart([bytes(BIG), b"y", bytes(BIG)]),
        lambda s: s.send_many([bytes(BIG)]),
        lambda s: s.send_many([bytes(BIG), b"y", [b"z", bytes(BIG)]]),
        lambda s: s.send_many([[bytes(BIG), b"y"]]),
        lambda s: s.send_many([bytes(BIG)], flags=DONTWAIT),
    ],
    ids=["send", "nowait", "multipart", "many", "many mixed", "many parts", "many nowait"],
)
def test_what_a_send_releases_takes_the_socket_away(s, fake, meanwhile, send, answer):
    """The engine lets go of an earlier message while it takes this one, and its destructor runs
    before the call has ended."""
    fake.keep_sent()
    s.send(dying(meanwhile), copy=False)
    for _ in range(3):
        s.recv()
    assert not meanwhile.runs
    fake.let_go_on_send(1)
    fake.script(s.h, "s", answer)
    fake.set(s.h, "t", 0 if answer == -EAGAIN else -1)
    try:
        send(s)
    except Error as error:
        assert error.errno in (ENOTSOCK, EAGAIN)
    finally:
        fake.let_go_on_send(0)
    check_aftermath(s, meanwhile)


def test_send_many_that_found_no_room_says_that_the_socket_was_closed(s, fake):
    """It asks how long it may wait after the destructor ran; not long, or "it would block"."""
    fake.keep_sent()
    s.send(dying(lambda: (fake.close(s.h), s._attach(0))), copy=False)
    s.recv()
    fake.let_go_on_send(1)
    fake.script(s.h, "s", -EAGAIN)
    try:
        with raises_errno(ENOTSOCK):
            s.send_many([bytes(BIG)])
    finally:
        fake.let_go_on_send(0)


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.recv(copy=False),
        lambda s: s.recv_multipart(),
        lambda s: s.recv_multipart(copy=False),
        lambda s: s.recv_many(5),
        lambda s: s.recv_many(5, copy=False, multipart=True),
        lambda s: s.send(bytes(BIG), copy=False),
        lambda s: s.send_multipart([b"x", bytes(BIG)], copy=False),
        lambda s: s.send_many([b"x", [b"y", bytes(BIG)]], copy=False),
        lambda s: type(s)._binding.poll([(s, 1)], 0),
    ],
    ids=lambda call: None,
)
def test_a_garbage_collection_takes_the_socket_away(s, fake, meanwhile, call):
    def collecting(phase, info):
        meanwhile()

    threshold = gc.get_threshold()
    gc.collect()
    gc.callbacks.append(collecting)
    gc.set_threshold(1)
    try:
        call(s)
    except Error as error:
        assert error.errno in (ENOTSOCK, EAGAIN)
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(collecting)
    check_aftermath(s, meanwhile)


@pytest.mark.parametrize("way", ["signal", "thread"])
@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.recv(),
        lambda s: s.recv_multipart(copy=False),
        lambda s: s.recv_many(5),
        lambda s: s.recv_into(bytearray(5)),
        lambda s: s.send(b"x"),
        lambda s: s.send(bytes(BIG), copy=False),
        lambda s: s.send_multipart([b"x", b"y"]),
        lambda s: s.send_many([b"x", b"y"]),
    ],
    ids=["recv", "multipart", "many", "into", "send", "large", "send parts", "send many"],
)
def test_a_wait_is_over_when_the_socket_is_taken_away(s, fake, meanwhile, call, way):
    if way == "thread" and not meanwhile.gone:
        pytest.skip("who waits goes on waiting for the socket that it began with")
    s.recv(), s.recv()
    fake.set(s.h, "h", 0)
    handle = s.h
    old = signal.signal(signal.SIGALRM, lambda *_: meanwhile())

    def take_away():
        eventually(lambda: fake.count(handle, "w"))
        while not meanwhile.runs:  # the fake sleeps a little after it has counted
            signal.pthread_kill(main, signal.SIGALRM) if way == "signal" else meanwhile()
            time.sleep(0.01)

    main = threading.get_ident()
    thread = threading.Thread(target=take_away)
    thread.start()
    try:
        call(s)
        assert not meanwhile.gone  # tried again, on the socket that is there now
    except Error as error:
        assert meanwhile.gone and error.errno == ENOTSOCK
    finally:
        thread.join(TIMEOUT)
        signal.signal(signal.SIGALRM, old)
    check_aftermath(s, meanwhile)


# --- multipart -------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 100])
def test_a_multipart_message_arrives_in_order(s, count, copied):
    parts = [b"%d" % i * (i + 1) for i in range(count)]
    s.send_multipart(parts, copy=copied)
    s.send(b"after")
    assert s.recv_multipart() == parts
    s.send_multipart(tuple(parts), copy=copied)
    assert s.recv() == b"after"
    assert [f.bytes for f in s.recv_multipart(copy=False)] == parts


def test_send_multipart_answers_what_the_last_part_would(bound, s):
    big = bytes(BIG)
    assert s.send_multipart([b"a", b"b"]) is None
    assert s.send_multipart([b"a", b"b"], copy=False, track=True) is FINISHED
    assert isinstance(s.send_multipart([b"a", big], copy=False, track=True), Tracker)
    assert s.send_multipart([b"a", big], copy=False) is None
    assert s.send_multipart([b"a", bound.Frame(b"b")], copy=False) is None
    # Of all parts whose memory the engine has.
    first = s.send_multipart([big, b"b"], copy=False, track=True)
    assert isinstance(first, Tracker) and first is not FINISHED
    both = s.send_multipart([big, b"a", big], copy=False, track=True)
    assert [type(tracker) for tracker in both.events] == [Tracker, Tracker]
    assert s.send_multipart(msg_parts=[b"a"], foo=1, routing_id=3, group="x") is None


@pytest.mark.parametrize(
    ("parts", "error", "text"),
    [
        ([], IndexError, None),
        ((), IndexError, None),
        (iter([b"a"]), TypeError, None),
        ({b"a"}, TypeError, None),
        (deque([b"a"]), TypeError, None),
        (None, TypeError, None),
        (5, TypeError, None),
        ("ab", TypeError, r"Frame 0 \('a'\) does not support the buffer interface\."),
        (b"ab", TypeError, r"Frame 0 \(97\) does not support"),
        ([b"a", "b"], TypeError, r"Frame 1 \('b'\) does not support"),
        ([b"a", 1], TypeError, r"Frame 1 \(1\) does not support"),
        ([b"a", None], TypeError, r"Frame 1 \(None\)"),
        ([b"a", ["x" * 40]], TypeError, r"Frame 1 \(\['x{30}\.\.\.\) does not support"),
        ([b"a", memoryview(b"abcd")[::2]], BufferError, None),
        ([memoryview(b"abcd")[::2], b"a"], BufferError, None),
    ],
)
@pytest.mark.parametrize("copied", [True, False])
def test_a_bad_message_sends_nothing(s, fake, parts, error, text, copied):
    with pytest.raises(error, match=text):
        s.send_multipart(parts, copy=copied)
    assert fake.count(s.h, "q") == 0


def test_an_untracked_frame_in_a_tracked_message_sends_nothing(bound, s, fake):
    with pytest.raises(ValueError, match="Not a tracked message"):
        s.send_multipart([bytes(BIG), bound.Frame(b"x")], copy=False, track=True)
    assert fake.count(s.h, "q") == 0
    assert bound.hooks.refs == {}


def test_a_sequence_of_another_kind_is_sliced(s):
    class Parts:
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return [b"a", b"b"][i]

    s.send_multipart(Parts())
    assert s.recv_multipart() == [b"a", b"b"]


def test_a_full_queue_refuses_the_whole_message(s, fake):
    fake.set(s.h, "h", 0)
    with raises_errno(EAGAIN, Again):
        s.send_multipart([b"a", b"b", b"c" * BIG], DONTWAIT, copy=False)
    assert fake.count(s.h, "q") == 0


def test_the_last_part_takes_the_flags_as_they_are(s):
    s.send_multipart([b"a", b"b"], flags=SNDMORE)
    s.send(b"c")
    assert s.recv_multipart() == [b"a", b"b", b"c"]


def test_an_overridden_send_gets_every_part_as_from_pyzmq(bound, make):
    calls = []

    class Own(bound.Socket):
        def send(self, *args, **kwargs):
            calls.append((args, kwargs))
            return super().send(*args, **kwargs)

    o = make(Own)
    assert o.send_multipart([b"a", b"b"], 0, False, routing_id=3) is FINISHED
    options = {"copy": False, "track": False}
    assert calls == [((b"a", SNDMORE), options), ((b"b", 0), options)]
    assert bound.Socket.recv_multipart(o) == [b"a", b"b"]
    with pytest.raises(TypeError, match="Frame 1"):
        o.send_multipart([b"a", "b"])
    assert len(calls) == 2


def test_an_overridden_recv_gives_every_part(bound, make):
    calls = []

    class Own(bound.Socket):
        def recv(self, *args, **kwargs):
            calls.append((args, kwargs))
            part = super().recv(*args, **{**kwargs, "copy": False})
            self.more = part.more
            return part.bytes.upper()

        def getsockopt(self, option):
            assert option == 13
            return self.more

    o = make(Own)
    o.send_multipart([b"a", b"b"])
    assert o.recv_multipart() == [b"A", b"B"]
    assert calls == [((0,), {"copy": True, "track": False})] * 2


def test_a_method_patched_into_the_class_counts_as_overridden(bound, make, monkeypatch):
    o = make()
    sent = []
    monkeypatch.setattr(bound.Socket, "send", lambda self, *a, **k: sent.append(a), raising=False)
    o.send_multipart([b"a"])
    assert sent == [(b"a", 0)]


# --- recv_into -------------------------------------------------------------------------------


def test_recv_into_fills_cuts_and_tells_the_whole_size(s):
    def into(buffer, **options):
        s.send(b"abcdefgh")
        size = s.recv_into(buffer, **options)
        return size, bytes(memoryview(buffer).cast("B")) if buffer else b""

    assert into(bytearray(3)) == (8, b"abc")
    assert into(bytearray(0)) == (8, b"")
    assert into(bytearray(9)) == (8, b"abcdefgh\0")
    assert into(bytearray(4), nbytes=2) == (8, b"ab\0\0")
    assert into(bytearray(4), nbytes=2.0, flags=0) == (8, b"ab\0\0")
    assert into(array("i", [0, 0]), nbytes=3) == (8, b"abc\0\0\0\0\0")
    square = memoryview(bytearray(4)).cast("B", (2, 2))
    s.send(b"abcdefgh")
    assert s.recv_into(square) == 8
    assert square.tobytes() == b"abcd"
    large = bytearray(300_000)
    s.send(bytes(range(250)) * 1200)
    assert s.recv_into(large) == 300_000
    assert large == bytes(range(250)) * 1200


@pytest.mark.parametrize(
    ("args", "options", "error"),
    [
        ((b"abc",), {}, BufferError),
        (("abc",), {}, TypeError),
        ((4,), {}, TypeError),
        ((), {}, TypeError),
        ((), {"buffer": bytearray(3)}, TypeError),
        ((bytearray(3), 1), {}, TypeError),
        ((bytearray(3),), {"foo": 1}, TypeError),
        ((bytearray(3),), {"nbytes": -1}, ValueError),
        ((bytearray(3),), {"nbytes": 4}, ValueError),
        ((bytearray(3),), {"nbytes": 1 << 80}, OverflowError),
        ((bytearray(3),), {"nbytes": "1"}, TypeError),
        ((bytearray(3),), {"nbytes": None}, TypeError),
        ((memoryview(bytearray(8))[::2],), {}, BufferError),
        ((array("i", [0, 0]),), {"nbytes": 9}, ValueError),
    ],
)
def test_recv_into_refuses_what_it_cannot_fill_and_takes_nothing(s, args, options, error):
    s.send(b"kept")
    with pytest.raises(error):
        s.recv_into(*args, **options)
    assert s.recv() == b"kept"


# --- Frame -----------------------------------------------------------------------------------


def test_a_frame_copies_below_the_threshold_only(bound):
    hooks, frame = bound.hooks, bound.Frame
    frame(b"x" * 65535)
    assert hooks.refs == {}
    f = frame(b"x" * 65536)
    assert len(hooks.refs) == 1
    del f
    assert hooks.refs == {}
    hooks.threshold = 5
    f = frame(b"12345")
    assert len(hooks.refs) == 1
    g = frame(b"12345", copy_threshold=6)
    h = frame(b"12345", copy=True)
    assert len(hooks.refs) == 1
    i = frame(b"1", copy_threshold=1)
    j = frame(b"1", False, False)
    assert len(hooks.refs) == 3
    assert {x.bytes for x in (f, g, h)} == {b"12345"}
    assert i.bytes == j.bytes == b"1"


def test_a_zero_copy_frame_adds_two_references_and_a_copy_one(bound):
    big = bytes(BIG)
    before = refs_of(big)
    f = bound.Frame(big, copy=False)
    assert refs_of(big) == before + 2
    ((key, entry),) = bound.hooks.refs.items()
    assert key == id(entry)
    assert entry.event is None
    del entry
    g = copy.copy(f)
    assert refs_of(big) == before + 3
    assert len(bound.hooks.refs) == 1
    view = f.buffer
    assert refs_of(big) == before + 3
    del f
    assert refs_of(big) == before + 3  # the view keeps it
    del view
    assert refs_of(big) == before + 2
    del g
    assert refs_of(big) == before
    assert bound.hooks.refs == {}


def test_an_unsent_tracked_frame_is_done_the_moment_it_goes(bound):
    f = bound.Frame(b"x" * 10, copy=False, track=True)
    event, tracker = f.tracker_event, f.tracker
    assert tracker.events == (event,)
    assert not event.is_set()
    g = f.fast_copy()
    assert g.tracker is tracker
    assert g.tracker_event is event
    del f
    assert not event.is_set()
    del g
    assert event.is_set()


def test_a_frame_that_copied_is_tracked_by_what_is_done(bound):
    for f in (bound.Frame(b"x", track=True), bound.Frame(track=True)):
        assert f.tracker is FINISHED
        assert f.tracker_event is None
    f = bound.Frame(b"x")
    assert f.tracker is None
    assert f.more is False


@pytest.mark.parametrize("size", [0, 5, 8192, BIG])
@pytest.mark.parametrize("copied", [True, False])
def test_a_frame_is_a_writable_buffer_of_bytes(bound, size, copied):
    body = os.urandom(size)
    f = bound.Frame(bytearray(body), copy=copied)
    view = memoryview(f)
    assert (view.format, view.itemsize, view.ndim) == ("B", 1, 1)
    assert (view.shape, view.strides, view.readonly) == ((size,), (1,), False)
    assert view.obj is f
    assert len(f) == size
    assert bytes(f) == f.bytes == view.tobytes() == body
    assert f.buffer is f.buffer
    if size:
        view[0] = body[0] ^ 1
        assert f.bytes == body  # copied once, and kept
        assert f.buffer[0] == body[0] ^ 1


def test_bytes_is_cached_and_not_the_input(bound):
    body = b"some bytes that are no singleton"
    for copied in (True, False):
        f = bound.Frame(body, copy=copied)
        assert f.bytes == body
        assert f.bytes is not body
        assert f.bytes is f.bytes


def test_a_view_keeps_the_memory(bound, s):
    view = bound.Frame(b"kept").buffer
    s.send(b"received" * 2000)
    received = s.recv(copy=False).buffer
    gc.collect()
    assert view == b"kept"
    assert received == b"received" * 2000


@pytest.mark.parametrize(
    ("args", "options", "error"),
    [
        (("text",), {}, TypeError),
        ((5,), {}, TypeError),
        (([1],), {}, TypeError),
        ((memoryview(b"abcd")[::2],), {}, BufferError),
        ((b"x",), {"copy_threshold": "x"}, TypeError),
        ((b"x", False, None, None, 5), {}, TypeError),
    ],
)
def test_a_frame_refuses_what_is_no_buffer(bound, args, options, error):
    with pytest.raises(error):
        bound.Frame(*args, **options)


def test_subclasses_may_have_constructors_of_their_own(bound):
    class Own(bound.Frame):
        def __init__(self, *args, colour=None):
            self.colour = colour

    f = Own(b"abc", colour="red")
    assert (f.bytes, f.colour) == (b"abc", "red")
    assert type(copy.copy(f)) is Own
    assert bound.Frame(bound.Frame(b"abc")).bytes == b"abc"


def test_attributes_of_a_frame_have_their_types(bound):
    f = bound.FrameBase(b"x")
    f.more = "yes"
    assert f.more is True
    f.tracker = f.tracker_event = 3
    assert (f.tracker, f.tracker_event) == (3, 3)
    for name in ("bytes", "buffer", "foo"):
        with pytest.raises(AttributeError):
            setattr(f, name, 1)
    with pytest.raises(AttributeError):
        del f.more
    for name in ("group", "routing_id"):
        with pytest.raises(RuntimeError):
            getattr(f, name)
        with pytest.raises(RuntimeError):
            setattr(f, name, 1)
    with pytest.raises(TypeError):
        copy.deepcopy(f)
    with pytest.raises(TypeError):
        pickle.dumps(f)
    assert f != bound.FrameBase(b"x")
    assert hash(f) == hash(f)


def test_options_of_a_frame(bound):
    f = bound.Frame(b"x")
    assert f.get(MORE) == 0
    assert f.get(SHARED) == 0
    assert f.get("routing_id") == 0
    assert f.get("group") == ""
    for missing in (SRCFD, 99, -1, 1 << 70, "MORE", "Socket-Type", b"x", "zz", "a\0b"):
        with raises_errno(EINVAL):
            f.get(missing)
    for bad in (1.0, None):
        with pytest.raises(TypeError):
            f.get(bad)
    assert f.set("group", "x") is None
    assert f.set("group", b"x") is None
    assert f.set("routing_id", 1) is None
    for option in (MORE, 99, "zz"):
        with raises_errno(EINVAL):
            f.set(option, 1)
        with pytest.raises(TypeError):
            f.set(option, "x")
    with pytest.raises(TypeError):
        f.set("group", 1)
    with pytest.raises(OverflowError):
        f.set("routing_id", -1)
    with pytest.raises(TypeError):
        f.set("group")


def test_a_received_frame_has_more_and_its_connections_properties(bound, s, fake):
    fake.set(s.h, "m", 1)
    s.send_multipart([b"a", b"b"])
    f, g = s.recv_multipart(copy=False, track=True)
    assert type(f) is bound.Frame
    assert (f.more, g.more) == (True, False)
    assert (f.get(MORE), g.get(MORE)) == (1, 0)
    assert f.tracker is FINISHED
    assert f.get("Socket-Type") == f.get(b"Socket-Type") == "PUSH"
    assert copy.copy(f).get("Socket-Type") == "PUSH"
    assert f.get(SRCFD) == 12
    assert f.get("Odd") == "\udcff"
    with raises_errno(EINVAL):
        f.get("User-Id")
    assert fake.metadata_refs() == 2


def test_a_large_frame_is_sent_on_without_a_copy_and_a_small_one_with(bound, s, fake):
    for body, blocks in ((b"x" * 8192, 1), (b"x" * 8191, 0)):
        f = bound.Frame(body)
        was = fake.count(s.h, "b")
        for _ in range(4):
            s.send(f)
        assert fake.count(s.h, "b") == was + 4 * blocks
        assert f.get(SHARED) == blocks
        assert [s.recv() for _ in range(4)] == [body] * 4
        assert f.get(SHARED) == 0
    s.send(b"y" * 9000)
    f = s.recv(copy=False)
    s.send(f)
    del f
    assert s.recv(copy=False).bytes == b"y" * 9000


def test_a_small_zero_copy_frame_is_not_copied_either(bound, s, fake):
    f = bound.Frame(b"again", copy=False, track=True)
    tracker = f.tracker
    s.send(f)
    s.send(f)
    del f
    assert not tracker.done
    s.recv()
    assert not tracker.done
    s.recv()
    s.send(b"")
    assert tracker.done


def test_cycles_through_frames_are_collected(bound):
    class Own(bound.Frame):
        pass

    f = Own(b"x")
    f.me = f
    f.tracker = f
    gone = weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None


def test_a_socket_closed_by_another_thread_ends_the_wait(bound, make, fake):
    for call in (lambda o: o.recv(), lambda o: o.recv_multipart(), lambda o: o.send(b"x" * BIG)):
        o = make()
        fake.set(o.h, "h", 0)
        errors = []

        def wait(o=o, call=call, errors=errors):
            try:
                call(o)
            except Error as e:
                errors.append(e.errno)

        t = threading.Thread(target=wait)
        t.start()
        eventually(lambda o=o: fake.count(o.h, "w"))
        o._attach(0)
        fake.close(o.h)
        t.join(TIMEOUT)
        assert errors == [ENOTSOCK]


def test_what_is_released_between_parts_runs_no_code_there(bound, s, fake):
    """A destructor that sends would put its message between our parts."""

    class Sender(bytearray):
        def __del__(self):
            s.send(b"from __del__")

    fake.keep_sent()
    s.send(Sender(BIG), copy=False)
    s.recv()
    fake.let_go_on_send(1)
    s.send_multipart([b"a" * BIG, b"b" * BIG, b"c"], copy=False)
    fake.let_go_on_send(0)
    messages = [s.recv_multipart(), s.recv_multipart()]
    assert list(map(len, messages)) == [3, 1]


# --- poll ------------------------------------------------------------------------------------


@pytest.fixture
def poll(bound):
    return bound.SocketBase._binding.poll


def test_poll_of_what_is_ready_never_gives_up_the_gil(fake, poll, s):
    s.send(b"x")
    for _ in range(3):
        assert poll([(s, POLLIN)], 1000) == [(s, POLLIN)]
        assert poll([(s, POLLIN | POLLOUT)], None) == [(s, POLLIN | POLLOUT)]
    assert (fake.count(s.h, "g"), fake.count(s.h, "p")) == (6, 0)


@pytest.mark.parametrize("glance", [0, LATER])
def test_poll_waits_without_the_gil_when_a_glance_does_not_tell(fake, poll, s, glance):
    """LATER is a lock that somebody has, or a socket that has to be looked at in the kernel."""
    s.send(b"x")
    fake.script(s.h, "g", glance)
    fake.script(s.h, "p", -EINTR)
    assert poll([(s, POLLIN)], 1000) == [(s, POLLIN)]
    assert (fake.count(s.h, "g"), fake.count(s.h, "p")) == (1, 2)


@pytest.mark.parametrize("call", "gp")
def test_poll_raises_what_the_engine_answers(fake, poll, s, call):
    fake.script(s.h, "g", 0)
    fake.script(s.h, call, -ETERM)
    if call == "g":
        fake.script(s.h, "g", -ETERM)
        assert poll([(s, POLLIN)], 0) == []
    with raises_errno(ETERM):
        poll([(s, POLLIN)], 0)


def test_a_closed_socket_is_never_ready_and_no_error(fake, poll, make):
    s, closed, detached = make(), make(), make()
    s.send(b"x")
    fake.close(closed.h)
    detached._attach(0)
    for order in ([closed, detached, s], [s, closed, detached]):
        assert poll([(x, POLLIN | POLLOUT) for x in order], 0) == [(s, POLLIN | POLLOUT)]
    assert poll([(closed, POLLIN)], 0) == []


def test_a_socket_that_closes_while_it_is_polled_is_left_out(fake, poll, make):
    s, closing = make(), make()
    fake.script(s.h, "g", 0)
    fake.script(s.h, "p", -ENOTSOCK)
    s.send(b"x")
    fake.close(closing.h)
    assert poll([(s, POLLIN), (closing, POLLIN)], 1000) == [(s, POLLIN)]


def test_poll_takes_what_two_values_can_be_read_from(poll, s):
    s.send(b"x")
    for pair in ((s, 1), [s, 1], (s, True), (s, 1.9), dict.fromkeys((s, 1))):
        assert poll([pair], 0) == [(s, POLLIN)]
        assert poll((pair,), 0) == [(s, POLLIN)]
        assert poll(deque([pair]), 0) == [(s, POLLIN)]
    assert poll([], 0) == []


def test_poll_refuses_what_it_cannot_poll(poll, s):
    class NoDescriptor:
        pass

    class Descriptor:
        def __init__(self, answer):
            self.answer = answer

        def fileno(self):
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    for sockets, kind in [
        ([(NoDescriptor(), 1)], TypeError),
        ([(None, 1)], TypeError),
        ([(Descriptor(None), 1)], ValueError),
        ([(Descriptor("x"), 1)], ValueError),
        ([(Descriptor(OSError(9, "bad")), 1)], ValueError),
        ([(Descriptor(1 << 40), 1)], OverflowError),
        ([(s, "x")], TypeError),
        ([(s, 1 << 40)], OverflowError),
        ([(s,)], ValueError),
        ([(s, 1, 2)], ValueError),
        ([s], TypeError),
        (None, TypeError),
        (iter([(s, 1)]), TypeError),
    ]:
        with pytest.raises(kind):
            poll(sockets, 0)
    for timeout, kind in [("x", TypeError), (1 << 40, OverflowError), (s, TypeError)]:
        with pytest.raises(kind):
            poll([(s, 1)], timeout)
        with pytest.raises(kind):
            poll([], timeout)


def test_code_that_runs_inside_poll_may_do_what_it_likes(fake, poll, make):
    """fileno() empties the list, closes a socket, lets go of all that poll() was given."""
    s, other = make(), make()
    s.send(b"x")

    class Wild:
        def __init__(self, act):
            self.act = act

        def fileno(self):
            self.act()
            return -1

    sockets = [(Wild(lambda: sockets.clear()), 1), (s, 1), (other, 1)]
    with pytest.raises(IndexError):
        poll(sockets, 0)
    sockets = [(other, 1), (Wild(lambda: fake.close(other.h)), 1), (s, 1)]
    assert poll(sockets, 0) == [(s, POLLIN)]

    def forget():
        sockets[0] = sockets[1] = (make(), 0)

    own = make()
    own.send(b"x")
    sockets = [(own, 1), (Wild(forget), 1)]
    del own
    ((answer, mask),) = poll(sockets, 0)
    assert answer.recv() == b"x" and mask == POLLIN


@pytest.mark.parametrize("count", [1, 32, 33, 500])
def test_poll_keeps_the_order_however_many(poll, make, count):
    s, quiet = make(), make()
    s.send(b"x")
    sockets = [(quiet, POLLIN), (s, POLLIN)] * count
    assert poll(sockets, 0) == [(s, POLLIN)] * count


def test_poll_keeps_no_reference(fake, poll, s):
    s.send(b"x")
    sockets = [(s, POLLIN)] * 40
    before = refs_of(s)
    answer = poll(sockets, 0)
    assert refs_of(s) == before + 40
    del answer
    fake.script(s.h, "g", -ETERM)
    with raises_errno(ETERM):
        poll(sockets, 0)
    with pytest.raises(TypeError):
        poll([*sockets, None], 0)
    assert refs_of(s) == before


# --- what must never happen -----------------------------------------------------------------------


def test_no_python_code_runs_while_the_socket_is_locked(bound, s, fake):
    seen = []

    def collecting(phase, info):
        seen.append(fake.locked())

    thresholds = gc.get_threshold()
    gc.callbacks.append(collecting)
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(50):
            s.send_multipart([b"a", b"b" * 9000, b"c"])
            s.recv_multipart(copy=False)
            s.send_multipart([b"a", b"b" * 300_000])
            s.recv_multipart()
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(collecting)
    assert seen
    assert not any(seen)


def test_memory_that_runs_out_is_an_exception_and_leaks_nothing(bound, s, fake):
    big = bytes(BIG)
    for call in (
        lambda: s.send(big, copy=False),
        lambda: s.send(big),
        lambda: bound.Frame(bytearray(9000)),
        lambda: bound.Frame(big, copy=False, track=True),
    ):
        fake.fail_after(0)
        with pytest.raises(MemoryError):
            call()
        assert bound.hooks.refs == {}
    s.send(b"x")
    fake.fail_after(0)
    with pytest.raises(MemoryError):
        s.recv(copy=False)


def test_several_threads_share_one_socket(bound, fake, make):
    a, b = make(), make()
    fake.pair(a.h, ctypes.c_int64(b.h))
    errors, rounds = [], 500

    def send():
        try:
            for i in range(rounds):
                a.send_multipart([b"head", b"x" * (i % 3 * 40_000)], copy=bool(i % 2))
        except Exception as e:
            errors.append(e)

    def recv():
        try:
            for i in range(rounds):
                head, _ = b.recv_multipart(copy=bool(i % 2))
                assert bytes(head) == b"head"
        except Exception as e:
            errors.append(e)

    fake.set(a.h, "h", 512)
    fake.set(b.h, "h", 512)
    fake.set(b.h, "t", 10_000)
    fake.set(a.h, "t", 10_000)
    threads = [threading.Thread(target=f) for f in (send, recv)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(TIMEOUT * 2)
    assert errors == []
    assert fake.count(b.h, "q") == 0


def test_the_interpreter_exits_with_memory_in_the_engines_hands(built, tmp_path):
    code = f"""
import ctypes, importlib.util, threading, types
spec = importlib.util.spec_from_file_location("zmq_monocoque._ext", {str(built[0])!r})
ext = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ext)
fake = ctypes.CDLL({str(built[1])!r})
fake.fake_api.restype = ctypes.c_void_p
fake.fake_socket.restype = ctypes.c_int64
hooks = types.SimpleNamespace(error=OSError, frame_class=None, event=threading.Event,
    tracker=lambda e: e, finished_tracker=lambda: None, copy_threshold=lambda: 1,
    gc_refs=dict, gcref=lambda o, e: (o, e), option_type=lambda o: 'int')
Socket, Frame = ext.bind(fake.fake_api(), hooks)
s = Socket()
s._attach(fake.fake_socket())
fake.fake_keep_sent()
for i in range(20):
    s.send(bytes(100000), copy=False, track=True)
f = Frame(bytes(10), copy=False)
fake.fake_let_go_later(10)  # while or after the interpreter is taken apart
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=TIMEOUT * 2)
