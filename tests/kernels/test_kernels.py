"""The engine on kernels with less: which driver runs, and that the package behaves the same.

``ZM_KERNELS=full`` runs all behaviour tests on each of them; otherwise some that sleep, wake,
accept, connect and cancel run on those where io_uring works differently. Where it does not work,
what runs is what ``tox -e py-epoll`` runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MODULE

from .conftest import KERNELS

FULL = os.environ.get("ZM_KERNELS") == "full"
ROOT = Path(__file__).parents[2]
CHOICE = [
    "tests/behaviour/test_fd_events.py",
    "tests/behaviour/test_poll.py",
    "tests/behaviour/test_proxy.py",
    "tests/behaviour/test_transports.py",
]

pytestmark = pytest.mark.skipif(MODULE == "zmq", reason="libzmq knows no io_uring")


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_driver_is_the_one_that_works_there_and_the_reason_is_told(environment_of, kernel):
    lacks, why = KERNELS[kernel]
    code = "from zmq_monocoque import backend as b; print(b.driver_name(), b.driver_reason())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment_of(kernel),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    name, _, reason = done.stdout.strip().partition(" ")
    assert name == ("epoll" if why else "io_uring")
    assert why in reason if why else not reason


@pytest.mark.parametrize("kernel", KERNELS if FULL else ("5.15.90", "6.1"))
def test_the_package_behaves_the_same_there(environment_of, kernel, tmp_path):
    tests = ["tests/behaviour"] if FULL else CHOICE
    # Not from the clone: `-m` would import the package beside the tests, not the one installed.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
        + ["-q", "-x", "-p", "no:cacheprovider", "--timeout", "120"]
        + [str(ROOT / test) for test in tests],
        env=environment_of(kernel),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
