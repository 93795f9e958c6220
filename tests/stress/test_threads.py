"""Eight threads over sockets and frames of their own and of all: with a GIL, and without one, where
it is the objects' critical sections and the engine's locks that hold."""

from __future__ import annotations

import collections
import os
import sys
import threading

import pytest
from support import TIMEOUT, bind, fresh_inproc, run_python

THREADS = 8
SENDERS = THREADS // 2
ROUNDS = 60
PARTS = 40
TCP = "tcp://127.0.0.1:*"


def all_at_once(work) -> list:
    """work(k) in each thread, all of which begin together; what they answered."""
    barrier = threading.Barrier(THREADS)
    answers, errors = [None] * THREADS, []

    def run(k):
        try:
            barrier.wait(TIMEOUT)
            answers[k] = work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,), daemon=True) for k in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * TIMEOUT)
    assert not any(thread.is_alive() for thread in threads)
    assert not errors, errors
    return answers


@pytest.fixture
def shared(zmq, make, on_libzmq):
    """A PUSH in which SENDERS send, and a PULL in which the others receive."""
    if on_libzmq:
        pytest.skip("libzmq's sockets belong to one thread at a time")
    push, pull = make(zmq.PUSH), make(zmq.PULL)
    push.connect(bind(pull))
    return push, pull


@pytest.mark.parametrize("transport", ["inproc", "tcp"])
def test_sockets_of_their_own_in_a_context_of_all(zmq, ctx, transport):
    def work(k):
        for _ in range(4):
            with ctx.socket(zmq.PAIR) as a, ctx.socket(zmq.PAIR) as b:
                a.rcvtimeo = b.rcvtimeo = int(TIMEOUT * 1000)
                a.connect(bind(b, fresh_inproc() if transport == "inproc" else TCP))
                for i in range(ROUNDS):
                    a.send_multipart([b"%d" % i, bytes(i * 200)])
                    assert b.recv_multipart() == [b"%d" % i, bytes(i * 200)]

    all_at_once(work)


def test_messages_of_several_parts_stay_whole_on_a_shared_socket(shared):
    """Four send and four receive; each message arrives once, and none is mixed with another's."""
    push, pull = shared

    def work(k):
        if k < SENDERS:
            for i in range(ROUNDS):
                push.send_multipart([b"%d" % k, *[b"%d" % i] * PARTS])
            return []
        return [pull.recv_multipart() for _ in range(ROUNDS)]

    came = [message for list_ in all_at_once(work) for message in list_]
    assert {len(message) for message in came} == {1 + PARTS}
    assert all(len(set(message[1:])) == 1 for message in came)
    counted = collections.Counter((m[0], m[1]) for m in came)
    assert len(counted) == SENDERS * ROUNDS
    assert set(counted.values()) == {1}


def test_a_socket_that_is_closed_while_all_use_it(zmq, ctx, on_libzmq):
    """Every call works, would block, or finds the socket gone; nothing is sent on another's."""
    if on_libzmq:
        pytest.skip("libzmq's sockets belong to one thread at a time")
    for _ in range(6):
        with ctx.socket(zmq.PULL) as pull, ctx.socket(zmq.PULL) as bystander:
            s = ctx.socket(zmq.PUSH)
            s.linger = 0
            s.connect(bind(pull, fresh_inproc()))

            def work(k, s=s):
                for i in range(40):
                    if k == 0 and i == 20:
                        s.close()
                    try:
                        s.send_multipart([b"a", b"b"], zmq.DONTWAIT)
                        s.getsockopt(zmq.TYPE)
                        zmq.zmq_poll([(s, zmq.POLLOUT)], 0)
                    except zmq.ZMQError as error:
                        assert error.errno in (zmq.ENOTSOCK, zmq.EAGAIN)

            all_at_once(work)
            assert s.closed
            assert not bystander.poll(0)


def test_a_frame_of_all(zmq, make):
    """What a frame makes when it is first asked is made once, or is as good."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    a.connect(bind(b))
    for _ in range(20):
        body = os.urandom(20_000)
        a.send(body, copy=False)
        frame = b.recv(copy=False)

        def work(k, frame=frame, body=body):
            assert frame.bytes == body
            assert frame.buffer == body
            frame.more = bool(k % 2)
            assert frame.tracker is None
            return frame.bytes, len(frame)

        answers = all_at_once(work)
        assert len({id(bytes_) for bytes_, _ in answers}) == 1


def test_zero_copy_sends_of_all_are_released(shared):
    push, pull = shared

    def work(k):
        if k >= SENDERS:
            for _ in range(ROUNDS):
                pull.recv(copy=False)
            return []
        return [push.send(bytearray(70_000), copy=False, track=True) for _ in range(ROUNDS)]

    trackers = [tracker for list_ in all_at_once(work) for tracker in list_]
    for tracker in trackers:
        tracker.wait(TIMEOUT)


def test_pollers_over_a_list_that_others_change(zmq, make):
    """zmq_poll() reads what is in its list at some moment, and no item that has gone."""
    sockets = [make(zmq.PULL) for _ in range(4)]
    for s in sockets:
        bind(s, fresh_inproc())
    shared = [[s, zmq.POLLIN] for s in sockets]

    def work(k):
        for i in range(ROUNDS):
            if k % 2:
                shared[i % 4] = [sockets[(i + k) % 4], zmq.POLLIN]
            else:
                assert zmq.zmq_poll(shared, 0) == []

    all_at_once(work)


@pytest.mark.skipif(not hasattr(sys, "_is_gil_enabled"), reason="there is always a GIL (3.13)")
def test_the_import_does_not_turn_the_gil_on(zmq, on_libzmq):
    """In a build without one; in any other there is nothing to see."""
    done = run_python(
        "import sys; before = sys._is_gil_enabled()\n"
        f"import {zmq.__name__}\n"
        "assert sys._is_gil_enabled() == before"
    )
    assert done.returncode == 0, done.stderr
    assert "GIL" not in done.stderr
