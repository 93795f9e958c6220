"""``python -m libzmq_suite``: libzmq's tests on this engine, and on libzmq beside it.

Exit codes: 0, everything is as expectations.toml says; 1, something is not; 2, a usage error or
nothing to run; 130, interrupted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import source
from .build import Built, build
from .source import Problem
from .verdict import Expectations, Outcome, outcome_of, verdict

ROOT = Path(__file__).resolve().parent.parent
DRIVERS = ("io_uring", "epoll")
#: For one program. libzmq's own limit is 10 s, on a machine that does nothing else.
SECONDS = 40
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
        "--preload",
        metavar="LIBRARIES",
        default="",
        help="loaded first into the programs: the runtime of the sanitizer that --library has",
    )
    top.add_argument(
        "--jobs", type=int, default=4 * (os.cpu_count() or 1), help="programs at a time"
    )
    top.add_argument(
        "--no-reference", action="store_true", help="do not run the programs on libzmq as well"
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


def run_one(
    name: str, program: Path, library: Path, log: Path, driver: str, preload: str
) -> Outcome:
    """Runs a program in a directory of its own, and kills what it leaves."""
    seconds = LONG_SECONDS.get(name, SECONDS)
    variables = {
        **os.environ,
        "LD_LIBRARY_PATH": str(library),
        "ZMQ_MONOCOQUE_DRIVER": driver,
        "LD_PRELOAD": preload,
    }
    code: int | None = None
    with tempfile.TemporaryDirectory(prefix="zm-") as where, log.open("wb") as output:
        process = subprocess.Popen(
            [program],
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


def run_all(
    built: Built, library: Path, logs: Path, driver: str, jobs: int, preload: str = ""
) -> dict[str, Outcome]:
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    started = time.monotonic()
    # The longest first.
    names = sorted(built.programs, key=lambda name: (-LONG_SECONDS.get(name, 0), name))
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = pool.map(
            lambda name: run_one(name, built.programs[name], library, logs / name, driver, preload),
            names,
        )
        found = dict(zip(names, outcomes, strict=True))
    print(f"{logs.name}: {time.monotonic() - started:.0f} s, logs in {logs}", file=sys.stderr)
    return found


def run(options: argparse.Namespace) -> bool:
    """Everything that was asked for. Is all as it should be?"""
    expected = Expectations.load()
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
    if options.library:
        library = options.library.resolve()
    elif options.in_place:
        library = ROOT / "zmq_monocoque" / "_capi" / "zmq"
    else:
        library = installed(work)
    if not (library / "libzmq.so.5").exists():
        raise Problem(f"{library} has no libzmq.so.5")
    theirs: dict[str, Outcome] = {}
    lines = []
    if not options.no_reference:
        theirs = run_all(built, built.reference, work / "logs-libzmq", "", options.jobs)
        reference = verdict(theirs, {}, Expectations([], [], []), "")
        for complaint in reference.complaints:
            if complaint.startswith("failed"):
                print(f"libzmq: {complaint}")
        lines.append(f"libzmq: {reference.line()}")
    is_good = not built.broken
    for name, text in built.broken.items():
        print(f"cannot be built: {name}\n{text}")
    for driver in DRIVERS if options.driver == "both" else (options.driver,):
        ours = run_all(
            built, library, work / f"logs-{driver}", driver, options.jobs, options.preload
        )
        found = verdict(ours, theirs, expected, driver)
        for text in (*found.notes, *found.complaints):
            print(f"{driver}: {text}")
        lines.append(f"{driver}: {found.line()}")
        is_good = is_good and not found.complaints
    print(*lines, sep="\n")
    return is_good


def main() -> int:
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return 0 if run(options) else 1
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
