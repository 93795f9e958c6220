"""Compiles every C file of the engine and the extension for its warnings alone.

All warnings the project keeps clean are errors here. ``--analyzer`` adds gcc's analyser for the
engine: its findings differ from one version of gcc to the next, so they are for people to judge.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "zmq_monocoque"))  # last: modules there are called as Python's

from _build import engine  # noqa: E402  (found beside the package, which need not be built)

WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Werror"]


def check(arguments: list[str]) -> str:
    """The compiler's words about one file; empty when it is content."""
    flags = [flag for flag in engine.CFLAGS if not flag.startswith(("-f", "-O", "-g"))]
    includes = [f"-I{ROOT / path}" for path in engine.INCLUDE_DIRS]
    result = subprocess.run(
        ["gcc", "-c", "-O1", "-o", os.devnull, *flags, *WARNINGS, *includes, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return result.stderr


def main() -> int:
    analyser = ["-fanalyzer"] if "--analyzer" in sys.argv else []
    jobs = [[*analyser, f"{engine.ENGINE}/{source}"] for source in engine.SOURCES]
    jobs += [[*analyser, f"{engine.CAPI}/{source}"] for source in engine.CAPI_SOURCES]
    python = f"-isystem{sysconfig.get_paths()['include']}"
    jobs += [[python, f"{engine.EXT}/{source}"] for source in engine.EXT_SOURCES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = [text for text in pool.map(check, jobs) if text]
    print("\n".join(complaints), file=sys.stderr)
    print(f"{len(jobs)} C files, {len(complaints)} with complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    raise SystemExit(main())
