"""Messages that never end, or end too early, in the middle of other peers' messages.

Run with ZM_TEST_MODULE=zmq, the same tests hold libzmq to them.
"""

from __future__ import annotations

from random import Random

import pytest
from support import Background, zmtp_connect
from support.zmtp import MORE, command, frame, message

PEER_OF = {
    "PULL": "PUSH",
    "ROUTER": "DEALER",
    "DEALER": "DEALER",
    "REP": "REQ",
    "SUB": "PUB",
    "XSUB": "PUB",
    "XPUB": "SUB",
}


@pytest.fixture(params=PEER_OF)
def kinds(request):
    return request.param, PEER_OF[request.param]


@pytest.fixture
def under_attack(zmq, make, kinds):
    s = make(getattr(zmq, kinds[0]))
    if kinds[0] == "SUB":
        s.subscribe(b"")
    s.bind("tcp://127.0.0.1:*")
    return s


def shake_hands(peer, kind: str, identity: bytes) -> None:
    peer.handshake(kind, identity if kind in ("REQ", "DEALER") else None)


def body_of(kind: str, parts: list[bytes]) -> list[bytes]:
    """A message without what a ROUTER puts in front."""
    return parts[1:] if kind == "ROUTER" else parts


def wire(kind: str, *parts: bytes) -> bytes:
    """A message as a peer of ``kind`` sends it."""
    return message(*([b"", *parts] if kind == "REP" else parts))


def test_a_message_that_is_cut_off_leaves_nothing_to_the_next(under_attack, kinds):
    """Its first parts are not read, and are not put in front of another peer's message."""
    kind, peer_kind = kinds
    with zmtp_connect(under_attack) as good:
        shake_hands(good, peer_kind, b"good")
        for _ in range(3):
            with zmtp_connect(under_attack) as bad:
                shake_hands(bad, peer_kind, b"bad")
                bad.send(wire(kind, b"one", b"two")[:-5] + frame(b"two", MORE))
                bad.round_trip()
        good.send(wire(kind, b"whole", b"message"))
        assert body_of(kind, under_attack.recv_multipart()) == [b"whole", b"message"]
        if kind != "REP":
            assert not under_attack.poll(0)


def test_a_message_in_progress_stands_in_nobodys_way(under_attack, kinds):
    """Parts of two peers that come by turns are two messages, in whatever order they are read."""
    kind, peer_kind = kinds
    with zmtp_connect(under_attack) as slow, zmtp_connect(under_attack) as quick:
        shake_hands(slow, peer_kind, b"slow")
        shake_hands(quick, peer_kind, b"quick")
        first = wire(kind, b"one", b"two")
        slow.send(first[:-5])
        slow.round_trip()
        quick.send(wire(kind, b"three", b"four"))
        quick.round_trip()
        slow.send(first[-5:])
        slow.round_trip()
        got = [body_of(kind, under_attack.recv_multipart())]
        if kind == "REP":
            under_attack.send(b"answer")
        got.append(body_of(kind, under_attack.recv_multipart()))
        assert sorted(got) == [[b"one", b"two"], [b"three", b"four"]]


@pytest.mark.parametrize("seed", range(4))
def test_messages_keep_their_bytes_whatever_lies_between_them(zmq, make, seed):
    """Commands of any number and size between messages of any size, read now and then."""
    random = Random(seed)
    sent, said = [], []
    for number in range(400):
        sizes = [random.choice([0, 1, 30, 300, 5_000, 70_000]) for _ in range(random.randint(1, 3))]
        sent.append([b"%d" % number, *(random.randbytes(size) for size in sizes)])
        said.append(message(*sent[-1]))
        if random.random() < 0.5:
            size = random.choice([0, 100, 10_000])
            said.append(command(b"WHAT", bytes(size)) * random.randint(1, 40_000 // (size + 100)))
    pull = make(zmq.PULL, rcvhwm=random.choice([1, 20, 1000]))
    pull.bind("tcp://127.0.0.1:*")
    with zmtp_connect(pull) as peer:
        peer.handshake("PUSH")
        sender = Background(lambda: [peer.send(data) for data in said])
        for wanted in sent:
            if random.random() < 0.02:
                sender.still_runs(after=0.01)  # let it pile up
            assert pull.recv_multipart() == wanted
        sender.result()
