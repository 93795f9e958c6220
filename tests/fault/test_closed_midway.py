"""Closed at the worst moment: a socket of each type that has just skipped a message, refused a
call, run out of memory or lost its peer.

What such a moment leaves in the socket, closing must neither give back twice nor forget. The first
is for AddressSanitizer to see (``tox -e asan``), the second is counted here.
"""

from __future__ import annotations

import contextlib
import gc
import itertools

import pytest
from support import RawPeer, eventually, port_of
from support.zmtp import MORE, command, frame, message

#: Each type, and what its peer says that it is; None: it speaks no ZMTP.
KINDS = {
    "PAIR": "PAIR",
    "PUB": "SUB",
    "SUB": "PUB",
    "REQ": "REP",
    "REP": "REQ",
    "DEALER": "ROUTER",
    "ROUTER": "DEALER",
    "PULL": "PUSH",
    "PUSH": "PULL",
    "XPUB": "XSUB",
    "XSUB": "XPUB",
    "STREAM": None,
}
#: Parts that are copied or lie in the receive buffer, that are shared, and that have a block alone.
BODIES = (b"s" * 40, b"m" * 9000, b"l" * 300_000)
#: More allocations than one call makes.
ENOUGH = 8


@pytest.fixture
def lib():
    lib = pytest.importorskip("zmq_monocoque._engine_c").lib
    yield lib
    lib.zm_alloc_fail_after(-1)


@pytest.fixture
def counted(zmq, lib):
    """counted() -> a context; once all are gone the engine holds as many blocks as before."""
    engine = pytest.importorskip("zmq_monocoque.backend._engine")
    contexts = []

    def blocks() -> int:
        gc.collect()
        found = engine.ffi.new("zm_counts *")
        lib.zm_counts_get(found)
        return found.blocks

    def new_context():
        contexts.append(zmq.Context())
        return contexts[-1]

    before = blocks()
    yield new_context
    lib.zm_alloc_fail_after(-1)
    for context in contexts:
        context.destroy(linger=0)
    eventually(lambda: blocks() <= before)
    assert blocks() == before


def bound(zmq, ctx, kind: str, **options):
    s = ctx.socket(getattr(zmq, kind))
    s.linger, s.rcvtimeo, s.sndtimeo = 0, 30_000, 30_000
    for name, value in options.items():
        setattr(s, name, value)
    if kind == "SUB":
        s.subscribe(b"wanted")
    s.bind("tcp://127.0.0.1:*")
    return s


def meet(s, kind: str):
    """A peer of ``s``, in good standing."""
    peer = RawPeer.connect(port_of(s))
    if KINDS[kind] is None:
        s.recv_multipart()  # somebody came
        return peer
    peer.handshake(KINDS[kind])
    peer.round_trip()
    if kind in ("PUB", "XPUB"):
        peer.send(command(b"SUBSCRIBE"))
        peer.round_trip()
        if kind == "XPUB":
            assert s.recv() == b"\x01"
    return peer


def settled(kind: str, peer) -> None:
    """Returns when ``peer`` has been heard to the end, if its protocol tells."""
    if KINDS[kind]:
        peer.round_trip()


def ask(s, kind: str, peer) -> None:
    """Brings ``s`` to where it may receive."""
    if kind == "REQ":
        s.send(b"question")
        peer.recv_message()


def say(kind: str, peer, *parts: bytes) -> None:
    """A message that ``s`` is to have."""
    if kind == "STREAM":
        peer.send(b"".join(parts) or b"-")
    elif kind in ("REQ", "REP"):
        peer.send_message(b"", *parts)
    elif kind == "SUB":
        peer.send_message(b"wanted", *parts)
    else:
        peer.send_message(*parts)


def to_peer(zmq, s, kind: str, peer) -> list[bytes]:
    """What ``s`` puts before the parts of a message to ``peer``."""
    if kind in ("ROUTER", "STREAM"):
        say(kind, peer, b"who I am")
        return s.recv_multipart()[:1]
    if kind == "REP":
        say(kind, peer, b"a question")
        s.recv_multipart()
    return []


@contextlib.contextmanager
def refused(zmq):
    """What may go wrong here, and what may not go wrong at all."""
    with contextlib.suppress(zmq.ZMQError, MemoryError):
        yield


def drained(zmq, s) -> int:
    """Receives what there is; how much it was."""
    parts = 0
    with refused(zmq):
        while True:
            s.recv(zmq.DONTWAIT)
            parts += 1
    return parts


# --- skips ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("kind", KINDS)
def test_unread_or_half_read(zmq, counted, kind, body):
    """Messages that nobody reads, and one of which a part was read."""
    ctx = counted()
    for parts_read in (0, 1, 2):
        with bound(zmq, ctx, kind) as s, meet(s, kind) as peer:
            ask(s, kind, peer)
            for _ in range(3):
                say(kind, peer, body, b"", body)
            settled(kind, peer)
            with refused(zmq):
                for _ in range(parts_read):
                    s.recv(zmq.DONTWAIT)


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_req_skips_a_reply_that_comes_twice(zmq, counted, body):
    ctx = counted()
    for times in (1, 2, 5):
        with bound(zmq, ctx, "REQ") as s, meet(s, "REQ") as one, meet(s, "REQ") as other:
            s.send(b"first")
            one.recv_message()
            say("REQ", one, body)
            assert s.recv() == body
            s.send(b"second")
            other.recv_message()
            for _ in range(times):
                say("REQ", one, body, body)
            one.round_trip()
            assert drained(zmq, s) == 0


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_req_skips_a_reply_to_another_question(zmq, counted, body):
    ctx = counted()
    for number in (b"", b"id\0\0"):
        with bound(zmq, ctx, "REQ", req_correlate=1) as s, meet(s, "REQ") as peer:
            s.send(b"question")
            peer.recv_message()
            peer.send(message(*filter(None, [number]), b"", body, body))
            peer.round_trip()
            assert drained(zmq, s) == 0


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_rep_skips_what_has_no_envelope(zmq, counted, body):
    ctx = counted()
    for parts in ([body], [body, body], [body, b"x", body]):
        with bound(zmq, ctx, "REP") as s, meet(s, "REP") as peer:
            peer.send_message(*parts)
            peer.round_trip()
            assert drained(zmq, s) == 0


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_sub_skips_what_it_does_not_want(zmq, counted, body):
    ctx = counted()
    for parts in ([body], [body, body], [body, b"wanted", body]):
        with bound(zmq, ctx, "SUB") as s, meet(s, "SUB") as peer:
            peer.send_message(*parts)
            peer.round_trip()
            assert drained(zmq, s) == 0


# --- refuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("kind", KINDS)
def test_refuses(zmq, counted, kind, body):
    """Calls that are out of turn, and sends without room."""
    ctx = counted()
    for connected in (False, True):
        with bound(zmq, ctx, kind, sndhwm=1) as s, contextlib.ExitStack() as stack:
            if connected:
                stack.enter_context(meet(s, kind))
            drained(zmq, s)
            for _ in range(4):
                with refused(zmq):
                    s.send_multipart([body, body], zmq.DONTWAIT)
                with refused(zmq):
                    s.send(body, zmq.DONTWAIT | zmq.SNDMORE)
                drained(zmq, s)


# --- fails for memory ----------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize(
    ("kind", "options"),
    [(kind, {}) for kind in KINDS]
    + [(kind, {"conflate": 1}) for kind in ("PULL", "DEALER", "SUB")],
)
def test_receives_without_memory(zmq, counted, lib, kind, options, body):
    ctx = counted()
    for n in range(ENOUGH):
        with bound(zmq, ctx, kind, **options) as s, meet(s, kind) as peer:
            ask(s, kind, peer)
            lib.zm_alloc_fail_after(n)
            with contextlib.suppress(EOFError, ConnectionError):  # given up for want of memory
                say(kind, peer, body, body)
                settled(kind, peer)
            with refused(zmq):
                s.recv(zmq.DONTWAIT)
            with refused(zmq):
                s.recv(zmq.DONTWAIT, copy=False)
            lib.zm_alloc_fail_after(-1)


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("kind", KINDS)
def test_sends_without_memory(zmq, counted, lib, kind, body):
    ctx = counted()
    for n, copy in itertools.product(range(ENOUGH), (True, False)):
        with bound(zmq, ctx, kind) as s, meet(s, kind) as peer:
            before = to_peer(zmq, s, kind, peer)
            lib.zm_alloc_fail_after(n)
            with refused(zmq):
                s.send_multipart([*before, body, body], zmq.DONTWAIT, copy=copy)
            lib.zm_alloc_fail_after(-1)


@pytest.mark.parametrize("kind", ["DEALER", "REQ", "PUSH", "PAIR"])
def test_a_message_that_memory_cut_short_takes_no_other_with_it(zmq, counted, lib, kind):
    """Its sender was told; what is sent next is a message of its own, and arrives as one."""
    ctx = counted()
    for n in range(ENOUGH):
        with bound(zmq, ctx, kind) as s, meet(s, kind) as peer:
            lib.zm_alloc_fail_after(n)
            told = False
            try:
                s.send_multipart([b"1" * 70_000, b"2" * 70_000, b"3" * 70_000])
            except (zmq.ZMQError, MemoryError):
                told = True
            lib.zm_alloc_fail_after(-1)
            if told:
                s.send_multipart([b"a", b"b"])
                whole = [b"", b"a", b"b"] if kind == "REQ" else [b"a", b"b"]
                assert peer.recv_message() == whole


# --- its peer dies -------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("kind", KINDS)
def test_the_peer_dies(zmq, counted, kind, body):
    """With a message half read, half sent, half arrived."""
    ctx = counted()
    for half in ("read", "sent", "arrived"):
        with bound(zmq, ctx, kind) as s, meet(s, kind) as peer:
            ask(s, kind, peer)
            if half == "arrived" and KINDS[kind]:
                delimiter = frame(b"", MORE) if kind in ("REQ", "REP") else b""
                peer.send(delimiter + frame(body, MORE) + frame(body, MORE))
            elif half == "sent":
                before = to_peer(zmq, s, kind, peer)
                with refused(zmq):
                    for part in (*before, body):
                        s.send(part, zmq.SNDMORE | zmq.DONTWAIT)
            else:
                say(kind, peer, body, b"", body)
            settled(kind, peer)
            if half == "read":
                with refused(zmq):
                    s.recv(zmq.DONTWAIT)
            peer.close()
            eventually(lambda s=s: not s.stats()["connections"])
            drained(zmq, s)
            with refused(zmq):
                s.send(body, zmq.DONTWAIT)
            drained(zmq, s)
