"""The other side of the demo: a process of its own, told what to do by lines of JSON.

    python -m zmq_monocoque._cli.peer MODULE

Each line on stdin names a role and an endpoint to connect to; each role answers with a line on
stdout. It ends when stdin does, so it cannot outlive the demo. A message without a body ends a
role, except for SUB, whose last message is its topic and ``end``.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

#: How long a role waits for one message, in milliseconds.
PATIENCE_MS = 30_000
PROBE, END = b"?", b"end"


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def rep(socket: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Answers every message with itself."""
    count = 0
    while message := socket.recv():
        socket.send(message)
        count += 1
    socket.send(b"")
    return {"count": count}


def pull(socket: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Counts messages, and times them from the first to the last."""
    socket.recv()
    started = time.perf_counter()
    count = 1
    while socket.recv():
        count += 1
    return {"count": count, "seconds": time.perf_counter() - started}


def push(socket: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Sends messages of ``order["size"]`` bytes for ``order["seconds"]``."""
    return {"count": send_for(socket, bytes(order["size"]), order["seconds"])}


def sub(socket: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Counts the messages of its topic, and those that it never asked for."""
    topic = order["topic"].encode()
    socket.subscribe(topic)
    probe, end = topic + PROBE, topic + END
    socket.recv()
    say({"subscribed": True})
    while (message := socket.recv()) == probe:
        pass
    started = time.perf_counter()
    count = strays = 0
    while message != end:
        if message.startswith(topic):
            count += 1
        else:
            strays += 1
        message = socket.recv()
    return {"count": count, "strays": strays, "seconds": time.perf_counter() - started}


def send_for(
    socket: Any, message: bytes, seconds: float, tick: Callable[[int], None] | None = None
) -> int:
    """Sends ``message`` for ``seconds``, then an empty one; returns how many.

    ``tick`` is called now and then with the number so far.
    """
    end = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < end or not count:
        for _ in range(256):
            socket.send(message)
        count += 256
        if tick:
            tick(count)
    socket.send(b"")
    return count


ROLES = {"REP": rep, "PULL": pull, "PUSH": push, "SUB": sub}


def main(arguments: list[str]) -> None:
    # Ctrl-C goes to every process of the terminal; the demo ends us by closing our stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    zmq = importlib.import_module(arguments[0])
    context = zmq.Context()
    say({"ready": True, "pyzmq": zmq.pyzmq_version(), "libzmq": zmq.zmq_version()})
    socket = None
    for line in sys.stdin:
        # Only now is the last exercise over on the other side too. libzmq 4.3.5 loses what is on
        # its way when a sender over ipc closes at once, whatever its linger (seen here, 1 in 50).
        if socket is not None:
            socket.close()
        order = json.loads(line)
        socket = context.socket(getattr(zmq, order["role"]))
        socket.linger = socket.rcvtimeo = socket.sndtimeo = PATIENCE_MS
        socket.connect(order["endpoint"])
        say(ROLES[order["role"]](socket, order))
    context.destroy(linger=0)


if __name__ == "__main__":
    main(sys.argv[1:])
