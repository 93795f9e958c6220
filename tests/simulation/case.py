"""One run: its seed, and what is left out of it. And the program that runs it."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

#: Longer ones go through a file.
ARGUMENT_MAX = 4000
#: Of the processor, for one run of many.
CPU_SECONDS = 5


@dataclass(frozen=True)
class Case:
    seed: int
    #: Another one has the same workload in a world with another chance.
    luck: int = 0
    #: 0 epoll, 1 io_uring, 2 that of an older kernel; None: the seed draws it.
    driver: int | None = None
    #: What ``c/less.c`` takes: numbers by name, and the choices that are made, of all.
    limits: tuple[tuple[str, int], ...] = ()
    only: tuple[str, ...] | None = None

    @property
    def less(self) -> str:
        words = [f"{name}={value}" for name, value in self.limits]
        words += [f"only={','.join(self.only)}"] if self.only is not None else []
        return " ".join(words)

    def limited(self, **limits: int) -> Case:
        return replace(self, limits=tuple({**dict(self.limits), **limits}.items()))

    def arguments(self) -> list[str]:
        out = ["--seed", str(self.seed)]
        out += ["--luck", str(self.luck)] if self.luck else []
        out += ["--driver", str(self.driver)] if self.driver is not None else []
        out += ["--less", self.less] if self.less else []
        return out

    def command(self) -> str:
        """What a person types to have it again."""
        return shlex.join(["python", "-m", "tests.simulation", *self.arguments()])


def with_less(case: Case, less: str) -> Case:
    """``less`` as in ``Case.less``, or @FILE with it."""
    words = (Path(less[1:]).read_text() if less.startswith("@") else less).split()
    pairs = [word.split("=", 1) for word in words]
    limits = tuple((name, int(value)) for name, value in pairs if name != "only")
    only = [value for name, value in pairs if name == "only"]
    choices = tuple(choice for choice in only[0].split(",") if choice) if only else None
    return replace(case, limits=limits, only=choices)


@dataclass(frozen=True)
class Outcome:
    case: Case
    #: The law that was broken, and what was said of it; None: none was.
    law: str | None
    said: str
    #: What was drawn by name: its value, and the least that it can be.
    drawn: dict[str, tuple[int, int]]
    choices: tuple[str, ...]
    trace: str


def broken(said: str) -> list[tuple[str, int, int]]:
    """Law, seed and luck of each run that broke one."""
    found = re.findall(r"^BROKEN ([^\n]*?): [^\n]*\n  seed (\d+), luck (\d+)", said, re.MULTILINE)
    return [(law, int(seed), int(luck)) for law, seed, luck in found]


def execute(program: Path, case: Case, *more: str, timeout: float = 600) -> str:
    """What the program says."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = case.arguments()
        if len(case.less) > ARGUMENT_MAX:
            file = Path(directory) / "less"
            file.write_text(case.less)
            arguments[-1] = f"@{file}"
        command = [str(program), *arguments, *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout).stdout


def run(program: Path, case: Case, *more: str) -> Outcome:
    """One run, with all that can be known of it."""
    with tempfile.TemporaryDirectory() as directory:
        trace, record = Path(directory) / "trace", Path(directory) / "record"
        files = ("--trace", str(trace), "--record", str(record))
        said = execute(program, case, *files, "--drawn", *more)
        drawn = {
            name: (int(value), int(least))
            for name, value, least in re.findall(r"^DRAWN (\S+)=(\d+)/(\d+)$", said, re.MULTILINE)
        }
        said = "".join(line for line in said.splitlines(True) if not line.startswith("DRAWN "))
        laws = broken(said)
        return Outcome(
            case,
            laws[0][0] if laws else None,
            said,
            drawn,
            tuple(record.read_text().split()),
            trace.read_text(errors="replace"),
        )


def breaks(program: Path, case: Case, law: str, lucks: int = 1) -> Case | None:
    """``case``, with the first luck of so many that breaks ``law``."""
    limits = ("--lucks", str(lucks), "--quiet", "--cpu", str(CPU_SECONDS))
    said = execute(program, case, *limits)
    return next((replace(case, luck=luck) for name, _, luck in broken(said) if name == law), None)
