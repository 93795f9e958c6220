"""Every pair of socket types that may talk, with real pyzmq (libzmq) in another process.

Each pair runs both ways round (who is ours), with either side binding, over tcp and ipc, and each
direction that the types allow carries every shape of message.
"""

from __future__ import annotations

import itertools
import os

import pytest
from support import RemotePyzmq, eventually

BIG = os.urandom(1_000_000)
MESSAGES = [
    [b"x"],
    [b""],
    [bytes(255)],
    [b"\xff" * 256],
    [BIG],
    [b"two", b"parts"],
    [b"", b"", b""],
    [b"a" * 255, b"", BIG, b"b" * 256, b"end"],
    [b"%d" % n for n in range(100)],
]

PAIRS = [
    ("PAIR", "PAIR"),
    ("PUSH", "PULL"),
    ("REQ", "REP"),
    ("REQ", "ROUTER"),
    ("DEALER", "REP"),
    ("DEALER", "DEALER"),
    ("DEALER", "ROUTER"),
    ("ROUTER", "ROUTER"),
    ("PUB", "SUB"),
    ("PUB", "XSUB"),
    ("XPUB", "SUB"),
    ("XPUB", "XSUB"),
]

both_ways = pytest.mark.parametrize(
    "pair", [*PAIRS, *((b, a) for a, b in PAIRS if a != b)], ids=lambda p: f"our {p[0]}-{p[1]}"
)
binders = pytest.mark.parametrize("ours_binds", [True, False], ids=["ours binds", "libzmq binds"])
transports = pytest.mark.parametrize("transport", ["tcp", "ipc"])


@pytest.fixture(scope="module")
def remote(pyzmq):
    with RemotePyzmq() as process:
        yield process


@pytest.fixture
def couple(zmq, make, remote, ipc_address):
    """couple(our type, its type, ours_binds, transport, ours={}, its={}) -> a connected couple.

    Options of ROUTERs and SUBs are seen to.
    """
    theirs = []

    def make_couple(our_kind, its_kind, ours_binds, transport, ours=(), its=()):
        options = [dict(ours), dict(its)]
        for kind, o in zip((our_kind, its_kind), options, strict=True):
            if kind == "ROUTER":
                o.setdefault("router_mandatory", 1)
        names = {"ROUTER", "REP", "REQ", "DEALER"}
        if our_kind in names:
            options[0].setdefault("routing_id", b"ours")
        if its_kind in names:
            options[1].setdefault("routing_id", b"its")
        our = make(getattr(zmq, our_kind), **options[0])
        it = remote.socket(its_kind, **options[1])
        theirs.append(it)
        binder, connecter = (our, it) if ours_binds else (it, our)
        binder.bind("tcp://127.0.0.1:*" if transport == "tcp" else ipc_address)
        connecter.connect(binder.LAST_ENDPOINT)
        return our, it

    yield make_couple
    if remote.process.poll() is None:
        for it in theirs:
            it.close()


def carry(sender, receiver, to=(), seen_as=(), messages=MESSAGES) -> None:
    """Sends every message; with envelope parts in front where the types want them."""
    for message in messages:
        sender.send_multipart([*to, *message])
        assert receiver.recv_multipart() == [*seen_as, *message]


def publish(pub, sub, sub_kind: str) -> None:
    """Subscribes to everything, waits until that holds, and publishes every message."""
    if sub_kind == "SUB":
        sub.subscribe(b"")
    else:
        sub.send(b"\x01")
    eventually(lambda: (pub.send(b"sync"), sub.poll(20))[1])
    pub.send(b"go")
    while sub.recv() != b"go":
        pass
    carry(pub, sub)
    pub.send(b"end")
    assert sub.recv() == b"end"


def first_contact(router, peer_id: bytes) -> None:
    """Waits until this ROUTER (mandatory) knows the peer: an empty message gets through."""

    def knows() -> bool:
        try:
            router.send_multipart([peer_id, b""])
        except (AssertionError, Exception) as error:
            assert "unreachable" in str(error), error
            return False
        return True

    eventually(knows)


def converse(a, a_kind: str, a_id: bytes, b, b_kind: str, b_id: bytes) -> None:
    """All that the types ``a_kind`` and ``b_kind`` allow, in both directions."""
    kinds = (a_kind, b_kind)
    if kinds in (("PAIR", "PAIR"), ("DEALER", "DEALER")):
        carry(a, b)
        carry(b, a)
    elif kinds == ("PUSH", "PULL"):
        carry(a, b)
    elif kinds == ("REQ", "REP"):
        for message in MESSAGES:
            carry(a, b, messages=[message])
            carry(b, a, messages=[message])
    elif kinds == ("REQ", "ROUTER"):
        for message in MESSAGES:
            carry(a, b, seen_as=[a_id, b""], messages=[message])
            carry(b, a, to=[a_id, b""], messages=[message])
    elif kinds == ("DEALER", "REP"):
        for message in MESSAGES:
            carry(a, b, to=[b"trace", b""], messages=[message])
            carry(b, a, seen_as=[b"trace", b""], messages=[message])
    elif kinds == ("DEALER", "ROUTER"):
        carry(a, b, seen_as=[a_id])
        carry(b, a, to=[a_id])
    elif kinds == ("ROUTER", "ROUTER"):
        first_contact(a, b_id)
        assert b.recv_multipart() == [a_id, b""]
        carry(a, b, to=[b_id], seen_as=[a_id])
        carry(b, a, to=[a_id], seen_as=[b_id])
    else:
        assert a_kind in ("PUB", "XPUB"), kinds
        publish(a, b, b_kind)
        if a_kind == "XPUB":
            assert a.recv() == b"\x01"
            if b_kind == "XSUB":
                b.send_multipart([b"to the", b"publisher"])
                assert a.recv_multipart() == [b"to the", b"publisher"]


@transports
@binders
@both_ways
def test_all_shapes_of_messages_cross(couple, pair, ours_binds, transport):
    our_kind, its_kind = pair
    our, it = couple(our_kind, its_kind, ours_binds, transport)
    sides = (our, our_kind, b"ours"), (it, its_kind, b"its")
    if pair not in PAIRS:
        sides = sides[::-1]
    (a, a_kind, a_id), (b, b_kind, b_id) = sides
    converse(a, a_kind, a_id, b, b_kind, b_id)


@transports
@binders
def test_many_messages_keep_their_order(couple, ours_binds, transport):
    """2000 in a row each way, without waiting for any."""
    our, it = couple("DEALER", "DEALER", ours_binds, transport, {"sndhwm": 0, "rcvhwm": 0})
    for n in range(2000):
        our.send(b"%d" % n)
    for n in range(2000):
        it.send(b"%d" % n)
    assert [our.recv() for _ in range(2000)] == [b"%d" % n for n in range(2000)]
    assert [it.recv() for _ in range(2000)] == [b"%d" % n for n in range(2000)]


@transports
@binders
@pytest.mark.parametrize("kinds", [("SUB", "XPUB"), ("XPUB", "SUB")], ids=lambda k: f"our {k[0]}")
def test_subscriptions_cross(couple, kinds, ours_binds, transport):
    """Subscribing, the filter and unsubscribing; topics around the sizes where frames change."""
    our, it = couple(*kinds, ours_binds, transport)
    sub, pub = (our, it) if kinds[0] == "SUB" else (it, our)
    for topic in (b"a", b"\x00\xff", b"t" * 245, b"t" * 246, b"t" * 255, b"t" * 256, b"t" * 1000):
        sub.subscribe(topic)
        eventually(lambda: (sub.poll(0), pub.poll(20))[1])  # a libzmq SUB acts in calls only
        assert pub.recv() == b"\x01" + topic
        pub.send_multipart([b"not for it", b"x"])
        pub.send_multipart([topic + b"!", b"x"])
        assert sub.recv_multipart() == [topic + b"!", b"x"]
        sub.unsubscribe(topic)
        assert pub.recv() == b"\x00" + topic


def test_a_router_of_ours_serves_many_of_its_dealers(couple, remote):
    our, first = couple("ROUTER", "DEALER", True, "tcp")
    endpoint = our.LAST_ENDPOINT
    dealers = [remote.socket("DEALER", routing_id=b"d%d" % n) for n in range(10)]
    for n, d in enumerate(dealers):
        d.connect(endpoint)
        d.send_multipart([b"hello", b"%d" % n])
    seen = dict(our.recv_multipart()[::2] for _ in dealers)
    assert seen == {b"d%d" % n: b"%d" % n for n in range(10)}
    for n, d in enumerate(dealers):
        our.send_multipart([b"d%d" % n, b"re", b"%d" % n])
        assert d.recv_multipart() == [b"re", b"%d" % n]
        d.close()


@transports
@pytest.mark.parametrize("who", ["ours", "libzmq"])
def test_a_binder_comes_back_and_the_other_follows(couple, make, remote, zmq, who, transport):
    """Reconnecting across engines."""
    ours_binds = who == "ours"
    options = {"reconnect_ivl": 10}
    our, it = couple("DEALER", "DEALER", ours_binds, transport, options, options)
    carry(our, it, messages=[[b"before"]])
    old, follower = (our, it) if ours_binds else (it, our)
    endpoint = old.LAST_ENDPOINT
    old.close()
    new = make(zmq.DEALER) if ours_binds else remote.socket("DEALER")

    def binds() -> bool:
        try:
            new.bind(endpoint)
        except (AssertionError, Exception) as error:
            assert "in use" in str(error), error
            return False
        return True

    eventually(binds)
    follower.send(b"after")
    eventually(lambda: new.poll(50) or follower.send(b"after"))
    assert new.recv() == b"after"
    new.close()


@transports
@binders
def test_closing_right_after_sending_loses_nothing(couple, zmq, ours_binds, transport):
    """Both engines linger for each other."""
    for sender_is_ours in (True, False):
        kinds = ("PUSH", "PULL") if sender_is_ours else ("PULL", "PUSH")
        our, it = couple(*kinds, ours_binds, transport, {"linger": -1}, {"linger": -1})
        sender, receiver = (our, it) if sender_is_ours else (it, our)
        sender.send_multipart([b"1", BIG])
        for n in range(100):
            sender.send(b"%d" % n)
        sender.close()
        assert receiver.recv_multipart() == [b"1", BIG]
        assert [receiver.recv() for _ in range(100)] == [b"%d" % n for n in range(100)]
        receiver.close()


@transports
@pytest.mark.parametrize("ours", ["REQ", "REP"])
def test_a_long_conversation(couple, ours, transport):
    """Requests and replies, growing from nothing to past every limit of a frame's size."""
    our, it = couple(ours, "REP" if ours == "REQ" else "REQ", True, transport)
    req, rep = (our, it) if ours == "REQ" else (it, our)
    for size in itertools.chain(range(0, 600, 7), [8191, 8192, 8193, 65535, 65536, 200_000]):
        body = b"q" * size
        req.send(body)
        assert rep.recv() == body
        rep.send_multipart([body, b"re"])
        assert req.recv_multipart() == [body, b"re"]
