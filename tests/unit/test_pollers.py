"""Threads that poll() one socket are told by one signaler, and none takes it from the others."""

from __future__ import annotations

from support.c import build_program, run_program


def test_the_signaler_of_a_socket_is_set_as_long_as_it_is_for_somebody(tmp_path):
    run_program(
        build_program(
            *(tmp_path, "pollers", "pollers.c"),
            *("socket/wakeup.c", "base/lock.c", "base/check.c", "base/alloc.c"),
        )
    )
