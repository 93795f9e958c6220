"""What a session sends: byte for byte, to every version of the peer."""

from __future__ import annotations

import struct

import pytest
from zmtp import transcripts as t
from zmtp.transcripts import zmtp

FIRST = {
    (3, 1): lambda peer: t.greeting() + t.ready(peer),
    (3, 0): lambda peer: t.greeting(minor=0) + t.ready(peer),
    (2, 0): lambda peer: t.signature() + b"\x01\x00" + t.frame(b""),
    (1, 0): lambda peer: t.frame_v1(b""),
}
EVERY_VERSION = pytest.mark.parametrize("version", FIRST, ids=lambda v: f"{v[0]}.{v[1]}")


def active(version=(3, 1), kind="DEALER") -> zmtp.Session:
    """A session of ``kind`` with a peer of ``version``, its handshake done."""
    session = zmtp.Session(getattr(zmtp, kind))
    session.receive_data(FIRST[version](t.PEER_OF[kind]))
    assert isinstance(session.next_event(), zmtp.Ready)
    assert session.next_event() is None or kind in ("PUB", "XPUB")
    session.data_to_send()
    assert session.version == version
    return session


def sent(session: zmtp.Session, method: str, *arguments) -> bytes:
    getattr(session, method)(*arguments)
    return session.data_to_send()


@pytest.mark.parametrize("version", [(3, 1), (3, 0), (2, 0)], ids=str)
@pytest.mark.parametrize(
    "size, head",
    [
        (0, "0000"),
        (2, "0002"),
        (255, "00ff"),
        (256, "020000000000000100"),
        (70000, "020000000000011170"),
    ],
)
def test_frames_since_2_0(version, size, head):
    assert sent(active(version), "send_message", [b"x" * size]) == (
        bytes.fromhex(head) + b"x" * size
    )


@pytest.mark.parametrize(
    "size, head",
    [(0, "0100"), (253, "fe00"), (254, "ff00000000000000ff00"), (70000, "ff000000000001117100")],
)
def test_frames_of_1_0(size, head):
    assert sent(active((1, 0)), "send_message", [b"x" * size]) == (
        bytes.fromhex(head) + b"x" * size
    )


def test_all_parts_but_the_last_say_more():
    parts = [b"a", b"", b"c"]
    assert sent(active(), "send_message", parts) == bytes.fromhex("010161 0100 000163")
    assert sent(active((1, 0)), "send_message", parts) == bytes.fromhex("020161 0101 020063")


@pytest.mark.parametrize(
    "kind, length",
    [
        ("DEALER", 0x29),
        ("SUB", 0x19),
        ("PUB", 0x19),
        ("REQ", 0x26),
        ("PUSH", 0x1A),
        ("PULL", 0x1A),
        ("PAIR", 0x1A),
        ("XPUB", 0x1A),
        ("XSUB", 0x1A),
        ("ROUTER", 0x29),
        ("REP", 0x19),
    ],
)
def test_ready_has_the_size_that_libzmq_sends(kind, length):
    session = zmtp.Session(getattr(zmtp, kind))
    session.receive_data(t.greeting())
    assert session.next_event() is None
    assert session.data_to_send()[64:] == t.ready(kind)
    assert t.ready(kind)[:2] == bytes([4, length])


def test_our_own_properties_follow_the_standard_ones_sorted_by_name():
    session = zmtp.Session(zmtp.PUSH, properties={"X-b": b"2", "X-a": b"1"})
    session.receive_data(t.greeting())
    assert session.next_event() is None
    assert session.data_to_send()[64:] == t.command(
        b"READY",
        t.prop(b"Socket-Type", b"PUSH") + t.prop(b"X-a", b"1") + t.prop(b"X-b", b"2"),
    )


def test_a_ready_over_255_bytes_is_a_long_command():
    session = zmtp.Session(zmtp.DEALER, routing_id=b"i" * 255)
    session.receive_data(t.greeting())
    assert session.next_event() is None
    out = session.data_to_send()[64:]
    assert out[:9] == b"\x06" + struct.pack("!Q", 41 + 255)
    assert out[9:] == t.ready("DEALER", b"i" * 255)[9:]


@pytest.mark.parametrize("size, long", [(0, False), (254, False), (255, True)])
@pytest.mark.parametrize("kind, peer", [(b"\x01", b"\x02"), (b"\x05", b"\x06")])
def test_our_routing_id_frame_for_2_0_and_1_0(size, long, kind, peer):
    routing_id = b"i" * size
    for major, encode in ((0, t.frame_v1), (1, t.frame)):
        session = zmtp.Session(kind[0], routing_id=routing_id)
        session.receive_data(t.signature() + bytes([major]) + peer)
        assert session.next_event() is None
        assert session.data_to_send() == t.signature(routing_id) + b"\x03" + kind + encode(
            routing_id
        )
    assert (t.frame_v1(routing_id)[0] == 0xFF) == (size >= 254)


def test_subscriptions_to_3_1_are_commands():
    session = active(kind="SUB")
    assert sent(session, "send_subscribe", b"A") == bytes.fromhex("040b09") + b"SUBSCRIBEA"
    assert sent(session, "send_cancel", b"A") == bytes.fromhex("040806") + b"CANCELA"
    assert sent(session, "send_subscribe", b"t" * 246) == (
        b"\x06" + struct.pack("!Q", 256) + b"\x09SUBSCRIBE" + b"t" * 246
    )


@pytest.mark.parametrize("version", [(3, 0), (2, 0)], ids=str)
def test_subscriptions_to_3_0_and_2_0_are_messages(version):
    session = active(version, "SUB")
    assert sent(session, "send_subscribe", b"A") == bytes.fromhex("00020141")
    assert sent(session, "send_cancel", b"A") == bytes.fromhex("00020041")
    assert sent(session, "send_subscribe") == bytes.fromhex("000101")


def test_a_topic_of_255_bytes_to_a_3_0_peer_is_a_long_frame():
    """libzmq forgets the flag: differences.md."""
    assert sent(active((3, 0), "SUB"), "send_subscribe", b"t" * 255) == (
        b"\x02" + struct.pack("!Q", 256) + b"\x01" + b"t" * 255
    )


def test_subscriptions_to_1_0_are_messages_of_1_0():
    session = active((1, 0), "SUB")
    assert sent(session, "send_subscribe", b"A") == bytes.fromhex("03000141")
    assert sent(session, "send_cancel", b"A") == bytes.fromhex("03000041")
    assert sent(session, "send_subscribe", b"t" * 253) == (
        b"\xff" + struct.pack("!Q", 255) + b"\x00\x01" + b"t" * 253
    )


@pytest.mark.parametrize(
    "ttl_ms, tenths",
    [(0, "0000"), (3000, "001e"), (99, "0000"), (6553500, "ffff"), (10**12, "ffff")],
)
def test_a_ping_carries_its_ttl_in_tenths_of_a_second(ttl_ms, tenths):
    for version in ((3, 1), (3, 0)):
        assert sent(active(version), "send_ping", ttl_ms) == (
            bytes.fromhex("040704") + b"PING" + bytes.fromhex(tenths)
        )


@pytest.mark.parametrize("version", [(2, 0), (1, 0)], ids=str)
def test_old_peers_get_no_ping(version):
    session = active(version)
    assert not session.heartbeats
    with pytest.raises(zmtp.LocalProtocolError):
        session.send_ping()
    assert sent(session, "send_message", [b"x"])  # and it goes on


def test_nothing_can_be_sent_before_the_handshake_is_done():
    session = zmtp.Session(zmtp.SUB)
    session.data_to_send()
    for call in (
        lambda: session.send_message([b"x"]),
        session.send_subscribe,
        session.send_cancel,
        session.send_ping,
    ):
        with pytest.raises(zmtp.LocalProtocolError):
            call()
    assert session.data_to_send() == b""


def test_a_message_has_at_least_one_part():
    with pytest.raises(ValueError):
        active().send_message([])


@pytest.mark.parametrize("kind", [-1, 11, 18, 21, 10**6])
def test_types_that_do_not_speak_zmtp_are_refused(kind):
    with pytest.raises(ValueError):
        zmtp.Session(kind)


def test_a_routing_id_has_at_most_255_bytes():
    zmtp.Session(zmtp.DEALER, routing_id=b"x" * 255)
    with pytest.raises(ValueError):
        zmtp.Session(zmtp.DEALER, routing_id=b"x" * 256)


def test_properties_have_names_of_1_to_255_bytes():
    for name in ("", "x" * 256):
        with pytest.raises(ValueError):
            zmtp.Session(zmtp.DEALER, properties={name: b""})


def test_a_mechanism_that_nobody_has_is_refused():
    with pytest.raises(ValueError):
        zmtp.Session(zmtp.DEALER, mechanism="MAGIC")


def test_the_end_between_messages_is_told_and_in_the_middle_it_is_an_error():
    session = active()
    session.receive_data(t.frame(b"hi"))
    session.receive_data(b"")
    assert list(session.events()) == [zmtp.Message((b"hi",)), zmtp.Closed()]
    assert session.next_event() == zmtp.Closed()
    with pytest.raises(RuntimeError):
        session.receive_data(b"x")

    for unfinished in (t.frame(b"hi")[:-1], t.frame(b"hi", more=True)):
        session = active()
        session.receive_data(unfinished)
        session.receive_data(b"")
        with pytest.raises(zmtp.RemoteProtocolError):
            session.next_event()

    session = zmtp.Session(zmtp.DEALER)
    session.receive_data(b"")
    with pytest.raises(zmtp.RemoteProtocolError):
        session.next_event()


COMPATIBLE = {
    ("PAIR", "PAIR"), ("PUB", "SUB"), ("PUB", "XSUB"), ("XPUB", "SUB"), ("XPUB", "XSUB"),
    ("REQ", "REP"), ("REQ", "ROUTER"), ("REP", "DEALER"), ("DEALER", "DEALER"),
    ("DEALER", "ROUTER"), ("ROUTER", "ROUTER"), ("PUSH", "PULL"), ("SERVER", "CLIENT"),
    ("RADIO", "DISH"), ("GATHER", "SCATTER"), ("PEER", "PEER"), ("CHANNEL", "CHANNEL"),
}  # fmt: skip
TYPES = sorted({name for pair in COMPATIBLE for name in pair})


@pytest.mark.parametrize("kind", TYPES)
def test_a_peer_is_taken_exactly_when_the_types_belong_together(kind):
    """Every pair of types, both ways round (semantics.md#socket-types)."""
    for peer in TYPES:
        session = zmtp.Session(getattr(zmtp, kind))
        session.receive_data(
            t.greeting() + t.command(b"READY", t.prop(b"Socket-Type", peer.encode()))
        )
        if {(kind, peer), (peer, kind)} & COMPATIBLE:
            assert session.next_event().socket_type == peer
        else:
            with pytest.raises(zmtp.RemoteProtocolError):
                session.next_event()


@EVERY_VERSION
def test_what_is_received_is_not_limited_by_what_is_sent(version):
    """Two directions at once share no state: a message queued does not disturb one half read."""
    session = active(version)
    encode = t.frame_v1 if version == (1, 0) else t.frame
    half = encode(b"x" * 300)
    session.receive_data(half[:100])
    assert session.next_event() is None
    session.send_message([b"y"])
    session.receive_data(half[100:])
    assert session.next_event() == zmtp.Message((b"x" * 300,))
    assert session.data_to_send() == encode(b"y")
