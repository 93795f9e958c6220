"""Helpers for tests of single C modules: compile some of the engine's files by themselves.

Programs are built with the address and undefined-behaviour sanitizers; shared objects, which are
loaded into this process with ctypes, without them.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "zmq_monocoque" / "_engine"
HARNESSES = Path(__file__).parents[1] / "unit" / "c"

_FLAGS = ["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", f"-I{ENGINE}"]
_SANITIZERS = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def _compile(out: Path, sources: tuple[str, ...], flags: list[str]) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    paths = [
        str(HARNESSES / source if (HARNESSES / source).exists() else ENGINE / source)
        for source in sources
    ]
    done = subprocess.run(
        [compiler, *_FLAGS, *flags, *paths, "-o", str(out)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return out


def build_library(directory: Path, name: str, *sources: str) -> Path:
    """The files (of the engine, or of ``tests/unit/c``) as a shared object."""
    return _compile(directory / f"{name}.so", sources, ["-O1", "-shared", "-fPIC"])


def build_shared(directory: Path, name: str, *sources: str) -> ctypes.CDLL:
    """The same, loaded."""
    return ctypes.CDLL(str(build_library(directory, name, *sources)), use_errno=True)


def preloading(library: Path) -> dict[str, str]:
    """Our environment, for a child that loads ``library`` first, behind a sanitizer only."""
    before = os.environ.get("LD_PRELOAD")
    return {**os.environ, "LD_PRELOAD": f"{before} {library}" if before else str(library)}


def build_program(directory: Path, name: str, *sources: str) -> Path:
    """The files as a program that stops at the first memory error, leak or undefined behaviour."""
    return _compile(directory / name, sources, _SANITIZERS)


def own_environment() -> dict[str, str]:
    """For a program with sanitizers of its own: without the runtime of a sanitized pytest, whose
    options would also send the program's reports elsewhere."""
    alien = {"LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"}
    return {name: value for name, value in os.environ.items() if name not in alien}


def run_program(program: Path, *args: object, timeout: float = 100) -> str:
    """Runs a harness; it has failed when it did not answer 0. Returns what it printed."""
    done = subprocess.run(
        [str(program), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=own_environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
