"""REQ and REP: whose turn it is, envelopes, answers that are skipped (S-67 to S-72)."""

from __future__ import annotations

import errno
import struct

import pytest
from support import (
    RawListener,
    bind_over,
    errno_of,
    eventually,
    monitored,
    wait_for_event,
)
from support.zmtp import frame, message


def test_req_alternates_between_send_and_recv(zmq, make):
    """S-67: EFSM out of turn, for both sides."""
    req, rep = make(zmq.REQ), make(zmq.REP)
    req.connect(bind_over(rep, "inproc", ""))
    assert errno_of(zmq.ZMQError, req.recv, zmq.DONTWAIT) == zmq.EFSM
    assert errno_of(zmq.ZMQError, rep.send, b"?", zmq.DONTWAIT) == zmq.EFSM
    req.send(b"q")
    assert errno_of(zmq.ZMQError, req.send, b"q2") == zmq.EFSM
    assert rep.recv() == b"q"
    assert errno_of(zmq.ZMQError, rep.recv) == zmq.EFSM
    rep.send(b"a")
    assert errno_of(zmq.ZMQError, rep.send, b"a2") == zmq.EFSM
    assert req.recv() == b"a"
    assert errno_of(zmq.ZMQError, req.recv) == zmq.EFSM


def test_events_of_req_and_rep_follow_the_conversation(zmq, make):
    """S-67, S-72: writable only when it is one's turn."""
    req, rep = make(zmq.REQ), make(zmq.REP)
    req.connect(bind_over(rep, "inproc", ""))
    assert (req.events, rep.events) == (zmq.POLLOUT, 0)
    req.send(b"q")
    assert (req.events, rep.events) == (0, zmq.POLLIN)
    rep.recv()
    assert (req.events, rep.events) == (0, zmq.POLLOUT)
    rep.send(b"a")
    assert (req.events, rep.events) == (zmq.POLLIN, 0)
    req.recv()
    assert (req.events, rep.events) == (zmq.POLLOUT, 0)


def test_a_request_on_the_wire_is_a_delimiter_and_a_body(zmq, make):
    """S-68: `01 00` and the parts."""
    with RawListener() as mock:
        req = make(zmq.REQ)
        req.connect(mock.endpoint)
        peer = mock.accept()
        peer.handshake("REP")
        req.send(b"q")
        assert peer.recv_exactly(5) == b"\x01\x00\x00\x01q"
        peer.send(b"\x01\x00\x00\x01a")
        assert req.recv() == b"a"


def test_a_correlated_request_carries_a_number_that_goes_up(zmq, make):
    """S-68: four bytes in host order, + 1 per request; other numbers are skipped."""
    with RawListener() as mock:
        req = make(zmq.REQ, req_correlate=1)
        req.connect(mock.endpoint)
        peer = mock.accept()
        peer.handshake("ROUTER", b"")
        numbers = []
        for i in range(3):
            req.send(b"q%d" % i)
            number, empty, body = peer.recv_message()
            assert (len(number), empty, body) == (4, b"", b"q%d" % i)
            numbers.append(struct.unpack("=I", number)[0])
            wrong = struct.pack("=I", (numbers[-1] + 7) % 2**32)
            peer.send_message(wrong, b"", b"not this")
            peer.send_message(number, b"", b"this")
            assert req.recv() == b"this"
        assert [(n - numbers[0]) % 2**32 for n in numbers] == [0, 1, 2]


def test_relaxed_req_may_ask_again_and_gets_the_last_answer(zmq, make):
    """S-68: RELAXED with CORRELATE: the answer to the first question is skipped."""
    req = make(zmq.REQ, req_relaxed=1, req_correlate=1)
    router = make(zmq.ROUTER)
    router.bind("tcp://127.0.0.1:*")
    req.connect(router.LAST_ENDPOINT)
    req.send(b"q1")
    first = router.recv_multipart()
    req.send(b"q2")
    # asking anew drops the connection's pipe and makes another, so the way back may differ
    second = router.recv_multipart()
    assert first[-1] == b"q1" and second[-1] == b"q2" and first[1] != second[1]
    router.send_multipart([*first[:3], b"a1"])
    router.send_multipart([*second[:3], b"a2"])
    assert req.recv() == b"a2"


def test_an_answer_from_another_peer_is_skipped(zmq, make):
    """S-68, spec_req: only the peer that was asked may answer."""
    req = make(zmq.REQ, routing_id=b"me")
    asked, other = make(zmq.ROUTER), make(zmq.ROUTER, router_mandatory=1)
    req.connect(bind_over(asked, "inproc", ""))
    req.connect(bind_over(other, "inproc", ""))
    req.send(b"q")
    assert asked.recv_multipart() == [b"me", b"", b"q"]

    def reaches():
        try:
            other.send_multipart([b"me", b"", b"not asked"])
        except zmq.ZMQError as e:
            assert e.errno == errno.EHOSTUNREACH
            return False
        return True

    eventually(reaches)
    asked.send_multipart([b"me", b"", b"answer"])
    assert req.recv() == b"answer"


def test_req_skips_answers_without_delimiter(zmq, make):
    """S-68, invalid_rep: over inproc nothing but REQ itself looks at the envelope."""
    req, router = make(zmq.REQ), make(zmq.ROUTER)
    req.connect(bind_over(router, "inproc", ""))
    req.send(b"q")
    peer, empty, _ = router.recv_multipart()
    assert empty == b""
    router.send_multipart([peer, b"bottom", b"body"])
    router.send_multipart([peer, b"", b"good"])
    assert req.recv() == b"good"


def test_req_forgets_answers_that_wait_when_it_asks_anew(zmq, make):
    """S-68: an answer that came after the last recv is not the next one's."""
    req, router = make(zmq.REQ), make(zmq.ROUTER)
    req.connect(bind_over(router, "inproc", ""))
    req.send(b"q1")
    peer = router.recv_multipart()[0]
    router.send_multipart([peer, b"", b"a1"])
    router.send_multipart([peer, b"", b"a1 again"])
    assert req.recv() == b"a1"
    req.send(b"q2")
    assert router.recv_multipart()[-1] == b"q2"
    router.send_multipart([peer, b"", b"a2"])
    assert req.recv() == b"a2"


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"\x00\x01x", id="no delimiter"),
        pytest.param(b"\x01\x03abc\x00\x01x", id="an id of three bytes"),
        pytest.param(b"\x01\x04abcd\x01\x01x\x00\x01y", id="no delimiter after the id"),
    ],
)
def test_a_bad_envelope_ends_the_connection_of_req_for_good(zmq, make, bad):
    """S-69, S-25: closed, DISCONNECTED only, and no further attempt."""
    with RawListener() as mock:
        req = make(zmq.REQ, reconnect_ivl=1)
        m = monitored(req)
        req.connect(mock.endpoint)
        peer = mock.accept()
        peer.handshake("REP")
        req.send(b"q")
        assert peer.recv_message() == [b"", b"q"]
        wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        peer.send(bad)
        assert peer.closed_by_peer()
        events = [e for e, *_ in wait_for_event(m, zmq.EVENT_DISCONNECTED)]
        assert events == [zmq.EVENT_DISCONNECTED]
        assert mock.nobody_comes()


def test_a_reply_that_came_just_before_a_bad_one_is_still_read(zmq, make):
    """S-69: the connection is over; what it brought is whole, though its buffer was given back."""
    reply = b"reply" * 40
    with RawListener() as mock:
        req = make(zmq.REQ, reconnect_ivl=1)
        m = monitored(req)
        req.connect(mock.endpoint)
        peer = mock.accept()
        peer.handshake("REP")
        req.send(b"q")
        assert peer.recv_message() == [b"", b"q"]
        peer.send(message(b"", reply) + frame(b"bad"))
        assert peer.closed_by_peer()
        wait_for_event(m, zmq.EVENT_DISCONNECTED)
        litter = [bytearray(b"Z" * 4032) for _ in range(1000)]  # where the buffer was
        assert req.recv() == reply
        del litter


def test_rep_returns_the_envelope_as_it_came(zmq, make):
    """S-71: all parts up to the first empty one are kept and sent back."""
    rep, dealer = make(zmq.REP), make(zmq.DEALER)
    dealer.connect(bind_over(rep, "inproc", ""))
    dealer.send_multipart([b"hop2", b"hop1", b"", b"q", b"", b"more"])
    assert rep.recv_multipart() == [b"q", b"", b"more"]
    rep.send_multipart([b"a", b"b"])
    assert dealer.recv_multipart() == [b"hop2", b"hop1", b"", b"a", b"b"]


def test_rep_ignores_a_request_without_delimiter(zmq, make):
    """S-71: discarded in silence."""
    rep, dealer = make(zmq.REP), make(zmq.DEALER)
    dealer.connect(bind_over(rep, "inproc", ""))
    dealer.send_multipart([b"no", b"delimiter"])
    dealer.send(b"single")
    dealer.send_multipart([b"", b"good"])
    assert rep.recv_multipart() == [b"good"]
    rep.send(b"a")
    assert dealer.recv_multipart() == [b"", b"a"]


def test_an_answer_to_a_peer_that_left_is_dropped(zmq, make):
    """S-71: the send succeeds, and the next request is served."""
    rep = make(zmq.REP)
    rep.bind("tcp://127.0.0.1:*")
    m = monitored(rep)
    gone = make(zmq.REQ)
    gone.connect(rep.LAST_ENDPOINT)
    gone.send(b"q1")
    assert rep.recv() == b"q1"
    gone.close()
    wait_for_event(m, zmq.EVENT_DISCONNECTED)
    rep.send(b"to nobody")
    req = make(zmq.REQ)
    req.connect(rep.LAST_ENDPOINT)
    req.send(b"q2")
    assert rep.recv() == b"q2"
    rep.send(b"a2")
    assert req.recv() == b"a2"


def test_rep_hears_its_peers_in_turn(zmq, make):
    """S-72: fair queueing of requests."""
    rep = make(zmq.REP)
    address = bind_over(rep, "inproc", "")
    dealers = [make(zmq.DEALER) for _ in range(3)]
    for dealer in dealers:
        dealer.connect(address)
    for j, dealer in enumerate(dealers):
        for i in range(3):
            dealer.send_multipart([b"", b"%d%d" % (j, i)])
    got = []
    for _ in range(9):
        got.append(rep.recv())
        assert not rep.events & zmq.POLLIN, "an answer is owed first"
        rep.send(got[-1])
    assert got == [b"%d%d" % (j, i) for i in range(3) for j in range(3)]
    for j, dealer in enumerate(dealers):
        assert [dealer.recv_multipart()[1] for _ in range(3)] == [
            b"%d%d" % (j, i) for i in range(3)
        ]


def test_a_device_by_hand_forwards_requests_and_answers(zmq, make):
    """reqrep_device: ROUTER and DEALER in the middle, multipart both ways."""
    front, back = make(zmq.ROUTER), make(zmq.DEALER)
    req, rep = make(zmq.REQ), make(zmq.REP)
    req.connect(bind_over(front, "tcp", ""))
    rep.connect(bind_over(back, "tcp", ""))
    req.send_multipart([b"a", b"b"])
    back.send_multipart(front.recv_multipart())
    assert rep.recv_multipart() == [b"a", b"b"]
    rep.send_multipart([b"c", b"d"])
    front.send_multipart(back.recv_multipart())
    assert req.recv_multipart() == [b"c", b"d"]
