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


BEHIND_LIBZMQ = """
import ctypes, sys
from support.capi import Face
ctypes.CDLL(sys.argv[2], ctypes.RTLD_GLOBAL)
face, one, copy = Face(sys.argv[1]), *(ctypes.create_string_buffer(64) for _ in range(2))
assert face.zmq_msg_init_buffer(one, b"small", ctypes.c_size_t(5)) == face.zmq_msg_init(copy) == 0
assert face.zmq_msg_copy(copy, one) == 0
assert ctypes.string_at(face.zmq_msg_data(copy), face.zmq_msg_size(copy)) == b"small"
"""


def test_it_calls_itself_where_libzmq_was_loaded_for_all(face):
    theirs = libzmq_of_pyzmq()
    if theirs is None:
        pytest.skip("this pyzmq brings no libzmq of its own")
    done = subprocess.run(
        [sys.executable, "-c", BEHIND_LIBZMQ, face.path, theirs],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
