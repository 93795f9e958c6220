"""Python code that runs inside a call on a socket closes it, or ends its context: the call says so.

The same over a stand-in for the engine, hook by hook: tests/unit/ext/.
"""

from __future__ import annotations

import errno
import gc
import signal
import threading

import pytest
from support import TIMEOUT, eventually

BIG = bytes(100_000)


class Number:
    def __init__(self, hook, value: int = 0):
        self.hook, self.value = hook, value

    def __index__(self):
        self.hook()
        return self.value

    def __bool__(self):
        self.hook()
        return bool(self.value)


class Parts:
    def __init__(self, hook, *parts):
        self.hook, self.parts = hook, parts

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, i):
        self.hook()
        return list(self.parts[i]) if isinstance(i, slice) else self.parts[i]


class Dying(bytearray):
    hook = staticmethod(lambda: None)

    def __del__(self):
        self.hook()


def dying(hook):
    data = Dying(BIG)
    data.hook = hook
    return data


CALLS = {
    "send": lambda push, pull, hook: push.send(b"x", Number(hook)),
    "send large": lambda push, pull, hook: push.send(BIG, copy=Number(hook)),
    "send tracked": lambda push, pull, hook: push.send(BIG, copy=False, track=Number(hook, 1)),
    "send_multipart": lambda push, pull, hook: push.send_multipart(Parts(hook, b"a", BIG)),
    "recv": lambda push, pull, hook: pull.recv(Number(hook)),
    "recv frame": lambda push, pull, hook: pull.recv(copy=Number(hook)),
    "recv_multipart": lambda push, pull, hook: pull.recv_multipart(copy=Number(hook)),
    "send_many": lambda push, pull, hook: push.send_many([b"x", BIG], flags=Number(hook)),
    "send_many let go": lambda push, pull, hook: push.send_many(dying(hook) for _ in range(1)),
    "send_many shared": lambda push, pull, hook: push.send_many(
        (dying(hook) for _ in range(3)), copy=False
    ),
    "recv_many": lambda push, pull, hook: pull.recv_many(Number(hook, 3)),
    "recv_into": lambda push, pull, hook: pull.recv_into(bytearray(5), flags=Number(hook)),
}


@pytest.fixture
def pair(zmq):
    """A context, and in it a PUSH and a PULL that have two messages between them."""
    context = zmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.rcvtimeo = push.sndtimeo = 30_000
    pull.linger = push.linger = 0
    pull.bind("tcp://127.0.0.1:*")
    push.connect(pull.LAST_ENDPOINT)
    push.send_multipart([b"one", b"part"])
    push.send(BIG)
    eventually(lambda: pull.poll(0))
    yield context, push, pull
    context.destroy(linger=0)


def ending(context, push, pull, how: str):
    """A hook that takes both sockets away."""

    def hook():
        hook.runs += 1
        if how == "closes":
            push.close(), pull.close()
        else:
            context.destroy(linger=0)

    hook.runs = 0
    return hook


@pytest.mark.parametrize("how", ["closes", "terminates"])
@pytest.mark.parametrize("call", CALLS)
def test_an_argument_takes_the_socket_away(zmq, pair, call, how):
    hook = ending(*pair, how)
    try:
        CALLS[call](*pair[1:], hook)
    except zmq.ZMQError as error:
        assert error.errno in (errno.ENOTSOCK, zmq.ETERM)
    gc.collect()
    assert hook.runs
    assert pair[1].closed and pair[2].closed


@pytest.mark.parametrize("how", ["closes", "terminates"])
@pytest.mark.parametrize("call", ["recv", "recv_multipart", "poll", "send"])
def test_a_signal_handler_takes_the_socket_away_that_is_waited_for(zmq, pair, call, how):
    context, push, pull = pair
    pull.recv_multipart(), pull.recv()
    lonely = context.socket(zmq.PUSH)
    hook = ending(context, lonely, pull, how)
    old = signal.signal(signal.SIGALRM, lambda *_: hook())
    timer = threading.Timer(0.1, signal.pthread_kill, (threading.get_ident(), signal.SIGALRM))
    timer.start()
    try:
        with pytest.raises(zmq.ZMQError) as raised:
            if call == "send":
                lonely.send(b"nobody is there")
            elif call == "poll":
                pull.poll()
            else:
                getattr(pull, call)()
        assert raised.value.errno in (errno.ENOTSOCK, zmq.ETERM)
    finally:
        timer.join(TIMEOUT)
        signal.signal(signal.SIGALRM, old)
    assert hook.runs == 1
