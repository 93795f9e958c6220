"""Idle is idle: who waits for what does not come takes nothing of the processor.

Counted by the kernel: the time that the process had, how often its threads left the processor (a
thread that sleeps does not), and by the engine: how often it looked after its sockets.
``ZM_IDLE=full`` runs the whole matrix, on all kernels of tests/kernels, with up to 1,000 sockets.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MODULE
from kernels.conftest import KERNELS, environment_of  # noqa: F401

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


def environment(world: str, request: pytest.FixtureRequest) -> dict[str, str]:
    if world in ("io_uring", "epoll"):
        return {**os.environ, "ZMQ_MONOCOQUE_DRIVER": world}
    return request.getfixturevalue("environment_of")(world)


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
