"""asyncio: who is cancelled has taken nothing."""

from __future__ import annotations

import asyncio
import random

import pytest
from support.loops import pair, ticks

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
