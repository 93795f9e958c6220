"""What this machine offers the engine: facts, gathered without changing anything."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import resource
from dataclasses import dataclass
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


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution; None: not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


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
    spec = importlib.util.find_spec("liburing")
    if spec is None:
        return "not installed (pip install liburing; wheels exist for x86_64 with glibc)"
    libraries = sorted(Path(spec.origin or "").parent.glob("liburing*.so"))
    where = f"in {libraries[0]}" if libraries else "but its shared object is missing"
    return f"{version_of('liburing') or 'of unknown version'}, {where}"


def processors() -> str:
    return f"{os.cpu_count()}, of which this process may use {len(os.sched_getaffinity(0))}"


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
