"""``python -m pyzmq_suite``: pyzmq's tests through both ways in that they can take.

Exit codes: 0, everything is as expectations.toml says; 1, something is not; 2, a usage error or
no environment to run in; 130, interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from .environment import MODES, PYZMQ, ROOT, Environment, Problem
from .verdict import FAILED, SKIPPED, Expectations, Outcomes, complaints

#: The tests of typing have a run of their own, in which numpy cannot be seen.
PARTS = ("rest", "mypy")
#: For one test: it takes 15 s to move 2 GiB on two processors. pyzmq's own limit is 60 s.
TEST_SECONDS = 180
#: For all runs of a mode.
MODE_SECONDS = 1500
#: How often a run that ended early is taken up again behind the test that ended it.
RESUMES = 8
LOOK_SECONDS = 0.2
BAR_CELLS = 20


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m pyzmq_suite",
        description=f"Runs the tests of pyzmq {PYZMQ}, unmodified, on this engine, and holds the"
        " outcome against pyzmq_suite/expectations.toml.",
        epilog="What is not an option above goes to pytest, e.g. -k 'not large' tests/test_poll.py",
    )
    top.add_argument(
        "--mode",
        choices=[*MODES, "both"],
        default="both",
        help="alias: zmq is zmq_monocoque (compat/). backend: real pyzmq over PYZMQ_BACKEND",
    )
    top.add_argument(
        "--work",
        metavar="DIRECTORY",
        type=Path,
        default=ROOT / "build" / "pyzmq_suite",
        help="environments, downloads and logs, kept for the next time (build/pyzmq_suite)",
    )
    top.add_argument(
        "--pyzmq",
        metavar="VERSION",
        default=PYZMQ,
        help=f"the tests of another release ({PYZMQ}); the expectations are of that one",
    )
    top.add_argument(
        "--in-place",
        action="store_true",
        help="use the extensions that were built in this clone, instead of installing it",
    )
    return top


class Progress:
    """One line that is rewritten on a terminal; in a log, a line a twentieth of the way."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._is_terminal = sys.stderr.isatty()
        self._cells = -1
        self._started = time.monotonic()

    def show(self, outcomes: Outcomes, total: int, test: str) -> None:
        done, total = len(outcomes.of), max(total, len(outcomes.collected), 1)
        cells = min(BAR_CELLS, done * BAR_CELLS // total)
        bar = "#" * cells + "." * (BAR_CELLS - cells)
        failed = len(outcomes.named(FAILED))
        text = f"{self._mode} [{bar}] {done}/{total}, {failed} failed"
        if self._is_terminal:
            print(f"\r\x1b[K{f'{text}  {test}'[:100]}", end="", file=sys.stderr, flush=True)
        elif cells != self._cells:
            seconds = time.monotonic() - self._started
            print(f"{text}, {seconds:.0f} s", file=sys.stderr, flush=True)
        self._cells = cells

    def say(self, text: str) -> None:
        start = "\r\x1b[K" if self._is_terminal else ""
        print(f"{start}{self._mode}: {text}", file=sys.stderr, flush=True)


class Run:
    """All runs of one mode."""

    def __init__(self, environment: Environment, arguments: list[str], total: int) -> None:
        self._environment = environment
        self._arguments = arguments
        self._total = total
        self._deadline = time.monotonic() + MODE_SECONDS
        self.progress = Progress(environment.mode)
        self.outcomes = Outcomes()

    def run(self) -> Outcomes:
        for part in PARTS:
            for turn in range(RESUMES):
                if self._one(part, turn):
                    break
        return self.outcomes

    def _one(self, part: str, turn: int) -> bool:
        """Runs what has not run yet; returns whether it came to its end."""
        directory = self._environment.directory
        record, done = directory / f"{part}-{turn}.jsonl", directory / "done.txt"
        record.write_text("", encoding="utf-8")
        done.write_text("\n".join(self.outcomes.of), encoding="utf-8")
        command = [
            *(str(self._environment.python), "-m", "pytest", "-p", "pyzmq_suite_record"),
            *("-p", "no:cacheprovider", "-v", "-rsxXfE", "--continue-on-collection-errors"),
            *("--timeout", str(TEST_SECONDS), "--timeout-method", "thread"),
            *self._arguments,
        ]
        variables = self._environment.variables(with_beside=part != "mypy") | {
            "PYZMQ_SUITE_RECORD": str(record),
            "PYZMQ_SUITE_PART": part,
            "PYZMQ_SUITE_DONE": str(done),
        }
        log = directory / f"{part}-{turn}.log"
        with log.open("wb") as output, record.open(encoding="utf-8") as records:
            process = subprocess.Popen(
                command,
                cwd=self._environment.suite,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = self._follow(process, records)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        # 0, 1: it ran to its end. 5: nothing to run.
        if code in (0, 1, 5):
            return True
        for test in sorted(self.outcomes.running):
            self.outcomes.fail(test, f"ended the process (exit code {code}); see {log}")
        was_running = bool(self.outcomes.running)
        self.outcomes.running.clear()
        if not was_running:
            self.outcomes.fail(f"{part} as a whole", f"exit code {code}:\n{_tail(log)}")
        return not was_running or time.monotonic() > self._deadline

    def _follow(self, process: subprocess.Popen[bytes], records: object) -> int:
        """Shows how it goes on until the process ends or has had its time."""
        while True:
            code = process.poll()
            for line in records:  # type: ignore[attr-defined]
                test = self.outcomes.add(json.loads(line))
                if test is not None:
                    if self.outcomes.of.get(test) == FAILED:
                        self.progress.say(f"failed: {test}")
                    self.progress.show(self.outcomes, self._total, test)
            if code is not None:
                return code
            if time.monotonic() > self._deadline:
                return -signal.SIGKILL
            time.sleep(LOOK_SECONDS)


def _tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def run_mode(mode: str, options: argparse.Namespace, arguments: list[str]) -> tuple[str, bool]:
    """Runs one mode; returns its line, and whether all is as it should be."""
    expected = Expectations.load(mode)
    environment = Environment(options.work.resolve(), mode, options.pyzmq)
    is_whole = not arguments
    run = Run(environment, arguments, expected.collected if is_whole else 0)
    run.progress.say(f"preparing {environment.directory}")
    environment.prepare(options.in_place)
    outcomes = run.run()
    run.progress.say("done")
    for test in outcomes.named(FAILED):
        print(f"\n=== {mode}: {test} {outcomes.texts[test]}")
    found = complaints(outcomes, expected, is_whole)
    for complaint in found:
        print(f"{mode}: {complaint}")
    for test in sorted(set(outcomes.of) - set(outcomes.named(SKIPPED))):
        if is_whole and any(entry.covers(test) for entry in expected.skips):
            print(f"{mode}: ran, though expectations.toml expects it to be skipped: {test}")
    if outcomes.reruns:
        print(f"{mode}: {outcomes.reruns} reruns, as pyzmq marks those tests")
    return f"{mode}: {outcomes.line()}", not found


def main() -> int:
    options, arguments = parser().parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    lines, is_good = [], True
    try:
        for mode in MODES if options.mode == "both" else (options.mode,):
            line, is_mode_good = run_mode(mode, options, arguments)
            lines.append(line)
            is_good = is_good and is_mode_good
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    for line in lines:
        print(line)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
