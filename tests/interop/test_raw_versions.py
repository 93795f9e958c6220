"""Peers of ZMTP 3.1, 3.0, 2.0 and 1.0, byte for byte, however their bytes arrive.

protocol.md, from the greeting to the commands; RFC 13 (1.0), 15 (2.0), 23 (3.0), 37 (3.1).
"""

from __future__ import annotations

import pytest
from support import RawListener, deliver, eventually, never_readable, zmtp_connect
from support.zmtp import (
    VERSIONS,
    answer_to,
    command,
    frame,
    frame_v1,
    greeting,
    opening,
    parts_of,
    ready,
    signature,
)

#: our socket type: the mock's
ROLES = {
    "REQ": "REP", "REP": "REQ", "DEALER": "ROUTER", "ROUTER": "DEALER", "XPUB": "SUB",
    "SUB": "PUB", "PUSH": "PULL", "PULL": "PUSH", "PAIR": "PAIR",
}  # fmt: skip
#: how the opening arrives: cut after these bytes
ARRIVALS = {
    "at once": [],
    "byte by byte": range(1, 400),
    "1": [1],
    "9": [9],
    "10": [10],
    "11": [11],
    "12": [12],
    "63": [63],
    "64": [64],
}
OURS, THEIRS = b"sock", b"mock"


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


def expect(peer, data: bytes) -> None:
    assert peer.recv_exactly(len(data)) == data


def attended(s, peer) -> None:
    """Calls ``s`` until the peer hears of it: libzmq attaches an accepted peer in calls only."""
    eventually(lambda: (s.events, not never_readable(peer.sock, 0))[1])


def subscription(version: str, topic: bytes, off: bool = False) -> bytes:
    if version == "3.1":
        return command(b"CANCEL" if off else b"SUBSCRIBE", topic)
    return parts_of(version, (b"\x00" if off else b"\x01") + topic)


def converse(kind: str, version: str, s, peer, arrive) -> None:
    """What the two have to say to each other after the opening; ``arrive`` sends for the peer."""
    if kind == "REQ":
        s.send_multipart([b"q", b""])
        expect(peer, parts_of(version, b"", b"q", b""))
        arrive(parts_of(version, b"", b"a", b"b"))
        assert s.recv_multipart() == [b"a", b"b"]
    elif kind == "REP":
        arrive(parts_of(version, b"", b"q"))
        assert s.recv_multipart() == [b"q"]
        s.send(b"a")
        expect(peer, parts_of(version, b"", b"a"))
    elif kind == "ROUTER":
        arrive(parts_of(version, b"x", b""))
        assert s.recv_multipart() == [THEIRS, b"x", b""]
        s.send_multipart([THEIRS, b"", b"y"])
        expect(peer, parts_of(version, b"", b"y"))
    elif kind == "XPUB":
        if version == "unversioned":
            assert s.recv() == b"\x01", "such a peer subscribes to everything, without words"
        arrive(subscription(version, b"T"))
        assert s.recv() == b"\x01T"
        s.send_multipart([b"T1", b"part"])
        expect(peer, parts_of(version, b"T1", b"part"))
        arrive(subscription(version, b"T", off=True))
        assert s.recv() == b"\x00T"
    elif kind == "SUB":
        s.subscribe(b"T")
        attended(s, peer)
        expect(peer, subscription(version, b"T"))
        arrive(parts_of(version, b"not T") + parts_of(version, b"T1", b"part"))
        assert s.recv_multipart() == [b"T1", b"part"]
        s.unsubscribe(b"T")
        expect(peer, subscription(version, b"T", off=True))
    else:
        if kind != "PUSH":
            arrive(parts_of(version, b"1", b"", b"3") + parts_of(version, b"single"))
            assert s.recv_multipart() == [b"1", b"", b"3"]
            assert s.recv_multipart() == [b"single"]
        if kind != "PULL":
            s.send_multipart([b"1", b"", b"3"])
            s.send(b"")
            expect(peer, parts_of(version, b"1", b"", b"3") + parts_of(version, b""))


@pytest.mark.parametrize("arrival", ARRIVALS)
@pytest.mark.parametrize("kind", ROLES)
def test_a_bound_socket_speaks_with_every_version(zmq, make, version, kind, arrival):
    """protocol.md#splits: our whole side is compared; theirs arrives in pieces."""
    s = make(getattr(zmq, kind), routing_id=OURS)
    s.bind("tcp://127.0.0.1:*")
    cuts = ARRIVALS[arrival]

    with zmtp_connect(s) as peer:

        def arrive(data):
            deliver(peer, data, cuts if arrival == "byte by byte" else [])

        deliver(peer, opening(version, ROLES[kind], THEIRS), cuts)
        expect(peer, answer_to(version, kind, OURS))
        converse(kind, version, s, peer, arrive)


@pytest.mark.parametrize("kind", ROLES)
def test_a_connecting_socket_speaks_with_every_version(zmq, make, version, kind):
    """protocol.md#splits: the other way round; the first words are ours."""
    with RawListener() as mock:
        s = make(getattr(zmq, kind), routing_id=OURS)
        s.connect(mock.endpoint)
        peer = mock.accept()
        said = answer_to(version, kind, OURS)
        expect(peer, said[:10])
        peer.send(opening(version, ROLES[kind], THEIRS))
        expect(peer, said[10:])
        converse(kind, version, s, peer, peer.send)


@pytest.mark.parametrize("version", ["2.0", "1.0", "unversioned"])
@pytest.mark.parametrize("kind", ["PULL", "ROUTER", "REP", "XPUB"])
def test_a_message_may_follow_the_opening_in_one_segment(zmq, make, version, kind):
    """protocol.md#splits: coalesced. From 3.0 on a peer has to wait for our READY first."""
    s = make(getattr(zmq, kind), routing_id=OURS)
    s.bind("tcp://127.0.0.1:*")
    first = {
        "PULL": parts_of(version, b"1", b"2"),
        "ROUTER": parts_of(version, b"1", b"2"),
        "REP": parts_of(version, b"", b"1", b"2"),
        "XPUB": subscription(version, b"T"),
    }[kind]
    with zmtp_connect(s) as peer:
        peer.send(opening(version, ROLES[kind], THEIRS) + first)
        expect(peer, answer_to(version, kind, OURS))
        if kind == "XPUB":
            if version == "unversioned":
                assert s.recv() == b"\x01"
            assert s.recv() == b"\x01T"
        else:
            assert s.recv_multipart() == [THEIRS] * (kind == "ROUTER") + [b"1", b"2"]


@pytest.mark.parametrize("size", [0, 1, 252, 253, 254, 255, 256, 8191, 8192, 8193, 70_000])
def test_frames_of_any_size_pass_in_every_framing(zmq, make, version, size):
    """protocol.md#frames: the limits between short and long frames, as captured."""
    s = make(zmq.PAIR)
    s.bind("tcp://127.0.0.1:*")
    body = bytes(i * 5 & 0xFF for i in range(size))
    with zmtp_connect(s) as peer:
        peer.send(opening(version, "PAIR", b""))
        expect(peer, answer_to(version, "PAIR", b""))
        peer.send(parts_of(version, body, body))
        assert s.recv_multipart() == [body, body]
        s.send_multipart([body, body])
        expect(peer, parts_of(version, body, body))


def test_the_framing_of_1_0_as_captured():
    """protocol.md#frames: the helper itself, against bytes from libzmq."""
    assert frame_v1(b"x" * 253)[:2] == b"\xfe\x00"
    assert frame_v1(b"x" * 254)[:10] == bytes.fromhex("ff00000000000000ff00")
    assert frame_v1(b"abc") == b"\x04\x00abc"
    assert frame(b"x" * 255)[:2] == b"\x00\xff"
    assert frame(b"x" * 256)[:9] == bytes.fromhex("020000000000000100")
    assert signature(b"abc") == bytes.fromhex("ff00000000000000047f")
    assert signature(b"abc") + greeting()[10:12] == bytes.fromhex("ff00000000000000047f0301")


@pytest.mark.parametrize(
    "identity", [b"", b"abc", b"\0zero", b"i" * 252, b"i" * 253, b"i" * 254, b"i" * 255]
)
def test_router_knows_its_peer_by_the_identity_of_any_version(zmq, make, version, identity):
    """protocol.md#versions: empty ones get an automatic name."""
    s = make(zmq.ROUTER)
    s.bind("tcp://127.0.0.1:*")
    with zmtp_connect(s) as peer:
        peer.send(opening(version, "DEALER", identity))
        expect(peer, answer_to(version, "ROUTER", b""))
        peer.send(parts_of(version, b"x"))
        name, body = s.recv_multipart()
        assert body == b"x"
        if identity:
            assert name == identity
        else:
            assert len(name) == 5 and name[0] == 0
        s.send_multipart([name, b"y"])
        expect(peer, parts_of(version, b"y"))


@pytest.mark.parametrize("identity", [b"a", b"i" * 253, b"i" * 254, b"i" * 255])
def test_our_identity_is_told_in_the_way_of_the_version(zmq, make, version, identity):
    """protocol.md#versions: also where the signature is the header of the identity frame."""
    s = make(zmq.DEALER, routing_id=identity)
    s.bind("tcp://127.0.0.1:*")
    with zmtp_connect(s) as peer:
        peer.send(opening(version, "ROUTER", b""))
        expect(peer, answer_to(version, "DEALER", identity))


def test_an_unversioned_peer_with_nothing_to_say_is_served(zmq, make):
    """The anonymous greeting of RFC 13 is `01 00`."""
    s = make(zmq.PULL)
    s.bind("tcp://127.0.0.1:*")
    with zmtp_connect(s) as peer:
        peer.send(b"\x01\x00" + b"\x06\x00hello")
        assert s.recv() == b"hello"
        expect(peer, bytes.fromhex("ff00000000000000017f"))


@pytest.mark.parametrize("version", ["2.0", "1.0", "unversioned"])
def test_old_peers_get_no_heartbeats(zmq, make, version):
    """protocol.md#versions, S-96: there are no commands."""
    s = make(zmq.DEALER, heartbeat_ivl=20, heartbeat_timeout=40)
    s.bind("tcp://127.0.0.1:*")
    with zmtp_connect(s) as peer:
        peer.send(opening(version, "DEALER", b""))
        expect(peer, answer_to(version, "DEALER", b""))
        assert peer.nothing_comes(0.2)
        peer.send(parts_of(version, b"still here"))
        assert s.recv() == b"still here"


@pytest.mark.parametrize("version", ["2.0", "1.0", "unversioned"])
def test_old_peers_may_come_and_go(zmq, make, version):
    """protocol.md#versions: no state of one connection reaches the next."""
    s = make(zmq.ROUTER)
    s.bind("tcp://127.0.0.1:*")
    for i in range(5):
        with zmtp_connect(s) as peer:
            peer.send(opening(version, "DEALER", b"peer %d" % i) + parts_of(version, b"%d" % i))
            assert s.recv_multipart() == [b"peer %d" % i, b"%d" % i]


@pytest.mark.parametrize("version", ["1.0", "unversioned"])
def test_an_empty_frame_header_of_1_0_is_an_error(zmq, make, version):
    """protocol.md#frames: a length of 0 cannot count its flags."""
    s = make(zmq.PULL)
    s.bind("tcp://127.0.0.1:*")
    with zmtp_connect(s) as peer:
        peer.send(opening(version, "PUSH", b""))
        expect(peer, answer_to(version, "PULL", b""))
        peer.send(b"\x00")
        assert peer.closed_by_peer()


@pytest.mark.parametrize("major", [0, 1])
def test_an_unknown_type_byte_of_an_old_peer_is_not_checked(zmq, make, major):
    """protocol.md#versions."""
    s = make(zmq.PULL)
    s.bind("tcp://127.0.0.1:*")
    with zmtp_connect(s) as peer:
        hello = frame(b"") + frame(b"x") if major else frame_v1(b"") + frame_v1(b"x")
        peer.send(signature(b"") + bytes([major, 99]) + hello)
        assert s.recv() == b"x"


def test_major_two_speaks_as_three(zmq, make):
    """protocol.md#greeting: nothing was ever numbered 2; libzmq takes it for 3.1."""
    s = make(zmq.PULL)
    s.bind("tcp://127.0.0.1:*")
    with zmtp_connect(s) as peer:
        peer.send(greeting(major=2, minor=0) + ready("PUSH"))
        expect(peer, answer_to("3.1", "PULL", b""))
        peer.send(b"\x00\x01x")
        assert s.recv() == b"x"


def test_minor_zero_gets_no_commands_of_subscription(zmq, make):
    """protocol.md#commands: what distinguishes 3.0 from 3.1."""
    for minor, wanted in ((0, b"\x00\x02\x01T"), (1, b"\x04\x0b\x09SUBSCRIBET")):
        s = make(zmq.SUB)
        s.subscribe(b"T")
        s.bind("tcp://127.0.0.1:*")
        with zmtp_connect(s) as peer:
            peer.handshake("PUB", minor=minor)
            attended(s, peer)
            expect(peer, wanted)
        s.close()
