#!/usr/bin/env python
"""What containers and sandboxes take away, and the table of how the package does there.

    python tests/containers/matrix.py

Each place is made by a program around itself (filters, limits, a mount namespace, a cgroup) before
it imports the package. Nothing outside of that program changes, but for a cgroup that goes with it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import SECCOMP, module_source, run_python

IO_URING = "forbid(IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER"
NEWER = "IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER, EPOLL_PWAIT2"

MOUNTS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
NEWNS, RDONLY, REMOUNT, BIND, REC, PRIVATE = 0x20000, 1, 32, 4096, 16384, 1 << 18
def mount(source, target, kind=None, flags=0):
    text = [None if t is None else t.encode() for t in (source, target, kind)]
    if libc.mount(*text, ctypes.c_ulong(flags), None):
        raise SystemExit(f"cannot mount: {os.strerror(ctypes.get_errno())}")
if libc.unshare(NEWNS):
    raise SystemExit(f"cannot mount: {os.strerror(ctypes.get_errno())}")
mount(None, "/", None, REC | PRIVATE)
"""


class Place(NamedTuple):
    made: str  # by what the program does first
    driver: str  # where io_uring works outside; "": the same as there
    says: str  # doctor, of it


PLACES = {
    "docker, containerd": Place(
        f"{SECCOMP}{IO_URING})", "epoll", "not used: io_uring is forbidden"
    ),
    "docker, before epoll_pwait2": Place(
        f"{SECCOMP}forbid({NEWER})", "epoll", "not used: io_uring"
    ),
    "runc that knows no new call, gVisor": Place(
        f"{SECCOMP}forbid({NEWER}, error=errno.ENOSYS)",
        "epoll",
        "not used: this kernel has no io_uring",
    ),
    "a filter that kills": Place(
        f"{SECCOMP}forbid({NEWER}, kill=True)",
        "epoll",
        "not used: io_uring is forbidden here: the seccomp filter kills for it",
    ),
    "io_uring_disabled 1": Place(
        f"{MOUNTS}open(FILE, 'w').write('1')\n"
        f"mount(FILE, '/proc/sys/kernel/io_uring_disabled', None, BIND)\n"
        f"{SECCOMP}forbid(IO_URING_SETUP)",
        "epoll",
        "1 (only for kernel.io_uring_group",
    ),
    "io_uring_disabled 2": Place(
        f"{MOUNTS}open(FILE, 'w').write('2')\n"
        f"mount(FILE, '/proc/sys/kernel/io_uring_disabled', None, BIND)\n"
        f"{SECCOMP}forbid(IO_URING_SETUP)",
        "epoll",
        "2 (forbidden for every process)",
    ),
    "no /proc": Place(f"{MOUNTS}mount('none', '/proc', 'tmpfs')", "", "There is no /proc"),
    "a read-only root": Place(
        f"{MOUNTS}mount(None, '/', None, REMOUNT | RDONLY | BIND)\n"
        "for folder in ('/tmp', '/var/tmp', '/dev/shm', os.getcwd(), os.path.dirname(FILE)):\n"
        "    mount(folder, folder, None, BIND | REC)\n"
        "    mount(None, folder, None, REMOUNT | RDONLY | BIND)\n",
        "",
        "No folder for temporary files can be written",
    ),
    "nofile 256": Place(
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))",
        "",
        "256 are allowed",
    ),
    "memlock 0": Place(
        "import resource; resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))",
        "",
        "locked memory, KB   0 (up to 0)",
    ),
    "one processor": Place(
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])",
        "",
        "One processor",
    ),
}
#: Each call alone, answered in each way. Rings go without registering anything, but nobody tries
#: what may kill.
ANSWERS = {"EPERM": "", "ENOSYS": ", error=errno.ENOSYS", "a kill": ", kill=True"}
for call in (*NEWER.split(", "), "TIMERFD_CREATE"):
    for answer, how in ANSWERS.items():
        without = call in ("IO_URING_SETUP", "IO_URING_ENTER")
        without |= call == "IO_URING_REGISTER" and answer == "a kill"
        PLACES[f"{call.lower()}: {answer}"] = Place(
            f"{SECCOMP}forbid({call}{how})",
            "epoll" if without else "",
            "not used: " if without else "seccomp ",
        )
HALF = "half a processor"
PLACES[HALF] = Place("open(f'{GROUP}/cgroup.procs', 'w').write('0')", "", "the time of 0.5 by its")

#: tcp, ipc where there may be files, inproc; threads, polls, a wait that sleeps; then doctor.
EXCHANGE = """
import sys, threading
from zmq_monocoque import backend
ctx = zmq.Context()
def over(address):
    with ctx.socket(zmq.ROUTER) as a, ctx.socket(zmq.DEALER) as b:
        a.rcvtimeo = b.rcvtimeo = 30_000
        a.bind(address)
        b.connect(a.LAST_ENDPOINT)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(b.recv()))
        thread.start()
        b.send(b"question")
        assert a.poll(30_000)
        name, question = a.recv_multipart()
        a.send_multipart([name, b"answer"])
        thread.join()
        assert (question, answers) == (b"question", [b"answer"])
        a.FD, b.FD
over("tcp://127.0.0.1:*")
over("ipc://@zm-" + FILE.rpartition("/")[2])
over("inproc://here")
try:
    over("ipc://" + FILE + ".ipc")
except zmq.ZMQError as error:
    assert error.errno == __import__("errno").EROFS, error
ctx.term()
print("driver", backend.driver_name(), flush=True)
sys.dont_write_bytecode = True
from zmq_monocoque.__main__ import main
sys.exit(main(["doctor"]))
"""


class Missing(Exception):
    """Such a place cannot be made here, and why."""


def outside(zmq) -> str:
    """The driver that runs here; "" when it was asked for."""
    if os.environ.get("ZMQ_MONOCOQUE_DRIVER"):
        return os.environ["ZMQ_MONOCOQUE_DRIVER"]
    code = "from zmq_monocoque import backend; print(backend.driver_name())"
    return run_python(module_source(zmq) + code).stdout.strip()


def has_cpu(root: Path) -> bool:
    try:
        return "cpu" in (root / "cgroup.subtree_control").read_text().split()
    except OSError:
        return (root / "cpu.cfs_quota_us").exists()


@contextlib.contextmanager
def half_a_processor() -> Iterator[Path]:
    """A cgroup of our own, where one may be made."""
    roots = map(Path, ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup"))
    root = next((r for r in roots if os.access(r, os.W_OK) and has_cpu(r)), None)
    if root is None:
        raise Missing("no cgroup of processors can be made here")
    group = root / f"zm-{uuid.uuid4().hex}"
    try:
        group.mkdir()
    except OSError as error:
        raise Missing(f"no cgroup of processors can be made here: {error}") from error
    try:
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text("50000 100000")
        else:
            (group / "cpu.cfs_quota_us").write_text("50000")
        yield group
    finally:
        group.rmdir()


def run_in(name: str, zmq) -> str:
    """What is printed by the exchange and doctor there; AssertionError when they fail."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="zm-"))  # short, for ipc
        group = stack.enter_context(half_a_processor()) if name == HALF else ""
        file = os.path.join(folder, uuid.uuid4().hex[:8])
        names = f"import errno\nFILE, GROUP = {file!r}, {str(group)!r}\n"
        code = f"{names}{PLACES[name].made}\n{module_source(zmq)}{EXCHANGE}"
        done = run_python(code, timeout=50)
    for lacking in ("no seccomp", "cannot mount"):
        if lacking in done.stderr:
            raise Missing(f"such a place cannot be made here: {done.stderr.strip()}")
    assert done.returncode == 0, f"it ended with {done.returncode}\n{done.stderr}{done.stdout}"
    return done.stdout


def check(name: str, said: str, here: str) -> None:
    """Is what it printed right, where ``here`` runs outside?"""
    asked = os.environ.get("ZMQ_MONOCOQUE_DRIVER")
    place = PLACES[name]
    assert f"driver {asked or place.driver or here}\n" in said, said
    if not asked or not place.says.startswith("not used"):
        assert place.says in said, said


def main() -> int:
    """Prints the table. Its exit code: 0; 1 when something failed there; 77 when no place could be
    made."""
    import zmq_monocoque as zmq

    failed = made = 0
    here = outside(zmq)
    print(f"{'what is taken away':<40}{'driver':<10}how it went, and doctor's line")
    for name, place in PLACES.items():
        driver, how, line = "", "passed", ""
        try:
            said = run_in(name, zmq)
            made += 1
            line = next((t.strip() for t in said.splitlines() if place.says in t), "")
            driver = said.split("driver ", 1)[1].split("\n")[0]
            check(name, said, here)
        except Missing as missing:
            how = f"not run: {missing}"
        except AssertionError as problem:
            failed += 1
            how = f"FAILED: {problem}"
        print(f"{name:<40}{driver:<10}{how}", flush=True)
        if line:
            print(f"    {line}")
    return 1 if failed else 0 if made else 77


if __name__ == "__main__":
    sys.exit(main())
