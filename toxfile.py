"""Tox looks for interpreters, and pip for wheels, where tests/reach/interpreters.py keeps them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType


def _interpreters() -> ModuleType:
    path = Path(__file__).parent / "tests" / "reach" / "interpreters.py"
    spec = importlib.util.spec_from_file_location("interpreters", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_module = _interpreters()
_folder = _module.default_folder()
os.environ["PATH"] += os.pathsep + str(_folder / "bin")
os.environ["PIP_FIND_LINKS"] = _module.find_links(_folder)
