"""What became of each test, and whether that is what `expectations.toml` says."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass
class Expected:
    """Tests that cannot pass, and why. A test is named in full, or by its file or class."""

    tests: list[str]
    reason: str
    modes: list[str] = field(default_factory=lambda: ["alias", "backend"])

    def covers(self, test: str) -> bool:
        return any(
            test == name or test.startswith((f"{name}::", f"{name}[")) for name in self.tests
        )


@dataclass
class Expectations:
    """The whole file, for one mode."""

    collected: int
    skips: list[Expected]

    @classmethod
    def load(cls, mode: str) -> Expectations:
        text = (Path(__file__).parent / "expectations.toml").read_text(encoding="utf-8")
        table = tomllib.loads(text)
        skips = [Expected(**entry) for entry in table["skip"]]
        return cls(table["collected"], [entry for entry in skips if mode in entry.modes])


class Outcomes:
    """What became of each test; fed with the records of the plugin, in their order."""

    def __init__(self) -> None:
        self.collected: set[str] = set()
        self.of: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.running: set[str] = set()
        self.reruns = 0

    def add(self, record: dict[str, Any]) -> str | None:
        """Takes one record; returns the test that ended with it."""
        if "collected" in record:
            self.collected.update(record["collected"])
            return None
        if "started" in record:
            self.running.add(record["started"])
            return None
        test, outcome = record["test"], record["outcome"]
        if outcome == "rerun":
            self.reruns += 1
            self.of.pop(test, None)
        elif outcome == FAILED:
            self.fail(test, f"({record['when']})\n{record['text']}")
        elif outcome == SKIPPED:
            self.of[test] = SKIPPED
            self.texts[test] = record["text"]
        elif record["when"] == "call":
            self.of.setdefault(test, PASSED)
        if record["when"] != "teardown":
            return None
        self.running.discard(test)
        return test

    def fail(self, test: str, text: str) -> None:
        self.collected.add(test)
        self.of[test] = FAILED
        before = self.texts.get(test, "")
        if text not in before:
            self.texts[test] = f"{before}\n{text}".lstrip("\n")

    def named(self, outcome: str) -> list[str]:
        return [test for test, became in self.of.items() if became == outcome]

    def line(self) -> str:
        """The sum: "N passed, M failed, K skipped"."""
        return ", ".join(f"{len(self.named(o))} {o}" for o in (PASSED, FAILED, SKIPPED))


def complaints(outcomes: Outcomes, expected: Expectations, is_whole: bool) -> list[str]:
    """Everything that is not as it should be, a line each. ``is_whole``: all tests were asked."""
    found = [f"failed: {test}" for test in outcomes.named(FAILED)]
    found += [
        f"skipped, and nothing says why it may be: {test} ({outcomes.texts[test]})"
        for test in outcomes.named(SKIPPED)
        if not any(entry.covers(test) for entry in expected.skips)
    ]
    found += [f"never ran: {test}" for test in sorted(outcomes.collected - set(outcomes.of))]
    if is_whole and len(outcomes.collected) != expected.collected:
        found.append(f"{len(outcomes.collected)} tests were found, not {expected.collected}")
    return found
