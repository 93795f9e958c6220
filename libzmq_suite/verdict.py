"""What became of each test, what was expected, and how they compare."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
#: Unity says of each test: file:line:name:PASS, or FAIL or IGNORE with the reason.
LINE = re.compile(r"^[^:\n]+:\d+:(\w+):(PASS|FAIL|IGNORE)(?:: ?(.*))?$", re.MULTILINE)
OUTCOMES = {"PASS": PASSED, "FAIL": FAILED, "IGNORE": SKIPPED}
#: The exit code of a program that cannot run here.
CANNOT = 77


@dataclass
class Outcome:
    """Of one program: its tests, and whether it came to its end."""

    tests: dict[str, tuple[str, str]] = field(default_factory=dict)
    ended: str = ""  #: why it did not; "": it did

    def failed(self) -> list[str]:
        """The tests that failed, and "end" when it did not come to it."""
        names = [name for name, (became, _) in self.tests.items() if became == FAILED]
        return [*names, "end"] if self.ended else names


def outcome_of(output: str, code: int | None, seconds: float) -> Outcome:
    """``code`` None: its time was up."""
    outcome = Outcome()
    for test, word, text in LINE.findall(output):
        became = OUTCOMES[word]
        # A test that is run several times has failed when one of them did.
        if outcome.tests.get(test, ("",))[0] != FAILED:
            outcome.tests[test] = (became, text)
    if code is None:
        outcome.ended = f"did not end within {seconds:.0f} s"
    elif code < 0:
        outcome.ended = f"ended by signal {-code}"
    elif code == CANNOT and not outcome.tests:
        outcome.tests["whole"] = (SKIPPED, "it cannot run here")
    elif code and not any(became == FAILED for became, _ in outcome.tests.values()):
        outcome.ended = f"exit code {code}"
    elif not outcome.tests:
        outcome.tests["whole"] = (PASSED, "")
    return outcome


@dataclass
class Expected:
    """One entry of expectations.toml."""

    tests: list[str]
    reason: str
    drivers: list[str] = field(default_factory=lambda: ["io_uring", "epoll"])
    sanitizers: list[str] = field(default_factory=list)  #: only with one of these
    is_race: bool = False  #: it passes more often than not

    def covers(self, test: str) -> bool:
        return any(test == name or test.startswith(f"{name}::") for name in self.tests)


@dataclass
class Expectations:
    """The whole file."""

    unbuilt: list[Expected]  #: programs that are not built: drafts, transports
    fails: list[Expected]  #: may fail, and why
    skips: list[Expected]

    @classmethod
    def load(cls) -> Expectations:
        text = (Path(__file__).parent / "expectations.toml").read_text(encoding="utf-8")
        table = tomllib.loads(text)
        kinds = (table.get(kind, []) for kind in ("unbuilt", "fail", "skip"))
        return cls(*([Expected(**entry) for entry in entries] for entries in kinds))

    def with_sanitizer(self, sanitizer: str) -> Expectations:
        """Those that hold with this one ("": with none)."""
        kinds = (self.unbuilt, self.fails, self.skips)
        return Expectations(
            *([e for e in kind if not e.sanitizers or sanitizer in e.sanitizers] for kind in kinds)
        )

    def entry(self, kind: str, test: str, driver: str) -> Expected | None:
        entries = self.fails if kind == FAILED else self.skips
        return next((e for e in entries if driver in e.drivers and e.covers(test)), None)

    def reason(self, kind: str, test: str, driver: str) -> str:
        found = self.entry(kind, test, driver)
        return found.reason if found else ""


@dataclass
class Verdict:
    """The sum over one driver, and everything that is not as it should be."""

    counts: dict[str, int]
    complaints: list[str]
    notes: list[str]

    def line(self) -> str:
        """The sum: "N passed, M failed, K skipped"."""
        return ", ".join(f"{self.counts[o]} {o}" for o in (PASSED, FAILED, SKIPPED))


def verdict(
    ours: dict[str, Outcome],
    theirs: dict[str, Outcome],
    expected: Expectations,
    driver: str,
) -> Verdict:
    """``theirs``: of libzmq itself, for what ran there; may be empty."""
    found = Verdict({PASSED: 0, FAILED: 0, SKIPPED: 0}, [], [])

    def count(test: str, became: str, text: str) -> None:
        program, _, name = test.partition("::")
        reference = theirs[program].tests.get(name, ("", ""))[0] if program in theirs else ""
        reason = expected.reason(became, test, driver)
        if became == FAILED and reason:
            found.notes.append(f"failed, as it may: {test}: {reason}")
            became = SKIPPED
        elif became == FAILED and reference == FAILED:
            found.notes.append(f"fails with libzmq, too: {test} ({text})")
            became = SKIPPED
        elif became == FAILED:
            found.complaints.append(f"failed: {test} ({text})")
        elif became == SKIPPED and not (reason or reference == SKIPPED):
            found.complaints.append(f"skipped, and nothing says why it may be: {test} ({text})")
        elif became == PASSED and (entry := expected.entry(FAILED, test, driver)):
            if not entry.is_race:
                found.notes.append(f"passed, though expectations.toml lets it fail: {test}")
        found.counts[became] += 1

    for program, outcome in sorted(ours.items()):
        for name, (became, text) in outcome.tests.items():
            count(f"{program}::{name}", became, text)
        missing = set(theirs[program].tests) - set(outcome.tests) if program in theirs else set()
        for name in sorted(missing):
            count(f"{program}::{name}", FAILED, outcome.ended or "never ran")
        if outcome.ended and not missing:
            count(f"{program}::end", FAILED, outcome.ended)
    return found
