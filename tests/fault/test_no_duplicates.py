"""A connection that breaks while a send is under way: nothing arrives twice, and order is kept."""

from __future__ import annotations

import pytest
from support import RawListener

#: More than the kernel buffers between two sockets, so that a send is in flight when it breaks.
MESSAGES, BYTES = 400, 100_000


@pytest.mark.parametrize("parts", [1, 3])
def test_a_message_that_was_sent_is_not_sent_again_after_a_reconnect(zmq, make, parts):
    """S-20: what the kernel had is gone or arrived; the rest follows, each message once."""
    with RawListener() as mock:
        push = make(zmq.PUSH, sndhwm=0, reconnect_ivl=10)
        push.connect(mock.endpoint)
        first = mock.accept()
        first.handshake("PULL")
        for i in range(MESSAGES):
            push.send_multipart([b"%d" % i] + [b"x" * BYTES] * (parts - 1) + [b"y" * BYTES])
        before = [int(first.recv_message()[0]) for _ in range(20)]
        first.close()
        second = mock.accept()
        second.handshake("PULL")
        after = []
        while not after or after[-1] < MESSAGES - 1:
            message = second.recv_message()
            assert len(message) == parts + 1
            assert all(len(part) == BYTES for part in message[1:])
            after.append(int(message[0]))
        assert before == list(range(20))
        assert after == list(range(after[0], MESSAGES)), "whole, in order, without a gap"
        assert after[0] >= 20, "and none of those that came before"
        push.close()
