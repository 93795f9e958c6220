"""tools/wide.c, which the wheels have for some processors, beside PyNaCl's libsodium."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from support.c import build_library, run_program

TOOLS = Path(__file__).parents[2] / "tools"
NEEDED = ("avx512f", "avx512dq", "avx512vl", "avx512bw", "avx512ifma")


def test_wide_registers_make_what_libsodium_makes(tmp_path):
    """In Python's process, whose symbols PyNaCl's object needs."""
    sodium = pytest.importorskip("nacl._sodium")
    cpu = Path("/proc/cpuinfo")
    has = set(re.findall(r"\bavx512\w+", cpu.read_text())) if cpu.exists() else set()
    if missing := set(NEEDED) - has:
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    flags = [f"-m{name}" for name in NEEDED] + [f"-I{TOOLS}"]
    # A trap, and no runtime: it is loaded into a process that has none.
    flags += ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    library = build_library(tmp_path, "wide", "wide.c", str(TOOLS / "wide.c"), flags=flags)
    code = "import ctypes, sys; sys.exit(ctypes.CDLL(sys.argv[1]).run(sys.argv[2].encode()))"
    run_program(sys.executable, "-c", code, library, sodium.__file__)
