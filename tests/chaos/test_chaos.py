"""A short run of each program here; ``tox -e asan`` and ``tox -e tsan`` make it a minute each.

``ZM_CHAOS_SECONDS`` and ``ZM_CHAOS_SEED`` say how long, and which.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import CHECK_LEAKS

HERE = Path(__file__).parent
SECONDS = float(os.environ.get("ZM_CHAOS_SECONDS", "3"))
SEED = ["--seed", os.environ["ZM_CHAOS_SEED"]] if "ZM_CHAOS_SEED" in os.environ else []
#: The program gives up by itself when a call hangs, and says where.
PATIENCE = 150


def run(*arguments: object, seconds: float, driver: str = "") -> str:
    """What the program said; it must have said nothing else."""
    done = subprocess.run(
        [sys.executable, str(HERE / "chaos.py"), "--seconds", str(seconds), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds + PATIENCE,
        env=os.environ | CHECK_LEAKS | ({"ZMQ_MONOCOQUE_DRIVER": driver} if driver else {}),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=["io_uring", "epoll"])
def driver(request, zmq) -> str:
    if request.param == "io_uring" and zmq.backend.driver_name() != "io_uring":
        pytest.skip(zmq.backend.driver_reason() or "ZMQ_MONOCOQUE_DRIVER says otherwise")
    return request.param


#: Threads that hold the GIL most of the time, and threads that have none.
PYTHON, NATIVE = ("--threads", 4), ("--threads", 0, "--native", 4)


@pytest.mark.timeout(SECONDS + PATIENCE + 30)
@pytest.mark.parametrize("threads", [PYTHON, NATIVE], ids=["python", "native"])
def test_nothing_breaks(driver, threads):
    assert "nothing is left" in run(*threads, *SEED, seconds=SECONDS, driver=driver)


@pytest.mark.timeout(4 * (60 + PATIENCE))
@pytest.mark.parametrize(("threads", "count"), [(PYTHON, 5), (NATIVE, 4)])
def test_the_same_seed_decides_the_same(threads, count):
    def sums(seed: int) -> list[str]:
        said = run(*threads, "--seed", seed, "--steps", 40, seconds=60)
        return re.findall(r"40 steps, (\w+)", said)

    first = sums(7)
    assert len(set(first)) == count
    assert sums(7) == first
    assert not set(sums(8)) & set(first)
