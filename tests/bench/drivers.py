#!/usr/bin/env python3
"""Run the cases of pair.py on both drivers and on pyzmq, in turn.

    python tests/bench/drivers.py [-n 3] [NAME ...]

A ratio above 1 means that this engine is better than pyzmq, or epoll than io_uring. The last column
is the processor time of both processes, epoll's over io_uring's, which means something on a busy
machine, too. Medians of the turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from pair import CASES, one

from zmq_monocoque._cli import arguments, machine

DRIVERS = ("io_uring", "epoll")


def ratio(a: float, b: float, higher: bool) -> float:
    """How much better a is than b."""
    return a / max(b, 1e-9) if higher else b / max(a, 1e-9)


def turn(workload: str, options: str, figure: str, timeout: float) -> dict[str, float]:
    """The figure of each, and the processor time of epoll over that of io_uring."""
    found, spent = {}, {}
    for name in (*DRIVERS, "pyzmq"):
        if name in DRIVERS:
            os.environ["ZMQ_MONOCOQUE_DRIVER"] = name
        module = "zmq_monocoque" if name in DRIVERS else "zmq"
        answer = one(module, workload, options, timeout)
        found[name], spent[name] = answer[figure], answer["cpu_s"]
    return {**found, "time": spent["epoll"] / max(spent["io_uring"], 1e-9)}


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("-n", type=arguments.count, default=3, help="turns per case")
    ap.add_argument("--timeout", type=float, default=120)
    ap.add_argument("names", nargs="*", help="cases whose name contains this; all")
    args = ap.parse_args()
    machine.need_pyzmq()
    wanted = [k for k in CASES if not args.names or any(x in k for x in args.names)]
    if not wanted:
        ap.error("no case has that in its name; there are:\n  " + "\n  ".join(CASES))
    median, failed = statistics.median, 0
    print(
        "| case | io_uring | epoll | pyzmq | io_uring/pyzmq | epoll/pyzmq | epoll/io_uring | time |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in wanted:
        workload, options, figure, higher = CASES[name]
        try:
            turns = [turn(workload, options, figure, args.timeout) for _ in range(args.n)]
        except (RuntimeError, subprocess.TimeoutExpired) as problem:
            print(f"| {name} | failed: {str(problem)[:120]} |", flush=True)
            failed += 1
            continue
        figures = [f"{median(t[who] for t in turns):.4g}" for who in (*DRIVERS, "pyzmq")]
        pairs = (("io_uring", "pyzmq"), ("epoll", "pyzmq"), ("epoll", "io_uring"))
        ratios = [f"**{median(ratio(t[a], t[b], higher) for t in turns):.2f}**" for a, b in pairs]
        time = f"{median(t['time'] for t in turns):.2f}"
        print(f"| {name} | {' | '.join([*figures, *ratios, time])} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
