"""What the gate on instructions makes of counts; the counting itself is ``tox -e bench-count``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ENGINE = "/somewhere/_engine_c.abi3.so"
DUMP = f"""version: 1
desc: Trigger: Client Request: send tcp 64B|10
positions: line
events: Ir

ob=(1) /usr/bin/python3
fn=(1) call
0 5
cob=(2) {ENGINE}
cfn=(2) zm_send
calls=1 0
0 70

ob=(2)
fn=(2)
0 40
+3 2
cob=(3) /lib/libc.so.6
cfn=(3) memcpy
calls=1 0
* 28
- 1

ob=(3)
fn=(3)
0 28
"""


@pytest.fixture(scope="module")
def gate():
    spec = importlib.util.spec_from_file_location("count_gate", HERE / "count.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_the_engine_s_own_instructions_count(gate, tmp_path):
    file = tmp_path / "out.1"
    file.write_text(DUMP)
    assert gate.engine_instructions(file, {ENGINE}) == 43
    assert list(gate.dumps(tmp_path)) == [("send tcp 64B", 10, file)]


def test_more_than_the_limit_above_the_baseline_is_too_dear(gate):
    stored = {"epoll": {"send": 100.0, "recv": 100.0, "wake": 100.0}}
    found = {"epoll": {"send": 102.9, "recv": 103.1, "wake": 80.0}}
    assert gate.too_dear(found, stored, 3.0) == ["recv (epoll)"]


def test_a_path_without_a_baseline_does_not_pass(gate):
    assert gate.too_dear({"epoll": {"send": 1.0}}, {}, 3.0) == ["send (epoll)"]


def test_the_table_shows_the_change_of_every_path(gate):
    lines = gate.table({"epoll": {"send": 110.0, "recv": 5.0}}, {"epoll": {"send": 100.0}})
    assert lines[1].split() == ["epoll", "send", "110.0", "100.0", "+10.0", "%"]
    assert lines[2].split() == ["epoll", "recv", "5.0", "new"]
