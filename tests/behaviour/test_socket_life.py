"""The Python face of a socket: closing, shadows, copies, reprs, attributes, errors."""

from __future__ import annotations

import copy
import errno
import gc
import threading
import warnings
from unittest import mock

import pytest
from support import TIMEOUT, bind_over, errno_of, free_port, rebind


@pytest.fixture
def pair(zmq, make):
    """Two connected PAIRs."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    b.connect(bind_over(a, "inproc", ""))
    return a, b


def test_a_closed_socket_answers_with_enotsock(zmq, make):
    """Every call but close."""
    s = make(zmq.PAIR)
    s.close()
    s.close()
    assert s.closed
    calls = [
        (s.bind, "inproc://x"),
        (s.connect, "inproc://x"),
        (s.unbind, "inproc://x"),
        (s.disconnect, "inproc://x"),
        (s.send, b"x"),
        (s.recv,),
        (s.recv_into, bytearray(1)),
        (s.send_multipart, [b"x"]),
        (s.recv_multipart,),
        (s.get, zmq.LINGER),
        (s.set, zmq.LINGER, 0),
    ]
    for call, *args in calls:
        assert errno_of(zmq.ZMQError, call, *args) == errno.ENOTSOCK, call
    assert errno_of(zmq.ZMQError, lambda: s.linger) == errno.ENOTSOCK
    assert errno_of(zmq.ZMQError, s.poll, 0) == errno.ENOTSUP


def test_a_socket_is_a_context(zmq, ctx):
    """parity.md, row 34: closed at the end."""
    with ctx.socket(zmq.PAIR) as s:
        assert not s.closed
    assert s.closed


def test_close_takes_a_linger(zmq, make):
    """What is queued may be dropped at once."""
    s = make(zmq.PUSH, linger=-1)
    s.connect(f"tcp://127.0.0.1:{free_port()}")
    s.send(b"x")
    s.close(linger=0)
    assert s.closed


def test_a_forgotten_socket_warns_and_is_closed(zmq, ctx):
    """ResourceWarning with the socket as its source."""
    s = ctx.socket(zmq.PAIR)
    text = repr(s)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del s
        gc.collect()
    (warning,) = (w for w in caught if w.category is ResourceWarning and "socket" in str(w.message))
    assert str(warning.message) == f"Unclosed socket {text}"


def test_a_shadow_is_the_same_socket(zmq, make):
    """By number or by object; it owns nothing."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    b.connect(bind_over(a, "inproc", ""))
    by_number, by_object = zmq.Socket.shadow(a.underlying), zmq.Socket.shadow(a)
    by_call = zmq.Socket(shadow=a.underlying)
    by_copy = zmq.Socket(a)
    assert by_number.context is None
    assert by_object.context is a.context
    for shadow in (by_number, by_object, by_call, by_copy):
        assert shadow.type == zmq.PAIR
        assert shadow.underlying == a.underlying
        b.send(b"x")
        assert shadow.recv() == b"x"
    del shadow, by_number, by_object, by_call, by_copy
    gc.collect()
    b.send(b"still open")
    assert a.recv() == b"still open"


def test_a_shadow_sees_the_end_of_its_socket(zmq, make):
    """Closed is looked up; calls are ENOTSOCK."""
    s = make(zmq.PAIR)
    shadow = zmq.Socket.shadow(s.underlying)
    assert not shadow.closed
    s.close()
    assert errno_of(zmq.ZMQError, shadow.recv, zmq.DONTWAIT) == errno.ENOTSOCK
    assert errno_of(zmq.ZMQError, lambda: shadow.events) == errno.ENOTSOCK
    assert shadow.closed


def test_a_copy_is_a_shadow(zmq, pair):
    """copy and deepcopy."""
    a, b = pair
    for twin in (copy.copy(a), copy.deepcopy(a)):
        assert twin.underlying == a.underlying
        assert twin is not a
        b.send(b"x")
        assert twin.recv() == b"x"


def test_reprs_name_the_type_and_the_state(zmq, ctx):
    """An exact class is zmq.Socket."""
    s = ctx.socket(zmq.PUB)
    assert repr(s) == f"<zmq.Socket(zmq.PUB) at {hex(id(s))}>"
    s.close()
    assert repr(s) == f"<zmq.Socket(zmq.PUB) at {hex(id(s))} closed>"

    class Mine(zmq.Socket):
        pass

    with Mine(ctx, zmq.SUB) as mine:
        assert repr(mine) == f"<{Mine.__module__}.Mine(zmq.SUB) at {hex(id(mine))}>"


def test_the_type_is_an_enum_and_an_int(zmq, make):
    s = make(zmq.REP)
    assert s.type is zmq.SocketType.REP
    assert type(s.get(zmq.TYPE)) is int and s.get(zmq.TYPE) == zmq.REP
    with pytest.warns(DeprecationWarning):
        assert s.socket_type == zmq.REP


def test_a_socket_without_a_type_is_a_pair_or_an_error(zmq, ctx):
    """The constructors."""
    s = zmq.Socket(ctx, zmq.PAIR)
    assert s.type == zmq.PAIR
    s.close()
    with pytest.raises(TypeError):
        zmq.Socket(None, zmq.PAIR)


def test_subscribe_is_a_method_and_an_attribute(zmq, make):
    """Text or bytes."""
    xpub, sub = make(zmq.XPUB), make(zmq.SUB)
    sub.connect(bind_over(xpub, "inproc", ""))
    sub.subscribe = "a"
    sub.subscribe("b")
    sub.subscribe(b"c")
    sub.unsubscribe("a")
    sub.unsubscribe = b"b"
    got = [xpub.recv() for _ in range(5)]
    assert got == [b"\x01a", b"\x01b", b"\x01c", b"\x00a", b"\x00b"]


def test_string_options_have_an_encoding(zmq, make):
    """set_string and get_string; ints are refused."""
    s = make(zmq.DEALER)
    s.set_string(zmq.IDENTITY, "gr\u00fc\u00df", "utf-16")
    assert s.get_string(zmq.IDENTITY, "utf-16") == "gr\u00fc\u00df"
    assert s.get(zmq.IDENTITY) == "gr\u00fc\u00df".encode("utf-16")
    s.setsockopt_string(zmq.IDENTITY, "x")
    assert s.getsockopt_string(zmq.IDENTITY) == "x"
    with pytest.raises(TypeError):
        s.get_string(zmq.LINGER)
    with pytest.raises(TypeError):
        s.set_string(zmq.IDENTITY, b"bytes")


def test_a_mock_can_be_made_of_a_socket(zmq, make):
    """write-only options are no obstacle."""
    s = make(zmq.SUB)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it looks at socket_type
        assert mock.Mock(spec=s).recv
    assert {"LINGER", "recv", "send_multipart"} <= set(dir(s))


def test_a_subclass_may_have_attributes(zmq, ctx):
    """Declared in the class; others are options."""

    class Mine(zmq.Socket):
        colour: str
        size = 5

        def __init__(self, *args, colour="red", **kwargs):
            self.colour = colour
            super().__init__(*args, **kwargs)

    s = ctx.socket(zmq.PAIR, socket_class=Mine, colour="blue")
    assert (s.colour, s.size) == ("blue", 5)
    s.size = 6
    with pytest.raises(AttributeError):
        s.undeclared = 1
    s.close()


def test_a_socket_can_be_weakly_referred_to_and_hashed(zmq, ctx):
    import weakref

    s = ctx.socket(zmq.PAIR)
    ref = weakref.ref(s)
    assert {s: 1}[s] == 1
    assert ref() is s
    s.close()
    del s
    gc.collect()
    assert ref() is None


def test_underlying_is_a_number_of_ones_own(zmq, make):
    """An int, different for each."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    assert isinstance(a.underlying, int) and a.underlying != b.underlying


def test_a_recv_in_another_thread_is_woken_by_the_end(zmq):
    """S-47: ContextTerminated."""
    context = zmq.Context()
    s = context.socket(zmq.PULL)
    s.bind("tcp://127.0.0.1:*")
    caught = []

    def wait():
        try:
            s.recv()
        except zmq.ContextTerminated as e:
            caught.append(e.errno)
        s.close()

    waiter = threading.Thread(target=wait)
    waiter.start()
    context.term()
    waiter.join(TIMEOUT)
    assert caught == [zmq.ETERM]


def test_errors_have_their_own_classes(zmq):
    assert zmq.strerror(zmq.EFSM) == "Operation cannot be accomplished in current state"
    assert zmq.strerror(zmq.ETERM) == "Context was terminated"
    assert zmq.strerror(zmq.ENOCOMPATPROTO) == (
        "The protocol is not compatible with the socket type"
    )
    assert zmq.strerror(zmq.EMTHREAD) == "No thread available"
    assert zmq.strerror(0) == "Success"
    error = zmq.ZMQError(errno.EAGAIN)
    assert type(error) is zmq.ZMQError
    assert (error.errno, error.strerror) == (errno.EAGAIN, zmq.strerror(errno.EAGAIN))
    assert issubclass(zmq.Again, zmq.ZMQError)
    assert not issubclass(zmq.ZMQError, OSError)
    assert issubclass(zmq.InterruptedSystemCall, InterruptedError)


def test_errno_is_that_of_the_failing_call(zmq, make):
    """Never the one before."""
    s = make(zmq.PULL)
    for _ in range(3):
        assert errno_of(zmq.Again, s.recv, zmq.DONTWAIT) == errno.EAGAIN
        assert errno_of(zmq.ZMQError, s.send, b"x") == errno.ENOTSUP


def test_the_closing_of_a_socket_can_be_waited_for_by_rebinding(zmq, make):
    """S-44: the address is free again, soon."""
    s = make(zmq.PAIR)
    s.bind("tcp://127.0.0.1:*")
    address = s.LAST_ENDPOINT
    s.close()
    other = make(zmq.PAIR)
    rebind(zmq, other, address)
