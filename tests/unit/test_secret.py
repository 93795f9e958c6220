"""Memory for keys (base/secret.c), keys of boxes (base/crypto.c), and the cookies of a CURVE server
(zmtp/mechanism_curve.c)."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys

import pytest
from support.c import ENGINE, build_shared, own_environment, run_program

SOURCES = ("base/secret.c", "base/alloc.c", "base/check.c", "base/lock.c")
SIZE, SLOTS = 128, 64


def load(path_or_lib):
    lib = path_or_lib if isinstance(path_or_lib, ctypes.CDLL) else ctypes.CDLL(path_or_lib)
    lib.zm_secret_new.restype = ctypes.c_void_p
    lib.zm_secret_free.argtypes = [ctypes.c_void_p]
    lib.zm_alloc_live.restype = ctypes.c_int64
    return lib


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    return load(build_shared(tmp_path_factory.mktemp("c"), "secret", *SOURCES))


def flags_of(address: int) -> list[str]:
    """What the kernel knows of the mapping that an address is in (proc(5), VmFlags)."""
    inside = False
    with open("/proc/self/smaps") as maps:
        for line in maps:
            if region := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
                inside = int(region[1], 16) <= address < int(region[2], 16)
            elif inside and line.startswith("VmFlags:"):
                return line.split()[1:]
    return []


def test_secrets_are_zeros_of_their_own_and_go_back_wiped(lib):
    secrets = [lib.zm_secret_new() for _ in range(3 * SLOTS)]
    assert len({s // SIZE for s in secrets}) == len(secrets)
    assert all(s % 64 == 0 for s in secrets)
    for secret in secrets:
        assert ctypes.string_at(secret, SIZE) == bytes(SIZE)
        ctypes.memset(secret, 0xAA, SIZE)
    # A neighbour keeps the memory where it is.
    lib.zm_secret_free(secrets[0])
    assert ctypes.string_at(secrets[0], SIZE) == bytes(SIZE)
    assert ctypes.string_at(secrets[1], SIZE) == b"\xaa" * SIZE
    secrets[0] = lib.zm_secret_new()
    assert ctypes.string_at(secrets[0], SIZE) == bytes(SIZE)
    for secret in secrets:
        lib.zm_secret_free(secret)
    lib.zm_secret_free(None)
    assert lib.zm_alloc_live() == 0


def test_secrets_are_not_swapped_not_dumped_and_not_inherited(lib):
    secret = lib.zm_secret_new()
    flags = flags_of(secret)
    assert "dd" in flags and "wf" in flags
    ctypes.memset(secret, 0xAA, SIZE)
    child = os.fork()
    if not child:
        os._exit(ctypes.string_at(secret, SIZE) != bytes(SIZE))
    assert os.waitpid(child, 0)[1] == 0
    lib.zm_secret_free(secret)


IN_A_CHILD = """
import ctypes, os, resource, sys
sys.path[:0] = sys.argv[2:]
from test_secret import flags_of, load
lib = load(sys.argv[1])
"""


def run_child(lib, code: str) -> str:
    here = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD + code, lib._name, here, os.path.dirname(here)],
        capture_output=True,
        text=True,
        timeout=30,
        env=own_environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_secrets_are_locked_as_far_as_the_limit_allows(lib):
    """Beyond it they are there all the same."""
    out = run_child(
        lib,
        """
resource.setrlimit(resource.RLIMIT_MEMLOCK, (16384, 16384))
try:
    os.setresuid(65534, 65534, 65534)  # root knows no limit
except PermissionError:
    pass
secrets = [lib.zm_secret_new() for _ in range(64 * 4)]
flags = [flags_of(s) for s in (secrets[0], secrets[-1])]
print("lo" in flags[0], "lo" in flags[1], all(secrets))
""",
    )
    assert out == "True False True\n"


def test_a_forked_child_has_memory_of_its_own(lib):
    """What it inherits is not locked there, so new secrets go elsewhere; all can be freed."""
    out = run_child(
        lib,
        """
mine = lib.zm_secret_new()
sys.stdout.flush()
child = os.fork()
if not child:
    lib.zm_secrets_after_fork()
    theirs = lib.zm_secret_new()
    apart = abs(theirs - mine) >= 64 * 128 and "lo" in flags_of(theirs)
    lib.zm_secret_free(mine)
    lib.zm_secret_free(theirs)
    os._exit(not apart)
print(os.waitpid(child, 0)[1], flags_of(mine) != [])
""",
    )
    assert out == "0 True\n"


RUN = "import ctypes, sys; sys.exit(ctypes.CDLL(sys.argv[1]).run(sys.argv[2].encode()))"


def test_a_cookie_opens_for_two_minutes_on_its_own_connection_only(tmp_path):
    """RFC 26, but for the connection: what was recorded from one is not taken on another.

    In Python's process, whose symbols PyNaCl's object needs.
    """
    sodium = pytest.importorskip("nacl._sodium")
    wire = sorted(str(p.relative_to(ENGINE)) for p in (ENGINE / "zmtp").glob("*.c"))
    sources = ["curve_cookies.c", *wire, *SOURCES, "base/crypto.c"]
    lib = build_shared(tmp_path, "curve_cookies", *sources)
    run_program(sys.executable, "-c", RUN, lib._name, sodium.__file__)


def test_nothing_is_left_of_the_key_of_a_tag(tmp_path):
    sodium = pytest.importorskip("nacl._sodium")
    lib = build_shared(tmp_path, "box_key", "box_key.c", "base/crypto.c")
    run_program(sys.executable, "-c", RUN, lib._name, sodium.__file__)
