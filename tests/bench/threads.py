"""Pairs of sockets in threads of one process: what the GIL costs, and what it is to be without.

    python tests/bench/threads.py [--pairs N ...] [--messages N] [--rounds N]

Each thread has a pair of its own over inproc and passes bursts of messages through it. Run by an
interpreter that can do without the GIL (3.13t), it measures with and without; where pyzmq is
installed, that, too. Messages per second of all pairs together, the best of the rounds; each
figure is of a process of its own.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
import threading
import time
from typing import Any

BURST = 100
BODY = b"x" * 64
TIMEOUT = 120


def one_pair(
    zmq: Any, context: Any, name: str, messages: int, barrier: threading.Barrier, spans: list[float]
) -> None:
    with context.socket(zmq.PAIR) as a, context.socket(zmq.PAIR) as b:
        b.bind(f"inproc://{name}")
        a.connect(f"inproc://{name}")
        send, recv = a.send, b.recv
        for phase in (BURST, messages):  # the first to be warm
            barrier.wait(TIMEOUT)
            spans.append(time.perf_counter())
            for _ in range(phase // BURST):
                for _ in range(BURST):
                    send(BODY)
                for _ in range(BURST):
                    recv()
        spans.append(time.perf_counter())


def measure(module: str, pairs: int, messages: int) -> float:
    zmq = importlib.import_module(module)
    barrier = threading.Barrier(pairs)
    spans: list[list[float]] = [[] for _ in range(pairs)]
    with zmq.Context() as context:
        threads = [
            threading.Thread(target=one_pair, args=(zmq, context, f"{k}", messages, barrier, span))
            for k, span in enumerate(spans)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
    return pairs * messages / (max(s[2] for s in spans) - min(s[1] for s in spans))


def in_a_process(module: str, gil: str, pairs: int, options: argparse.Namespace) -> float:
    """The best of some rounds, in messages per second."""
    variables = {**os.environ, "PYTHON_GIL": gil} if gil else dict(os.environ)
    best = 0.0
    for _ in range(options.rounds):
        done = subprocess.run(
            [sys.executable, __file__, "--one", module, str(pairs), str(options.messages)],
            env=variables,
            capture_output=True,
            text=True,
            timeout=2 * TIMEOUT,
            check=True,
        )
        best = max(best, float(done.stdout))
    return best


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    engines = [m for m in ("zmq_monocoque", "zmq") if importlib.util.find_spec(m)]
    if not engines:
        parser.error("neither zmq_monocoque nor pyzmq is installed here")
    print(f"{'engine':15} {'GIL':4}", *(f"{n} pairs".rjust(12) for n in options.pairs))
    for engine in engines:
        for gil in ("1", "0") if free else ("",):
            found = [in_a_process(engine, gil, pairs, options) for pairs in options.pairs]
            shown = {"0": "no", "1": "yes", "": "yes"}[gil]
            print(f"{engine:15} {shown:4}", *(f"{n:,.0f}/s".rjust(12) for n in found))


if __name__ == "__main__":
    main()
