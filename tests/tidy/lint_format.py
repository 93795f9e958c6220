"""Compares the C files with what clang-format makes of them (.clang-format).

    python tests/tidy/lint_format.py [--write]

``--write`` formats them. Releases of clang-format differ in what they make of a file, so one is
pinned in the extra `lint`; where it is not, this says so and checks nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("zmq_monocoque", "tests", "tools")
#: What users compile is laid out by hand. The simulation is being written, and not formatted yet.
LEFT_OUT = ("zmq_monocoque/_capi/include/", "tests/simulation/")


def files() -> list[str]:
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.[ch]"))
    names = sorted(str(path.relative_to(ROOT)) for path in found)
    return [name for name in names if not name.startswith(LEFT_OUT)]


def main() -> int:
    tool = shutil.which("clang-format")
    if not tool:
        print("format: NOT CHECKED, since clang-format is not here")
        return 0
    how = ["-i"] if "--write" in sys.argv else ["--dry-run", "-Werror"]
    names = files()
    done = subprocess.run([tool, *how, *names], cwd=ROOT, timeout=300)
    print(f"format: {len(names)} C files, {'see above' if done.returncode else 'none differs'}")
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
