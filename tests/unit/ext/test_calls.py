"""Calls over a stand-in for the engine. What each returns and raises was read off pyzmq 27.3.0."""

from __future__ import annotations

import os
import signal
import threading
from array import array

import pytest
from support import TIMEOUT, eventually
from support.extension import (
    BIG,
    COPIED_MAX,
    DONTWAIT,
    EAGAIN,
    EINTR,
    EINVAL,
    ENOTSOCK,
    ETERM,
    LATER,
    SEND_FLUSH,
    SNDMORE,
    Again,
    raises_errno,
)

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
    "get_int": lambda s: s._zm_get_int(1),
    "get bytes": lambda s: s.get(5),
    "bind": lambda s: s._zm_bind("tcp://x"),
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
    assert s._zm_get_int(1) == 1
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
        s._zm_open(1, -1)
    with raises_errno(14):
        s._zm_open(2, 1)
    assert s.closed
    s._zm_open(1, 1)
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
    assert s._zm_spin() is False
    fake.deliver(s.h, b"x")
    assert s._zm_spin() is True
    s.recv()
    s._zm_attach(0)
    assert s._zm_spin() is True  # the call finds out what is wrong


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
