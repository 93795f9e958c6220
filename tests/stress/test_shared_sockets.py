"""Several threads in one socket at once, which libzmq does not allow: no wake-up is lost.

Nobody receives what the others wait for before all have seen it, so a thread that missed it would
wait for ever. Seen to fail: with a signaler that one clears for all, a wake that only the first one
sees (`seq` is not counted), a close that pollers are not told of.
"""

from __future__ import annotations

import pytest
from support import TRANSPORTS, Background, bind_over

THREADS = 6
ROUNDS = 30


@pytest.fixture
def linked(zmq, make, on_libzmq, ipc_address):
    """linked(transport) -> a PUSH and a PULL that hold no more than one message each."""
    if on_libzmq:
        pytest.skip("libzmq's sockets are for one thread at a time")

    def linked(transport):
        push, pull = make(zmq.PUSH, sndhwm=1), make(zmq.PULL, rcvhwm=1)
        push.connect(bind_over(pull, transport, ipc_address))
        return push, pull

    return linked


def all_of(threads):
    return [thread.result() for thread in threads]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_all_who_poll_see_a_message(zmq, linked, transport):
    push, pull = linked(transport)
    for number in range(ROUNDS):
        threads = [Background(lambda: zmq.zmq_poll([(pull, zmq.POLLIN)])) for _ in range(THREADS)]
        push.send(b"%d" % number)
        assert all_of(threads) == [[(pull, zmq.POLLIN)]] * THREADS
        assert pull.recv() == b"%d" % number


def test_all_who_poll_see_a_message_that_the_reader_of_events_takes_in(zmq, linked):
    """The thread that read EVENTS last is told nothing of what it does itself."""
    push, pull = linked("inproc")
    for number in range(ROUNDS):
        threads = [Background(lambda: zmq.zmq_poll([(pull, zmq.POLLIN)])) for _ in range(THREADS)]
        assert not pull.EVENTS
        push.send(b"%d" % number)
        assert pull.EVENTS == zmq.POLLIN
        assert all_of(threads) == [[(pull, zmq.POLLIN)]] * THREADS
        assert pull.recv() == b"%d" % number


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_each_who_receives_gets_a_message(linked, transport):
    push, pull = linked(transport)
    for _ in range(ROUNDS):
        threads = [Background(pull.recv) for _ in range(THREADS)]
        for number in range(THREADS):
            push.send(b"%d" % number)
        assert sorted(all_of(threads)) == [b"%d" % number for number in range(THREADS)]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_each_who_sends_finds_room(linked, transport):
    push, pull = linked(transport)
    for _ in range(ROUNDS):
        threads = [Background(lambda n=n: push.send(b"%d" % n)) for n in range(THREADS)]
        got = [pull.recv() for _ in range(THREADS)]
        all_of(threads)
        assert sorted(got) == [b"%d" % number for number in range(THREADS)]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_all_who_poll_hear_that_the_socket_is_closed(zmq, linked, transport):
    _, pull = linked(transport)
    threads = [
        Background(lambda: pytest.raises(zmq.ZMQError, zmq.zmq_poll, [(pull, zmq.POLLIN)]))
        for _ in range(THREADS)
    ]
    for thread in threads:
        thread.blocked()
    pull.close()
    assert {error.value.errno for error in all_of(threads)} == {zmq.ENOTSOCK}
