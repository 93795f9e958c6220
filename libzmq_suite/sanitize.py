"""The C face built with a sanitizer: what the programs' environment needs for it, and what it says.

The programs themselves are not built with it: what is looked at is our library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from . import source
from .source import Problem

#: Of a thread that was ending when leaks were looked for; what it found comes as a report.
NOTICE = re.compile(r"^==\d+==Running thread \d+ was not suspended.*$", re.MULTILINE)
#: Of a test that failed in a thread which the program made: unity jumps out of it to where another
#: one was, and TSan's runtime stops there. That it failed, its outcome says.
JUMP = "ThreadSanitizer: can't find longjmp buf"
SANITIZERS = ("address,undefined", "thread")


def build(root: Path, sanitizer: str) -> Path:
    """Builds this clone with it, beside the other variants; a directory with libzmq.so.5."""
    source.run(*(sys.executable, "setup.py", "-q", "build_ext"), cwd=root, ZM_SANITIZE=sanitizer)
    base = root / "build" / sanitizer.replace(",", "+")
    found = max(
        base.glob("lib.*/zmq_monocoque/_capi/zmq"), key=lambda p: p.stat().st_mtime, default=None
    )
    if found is None:
        raise Problem(f"{base} has no C face")
    return found


def runtime(library: str) -> str:
    done = subprocess.run(["gcc", f"-print-file-name={library}"], capture_output=True, text=True)
    return done.stdout.strip()


def prefix(sanitizer: str) -> list[str]:
    """gcc 12's thread runtime stops where addresses have more than 28 random bits."""
    return ["setarch", "-R"] if sanitizer == "thread" else []


def environment(sanitizer: str, reports: Path) -> dict[str, str]:
    """Reports go to files in ``reports``, which is emptied; UBSan ends its program."""
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    where = f"log_path={reports / 'report'}:allocator_may_return_null=1"
    if sanitizer == "thread":
        options = f"{where}:exitcode=66:history_size=4:die_after_fork=0"
        return {"LD_PRELOAD": runtime("libtsan.so"), "TSAN_OPTIONS": options}
    return {
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')}",
        "ASAN_OPTIONS": f"{where}:detect_leaks=1:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def reported(reports: Path) -> list[str]:
    """What the runtimes wrote."""
    files = sorted(reports.glob("report.*"), key=os.path.getmtime)
    texts = [path.read_text(encoding="utf-8", errors="replace")[:10_000] for path in files]
    return [t for t in texts if NOTICE.sub("", t).strip() and not t.startswith(JUMP)]
