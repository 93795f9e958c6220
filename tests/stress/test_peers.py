"""Many peers, much data, many threads."""

from __future__ import annotations

import gc
import os
import random
import threading
import time

import pytest
from support import (
    Background,
    RawPeer,
    bind,
    connected,
    eventually,
    module_source,
    port_of,
    rebind,
    run_python,
)
from support.zmtp import greeting, ready


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def converse(zmq, make) -> None:
    """What a thread opens once and keeps, when it first sleeps and when it first receives, it has
    from now on."""
    with make(zmq.PULL) as pull, make(zmq.PUSH) as push:
        push.connect(bind(pull))
        for _ in range(5):  # a thread that is held up for 20 ms on the way there does not sleep
            assert not pull.poll(20)
        push.send(b"x")
        assert pull.recv() == b"x"


def test_a_thousand_peers_come_and_go(zmq, make, pyzmq):
    """Each sends one message and leaves; every message arrives, and no descriptor stays behind."""
    pull = make(zmq.PULL)
    address = bind(pull)
    converse(zmq, make)
    before = descriptors()
    theirs = pyzmq.Context()
    try:
        for batch in range(20):
            peers = []
            for n in range(50):
                s = theirs.socket(pyzmq.PUSH)
                s.connect(address)
                s.send_multipart([b"%d" % (batch * 50 + n), bytes(n * 100)])
                peers.append(s)
            for s in peers:
                s.close()
            got = sorted(int(pull.recv_multipart()[0]) for _ in range(50))
            assert got == list(range(batch * 50, batch * 50 + 50))
    finally:
        theirs.term()
    eventually(lambda: (pull.poll(0), descriptors() <= before)[1])


def test_a_thousand_connections_at_once(zmq, make):
    """All shake hands, each gets its message; then they go, some of them in mid-word."""
    push = make(zmq.PUSH)
    bind(push)
    port = port_of(push)
    converse(zmq, make)
    before = descriptors()
    peers = []
    try:
        for _ in range(10):
            batch = [RawPeer.connect(port) for _ in range(50)]
            peers += batch
            for peer in batch:
                peer.send(greeting() + ready("PULL"))
            for peer in batch:
                peer.recv_exactly(64 + 28)  # greeting and READY of a PUSH
        for _ in peers:
            push.send(b"x")
        for peer in peers:
            assert peer.recv_exactly(3) == b"\x00\x01x"
    finally:
        for n, peer in enumerate(peers):
            if n % 2:
                peer.send(b"\x01\x20half")
            peer.close()
    eventually(lambda: (push.poll(0), descriptors() <= before)[1])


def test_peers_that_leave_at_every_stage(zmq, make):
    """500 connections cut after a random number of bytes; then a good one is served."""
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    address = bind(pull)
    push.bind("tcp://127.0.0.1:*")  # whatever a socket needs, it has it now
    before = descriptors()
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    script = greeting() + ready("PUSH") + b"\x01\x02hi\x00\x05there" * 3 + b"\x01\x05never"
    for _ in range(500):
        cut = rng.randrange(len(script))
        with RawPeer.connect(port_of(pull)) as peer:
            peer.send(script[: cut // 2])
            peer.send(script[cut // 2 : cut])
    push.connect(address)
    push.send(b"good")
    while (message := pull.recv_multipart()) != [b"good"]:
        assert message == [b"hi", b"there"], seed
    push.disconnect(address)
    eventually(lambda: (push.poll(0), _drained(pull, seed), descriptors() <= before)[2])


def _drained(pull, seed) -> None:
    while pull.poll(0):
        assert pull.recv_multipart() == [b"hi", b"there"], seed


@pytest.mark.parametrize("transport", ["inproc", "ipc", "tcp"])
def test_a_hundred_megabytes_through_a_queue_of_one(zmq, ctx, make, transport, ipc_address):
    """Nothing lost, nothing out of order, and never more than a few messages in memory."""
    pull = make(zmq.PULL, rcvhwm=1)
    address = {"tcp": "tcp://127.0.0.1:*", "ipc": ipc_address, "inproc": "inproc://one"}[transport]
    address = bind(pull, address)
    body = os.urandom(1_000_000)

    def send():
        with ctx.socket(zmq.PUSH) as s:
            s.sndhwm = 1
            s.connect(address)
            for n in range(100):
                s.send_multipart([b"%d" % n, body], copy=n % 2)

    sender = Background(send)
    for n in range(100):
        number, got = pull.recv_multipart(copy=n % 3 != 0)
        assert bytes(number) == b"%d" % n
        assert bytes(got) == body
    sender.result()


def test_a_hundred_thousand_small_messages(zmq, ctx, make):
    """From eight senders in threads of their own; each one's order is kept."""
    pull = make(zmq.PULL)
    address = bind(pull)
    each = 10_000

    def send(who: int):
        with ctx.socket(zmq.PUSH) as s:
            s.connect(address)
            for n in range(each):
                s.send(b"%d %d" % (who, n))

    senders = [Background(lambda who=who: send(who)) for who in range(8)]
    following = [0] * 8
    for _ in range(8 * each):
        who, n = map(int, pull.recv().split())
        assert n == following[who]
        following[who] += 1
    for s in senders:
        s.result()


def test_connects_and_closes_in_a_hurry(zmq, make):
    """100 threads, a connect and a close each, some before the connection is there; no hang."""
    context = zmq.Context()
    pub = context.socket(zmq.PUB)
    address = bind(pub)

    def come_and_go():
        s = context.socket(zmq.SUB)
        s.subscribe(b"")
        s.connect(address)
        s.close()

    for _ in range(2):
        for t in [Background(come_and_go) for _ in range(50)]:
            t.result()
    pub.close()
    Background(context.term).result()


def test_reconnecting_again_and_again(zmq, make):
    """The server is replaced 30 times; the client is told nothing and is served by each."""
    client = make(zmq.DEALER, reconnect_ivl=1)
    server = make(zmq.DEALER)
    address = bind(server)
    client.connect(address)
    for n in range(30):
        eventually(lambda n=n, s=server: (client.send(b"%d" % n), s.poll(20))[1])
        server.close()
        server = make(zmq.DEALER)
        rebind(zmq, server, address)


SHARED = """
import random, threading
ctx = zmq.Context()
kind, transport = sys.argv[1:3]
a = ctx.socket(getattr(zmq, kind.split("-")[0]))
b = ctx.socket(getattr(zmq, kind.split("-")[1]))
for s in (a, b):
    s.linger, s.rcvtimeo, s.sndtimeo = 0, 50, 50
b.bind("tcp://127.0.0.1:*" if transport == "tcp" else "inproc://shared")
a.connect(b.LAST_ENDPOINT)
stop = threading.Event()
strange = []
def work(seed):
    rng = random.Random(seed)
    while not stop.is_set():
        s = rng.choice((a, b))
        try:
            match rng.randrange(9):
                case 0: s.send(b"x" * rng.choice((1, 100, 10_000)))
                case 1: s.send(b"x" * rng.choice((1, 100, 10_000)), zmq.DONTWAIT)
                case 2 | 3: s.recv(rng.choice((0, zmq.DONTWAIT)))
                case 4: s.send_multipart([b"1", b"2", b"3"], copy=rng.choice((True, False)))
                case 5: s.recv_multipart(zmq.DONTWAIT, copy=False)
                case 6: s.poll(rng.choice((0, 5)))
                case 7: s.get(zmq.EVENTS)
                case 8: s.set(zmq.SNDHWM, rng.randrange(1, 100))
        except zmq.ZMQError:
            pass
        except BaseException as error:
            strange.append(error)
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for t in threads: t.start()
stop.wait(0.4)
if sys.argv[3] == "close":
    a.close()
    b.close()
stop.set()
for t in threads: t.join(30)
assert not any(t.is_alive() for t in threads), "stuck"
assert not strange, strange
ctx.destroy(linger=0)
print("good")
"""


@pytest.mark.parametrize(("transport", "ending"), [("tcp", "stop"), ("inproc", "close")])
@pytest.mark.parametrize("kinds", ["PUSH-PULL", "DEALER-ROUTER", "REQ-REP", "PUB-SUB", "PAIR-PAIR"])
def test_threads_that_share_a_socket_do_no_harm(zmq, on_libzmq, kinds, transport, ending):
    """D14: calls are serialised: errors perhaps, but neither a crash nor a hang."""
    if on_libzmq:
        pytest.skip("libzmq aborts the process")
    done = run_python(module_source(zmq) + SHARED, kinds, transport, ending)
    assert done.returncode == 0 and done.stdout == "good\n", done


def test_threads_may_hand_a_socket_around(zmq, make):
    """S-110: made here, used there, closed elsewhere, one after the other."""
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    push.connect(bind(pull))
    for n in range(50):
        Background(lambda n=n: push.send(b"%d" % n)).result()
        assert Background(pull.recv).result() == b"%d" % n
    Background(push.close).result()
    assert push.closed


def test_threads_take_turns_with_a_lock(zmq, make):
    """S-110: 8 threads, one socket, one lock: every message arrives once."""
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    push.connect(bind(pull))
    lock = threading.Lock()

    def send(who: int):
        for n in range(200):
            with lock:
                push.send_multipart([b"%d" % who, b"%d" % n])

    senders = [Background(lambda who=who: send(who)) for who in range(8)]
    got = [tuple(map(int, pull.recv_multipart())) for _ in range(1600)]
    for s in senders:
        s.result()
    assert sorted(got) == [(who, n) for who in range(8) for n in range(200)]


@pytest.mark.parametrize("call", ["recv", "poll", "send"])
@pytest.mark.parametrize("connections", [0, 3])
def test_term_in_the_middle_of_waits(zmq, call, connections):
    """20 sockets waited on by 20 threads; term() wakes all of them."""
    for _ in range(3):
        context = zmq.Context()
        context.set(zmq.MAX_SOCKETS, 500)

        def wait(context=context):
            s = context.socket(zmq.PUSH if call == "send" else zmq.PULL)
            s.linger, s.sndhwm, s.sndbuf = 0, 1, 65536
            others = []
            try:
                for _ in range(connections):
                    peer = context.socket(zmq.PULL if call == "send" else zmq.PUSH)
                    peer.linger, peer.rcvhwm, peer.rcvbuf = 0, 1, 65536
                    others.append(peer)
                    peer.connect(bind(s))
                if call == "send":
                    while True:
                        s.send(bytes(1_000_000))
                getattr(s, call)()
                return 0
            except zmq.ZMQError as error:
                return error.errno
            finally:
                s.close()
                for peer in others:
                    peer.close()

        waiters = [Background(wait).blocked() for _ in range(20)]
        Background(context.term).result()
        assert {w.result() for w in waiters} == {zmq.ETERM}


def test_contexts_come_and_go(zmq):
    """100 of them, with a conversation each; no descriptor and no thread stays behind."""
    gc.collect()
    with zmq.Context() as context, context.socket(zmq.PAIR):
        pass
    before = descriptors(), len(os.listdir("/proc/self/task"))
    for n in range(100):
        context = zmq.Context()
        a, b = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        b.connect(bind(a, "tcp://127.0.0.1:*" if n % 2 else "inproc://a"))
        b.send(b"x")
        assert a.recv() == b"x"
        a.close()
        b.close()
        context.term()
    eventually(lambda: descriptors() <= before[0])
    eventually(lambda: len(os.listdir("/proc/self/task")) <= before[1])


def test_an_idle_engine_is_idle(zmq, make):
    """50 quiet connections cost next to no processor time."""
    pull = make(zmq.PULL)
    address = bind(pull)
    pushes = [make(zmq.PUSH) for _ in range(50)]
    for s in pushes:
        s.connect(address)
        s.send(b"x")
    for _ in pushes:
        pull.recv()
    connected(*pushes)
    used, start = time.process_time(), time.monotonic()
    assert not pull.poll(1000)
    assert time.monotonic() - start >= 0.9
    assert time.process_time() - used < 0.2
