"""asyncio: futures that are done at once when they can be, and cancellations that lose nothing.

What the descriptor under it promises: S-90 to S-93.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import threading

import pytest
from support import TIMEOUT, fresh_inproc
from support.loops import live_timers, pair, ticks, watched

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


def test_who_may_not_wait_does_not_overtake_those_who_do(zmq, run):
    async def test(context):
        router = context.socket(zmq.ROUTER)
        router.set(zmq.SNDHWM, 1)
        router.set(zmq.ROUTER_MANDATORY, 1)
        address = fresh_inproc()
        router.bind(address)
        peers = {}
        for name in (b"a", b"b"):
            peers[name] = dealer = context.socket(zmq.DEALER)
            dealer.set(zmq.RCVHWM, 1)
            dealer.set(zmq.ROUTING_ID, name)
            dealer.connect(address)
            await dealer.send(b"")
            await router.recv_multipart()
        waiting = []
        while not waiting or waiting[-1].done():
            waiting.append(router.send_multipart([b"a", b"x"]))
        waiting.append(router.send_multipart([b"b", b"first"]))
        late = router.send_multipart([b"b", b"late"], zmq.DONTWAIT)
        for _ in range(len(waiting) - 1):
            assert await peers[b"a"].recv() == b"x"
        assert await peers[b"b"].recv() == b"first"
        await asyncio.gather(*waiting)
        with contextlib.suppress(zmq.Again):
            await late

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


def test_a_receive_that_waits_is_told_of_what_a_refused_send_took_in(zmq, run):
    async def test(context):
        options = {"sndhwm": 1, "rcvhwm": 1, "linger": 0}
        server, client = pair(zmq, context, "DEALER DEALER", "tcp", **options)
        body = b"x" * 50_000
        waiting = client.send(body)
        while (await asyncio.wait([waiting], timeout=0.05))[0]:  # until there is no room
            waiting = client.send(body)
        waiting.cancel()
        for number in range(3):
            waiting = client.recv()
            await asyncio.sleep(0.01)
            server._shadow_sock.send(b"%d" % number)
            select.select([client.FD], [], [], TIMEOUT)
            with contextlib.suppress(zmq.Again):
                while True:
                    await client.send(body, zmq.DONTWAIT)
            assert (await asyncio.wait([waiting], timeout=TIMEOUT))[0]
            assert waiting.result() == b"%d" % number

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
        assert pull.poll(30_000).result() == zmq.POLLIN
        assert await push.poll(30_000, zmq.POLLIN | zmq.POLLOUT) == zmq.POLLOUT
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
        assert await pull.poll(30_000)
        loop = asyncio.get_running_loop()
        rounds, select = 0, loop._selector.select

        def count(timeout=None):
            nonlocal rounds
            rounds += 1
            return select(timeout)

        loop._selector.select = count
        try:
            while True:  # until what is under way has come: then nothing happens any more
                rounds = 0
                await asyncio.sleep(0.05)
                if rounds <= 2:
                    break
        finally:
            loop._selector.select = select

    run(test)


def always_spins(pull, push):
    """Has a message come while a task spins for it, each time. Returns the list of the spins."""
    spins = []

    def spin():
        spins.append(push._shadow_sock.send(b"x"))
        return True

    pull._zm_waits.sync._zm_spin = spin
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


def test_nobody_spins_while_others_wait_for_room(zmq, run):
    """The spin would take in that there is room, and the descriptor not tell of it."""

    async def test(context):
        server, client = pair(zmq, context, "DEALER DEALER", sndhwm=1, rcvhwm=1)
        spins = always_spins(client, server)
        while client.send(b"").done():
            pass
        answer = client.recv()
        await ticks(3)
        asyncio.get_running_loop().call_later(0.01, server._shadow_sock.send, b"y")
        assert await answer == b"y"
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
