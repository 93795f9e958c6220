"""``python -m libzmq_suite.programs``: programs that Debian ships, on the C face.

They were compiled by Debian, for libzmq; here ``LD_LIBRARY_PATH`` gives them ours:

- czmq's self tests, all that its library has (each in a process);
- pyzmq, as Debian compiled it (Cython, over libzmq's C interface), and its own tests. They need
  the Python that Debian's is for, and pytest with pytest-asyncio in it; else they are skipped.

libzmq, built from source, is the reference: what fails with it too is not counted against us.
Exit codes as of ``python -m libzmq_suite``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from . import source
from .__main__ import ROOT
from .build import reference
from .source import Problem

PACKAGES = ("libczmq4", "python3-zmq")
#: What Debian's pyzmq was compiled for.
PYTHON = (3, 11)
SECONDS = 60
#: For all of pyzmq's tests.
PYZMQ_SECONDS = 900
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


def unpacked(work: Path) -> Path:
    """The packages' files."""
    directory, stamp = work / "debian", work / "debian.stamp"
    if not stamp.exists():
        configuration = source.apt(work)
        downloads = work / "downloads"
        downloads.mkdir(exist_ok=True)
        source.run("apt-get", "download", *PACKAGES, cwd=downloads, APT_CONFIG=str(configuration))
        for package in PACKAGES:
            (found,) = downloads.glob(f"{package}_*.deb")
            source.run("dpkg", "-x", found, directory)
        stamp.touch()
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
    """The same of pyzmq's tests; empty when they cannot run here."""
    packages = debian / "usr" / "lib" / "python3" / "dist-packages"
    needed = ("pytest", "pytest_asyncio", "tornado", "gevent")
    if sys.version_info[:2] != PYTHON or not all(map(importlib.util.find_spec, needed)):
        return {}
    log = work / f"pyzmq-{library.name}.log"
    with log.open("wb") as output:
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-q"),
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m libzmq_suite.programs", description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "libzmq_suite")
    parser.add_argument("--no-pyzmq", action="store_true", help="czmq alone: half a minute")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    ours = ROOT / "zmq_monocoque" / "_capi" / "zmq"
    is_good = True
    try:
        if not (ours / "libzmq.so.5").exists():
            raise Problem(f"{ours} has no libzmq.so.5: python setup.py build_ext --inplace")
        libzmq = reference(source.prepare(work), work, os.cpu_count() or 1) / "lib"
        debian = unpacked(work)
        for run in (czmq,) if options.no_pyzmq else (czmq, pyzmq):
            theirs, found = run(debian, work, libzmq), run(debian, work, ours)
            failed = {name for name, wrong in found.items() if wrong}
            bad = sorted(failed - {name for name, wrong in theirs.items() if wrong})
            bad += sorted(set(theirs) - set(found))
            for name in bad:
                print(f"{run.__name__}: failed: {name} {found.get(name, 'never ran')}")
            print(
                f"{run.__name__}: {len(found) - len(failed)} passed, {len(bad)} failed,"
                f" {len(failed) - len(bad)} fail with libzmq, too"
                if found
                else f"{run.__name__}: skipped, see the help"
            )
            is_good = is_good and not bad
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
