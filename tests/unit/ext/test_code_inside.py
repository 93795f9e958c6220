"""Python code that runs inside a call."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
import time

import pytest
from support import TIMEOUT, eventually
from support.extension import (
    BIG,
    DONTWAIT,
    EAGAIN,
    ENOTSOCK,
    Error,
    Parts,
    needs_thresholds,
    raises_errno,
)


class Index:
    """A number that does something when it is read."""

    def __init__(self, hook, value: int = 0):
        self.hook, self.value = hook, value

    def __index__(self):
        self.hook()
        return self.value


class Truth:
    def __init__(self, hook, value: bool):
        self.hook, self.value = hook, value

    def __bool__(self):
        self.hook()
        return self.value


class Dying(bytearray):
    """A buffer that does something when it is let go of."""

    hook = staticmethod(lambda: None)

    def __del__(self):
        self.hook()


def dying(hook) -> Dying:
    data = Dying(BIG)
    data.hook = hook
    return data


#: What Python code may run through an argument of which call.
BY_ARGUMENT = {
    "send flags": lambda s, hook: s.send(b"x", Index(hook)),
    "send large, flags": lambda s, hook: s.send(bytes(BIG), Index(hook)),
    "send dontwait, flags": lambda s, hook: s.send(b"x", Index(hook, DONTWAIT)),
    "send copy": lambda s, hook: s.send(bytes(BIG), 0, Truth(hook, False)),
    "send track": lambda s, hook: s.send(bytes(BIG), 0, False, Truth(hook, True)),
    "send_multipart flags": lambda s, hook: s.send_multipart([b"x", bytes(BIG)], Index(hook)),
    "send_multipart copy": lambda s, hook: s.send_multipart([bytes(BIG)], 0, Truth(hook, False)),
    "send_multipart parts": lambda s, hook: s.send_multipart(Parts(hook, b"a", b"b")),
    "send_many flags": lambda s, hook: s.send_many([b"x", b"y"], flags=Index(hook)),
    "send_many copy": lambda s, hook: s.send_many([bytes(BIG)], copy=Truth(hook, False)),
    "send_many messages": lambda s, hook: s.send_many(Parts(hook, b"a", [b"b", b"c"])),
    "send_many last reference": lambda s, hook: s.send_many(dying(hook) for _ in range(1)),
    "recv flags": lambda s, hook: s.recv(Index(hook)),
    "recv copy": lambda s, hook: s.recv(0, Truth(hook, False)),
    "recv track": lambda s, hook: s.recv(0, False, Truth(hook, True)),
    "recv_multipart flags": lambda s, hook: s.recv_multipart(Index(hook)),
    "recv_multipart copy": lambda s, hook: s.recv_multipart(0, Truth(hook, False)),
    "recv_many max": lambda s, hook: s.recv_many(Index(hook, 5)),
    "recv_many multipart": lambda s, hook: s.recv_many(5, multipart=Truth(hook, True)),
    "recv_into nbytes": lambda s, hook: s.recv_into(bytearray(9), nbytes=Index(hook, 9)),
    "_get_int option": lambda s, hook: s._zm_get_int(Index(hook, 21)),
    "poll list": lambda s, hook: type(s)._zm_binding.poll(Parts(hook, (s, 1), (s, 1)), 0),
    "poll timeout": lambda s, hook: type(s)._zm_binding.poll([(s, 1), (File(hook), 1)], 0),
}
#: The hook of the binding that runs, and in which call.
BY_BINDING = {
    "error": [
        lambda s: [s.recv(DONTWAIT) for _ in range(3)],
        lambda s: s._zm_get_int(-1),
        lambda s: [s.recv_many(1, flags=DONTWAIT) for _ in range(2)],
    ],
    "event": [
        lambda s: s.send(bytes(BIG), copy=False, track=True),
        lambda s: s.send_multipart([b"x", bytes(BIG)], copy=False, track=True),
    ],
    "tracker": [lambda s: s.send(bytes(BIG), copy=False, track=True)],
    "gc_refs": [
        lambda s: s.send(bytes(BIG), copy=False),
        lambda s: s.send_many([b"x", bytes(BIG)], copy=False),
    ],
    "gcref": [lambda s: s.send_multipart([bytes(BIG), b"x"], copy=False)],
    "finished_tracker": [lambda s: s.send(b"x" * 9, copy=False)],
    "frame_class": [
        lambda s: s.recv(copy=False),
        lambda s: s.recv_multipart(copy=False),
        lambda s: s.recv_many(5, copy=False),
    ],
}


class File:
    def __init__(self, hook):
        self.hook = hook

    def fileno(self):
        self.hook()
        return 0


@pytest.fixture(params=["closes", "replaces", "dies"])
def meanwhile(request, s, make, fake):
    """A hook that takes the socket away, the first time it is called; `.runs`: how often it was."""
    other = make()

    def hook():
        hook.runs += 1
        if hook.runs > 1:
            return
        if request.param == "replaces":
            s._zm_attach(other.h)
        else:
            fake.close(s.h)  # all that a context's end does
            if request.param == "closes":
                s._zm_attach(0)

    hook.runs = 0
    hook.gone = request.param != "replaces"
    for body in (b"first", b"second"):
        fake.deliver(s.h, body, more=body == b"first")
        fake.deliver(other.h, body, more=body == b"first")
    return hook


def check_aftermath(s, hook):
    assert hook.runs, "the code did not run"
    if hook.gone:
        for call in (lambda: s.recv(DONTWAIT), lambda: s.send(b"x"), lambda: s.send_many([b"x"])):
            with raises_errno(ENOTSOCK):
                call()
        assert s._zm_spin() is True


@pytest.mark.parametrize("call", BY_ARGUMENT.values(), ids=BY_ARGUMENT)
def test_an_argument_takes_the_socket_away(s, fake, meanwhile, call):
    with contextlib.suppress(Error):
        call(s, meanwhile)
    check_aftermath(s, meanwhile)


@pytest.mark.parametrize(
    ("hook", "call"), [(h, call) for h, calls in BY_BINDING.items() for call in calls]
)
def test_a_hook_takes_the_socket_away(bound, s, fake, meanwhile, hook, call):
    genuine = getattr(bound.hooks, hook)

    def taking_away(*arguments):
        meanwhile()
        return genuine(*arguments)

    setattr(bound.hooks, hook, taking_away)
    with contextlib.suppress(Error):
        call(s)
    check_aftermath(s, meanwhile)


@pytest.mark.parametrize("answer", [0, -EAGAIN, 1], ids=["sent", "full", "flush"])
@pytest.mark.parametrize(
    "send",
    [
        lambda s: s.send(bytes(BIG)),
        lambda s: s.send(bytes(BIG), DONTWAIT),
        lambda s: s.send_multipart([bytes(BIG), b"y", bytes(BIG)]),
        lambda s: s.send_many([bytes(BIG)]),
        lambda s: s.send_many([bytes(BIG), b"y", [b"z", bytes(BIG)]]),
        lambda s: s.send_many([[bytes(BIG), b"y"]]),
        lambda s: s.send_many([bytes(BIG)], flags=DONTWAIT),
    ],
    ids=["send", "nowait", "multipart", "many", "many mixed", "many parts", "many nowait"],
)
def test_what_a_send_releases_takes_the_socket_away(s, fake, meanwhile, send, answer):
    """The engine lets go of an earlier message while it takes this one, and its destructor runs
    before the call has ended."""
    fake.keep_sent()
    s.send(dying(meanwhile), copy=False)
    for _ in range(3):
        s.recv()
    assert not meanwhile.runs
    fake.let_go_on_send(1)
    fake.script(s.h, "s", answer)
    fake.set(s.h, "t", 0 if answer == -EAGAIN else -1)
    try:
        send(s)
    except Error as error:
        assert error.errno in (ENOTSOCK, EAGAIN)
    finally:
        fake.let_go_on_send(0)
    check_aftermath(s, meanwhile)


def test_send_many_that_found_no_room_says_that_the_socket_was_closed(s, fake):
    """It asks how long it may wait after the destructor ran; not long, or "it would block"."""
    fake.keep_sent()
    s.send(dying(lambda: (fake.close(s.h), s._zm_attach(0))), copy=False)
    s.recv()
    fake.let_go_on_send(1)
    fake.script(s.h, "s", -EAGAIN)
    try:
        with raises_errno(ENOTSOCK):
            s.send_many([bytes(BIG)])
    finally:
        fake.let_go_on_send(0)


@needs_thresholds
@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.recv(copy=False),
        lambda s: s.recv_multipart(),
        lambda s: s.recv_multipart(copy=False),
        lambda s: s.recv_many(5),
        lambda s: s.recv_many(5, copy=False, multipart=True),
        lambda s: s.send(bytes(BIG), copy=False),
        lambda s: s.send_multipart([b"x", bytes(BIG)], copy=False),
        lambda s: s.send_many([b"x", [b"y", bytes(BIG)]], copy=False),
        lambda s: type(s)._zm_binding.poll([(s, 1)], 0),
    ],
    ids=lambda call: None,
)
def test_a_garbage_collection_takes_the_socket_away(s, fake, meanwhile, call):
    def collecting(phase, info):
        meanwhile()

    threshold = gc.get_threshold()
    gc.collect()
    gc.callbacks.append(collecting)
    gc.set_threshold(1)
    try:
        call(s)
        if sys.version_info >= (3, 12):  # it waits until the interpreter looks, on 3.15 until here
            assert [set() for _ in range(3)]
    except Error as error:
        assert error.errno in (ENOTSOCK, EAGAIN)
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(collecting)
    check_aftermath(s, meanwhile)


@pytest.mark.parametrize("way", ["signal", "thread"])
@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.recv(),
        lambda s: s.recv_multipart(copy=False),
        lambda s: s.recv_many(5),
        lambda s: s.recv_into(bytearray(5)),
        lambda s: s.send(b"x"),
        lambda s: s.send(bytes(BIG), copy=False),
        lambda s: s.send_multipart([b"x", b"y"]),
        lambda s: s.send_many([b"x", b"y"]),
    ],
    ids=["recv", "multipart", "many", "into", "send", "large", "send parts", "send many"],
)
def test_a_wait_is_over_when_the_socket_is_taken_away(s, fake, meanwhile, call, way):
    if way == "thread" and not meanwhile.gone:
        pytest.skip("who waits goes on waiting for the socket that it began with")
    s.recv(), s.recv()
    fake.set(s.h, "h", 0)
    handle = s.h
    old = signal.signal(signal.SIGALRM, lambda *_: meanwhile())

    def take_away():
        eventually(lambda: fake.count(handle, "w"))
        while not meanwhile.runs:  # the fake sleeps a little after it has counted
            signal.pthread_kill(main, signal.SIGALRM) if way == "signal" else meanwhile()
            time.sleep(0.01)

    main = threading.get_ident()
    thread = threading.Thread(target=take_away)
    thread.start()
    try:
        call(s)
        assert not meanwhile.gone  # tried again, on the socket that is there now
    except Error as error:
        assert meanwhile.gone and error.errno == ENOTSOCK
    finally:
        thread.join(TIMEOUT)
        signal.signal(signal.SIGALRM, old)
    check_aftermath(s, meanwhile)
