"""What containers and sandboxes take away: the package works, or refuses clearly, and ``doctor``
says in a line what it makes of it.

Each place is made by a program around itself (filters, limits, a mount namespace, a cgroup) before
it imports the package. What cannot be made here is skipped with the reason. Nothing outside of that
program changes.
"""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
from pathlib import Path

import pytest
from conftest import MODULE
from support import SECCOMP, module_source, run_python

pytestmark = pytest.mark.skipif(MODULE == "zmq", reason="doctor is ours")

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

#: What a place is made with; the driver there where io_uring works outside; what doctor says.
PLACES = {
    "docker, containerd": (f"{SECCOMP}{IO_URING})", "epoll", "not used: io_uring is forbidden"),
    "docker, before epoll_pwait2": (f"{SECCOMP}forbid({NEWER})", "epoll", "not used: io_uring"),
    "runc that knows no new call, gVisor": (
        f"{SECCOMP}forbid({NEWER}, error=errno.ENOSYS)",
        "epoll",
        "not used: this kernel has no io_uring",
    ),
    "a filter that kills": (
        f"{SECCOMP}forbid({NEWER}, kill=True)",
        "epoll",
        "not used: io_uring is forbidden here: the seccomp filter kills for it",
    ),
    "io_uring_disabled 1": (
        f"{MOUNTS}open(FILE, 'w').write('1')\n"
        f"mount(FILE, '/proc/sys/kernel/io_uring_disabled', None, BIND)\n"
        f"{SECCOMP}forbid(IO_URING_SETUP)",
        "epoll",
        "1 (only for kernel.io_uring_group",
    ),
    "io_uring_disabled 2": (
        f"{MOUNTS}open(FILE, 'w').write('2')\n"
        f"mount(FILE, '/proc/sys/kernel/io_uring_disabled', None, BIND)\n"
        f"{SECCOMP}forbid(IO_URING_SETUP)",
        "epoll",
        "2 (forbidden for every process)",
    ),
    "no /proc": (f"{MOUNTS}mount('none', '/proc', 'tmpfs')", "", "There is no /proc"),
    "a read-only root": (
        f"{MOUNTS}mount(None, '/', None, REMOUNT | RDONLY | BIND)\n"
        "for folder in ('/tmp', '/var/tmp', '/dev/shm', os.getcwd(), os.path.dirname(FILE)):\n"
        "    mount(folder, folder, None, BIND | REC)\n"
        "    mount(None, folder, None, REMOUNT | RDONLY | BIND)\n",
        "",
        "No folder for temporary files can be written",
    ),
    "nofile 256": (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))",
        "",
        "256 are allowed",
    ),
    "memlock 0": (
        "import resource; resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))",
        "",
        "locked memory, KB   0 (up to 0)",
    ),
    "one processor": (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])",
        "",
        "One processor",
    ),
}

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


def outside(zmq) -> str:
    """The driver that runs here; "" when it was asked for."""
    if os.environ.get("ZMQ_MONOCOQUE_DRIVER"):
        return os.environ["ZMQ_MONOCOQUE_DRIVER"]
    code = "from zmq_monocoque import backend; print(backend.driver_name())"
    return run_python(module_source(zmq) + code).stdout.strip()


def run_in(made: str, zmq) -> str:
    """What is printed by the exchange and doctor there."""
    with tempfile.TemporaryDirectory(prefix="zm-") as folder:  # a short path, for ipc
        file = os.path.join(folder, uuid.uuid4().hex[:8])
        code = f"import errno\nFILE = {file!r}\n{made}\n{module_source(zmq)}{EXCHANGE}"
        done = run_python(code, timeout=50)
    for lacking in ("no seccomp", "cannot mount"):
        if lacking in done.stderr:
            pytest.skip(f"such a place cannot be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.parametrize("place", PLACES)
def test_the_package_works_there_and_doctor_says_what_it_makes_of_it(place, zmq):
    made, driver, line = PLACES[place]
    said = run_in(made, zmq)
    asked = os.environ.get("ZMQ_MONOCOQUE_DRIVER")
    assert f"driver {asked or driver or outside(zmq)}\n" in said
    if not asked or not line.startswith("not used"):
        assert line in said, said


def test_half_a_processor_of_a_cgroup(zmq):
    """A cgroup of this test's own, where one may be made; gone with it."""
    roots = ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup")
    root = next((Path(r) for r in roots if os.access(r, os.W_OK) and has_cpu(Path(r))), None)
    if root is None:
        pytest.skip("no cgroup of processors can be made here")
    group = root / f"zm-{uuid.uuid4().hex}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup of processors can be made here: {error}")
    try:
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text("50000 100000")
        else:
            (group / "cpu.cfs_quota_us").write_text("50000")
        enter = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')\n"
        said = run_in(enter, zmq)
        assert "the time of 0.5 by its cgroup" in said, said
    finally:
        group.rmdir()


def has_cpu(root: Path) -> bool:
    try:
        return "cpu" in (root / "cgroup.subtree_control").read_text().split()
    except OSError:
        return (root / "cpu.cfs_quota_us").exists()


@pytest.mark.parametrize("answer", ["EPERM", "ENOSYS"])
def test_what_is_forbidden_after_the_start_is_done_without(answer, zmq):
    """With the newer calls gone, sockets that are made later work, and all can be closed."""
    done = run_python(
        "import errno\n"
        + module_source(zmq)
        + SECCOMP
        + f"""
ctx = zmq.Context()
def pair():
    a, b = ctx.socket(zmq.PAIR), ctx.socket(zmq.PAIR)
    b.connect(f"tcp://127.0.0.1:{{a.bind_to_random_port('tcp://127.0.0.1')}}")
    a.rcvtimeo = 30_000
    b.send(b"x")
    assert a.recv() == b"x"
    return a, b
before = pair()
forbid({NEWER}, error=errno.{answer})
after = pair()
ctx.destroy(linger=0)
print("good")
""",
        timeout=50,
    )
    if "no seccomp" in done.stderr:
        pytest.skip("this kernel has no seccomp filters")
    assert done.returncode == 0 and done.stdout == "good\n", done


def test_a_filter_that_kills_still_kills(zmq):
    """Whether the places above are what they say: the call itself ends the process."""
    done = run_python(
        SECCOMP + "forbid(IO_URING_SETUP, kill=True)\n"
        "import ctypes; ctypes.CDLL(None).syscall(IO_URING_SETUP, -1, 0)"
    )
    if "no seccomp" in done.stderr:
        pytest.skip("this kernel has no seccomp filters")
    assert done.returncode == -signal.SIGSYS
