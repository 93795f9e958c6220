"""Runs the simulation.

    python -m tests.simulation --seed N [--steps] [--trace FILE] [--svg FILE]  one run, again
    python -m tests.simulation --minutes M [--seed N]           seeds that nobody has tried
    python -m tests.simulation --count K [--seed N]             these
    python -m tests.simulation --canaries                       what is planted is found

A run of one seed prints its timeline up to the law that was broken, of the sockets that the law
names. ``--driver``: 0 epoll, 1 io_uring, 2 that of an older kernel; the seed draws one otherwise.
Exits with 1 when a law was broken.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import timeline
from .build import build
from .canaries import CANARIES, find

BATCH = 200


def one(program: Path, seed: int, options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(options.trace) if options.trace else Path(directory) / "trace"
        command = [str(program), "--seed", str(seed), "--trace", str(trace)]
        command += ["--steps"] if options.steps else []
        command += ["--driver", str(options.driver)] if options.driver is not None else []
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        text = trace.read_text()
        print(timeline.for_a_person(text, done.stdout), end="")
        print(done.stdout, end="")
        if options.svg:
            Path(options.svg).write_text(timeline.picture(text, done.stdout))
    return done.returncode


def many(program: Path, first: int, count: int, until: float, driver: int | None) -> int:
    """On all processors, in batches; says each law that was broken. The seeds that did."""
    running: list[tuple[int, subprocess.Popen[str]]] = []
    broken = tried = 0
    seed = first
    extra = ["--driver", str(driver)] if driver is not None else []

    def collect(wait_for_all: bool) -> None:
        nonlocal broken, tried
        while running and (wait_for_all or len(running) >= (os.cpu_count() or 1)):
            size, process = running.pop(0)
            said, _ = process.communicate()
            tried += size
            broken += said.count("BROKEN")
            found = said.split("\n")
            print(
                "\n".join(line for line in found if "BROKEN" in line or "  seed " in line), end=""
            )
            sys.stdout.flush()

    while seed < first + count and time.monotonic() < until:
        size = min(BATCH, first + count - seed)
        command = [str(program), "--seed", str(seed), "--count", str(size), "--quiet", *extra]
        running.append((size, subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
        seed += size
        collect(False)
    collect(True)
    print(f"{tried} seeds from {first}, {broken} with a broken law")
    return 1 if broken else 0


def main() -> int:
    parser = argparse.ArgumentParser("tests.simulation", description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--count", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--driver", type=int, choices=(0, 1, 2))
    parser.add_argument("--steps", action="store_true", help="the kernel's calls, too")
    parser.add_argument("--trace", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE")
    parser.add_argument("--canaries", action="store_true")
    options = parser.parse_args()
    if options.canaries:
        return 0 if all([find(canary, tell=True) is not None for canary in CANARIES]) else 1
    program = build()
    if options.minutes or options.count:
        first = options.seed if options.seed is not None else random.randrange(2**40)
        until = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
        return many(program, first, options.count or 2**62, until, options.driver)
    if options.seed is None:
        parser.error("one of --seed, --count, --minutes, --canaries")
    return one(program, options.seed, options)


if __name__ == "__main__":
    sys.exit(main())
