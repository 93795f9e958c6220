"""A constructor that fails leaves nothing behind, though its exception is kept: a traceback keeps
the half-made object, and `Context.term` would wait for a socket that nobody can close."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading

import pytest
from leaks import counts as engine_counts
from leaks import left_over
from support import Background

if os.environ.get("ZM_TEST_MODULE", "zmq_monocoque") != "zmq_monocoque":
    pytest.skip("pyzmq leaves its sockets to the collector", allow_module_level=True)

import zmq_monocoque as zmq
import zmq_monocoque.asyncio as zmq_asyncio


class Odd:
    """A subclass's call that fails in the middle of ``__init__``."""

    def get(self, option):
        raise OSError("get")


def odd(module: str) -> type:
    return type("OddSocket", (Odd, importlib.import_module(module).Socket), {})


def with_option_of_a_wrong_type(context):
    context.linger = "long"
    context.socket(zmq.PUB)


def with_room_for(count: int, call):
    def fail(context):
        context.max_sockets = count
        call(context)

    return fail


def monitored(context):
    with context.socket(zmq.PULL) as s:
        s.get_monitor_socket()


def taken(context, call):
    with context.socket(zmq.PULL):
        call(context)


def monitored_at_a_taken_name(context):
    with context.socket(zmq.PULL) as s, context.socket(zmq.PAIR) as other:
        other.bind("inproc://taken")
        s.get_monitor_socket(addr="inproc://taken")


def authenticated_by_a_thread(context):
    importlib.import_module("zmq_monocoque.auth.thread").ThreadAuthenticator(context).start()


def authenticated_without_a_thread(context):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        authenticated_by_a_thread(context)


def authenticated_without_a_loop(context):
    auth = importlib.import_module("zmq_monocoque.auth.asyncio").AsyncioAuthenticator(context)
    Background(auth.start).result()


def logged_to_nonsense(context):
    importlib.import_module("zmq_monocoque.log.handlers").PUBHandler("nonsense", context)


def logged_in_a_context_of_its_own(context):
    importlib.import_module("zmq_monocoque.log.handlers").PUBHandler("tcp://127.0.0.1:x")


def streamed(prepare):
    def fail(context):
        from tornado.ioloop import IOLoop

        loop = IOLoop(make_current=False)
        with context.socket(zmq.PULL) as s:
            prepare(s, loop)
            try:
                importlib.import_module("zmq_monocoque.eventloop.zmqstream").ZMQStream(s, loop)
            finally:
                if loop.asyncio_loop and not loop.asyncio_loop.is_closed():
                    loop.close()

    return fail


def device(context, address="nonsense"):
    from zmq_monocoque.devices import Device

    made = Device(zmq.QUEUE, zmq.PULL, zmq.PUSH)
    made.context_factory = lambda: context
    made.bind_in("tcp://127.0.0.1:*")
    made.bind_out(address)
    made.start()


def proxied(context):
    from zmq_monocoque.devices import ProxySteerable

    made = ProxySteerable(zmq.PULL, zmq.PUSH, ctrl_type=zmq.PAIR)
    made.context_factory = lambda: context
    made.start()


FAIL = {
    "Context": lambda context: zmq.Context(-1),
    "Socket": lambda context: zmq.Socket(context, 99),
    "Socket with a threshold that is none": lambda c: zmq.Socket(c, zmq.PUB, copy_threshold="x"),
    "Socket with a call of its own": lambda c: odd("zmq_monocoque")(c, zmq.PUB),
    "asyncio's": lambda c: odd("zmq_monocoque.asyncio")(c, zmq.PUB),
    "asyncio's with a threshold": lambda c: zmq_asyncio.Socket(c, zmq.PUB, copy_threshold="x"),
    "tornado's": lambda c: odd("zmq_monocoque.eventloop.future")(c, zmq.PUB),
    "gevent's": lambda c: odd("zmq_monocoque.green")(c, zmq.PUB),
    "a default option of a wrong type": with_option_of_a_wrong_type,
    "a monitor's end": with_room_for(2, monitored),
    "a monitor": with_room_for(1, monitored),
    "a monitor at a taken name": monitored_at_a_taken_name,
    "an authenticator's socket": with_room_for(1, lambda c: taken(c, authenticated_by_a_thread)),
    "an authenticator's pipe": with_room_for(1, authenticated_by_a_thread),
    "an authenticator's other end": with_room_for(2, authenticated_by_a_thread),
    "an authenticator's thread": authenticated_without_a_thread,
    "an authenticator's task": authenticated_without_a_loop,
    "a log handler": logged_to_nonsense,
    "a log handler's context": logged_in_a_context_of_its_own,
    "a stream of a closed socket": streamed(lambda s, loop: s.close()),
    "a stream in a closed loop": streamed(lambda s, loop: loop.close()),
    "a device": device,
    "a device's second socket": with_room_for(1, device),
    "a proxy's control": with_room_for(3, proxied),
}


#: What they raise: anything else is a mistake of the test's.
FAILURES = (zmq.ZMQError, OSError, TypeError, RuntimeError)


@pytest.mark.parametrize("name", FAIL)
def test_a_constructor_that_fails_leaves_nothing_behind(name):
    """Neither a socket, nor a thread, nor a descriptor that a new context would not have."""
    if name == "gevent's":
        pytest.importorskip("gevent")
    context = zmq.Context()
    before = {**engine_counts(), "contexts": engine_counts()["contexts"] - 1}
    threads = threading.active_count()
    kept = None
    try:
        FAIL[name](context)
    except BaseException:
        kept = sys.exc_info()  # with the traceback, as a debugger has it
    assert kept is not None and issubclass(kept[0], FAILURES), kept
    assert threading.active_count() == threads
    Background(context.term).result()
    assert not left_over(before)
    del kept
    gc.collect()
