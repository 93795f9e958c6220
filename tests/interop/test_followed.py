"""A pyzmq that is newer than the one we stand for is noticed.

The tests install the newest pyzmq, as their peer. That somebody has released one breaks nothing
here, so it is said, and no failure: a skip with what it has and we lack.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import pytest

import zmq_monocoque


def lacking(theirs: ModuleType | SimpleNamespace) -> list[str]:
    """Public names of a pyzmq that this package has not."""
    return sorted(name for name in theirs.__all__ if not hasattr(zmq_monocoque, name))


def news(theirs: ModuleType | SimpleNamespace) -> str:
    """What to do about a pyzmq that is newer than ours; "": it is not."""
    newest, followed = theirs.pyzmq_version_info()[:3], zmq_monocoque.pyzmq_version_info()[:3]
    if newest <= followed:
        return ""
    version = theirs.pyzmq_version()
    return (
        f"PYZMQ {version} IS OUT, {zmq_monocoque.pyzmq_version()} IS FOLLOWED. New names:"
        f" {', '.join(lacking(theirs)) or 'none'}. Next: python -m pyzmq_suite --pyzmq {version}"
    )


def test_the_pyzmq_that_is_installed_is_followed(pyzmq):
    if said := news(pyzmq):
        pytest.skip(said)
    if pyzmq.pyzmq_version() == zmq_monocoque.pyzmq_version():
        assert lacking(pyzmq) == []


def test_a_newer_pyzmq_would_be_noticed():
    names = [*zmq_monocoque.__all__, "brand_new"]
    newer = SimpleNamespace(
        __all__=names,
        pyzmq_version=lambda: "99.0.0",
        pyzmq_version_info=lambda: (99, 0, 0),
    )
    assert "brand_new" in news(newer) and "--pyzmq 99.0.0" in news(newer)
    assert news(zmq_monocoque) == "" and lacking(zmq_monocoque) == []
