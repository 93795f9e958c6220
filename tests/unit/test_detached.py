"""The queue of a peer, while a connection that is over still sends from it."""

from __future__ import annotations

from support.c import build_program, run_program
from unit.test_models import PEERS


def test_later_connections_leave_it_alone_until_that_send_has_landed(tmp_path):
    run_program(
        build_program(
            *(tmp_path, "detached", "detached.c"),
            *("connection/close.c", "connection/send.c", "connection/state.c"),
            *("socket/endpoint_state.c", "socket/bytes.c", "base/timer.c", *PEERS),
        )
    )
