"""Runs the fuzz targets with libFuzzer: ``tox -e fuzz [-- TARGET...]``.

First the planted defects of canary.c have to be found, then each target runs for
``ZM_FUZZ_SECONDS`` seconds (60) on its corpus. New inputs go to ``build/fuzz/corpus``, where the
next run takes them up; what made a target fail goes to ``build/fuzz/crashes``, and its report to
``build/fuzz/logs``. The exit status is 1 when anything failed or a planted defect stayed hidden, 2
when the tools are not there.

``--keep`` runs nothing; it adds to tests/fuzz/corpus what was found since and covers more.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import targets

OUT = targets.HERE.parents[1] / "build" / "fuzz"
SECONDS = int(os.environ.get("ZM_FUZZ_SECONDS", "60"))
CANARY_SECONDS = 60  # it takes one or two
MAX_LEN = 1200  # bytes of an input; a longer one is slow, and shows nothing more


@dataclass
class Outcome:
    name: str
    executions: str
    coverage: str
    result: str
    good: bool


def last(pattern: str, text: str) -> str:
    """The last match's group, "?" where there is none."""
    return ["?", *re.findall(pattern, text)][-1]


def fuzz(
    program: Path, target: str, corpora: list[Path], crashes: Path, seconds: int, canary: int = 0
) -> Outcome:
    name = f"{target} {canary}" if canary else target
    log = OUT / "logs" / f"{name}.log"
    before = set(crashes.iterdir())
    command = [program, f"-max_total_time={seconds}", f"-max_len={MAX_LEN}"]
    command += ["-print_final_stats=1", f"-artifact_prefix={crashes}/{target}-", "-timeout=10"]
    with log.open("w") as out:
        done = subprocess.run(
            [*command, *corpora],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=targets.environment(target, canary),
            timeout=seconds + 120,
        )
    text = log.read_text(errors="replace")
    found = sorted(path.name for path in set(crashes.iterdir()) - before)
    result = "nothing found" if done.returncode == 0 else f"FAILED: {', '.join(found) or log}"
    return Outcome(
        name,
        last(r"number_of_executed_units: (\d+)", text),
        last(r"cov: (\d+)", text),
        result,
        done.returncode == 0,
    )


def canaries(directory: Path) -> list[Outcome]:
    outcomes = []
    program = directory / "canary"
    targets.build_fuzzer(program, with_canary=True)
    for number, target in targets.CANARIES.items():
        print(f"canary {number}, in {target} ...", flush=True)
        corpus, crashes = directory / f"corpus-{number}", directory / f"crashes-{number}"
        corpus.mkdir()
        crashes.mkdir()
        corpora = [corpus, targets.CORPORA / target]
        outcome = fuzz(program, target, corpora, crashes, CANARY_SECONDS, number)
        outcome.name = f"canary {number}"
        outcome.good = any(crashes.iterdir())
        outcome.result = "found, as it has to be" if outcome.good else "FAILED: stayed hidden"
        outcomes.append(outcome)
    return outcomes


def keep(program: Path, target: str, grown: Path) -> None:
    """Adds to the tree the inputs that cover what those in the tree do not."""
    corpus = targets.CORPORA / target
    before = len([*corpus.iterdir()])
    subprocess.run(
        [program, "-set_cover_merge=1", "-use_counters=0", f"-max_len={MAX_LEN}", corpus, grown],
        check=True,
        env=targets.environment(target),
        stderr=subprocess.DEVNULL,
    )
    print(f"{target}: {before} files, now {len([*corpus.iterdir()])}")


def table(outcomes: list[Outcome]) -> str:
    rows = [("target", "executions", "coverage", "result")]
    rows += [(o.name, o.executions, o.coverage, o.result) for o in outcomes]
    return "\n".join(f"{a:14}{b:>11}{c:>10}  {d}" for a, b, c, d in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the fuzz targets with libFuzzer.")
    parser.add_argument("target", nargs="*", default=targets.TARGETS)
    parser.add_argument("--keep", action="store_true", help="add what was found to the tree")
    arguments = parser.parse_args()
    unknown = set(arguments.target) - set(targets.TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; there are {targets.TARGETS}")
    crashes = OUT / "crashes"
    for path in (crashes, OUT / "logs"):
        path.mkdir(parents=True, exist_ok=True)
    outcomes = []
    try:
        with tempfile.TemporaryDirectory() as directory:
            program = Path(directory) / "fuzz"
            targets.build_fuzzer(program)
            outcomes += [] if arguments.keep else canaries(Path(directory))
            for target in arguments.target:
                grown = OUT / "corpus" / target
                grown.mkdir(parents=True, exist_ok=True)
                if arguments.keep:
                    keep(program, target, grown)
                    continue
                print(f"{target}: {SECONDS} s ...", flush=True)
                corpora = [grown, targets.CORPORA / target]
                outcomes.append(fuzz(program, target, corpora, crashes, SECONDS))
    except targets.NoCompiler as missing:
        print(f"fuzz: {missing}", file=sys.stderr)
        return 2
    if outcomes:
        print(table(outcomes))
    if any(crashes.iterdir()):
        print(f"what made a target fail, now or before: {crashes}")
    return 0 if all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
