"""A peer is killed: whoever is left sees whole messages only, and goes on (S-20, S-51)."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import struct

import pytest
from support import (
    Child,
    RawPeer,
    bind,
    connected,
    eventually,
    module_source,
    port_of,
    rebind,
    waiting,
)
from support.zmtp import MORE, frame

SENDER = """
s = zmq.Context().socket(zmq.PUSH)
s.sndhwm = 5
s.connect(sys.argv[1])
n = 0
while True:
    s.send_multipart([b"%d" % n, bytes(int(sys.argv[2])), b"%d" % n])
    n += 1
    if n == 3:
        print("sending", flush=True)
"""

RECEIVER = """
s = zmq.Context().socket(zmq.PULL)
s.rcvhwm = 10
s.bind(sys.argv[1])
print(s.LAST_ENDPOINT.decode(), flush=True)
for _ in range(int(sys.argv[2])):
    first, body, last = s.recv_multipart()
    assert first == last and len(body) == 50_000
print("received", flush=True)
s.recv_multipart()
sys.stdin.read()
"""


def kill(child: Child) -> None:
    os.kill(child.process.pid, signal.SIGKILL)
    child.wait()


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("size", [100, 100_000, 5_000_000])
def test_a_sender_killed_in_the_middle_of_a_message(zmq, make, size, transport, ipc_address):
    """The receiver does not read, so the sender is stuck within a message when it is killed."""
    pull, other = make(zmq.PULL, rcvhwm=1), make(zmq.PUSH)
    address = bind(pull, "tcp://127.0.0.1:*" if transport == "tcp" else ipc_address)
    with Child(module_source(zmq) + SENDER, address, size) as child:
        child.line()
        assert pull.recv_multipart() == [b"0", bytes(size), b"0"]
        eventually(lambda: _sleeps(child.process.pid) or size == 100)
        kill(child)
    other.connect(address)
    others = [[b"other", b"message"], [b"goes on"]]
    for message in others:
        other.send_multipart(message)
    got = []
    while others[1] not in got or pull.poll(100):
        got.append(pull.recv_multipart())
    assert [m for m in got if m in others] == others
    rest = [m for m in got if m not in others]
    assert rest == [[b"%d" % n, bytes(size), b"%d" % n] for n in range(1, len(rest) + 1)]


def _sleeps(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "S"


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_receiver_killed_in_the_middle_of_a_message(zmq, make, transport, ipc_address):
    """Its successor gets the rest of the queue: whole messages, no gap after the first one."""
    push = make(zmq.PUSH, sndhwm=0, reconnect_ivl=10)
    address = "tcp://127.0.0.1:*" if transport == "tcp" else ipc_address
    with Child(module_source(zmq) + RECEIVER, address, 5) as child:
        address = child.line()
        push.connect(address)
        for n in range(500):
            push.send_multipart([b"%d" % n, bytes(50_000), b"%d" % n])
        assert child.line() == "received"
        kill(child)
    pull = make(zmq.PULL)
    rebind(zmq, pull, address)
    first = int(pull.recv_multipart()[0])
    assert 5 < first < 500
    for n in range(first + 1, 500):
        assert pull.recv_multipart() == [b"%d" % n, bytes(50_000), b"%d" % n]
    push.send(b"goes on")
    assert pull.recv() == b"goes on"


def test_a_killed_receiver_does_not_stop_the_others(zmq, make):
    """Two receivers; one is killed while its queue is full; the other goes on receiving."""
    push, pull = make(zmq.PUSH, sndhwm=2), make(zmq.PULL)
    address = bind(push)
    with Child(module_source(zmq) + RECEIVER.replace("s.bind", "s.connect"), address, 2) as child:
        child.line()
        connected(push)
        for n in range(20):
            push.send_multipart([b"%d" % n, bytes(50_000), b"%d" % n])
        assert child.line() == "received"
        kill(child)
    pull.connect(address)
    # libzmq drops what is queued for the dead one; in the end all goes to the living one
    eventually(lambda: (push.send(b"hello"), pull.poll(10))[1])
    waiting(pull)
    rounds = itertools.count()
    eventually(lambda: _all_arrive(push, pull, b"%d" % next(rounds)))


def _all_arrive(push, pull, round_: bytes) -> bool:
    for n in range(10):
        push.send_multipart([b"%d" % n, b"end", round_])
    got = []
    while len(got) < 10 and pull.poll(100):
        message = pull.recv_multipart()
        if message[-1] == round_:  # of earlier ones some may be late
            got.append(message)
    return got == [[b"%d" % n, b"end", round_] for n in range(10)]


CUTS = [
    b"\x01",
    b"\x01\x05",
    b"\x01\x05ab",
    frame(b"whole part", MORE),
    frame(b"part", MORE) + frame(bytes(1000))[:500],
    frame(b"part", MORE) + b"\x02\x00\x00",
    frame(b"p", MORE) * 50 + b"\x00",
    b"\x02" + struct.pack(">Q", 1 << 62) + b"far too long",
]


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "end of stream"])
@pytest.mark.parametrize("cut", CUTS, ids=range(len(CUTS)))
def test_a_stream_cut_anywhere_leaves_whole_messages(zmq, make, cut, reset):
    """What was complete before is delivered, and no part of the rest."""
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    address = bind(pull)
    with RawPeer.connect(port_of(pull)) as peer:
        peer.handshake("PUSH")
        peer.send(frame(b"a", MORE) + frame(b"b"))
        assert pull.recv_multipart() == [b"a", b"b"]
        peer.send(cut)
        if reset:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    push.connect(address)
    push.send_multipart([b"next", b"message"])
    assert pull.recv_multipart() == [b"next", b"message"]
    assert not pull.poll(0)


def test_many_peers_killed_at_once(zmq, make):
    """Four senders at full speed, all killed; the receiver then serves a fifth."""
    pull = make(zmq.PULL, rcvhwm=5)
    address = bind(pull)
    children = [Child(module_source(zmq) + SENDER, address, 20_000) for _ in range(4)]
    try:
        for child in children:
            child.line()
        for _ in range(50):
            first, body, last = pull.recv_multipart()
            assert first == last and body == bytes(20_000)
        for child in children:
            kill(child)
    finally:
        for child in children:
            child.__exit__()
    push = make(zmq.PUSH)
    push.connect(address)
    push.send(b"fifth")
    while (message := pull.recv_multipart()) != [b"fifth"]:
        assert len(message) == 3 and message[0] == message[2] and message[1] == bytes(20_000)
