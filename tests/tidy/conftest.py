from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def engine_build():
    """zmq_monocoque/_build/engine.py of this repository; it is not part of an installation."""
    path = ROOT / "zmq_monocoque" / "_build" / "engine.py"
    spec = importlib.util.spec_from_file_location("engine_build_under_test", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
