"""Runs the simulation.

    python -m tests.simulation --seed N [--shrink] [--steps] [--trace FILE] [--svg FILE]
    python -m tests.simulation --minutes M [--seed N | --of-sources]  seeds that nobody has tried
    python -m tests.simulation --count K [--seed N]             these
    python -m tests.simulation --named                          those of seeds.toml
    python -m tests.simulation --canaries                       what is planted is found

A run of one seed prints its timeline up to the law that was broken, of the sockets that the law
names; ``--shrink`` makes it smaller first, as a search does with what it finds. ``--less`` and
``--luck`` are what shrinking prints. ``--driver``: 0 epoll, 1 io_uring, 2 that of an older kernel;
the seed draws one otherwise. ``--of-sources``: the first seed is made of the engine's and the
world's sources, so that each state of them tries others, and the same ones each time.
Exits with 1 when a law was broken, with 77 without a compiler.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from . import timeline
from .build import NoCompiler, build, number_of_sources
from .canaries import CANARIES, find
from .case import Case, Outcome, broken, run, with_less
from .seeds import named
from .shrink import Shrinker, size_of

BATCH = 200
#: Of a search: one case of each law is shrunk, and no more than these.
SHRUNK_MAX = 3


def show(outcome: Outcome, options: argparse.Namespace) -> int:
    """The timeline, the verdict and what replays it. 1: a law is broken."""
    print(timeline.for_a_person(outcome.trace, outcome.said), end="")
    print(outcome.said, end="")
    if outcome.law:
        print(f"to have it again:\n    {outcome.case.command()}")
    if options.trace:
        Path(options.trace).write_text(outcome.trace)
    if options.svg:
        Path(options.svg).write_text(timeline.picture(outcome.trace, outcome.said))
    return 1 if outcome.law else 0


def shrunk(program: Path, case: Case) -> Outcome:
    shrinker = Shrinker(program, case)
    if shrinker.first.law is None:
        return shrinker.first
    small = shrinker.shrink()
    print(f"{size_of(shrinker.first)}, of which are left\n{size_of(small)}", flush=True)
    return small


def batches(first: int, count: int, until: float) -> Iterator[tuple[int, int]]:
    seed = first
    while seed < first + count and time.monotonic() < until:
        size = min(BATCH, first + count - seed)
        yield seed, size
        seed += size


def many(program: Path, options: argparse.Namespace) -> int:
    """On all processors. Says each law that is broken, and how it is had again."""
    first = number_of_sources() if options.of_sources else options.seed
    first = random.randrange(2**40) if first is None else first
    until = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
    print(f"seeds from {first}", flush=True)
    running: list[tuple[int, subprocess.Popen[str]]] = []
    found: dict[str, Case] = {}
    tried = failures = 0

    def collect(most: int) -> None:
        nonlocal tried, failures
        while len(running) > most:
            size, process = running.pop(0)
            said, _ = process.communicate()
            tried += size
            for law, seed, _ in broken(said):
                failures += 1
                case = Case(seed, driver=options.driver)
                found.setdefault(law, case)
                print(f"BROKEN {law}: {case.command()}", flush=True)

    for seed, size in batches(first, options.count or 2**62, until):
        collect((os.cpu_count() or 1) - 1)
        driver = ["--driver", str(options.driver)] if options.driver is not None else []
        command = [str(program), "--seed", str(seed), "--count", str(size), "--quiet", *driver]
        running.append((size, subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
    collect(0)
    print(f"{tried} seeds from {first}, {failures} with a broken law", flush=True)
    for case in list(found.values())[:SHRUNK_MAX]:
        show(shrunk(program, case), options)
    return 1 if failures else 0


def all_named(program: Path) -> int:
    """The seeds of seeds.toml. 1: one of them breaks a law."""
    failures = 0
    for one in named():
        law = run(program, one.case).law
        failures += law is not None
        print(f"{'BROKEN ' + law if law else 'holds'}: {one.name}: {one.case.command()}")
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser("tests.simulation", description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--count", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--of-sources", action="store_true")
    parser.add_argument("--driver", type=int, choices=(0, 1, 2))
    parser.add_argument("--luck", type=int, default=0)
    parser.add_argument("--less", default="", help="what is left out; or @FILE")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--steps", action="store_true", help="the kernel's calls, too")
    parser.add_argument("--trace", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE")
    parser.add_argument("--named", action="store_true")
    parser.add_argument("--canaries", action="store_true")
    options = parser.parse_args()
    try:
        if options.canaries:
            return 0 if all([find(canary, tell=True) is not None for canary in CANARIES]) else 1
        program = build()
    except NoCompiler as why:
        print(f"{why}: nothing was tested")
        return 77
    failed = all_named(program) if options.named else 0
    if options.minutes or options.count:
        return many(program, options) or failed
    if options.named:
        return failed
    if options.seed is None:
        parser.error("one of --seed, --count, --minutes, --named, --canaries")
    case = with_less(Case(options.seed, options.luck, options.driver), options.less)
    if options.shrink:
        return show(shrunk(program, case), options)
    return show(run(program, case, *(["--steps"] if options.steps else [])), options)


if __name__ == "__main__":
    sys.exit(main())
