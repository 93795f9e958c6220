"""driver/waitset.c: sleeping on sets of descriptors."""

from __future__ import annotations

import subprocess

import pytest
from support.c import build_program, own_environment


def test_a_wait_sleeps_where_epoll_pwait2_is_forbidden(tmp_path):
    program = build_program(
        tmp_path,
        "waitset_refused",
        "waitset_refused.c",
        "driver/waitset.c",
        "driver/sandbox.c",
        "base/fds.c",
        "base/lock.c",
        "base/alloc.c",
        "base/check.c",
    )
    done = subprocess.run(
        [program], capture_output=True, text=True, timeout=50, env=own_environment()
    )
    if done.returncode == 77:
        pytest.skip("this kernel has no seccomp filters")
    assert done.returncode == 0, done.stderr
