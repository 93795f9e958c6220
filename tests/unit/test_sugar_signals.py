"""Signals in blocking calls: handlers run, ends are kept, exceptions come out."""

from __future__ import annotations

import contextlib
import signal
import threading
import time

import pytest

pytestmark = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals need it"
)


class Interrupted(Exception):
    """Raised by a handler."""


@contextlib.contextmanager
def alarms(raise_at: int | None = None, every: float = 0.02):
    """A timer signal every 20 ms; its handler counts, and raises at the given count."""
    seen: list[int] = []

    def handler(signum, frame):
        seen.append(signum)
        if raise_at is not None and len(seen) >= raise_at:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise Interrupted

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, every, every)
    try:
        yield seen
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def full(zmq, make):
    """A socket that cannot send: it has no peer."""
    return make(zmq.PUSH)


CALLS = {
    "recv": lambda zmq, s, full: s.recv(),
    "recv_multipart": lambda zmq, s, full: s.recv_multipart(),
    "recv_into": lambda zmq, s, full: s.recv_into(bytearray(1)),
    "recv(copy=False)": lambda zmq, s, full: s.recv(copy=False),
    "send": lambda zmq, s, full: full.send(b"x"),
    "send_multipart": lambda zmq, s, full: full.send_multipart([b"x", b"y"]),
    "poll": lambda zmq, s, full: s.poll(30_000),
    "zmq_poll": lambda zmq, s, full: zmq.zmq_poll([(s, zmq.POLLIN)], 10_000),
    "select": lambda zmq, s, full: zmq.select([s], [], [], 10),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_exception_of_a_handler_ends_the_call(zmq, make, full, name):
    s = make(zmq.PULL)
    with alarms(raise_at=3) as seen, pytest.raises(Interrupted):
        CALLS[name](zmq, s, full)
    assert len(seen) == 3


@pytest.mark.parametrize("name", ["recv", "send"])
def test_signals_do_not_move_the_end_of_a_blocking_call(zmq, make, full, name, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq starts the timeout anew with every signal")
    s = make(zmq.PULL)
    s.rcvtimeo = full.sndtimeo = 300
    with alarms() as seen:
        started = time.monotonic()
        with pytest.raises(zmq.Again):
            CALLS[name](zmq, s, full)
        took = time.monotonic() - started
    assert seen
    assert took >= 0.299


def test_signals_do_not_move_the_end_of_a_poll(zmq, make, on_libzmq):
    s = make(zmq.PULL)
    with alarms() as seen:
        started = time.monotonic()
        assert s.poll(300) == 0
        took = time.monotonic() - started
    assert seen
    # pyzmq loses up to a millisecond with every signal.
    assert took >= (0.25 if on_libzmq else 0.299)


def test_a_message_that_a_handler_sends_is_received(zmq, make):
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    a.bind("inproc://signal")
    b.connect("inproc://signal")

    def handler(signum, frame):
        b.send(b"from the handler")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert a.recv() == b"from the handler"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_exception_of_a_handler_ends_term_which_can_go_on(zmq, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq does not get out of term()")
    context = zmq.Context()
    s = context.socket(zmq.PULL)
    with alarms(raise_at=3), pytest.raises(Interrupted):
        context.term()
    assert not context.closed
    with pytest.raises(zmq.ContextTerminated):
        s.recv()
    s.close()
    context.term()
    assert context.closed


@pytest.mark.parametrize("device", ["proxy", "proxy_steerable", "monitored_queue"])
def test_an_exception_of_a_handler_ends_a_device(zmq, make, device):
    front, back, monitor = (make(zmq.PAIR) for _ in range(3))
    for i, s in enumerate((front, back, monitor)):
        s.bind(f"inproc://device-{i}")
    run = zmq.backend.monitored_queue if device == "monitored_queue" else getattr(zmq, device)
    with alarms(raise_at=3), pytest.raises(Interrupted):
        run(front, back, monitor)
