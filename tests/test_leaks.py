"""The fixture that finds leaks must find one."""

from __future__ import annotations

import pytest
from leaks import MODULE, counts, left_over

pytestmark = pytest.mark.skipif(MODULE != "zmq_monocoque", reason="counts are our engine's")


def test_a_socket_that_is_still_open_is_named(zmq):
    before = counts()
    context = zmq.Context()
    socket = context.socket(zmq.PUSH)
    more = left_over(before, patience=0.05)
    assert more["contexts"] == 1 and more["sockets"] == 1
    socket.close(linger=0)
    context.term()
    assert left_over(before) == {}


def test_an_open_connection_is_named(zmq, ctx):
    server, client = ctx.socket(zmq.PAIR), ctx.socket(zmq.PAIR)
    server.bind("tcp://127.0.0.1:*")  # also starts the context's I/O thread, which stays
    before = counts()
    client.connect(server.LAST_ENDPOINT)
    client.rcvtimeo = server.rcvtimeo = 30_000
    client.send(b"")
    server.recv()
    assert left_over(before, patience=0.05)["connections"] >= 2
    client.close(linger=0)
    server.close(linger=0)
    assert left_over(before) == {}
