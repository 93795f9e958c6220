"""The fuzz targets, and how a program is made of one: for libFuzzer, and for replay.c.

A target is ``fuzz_NAME.c``; its corpus is ``corpus/NAME``. One program has all of them; a second
one can have a defect of ``canary.c``, which is then to be found. `environment` chooses.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENGINE = HERE.parents[1] / "zmq_monocoque" / "_engine"
CORPORA = HERE / "corpus"
TARGETS = ("greeting", "framing", "commands", "null", "plain", "curve", "curve_stream")
#: A planted defect, by its number in canary.c, and the target that is to find it.
CANARIES = {1: "commands", 2: "framing", 3: "curve_stream"}

_FLAGS = "-std=gnu11 -g -O1 -pthread -rdynamic -fno-sanitize-recover=all".split()
#: What canary.c takes the place of.
_SPOILT = ("framing.c", "mechanism_curve.c")
HELP = "apt-get install clang libclang-rt-14-dev (or the libclang-rt of the clang that you have)"


class NoCompiler(Exception):
    """What is missing, and what to install."""


def _sources(with_canary: bool) -> list[Path]:
    """The C files of a program, without a ``main``."""
    own = [p for p in HERE.glob("*.c") if p.name not in ("replay.c", "canary.c")]
    wire = list((ENGINE / "zmtp").glob("*.c"))
    if with_canary:
        own.append(HERE / "canary.c")
        wire = [path for path in wire if path.name not in _SPOILT]
    names = ("alloc.c", "check.c", "lock.c", "secret.c")
    base = [ENGINE / "base" / name for name in names]
    return sorted([*own, *wire, *base])


def _compile(compiler: str, program: Path, files: list[Path], sanitizers: str) -> str:
    command = [compiler, *_FLAGS, f"-fsanitize={sanitizers}", f"-I{ENGINE}", f"-I{HERE}"]
    command += [*map(str, files), "-o", str(program), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.stderr if done.returncode else ""


def build_replay(program: Path, with_canary: bool = False) -> None:
    """With gcc (or cc) and replay.c. Raises `NoCompiler`, or AssertionError with its words."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        raise NoCompiler("no C compiler")
    files = [HERE / "replay.c", *_sources(with_canary)]
    complaint = _compile(compiler, program, files, "address,undefined")
    assert not complaint, complaint


def build_fuzzer(program: Path, with_canary: bool = False) -> None:
    """With clang and libFuzzer. Raises `NoCompiler`, or AssertionError with its words."""
    compiler = os.environ.get("CC", "clang")
    if not shutil.which(compiler):
        raise NoCompiler(f"there is no {compiler}: {HELP}")
    complaint = _compile(compiler, program, _sources(with_canary), "fuzzer,address,undefined")
    if "libclang_rt" in complaint or "fsanitize=fuzzer" in complaint:
        raise NoCompiler(f"{compiler} has no libFuzzer: {HELP}\n{complaint}")
    assert not complaint, complaint


def environment(target: str, canary: int = 0) -> dict[str, str]:
    """For the programs: what they run, where libsodium is, and no sanitizer of somebody else."""
    spec = importlib.util.find_spec("nacl._sodium")
    if spec is None or spec.origin is None:
        raise NoCompiler("there is no PyNaCl, which brings libsodium: pip install pynacl")
    alien = {"LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"}
    mine = {name: value for name, value in os.environ.items() if name not in alien}
    mine |= {"ZM_FUZZ_TARGET": target, "ZM_FUZZ_CANARY": str(canary)}
    return mine | {"ZM_FUZZ_SODIUM": spec.origin}
