"""The extension over tests/unit/c/fake_api/, a queue in memory that can be told what to answer."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import types
from typing import Generic

import pytest
from support.extension import (
    PACKAGE,
    ROOT,
    Fake,
    Hooks,
    T,
    compile_shared,
)


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
            *sorted((ROOT / "tests" / "unit" / "c" / "fake_api").glob("*.c")),
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
        s._zm_attach(s.h)
        return s

    yield make_socket
    for handle in handles:
        fake.close(handle)


@pytest.fixture
def s(make):
    return make()
