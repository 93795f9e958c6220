"""Bursts to peers that read: what the kernel takes is not dropped, however fast it is sent.

libzmq hands every message to a thread that sends it, so a burst fills a high-water mark only as
fast as that thread falls behind. Here messages wait for company first (decision 5), and the
patterns that drop must not take that for a full peer. The quick cases are sized so that the
kernel's buffers hold the whole burst: none of it may be lost, whoever gets the processor when.
With ``ZM_BURSTS=1`` a fuller matrix is held against pyzmq sending to pyzmq, side by side.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select

import pytest
from support import TIMEOUT, Background, Child, eventually

#: Counts messages per socket until each has got an end mark, and prints the smallest count. Every
#: line of input starts a new count, with an end mark of its own: the number of requests that each
#: sends first.
READERS = """
import sys, importlib
module, kind, endpoint, count = sys.argv[1:5]
keys = [key.encode() for key in sys.argv[5:]]
zmq = importlib.import_module(module)
ctx = zmq.Context()
sockets = []
for i in range(int(count)):
    s = ctx.socket(getattr(zmq, kind))
    if keys:
        s.curve_publickey, s.curve_secretkey, s.curve_serverkey = keys
    if kind == "SUB":
        s.subscribe(b"")
    if kind == "DEALER":
        s.identity = b"%d" % i
    s.connect(endpoint)
    if kind == "DEALER":
        s.send_multipart([b"", b"here"])
    sockets.append(s)
print("made", flush=True)
for turn, line in enumerate(sys.stdin, 1):
    for s in sockets:
        for i in range(int(line)):
            s.send_multipart([b"", b"%d" % i])
    poller = zmq.Poller()
    got = {s: 0 for s in sockets}
    for s in sockets:
        poller.register(s, zmq.POLLIN)
    lowest = None
    while got:
        for s, _ in poller.poll():
            try:
                while s in got:
                    m = s.recv_multipart(zmq.DONTWAIT)
                    if m[-1] == b"end %d" % turn:
                        n = got.pop(s)
                        lowest = n if lowest is None else min(n, lowest)
                        poller.unregister(s)
                    elif m[-1][:1] == b"x":
                        got[s] += 1
            except zmq.Again:
                pass
    print(lowest, flush=True)
for s in sockets:
    s.close(0)
ctx.term()
"""


class Readers:
    """A process with `count` sockets of `kind` that read from `endpoint`."""

    def __init__(self, module: str, kind: str, endpoint: str, count: int, keys=()):
        self.child = Child(READERS, module, kind, endpoint, count, *(key.decode() for key in keys))
        assert self.child.line() == "made"
        self.turn = 0

    @property
    def end(self) -> bytes:
        return b"end %d" % self.turn

    def start(self, requests: int = 0) -> None:
        self.turn += 1
        self.child.process.stdin.write(f"{requests}\n")
        self.child.process.stdin.flush()

    def fewest(self, send_end) -> int:
        """How many the one that got fewest has got. The end mark may be dropped, too."""

        def done():
            send_end()
            return select.select([self.child.process.stdout], [], [], 0.01)[0]

        eventually(done, timeout=3 * TIMEOUT)
        return int(self.child.line())


@contextlib.contextmanager
def _sender(module, kind: str, hwm: int | None, transport: str, keys=()):
    context = module.Context()
    s = context.socket(getattr(module, kind))
    s.linger, s.rcvtimeo, s.sndtimeo = 0, 30_000, 30_000
    if hwm is not None:
        s.sndhwm = hwm
    if keys:
        s.curve_server = 1
        s.curve_publickey, s.curve_secretkey = keys
    s.bind("tcp://127.0.0.1:*" if transport == "tcp" else "ipc://*")
    yield s
    s.close(0)
    context.term()


def _rep_burst(s, readers, burst: int, body: bytes, peers: int) -> int:
    """A REP sends only as fast as requests come, but those may have come before."""
    ends = 50
    readers.start(burst + ends)
    for _ in range((burst + ends) * peers):
        s.send(body if int(s.recv()) < burst else readers.end)
    return readers.fewest(lambda: None)


def _router_burst(s, readers, burst: int, body: bytes, names: list[bytes]) -> int:
    readers.start()
    for _ in range(burst):
        for name in names:
            s.send_multipart([name, body])
    return readers.fewest(lambda: [s.send_multipart([name, readers.end]) for name in names])


def _pub_burst(s, readers, burst: int, body: bytes) -> int:
    readers.start()
    readers.fewest(lambda: s.send(readers.end))  # now all are known to be there
    readers.start()
    for _ in range(burst):
        s.send(body)
    return readers.fewest(lambda: s.send(readers.end))


READER_OF = {"PUB": "SUB", "XPUB": "SUB", "XSUB": "XPUB", "ROUTER": "DEALER", "REP": "DEALER"}


def lost(module, reading: str, kind, size, hwm, transport, peers, server=(), client=()) -> int:
    """Sends 3 x SNDHWM messages to each of `peers` readers. How many the worst of them missed."""
    burst, body = 3 * (hwm or 1000), b"x" * size
    with _sender(module, kind, hwm, transport, server) as s:
        endpoint = s.last_endpoint.decode()
        readers = Readers(reading, READER_OF[kind], endpoint, peers, client)
        with readers.child:
            names = []
            if kind in ("ROUTER", "REP"):
                for _ in range(peers):
                    names.append(s.recv_multipart()[0])
                    if kind == "REP":
                        s.send(b"")
            if kind == "REP":
                return burst - _rep_burst(s, readers, burst, body, peers)
            if kind == "ROUTER":
                return burst - _router_burst(s, readers, burst, body, names)
            return burst - _pub_burst(s, readers, burst, body)


QUICK = [
    ("PUB", 1, None, "tcp", 1),
    ("PUB", 30, None, "ipc", 1),
    ("PUB", 1, 10, "tcp", 1),
    ("PUB", 1, 1, "tcp", 1),
    ("PUB", 8, None, "tcp", 50),
    ("PUB", 8, 4, "ipc", 50),
    ("XPUB", 30, None, "tcp", 1),
    ("XSUB", 30, None, "tcp", 3),
    ("ROUTER", 30, None, "tcp", 1),
    ("ROUTER", 30, None, "ipc", 10),
    ("ROUTER", 30, 2, "tcp", 1),
    ("REP", 30, None, "tcp", 1),
    ("REP", 1, 5, "ipc", 3),
]


@pytest.mark.parametrize("reading", ["zmq_monocoque", "zmq"])
@pytest.mark.parametrize("case", QUICK, ids=lambda case: "-".join(map(str, case)))
def test_a_burst_that_the_kernel_holds_is_not_dropped(zmq, pyzmq, on_libzmq, case, reading):
    """Three times SNDHWM, sent without a pause: everything arrives."""
    if on_libzmq:
        pytest.skip("libzmq's thread may be late, and then it drops")
    assert lost(zmq, reading, *case) == 0


@pytest.mark.parametrize("hwm", [None, 20])
def test_an_encrypted_burst_is_not_dropped(zmq, pyzmq, on_libzmq, hwm):
    """CURVE: the queue is encoded anew on its way out, a piece at a time."""
    if on_libzmq:
        pytest.skip("libzmq's thread may be late, and then it drops")
    server, client = zmq.curve_keypair(), zmq.curve_keypair()
    keys = {"server": server, "client": (*client, server[0])}
    assert lost(zmq, "zmq", "PUB", 10, hwm, "tcp", 1, **keys) == 0


def test_a_burst_is_not_dropped_while_another_thread_waits_in_the_socket(zmq, pyzmq, on_libzmq):
    """A thread that sleeps in recv() is the one that takes in what the kernel has finished."""
    if on_libzmq:
        pytest.skip("a socket of libzmq is used by one thread at a time")
    with _sender(zmq, "ROUTER", 100, "tcp") as s:
        readers = Readers("zmq", "DEALER", s.last_endpoint.decode(), 1)
        with readers.child:
            name = s.recv_multipart()[0]
            waiting = Background(s.recv_multipart).blocked()
            assert _router_burst(s, readers, 300, b"x" * 20, [name]) == 300
            readers.start(1)
            assert waiting.result()[-1] == b"0"


FULL = itertools.product(
    ["PUB", "XPUB", "XSUB", "ROUTER", "REP"],
    [1, 20, 60, 200],
    [None, 100, 10],
    ["tcp", "ipc"],
    [1, 10, 50],
)


@pytest.mark.parametrize(
    "case", FULL if "ZM_BURSTS" in os.environ else [], ids=lambda case: "-".join(map(str, case))
)
def test_no_more_is_dropped_than_by_pyzmq(zmq, pyzmq, case):
    """Three runs of each, by turns."""
    ours = theirs = 0
    for _ in range(3):
        ours += lost(zmq, "zmq_monocoque", *case)
        theirs += lost(pyzmq, "zmq", *case)
    print(f"ours {ours}, pyzmq {theirs}")
    assert ours <= theirs
