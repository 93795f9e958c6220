"""Checks with clang that what needs a lock is done with it held (-Wthread-safety).

The words it reads are in base/lock.h and objects.h; the C face uses the engine's. It runs clang, or
else clang-tidy, which is on PyPI (and in the extra `lint`); where neither is, it says so and checks
nothing.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "zmq_monocoque" / "_engine"
CAPI = ROOT / "zmq_monocoque" / "_capi"
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-Wno-everything", "-Wthread-safety", "-Werror"]


def _sources() -> list[Path]:
    """The C files of the engine and the C face. The list is loaded by its path: that of the package
    is no place to import from, since it has an asyncio.py."""
    spec = importlib.util.spec_from_file_location(
        "engine", ROOT / "zmq_monocoque" / "_build" / "engine.py"
    )
    assert spec and spec.loader
    engine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(engine)
    return [
        *(ENGINE / source for source in engine.SOURCES),
        *(CAPI / source for source in engine.CAPI_SOURCES),
    ]


def tool() -> list[str] | None:
    """The command that a C file and its flags are put behind; None: there is none."""
    if clang := shutil.which("clang"):
        return [clang, "-fsyntax-only"]
    if tidy := shutil.which("clang-tidy"):
        return [tidy, "--quiet", "--checks=-*,clang-diagnostic-*", "--allow-no-checks"]
    return None


def check(command: list[str], source: Path) -> str:
    """What clang says of one file; empty when it is content."""
    flags = [*FLAGS, f"-I{ENGINE}", f"-I{CAPI}"]
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
    sources = _sources()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = [text for text in pool.map(lambda one: check(command, one), sources) if text]
    print("\n".join(said), file=sys.stderr)
    print(f"locks: {len(sources)} C files, {len(said)} with complaints ({Path(command[0]).name})")
    return 1 if said else 0


if __name__ == "__main__":
    raise SystemExit(main())
