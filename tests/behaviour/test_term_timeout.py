"""What pyzmq has not: term(timeout), and what sockets say of themselves (ours only)."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from support import (
    TIMEOUT,
    Background,
    RawListener,
    Signals,
    bind,
    connected,
    dead_endpoint,
    eventually,
    fresh_inproc,
    refused,
    waiting,
)


@pytest.fixture(autouse=True)
def ours(on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq has none of it")


def test_term_gives_up_and_names_the_socket_that_is_open(zmq):
    context = zmq.Context()
    s = context.socket(zmq.PULL)
    s.bind("tcp://127.0.0.1:*")
    endpoint = s.last_endpoint.decode()
    with refused(zmq, zmq.ETIMEDOUT) as info:
        context.term(timeout=30)
    assert "PULL" in str(info.value)
    assert endpoint in str(info.value)
    assert "open" in str(info.value)
    assert not context.closed
    s.close()
    context.term(timeout=int(TIMEOUT * 1000))
    assert context.closed


def ways_to_wait(zmq):
    """By name: what ends a context whose closed socket lingers over a message."""

    def with_block(context):
        with context:
            pass

    def destroy(context):
        context.destroy()

    def term(context):
        context.term()

    def negative(context):
        context.term(timeout=-1)

    def collected(context):
        context.__del__()

    return {f.__name__: f for f in (term, negative, destroy, with_block, collected)}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("way", ["term", "negative", "destroy", "with_block", "collected"])
def test_who_waits_for_long_says_once_what_for(zmq, make, caplog, monkeypatch, way):
    monkeypatch.setattr(zmq.backend.Context, "_zm_patience", 0.02)
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    with dead_endpoint() as endpoint, caplog.at_level("WARNING", "zmq_monocoque"):
        push.connect(endpoint)
        push.send(b"x")
        push.close()
        ending = Background(lambda: ways_to_wait(zmq)[way](context))
        eventually(lambda: caplog.records)
        # It goes on waiting, and says no more: a signal of any kind, or time, would begin anew.
        assert ending.still_runs(0.1)
    pull = make(zmq.PULL)
    pull.bind(endpoint)
    assert pull.recv() == b"x"
    ending.result()
    assert context.closed
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("zmq_monocoque", "WARNING")
    assert record.getMessage() == (
        f"Context.term() is still waiting after 0.02 s: for PUSH endpoint={endpoint} "
        "state=lingering queued=1"
    )


def test_who_does_not_wait_for_long_or_set_a_limit_says_nothing(zmq, caplog, monkeypatch):
    assert zmq.backend.Context._zm_patience == 5.0
    with caplog.at_level("DEBUG", "zmq_monocoque"):
        context = zmq.Context()
        s = context.socket(zmq.PULL)
        with monkeypatch.context() as patched, refused(zmq, zmq.ETIMEDOUT):
            patched.setattr(zmq.backend.Context, "_zm_patience", 0.0)
            context.term(timeout=30)
        s.close()
        context.term()
    assert caplog.records == []


def test_term_counts_the_messages_that_a_closed_socket_holds(zmq, make):
    context = zmq.Context()
    s = context.socket(zmq.PUSH)
    with dead_endpoint() as endpoint:
        s.connect(endpoint)
        for _ in range(3):
            s.send(b"x")
        s.close()
        with refused(zmq, zmq.ETIMEDOUT) as info:
            context.term(timeout=30)
        assert "lingering" in str(info.value)
        assert "queued=3" in str(info.value)
        assert context.holders() == [f"PUSH endpoint={endpoint} state=lingering queued=3"]
    pull = make(zmq.PULL)
    pull.bind(endpoint)
    context.term(timeout=int(TIMEOUT * 1000))
    assert len([pull.recv() for _ in range(3)]) == 3


def test_term_names_all_sockets_however_many(zmq):
    context = zmq.Context()
    sockets = [context.socket(zmq.PULL) for _ in range(300)]
    addresses = [fresh_inproc() for _ in sockets]
    for s, address in zip(sockets, addresses, strict=True):
        s.bind(address)
    with refused(zmq, zmq.ETIMEDOUT) as info:
        context.term(timeout=0)
    named = str(info.value).split("endpoint=")[1:]
    assert [text.split()[0] for text in named] == addresses
    for s in sockets:
        s.close()
    context.term()


def test_term_names_sockets_that_are_in_use(zmq):
    """In a call of another thread, at that very moment."""
    context = zmq.Context()
    sockets = [context.socket(zmq.PULL) for _ in range(5)]
    done = threading.Event()

    def use():
        while not done.is_set():
            zmq.zmq_poll([(s, zmq.POLLIN) for s in sockets], 0)

    users = [Background(use) for _ in range(2)]
    try:
        for _ in range(300):
            assert len(context.holders()) == len(sockets)
    finally:
        done.set()
        for user in users:
            user.result()
        for s in sockets:
            s.close()
        context.term()


def test_the_context_stays_shut_down_after_the_timeout(zmq):
    context = zmq.Context()
    s = context.socket(zmq.PULL)
    with refused(zmq, zmq.ETIMEDOUT):
        context.term(timeout=0)
    with pytest.raises(zmq.ContextTerminated):
        s.recv()
    s.close()
    context.term()


def test_term_returns_as_soon_as_nothing_holds_it(zmq):
    context = zmq.Context()
    s = context.socket(zmq.PULL)
    term = Background(lambda: context.term(timeout=int(TIMEOUT * 1000))).blocked()
    s.close()
    term.result()
    assert context.closed


def test_signals_do_not_prolong_the_timeout(zmq):
    context = zmq.Context()
    s = context.socket(zmq.PULL)
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with Signals(signal.SIGUSR1, 0.02):
            start = time.monotonic()
            with refused(zmq, zmq.ETIMEDOUT):
                context.term(timeout=150)
            assert 0.14 < time.monotonic() - start < TIMEOUT
    finally:
        signal.signal(signal.SIGUSR1, before)
    s.close()
    context.term()


def test_a_socket_counts_peers_and_queues(zmq, make):
    push, pull = make(zmq.PUSH), make(zmq.PULL)
    push.bind("tcp://127.0.0.1:*")
    pull.connect(push.last_endpoint.decode())
    connected(push)
    for _ in range(3):
        push.send(b"12345")
    eventually(lambda: pull.stats()["in_queued"] == 3)
    stats = pull.stats()
    assert stats["peers"] == 1
    assert stats["messages_received"] == 3
    assert stats["bytes_received"] >= 15
    assert stats["messages_dropped"] == stats["reconnects"] == 0
    assert push.stats()["messages_sent"] == 3


def test_a_socket_counts_what_it_drops(zmq, make):
    router, pub, sub = make(zmq.ROUTER), make(zmq.PUB, sndhwm=1), make(zmq.SUB, rcvhwm=1)
    for _ in range(3):
        router.send_multipart([b"nobody", b"x"])
    assert router.stats()["messages_dropped"] == 3
    assert router.stats()["messages_sent"] == 0
    pub.bind(fresh_inproc())
    sub.subscribe(b"")
    sub.connect(pub.last_endpoint.decode())
    connected(pub)
    for _ in range(10):
        pub.send(b"x")
    assert pub.stats()["messages_dropped"] == 10 - len(waiting(sub)) > 0


def test_a_socket_counts_how_often_it_connected_again(zmq, make):
    with RawListener() as server:
        dealer = make(zmq.DEALER, reconnect_ivl=1)
        dealer.connect(server.endpoint)
        for again in range(3):
            with server.accept() as peer:
                peer.handshake("DEALER")
                eventually(lambda again=again: dealer.stats()["reconnects"] == again)


def test_bytes_and_messages_are_counted_in_both_directions(zmq, make):
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    a.bind("tcp://127.0.0.1:*")
    b.connect(a.last_endpoint.decode())
    for one, other in ((a, b), (b, a)):
        for size in (0, 10, 300):
            one.send_multipart([bytes(size), b"end"])
            assert other.recv_multipart() == [bytes(size), b"end"]
    for s in (a, b):
        eventually(lambda s=s: s.stats()["messages_sent"] == 3)
        stats = s.stats()
        assert stats["messages_received"] == 3
        assert stats["bytes_sent"] >= 319 and stats["bytes_received"] >= 319
        assert stats["out_queued"] == stats["in_queued"] == 0


def test_repr_tells_peers_and_queues_when_there_are_any(zmq, make):
    push, pull = make(zmq.PUSH), make(zmq.PULL)
    assert repr(push) == f"<zmq.Socket(zmq.PUSH) at {hex(id(push))}>"
    push.bind("tcp://127.0.0.1:*")
    pull.connect(push.last_endpoint.decode())
    connected(push)
    push.send(b"x")
    eventually(lambda: "in_queued=1" in repr(pull))
    assert repr(pull) == f"<zmq.Socket(zmq.PULL) at {hex(id(pull))} peers=1 in_queued=1>"
    pull.close()
    assert repr(pull) == f"<zmq.Socket(zmq.PULL) at {hex(id(pull))} closed>"


def test_repr_of_a_socket_that_another_object_closed_does_not_raise(zmq, ctx):
    s = ctx.socket(zmq.PULL)
    shadow = zmq.Socket.shadow(s.underlying)
    s.close()
    assert "zmq.PULL" in repr(shadow)


def test_repr_does_not_wait_for_a_call_in_another_thread(zmq, make):
    s, push = make(zmq.PULL), make(zmq.PUSH)
    push.connect(bind(s, fresh_inproc()))
    waiting = Background(s.poll).blocked()
    repr(s)
    assert waiting.still_runs(after=0)
    push.send(b"x")
    assert waiting.result()
