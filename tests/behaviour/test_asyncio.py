"""asyncio: futures that are done at once when they can be, and cancellations that lose nothing.

What the descriptor under it promises: S-90 to S-93.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import importlib
import os
import random
import threading

import pytest
from support import TIMEOUT, fresh_inproc
from support.loops import pair, run_asyncio


@pytest.fixture(scope="module")
def zaio(zmq):
    """The asyncio module of the module under test."""
    return importlib.import_module(zmq.__name__ + ".asyncio")


@pytest.fixture
def run(zmq):
    """run(test): runs ``await test(context)`` in a loop of its own; sockets are closed in it."""
    return functools.partial(run_asyncio, zmq)


async def ticks(count=1):
    for _ in range(count):
        await asyncio.sleep(0)


def live_timers(loop):
    return [handle for handle in loop._scheduled if not handle.cancelled()]


def watched(loop):
    """Descriptors in the loop, its own pipe apart."""
    return [fd for fd in loop._selector.get_map() if fd != loop._ssock.fileno()]


# --- at once -------------------------------------------------------------------------------------


def test_what_can_be_done_at_once_is_done_when_the_call_returns(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context)
        sent = [push.send(b"1"), push.send_multipart([b"2", b"3"]), push.send_json({"a": 4})]
        assert all(future.done() for future in sent)
        received = [pull.recv(), pull.recv_multipart(), pull.recv_json()]
        assert [f.result() for f in received] == [b"1", [b"2", b"3"], {"a": 4}]

    run(test)


@pytest.mark.parametrize("address", ["inproc", "tcp"])
def test_those_who_wait_are_served_in_their_order(zmq, run, address):
    async def test(context):
        push, pull = pair(zmq, context, address=address)
        futures = [pull.recv() for _ in range(50)]
        for i in range(50):
            await push.send(b"%d" % i)
        assert await asyncio.gather(*futures) == [b"%d" % i for i in range(50)]

    run(test)


def test_one_wake_up_serves_many(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context)
        futures = [pull.recv() for _ in range(50)]
        for i in range(50):
            push.send(b"%d" % i)
        assert await futures[0] == b"0"
        assert all(future.done() for future in futures)

    run(test)


def test_sends_that_wait_leave_in_their_order(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context, sndhwm=1, rcvhwm=1)
        futures = [push.send(b"%d" % i) for i in range(20)]
        assert not futures[-1].done()
        assert len(push._send_futures) > 0
        assert [await pull.recv() for _ in range(20)] == [b"%d" % i for i in range(20)]
        await asyncio.gather(*futures)
        assert len(push._send_futures) == 0

    run(test)


@pytest.mark.parametrize(
    "send, recv, value",
    [
        ("send_string", "recv_string", "é"),
        ("send_json", "recv_json", [1, {"b": None}]),
        ("send_pyobj", "recv_pyobj", (1, 2)),
        ("send_multipart", "recv_multipart", [b"a", b"b"]),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_every_kind_of_message_arrives_early_or_late(zmq, run, send, recv, value, early):
    async def test(context):
        push, pull = pair(zmq, context)
        future = getattr(pull, recv)() if early else None
        await getattr(push, send)(value)
        assert await (future or getattr(pull, recv)()) == value

    run(test)


def test_recv_into_fills_the_buffer_when_the_message_comes(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context)
        buffer = bytearray(8)
        future = pull.recv_into(buffer)
        await push.send(b"hello")
        assert await future == 5
        assert buffer == b"hello\0\0\0"

    run(test)


def test_frames_and_trackers_come_through(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context)
        tracker = await push.send(bytes(100_000), copy=False, track=True)
        frame = await pull.recv(copy=False)
        assert isinstance(frame, zmq.Frame) and len(frame) == 100_000
        del frame
        assert await asyncio.to_thread(tracker.wait, TIMEOUT) is None

    run(test)


def test_a_failing_load_is_the_futures_exception(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context)
        waiting = pull.recv_json()
        await push.send(b"{")
        await push.send(b"{")
        with pytest.raises(ValueError):
            await waiting
        with pytest.raises(ValueError):
            await pull.recv_json()

    run(test)


def test_errors_of_the_engine_are_in_the_future(zmq, run):
    async def test(context):
        req, _ = pair(zmq, context, "REQ REP")
        with pytest.raises(zmq.ZMQError) as info:
            await req.recv()
        assert info.value.errno == zmq.EFSM

    run(test)


def test_a_receive_that_waits_is_told_of_what_a_send_took_in(zmq, run):
    """A send may take messages off the wire: the descriptor does not tell of those."""

    async def test(context):
        server, client = pair(zmq, context, "DEALER DEALER", "tcp")

        async def echo():
            while True:
                await server.send(await server.recv())

        echoing = asyncio.create_task(echo())
        for i in range(300):
            answer = client.recv()
            await client.send(b"%d" % i)
            await client.send(b"")
            assert await answer == b"%d" % i
            assert await client.recv() == b""
        echoing.cancel()

    run(test)


# --- cancelling ----------------------------------------------------------------------------------


RECEIVERS = {
    "recv": b"[1]",
    "recv_multipart": [b"[1]"],
    "recv_string": "[1]",
    "recv_json": [1],
}


@pytest.mark.parametrize("recv", RECEIVERS)
def test_a_cancelled_receive_takes_no_message(zmq, run, recv):
    async def test(context):
        push, pull = pair(zmq, context)
        first, second = getattr(pull, recv)(), getattr(pull, recv)()
        first.cancel()
        await push.send(b"[1]")
        assert await second == RECEIVERS[recv]
        assert first.cancelled()
        assert len(pull._recv_futures) == 0

    run(test)


async def cancel_in_the_tick_of_delivery(pull, send, receive):
    """The task that runs ``receive`` is given a message, and cancelled before it sees it."""
    before = pull.recv()
    task = asyncio.create_task(receive())
    await ticks(2)
    # Both are served by one wake-up; what the first one calls back comes before the task's turn.
    before.add_done_callback(lambda _: task.cancel())
    send()
    await before
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("recv", RECEIVERS)
@pytest.mark.parametrize("again", RECEIVERS)
def test_a_message_given_to_a_task_that_is_cancelled_is_received_next(zmq, run, recv, again):
    async def test(context):
        push, pull = pair(zmq, context)

        async def receive():
            return await getattr(pull, recv)()

        def send():
            push.send(b"before")
            push.send(b"[1]")
            push.send(b"after")

        await cancel_in_the_tick_of_delivery(pull, send, receive)
        assert pull.events & zmq.POLLIN
        assert await pull.poll(0) == zmq.POLLIN
        assert await getattr(pull, again)() == RECEIVERS[again]
        assert await pull.recv() == b"after"
        assert await pull.poll(0) == 0

    run(test)


def test_a_task_that_is_cancelled_when_its_socket_is_closed_hears_of_the_cancellation(zmq, run):
    """Though the message it was given has nowhere to go back to."""

    async def test(context):
        push, pull = pair(zmq, context)

        async def receive():
            await pull.recv()

        def end():
            task.cancel()
            pull.close()

        before = pull.recv()
        task = asyncio.create_task(receive())
        await ticks(2)
        before.add_done_callback(lambda _: end())
        push.send(b"before")
        push.send(b"given to the task")
        await before
        with pytest.raises(asyncio.CancelledError):
            await task

    run(test)


@pytest.mark.parametrize("recv", ["recv", "recv_multipart"])
def test_parts_that_were_given_back_keep_together(zmq, run, recv):
    async def test(context):
        push, pull = pair(zmq, context)

        async def receive():
            return await getattr(pull, recv)()

        def send():
            push.send(b"before")
            push.send_multipart([b"1", b"2", b"3"])

        await cancel_in_the_tick_of_delivery(pull, send, receive)
        frame = await pull.recv(copy=False)
        assert (frame.bytes, frame.more, pull.rcvmore) == (b"1", True, 1)
        await push.send(b"after")
        assert await pull.recv_multipart() == [b"2", b"3"]
        assert pull.rcvmore == 0
        assert await pull.recv() == b"after"

    run(test)


def test_a_message_given_back_goes_to_who_waits_already(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context)

        async def receive():
            return await pull.recv()

        def send():
            push.send(b"before")
            push.send(b"1")
            waiting.append(pull.recv())

        waiting = []
        await cancel_in_the_tick_of_delivery(pull, send, receive)
        assert await waiting[0] == b"1"

    run(test)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cancelling_at_random_loses_nothing(zmq, run, seed):
    async def test(context):
        push, pull = pair(zmq, context, address="tcp")
        rng = random.Random(seed)
        total, got = 300, set()

        async def receive():
            got.add(await pull.recv_json())

        async def produce():
            for i in range(total):
                await push.send_json(i)
                await ticks(rng.randrange(4))

        producing = asyncio.create_task(produce())
        tasks = []
        while len(got) < total:
            tasks.append(asyncio.create_task(receive()))
            await ticks(rng.randrange(3))
            if rng.random() < 0.5:
                rng.choice(tasks).cancel()
            tasks = [task for task in tasks if not task.done()] or tasks[-1:]
        await producing
        assert got == set(range(total))
        for task in tasks:
            task.cancel()

    run(test)


# --- time ----------------------------------------------------------------------------------------


def test_timeouts_end_in_again(zmq, run):
    async def test(context):
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        push.sndtimeo = pull.rcvtimeo = 30
        for call in (pull.recv, pull.recv_json, pull.recv_multipart, lambda: push.send(b"")):
            future = call()
            assert not future.done()
            with pytest.raises(zmq.Again):
                await future
        assert len(pull._recv_futures) == len(push._send_futures) == 0

    run(test)


@pytest.mark.parametrize("how", ["DONTWAIT", "a timeout of 0"])
def test_who_may_not_wait_hears_at_once(zmq, run, how):
    async def test(context):
        pull = context.socket(zmq.PULL)
        pull.rcvtimeo = 0
        future = pull.recv(zmq.DONTWAIT if how == "DONTWAIT" else 0)
        with pytest.raises(zmq.Again):
            await future

    run(test)


def test_poll_tells_events_or_nothing(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context)
        assert pull.poll(0).result() == 0
        assert await pull.poll(10) == 0
        waiting = pull.poll()
        assert not waiting.done()
        await push.send(b"x")
        assert await waiting == zmq.POLLIN
        assert pull.poll(1000).result() == zmq.POLLIN
        assert await push.poll(1000, zmq.POLLIN | zmq.POLLOUT) == zmq.POLLOUT
        assert len(pull._recv_futures) == 0

    run(test)


def test_nothing_is_left_in_the_loop(zmq, run):
    """Timers of what was done, cancelled or timed out, and readers of closed sockets."""

    async def test(context):
        loop = asyncio.get_running_loop()
        timers, tasks = len(live_timers(loop)), asyncio.all_tasks()
        push, pull = pair(zmq, context, rcvtimeo=50_000, sndtimeo=50_000)
        done, cancelled, polled = pull.recv(), pull.recv(), pull.poll(50_000)
        cancelled.cancel()
        await push.send(b"1")
        await push.send(b"2")
        assert await done == b"1"
        assert await polled == zmq.POLLIN
        closed = [pull.recv(), pull.recv(), pull.poll(50_000)]
        push.close()
        pull.close()
        await ticks(2)
        assert closed[0].result() == b"2"
        assert closed[1].cancelled() and closed[2].cancelled()
        assert len(live_timers(loop)) == timers
        assert watched(loop) == []
        assert asyncio.all_tasks() == tasks

    run(test)


@pytest.mark.parametrize("address", ["inproc", "tcp"])
def test_unread_messages_cost_no_time(zmq, run, address):
    """D7: with messages that nobody asks for, the loop sleeps."""

    async def test(context):
        push, pull = pair(zmq, context, address=address)
        waiting = pull.recv()
        for _ in range(100):
            await push.send(b"x" * 100)
        assert await waiting
        assert await pull.poll(1000)
        await asyncio.sleep(0.05)
        loop = asyncio.get_running_loop()
        rounds, select = 0, loop._selector.select

        def count(timeout=None):
            nonlocal rounds
            rounds += 1
            return select(timeout)

        loop._selector.select = count
        await asyncio.sleep(0.2)
        loop._selector.select = select
        assert rounds < 10

    run(test)


def always_spins(pull, push):
    """Has a message come while a task spins for it, each time. Returns the list of the spins."""
    spins = []

    def spin():
        spins.append(push._shadow_sock.send(b"x"))
        return True

    pull._waits.sync._spin = spin
    return spins


def test_a_task_whose_messages_come_while_it_spins_leaves_the_loop_to_others(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context)
        spins = always_spins(pull, push)
        others = []

        def on_time():
            others.append("a timer")
            push._shadow_sock.send(b"x")  # nobody spins on while there is more to do

        asyncio.get_running_loop().call_later(0.001, on_time)
        for _ in range(1_000_000):
            assert await pull.recv() == b"x"
            if others:
                break
        assert others and spins

    run(test)


def test_nobody_spins_while_the_loop_has_something_to_do(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context)
        spins = always_spins(pull, push)
        asyncio.get_running_loop().call_soon(push._shadow_sock.send, b"y")
        assert await pull.recv() == b"y"
        assert not spins
        assert await pull.recv() == b"x"
        assert len(spins) == 1

    run(test)


def test_nobody_spins_while_others_wait_for_the_same_socket(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context)
        spins = always_spins(pull, push)
        first, second = pull.recv(), pull.recv()
        await ticks(3)
        asyncio.get_running_loop().call_later(0.01, push._shadow_sock.send, b"1")
        asyncio.get_running_loop().call_later(0.02, push._shadow_sock.send, b"2")
        assert [await second, await first] == [b"2", b"1"]
        assert not spins

    run(test)


# --- lifetimes -----------------------------------------------------------------------------------


def test_a_socket_serves_several_loops_in_turn(zmq, zaio):
    with zaio.Context() as context:
        push, pull = pair(zmq, context, address="tcp")

        async def exchange(i):
            waiting = pull.recv()
            await push.send(b"%d" % i)
            assert await asyncio.wait_for(waiting, TIMEOUT) == b"%d" % i
            pull.recv()  # the loop ends with it

        for i in range(3):
            asyncio.run(exchange(i))
            assert len(pull._recv_futures) <= 1
        push.close(0)
        pull.close(0)


def test_a_socket_lives_as_long_as_somebody_waits_for_it(zmq, run):
    async def test(context):
        push = context.socket(zmq.PUSH)
        push.bind(fresh_inproc())

        def wait():
            pull = context.socket(zmq.PULL)
            pull.connect(push.LAST_ENDPOINT.decode())
            return pull.recv()

        future = wait()
        await push.send(b"x")
        with pytest.warns(ResourceWarning):  # once it has come
            assert await future == b"x"
            del future
            await ticks(2)

    run(test)


def test_close_cancels_those_who_wait(zmq, run):
    async def test(context):
        pull = context.socket(zmq.PULL)
        futures = [pull.recv(), pull.recv_json(), pull.poll()]
        pull.close()
        assert all(future.cancelled() for future in futures)
        with pytest.raises(zmq.ZMQError) as info:
            await pull.recv()
        assert info.value.errno == zmq.ENOTSOCK
        with pytest.raises(zmq.ZMQError) as info:
            await pull.poll()
        assert info.value.errno == zmq.ENOTSUP

    run(test)


def test_the_end_of_the_context_reaches_those_who_wait(zmq, run):
    async def test(context):
        pull = context.socket(zmq.PULL)
        waiting = pull.recv()
        ender = threading.Thread(target=context.term)
        ender.start()
        try:
            with pytest.raises(zmq.ContextTerminated):
                await waiting
        finally:
            pull.close()
            await asyncio.to_thread(ender.join, TIMEOUT)
        assert not ender.is_alive()

    run(test)


def test_async_for_receives_until_the_socket_is_closed(zmq, run):
    async def test(context):
        push, pull = pair(zmq, context)
        got = []

        async def consume():
            async for body in pull:
                got.append(body)
            return "end"

        consuming = asyncio.create_task(consume())
        for i in range(5):
            await push.send(b"%d" % i)
            await ticks()
        while len(got) < 5:
            await ticks()
        pull.close()
        assert await consuming == "end"
        assert got == [b"%d" % i for i in range(5)]

    run(test)


def test_async_for_can_be_cancelled(zmq, run):
    async def test(context):
        _, pull = pair(zmq, context)

        async def consume():
            async for _ in pull:
                pass

        consuming = asyncio.create_task(consume())
        await ticks(2)
        consuming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consuming
        assert not pull.closed

    run(test)


def test_a_synchronous_socket_gets_an_asynchronous_face(zmq, zaio, run):
    async def test(context):
        sync_context = zmq.Context(context)
        push, sync = pair(zmq, sync_context)
        for pull in (zaio.Socket.from_socket(sync), zaio.Socket(sync)):
            waiting = pull.recv()
            push.send(b"x")
            assert await waiting == b"x"
            assert pull.underlying == sync.underlying
            del pull
        assert not sync.closed
        push.close(0)
        sync.close(0)

    run(test)


def test_the_calls_of_a_synchronous_subclass_are_what_its_asynchronous_face_calls(zmq, zaio, run):
    class Loud(zmq.Socket):
        def send(self, data, flags=0, copy=True, track=False):
            return super().send(data.upper(), flags, copy, track)

        def recv(self, flags=0, copy=True, track=False):
            return super().recv(flags, copy, track) + b"!"

    async def test(context):
        sync_context = zmq.Context(context)
        with Loud(sync_context, zmq.PAIR) as a, sync_context.socket(zmq.PAIR) as b:
            b.bind(fresh_inproc())
            a.connect(b.LAST_ENDPOINT.decode())
            pair = zaio.Socket.from_socket(a)
            waiting = [pair.recv(), pair.recv_multipart(), pair.recv_into(bytearray(2))]
            assert not any(future.done() for future in waiting)
            for _ in waiting:
                b.send(b"x")
            assert [await future for future in waiting] == [b"x!", [b"x!"], 1]
            await pair.send(b"y")
            await pair.send_multipart([b"y", b"z"])
            assert [b.recv() for _ in range(3)] == [b"Y", b"Y", b"Z"]
            with pytest.raises(zmq.Again):
                await pair.recv(zmq.DONTWAIT)

    run(test)


def test_the_instance_is_not_the_synchronous_one(zmq, zaio):
    ours, other = zaio.Context.instance(), zmq.Context.instance()
    try:
        assert type(ours) is zaio.Context and type(other) is zmq.Context
        assert zaio.Context.instance() is ours
    finally:
        ours.term()
        other.term()


def test_outside_of_a_loop_there_is_a_warning(zmq, zaio):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        with zaio.Context() as context, context.socket(zmq.PULL) as pull:
            with pytest.warns(RuntimeWarning, match="loop"):
                pull.recv()
    finally:
        asyncio.set_event_loop(None)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


# --- Poller --------------------------------------------------------------------------------------


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
