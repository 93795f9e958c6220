"""Every function, given any kind of wrong handle, answers with libzmq's errno, or does nothing."""

from __future__ import annotations

import ctypes
import gc
import re
from errno import EFAULT, EINVAL, ENOTSOCK
from pathlib import Path

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


#: Sockets that are not the first argument, and those of proxies and polls. HERE: the wrong one.
HERE = object()
ELSEWHERE = {
    ("zmq_msg_send", "socket"): ("message", HERE, 1),
    ("zmq_msg_recv", "socket"): ("message", HERE, 1),
    ("zmq_sendmsg", "socket"): (HERE, "message", 1),
    ("zmq_recvmsg", "socket"): (HERE, "message", 1),
    ("zmq_device", "frontend"): (1, HERE, "socket"),
    ("zmq_device", "backend"): (1, "socket", HERE),
    ("zmq_proxy", "frontend"): (HERE, "socket", None),
    ("zmq_proxy", "backend"): ("socket", HERE, None),
    ("zmq_proxy", "capture"): ("socket", "socket", HERE),
    ("zmq_proxy_steerable", "frontend"): (HERE, "socket", None, None),
    ("zmq_proxy_steerable", "backend"): ("socket", HERE, None, None),
    ("zmq_proxy_steerable", "capture"): ("socket", "socket", HERE, None),
    ("zmq_proxy_steerable", "control"): ("socket", "socket", None, HERE),
    ("zmq_poller_add", "socket"): ("poller", HERE, None, 1),
    ("zmq_poller_modify", "socket"): ("poller", HERE, 1),
    ("zmq_poller_remove", "socket"): ("poller", HERE),
}
#: NULL there is no handle at all.
MAY_BE_NOTHING = {"capture", "control"}


@pytest.mark.parametrize("place", ELSEWHERE, ids=" ".join)
def test_a_wrong_socket_is_refused_wherever_it_stands(face, handles, place):
    live, _ = handles
    message = ctypes.create_string_buffer(64)
    face.zmq_msg_init(message)
    name, parameter = place
    for handle in wrong(handles, "socket"):
        if handle is None and parameter in MAY_BE_NOTHING:
            continue
        stands_for = {HERE: handle, "message": message, **live}
        arguments = [stands_for.get(argument, argument) for argument in ELSEWHERE[place]]
        is_missing_side = handle is None and parameter in ("frontend", "backend")
        error = EFAULT if is_missing_side else ENOTSOCK
        assert face.refusal(name, *arguments) == (-1, error), handle
    assert face.zmq_msg_close(message) == 0, "it is the program's still"


class PollItem(ctypes.Structure):
    _fields_ = (
        ("socket", ctypes.c_void_p),
        ("fd", ctypes.c_int),
        ("events", ctypes.c_short),
        ("revents", ctypes.c_short),
    )


def test_a_poll_with_a_wrong_socket_is_refused(face, handles):
    live, _ = handles
    for handle in wrong(handles, "socket"):
        if handle is None:
            continue  # a descriptor is meant
        items = (PollItem * 2)(PollItem(live["socket"], -1, 3), PollItem(handle, -1, 1))
        for name, more in (("zmq_poll", ()), ("zmq_ppoll", (None,))):
            assert face.refusal(name, items, 2, ctypes.c_long(-1), *more) == (-1, ENOTSOCK)


#: Parameters that are no handles: bytes, a program's own pointers, names.
NO_HANDLES = {"arg", "buf", "data", "hint", "optval", "routing_id", "sigmask", "user_data"}
#: Places that the tests above try by name.
BY_NAME = {
    *(("zmq_socket", "context"), ("zmq_timers_add", "timers"), ("zmq_connect_peer", "socket")),
    *(("zmq_timers_destroy", "timers_p"), ("zmq_poller_destroy", "poller_p")),
    *(("zmq_atomic_counter_destroy", "counter_p"), ("zmq_atomic_counter_set", "counter")),
    *(("zmq_stopwatch_intermediate", "watch"), ("zmq_stopwatch_stop", "watch")),
    *(("zmq_threadclose", "thread"), ("zmq_poll", "items"), ("zmq_ppoll", "items")),
    *((f"zmq_msg_{name}", place) for name in ("move", "copy") for place in ("dest", "src")),
    *((f"zmq_msg_{name}", "msg") for name in ("send", "recv")),
    *((f"zmq_msg_{name}", "msg") for name in ("init", "init_size", "init_data", "init_buffer")),
    *(("zmq_sendmsg", "msg"), ("zmq_recvmsg", "msg")),
}


def test_every_place_for_a_handle_in_the_header_is_tried(face, package):
    """Whoever declares a function is told here that there are handles to try it with."""
    header = (Path(package.get_includes()[-1]) / "zmq.h").read_text()
    takes, handle = set(), re.compile(r"(?:void|zmq_msg_t|zmq_pollitem_t) \*+(\w+)")
    for name, parameters in re.findall(r"^ZMQ_EXPORT [^;(]*\b(zmq_\w+)\(([^;]*)\);", header, re.M):
        getattr(face, name)  # it is there
        takes |= {(name, found) for found in handle.findall(parameters)}
    assert len(takes) > 90
    tried = BY_NAME | set(ELSEWHERE)
    for tables, place in (
        ((ON_SOCKETS,), "socket"),
        ((ON_CONTEXTS,), "context"),
        ((ON_TIMERS,), "timers"),
        ((ON_POLLERS,), "poller"),
        ((ON_COUNTERS,), "counter"),
        ((ON_MESSAGES, OF_MESSAGES), "msg"),
    ):
        tried |= {(name, place) for table in tables for name in table}
    assert {(name, place) for name, place in takes if place not in NO_HANDLES} == tried
