"""The functions of zmq.h, for ctypes: what they answer, and arguments to go with a handle.

No pytest here: test_beside_libzmq.py runs it in a process of its own.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import re

COUNT, POINTER = ctypes.c_size_t, ctypes.c_void_p

#: Functions that do not answer an int, or take a size or a pointer where ctypes would take an int.
ANSWERS = {
    "zmq_ctx_new": POINTER,
    "zmq_init": POINTER,
    "zmq_socket": POINTER,
    "zmq_msg_data": POINTER,
    "zmq_msg_size": COUNT,
    "zmq_msg_gets": ctypes.c_char_p,
    "zmq_msg_group": ctypes.c_char_p,
    "zmq_msg_routing_id": ctypes.c_uint32,
    "zmq_strerror": ctypes.c_char_p,
    "zmq_timers_new": POINTER,
    "zmq_timers_timeout": ctypes.c_long,
    "zmq_poller_new": POINTER,
    "zmq_atomic_counter_new": POINTER,
    "zmq_atomic_counter_set": None,
    "zmq_atomic_counter_destroy": None,
    "zmq_stopwatch_start": POINTER,
    "zmq_stopwatch_intermediate": ctypes.c_ulong,
    "zmq_stopwatch_stop": ctypes.c_ulong,
    "zmq_threadstart": POINTER,
    "zmq_threadclose": None,
    "zmq_z85_encode": ctypes.c_char_p,
    "zmq_z85_decode": POINTER,
    "zmq_connect_peer": ctypes.c_uint32,
    "zmq_version": None,
}


def libzmq_of_pyzmq() -> str | None:
    """The libzmq that a wheel of pyzmq brings."""
    files = importlib.metadata.files("pyzmq") or []
    return next((str(f.locate()) for f in files if re.match(r"libzmq.*\.so", f.name)), None)


class Face:
    """The library; its functions take Python's ints as pointers."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._library = ctypes.CDLL(path, use_errno=True)

    def __getattr__(self, name: str):
        function = self._library[name]
        function.restype = ANSWERS.get(name, ctypes.c_int)

        def call(*arguments):
            ctypes.set_errno(0)
            return function(*(POINTER(a) if isinstance(a, int) else a for a in arguments))

        setattr(self, name, call)
        return call

    def refusal(self, name: str, *arguments) -> tuple[object, int]:
        """What a call answers, and its errno."""
        answer = getattr(self, name)(*arguments)
        return answer, ctypes.get_errno()


BUFFER = ctypes.create_string_buffer(256)
SIZE = ctypes.c_size_t(256)
PAIR, DEALER = 0, 5

#: name: the arguments behind the handle.
ON_SOCKETS = {
    "zmq_close": (),
    "zmq_bind": (b"inproc://a",),
    "zmq_connect": (b"inproc://a",),
    "zmq_unbind": (b"inproc://a",),
    "zmq_disconnect": (b"inproc://a",),
    "zmq_setsockopt": (17, ctypes.byref(ctypes.c_int(0)), ctypes.c_size_t(4)),
    "zmq_getsockopt": (17, BUFFER, ctypes.byref(SIZE)),
    "zmq_send": (b"x", ctypes.c_size_t(1), 0),
    "zmq_send_const": (b"x", ctypes.c_size_t(1), 0),
    "zmq_recv": (BUFFER, ctypes.c_size_t(1), 1),
    "zmq_sendiov": (BUFFER, ctypes.c_size_t(1), 0),
    "zmq_recviov": (BUFFER, ctypes.byref(SIZE), 1),
    "zmq_socket_monitor": (b"inproc://m", 0xFFFF),
    "zmq_socket_monitor_versioned": (b"inproc://m", ctypes.c_uint64(0xFFFF), 1, 0),
    "zmq_socket_monitor_pipes_stats": (),
    "zmq_socket_get_peer_state": (b"x", ctypes.c_size_t(1)),
    "zmq_join": (b"group",),
    "zmq_leave": (b"group",),
    "zmq_disconnect_peer": (1,),
}
ON_CONTEXTS = {
    "zmq_ctx_term": (),
    "zmq_term": (),
    "zmq_ctx_destroy": (),
    "zmq_ctx_shutdown": (),
    "zmq_ctx_set": (1, 1),
    "zmq_ctx_get": (1,),
    "zmq_ctx_set_ext": (1, ctypes.byref(ctypes.c_int(1)), ctypes.c_size_t(4)),
    "zmq_ctx_get_ext": (1, BUFFER, ctypes.byref(SIZE)),
}
ON_TIMERS = {
    "zmq_timers_cancel": (1,),
    "zmq_timers_set_interval": (1, ctypes.c_size_t(1)),
    "zmq_timers_reset": (1,),
    "zmq_timers_timeout": (),
    "zmq_timers_execute": (),
}
ON_POLLERS = {
    "zmq_poller_size": (),
    "zmq_poller_add": (None, None, ctypes.c_short(1)),
    "zmq_poller_modify": (None, ctypes.c_short(1)),
    "zmq_poller_remove": (None,),
    "zmq_poller_wait": (BUFFER, ctypes.c_long(0)),
    "zmq_poller_wait_all": (BUFFER, 1, ctypes.c_long(0)),
    "zmq_poller_fd": (BUFFER,),
    "zmq_poller_add_fd": (0, None, ctypes.c_short(1)),
    "zmq_poller_modify_fd": (0, ctypes.c_short(1)),
    "zmq_poller_remove_fd": (0,),
}
ON_COUNTERS = {"zmq_atomic_counter_inc": (), "zmq_atomic_counter_dec": ()}
ON_COUNTERS["zmq_atomic_counter_value"] = ()
#: Answers, besides errno, that are not -1.
ON_MESSAGES = {
    "zmq_msg_close": ((), -1),
    "zmq_msg_data": ((), None),
    "zmq_msg_size": ((), 0),
    "zmq_msg_set_routing_id": ((1,), -1),
    "zmq_msg_routing_id": ((), 0),
    "zmq_msg_set_group": ((b"group",), -1),
    "zmq_msg_group": ((), None),
}
#: As by libzmq, these look at a message that was closed, or never was one, as at one without
#: properties. NULL is EFAULT, but for zmq_msg_set(), which knows no property anyway.
OF_MESSAGES = {
    "zmq_msg_more": ((), -1),
    "zmq_msg_get": ((1,), -1),
    "zmq_msg_set": ((1, 1), -1),
    "zmq_msg_gets": ((b"Socket-Type",), None),
}
