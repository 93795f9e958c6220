"""Limits on what a peer may make us keep: docs/reference/limits.md, option by option.

In each case: whoever keeps to the limit is served, whoever exceeds it is dropped, an event tells,
and the others do not notice. All of it is ours: libzmq has MAXMSGSIZE only.
"""

from __future__ import annotations

import errno
import struct
from contextlib import ExitStack
from importlib import import_module

import pytest
from support import RawPeer, deliver, errno_of, port_of, wait_for_event, watched, zmtp_connect
from support.security import CLIENT, SERVER, CurveClient
from support.zmtp import (
    COMMAND,
    LONG,
    MORE,
    command,
    frame,
    frame_v1,
    greeting,
    message,
    properties,
)

ACCEPTED, DISCONNECTED, NO_DETAIL, SUCCEEDED, PROTOCOL = 0x20, 0x200, 0x800, 0x1000, 0x2000
HELLO, INITIATE, READY = 0x10000013, 0x10000014, 0x10000016

DEFAULTS = {
    "COMMAND": 16 * 2**20,
    "METADATA": 65536,
    "PARTS": -1,
    "MESSAGE": -1,
    "HANDSHAKES": 4096,
    "SUBSCRIPTIONS": -1,
    "TOPIC_BYTES": -1,
    "PENDING_SUBSCRIPTIONS": -1,
}


@pytest.fixture(autouse=True)
def ours(on_libzmq):
    if on_libzmq:
        pytest.skip("options of our own")


@pytest.fixture
def server(make, zmq):
    """server(type, **options): bound to tcp, with its monitor; options by their short names."""
    with ExitStack() as stack:

        def make_server(kind, **limits):
            s = make(getattr(zmq, kind))
            for name, value in limits.items():
                setattr(s, name, value)
            monitor = stack.enter_context(watched(s))
            s.bind("tcp://127.0.0.1:*")
            return s, monitor

        yield make_server


def outcome(monitor, event: int = DISCONNECTED) -> list[tuple[int, int]]:
    """(event, value) of all that was told up to ``event``, but for what every connection tells."""
    told = [(e, v) for e, v, _ in wait_for_event(monitor, event)]
    return [(e, v) for e, v in told if e not in (0x8, ACCEPTED, SUCCEEDED)]


def is_dropped(peer, monitor) -> None:
    """Without a word, after the handshake."""
    assert peer.closed_by_peer()
    assert [event for event, _ in outcome(monitor)] == [DISCONNECTED]


def announced(size: int, flags: int = 0) -> bytes:
    """The header of a long frame, and nothing of its body."""
    return struct.pack(">BQ", flags | LONG, size)


# --- the options themselves ----------------------------------------------------------------------


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_limit_can_be_read_and_set_like_any_option(make, zmq, name):
    s = make(zmq.PULL)
    option = getattr(zmq, f"MONOCOQUE_MAX_{name}")
    assert s.get(option) == DEFAULTS[name]
    for value in (1, 2**40, 2**63 - 1, -1):
        s.set(option, value)
        assert s.get(option) == getattr(s, f"monocoque_max_{name.lower()}") == value
    setattr(s, f"MONOCOQUE_MAX_{name}", 77)
    assert s.getsockopt(option) == 77
    for bad in (0, -2, -(2**63)):
        assert errno_of(zmq.ZMQError, s.set, option, bad) == errno.EINVAL
    for bad in (b"12345678", 1.5, "1"):
        with pytest.raises(TypeError):
            s.set(option, bad)
    assert s.get(option) == 77


def test_a_context_gives_limits_to_its_sockets(ctx, zmq):
    ctx.monocoque_max_parts = 5
    with ctx.socket(zmq.PULL) as s:
        assert s.monocoque_max_parts == 5


def test_a_limit_holds_for_endpoints_that_come_after_it(server, make, zmq):
    """As MAXMSGSIZE."""
    pull, _ = server("PULL")
    pull.monocoque_max_parts = 1
    with zmtp_connect(pull) as peer:
        peer.handshake("PUSH")
        peer.send_message(b"a", b"b")
        assert pull.recv_multipart() == [b"a", b"b"]


# --- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, peer_kind", [("PULL", "PUSH"), ("REP", "REQ"), ("ROUTER", "DEALER"), ("XPUB", "SUB")]
)
def test_a_message_has_at_most_so_many_parts(server, kind, peer_kind):
    s, monitor = server(kind, monocoque_max_parts=3)
    with zmtp_connect(s) as good, zmtp_connect(s) as bad:
        for peer in (good, bad):
            peer.handshake(peer_kind)
        wait_for_event(monitor, SUCCEEDED, times=2)
        bad.send(frame(b"", MORE) + frame(b"2", MORE) + frame(b"3", MORE) + frame(b"4", MORE))
        is_dropped(bad, monitor)
        good.send_message(b"", b"2", b"3")
        skipped = {"PULL": 0, "XPUB": 0, "REP": -1, "ROUTER": 1}[kind]
        assert s.recv_multipart()[max(skipped, 0) :] == [b"", b"2", b"3"][max(-skipped, 0) :]


def test_an_endless_message_ends_with_its_connection(server):
    """And nothing of it is ever seen."""
    pull, monitor = server("PULL", monocoque_max_parts=1000)
    with zmtp_connect(pull) as bad, zmtp_connect(pull) as good:
        bad.handshake("PUSH")
        good.handshake("PUSH")
        wait_for_event(monitor, SUCCEEDED, times=2)
        bad.send(frame(b"x", MORE) * 1001)
        is_dropped(bad, monitor)
        good.send_message(b"y")
        assert pull.recv_multipart() == [b"y"]


@pytest.mark.parametrize("sizes", [[301], [150, 151], [0, 0, 301], [300, 1], [100, 100, 100, 1]])
def test_a_message_has_at_most_so_many_bytes(server, sizes):
    pull, monitor = server("PULL", monocoque_max_message=300)
    with zmtp_connect(pull) as peer:
        peer.handshake("PUSH")
        for good in ([300], [150, 150], [0, 300], [299, 1], [100, 100, 100, 0]):
            parts = [bytes(n) for n in good]
            peer.send_message(*parts)
            assert pull.recv_multipart() == parts
        wait_for_event(monitor, SUCCEEDED)
        peer.send(message(*[bytes(n) for n in sizes]))
        is_dropped(peer, monitor)
        assert not pull.poll(0)


@pytest.mark.parametrize("first", [b"", frame(bytes(50_000), MORE)])
def test_a_long_frame_is_refused_when_it_is_announced(server, first):
    """Before there is memory for it: the body never comes."""
    pull, monitor = server("PULL", monocoque_max_message=100_000)
    with zmtp_connect(pull) as peer:
        peer.handshake("PUSH")
        wait_for_event(monitor, SUCCEEDED)
        peer.send(first + announced(100_001 - (50_000 if first else 0)))
        is_dropped(peer, monitor)


def test_what_came_whole_before_the_excess_is_received(server):
    """All in one piece, so that the same receive brings both."""
    pull, monitor = server("PULL", monocoque_max_parts=2)
    with zmtp_connect(pull) as peer:
        peer.handshake("PUSH")
        wait_for_event(monitor, SUCCEEDED)
        peer.send(message(b"one", b"two") + message(b"three") + message(b"4", b"5", b"6"))
        is_dropped(peer, monitor)
        assert pull.recv_multipart() == [b"one", b"two"]
        assert pull.recv_multipart() == [b"three"]
        assert not pull.poll(0)


def test_old_peers_have_the_same_limits(server):
    pull, monitor = server("PULL", monocoque_max_parts=2, monocoque_max_message=300)
    for over in (frame_v1(b"1", MORE) * 3, frame_v1(bytes(301))):
        with zmtp_connect(pull) as peer:
            peer.send(frame_v1(b"") + frame_v1(b"good"))
            assert pull.recv() == b"good"
            peer.send(over)
            assert peer.closed_by_peer()
        wait_for_event(monitor, DISCONNECTED)


def test_a_stream_has_no_messages_to_limit(server):
    stream, _ = server("STREAM", monocoque_max_message=2, monocoque_max_parts=1)
    with zmtp_connect(stream) as peer:
        peer.send(b"more than two")
        assert stream.recv_multipart()[1] == b""
        assert stream.recv_multipart()[1] == b"more than two"


def test_sockets_of_one_process_are_not_limited(make, zmq):
    """inproc peers are no strangers."""
    pull, push = make(zmq.PULL, monocoque_max_parts=1, monocoque_max_message=1), make(zmq.PUSH)
    pull.bind("inproc://limits")
    push.connect("inproc://limits")
    push.send_multipart([b"one", b"two"])
    assert pull.recv_multipart() == [b"one", b"two"]


# --- commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [201, 70_000])
def test_a_command_has_at_most_so_many_bytes(server, size):
    pull, monitor = server("PULL", monocoque_max_command=200)
    with zmtp_connect(pull) as peer:
        peer.handshake("PUSH")
        wait_for_event(monitor, SUCCEEDED)
        peer.send(command(b"NONSENSE", bytes(200 - 9)))
        peer.send_message(bytes(size))  # a message is none
        assert len(pull.recv()) == size
        peer.round_trip()
        head = announced(size, COMMAND) if size > 255 else bytes([COMMAND, size])
        peer.send(head)
        is_dropped(peer, monitor)


def welcomed(zmq, peer: RawPeer) -> CurveClient:
    """The client's side of CURVE, as far as WELCOME."""
    z85 = import_module(f"{zmq.__name__}.utils.z85")
    own, server = [[z85.decode(key) for key in pair] for pair in (CLIENT, SERVER)]
    client = CurveClient((own[0], own[1]), server[0])
    peer.send(greeting(mechanism=b"CURVE"))
    peer.recv_exactly(64)
    peer.send(frame(client.hello(), COMMAND))
    client.take_welcome(peer.recv_frame()[1])
    return client


@pytest.mark.parametrize("what", ["command", "message", "parts", "announced"])
def test_limits_hold_under_encryption(server, zmq, what):
    s, monitor = server(
        "PULL",
        curve_secretkey=SERVER[1],
        curve_server=True,
        monocoque_max_command=300,
        monocoque_max_message=500,
        monocoque_max_parts=2,
    )
    with zmtp_connect(s) as peer:
        client = welcomed(zmq, peer)
        peer.send(frame(client.initiate(properties({b"Socket-Type": b"PUSH"})), COMMAND))
        client.take_ready(peer.recv_frame()[1])
        wait_for_event(monitor, SUCCEEDED)
        peer.send(frame(client.message(bytes(500))))
        assert len(s.recv()) == 500
        peer.send(frame(client.message(b"\x08NONSENSE" + bytes(291), flags=2)))
        if what == "command":
            peer.send(frame(client.message(b"\x08NONSENSE" + bytes(292), flags=2)))
        elif what == "message":
            peer.send(frame(client.message(bytes(501))))
        elif what == "parts":
            for _ in range(3):
                peer.send(frame(client.message(b"", flags=1)))
        else:
            peer.send(announced(70_000))
        is_dropped(peer, monitor)


# --- handshakes ----------------------------------------------------------------------------------


def metadata_of(size: int, name: str = "PUSH") -> bytes:
    """Properties of exactly ``size`` bytes."""
    own = properties({b"Socket-Type": name.encode()})
    return own + properties({b"X-fill": bytes(size - len(own) - 11)})


def test_the_properties_of_a_peer_have_at_most_so_many_bytes(server):
    pull, monitor = server("PULL", monocoque_max_metadata=300)
    with zmtp_connect(pull) as good, zmtp_connect(pull) as bad:
        good.send(greeting() + command(b"READY", metadata_of(300)))
        wait_for_event(monitor, SUCCEEDED)
        bad.send(greeting() + command(b"READY", metadata_of(301)))
        assert bad.closed_by_peer()
        assert [e for e, _ in outcome(monitor)] == [PROTOCOL, DISCONNECTED]
        good.send_message(b"x")
        assert pull.recv() == b"x"


@pytest.mark.parametrize("size, served", [(65_536, True), (65_537, False)])
def test_by_default_the_properties_have_64_kib(server, size, served):
    pull, monitor = server("PULL")
    with zmtp_connect(pull) as peer:
        peer.send(greeting() + command(b"READY", metadata_of(size)))
        if served:
            wait_for_event(monitor, SUCCEEDED)
        else:
            assert peer.closed_by_peer()
            assert outcome(monitor)[0] == (PROTOCOL, READY)


def test_more_properties_can_be_allowed(server):
    pull, monitor = server("PULL", monocoque_max_metadata=-1)
    with zmtp_connect(pull) as peer:
        peer.send(greeting() + command(b"READY", metadata_of(300_000)))
        wait_for_event(monitor, SUCCEEDED)


@pytest.mark.parametrize("mechanism, told", [("NULL", READY), ("PLAIN", HELLO), ("CURVE", HELLO)])
def test_a_first_command_is_refused_when_it_is_announced(server, mechanism, told):
    """HELLO has a fixed 1024 bytes, whatever MAX_METADATA is."""
    s, monitor = server("PULL", **secured(mechanism))
    with zmtp_connect(s) as peer:
        peer.send(greeting(mechanism=mechanism.encode()) + announced(2**16 + 7, COMMAND))
        assert peer.closed_by_peer()
        assert outcome(monitor)[0] == (PROTOCOL, told)
    if mechanism != "NULL":
        with zmtp_connect(s) as peer:
            peer.send(greeting(mechanism=mechanism.encode()) + announced(1025, COMMAND))
            assert peer.closed_by_peer()
            assert outcome(monitor)[0] == (PROTOCOL, told)


def secured(mechanism: str) -> dict:
    if mechanism == "PLAIN":
        return {"plain_server": True}
    if mechanism == "CURVE":
        return {"curve_server": True, "curve_secretkey": SERVER[1]}
    return {}


def test_an_initiate_is_refused_when_it_is_announced(server, zmq):
    s, monitor = server("PULL", monocoque_max_metadata=300, **secured("CURVE"))
    for size in (257 + 301, 2**62):
        with zmtp_connect(s) as peer:
            welcomed(zmq, peer)
            peer.send(announced(size, COMMAND))
            assert peer.closed_by_peer()
            assert outcome(monitor)[0] == (PROTOCOL, INITIATE)


@pytest.mark.parametrize("cuts", [[], range(64, 1000)])
def test_a_refusal_does_not_depend_on_how_the_bytes_come(server, cuts):
    pull, monitor = server("PULL", monocoque_max_metadata=100)
    with zmtp_connect(pull) as peer:
        data = greeting() + command(b"READY", metadata_of(101))
        try:
            deliver(peer, data, cuts)
        except OSError:
            pass  # it is refused before all of it has come
        assert peer.closed_by_peer()
        assert outcome(monitor)[0] == (PROTOCOL, READY)


def test_an_old_peers_identity_is_limited_like_properties(server):
    pull, monitor = server("PULL", monocoque_max_metadata=100)
    with zmtp_connect(pull) as peer:
        peer.send(frame_v1(bytes(101)))
        assert peer.closed_by_peer()
        wait_for_event(monitor, DISCONNECTED)


# --- connections in handshake --------------------------------------------------------------------


def open_connections(s, monitor, count: int, stack: ExitStack) -> list[RawPeer]:
    peers = []
    for _ in range(count):
        peers.append(stack.enter_context(RawPeer.connect(port_of(s))))
        wait_for_event(monitor, ACCEPTED)
    return peers


def test_the_oldest_of_too_many_handshakes_is_dropped(server):
    pull, monitor = server("PULL", monocoque_max_handshakes=3)
    with ExitStack() as stack:
        silent = open_connections(pull, monitor, 3, stack)
        good = stack.enter_context(RawPeer.connect(port_of(pull)))
        assert silent[0].closed_by_peer()
        assert outcome(monitor)[0] == (NO_DETAIL, errno.ENOBUFS)
        good.handshake("PUSH")
        good.send_message(b"x")
        assert pull.recv() == b"x"
        # The others are still welcome.
        for peer in silent[1:]:
            peer.handshake("PUSH")
            peer.send_message(b"y")
            assert pull.recv() == b"y"


def test_whoever_is_through_the_handshake_does_not_count(server):
    pull, monitor = server("PULL", monocoque_max_handshakes=1)
    with ExitStack() as stack:
        peers = []
        for _ in range(20):
            peer = stack.enter_context(RawPeer.connect(port_of(pull)))
            peer.handshake("PUSH")
            wait_for_event(monitor, SUCCEEDED)
            peers.append(peer)
        for peer in peers:
            peer.send_message(b"x")
            assert pull.recv() == b"x"


def test_silent_connections_do_not_keep_others_out(server, make, zmq):
    """A hundred slow ones at a time, fresh ones coming: honest clients get through."""
    pull, monitor = server("PULL", monocoque_max_handshakes=10)
    push = make(zmq.PUSH, reconnect_ivl=10)
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(RawPeer.connect(port_of(pull))).send(b"\xff")
        push.connect(pull.LAST_ENDPOINT)
        push.send(b"x")
        assert pull.recv() == b"x"
        assert sum(e == NO_DETAIL for e, _ in outcome(monitor, SUCCEEDED)) >= 91


def test_who_is_being_authenticated_goes_last(server, make, zmq, ctx):
    """A slow handler is no reason to lose those who have said who they are."""
    pull, monitor = server("PULL", monocoque_max_handshakes=2, **secured("PLAIN"))
    hello = command(b"HELLO", b"\x04user\x04pass")
    asked = ctx.socket(zmq.ROUTER)
    asked.rcvtimeo = 30_000
    asked.bind("inproc://zeromq.zap.01")
    with ExitStack() as stack:
        (waits,) = open_connections(pull, monitor, 1, stack)
        waits.send(greeting(mechanism=b"PLAIN") + hello)
        question = asked.recv_multipart()
        first, second = open_connections(pull, monitor, 2, stack)
        assert first.closed_by_peer()
        asked.send_multipart([*question[:2], b"1.0", b"1", b"200", b"", b"", b""])
        waits.recv_exactly(64)
        assert waits.recv_command()[0] == b"WELCOME"


# --- subscriptions -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PUB", "XPUB"])
@pytest.mark.parametrize("minor", [0, 1])
def test_a_peer_has_at_most_so_many_subscriptions(server, kind, minor):
    pub, monitor = server(kind, monocoque_max_subscriptions=3)

    def subscribe(topic: bytes, yes: bool = True) -> bytes:
        if minor == 0:
            return message(bytes([yes]) + topic)
        return command(b"SUBSCRIBE" if yes else b"CANCEL", topic)

    with zmtp_connect(pub) as good, zmtp_connect(pub) as bad:
        for peer in (good, bad):
            peer.handshake("SUB", minor=minor)
            peer.send(subscribe(b"a") + subscribe(b"b") + subscribe(b"b") + subscribe(b"c"))
            peer.send(subscribe(b"a", False) + subscribe(b"nothing", False) + subscribe(b"d"))
            peer.round_trip()
        wait_for_event(monitor, SUCCEEDED, times=2)
        bad.send(subscribe(b"e"))
        is_dropped(bad, monitor)
        for topic in (b"a", b"b", b"c", b"d"):
            pub.send(topic)
        assert [good.recv_message() for _ in range(3)] == [[b"b"], [b"c"], [b"d"]]


def test_the_topics_of_a_peer_have_at_most_so_many_bytes(server):
    pub, monitor = server("PUB", monocoque_max_topic_bytes=10)
    with zmtp_connect(pub) as peer:
        peer.handshake("SUB")
        wait_for_event(monitor, SUCCEEDED)
        for data in (b"123456", b"1234", b""):
            peer.send(command(b"SUBSCRIBE", data))
        peer.round_trip()
        peer.send(command(b"CANCEL", b"1234") + command(b"SUBSCRIBE", b"abcd"))
        peer.round_trip()
        peer.send(command(b"SUBSCRIBE", b"x"))
        is_dropped(peer, monitor)


def test_limits_on_subscriptions_hold_where_the_application_decides(server):
    """XPUB_MANUAL: what the peer asked for counts."""
    pub, monitor = server("XPUB", monocoque_max_subscriptions=1, xpub_manual=True)
    with zmtp_connect(pub) as peer:
        peer.handshake("SUB")
        wait_for_event(monitor, SUCCEEDED)
        peer.send(command(b"SUBSCRIBE", b"a"))
        assert pub.recv() == b"\1a"
        for topic in (b"x", b"y", b"z"):
            pub.subscribe(topic)  # not the peer's doing
        peer.send(command(b"SUBSCRIBE", b"b"))
        is_dropped(peer, monitor)


def test_an_unread_xpub_keeps_at_most_so_many_pending_subscriptions_of_a_peer(server):
    pub, monitor = server("XPUB", monocoque_max_pending_subscriptions=4)
    toggle = command(b"SUBSCRIBE", b"t") + command(b"CANCEL", b"t")
    with zmtp_connect(pub) as good, zmtp_connect(pub) as bad:
        good.handshake("SUB")
        bad.handshake("SUB")
        wait_for_event(monitor, SUCCEEDED, times=2)
        for _ in range(20):
            bad.send(toggle * 2)
            bad.round_trip()
            assert [pub.recv() for _ in range(4)] == [b"\1t", b"\0t"] * 2
        bad.send(toggle * 3)
        is_dropped(bad, monitor)
        good.send(command(b"SUBSCRIBE", b"u"))
        good.round_trip()
        notes = sorted(pub.recv() for _ in range(6))
        assert notes == [b"\0t"] * 3 + [b"\1t"] * 2 + [b"\1u"]


def test_an_unread_xpub_keeps_at_most_so_many_parts_of_a_peer(server):
    """Never a piece of a message: it comes whole, or not at all."""
    pub, monitor = server("XPUB", monocoque_max_pending_subscriptions=3)
    with zmtp_connect(pub) as peer:
        peer.handshake("SUB")
        wait_for_event(monitor, SUCCEEDED)
        peer.send_message(b"a", b"b")
        peer.send_message(b"c")
        assert pub.recv_multipart() == [b"a", b"b"]
        peer.send_message(b"d", b"e")
        peer.round_trip()
        peer.send_message(b"f", b"g")
        is_dropped(peer, monitor)
        assert pub.recv_multipart() == [b"c"]
        assert pub.recv_multipart() == [b"d", b"e"]
        assert not pub.poll(0)
