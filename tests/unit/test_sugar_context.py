"""Context: life, options, defaults for sockets, shadows, instance(), forks."""

from __future__ import annotations

import copy
import errno
import gc
import os
import subprocess
import sys
import threading
import warnings
import weakref

import pytest


@pytest.fixture
def own(zmq):
    """own(cls=Context) -> a context that is destroyed afterwards."""
    made = []

    def make(cls=None, *args, **kwargs):
        context = (cls or zmq.Context)(*args, **kwargs)
        made.append(context)
        return context

    yield make
    for context in made:
        context.destroy(linger=0)


def named(thing) -> str:
    return repr(thing).replace(hex(id(thing)), "ADDRESS")


def test_a_context_lives_and_ends(zmq):
    for _ in range(3):
        context = zmq.Context()
        assert not context.closed
        assert context.underlying > 0
        context.term()
        assert context.closed
        assert context.underlying == 0
        context.term()
        context.destroy()


def test_io_threads_may_not_be_negative(zmq):
    with pytest.raises(zmq.ZMQError) as raised:
        zmq.Context(-1)
    assert raised.value.errno == errno.EINVAL
    zmq.Context(0).term()


def test_the_repr_counts_sockets(zmq, own):
    context = own()
    assert named(context) == "<zmq.Context() at ADDRESS>"
    first = context.socket(zmq.PUSH)
    assert named(context) == "<zmq.Context(1 socket) at ADDRESS>"
    second = context.socket(zmq.PUSH)
    assert named(context) == "<zmq.Context(2 sockets) at ADDRESS>"
    first.close()
    second.close()
    context.term()
    assert named(context) == "<zmq.Context() at ADDRESS closed>"


def test_a_subclass_shows_its_own_name(zmq, own):
    class Mine(zmq.Context):
        pass

    assert named(own(Mine)) == f"<{__name__}.Mine() at ADDRESS>"


def test_options_of_the_context_are_set_and_read(zmq, own):
    context = own()
    assert context.get(zmq.IO_THREADS) == 1
    assert context.get(zmq.MAX_SOCKETS) == 1023
    context.set(zmq.MAX_SOCKETS, 10)
    assert context.get(zmq.MAX_SOCKETS) == context.max_sockets == 10
    context.max_sockets = 11
    assert context.MAX_SOCKETS == 11
    assert context.sockopts == {}


@pytest.mark.parametrize("value", ["x", 1.5, None])
def test_options_of_the_context_are_ints(zmq, own, value):
    with pytest.raises(TypeError, match="expected int, got"):
        own().set(zmq.IO_THREADS, value)


def test_unknown_options_and_bad_values_are_einval(zmq, own):
    context = own()
    for call in (
        lambda: context.get(99),
        lambda: context.set(99, 1),
        lambda: context.set(zmq.IO_THREADS, -1),
        lambda: context.set(zmq.MAX_SOCKETS, 0),
    ):
        with pytest.raises(zmq.ZMQError) as raised:
            call()
        assert raised.value.errno == errno.EINVAL
    with pytest.raises(OverflowError):
        context.set(zmq.IO_THREADS, 1 << 40)


def test_a_terminated_context_says_so(zmq):
    context = zmq.Context()
    context.term()
    for call in (
        lambda: context.get(zmq.IO_THREADS),
        lambda: context.set(zmq.IO_THREADS, 1),
        lambda: context.max_sockets,
    ):
        with pytest.raises(RuntimeError, match="Context has been destroyed"):
            call()
    with pytest.raises(zmq.ZMQError) as raised:
        context.socket(zmq.PUSH)
    assert raised.value.errno == errno.ENOTSUP


# --- defaults for sockets --------------------------------------------------------------------


def test_other_options_are_defaults_for_new_sockets(zmq, own):
    context = own()
    before = context.socket(zmq.PUSH)
    context.linger = 5
    assert (context.linger, context.LINGER, context.sockopts) == (5, 5, {zmq.LINGER: 5})
    assert context.socket(zmq.PUSH).linger == 5
    assert before.linger == -1
    context.setsockopt(zmq.LINGER, 7)
    assert context.getsockopt(zmq.LINGER) == 7
    del context.linger
    assert context.sockopts == {}
    assert context.socket(zmq.PUSH).linger == -1


def test_a_default_that_does_not_fit_a_socket_is_left_out(zmq, own):
    context = own()
    context.subscribe = b""
    with context.socket(zmq.PUSH), context.socket(zmq.SUB):
        pass


def test_what_is_no_default_is_an_attribute_error(zmq, own):
    context = own()
    for call in (
        lambda: context.linger,
        lambda: delattr(context, "linger"),
        lambda: delattr(context, "max_sockets"),
        lambda: delattr(context, "nope"),
        lambda: context.nope,
        lambda: setattr(context, "nope", 1),
        lambda: setattr(context, "push", 1),
    ):
        with pytest.raises(AttributeError):
            call()
    with pytest.raises(KeyError):
        context.getsockopt(zmq.LINGER)


def test_dir_names_the_options(zmq, own):
    names = dir(own())
    assert {"IO_THREADS", "MAX_SOCKETS", "socket", "term"} <= set(names)


# --- sockets -----------------------------------------------------------------------------------


def test_a_socket_class_gets_the_keywords(zmq, own):
    class Mine(zmq.Socket):
        extra = None

        def __init__(self, *args, extra=None, **kwargs):
            super().__init__(*args, **kwargs)
            self.extra = extra

    context = own()
    assert context.socket(zmq.PUSH, socket_class=Mine, extra=5).extra == 5
    with pytest.raises(TypeError):
        context.socket(zmq.PUSH, nope=1)

    class MineContext(zmq.Context):
        _socket_class = Mine

    assert own(MineContext).socket(zmq.PUSH, extra=6).extra == 6


@pytest.mark.parametrize("kind", [99, 1000])
def test_an_unknown_type_is_einval(zmq, own, kind):
    with pytest.raises(zmq.ZMQError) as raised:
        own().socket(kind)
    assert raised.value.errno == errno.EINVAL


def test_max_sockets_is_a_limit(zmq, own):
    context = own()
    context.max_sockets = 2
    with context.socket(zmq.PUSH), context.socket(zmq.PUSH):
        with pytest.raises(zmq.ZMQError) as raised:
            context.socket(zmq.PUSH)
    assert raised.value.errno == errno.EMFILE


def test_sockets_are_held_weakly(zmq, own):
    context = own()
    gone = weakref.ref(context.socket(zmq.PUSH, socket_class=lambda c, t: zmq.Socket(c, t)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
    assert gone() is None
    assert named(context) == "<zmq.Context() at ADDRESS>"


def test_destroy_closes_a_socket_that_another_thread_makes_meanwhile(zmq, on_libzmq):
    """The thread had the set of sockets in its hands when destroy() began."""
    if on_libzmq:
        pytest.skip("the set changes size during its iteration")

    class Meanwhile(zmq.Socket):
        def close(self, linger=None):
            if not made:
                made.append(zmq.Socket(context, zmq.PULL))
                sockets.add(made[0])
            super().close(linger)

    made = []
    context = zmq.Context()
    first = [context.socket(zmq.PULL, socket_class=Meanwhile) for _ in range(2)]
    sockets = context._sockets
    context.destroy(linger=0)
    assert all(s.closed for s in (*first, *made)) and made
    assert context.closed


def test_destroy_closes_every_socket_with_the_given_linger(zmq):
    context = zmq.Context()
    sockets = [context.socket(zmq.PUSH) for _ in range(3)]
    for s in sockets:
        s.connect("tcp://127.0.0.1:1")
        s.send(b"never leaves")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        context.destroy(linger=0)
    assert context.closed
    assert all(s.closed for s in sockets)


def test_leaving_a_with_block_closes_and_warns_of_open_sockets(zmq):
    with pytest.warns(ResourceWarning, match="Destroying context with unclosed socket") as caught:
        with zmq.Context() as context:
            s = context.socket(zmq.PUSH)
    assert context.closed and s.closed
    assert caught[0].source is s
    assert caught[0].filename == __file__


def test_a_context_that_is_forgotten_warns_and_ends(zmq):
    with pytest.warns(ResourceWarning, match="Unclosed context"):
        context = zmq.Context()
        del context
        gc.collect()


def test_a_cycle_of_context_and_sockets_is_collected(zmq, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq waits for sockets it cannot reach any more")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        context = zmq.Context()
        sockets = [context.socket(zmq.PULL) for _ in range(3)]
        sockets.append(sockets)
        gone = weakref.ref(context)
        del context, sockets
        gc.collect()
    assert gone() is None


def test_term_waits_for_sockets_to_be_closed(zmq):
    context = zmq.Context()
    s = context.socket(zmq.PULL)
    thread = threading.Thread(target=context.term)
    thread.start()
    with pytest.raises(zmq.ContextTerminated):
        s.recv()  # ends only by term()
    assert thread.is_alive()
    assert not s.closed
    s.close()
    thread.join(30)
    assert not thread.is_alive()
    assert context.closed


def test_calls_on_a_terminated_contexts_socket_raise_eterm(zmq):
    context = zmq.Context()
    s = context.socket(zmq.PAIR)
    thread = threading.Thread(target=context.term)
    thread.start()
    try:
        with pytest.raises(zmq.ContextTerminated):
            s.recv()
        for call in (
            lambda: s.send(b"x"),
            lambda: s.poll(0),
            lambda: zmq.zmq_poll([(s, zmq.POLLIN)], 0),
            lambda: s.bind("inproc://a"),
            lambda: context.socket(zmq.PUSH),
        ):
            with pytest.raises(zmq.ZMQError) as raised:
                call()
            assert raised.value.errno == zmq.ETERM
    finally:
        s.close()
        thread.join(30)


# --- shadows -----------------------------------------------------------------------------------


def test_shadows_stand_for_the_same_context(zmq, own):
    context = own()
    shadows = [
        zmq.Context(context),
        zmq.Context(shadow=context),
        zmq.Context.shadow(context),
        zmq.Context.shadow(context.underlying),
        copy.copy(context),
        copy.deepcopy(context),
    ]
    assert {s.underlying for s in shadows} == {context.underlying}
    assert all(s._shadow for s in shadows)
    a = context.socket(zmq.PAIR)
    a.bind("inproc://shared")
    for shadow in shadows:
        with shadow.socket(zmq.PAIR) as b:
            b.connect("inproc://shared")
    del shadows, shadow
    gc.collect()
    assert not context.closed
    assert context.get(zmq.IO_THREADS) == 1


def test_a_shadow_of_an_ended_context_is_efault(zmq):
    context = zmq.Context()
    shadow = zmq.Context(context)
    context.term()
    assert not shadow.closed
    for call in (lambda: shadow.socket(zmq.PUSH), lambda: shadow.get(1), lambda: shadow.set(1, 1)):
        with pytest.raises(zmq.ZMQError) as raised:
            call()
        assert raised.value.errno == errno.EFAULT


def test_ending_a_shadow_ends_the_context(zmq):
    context = zmq.Context()
    zmq.Context(context).term()
    with pytest.raises(zmq.ZMQError) as raised:
        context.socket(zmq.PUSH)
    assert raised.value.errno == errno.EFAULT
    context.closed = True  # so that nothing is left to be collected


def test_a_shadow_of_something_else_is_refused(zmq):
    with pytest.raises(ValueError, match="Cannot cast"):
        zmq.Context.shadow("x")


# --- instance() ----------------------------------------------------------------------------------


@pytest.fixture
def family(zmq):
    """A class that has an instance of its own, and two that inherit from it."""

    class Base(zmq.Context):
        _instance = None

    class Shares(Base):
        pass

    class HasItsOwn(Base):
        _instance = None

    yield Base, Shares, HasItsOwn
    for cls in (Base, HasItsOwn):
        if cls._instance is not None:
            cls._instance.destroy(linger=0)


def test_instance_is_one_for_all_that_share_it(family):
    base, shares, has_its_own = family
    one = base.instance()
    assert base.instance() is one
    assert shares.instance() is one
    assert has_its_own.instance() is not one
    assert type(has_its_own.instance()) is has_its_own


def test_a_closed_instance_is_replaced(family):
    base = family[0]
    one = base.instance()
    one.term()
    assert base.instance() is not one
    assert not base.instance().closed


def test_threads_that_ask_at_once_get_the_same_instance(family):
    base = family[0]
    barrier = threading.Barrier(16)
    got = []

    def ask():
        barrier.wait()
        got.append(base.instance())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert len(got) == 16
    assert len(set(map(id, got))) == 1


# --- forks ---------------------------------------------------------------------------------------


def in_fork(child) -> bytes:
    """Runs ``child() -> str`` in a fork; what it returned, or the exception's repr."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = str(child())
        except BaseException as error:
            answer = repr(error)
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return answer


def test_in_a_fork_close_and_term_touch_nothing(zmq, own, make):
    context = own()
    a, b = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    a.bind("inproc://parent")
    b.connect("inproc://parent")

    def child():
        a.close()
        context.term()
        return context.closed

    assert in_fork(child) == b"True"
    a.send(b"alive")
    assert b.recv() == b"alive"


def test_in_a_fork_instance_is_a_new_one_that_works(zmq, family):
    base = family[0]
    parent = base.instance()

    def child():
        mine = base.instance()
        with mine.socket(zmq.PAIR) as a, mine.socket(zmq.PAIR) as b:
            a.bind("inproc://child")
            b.connect("inproc://child")
            a.send(b"hello")
            heard = b.recv()
        mine.term()
        return mine is not parent and heard == b"hello"

    assert in_fork(child) == b"True"
    assert base.instance() is parent


def test_a_context_can_be_a_generic(zmq):
    assert zmq.Context[zmq.Socket] and zmq.Socket[bytes]


# --- exit ----------------------------------------------------------------------------------------


def test_the_process_exits_whatever_is_left_open(zmq):
    """Open sockets, messages that cannot leave, a blocked daemon thread: no hang, no crash."""
    code = f"""
import threading
import {zmq.__name__} as zmq
context = zmq.Context.instance()
push = context.socket(zmq.PUSH)
push.connect("tcp://127.0.0.1:1")
push.send(b"never leaves")
push.send(bytes(100_000), copy=False)
pull = context.socket(zmq.PULL)
threading.Thread(target=pull.recv, daemon=True).start()
forgotten = zmq.Context().socket(zmq.PUB)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("way", ["position", "keyword", "shadow"])
def test_of_a_closed_context_comes_a_new_one(zmq, own, way):
    closed = zmq.Context()
    closed.term()
    context = {
        "position": lambda: own(None, closed),
        "keyword": lambda: own(None, shadow=closed),
        "shadow": lambda: own(zmq.Context.shadow, closed),
    }[way]()
    assert not context.closed
    with context.socket(zmq.PUSH) as s:
        assert s.context is context
