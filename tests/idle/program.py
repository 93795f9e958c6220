"""A program that waits, for test_idle.py: ``program.py MODULE WAIT SOCKETS live|ended SECONDS``.

Each socket is connected and has had a message, whose receives were armed by a thread that lives on
or has ended. The program then waits for a message that never comes, in one of the ways of `WAITS`,
while a thread counts what that takes of the kernel, and prints it as JSON.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import sys
import threading
import time
from typing import Any

MODULE, WAIT, COUNT, ARMED_BY, SECONDS = sys.argv[1:]
zmq: Any = importlib.import_module(MODULE)
#: A wait settles within this: the looks of a new wait, the drivers that are kept for a while.
SETTLED, PATIENCE = 0.3, 20.0


def entries() -> int:
    """How often the engine looked after its sockets; 0 for libzmq."""
    if MODULE != "zmq_monocoque":
        return 0
    from zmq_monocoque.backend._engine import ffi, lib

    counts = ffi.new("zm_counts *")
    lib.zm_counts_get(counts)
    return int(counts.entries)


def switches() -> int:
    """Of all threads but the one that asks: how often each left the processor."""
    total = 0
    for task in os.listdir("/proc/self/task"):
        if int(task) == threading.get_native_id():
            continue
        # A thread may have ended.
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/status") as status:
            total += sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
    return total


def window() -> dict[str, float]:
    """What a while of waiting takes."""
    counted = entries()
    before = switches()
    used = time.process_time() - time.thread_time()
    time.sleep(float(SECONDS))
    used = time.process_time() - time.thread_time() - used
    return {"cpu": used, "switches": switches() - before, "entries": entries() - counted}


def measure() -> None:
    """Prints the quietest of a few windows, once the wait has settled or the patience is over.

    On a crowded machine the last looks of the engine's thread may fall into the first one. What
    does not sleep, is seen in each of them.
    """
    end, before = time.monotonic() + PATIENCE, -1
    while before != (now := switches()) and time.monotonic() < end:
        before = now
        time.sleep(SETTLED)
    windows = [window()]
    while windows[-1]["switches"] and len(windows) < 3:
        windows.append(window())
    quietest = min(windows, key=lambda w: (w["switches"], w["entries"], w["cpu"]))
    print(json.dumps(quietest), flush=True)
    os._exit(0)


def exchange(pub: Any, sockets: list[Any]) -> None:
    """Until each socket has had a message, which it waited for."""
    for s in sockets:
        while not s.poll(10):
            pub.send(b"x")
        while s.poll(0):
            s.recv()
    pub.send(b"last")
    for s in sockets:
        while s.recv() != b"last":
            pass


def in_recv(sockets: list[Any]) -> None:
    for s in sockets[1:]:
        threading.Thread(target=s.recv, daemon=True).start()
    sockets[0].recv()


def in_poll(sockets: list[Any]) -> None:
    poller = zmq.Poller()
    for s in sockets:
        poller.register(s, zmq.POLLIN)
    poller.poll()


def in_asyncio(sockets: list[Any]) -> None:
    import asyncio

    aio = importlib.import_module(f"{MODULE}.asyncio")

    async def wait() -> None:
        await asyncio.gather(*[aio.Socket(shadow=s.underlying).recv() for s in sockets])

    asyncio.run(wait())


def in_green(sockets: list[Any]) -> None:
    import gevent

    green = importlib.import_module(f"{MODULE}.green")
    gevent.joinall([gevent.spawn(green.Socket(shadow=s.underlying).recv) for s in sockets])


def in_select(sockets: list[Any]) -> None:
    poll = select.poll()
    for s in sockets:
        poll.register(s.FD, select.POLLIN)
        assert not s.EVENTS & zmq.POLLIN
    while poll.poll():
        for s in sockets:
            assert not s.EVENTS & zmq.POLLIN


def in_nothing(sockets: list[Any]) -> None:
    threading.Event().wait()


WAITS = {
    "recv": in_recv,
    "poll": in_poll,
    "asyncio": in_asyncio,
    "green": in_green,
    "select": in_select,
    "nothing": in_nothing,
}


def main() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    context = zmq.Context()
    context.max_sockets = 5000
    pub = context.socket(zmq.PUB)
    pub.sndhwm = 0
    address = f"tcp://127.0.0.1:{pub.bind_to_random_port('tcp://127.0.0.1')}"
    sockets = []
    for _ in range(int(COUNT)):
        s = context.socket(zmq.SUB)
        s.subscribe(b"")
        s.connect(address)
        sockets.append(s)
    if ARMED_BY == "ended":
        first = threading.Thread(target=exchange, args=(pub, sockets))
        first.start()
        first.join()
    else:
        exchange(pub, sockets)
    threading.Thread(target=measure).start()
    WAITS[WAIT](sockets)


main()
