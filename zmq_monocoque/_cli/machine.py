"""What this machine offers the engine: facts, gathered without changing anything."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: /proc/sys/kernel/io_uring_disabled, Documentation/admin-guide/sysctl/kernel.rst (Linux 6.6).
IO_URING_DISABLED = {
    0: "0 (allowed for every process)",
    1: "1 (only for kernel.io_uring_group and CAP_SYS_ADMIN)",
    2: "2 (forbidden for every process)",
}


@dataclass
class Driver:
    """Which driver a new context gets, and why it is not io_uring ("" when it is)."""

    name: str
    reason: str


def driver() -> Driver:
    """What the engine says."""
    backend = importlib.import_module(__package__.rpartition(".")[0] + ".backend")
    return Driver(backend.driver_name(), backend.driver_reason())


def need_pyzmq() -> None:
    """Ends a program that compares, where there is nothing to compare with."""
    if not zmq().is_pyzmq:
        raise SystemExit(f"there is no pyzmq here to compare with (import zmq: {zmq().text})")


class Others:
    """How many processors others were using, since the last look, while we used some too."""

    def __init__(self) -> None:
        self._before = self._read()

    def processors(self) -> float | None:
        """None where it cannot be told."""
        before, self._before = self._before, self._read()
        if before is None or self._before is None or self._before[0] <= before[0]:
            return None
        wall, busy, own = (b - a for a, b in zip(before, self._before, strict=True))
        return max(0.0, busy - own) / wall

    def _read(self) -> tuple[float, float, float] | None:
        """Now, the time of all processors that somebody used, and ours. Interrupts are nobody's:
        our own messages cause them, and they count for no process."""
        try:
            first = Path("/proc/stat").read_text().partition("\n")[0].split()
        except OSError:
            return None
        user, nice, system, _, _, _, _, steal = map(int, first[1:9])
        spent = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return (
            time.monotonic(),
            (user + nice + system + steal) / os.sysconf("SC_CLK_TCK"),
            sum(usage.ru_utime + usage.ru_stime for usage in spent),
        )


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution; None: not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


#: What a new process says of its ``import zmq``.
_ASK_ZMQ = """
import json
answer = {}
try:
    import zmq
except ModuleNotFoundError as error:
    if error.name != "zmq":
        answer["error"] = f"{type(error).__name__}: {error}"
except Exception as error:
    answer["error"] = f"{type(error).__name__}: {error}"
else:
    answer = {"file": zmq.__file__, "name": zmq.__name__}
    if hasattr(zmq, "pyzmq_version"):
        answer |= {"version": zmq.pyzmq_version(), "libzmq": zmq.zmq_version()}
        answer["backend"] = getattr(zmq.backend, "backend", "")  # of PYZMQ_BACKEND
print(json.dumps(answer))
"""


@dataclass
class Zmq:
    """What a new process gets for ``import zmq``, as this one would start it.

    ``is_pyzmq``: real pyzmq over libzmq, and so something to hold this engine against. ``text``
    says what it is, or why there is none; ``missing``: there is none. ``is_ours``: this engine
    under its name.
    """

    is_pyzmq: bool
    text: str
    version: str = ""
    missing: bool = False
    is_ours: bool = False


@cache
def zmq() -> Zmq:
    """Asks a process. Distributions' names do not tell: the one called pyzmq may be ours."""
    done = subprocess.run(
        [sys.executable, "-c", _ASK_ZMQ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Zmq(False, f"ends the process with {done.returncode}")
    if "error" in found:
        return Zmq(False, f"fails: {found['error']}")
    if not found:
        return Zmq(False, "not installed", missing=True)
    own = __package__.partition(".")[0]
    if found["name"] == own:
        return Zmq(False, f"this engine, from {found['file']}", is_ours=True)
    if "version" not in found:
        return Zmq(False, f"a module that is not pyzmq, from {found['file']}")
    backend, version = found["backend"], f"{found['version']} (libzmq {found['libzmq']})"
    if backend.partition(".")[0] == own:
        return Zmq(False, f"pyzmq {found['version']} on this engine (PYZMQ_BACKEND={backend})")
    return Zmq(True, f"pyzmq {version}, from {found['file']}", version)


def read_number(path: str, field: str | None = None) -> int | None:
    """The number in a file of /proc, or behind ``field:`` in it; None: not there."""
    try:
        text = Path(path).read_text()
        if field is not None:
            text = next(line for line in text.splitlines() if line.startswith(field + ":"))
            text = text.partition(":")[2]
        return int(text)
    except (OSError, StopIteration, ValueError):
        return None


def io_uring_sysctl() -> str:
    value = read_number("/proc/sys/kernel/io_uring_disabled")
    if value is None:
        return "no such setting (Linux before 6.6, or hidden)"
    return IO_URING_DISABLED.get(value, str(value))


def liburing() -> str:
    """Version and place of the liburing that the engine would load, or what is missing."""
    found = _library("liburing", "liburing", "liburing", "liburing")
    return found or "not installed (pip install liburing; wheels exist for x86_64 with glibc)"


def libsodium() -> str:
    """The same of libsodium, without which there is no CURVE."""
    found = _library("libsodium", "nacl", "_sodium", "PyNaCl")
    return found or "not installed, so there is no CURVE (pip install pynacl)"


def _library(name: str, package: str, extension: str, distribution: str) -> str | None:
    engine = importlib.import_module(__package__.rpartition(".")[0] + ".backend._engine")
    path = engine.library_path(name, package, extension)
    if path is None:
        return None
    if f"{os.sep}_libs{os.sep}" in path:
        return f"of this wheel, in {path}"
    version = version_of(distribution) or "of unknown version"
    return f"{version if distribution == name else f'{distribution} {version}'}, in {path}"


def processors() -> str:
    text = f"{os.cpu_count()}, of which this process may use {len(os.sched_getaffinity(0))}"
    share = cgroup_processors()
    return text if share is None else f"{text}, and the time of {share:.3g} by its cgroup"


def cgroup_processors() -> float | None:
    """The processors whose time the cgroup may use; None: all, or it cannot be told."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Inside of a container its own cgroup may be mounted as if it were the root.
        for folder in (f"/sys/fs/cgroup/{controllers}{path}", f"/sys/fs/cgroup/{controllers}"):
            share = _quota(Path(folder))
            if share is not None:
                return share
    return None


def _quota(cgroup: Path) -> float | None:
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota, period = (
                (cgroup / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
            )
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # "max" is no number, either
        return None


def seccomp() -> str:
    mode = read_number("/proc/self/status", "Seccomp")
    return {
        0: "no filter",
        1: "strict",
        2: "filter (containers often forbid io_uring with one)",
    }.get(-1 if mode is None else mode, "unknown")


def limit(which: int, unit: int = 1) -> str:
    def text(value: int) -> str:
        return "unlimited" if value == resource.RLIM_INFINITY else f"{value // unit:,}"

    soft, hard = resource.getrlimit(which)
    return f"{text(soft)} (up to {text(hard)})"


def python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def kernel() -> str:
    return f"{platform.system()} {platform.release()} on {platform.machine()}"
