"""Where ZMTP leaves room, and where a peer goes too far: raw peers at a bound socket."""

from __future__ import annotations

import pytest
from support import RawListener, RawPeer, monitored, wait_for_event, zmtp_connect
from support.zmtp import command, frame, greeting, properties, ready


@pytest.fixture
def dealer(zmq, make):
    s = make(zmq.DEALER)
    s.bind("tcp://127.0.0.1:*")
    return s


def works(s, peer: RawPeer) -> None:
    """A message each way."""
    peer.send_message(b"ping", b"1")
    assert s.recv_multipart() == [b"ping", b"1"]
    s.send_multipart([b"pong", b"2"])
    assert peer.recv_message() == [b"pong", b"2"]


def test_unknown_commands_are_ignored(dealer):
    """S-99: after the handshake, also between the parts of a message."""
    with zmtp_connect(dealer) as peer:
        peer.handshake("DEALER", b"")
        peer.send(command(b"NEVERHEARD", b"of it") + command(b"X"))
        peer.send(b"\x01\x01a" + command(b"NEVERHEARD") + b"\x00\x01b")
        assert dealer.recv_multipart() == [b"a", b"b"]
        works(dealer, peer)


@pytest.mark.parametrize("bits", [0x08, 0x10, 0x20, 0x40, 0x80, 0xF8])
def test_reserved_flags_are_ignored(dealer, bits):
    """S-99."""
    with zmtp_connect(dealer) as peer:
        peer.handshake("DEALER", b"")
        peer.send(frame(b"a", bits | 1) + frame(b"b" * 300, bits))
        assert dealer.recv_multipart() == [b"a", b"b" * 300]
        works(dealer, peer)


@pytest.mark.parametrize("size", [0, 1, 255])
def test_a_short_body_may_come_in_a_long_frame(dealer, size):
    """RFC 23: the long form is not only for long bodies."""
    with zmtp_connect(dealer) as peer:
        peer.handshake("DEALER", b"")
        peer.send(b"\x02" + size.to_bytes(8, "big") + b"x" * size)
        assert dealer.recv() == b"x" * size
        works(dealer, peer)


def test_ready_may_come_as_a_message(dealer):
    """S-99: the COMMAND flag is not checked in the handshake."""
    with zmtp_connect(dealer) as peer:
        data = ready("DEALER", b"")
        peer.send(greeting() + b"\x00" + data[1:])
        peer.recv_exactly(64)
        assert peer.recv_command()[0] == b"READY"
        works(dealer, peer)


def test_ready_may_leave_out_the_socket_type(dealer):
    """S-99."""
    with zmtp_connect(dealer) as peer:
        peer.send(greeting() + command(b"READY"))
        peer.recv_exactly(64)
        assert peer.recv_command()[0] == b"READY"
        works(dealer, peer)


def test_ready_may_write_its_names_in_any_case(dealer):
    """S-100: RFC 37 says case-insensitive; libzmq takes an unknown property as metadata."""
    with zmtp_connect(dealer) as peer:
        peer.send(greeting() + command(b"READY", properties({b"socket-TYPE": b"DEALER"})))
        peer.recv_exactly(64)
        assert peer.recv_command()[0] == b"READY"
        works(dealer, peer)


def test_unknown_properties_are_accepted(dealer):
    """S-100."""
    with zmtp_connect(dealer) as peer:
        peer.handshake("DEALER", b"", X_Name=b"value", Resource=b"", Other=bytes(range(256)))
        works(dealer, peer)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("a later minor version", greeting(minor=7)),
        ("a later major version", greeting(major=4)),
        ("a much later version", greeting(major=200, minor=200)),
        ("as-server", greeting()[:32] + b"\x01" + greeting()[33:]),
        ("a filler that is not zero", greeting()[:33] + bytes(range(100, 131))),
        ("padding in the signature", b"\xff" + b"ABCDEFGH" + greeting()[9:]),
        ("another odd byte nine", greeting()[:9] + b"\x01" + greeting()[10:]),
    ],
)
def test_what_a_greeting_may_say(dealer, what, data):
    """protocol.md#greeting: padding, filler and as-server are ignored; later versions are 3.1."""
    with zmtp_connect(dealer) as peer:
        peer.send(data + ready("DEALER", b""))
        peer.recv_exactly(64)
        assert peer.recv_command()[0] == b"READY"
        works(dealer, peer)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("bytes after the last property", properties({b"Socket-Type": b"DEALER"}) + b"\x00"),
        ("a name that runs over", properties({b"Socket-Type": b"DEALER"}) + b"\xffabc"),
        ("a value that runs over", b"\x0bSocket-Type\x00\x00\x00\xffDEALER"),
        ("a value of 4 GB", b"\x0bSocket-Type\xff\xff\xff\xffDEALER"),
        ("a type that does not exist", properties({b"Socket-Type": b"TEAPOT"})),
        ("a type that does not fit", properties({b"Socket-Type": b"PUB"})),
    ],
)
def test_a_bad_ready_ends_the_connection(dealer, what, data):
    """protocol.md#commands: and the socket goes on to serve others."""
    with zmtp_connect(dealer) as peer, zmtp_connect(dealer) as good:
        peer.send(greeting() + command(b"READY", data))
        assert peer.closed_by_peer()
        good.handshake("DEALER", b"")
        works(dealer, good)


@pytest.mark.parametrize(
    "mechanism", [b"PLAIN", b"CURVE", b"GSSAPI", b"NUL", b"NULLX", b"null", b"", b"N" * 20]
)
def test_another_mechanism_ends_the_connection(dealer, mechanism):
    """protocol.md#greeting: all 20 bytes are compared."""
    with zmtp_connect(dealer) as peer:
        peer.send(greeting(mechanism=mechanism))
        assert peer.closed_by_peer()


def test_a_message_before_ready_ends_the_connection(dealer):
    """protocol.md#commands: in the handshake there is only the handshake."""
    with zmtp_connect(dealer) as peer:
        peer.send(greeting() + b"\x00\x05hello")
        assert peer.closed_by_peer()


def test_a_second_ready_is_an_unknown_command(dealer):
    """S-99: after the handshake it means nothing."""
    with zmtp_connect(dealer) as peer:
        peer.handshake("DEALER", b"")
        peer.send(ready("DEALER", b""))
        works(dealer, peer)


def test_what_is_no_zmtp_at_all_is_cut_in_time(dealer, on_libzmq):
    """S-28, differences.md: HANDSHAKE_IVL holds until the identity of a 1.0 peer is complete."""
    if on_libzmq:
        pytest.skip("libzmq takes it for ZMTP 1.0 and stops the clock")
    dealer.handshake_ivl = 100
    dealer.bind("tcp://127.0.0.1:*")
    with zmtp_connect(dealer) as peer:
        peer.send(b"GET / HTTP/1.1\r\n\r\n")
        assert peer.closed_by_peer()


@pytest.mark.parametrize("sent", [0, 1, 10, 11, 63, 64])
def test_a_slow_greeting_is_cut_in_time(zmq, make, sent):
    """S-27: HANDSHAKE_IVL covers greeting and READY."""
    s = make(zmq.DEALER, handshake_ivl=50)
    s.bind("tcp://127.0.0.1:*")
    m = monitored(s)
    with zmtp_connect(s) as peer:
        peer.send(greeting()[:sent])
        assert peer.closed_by_peer()
        wait_for_event(m, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)


@pytest.mark.parametrize(
    ("kind", "identity"),
    [
        ("PAIR", None),
        ("PUB", None),
        ("SUB", None),
        ("REQ", b""),
        ("REP", None),
        ("DEALER", b""),
        ("ROUTER", b""),
        ("PULL", None),
        ("PUSH", None),
        ("XPUB", None),
        ("XSUB", None),
    ],
)
def test_ready_names_the_type_and_for_some_the_identity(zmq, make, kind, identity):
    """protocol.md#commands: the whole transcript of our side of a NULL handshake, byte for byte."""
    peer_type = {
        "PAIR": "PAIR", "PUB": "SUB", "SUB": "PUB", "REQ": "REP", "REP": "REQ",
        "DEALER": "DEALER", "ROUTER": "DEALER", "PULL": "PUSH", "PUSH": "PULL",
        "XPUB": "SUB", "XSUB": "PUB",
    }[kind]  # fmt: skip
    s = make(getattr(zmq, kind))
    s.bind("tcp://127.0.0.1:*")
    with zmtp_connect(s) as peer:
        assert peer.recv_exactly(10) == b"\xff" + bytes(7) + b"\x01\x7f"
        peer.send(greeting()[:10])
        assert peer.recv_exactly(1) == b"\x03"
        peer.send(greeting()[10:])
        assert peer.recv_exactly(53) == b"\x01NULL" + bytes(48)
        wanted = ready(kind, identity)
        assert peer.recv_exactly(len(wanted)) == wanted
        peer.send(ready(peer_type, b""))


def test_the_identity_is_in_signature_and_ready(zmq, make):
    """protocol.md#greeting: captured from libzmq for DEALER "abc"."""
    with RawListener() as mock:
        s = make(zmq.DEALER, routing_id=b"abc")
        s.connect(mock.endpoint)
        peer = mock.accept()
        assert peer.recv_exactly(10) == bytes.fromhex("ff00000000000000047f")
        peer.send(greeting())
        peer.recv_exactly(54)
        wanted = bytes.fromhex("042c0552454144590b536f636b65742d54797065000000064445414c4552")
        wanted += bytes.fromhex("084964656e7469747900000003616263")
        assert peer.recv_exactly(len(wanted)) == wanted
