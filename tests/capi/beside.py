"""``python beside.py LIBRARY``: what each function answers to each kind of wrong handle, as JSON.

Each call is made in a forked child, because libzmq does not survive all of them: null then.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys

import support.capi as calls
from support.capi import Face

SECONDS = 1
ZEROS = ctypes.create_string_buffer(4096)


def handles(face: Face) -> dict[str, int | None]:
    """What is no handle of the kind that is wanted."""
    context = face.zmq_ctx_new()
    closed, live = (face.zmq_socket(context, calls.PAIR) for _ in range(2))
    face.zmq_close(closed)
    return {
        "NULL": None,
        "zeros": ctypes.addressof(ZEROS),
        "a closed socket": closed,
        "a context": context,
        "a socket": live,
    }


def messages(face: Face) -> dict[str, object]:
    closed = ctypes.create_string_buffer(64)
    face.zmq_msg_init(closed)
    face.zmq_msg_close(closed)
    return {"NULL": None, "zeros": ctypes.create_string_buffer(64), "a closed message": closed}


def on_handle(name: str, kind: str, arguments: tuple[object, ...]):
    return lambda face: face.refusal(name, handles(face)[kind], *arguments)


def on_message(name: str, kind: str, arguments: tuple[object, ...]):
    return lambda face: face.refusal(name, messages(face)[kind], *arguments)


def on_socket(name: str, *arguments: object):
    """A socket that is right, and arguments that are not."""

    def call(face: Face):
        return face.refusal(name, face.zmq_socket(face.zmq_ctx_new(), calls.DEALER), *arguments)

    return call


def cases():
    right = {"socket": "a socket", "context": "a context"}
    for kind, table in (
        ("socket", calls.ON_SOCKETS),
        ("context", calls.ON_CONTEXTS),
        ("timers", calls.ON_TIMERS),
    ):
        for name, arguments in table.items():
            for wrong in ("NULL", "zeros", "a closed socket", "a context", "a socket"):
                if right.get(kind) != wrong:
                    yield f"{name} on {wrong}", on_handle(name, wrong, arguments)
    for name, (arguments, _) in {**calls.ON_MESSAGES, **calls.OF_MESSAGES}.items():
        for wrong in ("NULL", "zeros", "a closed message"):
            yield f"{name} on {wrong}", on_message(name, wrong, arguments)
    one, none = ctypes.c_size_t(1), ctypes.c_size_t(0)
    for name, *arguments in (
        ("zmq_bind", None),
        ("zmq_connect", None),
        ("zmq_unbind", None),
        ("zmq_disconnect", None),
        ("zmq_setsockopt", 17, None, ctypes.c_size_t(4)),
        ("zmq_setsockopt", 17, None, none),
        ("zmq_setsockopt", 9999, b"1234", ctypes.c_size_t(4)),
        ("zmq_getsockopt", 17, None, None),
        ("zmq_getsockopt", 17, calls.BUFFER, ctypes.byref(ctypes.c_size_t(1))),
        ("zmq_getsockopt", 9999, calls.BUFFER, ctypes.byref(ctypes.c_size_t(8))),
        ("zmq_send", None, none, 1),
        ("zmq_recv", None, none, 1),
        ("zmq_sendiov", None, one, 1),
        ("zmq_recviov", None, None, 1),
        ("zmq_socket_monitor", None, 0),
        ("zmq_socket_monitor", b"tcp://127.0.0.1:*", 1),
        ("zmq_socket_monitor", b"nonsense", 1),
        ("zmq_socket_monitor", b"inproc://m", 0x10000),
        ("zmq_proxy", None, None),
        ("zmq_bind", b"inproc"),
        ("zmq_bind", b"nothing://at all"),
        ("zmq_connect", b"tcp://nowhere"),
        ("zmq_unbind", b"tcp://127.0.0.1:1"),
    ):
        yield f"{name} with {arguments}".split("<")[0], on_socket(name, *arguments)
    pointer = ctypes.c_void_p(None)
    for name, *arguments in (
        ("zmq_poll", None, 1, ctypes.c_long(0)),
        ("zmq_poll", None, -1, ctypes.c_long(0)),
        ("zmq_poll", None, 0, ctypes.c_long(0)),
        ("zmq_timers_destroy", None),
        ("zmq_timers_destroy", ctypes.byref(pointer)),
        ("zmq_z85_encode", calls.BUFFER, b"abc", ctypes.c_size_t(3)),
        ("zmq_z85_decode", calls.BUFFER, b"abc"),
        ("zmq_z85_decode", calls.BUFFER, b"~~~~~"),
        ("zmq_curve_public", calls.BUFFER, b"abc"),
        ("zmq_socket", None, 1),
        ("zmq_has", b"nothing"),
    ):
        yield (
            f"{name} of {arguments}".split("<")[0],
            lambda face, n=name, a=arguments: face.refusal(n, *a),
        )
    yield "zmq_socket of no type", lambda f: f.refusal("zmq_socket", f.zmq_ctx_new(), 99)
    yield "zmq_ctx_set of nothing", lambda f: f.refusal("zmq_ctx_set", f.zmq_ctx_new(), 99, 1)
    yield "zmq_ctx_get of nothing", lambda f: f.refusal("zmq_ctx_get", f.zmq_ctx_new(), 99)


def answer(face: Face, call) -> object:
    """What it answers and its errno; None: it did not come back."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        got, error = call(face)
        if isinstance(got, bytes):
            got = got.decode()
        os.write(writes, json.dumps([got, error if got in (-1, 0, None) else 0]).encode())
        os._exit(0)
    os.close(writes)
    text = b"".join(iter(lambda: os.read(reads, 4096), b""))
    os.close(reads)
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    face = Face(sys.argv[1])
    found = {}
    for name, call in cases():
        try:
            face._library[name.split()[0]]
        except AttributeError:
            continue  # a draft
        found[name] = answer(face, call)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
