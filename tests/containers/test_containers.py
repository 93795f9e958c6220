"""What containers and sandboxes take away: the package works, or refuses clearly, and ``doctor``
says in a line what it makes of it.

``matrix.py`` makes the places, and prints them as a table. What cannot be made here is skipped with
the reason.
"""

from __future__ import annotations

import signal

import pytest
from conftest import MODULE
from support import SECCOMP, module_source, run_python

from .matrix import NEWER, PLACES, Missing, check, outside, run_in

pytestmark = pytest.mark.skipif(MODULE == "zmq", reason="doctor is ours")


@pytest.mark.parametrize("place", PLACES)
def test_the_package_works_there_and_doctor_says_what_it_makes_of_it(place, zmq):
    try:
        said = run_in(place, zmq)
    except Missing as missing:
        pytest.skip(str(missing))
    check(place, said, outside(zmq))


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
