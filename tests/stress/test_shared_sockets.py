"""Several threads in one socket at once, which libzmq does not allow: no wake-up is lost.

Nobody receives what the others wait for before all have seen it, so a thread that missed it would
wait for ever. Seen to fail: with a signaler that one clears for all, a wake that only the first one
sees (`seq` is not counted), a close that pollers are not told of, a peer that only those are told
of who watch from outside.
"""

from __future__ import annotations

import pytest
from support import TRANSPORTS, Background, bind, bind_over, free_port, fresh_inproc

THREADS = 6
ROUNDS = 30
HOUR = 3_600_000


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


WAYS_TO_WAIT = {
    "send": lambda zmq, push: push.send(b"x"),
    "poll": lambda zmq, push: zmq.zmq_poll([(push, zmq.POLLOUT)]),
}


@pytest.mark.parametrize("wait", WAYS_TO_WAIT)
@pytest.mark.parametrize("before", ["no endpoint", "no peer", "a full peer"])
def test_who_waits_for_room_is_told_of_a_peer_that_another_thread_finds(
    zmq, make, on_libzmq, before, wait
):
    """Over inproc it is there at once: no kernel and no command tells of it."""
    if on_libzmq:
        pytest.skip("libzmq's sockets are for one thread at a time")
    push, pull = make(zmq.PUSH, sndhwm=1, sndtimeo=-1, reconnect_ivl=HOUR), make(zmq.PULL)
    address = bind(pull, fresh_inproc())
    if before == "no peer":
        push.bind("tcp://127.0.0.1:*")
    elif before == "a full peer":
        push.connect(f"tcp://127.0.0.1:{free_port()}")
        push.send(b"waits")
    waiter = Background(lambda: WAYS_TO_WAIT[wait](zmq, push)).blocked()
    push.connect(address)
    waiter.result()


@pytest.mark.parametrize("wait", WAYS_TO_WAIT)
def test_who_waits_for_room_is_told_of_a_mark_that_another_thread_raises(
    zmq, make, on_libzmq, wait
):
    if on_libzmq:
        pytest.skip("libzmq's sockets are for one thread at a time")
    push = make(zmq.PUSH, sndhwm=1, sndtimeo=-1, reconnect_ivl=HOUR)
    push.connect(f"tcp://127.0.0.1:{free_port()}")
    push.send(b"waits")
    waiter = Background(lambda: WAYS_TO_WAIT[wait](zmq, push)).blocked()
    push.sndhwm = 10
    waiter.result()
