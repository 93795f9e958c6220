"""Sockets, options and pollers through the C face."""

from __future__ import annotations

import ctypes
from errno import EAGAIN, EFAULT, EHOSTUNREACH, ENOTSUP

PAIR, SUB, DEALER, ROUTER = 0, 2, 5, 6
ROUTING_ID, SUBSCRIBE, UNSUBSCRIBE, LINGER, SNDHWM, RCVHWM = 5, 6, 7, 17, 23, 24
SNDMORE, POLLOUT = 2, 2
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


def test_a_router_tells_which_peer_has_room(face, context):
    """A draft of libzmq's, zmq_socket_get_peer_state()."""
    router, dealer = face.zmq_socket(context, ROUTER), face.zmq_socket(context, DEALER)
    mark, one = ctypes.c_int(2), ctypes.c_size_t(1)
    for s, option in ((router, SNDHWM), (dealer, RCVHWM)):
        face.zmq_setsockopt(s, option, ctypes.byref(mark), ctypes.c_size_t(4))
    face.zmq_setsockopt(dealer, ROUTING_ID, b"d", one)
    assert face.refusal("zmq_socket_get_peer_state", dealer, b"d", one) == (-1, ENOTSUP)
    assert face.refusal("zmq_socket_get_peer_state", router, b"d", one) == (-1, EHOSTUNREACH)
    assert face.zmq_bind(router, b"inproc://state") == face.zmq_connect(dealer, b"inproc://state")
    assert face.zmq_send(dealer, b"x", one, 0) == 1
    buffer = ctypes.create_string_buffer(8)
    for _ in range(2):
        assert face.zmq_recv(router, buffer, one, 0) == 1
    for _ in range(4):
        assert face.zmq_socket_get_peer_state(router, b"d", one) == POLLOUT
        assert face.zmq_send(router, b"d", one, SNDMORE) == face.zmq_send(router, b"x", one, 0)
    assert face.zmq_socket_get_peer_state(router, b"d", one) == 0
    for _ in range(2):
        assert face.zmq_recv(dealer, buffer, one, 0) == 1
    assert face.zmq_socket_get_peer_state(router, b"d", one) == POLLOUT
    assert face.zmq_close(router) == face.zmq_close(dealer) == 0
