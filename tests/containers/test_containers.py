"""What containers and sandboxes take away: the package works, or refuses clearly, and ``doctor``
says in a line what it makes of it.

``matrix.py`` makes the places, and prints them as a table. What cannot be made here is skipped with
the reason.
"""

from __future__ import annotations

import signal

import pytest
from conftest import MODULE
from support import module_source, run_locked_in

from .matrix import NEWER, PLACES, Missing, check, outside, run_in

pytestmark = pytest.mark.skipif(MODULE == "zmq", reason="doctor is ours")


@pytest.mark.parametrize("place", PLACES)
def test_the_package_works_there_and_doctor_says_what_it_makes_of_it(place, zmq):
    try:
        said = run_in(place, zmq)
    except Missing as missing:
        pytest.skip(str(missing))
    check(place, said, outside(zmq))


def goes_well(code: str, zmq) -> None:
    done = run_locked_in("import errno\n" + module_source(zmq) + code, timeout=50)
    assert done.returncode == 0 and done.stdout == "good\n", done


@pytest.mark.parametrize("answer", ["EPERM", "ENOSYS"])
def test_what_is_forbidden_after_the_start_is_done_without(answer, zmq):
    """With the newer calls gone, sockets that are made later work, and all can be closed."""
    goes_well(
        f"""
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
        zmq,
    )


#: Of what the I/O thread alone does, at its time: a connect that was refused is tried again; and it
#: hears that it is to end.
BY_TIME = """
import faulthandler, socket, time
faulthandler.dump_traceback_later(20, exit=True)
def tried_again(ctx):
    with socket.socket() as server, ctx.socket(zmq.DEALER) as tries:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        tries.linger, tries.reconnect_ivl = 0, 300
        tries.connect(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        time.sleep(0.1)
        server.listen()
        server.accept()[0].close()
"""


ANSWERS = ["", ", error=errno.ENOSYS", ", kill=True"]


@pytest.mark.parametrize("call", ["TIMERFD_CREATE", "TIMERFD_SETTIME"])
@pytest.mark.parametrize("answer", ANSWERS, ids=["EPERM", "ENOSYS", "kill"])
def test_no_timer_of_the_kernel_is_needed(call, answer, zmq):
    """libzmq uses none, so filters that let libzmq through may not know these calls."""
    goes_well(
        f"""{BY_TIME}
forbid({call}{answer})
with zmq.Context() as ctx:
    tried_again(ctx)
    time.sleep(0.3)  # until that thread sleeps for as long as nobody calls it
    tried_again(ctx)
print("good")
""",
        zmq,
    )


@pytest.mark.parametrize("answer", ANSWERS[:2], ids=["EPERM", "ENOSYS"])
def test_timers_of_the_kernel_may_be_forbidden_after_the_start(answer, zmq):
    """A look that is asked for then is not lost, and contexts end: those that have a thread, which
    nobody has called since, and later ones."""
    goes_well(
        f"""{BY_TIME}
contexts = [zmq.Context(), zmq.Context()]
for ctx in contexts:
    tried_again(ctx)
time.sleep(0.3)  # until their threads sleep for as long as nobody calls them
forbid(TIMERFD_CREATE, TIMERFD_SETTIME{answer})
tried_again(contexts[0])
with zmq.Context() as ctx:
    tried_again(ctx)
for ctx in contexts:
    ctx.term()
print("good")
""",
        zmq,
    )


def test_a_filter_that_kills_still_kills(zmq):
    """Whether the places above are what they say: the call itself ends the process."""
    done = run_locked_in(
        "forbid(IO_URING_SETUP, kill=True)\n"
        "import ctypes; ctypes.CDLL(None).syscall(IO_URING_SETUP, -1, 0)"
    )
    assert done.returncode == -signal.SIGSYS
