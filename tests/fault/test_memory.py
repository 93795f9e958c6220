"""Memory runs out: an error, never a crash, a hang or a leak, and the next try works."""

from __future__ import annotations

import gc
import os
import select
import socket
from contextlib import suppress

import pytest
from support import RawListener, eventually, port_of
from support.security import make_client, make_server
from support.zmtp import message

#: More allocations than a scenario takes.
ENOUGH = 400
#: How long a message may take that may have been lost; the next one is given all the time it needs.
SHORT_MS = 50


@pytest.fixture
def failing():
    """failing(n): the allocation after n more fails, once; what was left of the last n."""
    lib = pytest.importorskip("zmq_monocoque._engine_c").lib
    yield lib.zm_alloc_fail_after
    lib.zm_alloc_fail_after(-1)


def sockets(zmq, ctx, *kinds):
    """Of each kind one; a connection that fails is made anew at once."""
    made = [ctx.socket(kind) for kind in kinds]
    for s in made:
        s.linger, s.reconnect_ivl = 0, 1
    return made


def push_pull(zmq, ctx, transport, ms):
    pull, push = sockets(zmq, ctx, zmq.PULL, zmq.PUSH)
    with pull, push:
        pull.rcvtimeo = push.sndtimeo = ms
        pull.bind("inproc://memory" if transport == "inproc" else "tcp://127.0.0.1:*")
        push.connect(pull.LAST_ENDPOINT)
        push.send_multipart([b"a", b"b" * 300, b"c" * 100_000])
        assert pull.recv_multipart() == [b"a", b"b" * 300, b"c" * 100_000]


def pub_sub(zmq, ctx, transport, ms):
    pub, sub = sockets(zmq, ctx, zmq.XPUB, zmq.SUB)
    with pub, sub:
        pub.rcvtimeo = sub.rcvtimeo = ms
        pub.bind("inproc://memory" if transport == "inproc" else "tcp://127.0.0.1:*")
        sub.connect(pub.LAST_ENDPOINT)
        sub.subscribe(b"topic")
        assert pub.recv() == b"\x01topic"
        pub.send(b"topic 1")
        assert sub.recv() == b"topic 1"


def request_reply(zmq, ctx, transport, ms):
    router, req = sockets(zmq, ctx, zmq.ROUTER, zmq.REQ)
    with router, req:
        router.rcvtimeo = req.rcvtimeo = req.sndtimeo = ms
        router.bind("inproc://memory" if transport == "inproc" else "tcp://127.0.0.1:*")
        req.connect(router.LAST_ENDPOINT)
        req.send(b"question")
        router.send_multipart(router.recv_multipart())
        assert req.recv() == b"question"


def blocks() -> int:
    """What the engine has allocated."""
    engine = pytest.importorskip("zmq_monocoque.backend._engine")
    found = engine.ffi.new("zm_counts *")
    engine.lib.zm_counts_get(found)
    return found.blocks


def made(kind):
    """A socket of the type, bound, connected and watched; with options that take memory."""

    def scenario(zmq, ctx, transport, ms):
        with ctx.socket(getattr(zmq, kind)) as s, ctx.socket(getattr(zmq, kind)) as other:
            s.linger = other.linger = 0
            other.reconnect_ivl = -1  # a connection that fails takes its endpoint with it
            s.routing_id = b"name"
            s.metadata = b"X-key:value"
            s.get_monitor_socket().linger = 0
            s.bind("inproc://memory" if transport == "inproc" else "tcp://127.0.0.1:*")
            other.connect(s.LAST_ENDPOINT)
            other.connect("tcp://127.0.0.1:1")
            s.disable_monitor()

    scenario.__name__ = kind.lower()
    return scenario


def curve(zmq, ctx, transport, ms):
    server_keys, client_keys = zmq.curve_keypair(), zmq.curve_keypair()
    pull, push = sockets(zmq, ctx, zmq.PULL, zmq.PUSH)
    with pull, push:
        pull.rcvtimeo = push.sndtimeo = ms
        make_server(pull, "CURVE", server_keys)
        make_client(push, "CURVE", client_keys, server_keys[0])
        pull.bind("tcp://127.0.0.1:*")
        push.connect(pull.LAST_ENDPOINT)
        push.send(b"x" * 300)
        assert pull.recv() == b"x" * 300


def polled(zmq, ctx, transport, ms):
    pull, push = sockets(zmq, ctx, zmq.PULL, zmq.PUSH)
    with pull, push:
        pull.bind("inproc://memory" if transport == "inproc" else "tcp://127.0.0.1:*")
        push.connect(pull.LAST_ENDPOINT)
        push.send(b"x")
        items = [(pull, zmq.POLLIN)] * 100
        assert zmq.zmq_poll(items, ms)


KINDS = "PAIR PUB SUB REQ REP DEALER ROUTER PULL PUSH XPUB XSUB STREAM".split()
SCENARIOS = [push_pull, pub_sub, request_reply, polled, *map(made, KINDS)]
CASES = [(scenario, transport) for scenario in SCENARIOS for transport in ("inproc", "tcp")]
CASES.append((curve, "tcp"))
CASES.remove((SCENARIOS[-1], "inproc"))  # STREAM is of tcp


@pytest.mark.skipif(
    os.environ.get("ZM_SANITIZE") == "thread", reason="minutes, and nothing for it to see"
)
@pytest.mark.parametrize(
    ("scenario", "transport"), CASES, ids=lambda what: getattr(what, "__name__", what)
)
def test_each_allocation_may_fail_once(zmq, failing, scenario, transport):
    """The call that needed the memory says so, or the connection is made anew; nothing else, and
    nothing is left allocated."""
    gc.collect()
    before, unused = blocks(), 0

    def nothing_is_left():
        return blocks() <= before or (gc.collect(), blocks() <= before)[1]

    for n in range(ENOUGH):
        ctx = zmq.Context()
        failing(n)
        # A lost connection may have had the message.
        with suppress(MemoryError, zmq.ZMQError, AssertionError):
            scenario(zmq, ctx, transport, SHORT_MS)
        has_failed = failing(-1) < 0
        # Without the fault it works again, in the same context.
        scenario(zmq, ctx, transport, 10_000)
        ctx.destroy(linger=0)
        with suppress(AssertionError):
            eventually(nothing_is_left)
        assert blocks() <= before, f"left when allocation {n} failed"
        before = min(before, blocks())  # what earlier tests have left may go meanwhile
        unused = 0 if has_failed else unused + 1
        if unused == 3:  # how many the I/O thread takes varies
            return
    pytest.fail("the scenario takes more allocations than were tried")


def test_who_comes_while_memory_is_out_is_served_afterwards(zmq, ctx, failing):
    """However far it came: a connection that lacked memory for its name, too, is made anew."""
    for n in range(ENOUGH):
        router, dealer = sockets(zmq, ctx, zmq.ROUTER, zmq.DEALER)
        with router, dealer:
            dealer.routing_id = b"name"
            router.bind("tcp://127.0.0.1:*")
            failing(n)
            refused = True
            with suppress(MemoryError, zmq.ZMQError):
                dealer.connect(router.LAST_ENDPOINT)
                refused = False
                dealer.send(b"x", zmq.DONTWAIT)
            router.poll(SHORT_MS)
            has_failed = failing(-1) < 0
            if not has_failed:
                return
            if refused:
                continue
            eventually(lambda d=dealer, r=router: (d.send(b"x", zmq.DONTWAIT), r.poll(20))[1])
            assert router.recv_multipart() == [b"name", b"x"], n


def test_an_inproc_reader_without_memory_loses_nothing(zmq, ctx, failing):
    """What it cannot take over stays with the writer; nothing is counted that is not there."""
    with ctx.socket(zmq.PULL) as pull, ctx.socket(zmq.PUSH) as push:
        pull.rcvtimeo, push.linger = 30_000, 0
        pull.bind("inproc://memory")
        push.sndhwm = 0
        push.connect("inproc://memory")
        for n in range(300):
            push.send(b"%d" % n)
        assert pull.recv() == b"0"  # takes 300 over
        for n in range(300, 900):
            push.send(b"%d" % n)
        failing(0)
        assert [pull.recv() for _ in range(899)] == [b"%d" % n for n in range(1, 900)]


def test_a_stream_never_hears_of_one_that_got_no_name(zmq, make, failing):
    """The peer whose name there is no memory for goes; nothing with an empty name comes of it."""
    s = make(zmq.STREAM)
    s.bind("tcp://127.0.0.1:*")
    address = ("127.0.0.1", port_of(s))
    for n in range(30):
        failing(n)
        with socket.create_connection(address) as client:
            eventually(lambda client=client: s.poll(1) or select.select([client], [], [], 0)[0])
            failing(-1)
        with socket.create_connection(address) as client:
            client.sendall(b"last")
            body = b""
            while body != b"last":
                name, body = s.recv_multipart()
                assert name


@pytest.mark.parametrize("kind", ["STREAM", "ROUTER"])
def test_a_stream_has_no_hole_where_memory_ran_out(zmq, make, failing, kind):
    """What send() took arrives, in order; what there was no memory for, it says so."""
    s = make(getattr(zmq, kind))
    if kind == "ROUTER":
        s.router_raw = True
    s.bind("tcp://127.0.0.1:*")
    with socket.create_connection(("127.0.0.1", port_of(s))) as client:
        name, _ = s.recv_multipart()
        taken = b""
        for n in range(12):
            for i in range(6):
                piece = b"%02d" % n * 500
                failing(i)
                with suppress(MemoryError, zmq.ZMQError):
                    s.send_multipart([name, piece])
                    taken += piece
                failing(-1)
        s.send_multipart([name, b"end"])
        got = b""
        while not got.endswith(b"end"):
            got += client.recv(65536)
        assert got == taken + b"end"


def test_a_stream_hears_of_the_begin_and_the_end_though_memory_ran_out(zmq, make, failing):
    s = make(zmq.STREAM)
    s.rcvtimeo = 30_000
    s.bind("tcp://127.0.0.1:*")
    address = ("127.0.0.1", port_of(s))
    for n in range(16):
        failing(n)
        with socket.create_connection(address) as client, suppress(ConnectionError):
            for _ in range(10):  # more than a queue has room for at first
                client.send(b"x")
                s.poll(1)
            client.shutdown(socket.SHUT_WR)
            client.recv(1)  # it has seen the end, or had no memory for what came
        failing(-1)
        with socket.create_connection(address) as client:
            client.sendall(b"last")
            told = {}
            while b"last" not in told.values() or b"x" in told.values():
                name, body = s.recv_multipart()
                assert name in told or body == b"", "the begin was not told"
                told[name] = body[-4:] if body[:1] != b"x" else b"x"
        while s.recv_multipart()[1]:
            pass


def test_a_stream_without_memory_for_a_name_gets_one_later(zmq, ctx, failing):
    """It connects, and its application hears of it, when there is memory again."""
    for n in range(ENOUGH):
        listener, connecter = sockets(zmq, ctx, zmq.STREAM, zmq.STREAM)
        with listener, connecter:
            listener.bind("tcp://127.0.0.1:*")
            failing(n)
            with suppress(MemoryError, zmq.ZMQError):
                connecter.connect(listener.LAST_ENDPOINT)
            has_failed = failing(-1) < 0
            if not has_failed:
                return
            if not connecter.LAST_ENDPOINT:
                continue
            connecter.rcvtimeo = 30_000
            name, empty = connecter.recv_multipart()
            assert (len(name), empty) == (5, b""), n


def test_a_connecter_without_memory_for_what_comes_connects_again(make, zmq, failing):
    """A queue has room for so many messages, and needs memory for more."""
    with RawListener() as server:
        s = make(zmq.PULL, reconnect_ivl=1)
        s.connect(server.endpoint)
        peer = server.accept()
        peer.handshake("PUSH")
        peer.send(message(b"first"))
        assert s.recv() == b"first"

        def is_cut():  # whatever else takes memory meanwhile
            failing(0)
            with suppress(ConnectionError):
                peer.send(message(b"x"))
            s.poll(1)
            return peer.closed_by_peer(0.001)

        def is_served():  # a connection may have come while memory was still out
            peer = server.accept()
            with suppress(ConnectionError, EOFError):
                peer.handshake("PUSH")
                peer.send(message(b"last"))
                return True

        eventually(is_cut)
        failing(-1)
        eventually(is_served)
        while s.recv() != b"last":
            pass
