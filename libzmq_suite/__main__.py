"""``python -m libzmq_suite``: libzmq's tests on this engine, and on libzmq beside it.

Exit codes: 0, everything is as expectations.toml says; 1, something is not; 2, a usage error or
nothing to run; 77, it cannot run here: no network, or no compiler; 130, interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import sanitize, source
from .build import Built, build
from .source import Problem, Unavailable
from .verdict import CANNOT, FAILED, Expectations, Outcome, outcome_of, verdict

ROOT = Path(__file__).resolve().parent.parent
DRIVERS = ("io_uring", "epoll")
#: For one program. libzmq's own limit is 10 s, on a machine that does nothing else.
SECONDS = 40
#: testutil.hpp gives these names to ports of its own.
FIXED_PORT = re.compile(r"\bENDPOINT_\d\b|\b(?:localhost|127\.0\.0\.1|\*):[1-9]\d+")
#: Those that libzmq gives more.
LONG_SECONDS = {"test_security_curve": 120, "test_heartbeats": 120, "test_security_zap": 120}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m libzmq_suite",
        description=f"Runs the tests of libzmq {source.VERSION} (Debian's source), unmodified, on"
        " this engine and on libzmq, and holds the outcome against libzmq_suite/expectations.toml.",
    )
    top.add_argument("tests", nargs="*", help="programs to run, e.g. test_poller; default: all")
    top.add_argument("--driver", choices=[*DRIVERS, "both"], default="both")
    top.add_argument(
        "--work",
        metavar="DIRECTORY",
        type=Path,
        default=ROOT / "build" / "libzmq_suite",
        help="source, libzmq, programs and logs, kept for the next time (build/libzmq_suite)",
    )
    top.add_argument(
        "--in-place",
        action="store_true",
        help="use the library that was built in this clone, instead of installing it",
    )
    top.add_argument("--library", metavar="DIRECTORY", type=Path, help="one with libzmq.so.5")
    top.add_argument(
        "--sanitize",
        choices=sanitize.SANITIZERS,
        help="build this clone with it (in build/), and fail for any report",
    )
    top.add_argument(
        "--jobs", type=int, default=4 * (os.cpu_count() or 1), help="programs at a time"
    )
    return top


def installed(work: Path) -> Path:
    """This clone, built and installed into a directory of the suite's."""
    target = work / "package"
    shutil.rmtree(target, ignore_errors=True)
    source.run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--target", target, ROOT),
    )
    return target / "zmq_monocoque" / "_capi" / "zmq"


@dataclass
class Column:
    """A library that the programs are run on, and how."""

    name: str
    library: Path
    logs: Path
    variables: dict[str, str]
    prefix: list[str] = field(default_factory=list)


def run_one(name: str, program: Path, column: Column) -> Outcome:
    """Runs a program in a directory of its own, and kills what it leaves."""
    seconds = LONG_SECONDS.get(name, SECONDS)
    log = column.logs / name
    variables = {**os.environ, "LD_LIBRARY_PATH": str(column.library), **column.variables}
    code: int | None = None
    with tempfile.TemporaryDirectory(prefix="zm-") as where, log.open("wb") as output:
        process = subprocess.Popen(
            [*column.prefix, program],
            cwd=where,
            env={**variables, "TMPDIR": where},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
    return outcome_of(log.read_text(encoding="utf-8", errors="replace"), code, seconds)


def has_fixed_port(program: Path) -> bool:
    """Does this program (its source) bind or connect to a port that others may have, too?"""
    return FIXED_PORT.search(program.read_text(encoding="utf-8")) is not None


def run_all(
    built: Built, columns: list[Column], jobs: int, sources: Path
) -> dict[str, dict[str, Outcome]]:
    """Of each column, by program. Most programs only sleep; the longest come first. A program runs
    on one library at a time: some have names that the whole machine sees. Of those that share
    ports one runs at a time."""
    found: dict[str, dict[str, Outcome]] = {column.name: {} for column in columns}
    started = time.monotonic()
    mutexes = {name: threading.Lock() for name in built.programs if name not in LONG_SECONDS}
    ports = threading.Lock()
    mutexes |= {name: ports for name in built.programs if has_fixed_port(sources / f"{name}.cpp")}
    for column in columns:
        shutil.rmtree(column.logs, ignore_errors=True)
        column.logs.mkdir(parents=True)

    def one(task: tuple[str, Column]) -> None:
        name, column = task
        with mutexes.get(name, contextlib.nullcontext()):
            found[column.name][name] = run_one(name, built.programs[name], column)

    names = sorted(built.programs, key=lambda name: (-LONG_SECONDS.get(name, 0), name))
    # Not the same program in turn, which would wait for itself.
    tasks = [(name, c) for name in names if name in LONG_SECONDS for c in columns]
    tasks += [(name, c) for c in columns for name in names if name not in LONG_SECONDS]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, tasks))
    seconds = time.monotonic() - started
    logs = " ".join(str(column.logs) for column in columns)
    print(f"{len(tasks)} runs: {seconds:.0f} s, logs in {logs}", file=sys.stderr)
    return found


def once_more(
    built: Built, column: Column, found: dict[str, Outcome], expected: Expectations
) -> list[str]:
    """Programs that failed beside others are run again, once, alone: most count on sleeps that are
    long enough on a machine which does nothing else. Returns those that passed so, and with what
    they had failed."""
    passed = []
    for name, outcome in found.items():
        failed = outcome.failed()
        if all(expected.reason(FAILED, f"{name}::{test}", column.name) for test in failed):
            continue
        again = run_one(name, built.programs[name], column)
        if not again.failed():
            found[name] = again
            passed.append(f"{name} ({'; '.join(failed)})")
    return passed


def library_of(options: argparse.Namespace, work: Path) -> Path:
    """A directory with our libzmq.so.5, made if need be."""
    if options.sanitize:
        return sanitize.build(ROOT, options.sanitize)
    if options.library:
        return options.library.resolve()
    if options.in_place:
        return ROOT / "zmq_monocoque" / "_capi" / "zmq"
    return installed(work)


def run(options: argparse.Namespace) -> bool:
    """Everything that was asked for. Is all as it should be?"""
    expected = Expectations.load().with_sanitizer(options.sanitize or "")
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    where = source.prepare(work)
    all_names = sorted(path.stem for path in (where / "tests").glob("test_*.cpp"))
    unknown = set(options.tests) - set(all_names)
    if unknown:
        raise Problem(f"no such test: {', '.join(sorted(unknown))}")
    unbuilt = {n for n in all_names for entry in expected.unbuilt if entry.covers(n)}
    names = [n for n in options.tests or all_names if n not in unbuilt]
    cpus = os.cpu_count() or 1
    built = build(where, work, cpus, names)
    library = library_of(options, work)
    if not (library / "libzmq.so.5").exists():
        raise Problem(f"{library} has no libzmq.so.5")
    reports = work / "reports"
    variables, prefix = {}, []
    if options.sanitize:
        variables = sanitize.environment(options.sanitize, reports)
        prefix = sanitize.prefix(options.sanitize)
    columns = [
        Column(
            driver,
            library,
            work / f"logs-{driver}",
            {"ZMQ_MONOCOQUE_DRIVER": driver, **variables},
            prefix,
        )
        for driver in (DRIVERS if options.driver == "both" else (options.driver,))
    ]
    libzmq = Column("libzmq", built.reference, work / "logs-libzmq", {})
    found = run_all(built, [libzmq, *columns], options.jobs, where / "tests")
    lines = []
    is_good = not built.broken
    for name, text in built.broken.items():
        print(f"cannot be built: {name}\n{text}")
    nothing = Expectations([], [], [])
    for column in (libzmq, *columns):
        is_reference = column is libzmq
        alone = once_more(built, column, found[column.name], nothing if is_reference else expected)
        for what in alone:
            print(f"{column.name}: failed beside others, passed alone: {what}")
        outcome = verdict(
            found[column.name],
            {} if is_reference else found["libzmq"],
            nothing if is_reference else expected,
            column.name,
        )
        complaints = [c for c in outcome.complaints if c.startswith("failed") or not is_reference]
        for text in (*outcome.notes, *complaints):
            print(f"{column.name}: {text}")
        only_alone = f" ({len(alone)} of the programs passed only alone)" if alone else ""
        lines.append(f"{column.name}: {outcome.line()}{only_alone}")
        is_good = is_good and (is_reference or not complaints)
    if options.sanitize:
        texts = sanitize.reported(reports)
        print(*texts, sep="\n", end="")
        lines.append(f"{options.sanitize}: {len(texts)} reports")
        is_good = is_good and not texts
    print(*lines, sep="\n")
    return is_good


def main() -> int:
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return 0 if run(options) else 1
    except Unavailable as problem:
        print(f"libzmq's tests cannot run here, NOTHING WAS TESTED: {problem}", file=sys.stderr)
        return CANNOT
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
