"""A publisher's options: manual subscriptions, last values, welcome; slow subscribers."""

from __future__ import annotations

import errno
import socket

import pytest
from support import (
    TRANSPORTS,
    RawListener,
    RawPeer,
    bind_over,
    drain,
    errno_of,
    eventually,
    free_port,
    fresh_inproc,
    know,
    monitor_events,
    port_of,
    waiting,
    watched,
    zmtp_connect,
)
from support.zmtp import command, frame

MANUAL_LAST_VALUE = 98


def test_a_manual_publisher_decides_what_is_subscribed(zmq, make):
    """S-81: SUBSCRIBE applies to the peer whose subscription was received last."""
    xpub, xsub = make(zmq.XPUB, xpub_manual=1), make(zmq.XSUB)
    xsub.connect(bind_over(xpub, "inproc", ""))
    xsub.send(b"\x01A")
    assert xpub.recv() == b"\x01A"
    xpub.setsockopt(zmq.SUBSCRIBE, b"XA")
    xpub.send(b"A")
    xpub.send(b"XA")
    assert xsub.recv() == b"XA"
    xsub.send(b"\x00A")
    assert xpub.recv() == b"\x00A"
    xpub.setsockopt(zmq.UNSUBSCRIBE, b"XA")
    xsub.send(b"\x01B")
    assert xpub.recv() == b"\x01B"
    xpub.setsockopt(zmq.SUBSCRIBE, b"B")
    xpub.send(b"XA")
    xpub.send(b"B1")
    assert xsub.recv() == b"B1"


def test_manual_subscriptions_belong_to_the_peer_that_asked_last(zmq, make):
    """S-81: two peers want different things."""
    xpub = make(zmq.XPUB, xpub_manual=1)
    address = bind_over(xpub, "inproc", "")
    one, two = make(zmq.XSUB), make(zmq.XSUB)
    for i, xsub in enumerate((one, two)):
        xsub.connect(address)
        xsub.send(b"\x01%d" % i)
        assert xpub.recv() == b"\x01%d" % i
        xpub.setsockopt(zmq.SUBSCRIBE, b"X%d" % i)
    xpub.send(b"X1")
    xpub.send(b"X0")
    assert drain(one) == [b"X0"]
    assert drain(two) == [b"X1"]


def test_a_manual_publisher_is_told_of_repetitions(zmq, make):
    """S-81: each subscription is delivered, even a duplicate."""
    xpub, xsub = make(zmq.XPUB, xpub_manual=1), make(zmq.XSUB)
    xsub.connect(bind_over(xpub, "inproc", ""))
    for _ in range(2):
        xsub.send(b"\x01A")
        assert xpub.recv() == b"\x01A"
        xpub.setsockopt(zmq.SUBSCRIBE, b"A")
    for _ in range(2):
        xsub.send(b"\x00A")
    assert xpub.recv() == b"\x00A"


def test_a_manual_publisher_is_told_what_a_lost_peer_had(zmq, make):
    """S-81: what the peer asked for ends one by one on disconnect; later calls do nothing."""
    xpub, xsub = make(zmq.XPUB, xpub_manual=1), make(zmq.XSUB)
    xsub.connect(bind_over(xpub, "tcp", ""))
    for topic in (b"A", b"B"):
        xsub.send(b"\x01" + topic)
        assert xpub.recv() == b"\x01" + topic
        xpub.setsockopt(zmq.SUBSCRIBE, b"X" + topic)
    xsub.close()
    assert sorted([xpub.recv(), xpub.recv()]) == [b"\x00A", b"\x00B"]
    xpub.setsockopt(zmq.SUBSCRIBE, b"after")
    xpub.send(b"after")
    assert not xpub.poll(0)


def test_a_plain_publisher_cannot_be_subscribed_by_its_owner(zmq, make):
    """semantics.md#socket-options: SUBSCRIBE on XPUB only with MANUAL."""
    assert errno_of(zmq.ZMQError, make(zmq.XPUB).setsockopt, zmq.SUBSCRIBE, b"A") == errno.EINVAL


def test_last_value_publisher_answers_the_new_subscriber_only(zmq, make):
    """S-82: the next send goes to the peer whose subscription was handled last."""
    xpub = make(zmq.XPUB)
    xpub.setsockopt(MANUAL_LAST_VALUE, 1)
    address = bind_over(xpub, "inproc", "")
    old, new = make(zmq.SUB), make(zmq.SUB)
    for sub in (old, new):
        sub.connect(address)
        sub.subscribe(b"A")
        assert xpub.recv() == b"\x01A"
        xpub.setsockopt(zmq.SUBSCRIBE, b"A")
        xpub.send(b"A cached")
        assert sub.recv() == b"A cached"
    assert not old.poll(0)
    xpub.send(b"A fresh")
    assert old.recv() == b"A fresh"
    assert new.recv() == b"A fresh"


@pytest.mark.parametrize("call", ["send", "send_multipart"])
@pytest.mark.parametrize("reads", ["the new one", "both"])
def test_a_last_value_that_was_refused_is_tried_again_for_all(zmq, make, call, reads):
    """S-82, S-59: the one that it was for had no room, and that was its turn."""
    xpub = make(zmq.XPUB, sndhwm=2, xpub_nodrop=1)
    xpub.setsockopt(MANUAL_LAST_VALUE, 1)
    address = bind_over(xpub, "inproc", "")

    def subscribe(sub, topic):
        sub.subscribe(topic)
        assert xpub.recv() == b"\x01" + topic
        xpub.setsockopt(zmq.SUBSCRIBE, topic)

    def publish(*parts):
        know(xpub)
        if call == "send":
            xpub.send(parts[0], zmq.DONTWAIT)
        else:
            xpub.send_multipart(parts, zmq.DONTWAIT)

    old, new = make(zmq.SUB, rcvhwm=2), make(zmq.SUB, rcvhwm=2)
    for sub in (old, new):
        sub.connect(address)
        subscribe(sub, b"A")
        publish(b"A first")
    filled = 0
    with pytest.raises(zmq.Again):
        while True:
            publish(b"A%d" % filled)
            filled += 1
    subscribe(new, b"AB")
    with pytest.raises(zmq.Again):
        publish(b"AB refused", b"part")
    was_there = [[b"A first"], *([b"A%d" % n] for n in range(filled))]
    assert waiting(new) == was_there
    if reads == "both":
        assert waiting(old) == was_there
        publish(b"AB for all")
        assert [waiting(s) for s in (old, new)] == [[[b"AB for all"]]] * 2
    else:
        with pytest.raises(zmq.Again):
            publish(b"AB refused, for the old one is full")
        subscribe(new, b"AC")
        publish(b"AC", b"part")
        assert waiting(new) == [[b"AC"] + [b"part"] * (call != "send")]
        assert waiting(old) == was_there


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_welcome_message_greets_each_subscriber(zmq, make, ipc_address, transport):
    """S-83: it is matched like any other."""
    xpub = make(zmq.XPUB, xpub_welcome_msg=b"W")
    address = bind_over(xpub, transport, ipc_address)
    for _ in range(2):
        sub = make(zmq.SUB)
        sub.subscribe(b"W")
        sub.connect(address)
        eventually(lambda sub=sub: xpub.events and sub.poll(0))
        assert sub.recv() == b"W"
        drain(xpub)
    xpub.xpub_welcome_msg = b""
    last = make(zmq.SUB)
    last.subscribe(b"W")
    last.subscribe(b"X")
    last.connect(address)
    eventually(lambda: b"\x01X" in drain(xpub))
    xpub.send(b"X")
    assert last.recv() == b"X", "no welcome any more"


def test_a_subscriber_that_does_not_read_slows_nobody_down(zmq, make):
    """S-89: the publisher goes on, and the others get everything."""
    xpub = make(zmq.XPUB, sndhwm=100)
    xpub.bind("tcp://127.0.0.1:*")
    with zmtp_connect(xpub) as deaf:
        deaf.handshake("SUB")
        deaf.send(command(b"SUBSCRIBE", b"b"))
        assert xpub.recv() == b"\x01b"
        sub = make(zmq.SUB)
        sub.connect(xpub.LAST_ENDPOINT)
        sub.subscribe(b"body")
        assert xpub.recv() == b"\x01body"
        body = b"body" + bytes(40_000)
        for _ in range(500):  # 20 MB: more than two socket buffers hold
            xpub.send(body, zmq.DONTWAIT)
            assert len(sub.recv()) == len(body)


def test_pub_is_writable_whatever_happens(zmq, make):
    """S-09: also without peers; what nobody wants is dropped."""
    pub = make(zmq.PUB)
    assert pub.events == zmq.POLLOUT
    for _ in range(3000):
        pub.send(b"x", zmq.DONTWAIT)
    address = fresh_inproc()
    pub.bind(address)
    sub = make(zmq.SUB)
    sub.subscribe(b"")
    sub.connect(address)
    know(pub)
    pub.send(b"first")
    assert sub.recv() == b"first"


def test_garbage_before_the_handshake_is_no_subscription(zmq, make):
    """S-76: a peer that never shakes hands is not told to the application."""
    xpub = make(zmq.XPUB)
    xpub.bind("tcp://127.0.0.1:*")
    with RawPeer.connect(port_of(xpub)) as stranger:
        stranger.send(b"\xff" + bytes(8) + b"\x7f")
        sub = make(zmq.SUB)
        sub.connect(xpub.LAST_ENDPOINT)
        sub.subscribe(b"A")
        assert xpub.recv() == b"\x01A"
        assert not xpub.poll(0)


def test_a_message_that_poll_saw_may_go_with_its_publisher(zmq, make):
    """S-74: found, but not read yet, when its connection is taken away: gone, and never garbage."""
    with RawListener() as mock:
        sub = make(zmq.SUB, subscribe=b"")
        sub.connect(mock.endpoint)
        peer = mock.accept()
        peer.handshake("PUB")
        peer.send(frame(b"one" * 50) + frame(b"two"))
        assert sub.poll(30_000)
        sub.disconnect(mock.endpoint)
        eventually(lambda: sub.events >= 0 and peer.closed_by_peer(0.05))
        litter = [bytearray(b"Z" * 4032) for _ in range(1000)]  # where it lay
        assert set(drain(sub)) <= {b"one" * 50}
        del litter


def test_a_message_that_poll_saw_is_read_whatever_is_unsubscribed(zmq, make):
    """S-74: a subscriber was told of it."""
    pub, sub = make(zmq.XPUB), make(zmq.SUB)
    sub.connect(bind_over(pub, "inproc", ""))
    sub.subscribe(b"A")
    assert pub.recv() == b"\x01A"
    pub.send(b"A1")
    assert sub.poll(30_000)
    sub.unsubscribe(b"A")
    assert sub.recv() == b"A1"


def _heard(xpub) -> list[bytes]:
    """All that an XPUB has to tell, up to a subscription to b"end" and its end."""
    out = []
    while not out or out[-1] != b"\0end":
        out.append(xpub.recv())
    return [note for note in out if note[1:] != b"end"]


OPERATIONS = [
    *[(1, b"d"), (1, b"d"), (1, b"d"), (0, b"d")],  # two are left
    *[(1, b"e"), (0, b"e"), (0, b"none"), (0, b"d"), (0, b"d")],
]


TOLD = [b"\1d", b"\1d", b"\1d", b"\1e", b"\0e", b"\0d"]


@pytest.mark.parametrize("kind", ["SUB", "XSUB"])
@pytest.mark.parametrize("when", ["before connect", "before the publisher is there", "after"])
def test_subscriptions_keep_their_number_and_order(zmq, make, kind, when):
    """Each subscribe() is told, also one too many; of those before connect(), what is left."""
    xpub, sub = make(zmq.XPUB, xpub_verboser=1), make(getattr(zmq, kind), reconnect_ivl=20)
    address = f"tcp://127.0.0.1:{free_port()}"
    if when != "before connect":
        sub.connect(address)
    if when == "after":
        xpub.bind(address)
        _change(sub, kind, [(1, b"first")])
        assert xpub.recv() == b"\1first"
    _change(sub, kind, OPERATIONS)
    if when == "before connect":
        sub.connect(address)
    if when != "after":
        xpub.bind(address)
    _change(sub, kind, [(1, b"end"), (0, b"end")])
    assert _heard(xpub) == ([] if when == "before connect" else TOLD)


@pytest.mark.parametrize("parts", [[b"\1u", b"b"], [b"a", b"\1u"], [b"a", b"\0t"], [b"\0t", b"b"]])
@pytest.mark.parametrize("when", ["before the publisher is there", "while it is away"])
def test_a_message_with_a_subscription_reaches_a_publisher_that_comes_later(zmq, make, when, parts):
    """Behind what was subscribed to before, and all of it, whichever part says so."""
    address = f"tcp://127.0.0.1:{free_port()}"
    xsub = make(zmq.XSUB, reconnect_ivl=20)
    if when == "while it is away":
        with watched(xsub) as monitor:
            with make(zmq.XPUB) as first:
                first.bind(address)
                xsub.connect(address)
                xsub.send(b"\1t")
                assert first.recv() == b"\1t"
            monitor_events(monitor, until=zmq.EVENT_DISCONNECTED)
    else:
        xsub.send(b"\1t")
        xsub.connect(address)
    xsub.send_multipart(parts)
    xsub.send(b"end")
    xpub = make(zmq.XPUB)
    xpub.bind(address)
    got = []
    while b"end" not in got:
        got.append(xpub.recv())
    assert got == [b"\1t", *parts, b"end"]


def test_an_end_of_what_was_never_subscribed_to_is_told(zmq, make):
    """Whoever reads a message with such a part would wait for it."""
    xpub = make(zmq.XPUB)
    xpub.bind("tcp://127.0.0.1:*")
    with RawPeer.connect(port_of(xpub)) as peer:
        peer.handshake("XSUB")
        peer.send(b"\0\2\0t" + b"\1\1a" + b"\0\2\0u")
        assert xpub.recv_multipart() == [b"\0t"]
        assert xpub.recv_multipart() == [b"a", b"\0u"]


def _change(sub, kind: str, operations) -> None:
    for on, topic in operations:
        if kind == "XSUB":
            sub.send(bytes([on]) + topic)
        elif on:
            sub.subscribe(topic)
        else:
            sub.unsubscribe(topic)


def test_subscriptions_do_not_count_as_answers_that_nobody_reads(zmq, make):
    """More than 1 MiB of them wait for a publisher that reads slowly, and asks for a PONG."""
    sub, count = make(zmq.SUB, sndhwm=0, sndbuf=8192), 18_000
    with RawListener() as server:
        server.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sub.connect(server.endpoint)
        with server.accept() as publisher:
            publisher.handshake("PUB")
            for n in range(count):
                sub.subscribe(b"%060d" % n)
            publisher.send(b"\4\7\4PING\0\0")
            pongs = subscriptions = 0
            while not pongs or subscriptions < count:
                _, body = publisher.recv_frame()
                pongs += body.startswith(b"\4PONG")
                subscriptions += body.startswith(b"\x09SUBSCRIBE")
