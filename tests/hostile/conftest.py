"""The target and the honest peer of a worker, used by one test after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile.helpers import Honest, Remote, Target


@pytest.fixture(scope="session")
def _target_process(zmq, on_libzmq) -> Iterator[Remote]:
    if on_libzmq:
        pytest.skip("about our engine")
    package = Path(zmq.__file__).resolve().parents[1]
    remote = Remote("target.py", Path(__file__).resolve().parents[1], package)
    yield remote
    assert remote.close() == 0


@pytest.fixture
def target(_target_process, request) -> Iterator[Target]:
    """Our socket in another process; afterwards, nothing may be left of it."""
    if _target_process.process.poll() is not None:
        _target_process.revive()
    yield Target(_target_process)
    if _target_process.process.poll() is None:
        left = _target_process.call("close")
        if left:
            _target_process.revive()
        assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def _honest_process(pyzmq) -> Iterator[Remote]:
    remote = Remote("honest.py")
    yield remote
    assert remote.close() == 0


@pytest.fixture
def honest(_honest_process, target, record_property) -> Iterator[Honest]:
    """A peer in real pyzmq, in yet another process."""
    if _honest_process.process.poll() is not None:
        _honest_process.revive()
    yield Honest(_honest_process, record_property)
    if _honest_process.process.poll() is None:
        _honest_process.call("close")
