"""``python -m zmq_monocoque.curve_keygen``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from support import TIMEOUT

#: A pair from RFC 26's reference implementation, as libzmq's tests have it.
PUBLIC = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
SECRET = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"


def keygen(zmq, *args: str) -> subprocess.CompletedProcess:
    where = os.path.dirname(os.path.dirname(os.path.abspath(zmq.__file__)))
    return subprocess.run(
        [sys.executable, "-m", f"{zmq.__name__}.curve_keygen", *args],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONPATH": where},
    )


def is_key(text: str) -> bool:
    return re.fullmatch(r"[\x21-\x7e]{40}", text) is not None


@pytest.fixture(autouse=True)
def with_curve(zmq):
    if not zmq.has("curve"):
        pytest.skip("the engine has no CURVE")


def test_it_prints_a_pair(zmq):
    lines = keygen(zmq).stdout.splitlines()
    assert lines[0] == "== CURVE PUBLIC KEY =="
    assert lines[3] == "== CURVE SECRET KEY =="
    assert is_key(lines[1])
    assert is_key(lines[4])
    assert zmq.curve_public(lines[4].encode()).decode() == lines[1]


def test_every_pair_is_another(zmq):
    assert keygen(zmq).stdout != keygen(zmq).stdout


def test_it_prints_json(zmq):
    pair = json.loads(keygen(zmq, "--json").stdout)
    assert set(pair) == {"public", "secret"}
    assert zmq.curve_public(pair["secret"]).decode() == pair["public"]


def test_a_secret_key_gives_its_public_one(zmq):
    assert json.loads(keygen(zmq, "--json", "--secret", SECRET).stdout) == {
        "public": PUBLIC,
        "secret": SECRET,
    }


def test_a_bad_secret_is_refused_and_not_repeated(zmq, on_libzmq):
    bad = "hunter2" + SECRET[8:]
    done = keygen(zmq, "--secret", bad)
    assert done.returncode != 0
    assert not done.stdout
    if not on_libzmq:
        assert "hunter2" not in done.stderr
        assert "Traceback" not in done.stderr


def test_the_help_says_how_to_call_it(zmq):
    done = keygen(zmq, "--help")
    assert done.returncode == 0
    assert "python3 -m zmq.curve_keygen" in done.stdout
