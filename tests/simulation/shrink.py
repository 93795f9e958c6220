"""Makes a run that breaks a law smaller, as long as it breaks the same one: fewer sockets, hosts,
messages, faults and options first, then fewer choices of schedule and faults (delta debugging)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .case import Case, Outcome, breaks, run

#: Runs of a case with something left out that are tried, each with another chance of the world:
#: the more, the more is left out at once.
LUCKS = 6
LUCKS_OF = {"service": 40, "socket": 20}
TRIES_MAX = 4000
PASSES = 2


@dataclass(frozen=True)
class Size:
    hosts: int
    sockets: int
    messages: int
    choices: int
    steps: int

    def __str__(self) -> str:
        return (
            f"{self.hosts} hosts, {self.sockets} sockets, {self.messages} messages, "
            f"{self.choices} choices, {self.steps} steps"
        )


def size_of(outcome: Outcome) -> Size:
    sockets = re.findall(r"socket (\d+): type .* on host (\d+)", outcome.trace)
    steps = re.search(r", step (\d+)", outcome.said)
    return Size(
        len({host for _, host in sockets}),
        len(sockets),
        len(re.findall(r"socket \d+: send \d+: 0$", outcome.trace, re.MULTILINE)),
        len(outcome.choices),
        int(steps[1]) if steps else 0,
    )


def stem(name: str) -> str:
    return name.rstrip("0123456789")


class Shrinker:
    def __init__(self, program: Path, case: Case, tries: int = TRIES_MAX) -> None:
        self.program = program
        self.tries = tries
        self.first = self.last = run(program, case)

    def holds(self, case: Case, lucks: int) -> bool:
        """Whether ``case`` breaks the law, too; then it is the one to go on with."""
        if self.tries <= 0 or self.first.law is None:
            return False
        self.tries -= lucks
        found = breaks(self.program, case, self.first.law, lucks)
        if found:
            self.last = run(self.program, found)
        return found is not None

    def lower(self, names: Sequence[str], to: Callable[[int, int], int]) -> bool:
        """Tries ``to(value, least)`` for all these names at once."""
        drawn = self.last.drawn
        wanted = {name: to(*drawn[name]) for name in names if name in drawn}
        wanted = {name: value for name, value in wanted.items() if value < drawn[name][0]}
        lucks = LUCKS_OF.get(stem(names[0]), LUCKS)
        return bool(wanted) and self.holds(self.last.case.limited(**wanted), lucks)

    def leave_out(self) -> None:
        """Less of what is drawn by name."""
        groups: dict[str, list[str]] = {}
        for name in self.last.drawn:
            groups.setdefault(stem(name), []).append(name)
        for names in sorted(groups.values(), key=lambda names: -LUCKS_OF.get(stem(names[0]), 0)):
            if self.lower(names, lambda _, least: least):
                continue
            for name in names:
                if len(names) > 1 and self.lower([name], lambda _, least: least):
                    continue
                while self.lower([name], lambda value, least: (value + least) // 2):
                    pass

    def choose_less(self) -> None:
        """Of what was chosen: as few as can be."""
        if not self.holds(replace(self.last.case, only=self.last.choices), 1):
            return  # it needs what is not the plain thing in a way that no list says
        chunk = len(self.last.choices)
        while chunk and self.tries > 0:
            at, shorter = 0, False
            while at < len(self.last.choices) and self.tries > 0:
                kept = self.last.choices  # what of the list came to pass
                if self.holds(replace(self.last.case, only=kept[:at] + kept[at + chunk :]), 1):
                    shorter = True
                else:
                    at += chunk
            chunk = chunk if shorter and chunk == 1 else min(chunk // 2, len(self.last.choices))

    def shrink(self) -> Outcome:
        for _ in range(PASSES):
            self.leave_out()
        self.choose_less()
        return self.without_what_is_idle()

    def without_what_is_idle(self) -> Outcome:
        """The same run: what its line says of sockets and choices that it has not is left away."""
        case = self.last.case
        limits = tuple((name, most) for name, most in case.limits if name in self.last.drawn)
        only = self.last.choices if case.only is not None else None
        return replace(self.last, case=replace(case, limits=limits, only=only))
