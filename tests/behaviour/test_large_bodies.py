"""Messages larger than any buffer on the way: whole, in order, and no hindrance to others."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import select
import socket
import subprocess
import sys
import threading

import pytest
from support import (
    TIMEOUT,
    Background,
    RawPeer,
    address_for,
    bind,
    eventually,
    module_source,
    port_of,
    refused,
)
from support.c import build_library, preloading

MB = 1 << 20
SIZES = [100_000, MB, 3 * MB + 7, 65_473, 12_000_000, 70_000]


def body(index: int, size: int) -> bytes:
    """Bytes that tell where they belong."""
    return hashlib.shake_128(index.to_bytes(4, "big")).digest(1024) * (size // 1024 + 1)


def bodies() -> list[bytes]:
    return [body(i, size)[:size] for i, size in enumerate(SIZES * 2)]


def long_head(size: int) -> bytes:
    return b"\x02" + size.to_bytes(8, "big")


@pytest.fixture
def sending(zmq, make):
    """sending(socket, messages): sends them from a thread of its own."""
    threads = []

    def start(s, messages, **options):
        def run():
            for message in messages:
                s.send(message, **options)

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@pytest.mark.parametrize("transport", ["inproc", "ipc", "tcp"])
@pytest.mark.parametrize("copy", [True, False])
def test_a_stream_of_large_messages_arrives_whole(zmq, make, sending, ipc_address, transport, copy):
    pull, push = make(zmq.PULL, rcvtimeo=30_000), make(zmq.PUSH, sndhwm=3)
    push.connect(bind(pull, address_for(transport, ipc_address)))
    sending(push, bodies(), copy=copy)
    for wanted in bodies():
        got = pull.recv(copy=copy)
        assert (got if copy else got.bytes) == wanted


def test_large_messages_of_many_peers_and_small_ones_all_arrive(zmq, make, sending):
    """The reader that fetches one peer's body hears the others meanwhile."""
    pull = make(zmq.PULL, rcvtimeo=30_000)
    endpoint = bind(pull)
    wanted, pushes = [], []  # a PUSH that nobody holds any more would close, and drop what it has
    for peer in range(3):
        messages = [bytes([peer, i]) + bytes(MB) for i in range(8)]
        messages += [bytes([peer, 8 + i]) for i in range(50)]
        push = make(zmq.PUSH)
        push.connect(endpoint)
        pushes.append(push)
        sending(push, messages)
        wanted.append([m[:2] for m in messages])
    got = [[], [], []]
    for _ in range(sum(map(len, wanted))):
        message = pull.recv()
        got[message[0]].append(message[:2])
    assert got == wanted


def test_a_body_that_stops_half_way_does_not_hold_the_reader(zmq, make):
    """RCVTIMEO ends the wait; the rest is taken when it comes."""
    pull = make(zmq.PULL)
    bind(pull)
    with RawPeer.connect(port_of(pull)) as peer:
        peer.handshake("PUSH")
        pull.rcvtimeo = 30_000
        for round_ in range(3):
            peer.send(long_head(MB) + bytes(MB // 2))
            pull.rcvtimeo = 20
            with refused(zmq, errno.EAGAIN):
                pull.recv()
            with refused(zmq, errno.EAGAIN):
                pull.recv(zmq.DONTWAIT)
            peer.send(bytes([round_]) * (MB // 2))
            pull.rcvtimeo = 30_000
            assert pull.recv() == bytes(MB // 2) + bytes([round_]) * (MB // 2)


def test_a_peer_that_dies_within_a_body_leaves_the_others_alone(zmq, make, sending):
    pull, push = make(zmq.PULL, rcvtimeo=30_000), make(zmq.PUSH)
    push.connect(bind(pull))
    push.send(bytes(MB))
    assert len(pull.recv()) == MB
    with RawPeer.connect(port_of(pull)) as peer:
        peer.handshake("PUSH")
        peer.send(long_head(MB) + bytes(MB))
        assert len(pull.recv()) == MB
        peer.send(long_head(MB) + bytes(MB // 2))
    sending(push, [bytes([i]) * MB for i in range(5)])
    assert [pull.recv()[0] for _ in range(5)] == list(range(5))


def test_one_who_waited_in_recv_can_wait_on_the_descriptor_next(zmq, make, sending):
    """Large bodies that recv() fetched itself come by the FD, too, once EVENTS is asked."""
    pull, push = make(zmq.PULL, rcvtimeo=30_000), make(zmq.PUSH)
    push.connect(bind(pull))
    descriptor = pull.FD
    for i in range(6):
        sending(push, [bytes([i]) * MB] * 2)
        assert pull.recv()[:1] == bytes([i])
        while not pull.EVENTS & zmq.POLLIN:
            assert select.select([descriptor], [], [], 20)[0], "never woken"
        assert pull.recv(zmq.DONTWAIT)[:1] == bytes([i])


def test_one_who_waited_in_recv_can_ask_without_waiting_next(zmq, make, sending):
    """The body gets on by DONTWAIT alone."""
    pull, push = make(zmq.PULL, rcvtimeo=30_000), make(zmq.PUSH)
    push.connect(bind(pull))
    for i in range(4):
        sending(push, [bytes([i]) * 8 * MB] * 2)
        assert pull.recv()[:1] == bytes([i])

        def asked():
            with contextlib.suppress(zmq.Again):
                return pull.recv(zmq.DONTWAIT)
            return None

        assert eventually(asked, step=0.0001)[:1] == bytes([i])


def test_large_questions_and_answers_between_two_loops(zmq, sending):
    """asyncio on one side, a blocking thread on the other."""
    zmq_asyncio = pytest.importorskip(zmq.__name__ + ".asyncio")
    with zmq.Context() as ctx, ctx.socket(zmq.REP) as rep:
        rep.rcvtimeo = 30_000
        endpoint = bind(rep)

        def answer():
            for _ in range(10):
                rep.send(rep.recv()[::-1])

        async def ask():
            with zmq_asyncio.Context() as actx, actx.socket(zmq.REQ) as req:
                req.connect(endpoint)
                for i in range(10):
                    question = bytes([i]) + bytes(MB + i)
                    await req.send(question)
                    assert await asyncio.wait_for(req.recv(), TIMEOUT) == question[::-1]

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            asyncio.run(ask())
        finally:
            thread.join(TIMEOUT)
        assert not thread.is_alive()


def test_a_large_body_to_a_socket_that_sends_large_ones_itself(zmq, make):
    """Both ends fill both directions before either reads: nobody waits for ever."""
    a, b = make(zmq.DEALER, rcvtimeo=30_000), make(zmq.DEALER, rcvtimeo=30_000)
    b.connect(bind(a))
    for i in range(5):
        for s in (a, b):
            s.send(bytes([i]) * 8 * MB, copy=False)
        for s in (b, a):
            message = s.recv()
            assert message == bytes([i]) * 8 * MB


def test_a_peer_with_little_room_takes_a_large_body_in_many_pieces(zmq, make):
    push = make(zmq.PUSH)
    bind(push)
    with RawPeer.connect(port_of(push)) as peer:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        peer.handshake("PULL")
        push.send(bytes(2 * MB))
        assert peer.recv_exactly(9) == long_head(2 * MB)
        assert peer.recv_exactly(2 * MB) == bytes(2 * MB)


READER = """
pull = zmq.Context().socket(zmq.PULL)
pull.rcvhwm = 1
pull.rcvtimeo = 30_000
pull.bind("tcp://127.0.0.1:*")
print(pull.LAST_ENDPOINT.decode(), flush=True)
print([len(pull.recv()) for _ in range(int(sys.argv[1]))])
"""


def test_what_lies_behind_a_large_body_wakes_its_reader_however_busy_the_machine(zmq, tmp_path):
    """RCVHWM lets in one message after the other, of bytes that were received long ago.

    Each of these may arrive while the reader is about to sleep, after its last yield. If it
    slept, it would notice half a second later, and would not be done in time.
    """
    slow = build_library(tmp_path, "slow_yield", "slow_yield.c")
    rounds = 60
    reader = subprocess.Popen(
        [sys.executable, "-c", module_source(zmq) + READER, str(3 * rounds)],
        env=preloading(slow),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(reader.stdout.readline().rpartition(":")[2])
        with RawPeer.connect(port) as peer:
            peer.handshake("PUSH")
            round_ = long_head(100_000) + bytes(100_000) + b"\x00\x01a" + b"\x00\x02bb"
            sender = Background(lambda: [peer.send(round_) for _ in range(rounds)])
            told = reader.communicate(timeout=TIMEOUT)[0]
            sender.result()
        assert told.strip() == str([100_000, 1, 2] * rounds)
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()
