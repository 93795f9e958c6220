"""What has ended is freed in turns, and none is forgotten."""

from __future__ import annotations

from support.c import build_program, run_program


def test_a_reap_that_gives_way_leaves_word_that_there_is_more(tmp_path):
    run_program(
        build_program(
            *(tmp_path, "reaping", "reaping.c"),
            *("socket/wakeup.c", "base/lock.c", "base/check.c", "base/alloc.c"),
        )
    )
