"""tests/sanitize/run.py must see a report even where nobody sees stderr."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.c import own_environment

RUN = Path(__file__).parent / "sanitize" / "run.py"

FAULTY = """
#include <limits.h>
#include <stdlib.h>
int add(int x) { return INT_MAX + x; }
int read_freed(int x) { char *p = calloc(1, 8); free(p); return p[x]; }
int both(int x) { int sum = add(x); return sum + read_freed(x); }
int lose(int x) { char *volatile p = malloc(100); p = NULL; return x; }
int neither(int x) { return x; }
"""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


def judged(directory: Path, code: str) -> subprocess.CompletedProcess[str]:
    """A Python with that code, under run.py."""
    return subprocess.run(
        [sys.executable, RUN, "address,undefined", directory, "--", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=own_environment(),
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("faulty")
    source, target = directory / "faulty.c", directory / "faulty.so"
    source.write_text(FAULTY)
    flags = ["-g", "-shared", "-fPIC", "-fsanitize=address,undefined"]
    done = subprocess.run(
        ["gcc", *flags, "-o", target, source], capture_output=True, text=True, timeout=60
    )
    if done.returncode and re.search(r"cannot find .*lib[au]*san", done.stderr):
        pytest.skip(f"no sanitizer library: {done.stderr}")
    assert done.returncode == 0, done.stderr
    # 3.12 and 3.13.0 leak strings of their own; one without the GIL has an allocator of its own.
    said = judged(directory, "pass").stderr
    if "detected memory leaks" in said or "PYTHONMALLOC: unknown allocator" in said:
        pytest.skip("this Python leaks, or cannot be told to use malloc()")
    return target


@pytest.mark.parametrize(
    ("function", "reports"),
    [
        ("add", ["signed integer overflow"]),
        ("read_freed", ["heap-use-after-free"]),
        ("both", ["signed integer overflow", "heap-use-after-free"]),
        ("lose", ["detected memory leaks"]),
        ("neither", []),
    ],
)
def test_every_report_is_printed_and_fails_the_run(library, tmp_path, function, reports):
    call = f"import ctypes, os; os.dup2(os.open(os.devnull, os.O_WRONLY), 2); \
ctypes.CDLL({str(library)!r}).{function}(1)"
    done = judged(tmp_path, call)
    assert (done.returncode != 0) == bool(reports), done.stdout + done.stderr
    assert f"{len(reports)} report file(s)" in done.stdout
    for report in reports:
        assert report in done.stderr
