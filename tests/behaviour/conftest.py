"""What several files of behaviour tests share."""

from __future__ import annotations

import functools
import importlib

import pytest
from support.loops import run_asyncio


@pytest.fixture(scope="module")
def zaio(zmq):
    """The asyncio module of the module under test."""
    return importlib.import_module(zmq.__name__ + ".asyncio")


@pytest.fixture
def run(zmq):
    """run(test): runs ``await test(context)`` in a loop of its own; sockets are closed in it."""
    return functools.partial(run_asyncio, zmq)
