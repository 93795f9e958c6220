"""Misuse of the C face and of libzmq, side by side: the same answer and the same errno, wherever
libzmq does not crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.capi import libzmq_of_pyzmq


def answers(library: str) -> dict[str, object]:
    """The children's own output is libzmq's assertions. No sanitizer: a child ends where it is."""
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("beside.py")), library],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONFAULTHANDLER": "", "PYTHONPATH": tests},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_misuse_is_answered_as_by_libzmq_where_that_survives(face):
    if "san.so" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("libzmq's own faults would be reported")
    theirs = libzmq_of_pyzmq()
    if theirs is None:
        pytest.skip("this pyzmq brings no libzmq of its own")
    expected, found = answers(theirs), answers(face.path)
    assert {name for name, answer in found.items() if answer is None} == set(), "ours survives all"
    survived = {name: answer for name, answer in expected.items() if answer is not None}
    assert len(survived) > 120
    assert {name: found[name] for name in survived} == survived
