"""Both engines where processors are scarce: on one, on all, and on all beside busy processes.

    python tests/bench/crowded.py [--runs N] [--seconds S] [--busy N] [WORKLOAD ...]

The workloads are those of ``python -m zmq_monocoque bench``, engines in turn, medians of the runs.
A row has, for each engine, the rate or (round trips) the p50, and microseconds of processor time
that both sides together spent on a message; then the ratios, above 1 where this engine is better.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from zmq_monocoque._cli import bench, machine
from zmq_monocoque._cli.demo import Stop

ENGINES = [("zmq_monocoque", "zmq_monocoque"), ("pyzmq", "zmq")]
WORKLOADS = ("round trip tcp 64 B", "stream tcp 64 B", "stream tcp 1 KB", "echo", "fan-out to 50")


@contextlib.contextmanager
def on_one_processor() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextlib.contextmanager
def beside(busy: int) -> Iterator[None]:
    """`busy` processes that compute without end."""
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], stdin=subprocess.DEVNULL)
        for _ in range(busy)
    ]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def row(workload: bench.Workload, options: argparse.Namespace, stop: Stop) -> str:
    medians = bench.measure_in_turn(
        workload, ENGINES, options.runs, options.seconds, stop, lambda name: None
    )
    shown = []
    spent = []
    for f in medians:
        if f.error:
            return f"{workload.name:24}{f.engine}: {f.error}"
        cpu = ((f.sender or 0) + (f.receiver or 0)) * 1e6
        spent.append(cpu)
        speed = f"{f.p50 * 1e6:,.1f} us" if f.p50 else f"{f.rate or 0:,.0f} /s"
        shown.append(f"{speed:>16}{cpu:>9.2f}")
    better = bench.ratio(*medians) or 0
    return f"{workload.name:24}{''.join(shown)}{better:>9.2f}{spent[1] / spent[0]:>8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--busy", type=int, default=4, help="processes that compute (4)")
    parser.add_argument("names", nargs="*", default=WORKLOADS)
    options = parser.parse_args()
    machine.need_pyzmq()
    wanted = [w for w in bench.WORKLOADS if any(w.name.startswith(n) for n in options.names)]
    scenes = (
        ("one processor", on_one_processor()),
        (f"{os.cpu_count()} processors", contextlib.nullcontext()),
        (f"{os.cpu_count()} processors, {options.busy} busy processes", beside(options.busy)),
    )
    for title, scene in scenes:
        print(f"\n{title}\n{'':24}{ENGINES[0][0]:>16}{'CPU us':>9}{ENGINES[1][0]:>16}{'CPU us':>9}"
              f"{'ratio':>9}{'CPU':>8}")  # fmt: skip
        with scene, Stop() as stop:
            for workload in wanted:
                print(row(workload, options, stop), flush=True)


if __name__ == "__main__":
    main()
