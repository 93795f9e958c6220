"""Errors that teach: what is below pyzmq's class, errno and text, as notes of the exception."""

from __future__ import annotations

import asyncio
import errno
import sys

import pytest
from conftest import MODULE

import zmq_monocoque as zmq
import zmq_monocoque.asyncio
from zmq_monocoque.error import _add_note

pytestmark = [
    pytest.mark.skipif(MODULE != "zmq_monocoque", reason="pyzmq's errors have no notes"),
    pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes since 3.11"),
]


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context
        context.destroy(linger=0)


def note_of(call, *args, **kwargs):
    """The only note of the error that a call raises, and the error."""
    with pytest.raises((zmq.ZMQError, AttributeError)) as raised:
        call(*args, **kwargs)
    notes = getattr(raised.value, "__notes__", [])
    assert len(notes) <= 1
    return (notes or [""])[0], raised.value


def test_a_port_that_is_taken(context):
    first, second = context.socket(zmq.PULL), context.socket(zmq.PULL)
    port = first.bind_to_random_port("tcp://127.0.0.1")
    note, error = note_of(second.bind, f"tcp://127.0.0.1:{port}")
    assert f"listens on port {port}" in note
    # pyzmq's, as it always was.
    assert str(error) == f"Address already in use (addr='tcp://127.0.0.1:{port}')"


def test_a_name_that_is_taken(context):
    first, second = context.socket(zmq.PULL), context.socket(zmq.PULL)
    first.bind("inproc://name")
    assert "this context" in note_of(second.bind, "inproc://name")[0]


def test_an_interface_that_is_missing(context):
    note, _ = note_of(context.socket(zmq.PULL).bind, "tcp://nosuch7:5555")
    assert "'nosuch7'" in note and "tcp://*:5555" in note and "lo" in note


@pytest.mark.parametrize("kind, call, wanted", [
    (zmq.REQ, lambda s: s.recv(), "send() comes first"),
    (zmq.REP, lambda s: s.send(b""), "recv() comes first"),
    (zmq.REP, lambda s: s.send_multipart([b"", b""]), "recv() comes first"),
])  # fmt: skip
def test_a_state_says_what_comes_first(context, kind, call, wanted):
    note, error = note_of(call, context.socket(kind))
    assert wanted in note
    assert error.errno == zmq.EFSM


def test_a_state_amid_an_exchange(context):
    req, rep = context.socket(zmq.REQ), context.socket(zmq.REP)
    rep.bind("inproc://exchange")
    req.connect("inproc://exchange")
    req.send(b"request")
    assert "waits for the reply" in note_of(req.send, b"again")[0]
    rep.recv()
    assert "has not replied" in note_of(rep.recv)[0]


def test_a_key_says_its_length_and_nothing_else(context):
    socket = context.socket(zmq.REQ)
    secret = b"s3cr3t-s3cr3t"
    for set_it in (
        lambda: socket.set(zmq.CURVE_SECRETKEY, secret),
        lambda: setattr(socket, "curve_serverkey", secret),
    ):
        note, _ = note_of(set_it)
        assert "13 bytes" in note and "32 bytes" in note and "40 characters" in note
        assert "s3cr3t" not in note


def test_an_option_that_is_none(context):
    socket = context.socket(zmq.REQ)
    assert "'linger'" in note_of(setattr, socket, "lingre", 0)[0]
    assert "'max_sockets'" in note_of(setattr, context, "max_socket", 1)[0]
    assert note_of(setattr, socket, "quite_another_thing", 0)[0] == ""
    assert "9999" in note_of(socket.set, 9999, 1)[0]
    assert "9999" in note_of(socket.get, 9999)[0]
    assert note_of(socket.set, zmq.SNDHWM, -1)[0] == ""  # the option is known


def test_a_wait_that_ended_says_who_was_there(context):
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.rcvtimeo = push.sndtimeo = 1
    assert "within 1 ms (RCVTIMEO) from no peers" in note_of(pull.recv)[0]
    assert "no peers" in note_of(push.send, b"")[0]
    assert "no peers" in note_of(push.send_many, [b""])[0]
    push.sndhwm, pull.rcvhwm = 2, 1
    pull.bind("inproc://full")
    push.connect("inproc://full")
    with pytest.raises(zmq.Again):
        for _ in range(100):
            push.send(b"")
    note, _ = note_of(push.send, b"")
    assert "1 peer," in note and "(SNDHWM is 2 a peer)" in note and " queued" in note


def test_who_does_not_wait_pays_for_no_note(context):
    pull = context.socket(zmq.PULL)
    assert note_of(pull.recv, zmq.DONTWAIT)[0] == ""
    pull.rcvtimeo = 0
    assert note_of(pull.recv)[0] == ""


def test_endpoints_that_there_are(context):
    socket = context.socket(zmq.PULL)
    assert note_of(socket.unbind, "tcp://127.0.0.1:5555")[0] == "this socket has no endpoints"
    socket.bind("inproc://here")
    socket.connect("tcp://127.0.0.1:9")
    for call in socket.unbind, socket.disconnect:
        note, error = note_of(call, "tcp://127.0.0.1:5555")
        assert "inproc://here" in note and "tcp://127.0.0.1:9" in note
        assert error.errno == errno.ENOENT
    socket.unbind("inproc://here")
    assert "inproc" not in note_of(socket.unbind, "inproc://here")[0]
    for i in range(30):
        socket.bind(f"inproc://many{i}")
    assert "and 21 more" in note_of(socket.unbind, "inproc://here")[0]
    for i in range(300):
        socket.bind(f"inproc://a-name-of-some-length-{i}")
    note_of(socket.unbind, "inproc://here")  # more than there is room for


def test_asyncio_says_the_same():
    async def main():
        with zmq_monocoque.asyncio.Context() as context:
            with context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
                pull.rcvtimeo = push.sndtimeo = 1
                for wait in pull.recv(), push.send(b""):
                    with pytest.raises(zmq.Again) as raised:
                        await wait
                    assert "no peers" in raised.value.__notes__[0]
                with pytest.raises(zmq.Again) as raised:
                    await pull.recv(zmq.DONTWAIT)
                assert not hasattr(raised.value, "__notes__")

    asyncio.run(main())


def test_a_note_that_fails_leaves_the_error_as_it_is():
    error = ValueError()
    _add_note(error, "of_end", lambda: 1 // 0)
    assert not hasattr(error, "__notes__")


def test_a_socket_that_is_gone_has_no_more_to_say(context):
    socket = context.socket(zmq.PULL)
    socket.close()
    assert note_of(socket.recv)[0] == ""
    assert note_of(socket.set, zmq.LINGER, 0)[0] == ""
