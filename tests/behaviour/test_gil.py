"""Calls that do not wait keep the GIL, as pyzmq's do: programs rely on it that nobody gets in
between a statement, such a call and the next statement (a notebook kernel's threads that print)."""

from __future__ import annotations

import contextlib
import gc
import itertools
import signal
import sys
import threading
import time

import pytest
from support import TIMEOUT, RawPeer, bind, fresh_inproc

THREADS, ROUNDS = 4, 50


@pytest.fixture
def undisturbed():
    """No thread loses the GIL because it has had it for long."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        pytest.skip("there is no GIL to keep")
    before = sys.getswitchinterval()
    sys.setswitchinterval(TIMEOUT)
    yield
    sys.setswitchinterval(before)


def interleaved(call) -> int:
    """In how many of ROUNDS another thread ran while one was inside ``call(k)``."""
    bad = 0
    for _ in range(ROUNDS):
        order = []

        def work(k, order=order):
            order.append(k)
            call(k)
            order.append(k)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(THREADS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(TIMEOUT)
        bad += any(a != b for a, b in zip(order[::2], order[1::2], strict=True))
    return bad


def test_a_socket_is_made_used_and_closed_in_one_go(zmq, ctx, make, undisturbed):
    address = bind(make(zmq.PULL), fresh_inproc())

    def life(_):
        s = ctx.socket(zmq.PUSH)
        s.linger = 0
        s.connect(address)
        s.getsockopt(zmq.TYPE)
        s.close()

    assert interleaved(life) == 0


CALLS = {
    "set int": lambda z, s, a: s.setsockopt(z.LINGER, 0),
    "set int64": lambda z, s, a: s.setsockopt(z.MAXMSGSIZE, 1000),
    "set bytes": lambda z, s, a: s.setsockopt(z.IDENTITY, b"me"),
    "set string": lambda z, s, a: s.setsockopt_string(z.IDENTITY, "me"),
    "attribute": lambda z, s, a: setattr(s, "sndhwm", 5),
    "get int": lambda z, s, a: s.getsockopt(z.LINGER),
    "get int64": lambda z, s, a: s.maxmsgsize,
    "get bytes": lambda z, s, a: s.getsockopt(z.LAST_ENDPOINT),
    "get string": lambda z, s, a: s.getsockopt_string(z.LAST_ENDPOINT),
    "closed": lambda z, s, a: s.closed,
    "events": lambda z, s, a: s.getsockopt(z.EVENTS),
    "descriptor": lambda z, s, a: s.fileno(),
    "connect": lambda z, s, a: s.connect(a),
    "connect, disconnect": lambda z, s, a: (s.connect(a), s.disconnect(a)),
    "bind, unbind": lambda z, s, a: s.unbind(bind(s, "tcp://127.0.0.1:*")),
    "stop monitor": lambda z, s, a: s.monitor(None, 0),
    "context": lambda z, s, a: (s.context.set(z.MAX_SOCKETS, 500), s.context.get(z.MAX_SOCKETS)),
}


@pytest.mark.parametrize("transport", ["inproc", "tcp"])
@pytest.mark.parametrize("name", CALLS)
def test_nobody_gets_in_between(zmq, make, undisturbed, name, transport):
    """A few times somebody may: the engine's own thread has the lock of a socket just then."""
    anywhere = {"inproc": fresh_inproc(), "tcp": "tcp://127.0.0.1:*"}[transport]
    address = bind(make(zmq.ROUTER), anywhere)
    sockets = [make(zmq.DEALER) for _ in range(THREADS)]
    for s in sockets:
        s.connect(address)
    bad = interleaved(lambda k: CALLS[name](zmq, sockets[k], address))
    assert bad <= (0 if transport == "inproc" and "bind" not in name else ROUNDS // 5)


def test_a_monitor_starts_in_one_go(zmq, make, undisturbed):
    sockets = [make(zmq.DEALER) for _ in range(THREADS * ROUNDS)]
    turn = iter(sockets)
    # An event that does not come: libzmq would wait for a reader.
    event = zmq.EVENT_CLOSE_FAILED
    assert interleaved(lambda _: next(turn).monitor(fresh_inproc(), event)) == 0


def test_a_poll_of_what_is_ready_lets_nobody_in(zmq, make, undisturbed, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq gives up the GIL for each poll")
    pulls = [make(zmq.PULL) for _ in range(THREADS)]
    push = make(zmq.PUSH)
    for pull in pulls:
        push.connect(bind(pull, fresh_inproc()))
    for _ in pulls:
        push.send(b"x")

    def poll(k):
        poller = zmq.Poller()
        poller.register(pulls[k], zmq.POLLIN)
        assert poller.poll(30_000) == [(pulls[k], zmq.POLLIN)]
        assert pulls[k].poll(30_000) == zmq.POLLIN

    assert interleaved(poll) == 0


def test_threads_that_share_sockets_get_on(zmq, ctx, make, on_libzmq):
    """Whoever finds the lock taken gives up the GIL: the one who has it may need it to go on, to
    run a destructor, a signal's handler or a garbage collection."""
    if on_libzmq:
        pytest.skip("libzmq's sockets are for one thread")
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    address = bind(pull)
    push.connect(address)
    turn = itertools.count()
    seen = []

    def work():
        for _ in range(100):
            n = next(turn)
            push.send(memoryview(bytearray(100_000)), copy=False, track=n % 2 == 0)
            push.setsockopt(zmq.LINGER, n)
            push.getsockopt(zmq.LAST_ENDPOINT)
            push.getsockopt(zmq.EVENTS)
            zmq.zmq_poll([(push, zmq.POLLOUT), (pull, zmq.POLLIN)], 0)
            s = ctx.socket(zmq.PUSH)
            s.connect(address)
            s.disconnect(address)
            s.close(0)
            pull.recv(copy=n % 3 == 0)
            if n % 50 == 0:
                gc.collect()
                signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(push.getsockopt(zmq.EVENTS)))
    try:
        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(TIMEOUT * 2)
            assert not t.is_alive()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert next(turn) == 100 * THREADS
    assert seen


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


@pytest.fixture
def others(on_libzmq, undisturbed):
    """others(call): whether another thread got on while ``call()`` ran."""
    if on_libzmq:
        pytest.skip("pyzmq gives up the GIL for each send")
    count, over = 0, False

    def get_on():
        nonlocal count
        while not over:
            count += 1
            time.sleep(0)

    def others(call):
        before = count
        call()
        return count > before

    thread = threading.Thread(target=get_on)
    thread.start()
    yield others
    over = True
    thread.join(TIMEOUT)


#: The engine's own thread may have a lock now and then, and others get on without more.
MOMENTS, ENOUGH = 30, 5


def test_a_publisher_that_gives_who_connects_a_moment_stops_nobody(zmq, make, others):
    """A peer that has connected, and may be about to subscribe. It costs that once."""
    pub = make(zmq.PUB)
    address = bind(pub)
    moments = got_on = 0
    with contextlib.ExitStack() as peers:
        # On a crowded machine a moment is one of 50 ms, and the next one comes a second later.
        while moments < MOMENTS or (got_on < ENOUGH and moments < MOMENTS * 6):
            moments += 1
            peer = peers.enter_context(RawPeer.connect(port_of(address)))
            peer.handshake("SUB")
            got_on += others(lambda: pub.send(b"to nobody"))
            time.sleep(0.05)  # nobody is waited for in vain more than a twentieth of the time
            got_on += others(lambda: pub.send(b"to nobody"))
    # Where there was no time for one, it has its moment at the next send.
    assert ENOUGH <= got_on <= moments * 3 // 2


def senders(zmq, make, kind):
    """A socket with a peer that does not read, and its send()."""
    s = make(getattr(zmq, kind), sndhwm=10)
    peer = RawPeer.connect(port_of(bind(s)))
    peer.handshake({"PUB": "SUB", "XSUB": "XPUB", "ROUTER": "DEALER"}[kind], identity=b"me")
    if kind == "PUB":
        peer.send(b"\0\1\1")
    body = b"x" * 100_000
    return peer, s, (lambda: s.send_multipart([b"me", body]) if kind == "ROUTER" else s.send(body))


@pytest.mark.parametrize("kind", ["PUB", "XSUB", "ROUTER"])
def test_whoever_waits_for_a_reader_before_it_drops_stops_nobody(zmq, make, others, kind):
    """Looked at while the first message is dropped, which is not flushed. On a crowded machine the
    other thread seldom gets a processor meanwhile."""
    moments = got_on = 0
    while got_on < ENOUGH and moments < MOMENTS * 3:
        moments += 1
        peer, s, send = senders(zmq, make, kind)
        with peer:
            progress = False
            while not s.stats()["messages_dropped"]:
                progress = others(send)
            got_on += progress
        s.close()
    assert got_on >= ENOUGH
