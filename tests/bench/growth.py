"""What an operation costs beside ten and beside ten thousand of what it has nothing to do with.

    python tests/bench/growth.py [--small N] [--large N] [--rounds N] [--svg FILE] [CASE ...]

Processor time of the whole process that does the operation, its I/O threads included, for each:
the least of the rounds. Idle peers are plain TCP connections of another process. Each case, size
and engine is a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import curves

ENGINES = curves.ENGINES
PATIENCE_MS = 60_000
NEVER_MS = 10 * 60 * 1000
OPERATIONS = 100
ROUND_SECONDS = 0.02

Operation = Callable[[], object]


class Stage:
    """A case's context, its sockets and its idle peers."""

    def __init__(self, zmq: Any, stack: contextlib.ExitStack):
        self.zmq = zmq
        self.stack = stack
        self.context = zmq.Context()
        self.context.max_sockets = 20_000
        stack.callback(self.context.destroy, linger=0)

    def socket(self, kind: int, **options: object) -> Any:
        s = self.context.socket(kind)
        s.linger = 0
        s.sndhwm = s.rcvhwm = 0
        s.rcvtimeo = s.sndtimeo = PATIENCE_MS
        for name, value in options.items():
            setattr(s, name, value)
        return s

    def bound(self, kind: int, **options: object) -> tuple[Any, int]:
        s = self.socket(kind, backlog=8192, **options)
        return s, s.bind_to_random_port("tcp://127.0.0.1")

    def idle_peers(self, port: int, kind: bytes, count: int) -> None:
        """``count`` connections of another process, through their handshakes."""
        peers = subprocess.Popen(
            [sys.executable, __file__, "--peers", str(port), kind.decode(), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.stack.callback(peers.wait)
        self.stack.callback(peers.stdin.close)
        assert peers.stdout.readline() == b"up\n"

    def echo(self, count: int, **options: object) -> Operation:
        """A message to a ROUTER with ``count`` idle peers, and back."""
        router, port = self.bound(self.zmq.ROUTER, **options)
        self.idle_peers(port, b"DEALER", count)
        dealer = self.socket(self.zmq.DEALER)
        dealer.connect(f"tcp://127.0.0.1:{port}")

        def operation() -> None:
            dealer.send(b"")
            router.send_multipart(router.recv_multipart())
            dealer.recv()

        return operation


def peers(port: str, kind: str, count: str) -> None:
    raise_limit()
    socks = curves.connect(int(port), kind.encode(), int(count))
    if kind == "SUB":
        for i, sock in enumerate(socks):
            topic = b"\1idle%d" % i
            sock.sendall(bytes([0, len(topic)]) + topic)
    print("up", flush=True)
    sys.stdin.read()


def raise_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def name(what: str, i: int) -> str:
    return f"@zm-growth-{what}-{os.getpid()}-{i}"


# --- the cases: each is given a stage and a number, and returns the operation -------------------


def peers_echo(stage: Stage, count: int) -> Operation:
    return stage.echo(count)


def peers_two_threads(stage: Stage, count: int) -> Operation:
    """One half of the messages by another thread, in turn."""
    echo = stage.echo(count)
    mine, theirs = threading.Semaphore(0), threading.Semaphore(0)
    over = False

    def other() -> None:
        while theirs.acquire() and not over:
            echo()
            mine.release()

    def end() -> None:
        nonlocal over
        over = True
        theirs.release()
        thread.join()

    thread = threading.Thread(target=other)
    thread.start()
    stage.stack.callback(end)

    def operation() -> None:
        echo()
        theirs.release()
        mine.acquire()

    return operation


def peers_poll(stage: Stage, count: int) -> Operation:
    router, port = stage.bound(stage.zmq.ROUTER)
    stage.idle_peers(port, b"DEALER", count)
    return lambda: router.poll(0)


def peers_mandatory(stage: Stage, count: int) -> Operation:
    router, port = stage.bound(stage.zmq.ROUTER, router_mandatory=True)
    stage.idle_peers(port, b"DEALER", count)
    return lambda: router.poll(0, stage.zmq.POLLOUT)


def full_peers(stage: Stage, count: int) -> Operation:
    """POLLOUT, where nobody has room."""
    router = stage.socket(stage.zmq.ROUTER, router_mandatory=True, reconnect_ivl=NEVER_MS)
    router.sndhwm = 1
    for i in range(count):
        router.connect_routing_id = b"%d" % i
        router.connect("ipc://" + name("nobody", i))
        router.send_multipart([b"%d" % i, b""])
    return lambda: router.poll(0, stage.zmq.POLLOUT)


def heartbeat_timers(stage: Stage, count: int) -> Operation:
    return stage.echo(count, heartbeat_ivl=NEVER_MS)


def endpoints_connect(stage: Stage, count: int) -> Operation:
    """To places where nobody is, and that are not tried again."""
    dealer = stage.socket(stage.zmq.DEALER, reconnect_ivl=NEVER_MS)
    for i in range(count):
        dealer.connect("ipc://" + name("nobody", i))
    other = "ipc://" + name("other", 0)

    def operation() -> None:
        dealer.connect(other)
        dealer.disconnect(other)

    return operation


def endpoints_bind(stage: Stage, count: int) -> Operation:
    pull = stage.socket(stage.zmq.PULL)
    for i in range(count):
        pull.bind("ipc://" + name("bound", i))
    numbers = itertools.count()  # libzmq unbinds later

    def operation() -> None:
        other = "ipc://" + name("other", next(numbers))
        pull.bind(other)
        pull.unbind(other)

    return operation


def inproc_names(stage: Stage, count: int) -> Operation:
    pull, push = stage.socket(stage.zmq.PULL), stage.socket(stage.zmq.PUSH)
    for i in range(count):
        pull.bind("inproc://" + name("bound", i))
    some = "inproc://" + name("bound", count // 2)

    def operation() -> None:
        push.connect(some)
        push.send(b"")
        pull.recv()
        push.disconnect(some)

    return operation


def idle_sockets(stage: Stage, count: int) -> Operation:
    """Each with a driver and an I/O thread, and nothing to do."""
    for i in range(count):
        idle = stage.socket(stage.zmq.DEALER, reconnect_ivl=NEVER_MS)
        idle.connect("ipc://" + name("nobody", i))
    return stage.echo(0)


def subscriptions_change(stage: Stage, count: int) -> Operation:
    """Told to a publisher."""
    xpub, port = stage.bound(stage.zmq.XPUB)
    sub = stage.socket(stage.zmq.SUB)
    sub.connect(f"tcp://127.0.0.1:{port}")
    for i in range(count):
        sub.subscribe(b"idle%d" % i)
        xpub.recv()

    def operation() -> None:
        sub.subscribe(b"other")
        xpub.recv()
        sub.unsubscribe(b"other")
        xpub.recv()

    return operation


def subscriptions_match(stage: Stage, count: int) -> Operation:
    """A message that one of a subscriber's many subscriptions wants."""
    xpub, port = stage.bound(stage.zmq.XPUB)
    sub = stage.socket(stage.zmq.SUB)
    sub.connect(f"tcp://127.0.0.1:{port}")
    for i in range(count):
        sub.subscribe(b"idle%d" % i)
        xpub.recv()

    def operation() -> None:
        xpub.send(b"idle0")
        sub.recv()

    return operation


def idle_subscribers(stage: Stage, count: int) -> Operation:
    """A message that one of many subscribers wants."""
    xpub, port = stage.bound(stage.zmq.XPUB)
    stage.idle_peers(port, b"SUB", count)
    for _ in range(count):
        xpub.recv()
    sub = stage.socket(stage.zmq.SUB)
    sub.subscribe(b"wanted")
    sub.connect(f"tcp://127.0.0.1:{port}")
    xpub.recv()

    def operation() -> None:
        xpub.send(b"wanted")
        sub.recv()

    return operation


CASES: dict[str, Callable[[Stage, int], Operation]] = {
    "idle peers: a round trip": peers_echo,
    "idle peers: the same by two threads in turn": peers_two_threads,
    "idle peers: poll(0)": peers_poll,
    "idle peers: poll(0) for POLLOUT, ROUTER_MANDATORY": peers_mandatory,
    "full peers: the same": full_peers,
    "heartbeat timers: a round trip": heartbeat_timers,
    "endpoints: connect and disconnect": endpoints_connect,
    "endpoints: bind and unbind": endpoints_bind,
    "inproc names: connect, a message, disconnect": inproc_names,
    "idle sockets: a round trip": idle_sockets,
    "subscriptions: subscribe and unsubscribe": subscriptions_change,
    "subscriptions: a message": subscriptions_match,
    "idle subscribers: a message": idle_subscribers,
}


def one_case(case: str, module: str, count: str, rounds: str) -> None:
    """Prints microseconds an operation."""
    raise_limit()
    with contextlib.ExitStack() as stack:
        operation = CASES[case](Stage(importlib.import_module(module), stack), int(count))
        least = float("inf")
        for _ in range(1 + int(rounds)):  # the first one warms up
            began, spent, count = time.process_time(), 0.0, 0
            while spent < ROUND_SECONDS:
                for _ in range(OPERATIONS):
                    operation()
                count += OPERATIONS
                spent = time.process_time() - began
            least = min(least, spent / count)
    print(json.dumps(least * 1e6))


def cost(case: str, module: str, count: int, rounds: int) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--case", case, module, str(count), str(rounds)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    return float(done.stdout)


def draw(found: dict[str, dict[str, list[float]]], sizes: list[int], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # a tenth of the size
    from matplotlib import pyplot

    from zmq_monocoque._cli.plot import COLOURS

    figure, axes = pyplot.subplots(figsize=(9, 0.8 + 0.42 * len(found)))
    for row, engines in enumerate(found.values()):
        for (engine, (small, large)), shift in zip(engines.items(), (-0.13, 0.13), strict=True):
            place, colour = row + shift, COLOURS[engine]
            axes.plot([small, large], [place, place], color=colour, lw=1.4)
            label = f"{engine}, beside {sizes[0]:,} (hollow) and {sizes[1]:,}"
            axes.plot([small], [place], "o", ms=5, mfc="white", color=colour)
            axes.plot([large], [place], "o", ms=5, color=colour, label="" if row else label)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="microseconds of processor time an operation")
    axes.grid(True, axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="lower left")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=10)
    parser.add_argument("--large", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--svg", metavar="FILE", help="draw (needs matplotlib)")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="a part of its name; all")
    options = parser.parse_args()
    sizes = [options.small, options.large]
    found: dict[str, dict[str, list[float]]] = {}
    for case in CASES:
        if options.cases and not any(part in case for part in options.cases):
            continue
        found[case] = {}
        for engine, module in ENGINES:
            small, large = (cost(case, module, size, options.rounds) for size in sizes)
            found[case][engine] = [small, large]
            print(
                f"{case:<50}{engine:<15}{small:>9.1f} us{large:>9.1f} us{large / small:>7.2f}",
                flush=True,
            )
    if options.svg:
        draw(found, sizes, options.svg)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peers"]:
        peers(*sys.argv[2:])
    elif sys.argv[1:2] == ["--case"]:
        one_case(*sys.argv[2:])
    else:
        main()
