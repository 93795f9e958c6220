"""A task whose calls never have to wait gives its loop a turn after 2 ms.

Ours only: in pyzmq nobody else in the loop runs as long as there are messages. The clock of the
engine's Python stands still here and goes on by 0.1 ms when it is looked at, so that messages are
counted, and not seconds.
"""

from __future__ import annotations

import asyncio
import functools
import importlib

import pytest
from support.loops import pair, run_asyncio, run_green

MESSAGES = 2000
#: 20 looks at the clock make 2 ms, and there are up to 17 calls between two of them.
BETWEEN_TURNS_MAX = 400


@pytest.fixture(autouse=True)
def ours(on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq does not")


@pytest.fixture
def clock(monkeypatch):
    """Seconds a look at the clock takes, in a list; may be changed."""
    step, now = [0.0001], [1.0]

    def monotonic():
        now[0] += step[0]
        return now[0]

    monkeypatch.setattr(importlib.import_module("zmq_monocoque._pace"), "monotonic", monotonic)
    return step


@pytest.fixture
def run(zmq, clock):
    return functools.partial(run_asyncio, zmq)


class Turns:
    """Counts the turns of the running loop, and the calls between two."""

    def __init__(self):
        self.count = self.calls = self.calls_max = 0
        self._loop = asyncio.get_running_loop()
        self._next()

    def _next(self):
        self.count += 1
        self.calls = 0
        self._handle = self._loop.call_soon(self._next)

    def call(self):
        self.calls += 1
        self.calls_max = max(self.calls, self.calls_max)

    def stop(self):
        self._handle.cancel()


async def flood(zmq, context, parts=1):
    """A PULL with more messages than are received, and the PUSH."""
    push, pull = pair(zmq, context, sndhwm=0, rcvhwm=0)
    for _ in range(MESSAGES + 100):
        await push.send_multipart([b"1"] * parts)
    return push, pull


async def by_poller(zmq, push, pull):
    poller = importlib.import_module(f"{zmq.__name__}.asyncio").Poller()
    poller.register(pull, zmq.POLLIN)
    while True:
        yield await poller.poll()


async def by_iterating(zmq, push, pull):
    async for message in pull:
        yield message


def by(call, of="pull"):
    async def calls(zmq, push, pull):
        while True:
            yield await call(zmq, push if of == "push" else pull)

    return calls


WAYS = {
    "recv": by(lambda z, s: s.recv()),
    "recv without a copy": by(lambda z, s: s.recv(copy=False)),
    "recv at once": by(lambda z, s: s.recv(z.DONTWAIT)),
    "recv_multipart": by(lambda z, s: s.recv_multipart()),
    "recv_many": by(lambda z, s: s.recv_many(1)),
    "recv_string": by(lambda z, s: s.recv_string()),
    "recv_json": by(lambda z, s: s.recv_json()),
    "poll": by(lambda z, s: s.poll()),
    "a Poller": by_poller,
    "async for": by_iterating,
    "wait_for": by(lambda z, s: asyncio.wait_for(s.recv(), 10)),
    "send": by(lambda z, s: s.send(b"1"), "push"),
    "send_multipart": by(lambda z, s: s.send_multipart([b"1", b"2"]), "push"),
    "send_many": by(lambda z, s: s.send_many([b"1"]), "push"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_task_that_never_waits_gives_its_loop_a_turn(zmq, run, way):
    async def test(context):
        push, pull = await flood(zmq, context)
        turns = Turns()
        served = 0
        async for _ in WAYS[way](zmq, push, pull):
            turns.call()
            served += 1
            if served == MESSAGES:
                break
        turns.stop()
        assert turns.calls_max <= BETWEEN_TURNS_MAX
        return turns.count

    turns = run(test)
    if way != "wait_for":  # which gives way each time before Python 3.12
        assert MESSAGES / BETWEEN_TURNS_MAX <= turns < MESSAGES / 5


def test_slow_work_gives_way_after_each_message(zmq, run, clock):
    async def test(context):
        _, pull = await flood(zmq, context)
        clock[0] = 0.003
        await pull.recv()
        turns = Turns()
        for _ in range(20):
            await pull.recv()
            turns.call()
        turns.stop()
        assert turns.calls_max <= 2

    run(test)


def test_the_turn_comes_between_messages(zmq, run):
    """Of several parts: nobody comes between them, on either side."""

    async def test(context):
        push, pull = await flood(zmq, context, parts=3)
        turns = Turns()
        at_part = 0
        for _ in range(MESSAGES):
            for part in range(3):
                before = turns.count
                await pull.recv()
                if part < 2:
                    assert turns.count == before
                at_part += turns.count != before
            for part in range(3):
                before = turns.count
                await push.send(b"x", zmq.SNDMORE if part < 2 else 0)
                if part < 2:
                    assert turns.count == before
        turns.stop()
        assert turns.count > MESSAGES * 6 / BETWEEN_TURNS_MAX / 2

    run(test)


def test_a_task_that_is_cancelled_in_its_pause_has_taken_nothing(zmq, run, clock):
    async def test(context):
        push, pull = pair(zmq, context)
        for n in range(4):
            await push.send(b"%d" % n)
        clock[0] = 0.003

        async def receive(call):
            return await call()

        await pull.recv()
        for call in (pull.recv, pull.recv_multipart, pull.recv_string, lambda: pull.recv_many(1)):
            _ = pull.poll(0), pull.poll(0)  # nobody awaits them: it is the loop's turn
            task = asyncio.create_task(receive(call))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert [await pull.recv() for _ in range(3)] == [b"1", b"2", b"3"]
        assert not await pull.poll(0)

    run(test)


def test_what_is_there_is_done_whoevers_turn_it_is(zmq, run, clock):
    """The future is done; only who awaits it gives way."""

    async def test(context):
        push, pull = await flood(zmq, context)
        clock[0] = 0.003
        for _ in range(20):
            assert push.send(b"x").done()
            assert pull.recv().result() == b"1"
            assert pull.recv_json(zmq.DONTWAIT).result() == 1
            assert pull.poll(0).result()

    run(test)


def test_tornado_tasks_give_way(zmq, clock):
    from tornado.ioloop import IOLoop

    future_zmq = importlib.import_module(f"{zmq.__name__}.eventloop.future")

    async def test():
        with future_zmq.Context() as context:
            _, pull = await flood(zmq, context)
            turns = Turns()
            for _ in range(MESSAGES):
                await pull.recv()
                turns.call()
            turns.stop()
            context.destroy(linger=0)
            assert turns.calls_max <= BETWEEN_TURNS_MAX

    IOLoop(make_current=False).run_sync(test)


def test_a_stream_gives_way_to_others_after_slow_callbacks(zmq, ctx, clock):
    from tornado.ioloop import IOLoop

    async def test():
        push, pull = pair(zmq, ctx)
        for _ in range(200):
            push.send(b"x")
        stream = importlib.import_module(f"{zmq.__name__}.eventloop.zmqstream").ZMQStream(pull)
        turns = Turns()
        done = asyncio.Event()
        left = [200]

        def received(message):
            turns.call()
            left[0] -= 1
            if not left[0]:
                done.set()

        clock[0] = 0.003
        stream.on_recv(received)
        await done.wait()
        turns.stop()
        stream.close(0)
        push.close(0)
        assert turns.calls_max <= 4  # by its handler and by its callback

    IOLoop(make_current=False).run_sync(test)


GREEN_WAYS = {
    "recv": lambda z, push, pull: pull.recv(),
    "recv_multipart": lambda z, push, pull: pull.recv_multipart(),
    "recv_many": lambda z, push, pull: pull.recv_many(1),
    "recv_into": lambda z, push, pull: pull.recv_into(bytearray(10)),
    "poll": lambda z, push, pull: pull.poll(),
    "send": lambda z, push, pull: push.send(b"x"),
    "send_multipart": lambda z, push, pull: push.send_multipart([b"x", b"y"]),
    "send_many": lambda z, push, pull: push.send_many([b"x"]),
}


@pytest.mark.parametrize("way", GREEN_WAYS)
def test_a_greenlet_that_never_waits_gives_its_hub_a_turn(zmq, clock, way):
    gevent = pytest.importorskip("gevent")

    def test(context):
        push, pull = pair(zmq, context, sndhwm=0, rcvhwm=0)
        for _ in range(MESSAGES + 100):
            push.send(b"x")
        calls, calls_max, over = [0], [0], [False]

        def ticker():
            while not over[0]:
                calls_max[0] = max(calls_max[0], calls[0])
                calls[0] = 0
                gevent.sleep(0)

        other = gevent.spawn(ticker)
        gevent.sleep(0)
        for _ in range(MESSAGES):
            GREEN_WAYS[way](zmq, push, pull)
            calls[0] += 1
        over[0] = True
        calls_max[0] = max(calls_max[0], calls[0])
        other.join()
        assert 1 < calls_max[0] <= BETWEEN_TURNS_MAX

    run_green(zmq, test)


def test_a_greenlet_that_may_not_wait_does_not_give_way(zmq, clock):
    """DONTWAIT and a timeout of 0: nobody else runs meanwhile, as in pyzmq; nor between parts."""
    gevent = pytest.importorskip("gevent")

    def test(context):
        push, pull = pair(zmq, context)
        clock[0] = 0.003
        ran = []
        gevent.spawn(ran.append, 1)
        for _ in range(20):
            push.send(b"x", zmq.DONTWAIT)
            push.send_multipart([b"x", b"y"], zmq.DONTWAIT)
            pull.recv(zmq.DONTWAIT)
            pull.recv_multipart(zmq.DONTWAIT)
            assert not pull.poll(0)
        assert not ran
        push.send(b"1", zmq.SNDMORE)
        before = len(ran)
        push.send(b"2", zmq.SNDMORE)
        push.send(b"3")
        assert len(ran) == before
        pull.recv()
        before = len(ran)
        assert (pull.recv(), pull.recv()) == (b"2", b"3")
        assert len(ran) == before

    run_green(zmq, test)
