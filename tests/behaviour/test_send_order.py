"""What one thread sends on several sockets becomes visible in that order.

"The data, then done": with libzmq one thread sends for all sockets, in the order in which they were
written to. Here sends wait for company, and leave by whoever comes along; the order must not show
that. The peers are plain sockets: what the kernel has for them is what has left. When a message is
there, all that the thread sent before it must be in the kernel, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import random
import select
import socket
import struct
import threading

import pytest
from support import RawListener, bind, connected, eventually, fresh_inproc, monitor_events
from support.loops import run_green

KINDS = {"PUSH": b"PULL", "PUB": b"SUB", "DEALER": b"DEALER"}


class UnixServer(RawListener):
    def __init__(self, address: str):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(address.removeprefix("ipc://"))
        self.sock.listen(16)
        self.endpoint = address
        self.accepted = []


class Wire:
    """The other end of a sender: what has arrived there, as message bodies in order."""

    def __init__(self, zmq, s, kind: str, server: RawListener):
        s.connect(server.endpoint)
        self.peer = server.accept()
        self.peer.handshake(KINDS[kind].decode())
        if kind == "PUB":
            self.peer.send(b"\0\1\1")  # to everything, as ZMTP 3.0 says it
        else:
            connected(s)
        self.peer.sock.setblocking(False)
        self.data, self.got = b"", []

    def take_in(self, wait: bool = False) -> list[bytes]:
        """Reads what is there; `wait`: until there is something."""
        if wait:
            assert select.select([self.peer.sock], [], [], 10)[0], "nothing has left"
        with contextlib.suppress(BlockingIOError):
            while piece := self.peer.sock.recv(1 << 20):
                self.data += piece
        while len(self.data) > 1 and len(self.data) >= 2 + self.data[1]:
            size = self.data[1]
            self.got.append(self.data[2 : 2 + size])
            self.data = self.data[2 + size :]
        return self.got


@pytest.fixture
def wires(zmq, tmp_path):
    """wires(sockets, kind, transport) -> the other end of each."""
    with contextlib.ExitStack() as stack:

        def make_wires(sockets, kind, transport):
            out = []
            for i, s in enumerate(sockets):
                server = (
                    RawListener() if transport == "tcp" else UnixServer(f"ipc://{tmp_path}/{i}")
                )
                stack.enter_context(server)
                out.append(Wire(zmq, s, kind, server))
                stack.enter_context(out[-1].peer)
            if kind == "PUB":
                for s, wire in zip(sockets, out, strict=True):

                    def subscribed(s=s, wire=wire):
                        s.send(b"?")
                        return wire.take_in()

                    eventually(subscribed)
            settle(sockets, out)
            return out

        yield make_wires


def settle(sockets, wires) -> None:
    """All that was sent has arrived, and nobody is in a burst."""
    for s, wire in zip(sockets, wires, strict=True):
        s.send(b"settled")
        while b"settled" not in wire.take_in():
            wire.take_in(wait=True)
        wire.got.clear()


def check(wires, first: int, total: int) -> None:
    """Whatever is seen on the wire `first` was preceded, everywhere, by what was sent before it."""
    seen = max((int(body) for body in wires[first].take_in(wait=True)), default=-1)
    there = {int(body) for wire in wires for body in wire.take_in()}
    missing = [n for n in range(seen) if n not in there]
    assert not missing, f"{seen} of {total} came before {missing}"


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("burst", [1, 5, 300])
def test_a_burst_is_there_before_what_was_sent_behind_it(zmq, make, wires, kind, transport, burst):
    """Data on one socket, then "done" on another."""
    sockets = [make(getattr(zmq, kind), sndhwm=0) for _ in range(2)]
    ends = wires(sockets, kind, transport)
    for _ in range(30):
        for n in range(burst):
            sockets[0].send(b"%d" % n)
            if n % 100 == 99:
                ends[0].take_in()  # a unix socket holds 278, if each leaves by itself
        sockets[1].send(b"%d" % burst)
        check(ends, 1, burst + 1)
        assert len(ends[0].got) == burst
        settle(sockets, ends)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_any_turns_among_a_few_sockets_keep_their_order(zmq, make, wires, on_libzmq, count):
    """Bursts on sockets in any turn, back to earlier ones too; looked at from any of them."""
    if on_libzmq:
        pytest.skip("libzmq's thread takes along what was written behind other sockets' messages")
    sockets = [make(zmq.PUSH, sndhwm=0) for _ in range(count)]
    ends = wires(sockets, "PUSH", "ipc")
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    for turn in range(100):
        total, used = 0, []
        for _ in range(chance.randrange(2, 8)):
            used.append(chance.randrange(count))
            for _ in range(chance.choice([1, 1, 2, 5, 50])):
                sockets[used[-1]].send(b"%d" % total)
                total += 1
        try:
            check(ends, used[-1] if turn % 2 else chance.choice(used), total)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, turn {turn}: {used}") from error
        settle(sockets, ends)


def segments_in(sock: socket.socket) -> int:
    """How many TCP segments with data came in (tcp_info.tcpi_data_segs_in, Linux 4.6)."""
    return struct.unpack_from("=I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 152)[
        0
    ]


def test_two_sockets_in_turn_do_not_send_each_message_by_itself(zmq, make, wires):
    """A long row of turns without a wait goes back to sending in batches."""
    sockets = [make(zmq.PUSH, sndhwm=0) for _ in range(2)]
    ends = wires(sockets, "PUSH", "tcp")
    before = sum(segments_in(wire.peer.sock) for wire in ends)
    for n in range(5000):
        sockets[n % 2].send(b"%d" % n)
    for wire in ends:
        while len(wire.take_in()) < 2500:
            wire.take_in(wait=True)
    assert sum(segments_in(wire.peer.sock) for wire in ends) - before < 2000


def test_subscriptions_leave_before_what_is_sent_behind_them(zmq, make, wires):
    """A row of them shares sends, and is there before the message that follows."""
    sub, push = make(zmq.SUB, sndhwm=0), make(zmq.PUSH)
    ends = wires([push], "PUSH", "tcp")
    # A connection that is still being made holds others' messages back for 50 ms at most.
    monitor = sub.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    with RawListener() as server:
        sub.connect(server.endpoint)
        with server.accept() as publisher:
            publisher.handshake("PUB")
            monitor_events(monitor, until=zmq.EVENT_HANDSHAKE_SUCCEEDED)
            sub.disable_monitor()
            before = segments_in(publisher.sock)
            for n in range(3000):
                sub.subscribe(b"%04d" % n)
            push.send(b"0")
            ends[0].take_in(wait=True)
            publisher.sock.setblocking(False)
            there = b""
            with contextlib.suppress(BlockingIOError):
                while piece := publisher.sock.recv(1 << 20):
                    there += piece
            assert there.count(b"SUBSCRIBE") == 3000
            assert segments_in(publisher.sock) - before < 1500


def test_what_a_thread_left_behind_still_leaves_in_order(zmq, make, wires):
    """The thread ends with bursts on two sockets that nobody touches any more."""
    sockets = [make(zmq.PUSH, sndhwm=0) for _ in range(2)]
    ends = wires(sockets, "PUSH", "ipc")

    def send():
        for n in range(20):
            sockets[0].send(b"%d" % n)
        for n in range(20, 25):
            sockets[1].send(b"%d" % n)

    for _ in range(30):
        thread = threading.Thread(target=send)
        thread.start()
        thread.join()
        check(ends, 1, 25)
        for wire, count in zip(ends, (20, 5), strict=True):
            while len(wire.take_in()) < count:
                wire.take_in(wait=True)
        settle(sockets, ends)


def test_what_was_sent_over_tcp_has_left_before_an_inproc_message_arrives(
    zmq, make, wires, on_libzmq
):
    """The one who gets the inproc message may tell others, who then look for the data."""
    if on_libzmq:
        pytest.skip("libzmq's thread may be later than an inproc message")
    data = make(zmq.PUSH, sndhwm=0)
    ends = wires([data], "PUSH", "ipc")
    tell, hear = make(zmq.PAIR), make(zmq.PAIR)
    tell.connect(bind(hear, fresh_inproc()))
    seen = []

    def listen():
        while hear.recv() != b"end":
            seen.append(len(ends[0].take_in()))
            hear.send(b"next")

    listener = threading.Thread(target=listen)
    listener.start()
    for _ in range(30):
        for n in range(20):
            data.send(b"%d" % n)
        tell.send(b"look")
        tell.recv()
    tell.send(b"end")
    listener.join()
    assert seen == [20 * n for n in range(1, 31)]


def test_threads_that_share_a_socket_each_keep_their_order(zmq, make, wires, on_libzmq):
    """One begins a burst on it; another goes on there, and then on a socket of its own."""
    if on_libzmq:
        pytest.skip("a socket of libzmq is used by one thread at a time")
    sockets = [make(zmq.PUSH, sndhwm=0) for _ in range(2)]
    ends = wires(sockets, "PUSH", "ipc")

    def second():
        for n in range(10, 20):
            sockets[0].send(b"%d" % n)
        sockets[1].send(b"20")

    for _ in range(30):
        for n in range(10):
            sockets[0].send(b"%d" % n)
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        check(ends, 1, 21)
        settle(sockets, ends)


def test_asyncio_sends_in_order(zmq, wires):
    """The loop sleeps in a selector of its own: nobody calls the engine before that."""
    module = importlib.import_module(zmq.__name__ + ".asyncio")

    async def main():
        context = module.Context()
        try:
            plain = zmq.Context(context)
            sockets = [plain.socket(zmq.PUSH) for _ in range(3)]
            ends = wires(sockets, "PUSH", "ipc")
            through = [module.Socket.from_socket(s) for s in sockets]
            for _ in range(30):
                for n in range(20):
                    await through[0].send(b"%d" % n)
                for n in range(20, 25):
                    await through[1].send(b"%d" % n)
                await through[2].send(b"25")
                await asyncio.sleep(0)
                check(ends, 2, 26)
                settle(sockets, ends)
        finally:
            for s in sockets:
                s.close(0)
            context.destroy(linger=0)

    asyncio.run(main())


def test_greenlets_send_in_order(zmq, wires):
    pytest.importorskip("gevent")
    zgreen = importlib.import_module(zmq.__name__ + ".green")

    def test(context):
        sockets = [context.socket(zgreen.PUSH) for _ in range(2)]
        ends = wires(sockets, "PUSH", "ipc")
        for _ in range(30):
            for n in range(20):
                sockets[0].send(b"%d" % n)
            sockets[1].send(b"20")
            check(ends, 1, 21)
            settle(sockets, ends)

    run_green(zmq, test)
