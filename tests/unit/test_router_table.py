"""route/router_table.c: routing ids, which peers choose, to peers."""

from __future__ import annotations

from support.c import build_program, run_program


def test_peers_cannot_choose_ids_that_share_a_bucket(tmp_path):
    program = build_program(
        tmp_path,
        "router_chains",
        "router_chains.c",
        "route/router_table.c",
        "base/alloc.c",
        "base/check.c",
    )
    lines = [line.split() for line in run_program(program).splitlines()]
    assert [kind for kind, _, _ in lines] == ["counted", "cancelling"]
    # 4096 keys in as many buckets: the longest chain of a good hash has 5 to 8.
    assert all(int(longest) < 20 for _, _, longest in lines), lines
