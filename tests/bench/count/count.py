"""Instructions of the engine per operation, held against what is written down beside this file.

    python tests/bench/count/count.py [--update] [--limit PERCENT] [DRIVER ...]

Counted by callgrind, so a busy machine changes nothing; only what lies in the engine's and the
extension's own shared objects, so libc, Python and libsodium change nothing either. Timers do: a
thread may be held up for longer than the I/O thread waits. So each path is walked nine times, and
the least counts. Fails (1) when a path costs more than the limit above the baseline, or is not in
it. Counts of another compiler, machine or Python's headers cannot be compared: that fails too (2).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
LIMIT_PERCENT = 3.0
TIMEOUT = 600
DRIVERS = ("io_uring", "epoll")


def run(command: list[str], **environment: str) -> str:
    """What the command printed; ends the program when it failed."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, **environment},
    )
    if done.returncode:
        # Lines that begin so are valgrind's, which says much about system calls it does not know.
        said = [line for line in done.stderr.splitlines() if line[:2] not in ("==", "--")]
        sys.exit("\n".join([f"{' '.join(command)} ended with {done.returncode}:", *said]))
    return done.stdout


def shared_objects() -> list[Path]:
    """The engine and the extension, wherever the package that is imported here has them."""
    from zmq_monocoque import _engine_c, _ext

    return [Path(_engine_c.__file__).resolve(), Path(_ext.__file__).resolve()]


def conditions() -> dict[str, str]:
    """What the counts depend on beside the source."""
    comment = run(["readelf", "--string-dump=.comment", str(shared_objects()[0])])
    compiler = re.search(r"GCC: .*", comment)
    python = "{}.{}".format(*sys.version_info)
    return {
        "compiler": compiler[0] if compiler else "unknown",
        "machine": platform.machine(),
        "python headers": python,
        "valgrind": run(["valgrind", "--version"]).strip(),
    }


def engine_instructions(dump: Path, objects: set[str]) -> int:
    """The sum of the lines of one callgrind file that stand under one of the objects.

    Under "fn=" stand lines of "position count"; the line after "calls=" is what the function that
    was called spent, which stands under its own name as well.
    """
    names: dict[str, str] = {}
    total, current, of_callee = 0, "", False
    for line in dump.read_text().splitlines():
        named = re.match(r"(c?ob)=\((\d+)\)(?: (.*))?", line)
        if named:
            key, number, name = named.groups()
            if name:
                names[number] = name
            if key == "ob":
                current = names[number]
        elif line.startswith("calls="):
            of_callee = True
        elif re.match(r"[+\-*\d]", line):
            if not of_callee and current in objects:
                total += int(line.split()[1])
            of_callee = False
    return total


def dumps(directory: Path) -> Iterator[tuple[str, int, Path]]:
    """(path, operations, file) of each dump that a mark asked for."""
    for file in sorted(directory.glob("out.*"), key=lambda file: int(file.suffix[1:])):
        mark = re.search(r"^desc: Trigger: Client Request: (.*)\|(\d+)$", file.read_text(), re.M)
        if mark:
            yield mark[1], int(mark[2]), file


def count(which: str, driver: str, marks: Path) -> dict[str, float]:
    """path -> instructions an operation, the least of its rounds."""
    objects = {str(path) for path in shared_objects()}
    with tempfile.TemporaryDirectory(prefix="zm-count-") as directory:
        run(
            [
                "valgrind",
                "--tool=callgrind",
                "--instr-atstart=no",
                f"--callgrind-out-file={directory}/out",
                sys.executable,
                str(HERE / "paths.py"),
                str(marks),
                which,
            ],
            ZMQ_MONOCOQUE_DRIVER=driver,
            ZMQ_MONOCOQUE_SPIN="0",
            PYTHONHASHSEED="0",
            LD_PRELOAD=str(marks),
        )
        least: dict[str, float] = {}
        for path, operations, file in dumps(Path(directory)):
            found = engine_instructions(file, objects) / operations
            least[path] = min(found, least.get(path, found))
    if not least or not all(least.values()):
        sys.exit(f"callgrind counted nothing of {', '.join(objects)}")
    return least


def count_all(drivers: list[str]) -> dict[str, dict[str, float]]:
    """driver (or "no driver") -> path -> instructions."""
    with tempfile.TemporaryDirectory(prefix="zm-marks-") as directory:
        marks = Path(directory) / "marks.so"
        run(["gcc", "-O2", "-shared", "-fPIC", "-o", str(marks), str(HERE / "marks.c")])
        found = {driver: count("driver", driver, marks) for driver in drivers}
        found["no driver"] = count("alone", "epoll", marks)
    return found


def table(found: dict[str, dict[str, float]], stored: dict[str, dict[str, float]]) -> list[str]:
    """A line a path: instructions now, before, and the change."""
    lines = [f"{'driver':<10} {'path':<32}{'now':>10}{'baseline':>10}{'change':>9}"]
    for driver, paths in found.items():
        for path, now in paths.items():
            before = stored.get(driver, {}).get(path)
            change = "new" if before is None else f"{100 * (now / before - 1):+.1f} %"
            known = "" if before is None else f"{before:,.1f}"
            lines.append(f"{driver:<10} {path:<32}{now:>10,.1f}{known:>10}{change:>9}")
    return lines


def too_dear(
    found: dict[str, dict[str, float]], stored: dict[str, dict[str, float]], limit: float
) -> list[str]:
    """The paths above the limit, or unknown to the baseline."""
    return [
        f"{path} ({driver})"
        for driver, paths in found.items()
        for path, now in paths.items()
        if now > stored.get(driver, {}).get(path, 0.0) * (1 + limit / 100)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the counts down")
    parser.add_argument("--limit", type=float, default=LIMIT_PERCENT, metavar="PERCENT")
    parser.add_argument("drivers", nargs="*", metavar="DRIVER", help="io_uring, epoll (both)")
    options = parser.parse_args()
    for tool in ("valgrind", "gcc", "readelf"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is not installed (apt-get install valgrind gcc binutils)")
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    here = conditions()
    found = count_all(options.drivers or list(DRIVERS))
    stored = baseline.get("instructions", {})
    print("\n".join(table(found, stored)))
    if options.update:
        rounded = {d: {p: round(n, 1) for p, n in paths.items()} for d, paths in found.items()}
        written = {"depends on": here, "instructions": stored | rounded}
        BASELINE.write_text(json.dumps(written, indent=2) + "\n")
        print(f"written to {BASELINE}")
        return 0
    if baseline.get("depends on") != here:
        print(f"not comparable: the baseline is of {baseline.get('depends on')}, this is {here}")
        return 2
    dear = too_dear(found, stored, options.limit)
    if dear:
        print(f"more than {options.limit:g} % above the baseline: {', '.join(dear)}")
    return 1 if dear else 0


if __name__ == "__main__":
    sys.exit(main())
