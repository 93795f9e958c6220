"""``python -m libzmq_suite.programs``: programs that Debian ships, on the C face.

They were compiled by Debian, for libzmq; here ``LD_LIBRARY_PATH`` gives them ours:

- czmq's self tests, all that its library has (each in a process);
- mongrel2, a web server in C, and condure, one in Rust: requests that a handler answers which has
  loaded the same library with ctypes;
- pyzmq, as Debian compiled it (Cython, over libzmq's C interface), and its own tests. They need
  the Python that Debian's is for; else they are skipped.

What fails runs on libzmq, built from source, as well: if it fails there, too, it is not counted
against us. Exit codes as of ``python -m libzmq_suite``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from . import source
from .__main__ import ROOT
from .build import reference
from .servers import condure, mongrel2
from .source import Problem, Unavailable
from .verdict import CANNOT

PACKAGES = (
    *("libczmq4", "python3-zmq", "condure", "mongrel2-core"),
    *("libmbedcrypto7", "libmbedtls14", "libmbedx509-1"),
)
#: What Debian's pyzmq was compiled for.
PYTHON = (3, 11)
SECONDS = 60
#: For all of pyzmq's tests, and what they need.
PYZMQ_SECONDS = 300
PYZMQ_NEEDS = ("pytest", "pytest-asyncio", "pytest-xdist", "tornado", "gevent")
CALLER = """
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    void *library = argc == 2 ? dlopen("libczmq.so.4", RTLD_NOW | RTLD_GLOBAL) : NULL;
    void (*test)(bool) = library ? (void (*)(bool)) dlsym(library, argv[1]) : NULL;
    if (!test)
        return puts(dlerror()), 2;
    test(false);
    return 0;
}
"""
#: Expects that what one actor was told comes before what it hears from another by way of a third,
#: which nothing promises: on a busy machine it may need several tries.
RACES = {"zgossip_test": 5}
#: Mypy and Cython are other runs; large messages take more memory than a machine may have.
NOT_PYZMQ = ("--ignore-glob=*/test_mypy.py", "--ignore-glob=*/test_cython.py", "-k", "not large")


class Skipped(Exception):
    """It cannot run here; the text says why."""


def unpacked(work: Path) -> Path:
    """The packages' files."""
    directory, stamp = work / "debian", work / "debian.stamp"
    wanted = " ".join(PACKAGES)
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        downloads = work / "downloads"
        downloads.mkdir(exist_ok=True)
        try:
            configuration = source.apt(work)
            source.run(
                "apt-get", "download", *PACKAGES, cwd=downloads, APT_CONFIG=str(configuration)
            )
        except Problem as problem:
            raise Unavailable(str(problem)) from problem
        for package in PACKAGES:
            (found,) = downloads.glob(f"{package}_*.deb")
            source.run("dpkg", "-x", found, directory)
        stamp.write_text(wanted, encoding="utf-8")
    return directory


def czmq(debian: Path, work: Path, library: Path) -> dict[str, str]:
    """Of each of czmq's self tests: "" or what is wrong."""
    (face,) = debian.rglob("libczmq.so.4")
    caller = work / "czmq_caller"
    if not caller.exists():
        (work / "czmq_caller.c").write_text(CALLER, encoding="utf-8")
        source.run("cc", work / "czmq_caller.c", "-o", caller, "-ldl")
    symbols = subprocess.run(["nm", "-D", face], capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = {}
    names = sorted(re.findall(r" T (z\w+_test)$", symbols, re.MULTILINE))
    for name in [n for n in names for _ in range(RACES.get(n, 1))]:
        if found.get(name) == "":
            continue
        where = work / "czmq" / name
        for directory in ("selftest-rw", "selftest-ro"):
            (where / "src" / directory).mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                [caller, name],
                cwd=where,
                env={**os.environ, "LD_LIBRARY_PATH": f"{library}:{face.parent}"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
            failed = done.returncode != 0
            found[name] = f"{done.returncode}: {(done.stdout + done.stderr)[-500:]}" * failed
        except subprocess.TimeoutExpired:
            found[name] = f"did not end within {SECONDS} s"
    return found


def pyzmq(debian: Path, work: Path, library: Path) -> dict[str, str]:
    """The same of pyzmq's tests."""
    packages = debian / "usr" / "lib" / "python3" / "dist-packages"
    if sys.version_info[:2] != PYTHON:
        raise Skipped(f"Debian's is for Python {'.'.join(map(str, PYTHON))}")
    python = work / "pyzmq" / "bin" / "python"
    if not python.exists():
        source.run(sys.executable, "-m", "venv", work / "pyzmq")
        source.run(python, "-m", "pip", "install", "--quiet", *PYZMQ_NEEDS)
    log = work / f"pyzmq-{library.name}.log"
    with log.open("wb") as output:
        subprocess.run(
            [
                *(python, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-q", "-n", "4"),
                *(str(packages / "zmq" / "tests"), *NOT_PYZMQ),
            ],
            cwd=work,
            env={**os.environ, "LD_LIBRARY_PATH": str(library), "PYTHONPATH": str(packages)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=PYZMQ_SECONDS,
        )
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = re.findall(r"^(PASSED|FAILED|ERROR) \S*/(test_\S+)(.*)$", text, re.MULTILINE)
    return {name: "" if word == "PASSED" else why or word for word, name, why in lines}


RUNS = {"czmq": czmq, "mongrel2": mongrel2, "condure": condure, "pyzmq": pyzmq}


def run(options: argparse.Namespace) -> bool:
    """Everything that was asked for, and says what was run. Is all as it should be?"""
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    ours = (options.library or ROOT / "zmq_monocoque" / "_capi" / "zmq").resolve()
    if not (ours / "libzmq.so.5").exists():
        raise Problem(f"{ours} has no libzmq.so.5: python setup.py build_ext --inplace")
    debian = unpacked(work)
    is_good = True
    if unknown := set(options.programs) - set(RUNS):
        raise Problem(f"no such program: {', '.join(sorted(unknown))}")
    for name in options.programs or RUNS:
        try:
            found = RUNS[name](debian, work, ours)
        except Skipped as reason:
            print(f"{name}: SKIPPED: {reason}")
            continue
        failed = {test: wrong for test, wrong in found.items() if wrong}
        theirs: dict[str, str] = {}
        if failed:
            libzmq = reference(source.prepare(work), work, os.cpu_count() or 1) / "lib"
            theirs = RUNS[name](debian, work, libzmq)
        bad = [test for test in failed if not theirs.get(test)]
        for test in bad:
            print(f"{name}: failed: {test} {failed[test]}")
        counts = len(found) - len(failed), len(bad), len(failed) - len(bad)
        print("{}: {} passed, {} failed, {} fail with libzmq, too".format(name, *counts))
        is_good = is_good and bool(found) and not bad
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m libzmq_suite.programs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="default: all")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "libzmq_suite")
    parser.add_argument("--library", metavar="DIRECTORY", type=Path, help="one with libzmq.so.5")
    try:
        return 0 if run(parser.parse_args()) else 1
    except Unavailable as problem:
        print(f"Debian's programs cannot run here, NOTHING WAS TESTED: {problem}", file=sys.stderr)
        return CANNOT
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
