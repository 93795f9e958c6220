"""One side of one workload of ``bench``: a process of its own, on any module shaped like pyzmq.

    python -m zmq_monocoque._cli.workloads ORDER

ORDER is a JSON object: the ``module``, the ``role``, and what the role needs. Who binds prints
``{"endpoint": ...}``; every role prints a last line with what it measured. ``cpu`` is the
processor time of this process, all threads, while the role ran: from the first message to the last,
or to the end of the context where the process is the one that sends. Messages of one empty part
end a role.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import signal
import sys
import tempfile
import threading
import time
from typing import Any

#: How long a call waits before the workload has failed, in milliseconds.
PATIENCE_MS = 10_000
HWM = 10_000
#: A subscriber is read so many messages at a time, and a publisher sends whole blocks.
BLOCK = 64
#: Round trips before the first that counts.
WARM_UP = 200

Order = dict[str, Any]
Answer = dict[str, Any]


class Meter:
    """Time and processor time since it was made."""

    def __init__(self) -> None:
        self.cpu = time.process_time()
        self.began = time.perf_counter()

    def read(self, count: int) -> Answer:
        seconds = time.perf_counter() - self.began
        return {"count": count, "seconds": seconds, "cpu": time.process_time() - self.cpu}


def say(answer: Answer) -> None:
    print(json.dumps(answer), flush=True)


def make(zmq: Any, context: Any, kind: str, order: Order) -> Any:
    socket = context.socket(getattr(zmq, kind))
    socket.sndhwm = socket.rcvhwm = HWM
    socket.rcvtimeo = socket.sndtimeo = socket.linger = PATIENCE_MS
    if "endpoint" in order:
        socket.connect(order["endpoint"])
    return socket


def bind(socket: Any, order: Order) -> None:
    socket.bind(order["bind"])
    endpoint = socket.last_endpoint
    text = endpoint.decode() if isinstance(endpoint, bytes) else endpoint
    say({"endpoint": text.rstrip("\0")})


def batch_of(size: int) -> int:
    """Messages between two looks at the clock."""
    return max(1, min(BLOCK, (1 << 20) // max(size, 1)))


def percentile(samples: list[float], percent: float) -> float:
    """The smallest sample that ``percent`` of them do not exceed; ``samples`` must be sorted."""
    return samples[max(0, math.ceil(len(samples) * percent / 100) - 1)]


# --- streams --------------------------------------------------------------------------------


def pull(zmq: Any, order: Order) -> Answer:
    context = zmq.Context()
    socket = make(zmq, context, "PULL", order)
    bind(socket, order)
    count = 1
    if order["parts"] > 1:
        recv_multipart = socket.recv_multipart
        recv_multipart()
        meter = Meter()
        while len(recv_multipart()) > 1:
            count += 1
    else:
        recv = socket.recv
        recv()
        meter = Meter()
        while recv():
            count += 1
    answer = meter.read(count)
    context.destroy(linger=0)
    return answer


def push(zmq: Any, order: Order) -> Answer:
    context = zmq.Context()
    socket = make(zmq, context, "PUSH", order)
    body, batch = bytes(order["size"]), batch_of(order["size"])
    message = [body] * order["parts"]
    send = socket.send if order["parts"] == 1 else socket.send_multipart
    what: Any = body if order["parts"] == 1 else message
    send(what)
    meter = Meter()
    count, end = 1, time.perf_counter() + order["seconds"]
    while time.perf_counter() < end:
        for _ in range(batch):
            send(what)
        count += batch
    socket.send(b"")
    socket.close()
    context.term()
    return meter.read(count)


def inproc(zmq: Any, order: Order) -> Answer:
    """Both sides in one process, a thread each."""
    context = zmq.Context()
    socket = make(zmq, context, "PULL", {})
    socket.bind("inproc://bench")

    def send_all() -> None:
        push = make(zmq, context, "PUSH", {"endpoint": "inproc://bench"})
        body = bytes(order["size"])
        end = time.perf_counter() + order["seconds"]
        while time.perf_counter() < end:
            for _ in range(BLOCK):
                push.send(body)
        push.send(b"")
        push.close()

    thread = threading.Thread(target=send_all)
    thread.start()
    recv, count = socket.recv, 1
    recv()
    meter = Meter()
    while recv():
        count += 1
    answer = meter.read(count)
    thread.join()
    context.destroy(linger=0)
    return answer


def aio_pull(zmq: Any, order: Order) -> Answer:
    aio = importlib.import_module(zmq.__name__ + ".asyncio")

    async def main() -> Answer:
        context = aio.Context()
        socket = make(zmq, context, "PULL", order)
        bind(socket, order)
        await socket.recv()
        meter, count = Meter(), 1
        while await socket.recv():
            count += 1
        answer = meter.read(count)
        context.destroy(linger=0)
        return answer

    return asyncio.run(main())


def aio_push(zmq: Any, order: Order) -> Answer:
    aio = importlib.import_module(zmq.__name__ + ".asyncio")

    async def main() -> Answer:
        context = aio.Context()
        socket = make(zmq, context, "PUSH", order)
        body = bytes(order["size"])
        await socket.send(body)
        meter, count = Meter(), 1
        end = time.perf_counter() + order["seconds"]
        while time.perf_counter() < end:
            for _ in range(BLOCK):
                await socket.send(body)
            count += BLOCK
        await socket.send(b"")
        socket.close()
        context.term()
        return meter.read(count)

    return asyncio.run(main())


# --- round trips ----------------------------------------------------------------------------


def rep(zmq: Any, order: Order) -> Answer:
    context = zmq.Context()
    socket = make(zmq, context, "REP", order)
    bind(socket, order)
    for _ in range(WARM_UP):
        socket.send(socket.recv())
    meter, count = Meter(), 0
    while message := socket.recv():
        socket.send(message)
        count += 1
    answer = meter.read(count)
    socket.send(b"")
    socket.close()
    context.term()
    return answer


def req(zmq: Any, order: Order) -> Answer:
    context = zmq.Context()
    socket = make(zmq, context, "REQ", order)
    send, recv, clock = socket.send, socket.recv, time.perf_counter
    body = bytes(order["size"])
    for _ in range(WARM_UP):
        send(body)
        recv()
    trips: list[float] = []
    meter = Meter()
    before = clock()
    end = before + order["seconds"]
    while before < end or not trips:
        send(body)
        recv()
        after = clock()
        trips.append(after - before)
        before = after
    answer = meter.read(len(trips))
    send(b"")
    recv()
    context.destroy(linger=0)
    trips.sort()
    return answer | {"p50": percentile(trips, 50), "p99": percentile(trips, 99)}


# --- many peers -----------------------------------------------------------------------------


def router(zmq: Any, order: Order) -> Answer:
    """Sends every message back to where it came from."""
    context = zmq.Context()
    socket = make(zmq, context, "ROUTER", order)
    socket.router_mandatory = True
    bind(socket, order)
    receive, send = socket.recv_multipart, socket.send_multipart
    send(receive())
    meter, count = Meter(), 0
    while True:
        message = receive()
        if not message[1]:
            break
        send(message)
        count += 1
    answer = meter.read(count)
    context.destroy(linger=0)
    return answer


def dealers(zmq: Any, order: Order) -> Answer:
    """Round after round, each has one message on its way."""
    context = zmq.Context()
    sockets = [make(zmq, context, "DEALER", order) for _ in range(order["peers"])]
    body = bytes(order["size"])

    def round_trip() -> None:
        for socket in sockets:
            socket.send(body)
        for socket in sockets:
            socket.recv()

    round_trip()
    meter, rounds = Meter(), 0
    end = time.perf_counter() + order["seconds"]
    while time.perf_counter() < end or not rounds:
        round_trip()
        rounds += 1
    answer = meter.read(rounds * len(sockets))
    sockets[0].send(b"")
    context.destroy(linger=PATIENCE_MS)
    return answer


def publisher(zmq: Any, order: Order) -> Answer:
    """Waits for room instead of dropping, so that every message arrives."""
    context = zmq.Context()
    socket = make(zmq, context, "XPUB", order)
    if hasattr(zmq, "XPUB_NODROP"):
        socket.setsockopt(zmq.XPUB_NODROP, 1)
    else:
        socket.on_mute = zmq.OMQ_ON_MUTE_BLOCK
    bind(socket, order)
    for _ in range(order["peers"] + 1):  # the topic of all, and each one's own
        socket.recv()
    send, body = socket.send, bytes(order["size"])
    meter, count = Meter(), 0
    end = time.perf_counter() + order["seconds"]
    while time.perf_counter() < end or not count:
        for _ in range(BLOCK):
            send(body)
        count += BLOCK
    send(b"")
    socket.close()
    context.term()
    return meter.read(count)


def subscribers(zmq: Any, order: Order) -> Answer:
    """All of them in this process, read in turn. A rate over all of them together."""
    context = zmq.Context()
    sockets = [make(zmq, context, "SUB", order) for _ in range(order["peers"])]
    for i, socket in enumerate(sockets):
        # First, so that whoever is told of its own topic is known to have this one.
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.setsockopt(zmq.SUBSCRIBE, b"only-%d" % i)
    blocks = range(BLOCK - 1)
    first = sockets[0].recv
    first()
    meter, count = Meter(), 0
    while True:
        for socket in sockets:
            recv = socket.recv
            if not (count == 0 and socket is sockets[0]):
                ended = not recv()
                if ended:
                    answer = meter.read(count)
                    context.destroy(linger=0)
                    return answer
            for _ in blocks:
                recv()
            count += BLOCK


ROLES = {
    role.__name__: role
    for role in (
        *(pull, push, inproc, aio_pull, aio_push, rep, req),
        *(router, dealers, publisher, subscribers),
    )
}


def main(text: str) -> None:
    # Ctrl-C goes to every process of the terminal; whoever started us ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = json.loads(text)
    zmq = importlib.import_module(order["module"])
    with tempfile.TemporaryDirectory(prefix="zm-bench-") as directory:
        if "bind" in order:
            order["bind"] = order["bind"].replace("DIRECTORY", directory)
        say(ROLES[order["role"]](zmq, order))


if __name__ == "__main__":
    main(sys.argv[1])
