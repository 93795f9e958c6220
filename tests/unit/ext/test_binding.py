"""How the extension is bound to a table and its classes."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest
from support.extension import (
    ENOTSOCK,
    FREE_THREADED,
    Hooks,
    raises_errno,
)


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
    o._zm_attach(s.h)
    s.send(b"x")
    assert o.recv() == b"x"


@pytest.mark.skipif(
    FREE_THREADED and sys.version_info < (3, 14), reason="classes are immortal beside threads"
)
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
    o._zm_attach(handle := fake.socket())
    o.send(b"x")
    with pytest.raises(TypeError, match="frame_class"):
        o.recv(copy=False)
    fake.close(handle)


def test_the_handle_is_underlying_and_a_stale_one_is_no_socket(bound, fake, s):
    assert s.underlying == s.h
    for stale in (0, -1, 1 << 40, s.h + (1 << 16)):
        o = bound.Socket()
        o._zm_attach(stale)
        assert o.underlying == stale
        with raises_errno(ENOTSOCK):
            o.send(b"x")
    with pytest.raises(TypeError):
        s._zm_attach("1")
