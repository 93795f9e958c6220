"""``doctor``: what the engine finds on this machine, and what it makes of it."""

from __future__ import annotations

import argparse
import os
import resource
import tempfile

from . import machine

HELP = "say what this machine offers, and which driver would run"
DESCRIPTION = (
    "Prints what the engine sees: machine, kernel, Python, whether io_uring and liburing are"
    " usable and why not, and which driver would run. Changes nothing; the exit code is 0."
)
EXAMPLES = {"zmq-monocoque doctor": "to go with a report of a fault"}
#: Below this many descriptors a server with many peers runs out early.
FEW_DESCRIPTORS = 4096


def add_arguments(command: argparse.ArgumentParser) -> None:
    """It has no options."""


def advice() -> list[str]:
    """What the person could do about what was found."""
    found = []
    driver = machine.driver()
    if driver.reason:
        found.append(f"io_uring is not used: {driver.reason}. epoll does the same.")
    disabled = machine.read_number("/proc/sys/kernel/io_uring_disabled")
    if disabled:
        found.append("To allow io_uring: sysctl -w kernel.io_uring_disabled=0 (as root).")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEW_DESCRIPTORS:
        found.append(
            f"A socket takes one descriptor, or two with FD, and each peer one; {soft:,}"
            " are allowed (ulimit -n, up to"
            f" {'any number' if hard == resource.RLIM_INFINITY else hard})."
        )
    if not os.path.exists("/proc/self"):
        found.append("There is no /proc. The engine needs none; what is told of here is less.")
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        found.append(
            "No folder for temporary files can be written. ipc needs one for its path;"
            " ipc://@name, tcp and inproc do not."
        )
    if len(os.sched_getaffinity(0)) == 1:
        found.append("One processor: waits never spin here, so round trips take a wake-up each.")
    return found


def distribution() -> str:
    """The distribution called pyzmq, which may be ours (compat/); "" when there is none."""
    version = machine.version_of("pyzmq") or ""
    if version.endswith("+monocoque"):
        return f"{version}: not pyzmq, but what makes `import zmq` this engine"
    return version


def run(options: argparse.Namespace) -> int:
    """Prints the findings; returns the exit code."""
    driver = machine.driver()
    zmq = machine.zmq()
    facts = {
        "zmq_monocoque": machine.version_of("zmq_monocoque") or "source tree, not installed",
        "Python": machine.python(),
        "machine": machine.kernel(),
        "processors": machine.processors(),
        "io_uring_disabled": machine.io_uring_sysctl(),
        "seccomp": machine.seccomp(),
        "liburing": machine.liburing(),
        "libsodium (CURVE)": machine.libsodium(),
        "driver asked for": os.environ.get("ZMQ_MONOCOQUE_DRIVER", "") or "none, the best one runs",
        "driver that runs": driver.name,
        "descriptors": machine.limit(resource.RLIMIT_NOFILE),
        "locked memory, KB": machine.limit(resource.RLIMIT_MEMLOCK, 1024),
        "import zmq": zmq.text,
        "pyzmq": distribution() or "not installed (not needed; demo, bench and tests compare)",
    }
    for name, fact in facts.items():
        print(f"{name:<20}{fact}")
    for line in advice():
        print(f"\n{line}")
    return 0
