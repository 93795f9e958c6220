"""Out of descriptors, out of sockets: exceptions, and going on afterwards (S-41, S-111)."""

from __future__ import annotations

import errno

import pytest
from support import (
    bind,
    eventually,
    fresh_inproc,
    module_source,
    refused,
    run_locked_in,
    run_python,
)

NO_MORE_DESCRIPTORS = """
import errno, resource, socket
ctx = zmq.Context()
def open_descriptors():
    probe = socket.socket()
    try:
        return probe.fileno()
    finally:
        probe.close()
def limit(more):
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + more, HARD))
SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
"""


def ends_well(code: str, zmq) -> None:
    done = run_python(module_source(zmq) + NO_MORE_DESCRIPTORS + code)
    assert done.returncode == 0 and done.stdout == "good\n", done


@pytest.fixture
def ours(on_libzmq):
    if on_libzmq:
        pytest.skip("libzmq asserts when it is out of descriptors")


def test_sockets_without_descriptors_are_an_exception(zmq):
    """EMFILE, again and again, at the latest at MAX_SOCKETS; later there are sockets again."""
    ends_well(
        """
first = ctx.socket(zmq.PUSH)
limit(30)
made, failures = [], 0
while failures < 5:
    try:
        made.append(ctx.socket(zmq.PUSH))
    except zmq.ZMQError as error:
        assert error.errno in (errno.EMFILE, errno.ENFILE), error
        failures += 1
resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
for s in made[:10]:
    s.close()
other = zmq.Context()
other.socket(zmq.PUSH).bind("tcp://127.0.0.1:*")
other.destroy(linger=0)
ctx.destroy(linger=0)
print("good")
""",
        zmq,
    )


def test_a_context_without_descriptors_is_an_exception(zmq, ours):
    """Wherever it is noticed first: EMFILE from the context, its first socket or its bind."""
    ends_well(
        """
ctx.term()
limit(0)
for _ in range(5):
    try:
        other = zmq.Context()
        other.socket(zmq.PUSH).bind("tcp://127.0.0.1:*")
    except zmq.ZMQError as error:
        assert error.errno in (errno.EMFILE, errno.ENFILE), error
    else:
        raise AssertionError("a socket without a descriptor")
resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
with zmq.Context() as again, again.socket(zmq.PAIR) as a, again.socket(zmq.PAIR) as b:
    a.bind("tcp://127.0.0.1:*")
    b.connect(a.LAST_ENDPOINT)
    b.send(b"x")
    assert a.recv() == b"x"
print("good")
""",
        zmq,
    )


def test_bind_without_descriptors_is_an_exception(zmq, ours):
    """And the socket can be bound later."""
    ends_well(
        """
pull = ctx.socket(zmq.PULL)
pull.bind("inproc://start-the-engine")
limit(0)
for address in ("tcp://127.0.0.1:*", "ipc://@zm-no-descriptors"):
    try:
        pull.bind(address)
    except zmq.ZMQError as error:
        assert error.errno in (errno.EMFILE, errno.ENFILE), error
    else:
        raise AssertionError("bound without a descriptor")
resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
pull.bind("tcp://127.0.0.1:*")
push = ctx.socket(zmq.PUSH)
push.connect(pull.LAST_ENDPOINT)
push.send(b"x")
assert pull.recv() == b"x"
ctx.destroy(linger=0)
print("good")
""",
        zmq,
    )


def test_connecting_without_descriptors_is_tried_again(zmq, ours):
    """connect() itself does not fail: the connection comes when there are descriptors."""
    ends_well(
        """
pull, push = ctx.socket(zmq.PULL), ctx.socket(zmq.PUSH)
push.reconnect_ivl = 10
pull.bind("tcp://127.0.0.1:*")
push.bind("tcp://127.0.0.1:*")  # whatever the engine needs for a socket, this one has it
limit(0)
push.connect(pull.LAST_ENDPOINT)
push.send(b"x")
assert not pull.poll(200)
resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
assert pull.poll(30_000)
assert pull.recv() == b"x"
ctx.destroy(linger=0)
print("good")
""",
        zmq,
    )


def test_existing_connections_work_without_descriptors(zmq):
    """Messages need none."""
    ends_well(
        """
pull, push = ctx.socket(zmq.PULL), ctx.socket(zmq.PUSH)
pull.bind("tcp://127.0.0.1:*")
push.connect(pull.LAST_ENDPOINT)
push.send(b"x")
assert pull.recv() == b"x"
limit(0)
for n in range(1000):
    push.send_multipart([b"%d" % n, bytes(n * 10)])
    assert pull.recv_multipart() == [b"%d" % n, bytes(n * 10)]
resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
ctx.destroy(linger=0)
print("good")
""",
        zmq,
    )


def soon(zmq, context, kind):
    """A socket, as soon as there is room for it."""

    def try_it():
        try:
            return context.socket(kind)
        except zmq.ZMQError as error:
            assert error.errno == errno.EMFILE
            return None

    return eventually(try_it)


def test_a_context_has_room_for_so_many_sockets(zmq):
    """S-111: MAX_SOCKETS, then EMFILE; a closed socket makes room, after a while."""
    with zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, 5)
        made = [context.socket(zmq.PUSH) for _ in range(5)]
        for _ in range(3):
            with refused(zmq, errno.EMFILE):
                context.socket(zmq.PUSH)
        made.pop().close()
        made.append(soon(zmq, context, zmq.PUSH))
        for s in made:
            s.close()


def test_a_monitor_is_a_socket_too(zmq):
    """Both of its ends take a place each."""
    with zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, 2)
        s = context.socket(zmq.PUSH)
        try:
            monitor = s.get_monitor_socket()
        except zmq.ZMQError as error:
            assert error.errno == errno.EMFILE
        else:
            monitor.close()
        s.close()


def test_sockets_come_and_go_without_an_end(zmq, ctx):
    """The places of closed sockets are used again: 200 sockets in a context for 60."""
    ctx.set(zmq.MAX_SOCKETS, 60)
    for _ in range(100):
        pull, push = soon(zmq, ctx, zmq.PULL), soon(zmq, ctx, zmq.PUSH)
        push.connect(bind(pull, fresh_inproc()))
        push.send(b"x")
        assert pull.recv() == b"x"
        push.close()
        pull.close()


def test_a_program_that_locks_itself_in_after_the_import_goes_on_with_epoll(zmq, ours):
    done = run_locked_in(
        module_source(zmq)
        + """
from zmq_monocoque import backend
forbid(IO_URING_SETUP)
before = backend.driver_reason()
with zmq.Context() as ctx, ctx.socket(zmq.PAIR) as a, ctx.socket(zmq.PAIR) as b:
    a.bind("tcp://127.0.0.1:*")
    b.connect(a.LAST_ENDPOINT)
    b.send(b"good")
    a.rcvtimeo = 30_000
    print(a.recv().decode())
assert backend.driver_reason() == (before or "it was forbidden when a socket was made later")
"""
    )
    assert done.returncode == 0 and done.stdout == "good\n", done


LOCKED_IN = """
import time

import errno

def cpu_of(call):
    before = time.process_time()
    try:
        call()
    except zmq.ZMQError as error:
        assert error.errno in (errno.EAGAIN, errno.EPERM), error
    return time.process_time() - before

ctx = zmq.Context()
pull, push = ctx.socket(zmq.PULL), ctx.socket(zmq.PUSH)
push.connect(f"tcp://127.0.0.1:{pull.bind_to_random_port('tcp://127.0.0.1')}")
push.send(b"before")
assert pull.recv() == b"before"
ctx.socket(zmq.PAIR).bind("tcp://127.0.0.1:*")  # collected: its driver is there for the next one
forbid(IO_URING_ENTER, IO_URING_REGISTER)
pull.rcvtimeo = 300
push.send(b"after", zmq.DONTWAIT)
spent = cpu_of(pull.recv) + cpu_of(lambda: pull.poll(300)) + cpu_of(lambda: time.sleep(0.3))
assert spent < 0.3, spent
from zmq_monocoque import backend
pull.rcvtimeo = -1
for call in (pull.recv, pull.poll) if backend.driver_name() == "io_uring" else ():
    try:
        call()
    except zmq.ZMQError as error:
        assert error.errno == errno.EPERM, error
    else:
        raise AssertionError("a dead socket answers")
with ctx.socket(zmq.PAIR) as a, ctx.socket(zmq.PAIR) as b:
    b.connect(f"tcp://127.0.0.1:{a.bind_to_random_port('tcp://127.0.0.1')}")
    b.send(b"good")
    a.rcvtimeo = 30_000
    print(a.recv().decode(), flush=True)
ctx.destroy(linger=0)
"""


def test_a_program_that_locks_itself_in_with_rings_open_neither_spins_nor_hangs(zmq, ours):
    """Sockets made before it are dead on io_uring, and say so where a call would wait in them for
    ever, as differences.md says; later ones work."""
    done = run_locked_in(module_source(zmq) + LOCKED_IN)
    assert done.returncode == 0 and done.stdout == "good\n", done


def test_the_epoll_driver_makes_no_io_uring_call(zmq, ours):
    """A sandbox that kills for one lets a program live that asked for epoll."""
    code = """
import os
os.environ["ZMQ_MONOCOQUE_DRIVER"] = "epoll"
forbid(IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER, kill=True)
"""
    exchange = """
from zmq_monocoque import backend
with zmq.Context() as ctx, ctx.socket(zmq.PAIR) as a, ctx.socket(zmq.PAIR) as b:
    b.connect(f"tcp://127.0.0.1:{a.bind_to_random_port('tcp://127.0.0.1')}")
    b.send(b"good")
    print(a.recv().decode(), backend.driver_name(), backend.driver_reason(), sep=", ")
"""
    done = run_locked_in(code + module_source(zmq) + exchange)
    assert done.stdout == "good, epoll, the epoll driver was asked for\n", done
