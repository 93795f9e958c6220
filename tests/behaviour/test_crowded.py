"""Beside processes that compute, a wait that spins gets its processor back later than one that
sleeps."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import TIMEOUT, module_source
from support.c import build_library, preloading

ROUND_TRIPS = """
import ctypes, threading
context = zmq.Context()
rep, req = context.socket(zmq.REP), context.socket(zmq.REQ)
rep.rcvtimeo = req.rcvtimeo = 30_000
rep.bind(sys.argv[1].replace("PORT", "*"))
req.connect(rep.LAST_ENDPOINT.decode().rstrip("\\0"))
count = int(sys.argv[2])

def answer():
    for _ in range(count):
        rep.send(rep.recv())

answering = threading.Thread(target=answer)
answering.start()
for _ in range(count):
    req.send(b"")
    req.recv()
answering.join()
print(ctypes.CDLL(None).yields())
"""


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:PORT", "inproc://crowded"])
def test_who_gets_the_processor_back_late_does_not_spin_for_a_while(
    zmq, on_libzmq, tmp_path, address
):
    """The round trips of a twentieth of a second have one late yield, or two, between them."""
    if on_libzmq:
        pytest.skip("what this engine does")
    late = build_library(tmp_path, "late_yield", "late_yield.c")
    count = 2000
    done = subprocess.run(
        [sys.executable, "-c", module_source(zmq) + ROUND_TRIPS, address, str(count)],
        env=preloading(late),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < count / 4
