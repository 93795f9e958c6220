"""What type checkers are told of the constants is what there is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

HERE = Path(__file__).parent


def test_the_stub_of_the_constants_is_up_to_date():
    spec = importlib.util.spec_from_file_location("constants_stub", HERE / "constants_stub.py")
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.STUB.read_text() == tool.stub(tool.SOURCE), "python tests/tidy/constants_stub.py"
