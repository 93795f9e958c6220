"""Checks with clang that what needs a lock is done with it held (-Wthread-safety).

The words it reads are in base/lock.h and objects.h. It runs clang, or else clang-tidy, which is on
PyPI (and in the extra `lint`); where neither is, it says so and checks nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "zmq_monocoque"))

from _build import engine  # noqa: E402  (found beside the package, which need not be built)

FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-Wno-everything", "-Wthread-safety", "-Werror"]


def tool() -> list[str] | None:
    """The command that a C file and its flags are put behind; None: there is none."""
    if clang := shutil.which("clang"):
        return [clang, "-fsyntax-only"]
    if tidy := shutil.which("clang-tidy"):
        return [tidy, "--quiet", "--checks=-*,clang-diagnostic-*", "--allow-no-checks"]
    return None


def check(command: list[str], source: Path, root: Path) -> str:
    """What clang says of one file of the engine at `root`; empty when it is content."""
    flags = [*FLAGS, f"-I{root}"]
    if "clang-tidy" in command[0]:
        command = [*command, str(source), "--"]
    else:
        command = [*command, str(source)]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=300, cwd=ROOT)
    said = done.stdout + done.stderr
    return said if done.returncode or re.search(r"\b(warning|error):", said) else ""


def main() -> int:
    command = tool()
    if not command:
        print("locks: NOT CHECKED, since neither clang nor clang-tidy is here")
        return 0
    root = ROOT / engine.ENGINE
    sources = [root / source for source in engine.SOURCES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = [text for text in pool.map(lambda one: check(command, one, root), sources) if text]
    print("\n".join(said), file=sys.stderr)
    print(f"locks: {len(sources)} C files, {len(said)} with complaints ({Path(command[0]).name})")
    return 1 if said else 0


if __name__ == "__main__":
    raise SystemExit(main())
