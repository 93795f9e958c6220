"""A thread leaves a socket that it drove, and nothing stays behind that nobody would come for."""

from __future__ import annotations

from support.c import build_program, run_program


def test_what_was_started_has_gone_to_the_kernel(tmp_path):
    run_program(
        build_program(
            *(tmp_path, "leaving", "leaving.c", "socket/drive.c", "socket/pacing.c"),
            *("base/timer.c", "base/lock.c", "base/check.c", "base/alloc.c"),
        )
    )
