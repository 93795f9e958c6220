"""Whose a routing id is, of a ROUTER, when a peer goes and the next one of that name comes."""

from __future__ import annotations

from support.c import build_program, run_program
from unit.test_models import PEERS


def test_the_name_of_a_peer_that_is_over_is_free(tmp_path):
    run_program(
        build_program(
            *(tmp_path, "router_names", "router_names.c", "pattern/router.c"),
            *("route/router_table.c", *PEERS),
        )
    )
