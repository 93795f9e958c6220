"""Sockets, options and pollers through the C face."""

from __future__ import annotations

import ctypes
from errno import EAGAIN, EFAULT

PAIR, SUB = 0, 2
SUBSCRIBE, UNSUBSCRIBE, LINGER = 6, 7, 17
NOTHING = ctypes.c_size_t(0)


def test_a_topic_of_no_bytes_may_be_null(face, context):
    """For a publisher that is not there yet, too: what is kept for it was copied from NULL, which
    UBSan refuses."""
    sub, none = face.zmq_socket(context, SUB), ctypes.c_int(0)
    face.zmq_setsockopt(sub, LINGER, ctypes.byref(none), ctypes.c_size_t(4))
    assert face.zmq_connect(sub, b"tcp://127.0.0.1:1") == 0
    for option in (SUBSCRIBE, SUBSCRIBE, UNSUBSCRIBE, UNSUBSCRIBE):
        assert face.zmq_setsockopt(sub, option, None, NOTHING) == 0
    assert face.zmq_close(sub) == 0


def test_a_poller_that_waits_for_nothing_does_not_wait_for_ever(face, context):
    poller, event = face.zmq_poller_new(), ctypes.create_string_buffer(64)
    pair, handle = face.zmq_socket(context, PAIR), ctypes.c_void_p(poller)
    no_events, forever = ctypes.c_short(0), ctypes.c_long(-1)
    for _ in ("empty", "with a socket, and no events of it"):
        assert face.refusal("zmq_poller_wait", poller, event, forever) == (-1, EFAULT)
        assert face.refusal("zmq_poller_wait_all", poller, event, 1, forever) == (-1, EFAULT)
        assert face.refusal("zmq_poller_wait", poller, event, ctypes.c_long(0)) == (-1, EAGAIN)
        face.zmq_poller_add(poller, pair, None, no_events)
    assert face.zmq_poller_size(poller) == 1
    assert face.zmq_poller_destroy(ctypes.byref(handle)) == 0
    assert face.zmq_close(pair) == 0
