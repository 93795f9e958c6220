"""Every function, given any kind of wrong handle, answers with libzmq's errno, or does nothing."""

from __future__ import annotations

import ctypes
import gc
from errno import EFAULT, EINVAL, ENOTSOCK

import pytest
from support.capi import (
    DEALER,
    OF_MESSAGES,
    ON_CONTEXTS,
    ON_COUNTERS,
    ON_MESSAGES,
    ON_POLLERS,
    ON_SOCKETS,
    ON_TIMERS,
    PAIR,
)


@pytest.fixture
def handles(face, context):
    """One of each kind; and what is none: NULL, numbers, memory, a closed one of each kind."""
    timers, poller, counter = (
        face.zmq_timers_new(),
        face.zmq_poller_new(),
        face.zmq_atomic_counter_new(),
    )
    socket = face.zmq_socket(context, PAIR)
    watch = face.zmq_stopwatch_start()
    live = {
        "context": context,
        "socket": socket,
        "timers": timers,
        "poller": poller,
        "counter": counter,
        "watch": watch,
    }
    closed_socket = face.zmq_socket(context, PAIR)
    assert face.zmq_close(closed_socket) == 0
    closed_context = face.zmq_ctx_new()
    assert face.zmq_ctx_term(closed_context) == 0
    ended = []
    for make, end in (
        ("zmq_timers_new", "zmq_timers_destroy"),
        ("zmq_poller_new", "zmq_poller_destroy"),
        ("zmq_atomic_counter_new", "zmq_atomic_counter_destroy"),
    ):
        made = ctypes.c_void_p(getattr(face, make)())
        ended.append(made.value)
        getattr(face, end)(ctypes.byref(made))
        assert made.value is None
    memory = ctypes.create_string_buffer(4096)
    never = [None, 1, 0xDEADBEEF, (1 << 64) - 8, ctypes.addressof(memory), socket + 1, socket + 8]
    yield live, [*never, closed_socket, closed_context, *ended]
    face.zmq_close(socket)
    face.zmq_stopwatch_stop(watch)
    for made, end in ((timers, "timers"), (poller, "poller"), (counter, "atomic_counter")):
        getattr(face, f"zmq_{end}_destroy")(ctypes.byref(ctypes.c_void_p(made)))
    del memory
    gc.collect()


def wrong(handles, kind):
    live, never = handles
    return [*never, *(handle for other, handle in live.items() if other != kind)]


@pytest.mark.parametrize(
    "kind, calls, error",
    [
        ("socket", ON_SOCKETS, ENOTSOCK),
        ("context", ON_CONTEXTS, EFAULT),
        ("timers", ON_TIMERS, EFAULT),
        ("poller", ON_POLLERS, EFAULT),
        ("counter", ON_COUNTERS, EFAULT),
    ],
)
def test_a_wrong_handle_is_refused(face, handles, kind, calls, error):
    for name, arguments in calls.items():
        for handle in wrong(handles, kind):
            assert face.refusal(name, handle, *arguments) == (-1, error), (name, handle)


def test_a_wrong_handle_makes_no_socket_no_timer_and_no_peer(face, handles):
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p)(lambda *_: None)
    for handle in wrong(handles, "context"):
        assert face.refusal("zmq_socket", handle, PAIR) == (None, EFAULT)
    for handle in wrong(handles, "timers"):
        answer = face.refusal("zmq_timers_add", handle, ctypes.c_size_t(1), handler, None)
        assert answer == (-1, EFAULT)
    for handle in wrong(handles, "socket"):
        assert face.refusal("zmq_connect_peer", handle, b"inproc://a") == (0, ENOTSOCK)


def test_what_ends_a_handle_refuses_a_wrong_one_and_leaves_it(face, handles):
    for name, kind in (("zmq_timers_destroy", "timers"), ("zmq_poller_destroy", "poller")):
        assert face.refusal(name, None) == (-1, EFAULT)
        for handle in wrong(handles, kind):
            place = ctypes.c_void_p(handle)
            assert face.refusal(name, ctypes.byref(place)) == (-1, EFAULT)
            assert place.value == handle
    for handle in wrong(handles, "counter"):
        face.zmq_atomic_counter_destroy(ctypes.byref(ctypes.c_void_p(handle)))
        face.zmq_atomic_counter_set(handle, 1)
    face.zmq_atomic_counter_destroy(None)
    for handle in wrong(handles, "watch"):
        assert face.refusal("zmq_stopwatch_intermediate", handle) == (0, EFAULT)
        assert face.refusal("zmq_stopwatch_stop", handle) == (0, EFAULT)
        face.zmq_threadclose(handle)
    live, _ = handles
    assert face.zmq_ctx_get(live["context"], 1) == 1
    assert face.zmq_poller_size(live["poller"]) == 0


def test_a_message_that_is_none_is_refused(face, context):
    socket = face.zmq_socket(context, DEALER)
    zeros, closed = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    face.zmq_msg_init(closed)
    assert face.zmq_msg_close(closed) == 0
    good = ctypes.create_string_buffer(64)
    face.zmq_msg_init(good)
    for bad in (None, zeros, closed):
        for name, (arguments, answer) in ON_MESSAGES.items():
            assert face.refusal(name, bad, *arguments) == (answer, EFAULT), name
        for name in ("zmq_msg_move", "zmq_msg_copy"):
            assert face.refusal(name, bad, good) == (-1, EFAULT)
            assert face.refusal(name, good, bad) == (-1, EFAULT)
        for name in ("zmq_msg_send", "zmq_msg_recv"):
            assert face.refusal(name, bad, socket, 1) == (-1, EFAULT)
            assert face.refusal(name, bad, None, 1) == (-1, ENOTSOCK)
        for name in ("zmq_sendmsg", "zmq_recvmsg"):
            assert face.refusal(name, socket, bad, 1) == (-1, EFAULT)
    for name, (arguments, answer) in OF_MESSAGES.items():
        error = EINVAL if name == "zmq_msg_set" else EFAULT
        assert face.refusal(name, None, *arguments) == (answer, error), name
    for name in ("zmq_msg_init", "zmq_msg_init_size", "zmq_msg_init_data", "zmq_msg_init_buffer"):
        more = (None, ctypes.c_size_t(0), None, None)
        assert face.refusal(name, None, *more) == (-1, EFAULT), name
    face.zmq_msg_close(good)
    face.zmq_close(socket)


def test_nothing_in_the_place_of_something_is_refused(face, context):
    socket = face.zmq_socket(context, DEALER)
    for name in ("zmq_bind", "zmq_connect", "zmq_unbind", "zmq_disconnect"):
        assert face.refusal(name, socket, None) == (-1, EINVAL)
    one = ctypes.c_size_t(1)
    assert face.refusal("zmq_setsockopt", socket, 17, None, ctypes.c_size_t(4)) == (-1, EINVAL)
    assert face.refusal("zmq_getsockopt", socket, 17, None, None) == (-1, EFAULT)
    assert face.refusal("zmq_send", socket, None, one, 1) == (-1, EFAULT)
    assert face.refusal("zmq_send_const", socket, None, one, 1) == (-1, EFAULT)
    assert face.refusal("zmq_recv", socket, None, one, 1) == (-1, EFAULT)
    assert face.refusal("zmq_poll", None, 1, ctypes.c_long(0)) == (-1, EFAULT)
    assert face.refusal("zmq_poll", None, -1, ctypes.c_long(0)) == (-1, EINVAL)
    assert face.refusal("zmq_proxy", None, socket, None) == (-1, EFAULT)
    assert face.refusal("zmq_proxy", socket, None, None) == (-1, EFAULT)
    assert face.refusal("zmq_device", 1, socket, 5) == (-1, ENOTSOCK)
    assert face.refusal("zmq_proxy_steerable", socket, socket, None, 5) == (-1, ENOTSOCK)
    assert face.refusal("zmq_curve_keypair", None, None) == (-1, EINVAL)
    assert face.refusal("zmq_curve_public", None, None) == (-1, EINVAL)
    assert face.refusal("zmq_z85_encode", None, None, ctypes.c_size_t(4)) == (None, EINVAL)
    assert face.refusal("zmq_z85_decode", None, None) == (None, EINVAL)
    assert face.zmq_has(None) == 0
    assert face.refusal("zmq_threadstart", None, None) == (None, EFAULT)
    face.zmq_version(None, None, None)
    face.zmq_close(socket)


def test_a_handle_is_not_given_out_again_soon(face, context):
    seen = set()
    for _ in range(2000):
        socket = face.zmq_socket(context, PAIR)
        assert socket not in seen
        seen.add(socket)
        assert face.zmq_close(socket) == 0


def test_every_function_of_the_header_is_tried(face, package):
    """Those without a handle have tests of their own."""
    import re
    from pathlib import Path

    header = (Path(package.get_includes()[-1]) / "zmq.h").read_text()
    declared = set(re.findall(r"\b(zmq_\w+)\(", header)) - {"zmq_free_fn", "zmq_timer_fn"}
    tried = set(re.findall(r"zmq_\w+", Path(__file__).read_text()))
    for table in (ON_SOCKETS, ON_CONTEXTS, ON_TIMERS, ON_POLLERS, ON_COUNTERS, ON_MESSAGES):
        tried |= set(table)
    tried |= set(OF_MESSAGES)
    without = {
        *("zmq_errno", "zmq_strerror", "zmq_ctx_new", "zmq_init", "zmq_sleep", "zmq_ppoll"),
    }
    assert declared - tried - without == set()
    for name in declared:
        getattr(face, name)  # it is there
