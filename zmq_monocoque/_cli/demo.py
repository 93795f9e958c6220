"""``demo``: real traffic with a second process, and a table of what came of it.

The other process runs real pyzmq where it is installed, so this is a proof of interoperation as
much as a first look at the speed. Every message is counted on both sides.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, TextIO

from . import arguments, machine
from .peer import END, PATIENCE_MS, PROBE, send_for

HELP = "exchange messages with a second process and print how fast that was"
DESCRIPTION = (
    "Starts a second process (on pyzmq when it is installed, else on this engine), exchanges"
    " REQ/REP, PUSH/PULL and PUB/SUB traffic with it over tcp and ipc, and prints a table of"
    " round-trip percentiles and throughput. Leaves nothing behind."
)
EXAMPLES = {
    "zmq-monocoque demo": "with pyzmq as the peer, where that is installed",
    "zmq-monocoque demo --seconds 1": "shorter",
}
SIZE = 64
TOPIC, OTHER_TOPIC = b"news.", b"weather."
WARM_UP = 200


class DemoFailure(Exception):
    """What went wrong, in words for the person who runs the demo."""


@dataclass
class Row:
    """One line of the table. Times in seconds; `trips` only where there are round trips."""

    pattern: str
    transport: str
    direction: str
    count: int
    seconds: float
    trips: list[float] | None = None

    def text(self) -> str:
        rate = self.count / self.seconds
        times = ["", "", ""]
        if self.trips:
            times = [f"{percentile(self.trips, p) * 1e6:.1f}" for p in (50, 90, 99)]
        return (
            f"  {self.pattern:<10}{self.transport:<6}{self.direction:<14}{self.count:>11,}"
            f"{times[0]:>10}{times[1]:>9}{times[2]:>9}{rate:>13,.0f}{rate * SIZE / 1e6:>9.1f}"
        )


HEADER = (
    f"  {'':<30}{'':>11}{'round trip, microseconds':>28}{'throughput':>22}\n"
    f"  {'pattern':<10}{'over':<6}{'direction':<14}{'messages':>11}"
    f"{'p50':>10}{'p90':>9}{'p99':>9}{'messages/s':>13}{'MB/s':>9}"
)


def percentile(samples: list[float], percent: float) -> float:
    """The smallest sample that ``percent`` of them do not exceed; ``samples`` must be sorted."""
    return samples[max(0, math.ceil(len(samples) * percent / 100) - 1)]


class Progress:
    """One line that is rewritten on a terminal; a line a finished step everywhere else."""

    BAR = 20
    EVERY = 0.1  # seconds between two pictures

    def __init__(self, out: TextIO, steps: int):
        self.out, self.steps, self.step, self.name = out, steps, 0, ""
        self.live = out.isatty()
        self.drawn = 0.0
        self.open = False  # a step was started and not finished

    def start(self, name: str) -> None:
        self.name = name
        self.step += 1
        self.open = True
        if self.live:
            self.draw(0, 0.0)
        else:
            self.out.write(f"[{self.step}/{self.steps}] {name}: ")
            self.out.flush()

    def update(self, count: int, fraction: float) -> None:
        """``fraction`` of this step is done, with ``count`` messages so far."""
        now = time.perf_counter()
        if self.live and now - self.drawn > self.EVERY:
            self.drawn = now
            self.draw(count, fraction)

    def draw(self, count: int, fraction: float) -> None:
        filled = int(self.BAR * (self.step - 1 + min(fraction, 1.0)) / self.steps)
        bar = "#" * filled + "." * (self.BAR - filled)
        self.out.write(f"\r\x1b[K[{bar}] {self.name}: {count:,} messages")
        self.out.flush()

    def finish(self, count: int) -> None:
        self.open = False
        if not self.live:
            self.out.write(f"{count:,} messages\n")
            self.out.flush()

    def clear(self) -> None:
        """Takes the picture away, or ends the line, so that other text can follow."""
        if self.live:
            self.out.write("\r\x1b[K")
        elif self.open:
            self.out.write("not finished\n")
        self.open = False
        self.out.flush()


class Peer:
    """The other process: orders go in as lines of JSON, answers come out."""

    PATIENCE = PATIENCE_MS / 1000 + 5

    def __init__(self, module: str):
        self.module = module
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__.rpartition(".")[0] + ".peer", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.reader = threading.Thread(target=self.read, name="demo-peer-reader", daemon=True)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.answers.put(json.loads(line))
        self.answers.put(None)

    def order(self, role: str, endpoint: str, **details: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"role": role, "endpoint": endpoint, **details}) + "\n")
        self.process.stdin.flush()

    def answer(self, timeout: float | None = PATIENCE) -> dict[str, Any]:
        """The next answer. Raises DemoFailure when the peer ended, queue.Empty after ``timeout``
        seconds (None: never)."""
        found = self.answers.get(timeout=timeout)
        if found is None:
            self.answers.put(None)
            raise DemoFailure(f"the peer on {self.module} ended with {self.process.wait()}")
        return found

    def close(self) -> None:
        """Ends the process: kindly, then not."""
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        self.process.stdout.close()


class Stopped(BaseException):
    """Ctrl-C, or SIGTERM: not an Exception, so that nothing takes it for a failure."""

    def __init__(self, signum: int):
        super().__init__(signum)
        self.signum = signum


class Stop:
    """Turns SIGINT and SIGTERM into ``Stopped``, but lets what must be made whole be made.

    A signal between the making of a socket and the first line that knows it would leave the
    socket open behind us, and the context would wait for it forever.
    """

    def __init__(self) -> None:
        self.holding = False
        self.pending: int | None = None

    def __enter__(self) -> Stop:
        self.previous = {
            number: signal.signal(number, self.handle) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def handle(self, signum: int, _frame: FrameType | None) -> None:
        if self.holding:
            self.pending = signum
        else:
            raise Stopped(signum)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, a signal waits until the end."""
        self.holding = True
        try:
            yield
        finally:
            self.holding = False
        if self.pending is not None:
            raise Stopped(self.pending)


class Demo:
    """The exercises, each on a fresh pair of sockets."""

    def __init__(
        self, zmq: Any, context: Any, peer: Peer, progress: Progress, stop: Stop, seconds: float
    ):
        self.zmq, self.context, self.peer = zmq, context, peer
        self.progress, self.stop, self.seconds = progress, stop, seconds

    @contextlib.contextmanager
    def bound(self, kind: str, endpoint: str) -> Iterator[tuple[Any, str]]:
        """A socket of ours bound to ``endpoint``, and the address it really has."""
        with contextlib.ExitStack() as stack:
            with self.stop.held():
                socket = self.context.socket(getattr(self.zmq, kind))
                stack.callback(socket.close)
            socket.linger = 0
            socket.rcvtimeo = socket.sndtimeo = PATIENCE_MS
            socket.bind(endpoint)
            yield socket, socket.LAST_ENDPOINT.decode()

    def tick(self) -> Callable[[int], None]:
        started = time.perf_counter()
        return lambda count: self.progress.update(
            count, (time.perf_counter() - started) / self.seconds
        )

    def req_rep(self, transport: str, endpoint: str) -> Row:
        message = bytes(SIZE)
        clock = time.perf_counter
        trips: list[float] = []
        with self.bound("REQ", endpoint) as (socket, address):
            self.peer.order("REP", address)
            for _ in range(WARM_UP):
                socket.send(message)
                socket.recv()
            tick = self.tick()
            end = clock() + self.seconds
            before = clock()
            while before < end or not trips:
                socket.send(message)
                if socket.recv() != message:
                    raise DemoFailure(f"REQ/REP over {transport}: the answer is not the question")
                after = clock()
                trips.append(after - before)
                before = after
                if len(trips) % 64 == 0:
                    tick(len(trips))
            socket.send(b"")
            socket.recv()
            self.expect(self.peer.answer()["count"], len(trips) + WARM_UP, "REQ/REP")
        trips.sort()
        return Row("REQ/REP", transport, "and back", len(trips), sum(trips), trips)

    def push_to_peer(self, transport: str, endpoint: str) -> Row:
        with self.bound("PUSH", endpoint) as (socket, address):
            self.peer.order("PULL", address)
            count = send_for(socket, bytes(SIZE), self.seconds, self.tick())
            answer = self.peer.answer()
        self.expect(answer["count"], count, "PUSH/PULL")
        return Row("PUSH/PULL", transport, "to the peer", count, answer["seconds"])

    def pull_from_peer(self, transport: str, endpoint: str) -> Row:
        with self.bound("PULL", endpoint) as (socket, address):
            self.peer.order("PUSH", address, seconds=self.seconds, size=SIZE)
            socket.recv()
            tick = self.tick()
            started = time.perf_counter()
            count = 1
            while socket.recv():
                count += 1
                if count % 1024 == 0:
                    tick(count)
            seconds = time.perf_counter() - started
            self.expect(count, self.peer.answer()["count"], "PUSH/PULL")
        return Row("PUSH/PULL", transport, "from the peer", count, seconds)

    def pub_to_peer(self, transport: str, endpoint: str) -> Row:
        """One message of another topic goes out with every 256 of the one asked for."""
        with self.bound("PUB", endpoint) as (socket, address):
            # A publisher drops what a slow subscriber cannot take; this one waits instead, so
            # that every message can be accounted for.
            socket.setsockopt(self.zmq.XPUB_NODROP, 1)
            self.peer.order("SUB", address, topic=TOPIC.decode())
            deadline = time.perf_counter() + Peer.PATIENCE
            while True:
                socket.send(TOPIC + PROBE)
                with contextlib.suppress(queue.Empty):
                    self.peer.answer(timeout=0.01)
                    break
                if time.perf_counter() > deadline:
                    raise DemoFailure(f"PUB/SUB over {transport}: no subscription came")
            message = TOPIC.ljust(SIZE, b".")
            tick = self.tick()
            end = time.perf_counter() + self.seconds
            count = 0
            while time.perf_counter() < end or not count:
                for _ in range(256):
                    socket.send(message)
                socket.send(OTHER_TOPIC)
                count += 256
                tick(count)
            socket.send(TOPIC + END)
            answer = self.peer.answer()
        self.expect(answer["count"], count, "PUB/SUB")
        self.expect(answer["strays"], 0, "PUB/SUB: messages of another topic")
        return Row("PUB/SUB", transport, "to the peer", count, answer["seconds"])

    def expect(self, found: int, wanted: int, what: str) -> None:
        if found != wanted:
            raise DemoFailure(f"{what}: {found:,} messages arrived, {wanted:,} were sent")

    def run(self, directory: str) -> list[Row]:
        """All of them, over tcp and ipc. ``directory`` is where ipc sockets may lie."""
        exercises = {
            "REQ/REP": self.req_rep,
            "PUSH/PULL to the peer": self.push_to_peer,
            "PUSH/PULL from the peer": self.pull_from_peer,
            "PUB/SUB": self.pub_to_peer,
        }
        rows: list[Row] = []
        for name, exercise in exercises.items():
            for transport in ("tcp", "ipc"):
                endpoint = (
                    "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{directory}/{len(rows)}"
                )
                self.progress.start(f"{name} over {transport}")
                rows.append(exercise(transport, endpoint))
                self.progress.finish(rows[-1].count)
        return rows

    STEPS = 8


def choose_peer(wanted: str) -> str:
    """The module that the peer runs on. Raises DemoFailure when it is to be a pyzmq that is not
    there: `zmq` may be another name of ours, and this engine would only have met itself."""
    zmq = machine.zmq()
    if wanted == "pyzmq" and not zmq.is_pyzmq:
        how = "; pip install pyzmq" if zmq.missing else ""
        raise DemoFailure(f"there is no pyzmq here (import zmq: {zmq.text}){how}")
    if wanted != "zmq_monocoque" and zmq.is_pyzmq:
        return "zmq"
    return __package__.rpartition(".")[0]


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--peer",
        choices=["auto", "pyzmq", "zmq_monocoque"],
        default="auto",
        help="what the second process runs on (default: pyzmq when it is installed)",
    )
    command.add_argument(
        "--seconds",
        type=arguments.seconds,
        default=1.0,
        help="how long each of the eight exercises sends (default: 1.0)",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the demo and prints its table; returns the exit code."""
    with Stop() as stop:
        try:
            return play(options, stop)
        except Stopped as stopped:
            print("interrupted", file=sys.stderr)
            return 128 + stopped.signum


def play(options: argparse.Namespace, stop: Stop) -> int:
    zmq = importlib.import_module(__package__.rpartition(".")[0])
    try:
        module = choose_peer(options.peer)
    except DemoFailure as error:
        print(f"--peer {options.peer}: {error}", file=sys.stderr)
        return 1
    started = time.perf_counter()
    progress = Progress(sys.stderr, Demo.STEPS)
    with contextlib.ExitStack() as stack:
        with stop.held():
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="zm-demo-"))
            peer = Peer(module)
            stack.callback(peer.close)
            context = zmq.Context()
            stack.callback(context.destroy, linger=0)
            stack.callback(progress.clear)
        try:
            # However long a busy machine takes to start it: that it ended would be told.
            about = peer.answer(timeout=None)
            demo = Demo(zmq, context, peer, progress, stop, options.seconds)
            rows = demo.run(directory)
        except (DemoFailure, queue.Empty, zmq.ZMQError) as error:
            progress.clear()
            what = str(error) or f"no answer within {Peer.PATIENCE:.0f} s"
            print(f"the demo failed at {progress.name or 'the start'}: {what}", file=sys.stderr)
            return 1
    whose = f"pyzmq {about['pyzmq']} (libzmq {about['libzmq']})" if module == "zmq" else module
    if options.peer == "auto" and module != "zmq":
        whose += f" as well (import zmq: {machine.zmq().text})"
    driver = machine.driver()
    print(f"zmq_monocoque on {driver.name}, the peer on {whose}, {SIZE}-byte messages\n")
    if driver.reason:
        print(f"  io_uring is not used: {driver.reason}\n")
    print(HEADER)
    for row in rows:
        print(row.text())
    total = sum(row.count for row in rows)
    print(
        f"\n{total:,} messages, every one of them accounted for,"
        f" in {time.perf_counter() - started:.1f} s on {os.cpu_count()} processors."
    )
    return 0
