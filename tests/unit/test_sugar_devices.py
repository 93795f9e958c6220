"""proxy, proxy_steerable, monitored_queue: what they answer and how they end."""

from __future__ import annotations

import struct
import threading

import pytest


@pytest.fixture
def run(zmq):
    """run(device, *sockets) -> a thread's outcome, a list; the thread ends with the context."""
    contexts = []

    def start(make_device):
        context = zmq.Context()
        contexts.append(context)
        ready = threading.Event()
        outcome: list = []

        def body():
            sockets, device = make_device(context)
            ready.set()
            try:
                outcome.append(device())
            except BaseException as error:
                outcome.append(error)
            finally:
                for s in sockets:
                    s.close(linger=0)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        assert ready.wait(30)
        return context, thread, outcome

    yield start
    for context in contexts:
        assert context.closed


def connected(zmq, context, kind, address):
    s = context.socket(kind)
    s.linger = 0
    s.rcvtimeo = 30_000
    s.connect(address)
    return s


def bound(zmq, context, kind, address):
    s = context.socket(kind)
    s.bind(address)
    return s


def test_a_proxy_passes_both_ways_and_ends_with_the_context(zmq, run):
    def make_device(context):
        front = bound(zmq, context, zmq.ROUTER, "inproc://front")
        back = bound(zmq, context, zmq.DEALER, "inproc://back")
        capture = bound(zmq, context, zmq.PUSH, "inproc://capture")
        return (front, back, capture), lambda: zmq.proxy(front, back, capture)

    context, thread, outcome = run(make_device)
    capture = connected(zmq, context, zmq.PULL, "inproc://capture")
    asks = connected(zmq, context, zmq.REQ, "inproc://front")
    answers = connected(zmq, context, zmq.REP, "inproc://back")
    asks.send(b"?")
    assert answers.recv() == b"?"
    answers.send(b"!")
    assert asks.recv() == b"!"
    assert [capture.recv_multipart()[-1] for _ in range(2)] == [b"?", b"!"]
    for s in (asks, answers, capture):
        s.close()
    context.term()
    thread.join(30)
    assert isinstance(outcome[0], zmq.ContextTerminated)


def test_a_steerable_proxy_can_be_asked_and_ended(zmq, run, on_libzmq):
    if on_libzmq:
        pytest.skip("gone from libzmq 4.3.5 under pyzmq's wheel")

    def make_device(context):
        front = bound(zmq, context, zmq.PULL, "inproc://front")
        back = bound(zmq, context, zmq.PUSH, "inproc://back")
        control = bound(zmq, context, zmq.REP, "inproc://control")
        return (front, back, control), lambda: zmq.proxy_steerable(front, back, None, control)

    context, thread, outcome = run(make_device)
    push = connected(zmq, context, zmq.PUSH, "inproc://front")
    pull = connected(zmq, context, zmq.PULL, "inproc://back")
    control = connected(zmq, context, zmq.REQ, "inproc://control")
    push.send(b"12345")
    assert pull.recv() == b"12345"

    def ask(command):
        control.send(command)
        return control.recv_multipart()

    counts = [struct.unpack("=Q", part)[0] for part in ask(b"STATISTICS")]
    assert counts == [1, 5, 0, 0, 0, 0, 1, 5]
    ask(b"PAUSE")
    push.send(b"later")
    assert not pull.poll(50)
    ask(b"RESUME")
    assert pull.recv() == b"later"
    ask(b"TERMINATE")
    thread.join(30)
    assert outcome == [0]
    context.destroy(linger=0)


def test_a_monitored_queue_shows_what_passes_behind_a_prefix(zmq, run):
    def make_device(context):
        front = bound(zmq, context, zmq.PAIR, "inproc://front")
        back = bound(zmq, context, zmq.PAIR, "inproc://back")
        monitor = bound(zmq, context, zmq.PUSH, "inproc://monitor")
        return (front, back, monitor), lambda: zmq.backend.monitored_queue(
            front, back, monitor, b"from", b"to"
        )

    context, thread, outcome = run(make_device)
    monitor = connected(zmq, context, zmq.PULL, "inproc://monitor")
    a = connected(zmq, context, zmq.PAIR, "inproc://front")
    b = connected(zmq, context, zmq.PAIR, "inproc://back")
    a.send_multipart([b"1", b"2"])
    assert b.recv_multipart() == [b"1", b"2"]
    b.send(b"3")
    assert a.recv() == b"3"
    assert monitor.recv_multipart() == [b"from", b"1", b"2"]
    assert monitor.recv_multipart() == [b"to", b"3"]
    for s in (a, b, monitor):
        s.close()
    context.term()
    thread.join(30)
    assert isinstance(outcome[0], zmq.ContextTerminated)


def test_between_routers_the_first_two_parts_are_swapped(zmq, run):
    def make_device(context):
        front = bound(zmq, context, zmq.ROUTER, "inproc://front")
        back = bound(zmq, context, zmq.ROUTER, "inproc://back")
        monitor = bound(zmq, context, zmq.PUB, "inproc://monitor")
        return (front, back, monitor), lambda: zmq.backend.monitored_queue(front, back, monitor)

    context, thread, _ = run(make_device)
    a = context.socket(zmq.DEALER)
    b = context.socket(zmq.DEALER)
    for s, name, address in ((a, b"A", "inproc://front"), (b, b"B", "inproc://back")):
        s.identity = name
        s.linger = 0
        s.rcvtimeo = 200
        s.connect(address)
    # A ROUTER drops what is for somebody it does not know yet.
    for _ in range(50):
        a.send_multipart([b"B", b"hello"])
        try:
            assert b.recv_multipart() == [b"A", b"hello"]
            break
        except zmq.Again:
            continue
    else:
        raise AssertionError("nothing came through")
    a.close()
    b.close()
    context.term()
    thread.join(30)
    assert not thread.is_alive()
