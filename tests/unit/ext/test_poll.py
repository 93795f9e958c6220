"""poll, and what must never happen."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
from collections import deque

import pytest
from support import TIMEOUT
from support.extension import (
    BIG,
    EINTR,
    ENOTSOCK,
    ETERM,
    FREE_THREADED,
    LATER,
    POLLIN,
    POLLOUT,
    needs_thresholds,
    raises_errno,
    refs_of,
)

# --- poll ------------------------------------------------------------------------------------


@pytest.fixture
def poll(bound):
    return bound.SocketBase._zm_binding.poll


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
    detached._zm_attach(0)
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


@needs_thresholds
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


@pytest.mark.skipif(FREE_THREADED, reason="the stand-in has no lock of its own")
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
s._zm_attach(fake.fake_socket())
fake.fake_keep_sent()
for i in range(20):
    s.send(bytes(100000), copy=False, track=True)
f = Frame(bytes(10), copy=False)
fake.fake_let_go_later(10)  # while or after the interpreter is taken apart
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=TIMEOUT * 2)
