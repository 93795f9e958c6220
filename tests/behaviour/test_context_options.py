"""Options of a context (semantics.md#context-options)."""

from __future__ import annotations

import errno
import os

import pytest
from support import bind_over, errno_of, eventually, fresh_inproc

SOCKET_LIMIT, MAX_MSGSZ, MSG_T_SIZE, THREAD_NAME_PREFIX, ZERO_COPY_RECV = 3, 5, 6, 9, 10
THREAD_PRIORITY, THREAD_SCHED_POLICY = 3, 4
IPV6, BLOCKY = 42, 70
VALUES = [-(2**31), -2, -1, 0, 1, 2, 3, 1000, 65_535, 65_536, 2**31 - 1]


def outcome(call, *args):
    try:
        value = call(*args)
    except Exception as e:
        return type(e).__name__, getattr(e, "errno", None)
    return "ok", value


@pytest.mark.parametrize("number", [*range(-1, 12), 42, 43, 70, 71, 100, 1000])
def test_each_option_accepts_and_answers_as_in_pyzmq(zmq, pyzmq, number):
    """semantics.md#context-options: the default, and what is left after each value."""
    mine, theirs = zmq.Context(), pyzmq.Context()

    def read_alike(after):
        a, b = outcome(mine.get, number), outcome(theirs.get, number)
        if a != ("ok", -1):  # pyzmq takes a -1 for an error, with the errno of some call before
            assert a == b, f"get after {after}: ours {a}, pyzmq's {b}"

    try:
        read_alike("nothing")
        for value in VALUES:
            a, b = outcome(mine.set, number, value), outcome(theirs.set, number, value)
            assert a == b, f"set {value}: ours {a}, pyzmq's {b}"
            read_alike(value)
    finally:
        mine.term()
        theirs.term()


def test_defaults(zmq, ctx):
    """semantics.md#context-options."""
    assert ctx.get(zmq.IO_THREADS) == 1
    assert ctx.get(zmq.MAX_SOCKETS) == 1023
    assert ctx.get(SOCKET_LIMIT) == 65_535
    assert ctx.get(MAX_MSGSZ) == 2**31 - 1
    assert ctx.get(MSG_T_SIZE) == 64
    assert ctx.get(ZERO_COPY_RECV) == 1
    assert ctx.get(IPV6) == 0
    assert ctx.get(BLOCKY) == 1


@pytest.mark.parametrize("bad", [-1, -100])
def test_a_context_has_no_negative_number_of_threads(zmq, bad):
    """EINVAL from the constructor."""
    assert errno_of(zmq.ZMQError, zmq.Context, bad) == errno.EINVAL


def test_io_threads_can_be_given_to_the_constructor(zmq):
    context = zmq.Context(io_threads=3)
    assert context.get(zmq.IO_THREADS) == 3
    context.term()


def test_without_threads_only_inproc_works(zmq, make, ctx):
    """semantics.md#context-options: EMTHREAD from bind and connect."""
    ctx.set(zmq.IO_THREADS, 0)
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    assert errno_of(zmq.ZMQError, a.bind, "tcp://127.0.0.1:*") == zmq.EMTHREAD
    assert errno_of(zmq.ZMQError, a.connect, "tcp://127.0.0.1:5") == zmq.EMTHREAD
    b.connect(bind_over(a, "inproc", ""))
    b.send(b"x")
    assert a.recv() == b"x"


@pytest.mark.parametrize("threads", [2, 4])
def test_several_threads_serve_several_sockets(zmq, make, ctx, ipc_address, threads):
    ctx.set(zmq.IO_THREADS, threads)
    for i in range(6):
        a, b = make(zmq.PAIR), make(zmq.PAIR)
        b.connect(bind_over(a, ("tcp", "ipc")[i % 2], ipc_address))
        b.send(b"x")
        assert a.recv() == b"x"


def test_no_more_sockets_than_allowed(zmq, ctx):
    """semantics.md#context-options, S-111: EMFILE, and a closed socket makes room."""
    ctx.set(zmq.MAX_SOCKETS, 3)
    sockets = [ctx.socket(zmq.PAIR) for _ in range(3)]
    assert errno_of(zmq.ZMQError, ctx.socket, zmq.PAIR) == errno.EMFILE
    sockets.pop().close()

    def opens():
        try:
            sockets.append(ctx.socket(zmq.PAIR))
        except zmq.ZMQError as e:
            assert e.errno == errno.EMFILE
            return False
        return True

    eventually(opens)
    assert errno_of(zmq.ZMQError, ctx.socket, zmq.PAIR) == errno.EMFILE


def test_without_blocky_new_sockets_do_not_linger(zmq, ctx):
    """S-49: sockets made before keep what they had."""
    before = ctx.socket(zmq.PUSH)
    ctx.set(BLOCKY, 0)
    after = ctx.socket(zmq.PUSH)
    assert (before.linger, after.linger) == (-1, 0)
    ctx.set(BLOCKY, 1)
    assert ctx.socket(zmq.PUSH).linger == -1


def test_ipv6_is_inherited_by_new_sockets(zmq, ctx):
    """semantics.md#context-options."""
    before = ctx.socket(zmq.PUSH)
    ctx.set(IPV6, 1)
    after = ctx.socket(zmq.PUSH)
    assert (before.ipv6, after.ipv6) == (0, 1)


@pytest.mark.parametrize(("option", "value"), [(MAX_MSGSZ, 10), (ZERO_COPY_RECV, 0)])
def test_tuning_options_do_not_change_what_is_received(zmq, make, ctx, option, value):
    """semantics.md#context-options: MAX_MSGSZ clamps a returned number, no message."""
    ctx.set(option, value)
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    b.connect(bind_over(a, "tcp", ""))
    for size in (0, 1, 100, 10_000, 1_000_000):
        b.send(b"x" * size)
        assert a.recv() == b"x" * size


@pytest.mark.parametrize(("policy", "wanted"), [(os.SCHED_RR, (os.SCHED_RR, 7)), (None, (-20,))])
def test_the_engine_s_threads_run_as_the_context_says(zmq, make, ctx, policy, wanted):
    """Policy and priority; where a policy knows no priorities, the best nice value."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(7))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except PermissionError:
        pytest.skip("not permitted in this process")
    if policy is not None:
        ctx.set(THREAD_SCHED_POLICY, policy)
    ctx.set(THREAD_PRIORITY, 7)
    before = set(os.listdir("/proc/self/task"))
    make(zmq.PULL).bind("tcp://127.0.0.1:*")
    started = [int(tid) for tid in os.listdir("/proc/self/task") if tid not in before]
    assert started

    def scheduled(tid):
        if policy is None:
            return (os.getpriority(os.PRIO_PROCESS, tid),)
        return os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority

    eventually(lambda: [scheduled(tid) for tid in started] == [wanted] * len(started))


def test_a_destroyed_context_has_no_options(zmq):
    """RuntimeError, and ENOTSUP for a new socket."""
    context = zmq.Context()
    context.term()
    for call in (lambda: context.get(zmq.IO_THREADS), lambda: context.set(zmq.IO_THREADS, 1)):
        with pytest.raises(RuntimeError):
            call()
    assert errno_of(zmq.ZMQError, context.socket, zmq.PAIR) == errno.ENOTSUP


def test_socket_options_of_a_context_are_defaults_of_its_sockets(zmq, ctx):
    """Attributes that are no context option; errors are swallowed."""
    ctx.linger = 5
    ctx.subscribe = b"only SUB has this"
    s = ctx.socket(zmq.PUSH)
    assert s.linger == 5
    assert ctx.linger == 5
    del ctx.linger
    with pytest.raises(AttributeError):
        _ = ctx.linger
    assert ctx.socket(zmq.PUSH).linger == -1
    with pytest.raises(AttributeError):
        ctx.no_such_option = 1
    ctx.max_sockets = 77
    assert ctx.get(zmq.MAX_SOCKETS) == ctx.max_sockets == 77


def test_unknown_socket_types_are_invalid(zmq, ctx, on_libzmq):
    """semantics.md#errors, differences.md: drafts too, where they are not on."""
    bad = [21, 1000]
    if not on_libzmq and not zmq.has("draft"):
        bad += range(12, 21)
    for number in bad:
        assert errno_of(zmq.ZMQError, ctx.socket, number) == errno.EINVAL


def test_inproc_names_belong_to_their_context(zmq, make):
    """semantics.md#transports-and-endpoints: a registry per context."""
    name = fresh_inproc()
    other = zmq.Context()
    a, b = make(zmq.PAIR), other.socket(zmq.PAIR)
    a.bind(name)
    b.bind(name)
    b.close(linger=0)
    other.term()
