#!/usr/bin/env python
"""The kernels that this machine does not have, what is run on each, and the table of how it went.

    python tests/kernels/matrix.py           what CI runs (tests/kernels/test_kernels.py)
    ZM_KERNELS=full python tests/kernels/matrix.py    all behaviour and fault tests on each

A kernel is made from this one: ``shim.c``, in the place of liburing, takes features away.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "zmq_monocoque" / "_engine"
FULL = os.environ.get("ZM_KERNELS") == "full"

BEFORE_5_18 = "submit_all,coop,msg_ring,messages"
#: What each lacks (see shim.c), and why io_uring is then not used, "" when it is.
KERNELS = {
    "without io_uring": ("setup", "has no io_uring"),
    "in a container": ("permission", "forbidden here"),
    "in a half-closed container": ("enter", "forbidden here"),
    "5.10": (f"ext_arg,multishot,accept,{BEFORE_5_18}", "Linux 5.11"),
    "5.12": (f"multishot,accept,{BEFORE_5_18}", "Linux 5.13"),
    "5.15": (f"accept,{BEFORE_5_18}", "Linux 5.19"),
    "5.15.90": (BEFORE_5_18, ""),
    "5.18": ("coop,accept,messages", "Linux 5.19"),
    "6.1": ("messages", ""),
    "6.6": ("messages", ""),
    "6.12": ("messages", ""),
}

BEHAVIOUR = [f"behaviour/test_{name}.py" for name in ("fd_events", "poll", "proxy", "transports")]
#: What CI runs there: what sleeps, wakes, accepts, connects and cancels where io_uring works
#: otherwise; what ends in the middle. What runs on epoll is run by ``tox -e py-epoll`` as a whole.
CHOICE = {
    "5.10": ["behaviour/test_descriptors.py", "fault/test_limits.py"],
    "5.15": ["behaviour/test_descriptors.py", "fault/test_fork.py"],
    "5.15.90": [*BEHAVIOUR, "behaviour/test_descriptors.py"],
    "6.1": [*BEHAVIOUR, "behaviour/test_descriptors.py"],
    "6.6": ["behaviour/test_descriptors.py", "fault/test_fork.py", "fault/test_signals.py"],
    "6.12": ["fault/test_kill.py", "fault/test_closed_midway.py", "fault/test_limits.py"],
}


class Missing(Exception):
    """No kernel can be made here, and why."""


@dataclass
class Kernels:
    """Makes environments of processes; ``folder`` gets the shim."""

    folder: Path

    def __post_init__(self) -> None:
        package = importlib.util.find_spec("liburing")
        if package is None or not package.submodule_search_locations:
            raise Missing("the package liburing is not installed")
        self.real = next(Path(package.submodule_search_locations[0]).glob("liburing*.so"))
        compiler = shutil.which("gcc") or shutil.which("cc")
        if not compiler:
            raise Missing("no C compiler")
        (self.folder / "liburing").mkdir()
        (self.folder / "liburing" / "__init__.py").touch()
        shim = self.folder / "liburing" / f"liburing{importlib.machinery.EXTENSION_SUFFIXES[0]}"
        flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        source = Path(__file__).with_name("shim.c")
        subprocess.run(
            [compiler, *flags, f"-I{ENGINE}", source, "-o", shim, "-ldl"], check=True, timeout=60
        )

    def environment(self, kernel: str) -> dict[str, str]:
        """Of a process that runs on that kernel."""
        path = filter(None, [str(self.folder), os.environ.get("PYTHONPATH", "")])
        return {
            **{k: v for k, v in os.environ.items() if k != "ZMQ_MONOCOQUE_DRIVER"},
            "PYTHONPATH": os.pathsep.join(path),
            "ZM_SHIM_REAL": str(self.real),
            "ZM_SHIM_KERNEL": KERNELS[kernel][0],
        }

    def driver(self, kernel: str, cwd: Path) -> tuple[str, str]:
        """Which one runs there, and why it is not io_uring."""
        code = "from zmq_monocoque import backend as b; print(b.driver_name(), b.driver_reason())"
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=self.environment(kernel),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        name, _, reason = done.stdout.strip().partition(" ")
        return name, reason

    def run(self, kernel: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """The tests that are run there. Not from the clone: ``-m`` would import the package beside
        the tests, not the one that is installed."""
        tests = ["behaviour", "fault"] if FULL else CHOICE[kernel]
        command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml")]
        command += ["--rootdir", str(ROOT), "-q", "-x", "-p", "no:cacheprovider"]
        return subprocess.run(
            [*command, "--timeout", "120", *(str(ROOT / "tests" / test) for test in tests)],
            env=self.environment(kernel),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=1800,
        )


def main() -> int:
    """Prints the table. Its exit code: 0; 1 when tests failed; 77 when nothing could be run."""
    failed = False
    with tempfile.TemporaryDirectory(prefix="zm-kernels-") as folder:
        try:
            kernels = Kernels(Path(folder))
        except Missing as missing:
            print(f"no kernel can be made here: {missing}")
            return 77
        print(f"{'kernel':<28}{'driver':<10}tests")
        for kernel in KERNELS:
            driver, reason = kernels.driver(kernel, Path(folder))
            result, named = "not run: as any other epoll", []
            if FULL or kernel in CHOICE:
                done = kernels.run(kernel, Path(folder))
                failed |= done.returncode != 0
                named = re.findall(r"^(?:FAILED|ERROR) .*", done.stdout, re.MULTILINE)
                result = re.sub(r" in [\d.]+s.*", "", done.stdout.strip().splitlines()[-1])
            print(f"{kernel:<28}{driver:<10}{result}", flush=True)
            for line in filter(None, (reason, *named)):
                print(f"    {line}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
