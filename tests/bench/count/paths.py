"""The hot paths, each a fixed number of times, under callgrind; count.py runs this and reads what
callgrind wrote.

    python paths.py MARKS.so WHICH

Every path is walked ROUNDS times; each dump is named ``path|operations``. No call sleeps inside
io_uring_enter, since valgrind 3.19 keeps all other threads waiting while one is in there, nor while
the clock stands still.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zmq_monocoque as zmq
from zmq_monocoque import zmtp
from zmq_monocoque.utils import z85

ROUNDS = 9
PATIENCE = 30.0
SMALL, KILO, LARGE = bytes(64), bytes(1024), bytes(80 * 1024)


class Marks:
    """What callgrind, and the clock, are told."""

    def __init__(self, library: str):
        self.library = ctypes.CDLL(library)

    def load(self) -> None:
        """From here on instructions are looked at, at a fiftieth of the speed."""
        self.library.marks_load()

    @contextmanager
    def counted(self, path: str, operations: int) -> Iterator[None]:
        self.library.marks_begin()
        yield
        self.library.marks_end(f"{path}|{operations}".encode())

    @contextmanager
    def stopped_clock(self, *sockets: Any) -> Iterator[None]:
        """In here the I/O thread takes the sockets for just driven, and leaves them alone."""
        self.library.marks_stop_clock(True)
        try:
            for socket in sockets:
                socket.poll(0)
            yield
        finally:
            self.library.marks_stop_clock(False)


def soon(call: Callable[[], Any]) -> Any:
    """What ``call`` returns, tried again while it would have to wait."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except zmq.Again:
            if time.monotonic() > end:
                raise
            time.sleep(0.001)


class Paths:
    def __init__(self, marks: Marks):
        self.marks = marks
        self.context = zmq.Context()

    def pair(self, bound: int, connected: int, where: str, count: int = 1) -> tuple[Any, list[Any]]:
        """One socket bound, ``count`` connected to it, all of them connected by now."""
        one = self.context.socket(bound)
        one.sndhwm = one.rcvhwm = 0
        one.linger = 0
        if bound == zmq.XPUB:
            one.xpub_verbose = True  # tells of every subscriber, not of every topic
        one.bind("tcp://127.0.0.1:*" if where == "tcp" else f"inproc://{id(one)}")
        others = []
        for i in range(count):
            other = self.context.socket(connected)
            other.sndhwm = other.rcvhwm = 0
            other.linger = 0
            other.routing_id = b"%04d" % i
            if connected == zmq.SUB:
                other.subscribe(b"")
            other.connect(one.LAST_ENDPOINT)
            others.append(other)
        return one, others

    def stream(
        self, name: str, parts: list[bytes], where: str, count: int, rounds: int = ROUNDS
    ) -> None:
        """PUSH to PULL: all of a round is sent, then all of it received."""
        pull, (push,) = self.pair(zmq.PULL, zmq.PUSH, where)
        send, recv, flag = push.send, pull.recv, zmq.DONTWAIT
        more = [flag | zmq.SNDMORE] * (len(parts) - 1) + [flag]
        sends = list(zip(parts, more, strict=True))
        soon(lambda: push.send_multipart(parts, flag))
        soon(lambda: pull.recv_multipart(flag))
        for _ in range(rounds):
            with self.marks.stopped_clock(push, pull):
                with self.marks.counted(f"send {name}", count):
                    for _ in range(count):
                        for part, flags in sends:
                            send(part, flags)
                    push.poll(0)  # ends the burst: what is left of it leaves now
                with self.marks.counted(f"recv {name}", count):
                    for _ in range(count * len(parts)):
                        recv(flag)
        push.close()
        pull.close()

    def fan_out(self, subscribers: int, count: int) -> None:
        pub, subs = self.pair(zmq.XPUB, zmq.SUB, "tcp", subscribers)
        for _ in subs:
            soon(lambda: pub.recv(zmq.DONTWAIT))
        for _ in range(ROUNDS):
            with self.marks.stopped_clock(pub, *subs):
                with self.marks.counted(f"fan-out tcp 64B to {subscribers}", count):
                    for _ in range(count):
                        pub.send(SMALL, zmq.DONTWAIT)
                    pub.poll(0)
            for sub in subs:
                for _ in range(count):
                    soon(lambda sub=sub: sub.recv(zmq.DONTWAIT))
        for socket in (pub, *subs):
            socket.close()

    def router(self, dealers: int, count: int) -> None:
        """Each round, every dealer has ``count`` requests with the router."""
        router, peers = self.pair(zmq.ROUTER, zmq.DEALER, "tcp", dealers)
        flag = zmq.DONTWAIT
        for peer in peers:
            soon(lambda peer=peer: peer.send(SMALL, flag))
            soon(lambda: router.recv_multipart(flag))
        for _ in range(ROUNDS):
            with self.marks.stopped_clock(router, *peers):
                for peer in peers:
                    for _ in range(count):
                        peer.send(SMALL, flag)
                    peer.poll(0)
                with self.marks.counted(f"echo tcp 64B, {dealers} peers", count * dealers):
                    for _ in range(count * dealers):
                        router.send_multipart(router.recv_multipart(flag), flag)
                    router.poll(0)
            for peer in peers:
                for _ in range(count):
                    soon(lambda peer=peer: peer.recv(flag))
        for socket in (router, *peers):
            socket.close()

    def poll(self, sockets: int, count: int) -> None:
        """A poller over many sockets, one of which has a message."""
        pairs = [self.pair(zmq.PULL, zmq.PUSH, "tcp") for _ in range(sockets)]
        poller = zmq.Poller()
        for pull, (push,) in pairs:
            poller.register(pull, zmq.POLLIN)
            soon(lambda push=push: push.send(SMALL, zmq.DONTWAIT))
            soon(lambda pull=pull: pull.recv(zmq.DONTWAIT))
        pull, (push,) = pairs[0]
        push.send(SMALL, zmq.DONTWAIT)
        push.poll(0)
        for _ in range(ROUNDS):
            # What the kernel has for those that are not ready is asked as often as the time pays
            # for; under callgrind that would be each time.
            with (
                self.marks.stopped_clock(*(pull for pull, _ in pairs)),
                self.marks.counted(f"poll {sockets} sockets", count),
            ):
                for _ in range(count):
                    poller.poll(0)
        for pull, (push,) in pairs:
            pull.close()
            push.close()

    def wake(self, count: int) -> None:
        """Round trips between two threads that both sleep: two wake-ups each."""
        here, (there,) = self.pair(zmq.PAIR, zmq.PAIR, "inproc")

        def answer() -> None:
            while message := there.recv():
                there.send(message)

        thread = threading.Thread(target=answer)
        thread.start()
        for _ in range(ROUNDS):
            with self.marks.counted("wake inproc 64B, round trip", count):
                for _ in range(count):
                    here.send(SMALL)
                    here.recv()
        here.send(b"")
        thread.join()
        here.close()
        there.close()

    def wire(
        self,
        name: str,
        body: bytes,
        count: int,
        for_client: dict[str, Any] | None = None,
        for_server: dict[str, Any] | None = None,
    ) -> None:
        """The session alone: encode messages, decode what that gave in pieces of 64 KB."""
        client = zmtp.Session(zmtp.DEALER, **for_client or {})
        server = zmtp.Session(zmtp.DEALER, as_server=True, **for_server or {})
        ready = 0
        while ready < 2:
            for session, peer in ((server, client), (client, server)):
                if data := peer.data_to_send():
                    session.receive_data(data)
                for event in session.events():
                    if isinstance(event, zmtp.Authenticate):
                        session.authenticated()
                    ready += isinstance(event, zmtp.Ready)
        for _ in range(ROUNDS):
            with self.marks.counted(f"encode {name}", count):
                for _ in range(count):
                    client.send_message([body])
            data = client.data_to_send()
            with self.marks.counted(f"decode {name}", count):
                for at in range(0, len(data), 65536):
                    server.receive_data(data[at : at + 65536])
                    for _ in server.events():
                        pass

    def walk(self, which: str) -> None:
        """``which``: "driver" (what goes through one) or "alone" (what needs none)."""
        if which == "driver":
            self.stream("tcp 64B", [SMALL], "tcp", 2000)
            self.stream("tcp 1KB", [KILO], "tcp", 500)
            self.stream("tcp 5x64B", [SMALL] * 5, "tcp", 500)
            # How much the kernel takes at once differs, so that the least takes longer to come.
            self.stream("tcp 80KB", [LARGE], "tcp", 1, rounds=60)
            self.fan_out(20, 200)
            self.router(50, 20)
            self.poll(20, 200)
        else:
            self.stream("inproc 64B", [SMALL], "inproc", 2000)
            self.wake(300)
            self.wire("64B", SMALL, 300)
            public, secret = (z85.decode(key) for key in zmq.curve_keypair())
            keys = {"mechanism": "CURVE", "curve_publickey": public, "curve_secretkey": secret}
            self.wire("1KB CURVE", KILO, 300, keys | {"curve_serverkey": public}, keys)


def main(library: str, which: str) -> None:
    marks = Marks(library)
    paths = Paths(marks)
    marks.load()
    paths.walk(which)
    paths.context.term()


if __name__ == "__main__":
    main(*sys.argv[1:])
