"""asyncio's Poller: what it mixes, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest
from support.loops import live_timers, pair, ticks, watched


def test_a_poller_mixes_sockets_and_descriptors(zmq, zaio, run):
    async def test(context):
        push, pull = pair(zmq, context)
        sync_context = zmq.Context(context)
        sync_push, sync_pull = pair(zmq, sync_context, address="tcp")
        reading, writing = os.pipe()
        poller = zaio.Poller()
        for subject in (pull, sync_pull, reading):
            poller.register(subject, zmq.POLLIN)
        assert poller.poll(0).result() == []
        assert await poller.poll(10) == []
        acts = {
            pull: lambda: push.send(b"x"),
            sync_pull: lambda: sync_push.send(b"x"),
            reading: lambda: os.write(writing, b"x"),
        }
        for subject, act in acts.items():
            waiting, other = poller.poll(), poller.poll()
            await ticks(2)
            assert not waiting.done()
            act()
            assert await waiting == await other == [(subject, zmq.POLLIN)]
            poller.unregister(subject)
        os.close(reading)
        os.close(writing)
        sync_push.close(0)
        sync_pull.close(0)

    run(test)


def test_a_poll_that_is_over_leaves_nothing_behind(zmq, zaio, run):
    async def test(context):
        with zmq.Context(context).socket(zmq.PULL) as sync:
            pull = context.socket(zmq.PULL)
            poller = zaio.Poller()
            poller.register(pull, zmq.POLLIN)
            poller.register(sync, zmq.POLLIN)
            loop = asyncio.get_running_loop()
            timers = len(live_timers(loop))
            _ = sync.FD
            await poller.poll(10)
            cancelled = poller.poll(50_000)
            cancelled.cancel()
            await ticks(2)
            assert len(live_timers(loop)) == timers
            assert len(pull._recv_futures) == 0
            assert len(watched(loop)) <= 1

    run(test)


@pytest.mark.parametrize("unregister", [False, True])
def test_a_poll_whose_socket_is_closed_is_cancelled(zmq, zaio, run, unregister):
    """Registered by then or not; nothing reaches the loop's exception handler."""

    async def test(context):
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        push, pull = pair(zmq, context)
        other = context.socket(zmq.PULL)
        poller = zaio.Poller()
        for s in (other, pull):
            poller.register(s, zmq.POLLIN)
        waiting = asyncio.ensure_future(poller.poll())
        await ticks(2)
        if unregister:
            poller.unregister(other)
        other.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await push.send(b"x")
        assert await pull.poll(0) == zmq.POLLIN
        await ticks(2)
        assert not complaints

    run(test)


@pytest.mark.parametrize("kind", ["asynchronous", "synchronous"])
def test_a_socket_that_was_closed_before_is_not_waited_for(zmq, zaio, run, on_libzmq, kind):
    """The others are served; alone, it is an error."""
    if on_libzmq:
        pytest.skip("pyzmq raises in any case")

    async def test(context):
        push, pull = pair(zmq, context)
        closed = (context if kind == "asynchronous" else zmq.Context(context)).socket(zmq.SUB)
        poller = zaio.Poller()
        for s in (closed, pull):
            poller.register(s, zmq.POLLIN)
        closed.close()
        assert await poller.poll(0) == []
        waiting = asyncio.ensure_future(poller.poll())
        await ticks(2)
        await push.send(b"x")
        assert await waiting == [(pull, zmq.POLLIN)]
        poller.unregister(pull)
        assert await poller.poll(0) == []
        with pytest.raises(zmq.ZMQError) as info:
            await poller.poll()
        assert info.value.errno == zmq.ENOTSOCK

    run(test)


def test_a_socket_that_another_object_closes_does_not_end_a_poll(zmq, zaio, run, on_libzmq):
    """Nor does it reach the loop's exception handler."""
    if on_libzmq:
        pytest.skip("pyzmq raises ENOTSOCK once the time is up")

    async def test(context):
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        push, pull = pair(zmq, context)
        other = context.socket(zmq.PULL)
        poller = zaio.Poller()
        for s in (other, pull):
            poller.register(s, zmq.POLLIN)
        waiting = asyncio.ensure_future(poller.poll())
        await ticks(2)
        zmq.Socket.shadow(other).close()
        await ticks(2)
        await push.send(b"x")
        assert await waiting == [(pull, zmq.POLLIN)]
        assert not complaints

    run(test)


def test_a_poll_that_finds_no_descriptors_leaves_none_behind(zmq, zaio, run, on_libzmq):
    """The exception is in the future, and what was watched by then is let go of."""
    if on_libzmq:
        pytest.skip("of our own making")

    async def test(context):
        reading, writing = os.pipe()
        poller = zaio.Poller()
        poller.register(context.socket(zmq.PULL), zmq.POLLIN)
        poller.register(reading, zmq.POLLIN)
        poller.register(zmq.Context(context).socket(zmq.PULL), zmq.POLLIN)
        asynchronous, _, synchronous = (s for s, _ in poller.sockets)
        _ = synchronous.FD
        loop = asyncio.get_running_loop()
        await asynchronous.poll(1)
        timers, before, dup = len(live_timers(loop)), len(os.listdir("/proc/self/fd")), os.dup
        with pytest.MonkeyPatch.context() as patch:
            answers = [dup(reading)]

            def none_left(fd):
                if not answers:
                    raise OSError(errno.EMFILE, "none left")
                return answers.pop()

            patch.setattr(os, "dup", none_left)
            with pytest.raises(OSError) as info:
                await poller.poll(50_000)
        assert info.value.errno == errno.EMFILE
        await ticks(2)
        assert len(live_timers(loop)) == timers
        assert len(asynchronous._recv_futures) == 0
        assert len(watched(loop)) <= 1
        assert len(os.listdir("/proc/self/fd")) == before
        synchronous.close()
        os.close(reading)
        os.close(writing)

    run(test)
