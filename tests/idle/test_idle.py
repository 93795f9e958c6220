"""Idle is idle: who waits for what does not come takes nothing of the processor.

Counted by the kernel: the time that the process had, how often its threads left the processor (a
thread that sleeps does not), and by the engine: how often it looked after its sockets.
``ZM_IDLE=full`` runs the whole matrix, on all kernels of tests/kernels, with up to 1,000 sockets.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import MODULE
from kernels.conftest import kernels  # noqa: F401
from kernels.matrix import KERNELS

try:
    import gevent
except ModuleNotFoundError:
    gevent = None

PROGRAM = Path(__file__).parent / "program.py"
WAITS = ("recv", "poll", "asyncio", "green", "select", "nothing")
FULL = os.environ.get("ZM_IDLE") == "full"
COUNTS = (1, 10, 100, 1000) if FULL else (1, 100)
SECONDS = 2.0 if FULL else 1.0
#: Of each, in a window of SECONDS: nothing happens, and once may be by chance.
MOST_SWITCHES, MOST_ENTRIES, MOST_SHARE = 1, 2, 0.01
#: So many programs wait at a time.
AT_A_TIME = 12


def environment(world: str, request: pytest.FixtureRequest | None) -> dict[str, str]:
    if world in ("io_uring", "epoll"):
        return {**os.environ, "ZMQ_MONOCOQUE_DRIVER": world}
    return request.getfixturevalue("kernels").environment(world)


def worlds() -> list[str]:
    if MODULE == "zmq":
        return ["epoll"]
    return ["io_uring", "epoll", *(KERNELS if FULL else ["5.15.90"])]


@pytest.mark.parametrize("armed_by", ["live", "ended"])
@pytest.mark.parametrize("world", worlds())
def test_a_program_that_waits_is_idle(world, armed_by, request):
    """However it waits. They wait side by side, since most of the time they do nothing."""
    cases = [case for case in itertools.product(WAITS, COUNTS) if case[0] != "green" or gevent]
    env = environment(world, request)
    busy = []
    for batch in (cases[i : i + AT_A_TIME] for i in range(0, len(cases), AT_A_TIME)):
        programs = [
            subprocess.Popen(
                [sys.executable, PROGRAM, MODULE, wait, str(count), armed_by, str(SECONDS)],
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for wait, count in batch
        ]
        for case, program in zip(batch, programs, strict=True):
            try:
                out, err = program.communicate(timeout=100)
            finally:
                program.kill()
            assert program.returncode == 0 and out, (case, err)
            took = json.loads(out)
            if (
                took["cpu"] > MOST_SHARE * SECONDS
                or took["switches"] > MOST_SWITCHES
                or took["entries"] > MOST_ENTRIES
            ):
                busy.append((case, took))
    assert not busy


def test_the_sockets_of_epoll_are_idle_in_any_number(on_libzmq):
    """Linux refuses a set of epoll sets in which more than 500 have one descriptor in common."""
    if on_libzmq:
        pytest.skip("has no such sets")
    done = subprocess.run(
        [sys.executable, PROGRAM, MODULE, "nothing", "510", "live", "0.2"],
        env=environment("epoll", None),
        capture_output=True,
        timeout=100,
    )
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["entries"] <= MOST_ENTRIES


def looks_of_the_io_thread(zmq, context):
    """How often the context's thread has gone to sleep."""
    total = 0
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().strip() == f"{context.get(zmq.THREAD_NAME_PREFIX)}/zm-io":
            status = (task / "status").read_text()
            total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.M)[1])
    return total


def test_a_wait_that_lasts_is_looked_at_but_a_few_times(zmq, on_libzmq):
    """Until its sockets are left to the thread that sleeps in them: the looks of a wait do not grow
    with its length. Each takes as long as the wait's own set-up, with many sockets."""
    if on_libzmq:
        pytest.skip("has no such thread")
    with zmq.Context() as context:
        context.set(zmq.THREAD_NAME_PREFIX, 7)
        poller, sockets = zmq.Poller(), []
        for _ in range(20):
            a, b = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
            sockets += [a, b]
            a.bind("tcp://127.0.0.1:*")
            b.connect(a.last_endpoint)
            b.send(b"x")
            a.recv()
            poller.register(a, zmq.POLLIN)
        assert poller.poll(300) == []
        before = looks_of_the_io_thread(zmq, context)
        assert before > 0
        assert poller.poll(600) == []
        # 2 or 3, more on a slow machine; once a millisecond where nobody is left alone.
        assert looks_of_the_io_thread(zmq, context) - before <= 60
        for s in sockets:
            s.close(0)


@pytest.mark.parametrize("way", ["poll", "recv"])
def test_waits_one_after_another_wake_no_other_thread(zmq, on_libzmq, way):
    """A program that does something every twenty milliseconds does it alone: between two long waits
    nobody is called for, to find the next one."""
    if on_libzmq:
        pytest.skip("has no such thread")
    with zmq.Context() as context:
        context.set(zmq.THREAD_NAME_PREFIX, 8)
        with context.socket(zmq.PAIR) as a, context.socket(zmq.PAIR) as b:
            a.rcvtimeo = 20
            a.bind("tcp://127.0.0.1:*")
            b.connect(a.last_endpoint)
            b.send(b"x")
            assert a.poll(5000)
            a.recv()

            def wait():
                if way == "poll":
                    assert a.poll(20) == 0
                else:
                    with pytest.raises(zmq.Again):
                        a.recv()

            def looks_of_ten_waits():
                before = looks_of_the_io_thread(zmq, context)
                assert before > 0
                for _ in range(10):
                    wait()
                return looks_of_the_io_thread(zmq, context) - before

            wait()
            # Where this thread is held up for a millisecond in between there are some, but not in
            # all tries. Whoever is called for each time looks twice a wait.
            assert any(looks_of_ten_waits() <= 2 for _ in range(20))


def test_who_begins_to_wait_leaves_the_io_thread_what_others_need(zmq):
    """The thread that waits in one socket takes back what it asked of the I/O thread for that one:
    another's next try to connect comes at its time."""
    with socket.socket() as server, zmq.Context() as context:
        server.bind(("127.0.0.1", 0))
        with context.socket(zmq.PAIR) as a, context.socket(zmq.PAIR) as b:
            with context.socket(zmq.DEALER) as tries:
                a.bind("tcp://127.0.0.1:*")
                b.connect(a.last_endpoint)
                tries.linger, tries.reconnect_ivl = 0, 500
                tries.bind("tcp://127.0.0.1:*")
                b.send(b"x")
                a.recv()

                def connect():
                    tries.connect(f"tcp://127.0.0.1:{server.getsockname()[1]}")
                    tries.get(zmq.EVENTS)  # so that thread hears of the refusal, and sets the time
                    server.listen()

                # While the I/O thread sleeps for as long as nobody asks for it.
                later = threading.Timer(0.1, connect)
                later.start()
                assert a.poll(200) == 0
                later.join()
                poller = zmq.Poller()
                poller.register(a, zmq.POLLIN)
                poller.register(server, zmq.POLLIN)
                assert poller.poll(20000) == [(server.fileno(), zmq.POLLIN)]
