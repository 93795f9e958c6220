"""Poller, select, zmq_poll and Socket.poll."""

from __future__ import annotations

import os
import time
import weakref

import pytest


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


@pytest.fixture
def pair(zmq, make):
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    a.bind("inproc://pair")
    b.connect("inproc://pair")
    return a, b


class HasFileno:
    def __init__(self, fd):
        self.fd = fd

    def fileno(self):
        return self.fd


def test_readiness_follows_the_messages(zmq, pair):
    a, b = pair
    assert a.poll(0) == 0
    assert a.poll(30_000, zmq.POLLOUT) == zmq.POLLOUT
    b.send(b"x")
    assert a.poll(30_000) == zmq.POLLIN
    assert a.poll(None, zmq.POLLIN | zmq.POLLOUT) == zmq.POLLIN | zmq.POLLOUT
    assert a.poll(-1) == zmq.POLLIN
    assert type(a.poll(0)) is int
    a.recv()
    assert a.poll(0) == 0


def test_polling_for_nothing_is_over_at_once(pair):
    assert pair[0].poll(flags=0) == 0


def test_a_closed_socket_cannot_be_polled(zmq, make):
    s = make(zmq.PULL)
    s.close()
    with pytest.raises(zmq.ZMQError) as raised:
        s.poll(0)
    assert raised.value.errno == zmq.ENOTSUP


def test_a_poller_answers_sockets_and_descriptors(zmq, pair, pipe):
    a, b = pair
    read, write = pipe
    b.send(b"x")
    poller = zmq.Poller()
    poller.register(a, zmq.POLLIN)
    poller.register(read, zmq.POLLIN)
    poller.register(HasFileno(write), zmq.POLLOUT)
    assert poller.poll(30_000) == [(a, zmq.POLLIN), (write, zmq.POLLOUT)]
    os.write(write, b"y")
    events = dict(poller.poll(30_000))
    assert events == {a: zmq.POLLIN, read: zmq.POLLIN, write: zmq.POLLOUT}
    assert all(type(mask) is int for mask in events.values())


def test_a_poller_remembers_what_was_registered(zmq):
    poller = zmq.Poller()
    poller.register(1, zmq.POLLIN)
    poller.register(2)
    poller.register(3, zmq.POLLOUT)
    poller.modify(2, zmq.POLLOUT)
    assert poller.sockets == [(1, 1), (2, 2), (3, 2)]
    assert 2 in poller and 4 not in poller
    poller.register(1, 0)
    poller.register(1, 0)
    assert poller.sockets == [(2, 2), (3, 2)]
    poller.unregister(3)
    assert poller.sockets == [(2, 2)]
    with pytest.raises(KeyError):
        poller.unregister(3)
    poller.modify(9, 0)
    assert 9 not in poller


def test_an_empty_poller_does_not_sleep(zmq):
    assert zmq.Poller().poll() == []
    assert zmq.Poller().poll(2**31 - 1) == []
    assert zmq.zmq_poll([], 2**31 - 1) == []


def test_timeouts_are_milliseconds_and_fractions_are_cut(zmq, pair):
    a, _ = pair
    poller = zmq.Poller()
    poller.register(a, zmq.POLLIN)
    started = time.monotonic()
    assert poller.poll(50) == []
    assert time.monotonic() - started >= 0.045
    assert poller.poll(0.9) == []


@pytest.mark.parametrize("bad", ["x", None, 5.0, object()])
def test_what_cannot_be_polled_is_a_type_error(zmq, bad):
    with pytest.raises(TypeError, match="must be a 0MQ socket, an integer fd or have a fileno"):
        zmq.zmq_poll([(bad, zmq.POLLIN)], 0)


@pytest.mark.parametrize("fd", ["x", None])
def test_a_fileno_that_is_none_is_a_value_error(zmq, fd):
    with pytest.raises(ValueError, match="must return a valid integer fd"):
        zmq.zmq_poll([(HasFileno(fd), zmq.POLLIN)], 0)


def test_the_other_arguments_of_zmq_poll_are_checked(zmq, pipe):
    _, write = pipe
    assert zmq.zmq_poll(((write, zmq.POLLOUT),), -5) == [(write, zmq.POLLOUT)]
    for sockets, timeout, error in [
        ([(write, 2)], "x", TypeError),
        ([(write, 2, 3)], 1, ValueError),
        ([write], 1, TypeError),
        ([(write, "x")], 1, TypeError),
        ([(write, 2)], 1 << 40, OverflowError),
        (iter([(write, 2)]), 1, TypeError),
    ]:
        with pytest.raises(error):
            zmq.zmq_poll(sockets, timeout)


def test_an_item_may_come_twice(zmq, pair):
    a, _ = pair
    assert zmq.zmq_poll([(a, zmq.POLLOUT)] * 2, 10_000) == [(a, zmq.POLLOUT)] * 2


def test_a_shadow_is_polled_as_the_socket_it_stands_for(zmq, pair):
    a, b = pair
    b.send(b"x")
    shadow = zmq.Socket.shadow(a.underlying)
    assert zmq.zmq_poll([(shadow, zmq.POLLIN)], 10_000) == [(shadow, zmq.POLLIN)]
    assert shadow.poll(30_000) == zmq.POLLIN


def of_sockets(answer):
    """Without what pyzmq says of a closed socket: it looks at descriptor 0 in its place."""
    return [(socket, mask) for socket, mask in answer if socket != 0]


def test_a_closed_socket_is_never_ready_and_the_rest_is_served(zmq, pair, make):
    a, b = pair
    dead = make(zmq.SUB)
    poller = zmq.Poller()
    poller.register(dead, zmq.POLLIN)
    poller.register(b, zmq.POLLIN)
    dead.close()
    assert of_sockets(poller.poll(0)) == []
    a.send(b"x")
    for timeout in (0, 10_000, None):
        assert of_sockets(poller.poll(timeout)) == [(b, zmq.POLLIN)]
    assert of_sockets(zmq.zmq_poll([(dead, zmq.POLLIN)], 0)) == []
    assert dead in poller
    poller.unregister(dead)
    assert poller.sockets == [(b, zmq.POLLIN)]


def test_what_is_changed_between_two_polls_is_seen_by_the_next(zmq, pair, make, pipe):
    a, b = pair
    read, write = pipe
    os.write(write, b"y")
    poller = zmq.Poller()
    poller.register(b, zmq.POLLIN)
    assert poller.poll(0) == []
    a.send(b"x")
    assert poller.poll(30_000) == [(b, zmq.POLLIN)]
    poller.modify(b, zmq.POLLIN | zmq.POLLOUT)
    assert poller.poll(30_000) == [(b, zmq.POLLIN | zmq.POLLOUT)]
    poller.register(read, zmq.POLLIN)
    assert poller.poll(30_000) == [(b, zmq.POLLIN | zmq.POLLOUT), (read, zmq.POLLIN)]
    poller.modify(b, zmq.POLLOUT)
    poller.unregister(read)
    assert poller.poll(30_000) == [(b, zmq.POLLOUT)]
    poller.sockets[:] = [(a, zmq.POLLOUT)]
    assert poller.poll(30_000) == [(a, zmq.POLLOUT)]


def test_an_object_is_asked_for_its_descriptor_each_time(zmq, pipe):
    read, write = pipe
    moving = HasFileno(read)
    poller = zmq.Poller()
    poller.register(moving, zmq.POLLIN | zmq.POLLOUT)
    assert poller.poll(0) == []
    moving.fd = write
    assert poller.poll(30_000) == [(write, zmq.POLLOUT)]


def test_a_poller_that_forgets_a_socket_does_not_keep_it(zmq, pair):
    a, b = pair
    shadow = zmq.Socket.shadow(a.underlying)
    gone = weakref.ref(shadow)
    poller = zmq.Poller()
    poller.register(shadow, zmq.POLLOUT)
    assert poller.poll(30_000) == [(shadow, zmq.POLLOUT)]
    poller.unregister(shadow)
    del shadow
    assert gone() is None


def test_select_takes_seconds_and_answers_three_lists(zmq, pair, pipe):
    a, b = pair
    read, write = pipe
    assert zmq.select([a, read], [], [], 0.01) == ([], [], [])
    b.send(b"x")
    assert zmq.select([a, read], [a, write], [a], 10) == ([a], [a, write], [])
    assert zmq.select([], [a], [], None) == ([], [a], [])
    assert zmq.select([], [], []) == ([], [], [])
