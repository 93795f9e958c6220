"""Parts of the engine against simple models of them, with each allocation failing in turn.

The programs lie in ``c/``. Each runs one seed that is always the same and some that never are; it
prints the seed, and stops at the first thing that differs, leaks or is read too late.
"""

from __future__ import annotations

import random

import pytest
from support.c import build_program, run_program

#: New ones each time.
SEEDS = 10
BASE = ("base/alloc.c", "base/check.c")
BLOCKS = (*BASE, "base/block.c", "base/lock.c", "base/secret.c")
PEERS = ("pipe/peer.c", "pipe/state.c", "pipe/frames.c", *BLOCKS)
MODELS = {
    "handles_model": ("context/handles.c", "base/lock.c", *BASE),
    "timers_model": ("base/timer.c", *BASE),
    "in_queue_model": ("pipe/frames.c", *BLOCKS),
    "inproc_model": ("pipe/inproc.c", "socket/endpoint_state.c", *PEERS, "base/names.c"),
    "out_queue_model": ("pipe/frames.c", *BLOCKS),
    # It has a base/check.c of its own, since an assert that fires is what it looks for.
    "states_model": tuple(
        source
        for source in ("connection/state.c", "socket/endpoint_state.c", *PEERS)
        if source != "base/check.c"
    ),
}


@pytest.mark.parametrize("model", MODELS)
def test_it_does_what_its_model_does_whatever_fails(tmp_path, model):
    program = build_program(tmp_path, model, f"{model}.c", *MODELS[model])
    for seed in (1, *random.sample(range(2, 2**32), SEEDS)):
        said = run_program(program, seed)
        assert f"seed {seed}\n" in said
        assert "allocations failed" in said
