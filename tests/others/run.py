#!/usr/bin/env python
"""Suites of packages that others wrote on pyzmq, run on pyzmq and on this engine.

    python tests/others/run.py [NAME ...] [--work DIRECTORY]

Each package comes from the package index, unmodified, with its tests. In one environment `import
zmq` is pyzmq, in the other it is this engine, by `zmq-monocoque switch on`. Prints a line for each
suite, and the tests that fail only here. Exits with 1 when there are any.

Not in CI: it takes the better part of an hour, most of it to start kernels.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import venv
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINES = ("pyzmq", "zmq_monocoque")
SECONDS, SECONDS_OF_A_TEST = 1800, 120


@dataclass(frozen=True)
class Suite:
    package: str
    version: str
    tests: str
    #: For pytest: what its own age makes impossible here.
    options: tuple[str, ...] = ()


SUITES = (
    # Its rpc tests want asyncio.coroutine, which Python 3.11 has no more.
    Suite("aiozmq", "1.0.0", "tests", ("--ignore-glob=*/rpc_test.py",)),
    Suite("jupyter_client", "8.10.0", "tests"),
    Suite("ipykernel", "7.4.0", "tests"),
    Suite("nbclient", "0.11.0", "tests"),
    Suite("ipyparallel", "9.2.0", "ipyparallel/tests"),
    # Quick ones, a minute in all: threads and proxies; asyncio and threads side by side; Twisted's
    # reactor over FD; gevent.
    Suite("pyleco", "0.6.0.post1", "tests"),
    Suite("zmq_tubes", "1.17.0", "tests"),
    Suite("txZMQ", "1.0.0", "txzmq"),
    Suite("tinyrpc", "1.1.7", "tests"),
)
#: What the suites want beside their packages, and what their sources are built with.
TOOLS = (
    *("pytest", "pytest-timeout", "pytest-asyncio", "pytest-jupyter[client]", "anyio", "trio"),
    *("pytest-cov", "flaky", "mock", "msgpack", "testpath", "xmltodict", "nbconvert"),
    *("pyyaml", "gevent", "gevent-websocket", "werkzeug", "pika", "requests", "pytest-mock"),
    *("hatchling", "hatch-jupyter-builder", "setuptools", "setuptools_scm", "wheel", "flit_core"),
    "pdm-backend",
)


def run(*words: str | Path, cwd: Path | None = None, check: bool = True) -> int:
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, stdout=sys.stderr, timeout=SECONDS
    )
    if check and done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed")
    return done.returncode


def environment(work: Path, engine: str, suites: list[Suite]) -> Path:
    """Its python."""
    directory = work / engine
    python = directory / "bin" / "python"
    if not python.exists():
        venv.create(directory, with_pip=True)
    packages = [f"{suite.package}=={suite.version}" for suite in suites]
    run(python, "-m", "pip", "install", "-q", "pyzmq", *TOOLS, *packages)
    if engine == "zmq_monocoque":
        run(python, "-m", "zmq_monocoque", "switch", "off", check=False)
        run(python, "-m", "pip", "install", "-q", "--force-reinstall", "--no-deps", ROOT)
        run(python, "-m", "pip", "install", "-q", ROOT)
        run(python, "-m", "zmq_monocoque", "switch", "on")
    return python


def source(work: Path, python: Path, suite: Suite) -> Path:
    """Where its sources lie."""
    directory = work / f"{suite.package}-{suite.version}"
    if not directory.exists():
        words = ("-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", work)
        run(python, "-m", "pip", "download", *words, f"{suite.package}=={suite.version}")
        with tarfile.open(work / f"{directory.name}.tar.gz") as archive:
            archive.extractall(work, filter="data")
    return directory


def outcomes(python: Path, where: Path, suite: Suite, report: Path) -> dict[str, str]:
    """name of a test: passed, failed or skipped."""
    report.unlink(missing_ok=True)
    run(
        *(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"),
        *("--timeout", str(SECONDS_OF_A_TEST), f"--junit-xml={report}"),
        *(*suite.options, suite.tests),
        cwd=where,
        check=False,
    )
    if not report.exists():
        raise SystemExit(f"pytest came to no end in {where}")
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "passed"
        name = f"{case.get('classname')}::{case.get('name')}"
        found[name] = "skipped" if "skipped" in kinds else outcome
    return found


def said(found: dict[str, str]) -> str:
    kinds = list(found.values())
    return ", ".join(f"{kinds.count(k)} {k}" for k in ("passed", "failed", "skipped"))


def main() -> int:
    parser = argparse.ArgumentParser("tests/others/run.py", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *(s.package for s in SUITES)])
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "others")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    chosen = [s for s in SUITES if not options.names or s.package in options.names]
    pythons = {engine: environment(work, engine, chosen) for engine in ENGINES}
    worse = 0
    for suite in chosen:
        where = source(work, pythons["pyzmq"], suite)
        theirs, ours = (
            outcomes(pythons[engine], where, suite, work / f"{suite.package}-{engine}.xml")
            for engine in ENGINES
        )
        print(f"{suite.package} {suite.version}: pyzmq {said(theirs)}; here {said(ours)}")
        for name, outcome in sorted(ours.items()):
            if outcome == "failed" and theirs.get(name) != "failed":
                print(f"    only here: {name}")
                worse += 1
        sys.stdout.flush()
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
