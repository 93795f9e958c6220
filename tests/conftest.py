"""Fixtures that every test shares.

``ZM_TEST_MODULE`` names the module under test (default ``zmq_monocoque``). With
``ZM_TEST_MODULE=zmq`` the behaviour tests run on real pyzmq: that is how they were checked
against libzmq before our engine was held to them.
"""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import signal
import tempfile

import pytest
from leaks import nothing_is_left, pytest_runtest_makereport  # noqa: F401
from support import Background

MODULE = os.environ.get("ZM_TEST_MODULE", "zmq_monocoque")

# A shell without job control starts what goes to the background with SIGINT ignored; so would be
# every child of ours, and some of them are to be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    """LeakSanitizer (tests/sanitize) looks at the processes that run tests; their children end by
    signals, in the middle of threads or without an end, and what Python then does not free is no
    leak. A test that wants it of a child says so: CHECK_LEAKS in support/processes.py."""
    runs_tests = hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None)
    if runs_tests and "ASAN_OPTIONS" in os.environ:
        os.environ["ASAN_OPTIONS"] += ":detect_leaks=0"


def pytest_collection_modifyitems(config, items):
    """The time that a command line gives, for a slow machine, is for tests with one of their own,
    too: a test that takes longer takes its whole process with it."""
    given = config.getoption("timeout", None)
    for item in items if given else ():
        own = item.get_closest_marker("timeout")
        if own and own.args[0] < given:
            item.add_marker(pytest.mark.timeout(given), append=False)


def pytest_runtest_setup(item):
    """A test that collects garbage collects its own, and does not go through what thousands of
    tests have left in memory."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session):
    gc.unfreeze()


@pytest.fixture(scope="session")
def zmq():
    """The module under test."""
    return importlib.import_module(MODULE)


@pytest.fixture(scope="session")
def on_libzmq() -> bool:
    """Is the module under test real pyzmq (the oracle)?"""
    return MODULE == "zmq"


@pytest.fixture(scope="session")
def pyzmq():
    """Real pyzmq, a peer over libzmq; lives beside our engine in one process."""
    module = pytest.importorskip("zmq")
    # Not a skip: a test that imported the shim once took 500 others with it, and all was green.
    assert module.__name__ == "zmq", "zmq is another name of our engine in this process"
    return module


@pytest.fixture
def ctx(zmq):
    """A context of the module under test; everything in it is closed afterwards."""
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def own_ctx(zmq):
    """A context that the test ends itself; if it does not, the fixture does."""
    context = zmq.Context()
    yield context
    Background(lambda: context.destroy(linger=0)).result()


@pytest.fixture
def peer_ctx(pyzmq):
    """A context of real pyzmq, for interop."""
    context = pyzmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def make(ctx):
    """make(type, **options) -> a socket that gives up after 10 s instead of hanging."""

    def make_socket(kind, **options):
        s = ctx.socket(kind)
        s.linger = 0
        s.rcvtimeo = s.sndtimeo = 30_000
        for name, value in options.items():
            setattr(s, name, value)
        return s

    return make_socket


@pytest.fixture
def ipc_address():
    """A fresh ipc endpoint; its directory is removed afterwards."""
    directory = tempfile.mkdtemp(prefix="zm-")
    yield f"ipc://{directory}/s"
    shutil.rmtree(directory, ignore_errors=True)
