"""What each call answers while the context ends.

libzmq tells a socket of the end only in calls that process commands; until then options work, and
with them programs shut down (S-47).
"""

from __future__ import annotations

import contextlib

import pytest
from support import Background, eventually, refused

# Each is called with the module and a bound DEALER.
ASIDE = {
    "set an int": lambda z, s: s.setsockopt(z.LINGER, 0),
    "set by attribute": lambda z, s: setattr(s, "linger", 0),
    "set hwm": lambda z, s: s.set_hwm(5),
    "set bytes": lambda z, s: s.setsockopt(z.IDENTITY, b"me"),
    "set a string": lambda z, s: s.set_string(z.IDENTITY, "me"),
    "get an int": lambda z, s: s.getsockopt(z.TYPE),
    "get an int64": lambda z, s: s.getsockopt(z.MAXMSGSIZE),
    "get bytes": lambda z, s: s.getsockopt(z.LAST_ENDPOINT),
    "get by attribute": lambda z, s: s.linger,
    "get hwm": lambda z, s: s.hwm,
    "get a string": lambda z, s: s.get_string(z.LAST_ENDPOINT),
    "RCVMORE": lambda z, s: s.getsockopt(z.RCVMORE),
    "FD": lambda z, s: s.getsockopt(z.FD),
    "fileno": lambda z, s: s.fileno(),
    "stop a monitor": lambda z, s: s.disable_monitor(),
}

#: Work whatever has been said, since they ask nothing of the engine that it could refuse.
ALWAYS = {
    "closed": lambda z, s: s.closed,
    "repr": lambda z, s: repr(s),
    "copy_threshold": lambda z, s: s.copy_threshold,
    "underlying": lambda z, s: s.underlying,
    "context's option": lambda z, s: s.context.get(z.MAX_SOCKETS),
    "set a context's option": lambda z, s: s.context.set(z.MAX_SOCKETS, 10),
    "default of later sockets": lambda z, s: s.context.setsockopt(z.LINGER, 0),
    "context's closed": lambda z, s: s.context.closed,
    "shadow of the context": lambda z, s: z.Context.shadow(s.context),
}

TELL = {
    "EVENTS": lambda z, s: s.getsockopt(z.EVENTS),
    "poll": lambda z, s: s.poll(0),
    "Poller": lambda z, s: z.zmq_poll([(s, z.POLLIN)], 0),
    "select": lambda z, s: z.select([s], [], [], 0),
    "send": lambda z, s: s.send(b""),
    "send at once": lambda z, s: s.send(b"", z.DONTWAIT),
    "send without a copy": lambda z, s: s.send(b"", copy=False),
    "send_multipart": lambda z, s: s.send_multipart([b"", b""]),
    "recv": lambda z, s: s.recv(),
    "recv at once": lambda z, s: s.recv(z.DONTWAIT),
    "recv a frame": lambda z, s: s.recv(copy=False),
    "recv_multipart": lambda z, s: s.recv_multipart(),
    "recv_into": lambda z, s: s.recv_into(bytearray(1)),
    "bind": lambda z, s: s.bind("tcp://127.0.0.1:*"),
    "bind inproc": lambda z, s: s.bind("inproc://ending"),
    "bind to nonsense": lambda z, s: s.bind("nonsense"),
    "bind_to_random_port": lambda z, s: s.bind_to_random_port("tcp://127.0.0.1"),
    "connect": lambda z, s: s.connect("tcp://127.0.0.1:1"),
    "connect to nonsense": lambda z, s: s.connect("nonsense"),
    "unbind": lambda z, s: s.unbind(s.last_endpoint.decode()),
    "unbind what is not bound": lambda z, s: s.unbind("tcp://127.0.0.1:1"),
    "disconnect": lambda z, s: s.disconnect("tcp://127.0.0.1:1"),
    "disconnect from nonsense": lambda z, s: s.disconnect("nonsense"),
    "proxy": lambda z, s: z.proxy(s, s),
}

#: Need something new in the context, which is refused; the socket hears nothing of it.
NEED_A_SOCKET = {
    "socket": lambda z, s: s.context.socket(z.PUB),
    "Socket": lambda z, s: z.Socket(s.context, z.PUB),
    "monitor": lambda z, s: s.monitor("inproc://ending-monitor"),
    "get_monitor_socket": lambda z, s: s.get_monitor_socket(),
}


BEGIN = {
    "term": lambda z, context: context.term,
    "destroy": lambda z, context: context.destroy,
}


@pytest.fixture(params=BEGIN)
def ending(request, zmq):
    """A socket whose context ends, and that has not been told."""
    context = zmq.Context()
    # Not through context.socket(): destroy() closes those.
    s, other = zmq.Socket(context, zmq.DEALER), zmq.Socket(context, zmq.PULL)
    s.bind("tcp://127.0.0.1:*")
    waiter = Background(BEGIN[request.param](zmq, context))
    eventually(lambda: is_told(zmq, lambda: other.getsockopt(zmq.EVENTS)))
    yield s
    s.close(0)
    other.close(0)
    waiter.result()


def is_told(zmq, call) -> bool:
    try:
        call()
    except zmq.ZMQError as error:
        assert error.errno == zmq.ETERM
        return True
    return False


@pytest.mark.parametrize("name", ASIDE)
def test_options_work_until_the_socket_was_told_of_the_end(zmq, ending, name):
    """S-47: as often as one likes; then not any more."""
    for _ in range(2):
        ASIDE[name](zmq, ending)
    with refused(zmq, zmq.ETERM):
        ending.getsockopt(zmq.EVENTS)
    with refused(zmq, zmq.ETERM):
        ASIDE[name](zmq, ending)


@pytest.mark.parametrize("name", ALWAYS)
def test_some_calls_work_whatever_was_told(zmq, ending, name):
    """S-47"""
    ALWAYS[name](zmq, ending)
    ending.setsockopt(zmq.LINGER, 0)
    with refused(zmq, zmq.ETERM):
        ending.getsockopt(zmq.EVENTS)
    ALWAYS[name](zmq, ending)


@pytest.mark.parametrize("name", TELL)
def test_calls_that_do_something_tell_of_the_end(zmq, ending, name):
    """S-47: with ETERM, whatever else would be wrong with them."""
    with refused(zmq, zmq.ETERM):
        TELL[name](zmq, ending)
    with refused(zmq, zmq.ETERM):
        ending.setsockopt(zmq.LINGER, 0)
    assert not ending.closed


@pytest.mark.parametrize("name", NEED_A_SOCKET)
def test_what_needs_a_new_socket_is_refused_and_tells_nothing(zmq, ending, name):
    """S-48"""
    with refused(zmq, zmq.ETERM):
        NEED_A_SOCKET[name](zmq, ending)
    ending.setsockopt(zmq.LINGER, 0)


def test_subscriptions_are_options(zmq):
    """S-47"""
    context = zmq.Context()
    sub, other = context.socket(zmq.SUB), context.socket(zmq.PULL)
    sub.bind("tcp://127.0.0.1:*")
    term = Background(context.term)
    eventually(lambda: is_told(zmq, lambda: other.getsockopt(zmq.EVENTS)))
    other.close()
    sub.subscribe(b"a")
    sub.unsubscribe(b"a")
    sub.close()
    term.result()


@pytest.mark.parametrize("linger_by", ["setsockopt", "close"])
def test_a_program_that_sets_linger_and_closes_lets_its_context_end(zmq, linger_by):
    """The way programs shut down: the option must work, or close() is never reached; and it must
    count, or term() waits for a message that nobody takes."""
    context = zmq.Context()
    s, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    s.connect("tcp://127.0.0.1:1")
    s.send(b"nobody takes it")
    term = Background(context.term)
    eventually(lambda: is_told(zmq, lambda: other.getsockopt(zmq.EVENTS)))
    with contextlib.suppress(zmq.ContextTerminated):
        if linger_by == "setsockopt":
            s.setsockopt(zmq.LINGER, 0)
            s.close()
        else:
            s.close(linger=0)
    other.close()
    term.result()
