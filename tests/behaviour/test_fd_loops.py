"""No wake-up is missed in event loops, over very many random interleavings of what can be done.

Two sockets that send to each other, with little room, in one loop or in a thread each. Every loop
sleeps on ``FD`` alone, while sends and looks at EVENTS take in what a receive is to be woken for. A
sender often sends nothing more until all has arrived: then only the descriptor can wake whoever
waits, and a wake-up that was missed stops everything. S-90 to S-93.

``ZM_FD_INTERLEAVINGS`` is their number in each of the 12 tests.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import os
import random
from concurrent.futures import Future

import pytest
from support import TIMEOUT, TRANSPORTS, Background, bind_over
from support.loops import pair, run_asyncio, run_green

try:
    import gevent
except ModuleNotFoundError:
    gevent = None

INTERLEAVINGS = int(os.environ.get("ZM_FD_INTERLEAVINGS", "5000"))
#: Seconds for all of them: more, and everything has stopped.
LONG = 40 + INTERLEAVINGS * 0.002

pytestmark = pytest.mark.timeout(LONG + 3 * TIMEOUT)
OVER = pytest.mark.parametrize("transport", TRANSPORTS)
needs_gevent = pytest.mark.skipif(gevent is None, reason="gevent is not installed")
ROOM = {"sndhwm": 5, "rcvhwm": 5, "linger": 0}


class Way:
    """The messages of one direction. Now and then both senders stop, until all has arrived."""

    other: Way

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.steps = 0
        self.sent = 0
        self.got: set[int] = set()
        #: How often the sender has stopped; infinite once it has sent all.
        self.stops = 0.0
        self.waits = False

    def step(self) -> int:
        """One thing more is to be done: a random choice of 0 to 99."""
        self.steps += 1
        return self.random.randrange(100)

    @property
    def goes_on(self) -> bool:
        """Is the sender still to send?"""
        return self.steps < INTERLEAVINGS // 2

    @property
    def over(self) -> bool:
        return self.stops == math.inf and self.arrived

    @property
    def arrived(self) -> bool:
        return len(self.got) == self.sent

    @property
    def calm(self) -> bool:
        """No sender does anything to its socket, so receivers may not: a look would hide that a
        wake-up was missed."""
        return self.waits or self.other.waits

    def should_stop(self) -> bool:
        return self.stops < self.other.stops < math.inf

    def stop(self, stops: float = 0) -> None:
        """Until `settled`."""
        self.stops = stops or self.stops + 1
        self.waits = True

    def settled(self) -> bool:
        """Has the other sender stopped as well, and all arrived?"""
        together = self.stops == math.inf or self.other.stops >= self.stops
        self.waits = not (together and self.arrived and self.other.arrived)
        return not self.waits

    def pause(self) -> float:
        """For a moment, seconds."""
        return self.random.choice((0, 0, 0.0002))

    def take(self, body: bytes) -> None:
        number = int(body)
        assert number not in self.got
        self.got.add(number)


def ways() -> list[Way]:
    there, back = Way(1), Way(2)
    there.other, back.other = back, there
    return [there, back]


# --- asyncio -------------------------------------------------------------------------------------


async def ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def send_by_asyncio(zmq, s, way: Way) -> None:
    while way.goes_on:
        choice = way.step()
        body = b"%d" % way.sent
        if choice < 50:
            way.sent += 1
            await s.send(body)
        elif choice < 65:
            way.sent += 1  # before: it may have arrived when the call returns
            try:
                await s.send(body, zmq.DONTWAIT)
            except zmq.Again:
                way.sent -= 1
        elif choice < 70:
            await s.poll(None, zmq.POLLOUT)
        elif choice < 75:
            s.get(zmq.EVENTS)
        elif choice < 90:
            await ticks(way.random.randrange(5))
        if choice >= 90 or way.should_stop():
            way.stop()
            while not way.settled():
                await asyncio.sleep(way.pause())
    way.stop(math.inf)
    while not way.settled():
        await asyncio.sleep(way.pause())


async def receive_by_asyncio(zmq, s, way: Way) -> None:
    while True:
        choice = way.step()
        if way.calm or choice < 30:
            way.take(await s.recv())
        elif choice < 45:
            await s.poll()
        elif choice < 60:
            s.get(zmq.EVENTS)
        elif choice < 75:
            try:
                way.take(await s.recv(zmq.DONTWAIT))
            except zmq.Again:
                await ticks(1)
        elif choice < 90:
            receiving = asyncio.ensure_future(s.recv())
            await ticks(way.random.randrange(4))
            if not receiving.cancel():
                way.take(receiving.result())
        else:
            await ticks(way.random.randrange(5))


async def side_by_asyncio(zmq, s, out: Way, into: Way, receivers: int) -> None:
    """Sends all of ``out``, and receives all of ``into``."""
    tasks = [asyncio.ensure_future(receive_by_asyncio(zmq, s, into)) for _ in range(receivers)]
    tasks.append(asyncio.ensure_future(send_by_asyncio(zmq, s, out)))
    try:
        while not (out.over and into.over):
            for task in (await asyncio.wait(tasks, timeout=0.02))[0]:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@OVER
def test_no_wake_up_is_missed_in_one_loop_of_asyncio(zmq, on_libzmq, transport, ipc_address):
    if on_libzmq:
        pytest.skip("pyzmq over libzmq does miss some: docs/reference/differences.md")

    async def test(context):
        a, b = pair(zmq, context, "DEALER DEALER", transport, ipc_address, **ROOM)
        there, back = ways()
        await asyncio.gather(
            side_by_asyncio(zmq, a, there, back, 1), side_by_asyncio(zmq, b, back, there, 2)
        )

    run_asyncio(zmq, test, LONG)


@OVER
def test_no_wake_up_is_missed_between_two_loops_of_asyncio(zmq, transport, ipc_address):
    zaio = importlib.import_module(zmq.__name__ + ".asyncio")

    def side(context, meet, out, into, receivers):
        async def main():
            with meet(context.socket(zmq.DEALER)) as s:
                await asyncio.wait_for(side_by_asyncio(zmq, s, out, into, receivers), LONG)

        asyncio.run(main())

    in_two_threads(side, zaio.Context, transport, ipc_address, receivers=2)


def in_two_threads(side, context_class, transport, ipc_address, receivers) -> None:
    """Runs both sides; the first one binds."""
    place: Future[str] = Future()

    def first(s):
        prepare(s)
        place.set_result(bind_over(s, transport, ipc_address))
        return s

    def second(s):
        prepare(s)
        s.connect(place.result(TIMEOUT))
        return s

    def prepare(s):
        for name, value in ROOM.items():
            setattr(s, name, value)

    there, back = ways()
    with context_class() as context:
        sides = [
            Background(lambda: side(context, first, there, back, 1)),
            Background(lambda: side(context, second, back, there, receivers)),
        ]
        try:
            for one in sides:
                one.result(LONG + TIMEOUT)
        finally:
            context.destroy(linger=0)


# --- gevent --------------------------------------------------------------------------------------


def naps(count: int) -> None:
    for _ in range(count):
        gevent.sleep(0)


def send_by_gevent(zmq, s, way: Way) -> None:
    while way.goes_on:
        choice = way.step()
        body = b"%d" % way.sent
        if choice < 50:
            way.sent += 1
            s.send(body)
        elif choice < 65:
            way.sent += 1
            try:
                s.send(body, zmq.DONTWAIT)
            except zmq.Again:
                way.sent -= 1
        elif choice < 70:
            s.poll(None, zmq.POLLOUT)
        elif choice < 75:
            s.get(zmq.EVENTS)
        elif choice < 90:
            naps(way.random.randrange(5))
        if choice >= 90 or way.should_stop():
            way.stop()
            while not way.settled():
                gevent.sleep(way.pause())
    way.stop(math.inf)
    while not way.settled():
        gevent.sleep(way.pause())


def receive_by_gevent(zmq, s, way: Way) -> None:
    while True:
        choice = way.step()
        if way.calm or choice < 30:
            way.take(s.recv())
        elif choice < 45:
            s.poll()
        elif choice < 60:
            s.get(zmq.EVENTS)
        elif choice < 75:
            try:
                way.take(s.recv(zmq.DONTWAIT))
            except zmq.Again:
                naps(1)
        elif choice < 90:
            with gevent.Timeout(way.pause(), False):
                way.take(s.recv())
        else:
            naps(way.random.randrange(5))


def side_by_gevent(zmq, s, out: Way, into: Way, receivers: int) -> None:
    """Sends all of ``out``, and receives all of ``into``."""
    greenlets = [gevent.spawn(receive_by_gevent, zmq, s, into) for _ in range(receivers)]
    greenlets.append(gevent.spawn(send_by_gevent, zmq, s, out))
    try:
        while not (out.over and into.over):
            gevent.joinall(greenlets, timeout=0.02, raise_error=True)
    finally:
        gevent.killall(greenlets)


@needs_gevent
@OVER
def test_no_wake_up_is_missed_in_one_hub_of_gevent(zmq, on_libzmq, transport, ipc_address):
    def test(context):
        a, b = pair(zmq, context, "DEALER DEALER", transport, ipc_address, **ROOM)
        there, back = ways()
        # pyzmq lets one greenlet receive.
        both = [
            gevent.spawn(side_by_gevent, zmq, a, there, back, 1),
            gevent.spawn(side_by_gevent, zmq, b, back, there, 1 if on_libzmq else 2),
        ]
        gevent.joinall(both, raise_error=True)

    run_green(zmq, test, LONG)


@needs_gevent
@OVER
def test_no_wake_up_is_missed_between_two_hubs_of_gevent(zmq, on_libzmq, transport, ipc_address):
    green = importlib.import_module(zmq.__name__ + ".green")

    def side(context, meet, out, into, receivers):
        try:
            with meet(context.socket(zmq.DEALER)) as s, gevent.Timeout(LONG):
                gevent.spawn(side_by_gevent, zmq, s, out, into, receivers).get()
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    receivers = 1 if on_libzmq else 2
    in_two_threads(side, green.Context, transport, ipc_address, receivers)
