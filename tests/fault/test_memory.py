"""Memory runs out: an error, never a crash, a hang or a leak, and the next try works."""

from __future__ import annotations

import pytest
from support import eventually

#: Allocations that a scenario may take before it is sure to be through.
ENOUGH = 400


@pytest.fixture
def failing():
    """failing(n): the engine's allocation after n more fails, once."""
    lib = pytest.importorskip("zmq_monocoque._engine_c").lib
    yield lib.zm_alloc_fail_after
    lib.zm_alloc_fail_after(-1)


def push_pull(zmq, ctx, transport, ms):
    pull, push = ctx.socket(zmq.PULL), ctx.socket(zmq.PUSH)
    with pull, push:
        pull.linger = push.linger = 0
        pull.rcvtimeo = push.sndtimeo = ms
        pull.bind("inproc://memory" if transport == "inproc" else "tcp://127.0.0.1:*")
        push.connect(pull.LAST_ENDPOINT)
        push.send_multipart([b"a", b"b" * 300, b"c" * 100_000])
        assert pull.recv_multipart() == [b"a", b"b" * 300, b"c" * 100_000]


def pub_sub(zmq, ctx, transport, ms):
    pub, sub = ctx.socket(zmq.XPUB), ctx.socket(zmq.SUB)
    with pub, sub:
        pub.linger = sub.linger = 0
        pub.rcvtimeo = sub.rcvtimeo = ms
        pub.bind("inproc://memory" if transport == "inproc" else "tcp://127.0.0.1:*")
        sub.connect(pub.LAST_ENDPOINT)
        sub.subscribe(b"topic")
        assert pub.recv() == b"\x01topic"
        pub.send(b"topic 1")
        assert sub.recv() == b"topic 1"


def request_reply(zmq, ctx, transport, ms):
    router, req = ctx.socket(zmq.ROUTER), ctx.socket(zmq.REQ)
    with router, req:
        router.linger = req.linger = 0
        router.rcvtimeo = req.rcvtimeo = req.sndtimeo = ms
        router.bind("inproc://memory" if transport == "inproc" else "tcp://127.0.0.1:*")
        req.connect(router.LAST_ENDPOINT)
        req.send(b"question")
        router.send_multipart(router.recv_multipart())
        assert req.recv() == b"question"


@pytest.mark.parametrize("transport", ["inproc", "tcp"])
@pytest.mark.parametrize("scenario", [push_pull, pub_sub, request_reply])
def test_each_allocation_may_fail_once(zmq, ctx, failing, scenario, transport):
    """The call that needed the memory says so, or the connection is made anew; nothing else."""
    survived = 0
    for n in range(ENOUGH):
        failing(n)
        try:
            scenario(zmq, ctx, transport, 200)  # a lost connection may have had the message
            survived += 1
        except (MemoryError, zmq.ZMQError, AssertionError):
            survived = 0
        failing(-1)
        if survived > 20:
            break
        # Without the fault it works again, in the same context.
        scenario(zmq, ctx, transport, 10_000)
    assert survived > 20, "the scenario never got through"
    eventually(lambda: not ctx._sockets)


def test_an_inproc_reader_without_memory_loses_nothing(zmq, ctx, failing):
    """What it cannot take over stays with the writer; nothing is counted that is not there."""
    with ctx.socket(zmq.PULL) as pull, ctx.socket(zmq.PUSH) as push:
        pull.rcvtimeo, push.linger = 10_000, 0
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
