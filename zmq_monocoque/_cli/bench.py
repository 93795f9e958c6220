"""``bench``: this engine and others through the same workloads, in turn, and what came of it.

Sender and receiver are processes of their own (``workloads.py``), fresh for each run, so that no
engine pays for another, and processor time can be told apart.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from . import arguments, machine
from .demo import Stop, Stopped
from .workloads import PATIENCE_MS

HELP = "measure this engine, and pyzmq where it is installed, side by side"
DESCRIPTION = (
    "Runs workloads on this engine and on every other one that is installed (pyzmq, pyomq), in"
    " turn, each with sender and receiver in processes of their own, and prints rates, round trips"
    " and the processor time that each side spent on a message."
)
EXAMPLES = {
    "zmq-monocoque bench --seconds 1 --runs 3": "a quick look",
    "zmq-monocoque bench --plot rates.svg": "and a picture of it",
}
KB = 1024
#: From so many processors that others use, figures say little.
MUCH_FOR_OTHERS = 0.1
#: How long others are looked at before anything starts, in seconds.
LOOK = 0.3


class BenchFailure(Exception):
    """What went wrong, in words for the person who measures."""


@dataclass(frozen=True)
class Workload:
    """Who binds, who connects (None: one process does both), and with what.

    The figures are those of ``clock``, "binds" or "connects": the receiver, or who waits for
    answers.
    """

    name: str
    binds: str | None
    connects: str
    clock: str
    transport: str = "tcp"
    size: int = 64
    parts: int = 1
    peers: int = 1
    sender_binds: bool = False
    quick: bool = False

    @property
    def endpoint(self) -> str:
        return "tcp://127.0.0.1:*" if self.transport == "tcp" else "ipc://DIRECTORY/s"


def stream(name: str, **details: Any) -> Workload:
    return Workload(name, "pull", "push", "binds", **details)


WORKLOADS = (
    stream("stream tcp 64 B", quick=True),
    stream("stream tcp 1 KB", size=KB),
    stream("stream tcp 64 KB", size=64 * KB),
    stream("stream tcp 1 MB", size=KB * KB),
    stream("stream ipc 64 B", transport="ipc"),
    stream("stream tcp 5 x 64 B", parts=5, quick=True),
    Workload("round trip tcp 64 B", "rep", "req", "connects", quick=True),
    Workload("round trip ipc 64 B", "rep", "req", "connects", transport="ipc"),
    Workload("echo, 200 dealers", "router", "dealers", "connects", peers=200),
    Workload("fan-out to 1", "publisher", "subscribers", "connects", sender_binds=True),
    Workload(
        *("fan-out to 50", "publisher", "subscribers", "connects"),
        peers=50,
        sender_binds=True,
        quick=True,
    ),
    Workload("stream inproc 64 B", None, "inproc", "connects"),
    Workload("stream asyncio 64 B", "aio_pull", "aio_push", "binds"),
)


@dataclass
class Figures:
    """One engine in one workload: the medians of its runs.

    ``rate`` in messages (or round trips) a second, ``p50`` and ``p99`` in seconds, ``sender`` and
    ``receiver`` in seconds of processor time a message that arrived. Who asks is the sender, who
    answers the receiver; one process that does both has ``sender`` alone.
    """

    workload: str
    engine: str
    rate: float | None = None
    #: The most less the least of the runs' round trips (rates where there are none), by the median.
    spread: float | None = None
    bytes_a_second: float | None = None
    p50: float | None = None
    p99: float | None = None
    sender: float | None = None
    receiver: float | None = None
    error: str | None = None


class Side:
    """One process: an order goes in, lines of JSON come out."""

    def __init__(self, order: dict[str, Any]):
        self.patience = 3 * PATIENCE_MS / 1000 + order["seconds"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", __package__ + ".workloads", json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> dict[str, Any]:
        """Its next line. Raises BenchFailure when it ends without one, or says nothing."""
        assert self.process.stdout and self.process.stderr
        too_late = threading.Timer(self.patience, self.process.kill)
        too_late.daemon = True  # a signal may come before the next line, and nobody cancels it
        too_late.start()
        try:
            text = self.process.stdout.readline()
        finally:
            too_late.cancel()
        if not text:
            said = self.process.stderr.read().strip().splitlines()
            raise BenchFailure(said[-1] if said else f"ended with {self.process.wait()}")
        found: dict[str, Any] = json.loads(text)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout and self.process.stderr
        self.process.stdout.close()
        self.process.stderr.close()


class Progress:
    """How far it is: one line that is rewritten on a terminal, nothing elsewhere, where the table
    that grows line by line shows as much."""

    BAR = 20

    def __init__(self, out: TextIO, steps: int):
        self.out, self.steps, self.done = out, steps, 0
        self.live = out.isatty()
        self.began = time.monotonic()

    def start(self, name: str) -> None:
        """A step begins; those before it are done."""
        if self.live:
            filled = self.BAR * self.done // self.steps
            bar = "#" * filled + "." * (self.BAR - filled)
            left = (time.monotonic() - self.began) / max(self.done, 1) * (self.steps - self.done)
            about = f", about {left:.0f} s left" if self.done else ""
            self.out.write(f"\r\x1b[K[{bar}] {name}{about}")
            self.out.flush()
        self.done += 1

    def clear(self) -> None:
        """Takes the line away, so that other text can follow."""
        if self.live:
            self.out.write("\r\x1b[K")
            self.out.flush()


@contextlib.contextmanager
def side(stop: Stop, order: dict[str, Any]) -> Iterator[Side]:
    with contextlib.ExitStack() as stack:
        with stop.held():
            process = Side(order)
            stack.callback(process.close)
        yield process


def measure(workload: Workload, module: str, seconds: float, stop: Stop) -> Figures:
    """One run."""
    order = {
        "module": module,
        "size": workload.size,
        "parts": workload.parts,
        "peers": workload.peers,
        "seconds": seconds,
    }
    with contextlib.ExitStack() as stack:
        binding = None
        endpoint = {}
        if workload.binds:
            binding = stack.enter_context(
                side(stop, order | {"role": workload.binds, "bind": workload.endpoint})
            )
            endpoint = binding.line()
        connecting = stack.enter_context(side(stop, order | endpoint | {"role": workload.connects}))
        by_role = {}
        if binding and workload.clock == "binds":
            by_role["binds"], by_role["connects"] = binding.line(), connecting.line()
        else:
            by_role["connects"] = connecting.line()
            if binding:
                by_role["binds"] = binding.line()
    answer = by_role[workload.clock]
    count, rate = answer["count"], answer["count"] / answer["seconds"]
    cpu = {role: line["cpu"] / count for role, line in by_role.items()}
    sends, receives = ("binds", "connects") if workload.sender_binds else ("connects", "binds")
    return Figures(
        workload.name,
        module,
        rate=rate,
        bytes_a_second=rate * workload.size * workload.parts,
        p50=answer.get("p50"),
        p99=answer.get("p99"),
        sender=cpu.get(sends),
        receiver=cpu.get(receives),
    )


def median_of(runs: list[Figures]) -> Figures:
    """Figure by figure; and how far the one that `ratio` goes by varied."""
    columns = [asdict(run) for run in runs]
    merged = dict(columns[0])
    for name, value in merged.items():
        if isinstance(value, float):
            merged[name] = statistics.median(column[name] for column in columns)
    if len(runs) > 1:
        judged = "p50" if merged["p50"] else "rate"
        values = [column[judged] for column in columns]
        merged["spread"] = (max(values) - min(values)) / merged[judged]
    return Figures(**merged)


def measure_in_turn(
    workload: Workload,
    engines: list[tuple[str, str]],
    runs: int,
    seconds: float,
    stop: Stop,
    start: Callable[[str], None],
) -> list[Figures]:
    """Every engine ``runs`` times, A B A B, because a machine's speed drifts."""
    found: dict[str, list[Figures]] = {name: [] for name, _ in engines}
    failed: dict[str, Figures] = {}
    for _ in range(runs):
        for name, module in engines:
            start(f"{workload.name} on {name}")
            if name in failed:
                continue
            try:
                found[name].append(measure(workload, module, seconds, stop))
            except BenchFailure as error:
                failed[name] = Figures(workload.name, name, error=str(error))
    medians = []
    for name, _ in engines:
        medians.append(failed[name] if name in failed else median_of(found[name]))
        medians[-1].engine = name
    return medians


# --- the table ------------------------------------------------------------------------------

HEADER = (
    f"  {'':<22}{'':<15}{'':>13}{'':>10}{'round trip, us':>16}{'':>8}{'CPU us a message':>19}\n"
    f"  {'workload':<22}{'engine':<15}{'messages/s':>13}{'MB/s':>10}{'p50':>8}{'p99':>8}"
    f"{'spread':>8}{'sender':>9}{'receiver':>10}{'ratio':>8}"
)


def ratio(ours: Figures, theirs: Figures) -> float | None:
    """How many times better ``ours`` is: by round trip where there is one, else by rate."""
    if ours.p50 and theirs.p50:
        return theirs.p50 / ours.p50
    return ours.rate / theirs.rate if ours.rate and theirs.rate else None


def micro(seconds: float | None, digits: int = 1) -> str:
    return "" if seconds is None else f"{seconds * 1e6:.{digits}f}"


def rows(figures: list[Figures]) -> Iterator[str]:
    """The lines of one workload; the first engine is ours."""
    for i, f in enumerate(figures):
        name = f.workload if i == 0 else ""
        if f.rate is None or f.bytes_a_second is None:
            yield f"  {name:<22}{f.engine:<15}{f.error}"
            continue
        better = ratio(figures[0], f) if i else None
        yield (
            f"  {name:<22}{f.engine:<15}{f.rate:>13,.0f}{f.bytes_a_second / 1e6:>10,.1f}"
            f"{micro(f.p50):>8}{micro(f.p99):>8}"
            f"{'' if f.spread is None else f'{f.spread:.0%}':>8}"
            f"{micro(f.sender, 2):>9}{micro(f.receiver, 2):>10}"
            f"{'' if better is None else f'{better:.2f}':>8}"
        )


# --- the command ----------------------------------------------------------------------------


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--quick", action="store_true", help="four workloads, once, briefly")
    command.add_argument(
        "--runs", type=arguments.count, default=3, help="runs of each engine, in turn (default: 3)"
    )
    command.add_argument(
        "--seconds",
        type=arguments.seconds,
        default=1.0,
        help="how long each run sends (default: 1.0)",
    )
    command.add_argument(
        "--json",
        type=arguments.output_file,
        metavar="FILE",
        help="write every figure to FILE as well",
    )
    command.add_argument(
        "--plot",
        type=arguments.picture_file,
        metavar="FILE",
        help="draw a picture, by its ending .svg, .png or .pdf (needs matplotlib, which the"
        " extra [bench] brings)",
    )
    command.add_argument(
        "names", nargs="*", metavar="NAME", help="only workloads whose name has this in it"
    )


def run(options: argparse.Namespace) -> int:
    """Measures, prints, writes; returns the exit code."""
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        print("--plot needs matplotlib: pip install 'zmq_monocoque[bench]'", file=sys.stderr)
        return 1
    if options.quick:
        options.runs, options.seconds = 1, 0.2
    chosen = [
        w
        for w in WORKLOADS
        if (not options.quick or w.quick)
        and (not options.names or any(name in w.name for name in options.names))
    ]
    if not chosen:
        print(f"no workload is called {' or '.join(options.names)}:", file=sys.stderr)
        print("\n".join(f"  {w.name}" for w in WORKLOADS), file=sys.stderr)
        return 2
    with Stop() as stop:
        try:
            return play(options, chosen, stop)
        except Stopped as stopped:
            print("interrupted", file=sys.stderr)
            return 128 + stopped.signum


def engines_here() -> dict[str, tuple[str, str]]:
    """By name: module and version. The first is the one that the others are held against."""
    found = {
        "zmq_monocoque": ("zmq_monocoque", machine.version_of("zmq_monocoque") or "source tree")
    }
    if machine.zmq().is_pyzmq:
        found["pyzmq"] = ("zmq", machine.zmq().version)
    if importlib.util.find_spec("pyomq"):
        found["pyomq"] = ("pyomq", machine.version_of("pyomq") or "of unknown version")
    return found


def warn_of(others: machine.Others, when: str) -> None:
    """Says so when others compute: on stderr, where it does not mix with figures."""
    used = others.processors()
    if used is not None and used >= MUCH_FOR_OTHERS:
        print(
            f"warning: other programs {when} {used:.1f} of {os.cpu_count()} processors; figures"
            " vary with that, and only large ratios mean something",
            file=sys.stderr,
        )


def conditions(engines: dict[str, tuple[str, str]]) -> dict[str, Any]:
    driver = machine.driver()
    return {
        "machine": machine.kernel(),
        "processors": machine.processors(),
        "Python": machine.python(),
        "driver": driver.name + (f" ({driver.reason})" if driver.reason else ""),
        "engines": {name: version for name, (_, version) in engines.items()},
    }


def play(options: argparse.Namespace, chosen: list[Workload], stop: Stop) -> int:
    here = engines_here()
    about = conditions(here)
    engines = [(name, module) for name, (module, _) in here.items()]
    others = machine.Others()
    time.sleep(LOOK)
    warn_of(others, "use")
    print(f"{about['machine']}; processors: {about['processors']}; {about['Python']}")
    print(", ".join(f"{name} {version}" for name, version in about["engines"].items()), end="")
    print(f"; driver {about['driver']}")
    print(f"medians of {options.runs}, in turn, {options.seconds:g} s each")
    if "pyzmq" not in here:
        zmq = machine.zmq()
        hint = "; to compare: pip install pyzmq" if zmq.missing else ""
        print(f"without pyzmq (import zmq: {zmq.text}){hint}")
    print(f"\n{HEADER}")
    progress = Progress(sys.stderr, len(chosen) * options.runs * len(engines))
    results: list[list[Figures]] = []
    began = time.perf_counter()
    try:
        for workload in chosen:
            results.append(
                measure_in_turn(
                    workload, engines, options.runs, options.seconds, stop, progress.start
                )
            )
            progress.clear()
            print("\n".join(rows(results[-1])), flush=True)
    finally:
        progress.clear()
    print(f"\n{time.perf_counter() - began:.0f} s. ratio: how many times better zmq_monocoque is.")
    warn_of(others, "used")
    failed = any(group[0].error for group in results)
    try:
        write(options, about, results)
    except OSError as error:
        print(f"not written: {error}", file=sys.stderr)
        failed = True
    return 1 if failed else 0


def write(options: argparse.Namespace, about: dict[str, Any], results: list[list[Figures]]) -> None:
    """The files that were asked for."""
    flat = [figures for group in results for figures in group]
    if options.json:
        with open(options.json, "w") as file:
            json.dump(about | {"results": [asdict(f) for f in flat]}, file, indent=2)
    if options.plot:
        from . import plot

        plot.draw(results, about, options.plot)
