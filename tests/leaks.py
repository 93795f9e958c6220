"""Nothing of the engine is left after a test: a fixture for every test, from the engine's counts.

tests/conftest.py takes both names with::

    from leaks import nothing_is_left, pytest_runtest_makereport  # noqa: F401

Contexts, sockets, connections, requests that the kernel holds, and the engine's threads must be
back at their earlier number within ``PATIENCE`` seconds. Allocations are not compared: slots and
slabs are kept for reuse.
"""

from __future__ import annotations

import gc
import importlib
import os
import time
from collections.abc import Iterator, Mapping

import pytest

#: Closing lingers, and a peer's disappearance is seen by the I/O thread: seconds to wait for both.
PATIENCE = 5.0
WATCHED = ("contexts", "sockets", "connections", "in_flight", "threads")
MODULE = os.environ.get("ZM_TEST_MODULE", "zmq_monocoque")

FAILED = pytest.StashKey[bool]()


def counts() -> Mapping[str, int]:
    """What is alive in the engine now; empty when the module under test is not ours."""
    if MODULE != "zmq_monocoque":
        return {}
    engine = importlib.import_module("zmq_monocoque.backend._engine")
    found = engine.ffi.new("zm_counts *")
    engine.lib.zm_counts_get(found)
    return {name: getattr(found, name) for name in WATCHED}


def left_over(before: Mapping[str, int], patience: float = PATIENCE) -> dict[str, int]:
    """How many more there are of each than ``before``, once ``patience`` seconds are over."""
    end = time.monotonic() + patience
    step = 0.001
    while True:
        now = counts()
        more = {name: now[name] - before[name] for name in now if now[name] > before[name]}
        if not more or time.monotonic() > end:
            return more
        gc.collect()  # a cycle may hold a socket; collecting is the test's right, not its duty
        time.sleep(step)
        step = min(step * 2, 0.1)


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test that leaves sockets, connections, requests or threads behind."""
    before = counts()
    yield
    if request.node.stash.get(FAILED, False):
        return  # the traceback holds the test's sockets, and one complaint is enough
    more = left_over(before)
    if more:
        what = ", ".join(f"{number} {name}" for name, number in more.items())
        pytest.fail(f"left behind after {PATIENCE:.0f} s: {what}", pytrace=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Remembers for the fixture above whether the test itself failed."""
    outcome = yield
    if call.when in ("setup", "call") and outcome.get_result().failed:
        item.stash[FAILED] = True
