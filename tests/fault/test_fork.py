"""A process forks while it uses sockets (S-50)."""

from __future__ import annotations

import importlib
import os
import signal
import socket

import pytest
from support import (
    Background,
    Fork,
    RawListener,
    RawPeer,
    bind,
    connected,
    eventually,
    fresh_inproc,
    module_source,
    port_of,
    run_python,
)


@pytest.fixture
def talking(zmq, ctx, make):
    """A PULL, a PUSH connected to it over tcp, and the endpoint; a message has passed."""
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    address = bind(pull)
    push.connect(address)
    push.send(b"before")
    assert pull.recv() == b"before"
    return pull, push, address


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def still_talk(pull, push) -> None:
    for n in range(100):
        push.send(b"%d" % n)
    assert [pull.recv() for _ in range(100)] == [b"%d" % n for n in range(100)]


def test_a_child_with_its_own_context_reaches_its_parent(zmq, talking):
    pull, push, address = talking

    def child():
        context = zmq.Context()
        s = context.socket(zmq.PUSH)
        s.connect(address)
        for n in range(100):
            s.send(b"child %d" % n)
        s.close()
        context.term()

    with Fork(child) as fork:
        assert [pull.recv() for _ in range(100)] == [b"child %d" % n for n in range(100)]
        fork.check()
    still_talk(pull, push)


def test_a_child_answers_with_every_transport_of_its_own(zmq, talking, ipc_address):
    def child():
        context = zmq.Context()
        for address in ("tcp://127.0.0.1:*", ipc_address, fresh_inproc()):
            rep, req = context.socket(zmq.REP), context.socket(zmq.REQ)
            req.connect(bind(rep, address))
            req.send(b"q")
            assert rep.recv() == b"q"
            rep.send(b"r")
            assert req.recv() == b"r"
        context.destroy(linger=0)

    with Fork(child) as fork:
        fork.check()
    still_talk(*talking[:2])


def test_closing_inherited_sockets_in_the_child_touches_nothing_of_the_parent(zmq, ctx, talking):
    """close() and term() there are no-ops for everybody else."""
    pull, push, _ = talking

    def child():
        pull.close()
        push.close()
        ctx.term()
        assert ctx.closed

    with Fork(child) as fork:
        fork.check()
    assert not (pull.closed or push.closed or ctx.closed)
    still_talk(pull, push)


def test_a_child_that_just_exits_touches_nothing_of_the_parent(zmq, talking):
    """Also while messages are on their way."""
    pull, push, _ = talking
    for n in range(500):
        push.send(b"%d" % n)
    with Fork(lambda: None) as fork:
        fork.check()
    assert [pull.recv() for _ in range(500)] == [b"%d" % n for n in range(500)]
    still_talk(pull, push)


def test_the_child_of_a_child_is_fine_too(zmq, talking):
    pull, push, address = talking

    def grandchild():
        with zmq.Context() as context, context.socket(zmq.PUSH) as s:
            s.connect(address)
            s.send(b"grandchild")
            s.close()
            context.term()

    def child():
        with zmq.Context() as context, context.socket(zmq.PUSH) as s:
            s.connect(address)
            s.send(b"child")
            with Fork(grandchild) as inner:
                inner.check()
            s.close()
            context.term()

    with Fork(child) as fork:
        assert {pull.recv(), pull.recv()} == {b"child", b"grandchild"}
        fork.check()
    still_talk(pull, push)


def test_the_shared_context_of_a_child_is_another_one(zmq):
    """Context.instance() works after fork, in both."""
    mine = zmq.Context.instance()
    try:

        def child():
            theirs = zmq.Context.instance()
            assert theirs is not mine and not theirs.closed
            with theirs.socket(zmq.PAIR) as a, theirs.socket(zmq.PAIR) as b:
                b.connect(bind(a, fresh_inproc()))
                b.send(b"x")
                assert a.recv() == b"x"
            theirs.term()

        with Fork(child) as fork:
            fork.check()
        assert zmq.Context.instance() is mine and not mine.closed
    finally:
        mine.term()


def test_a_fork_while_a_thread_waits(zmq, talking):
    """The thread does not exist in the child; in the parent it gets its message."""
    pull, push, address = talking
    waiting = Background(pull.recv).blocked()

    def child():
        with zmq.Context() as context, context.socket(zmq.PUSH) as s:
            s.connect(address)
            s.send(b"from the child")
            s.close()
            context.term()

    with Fork(child) as fork:
        assert waiting.result() == b"from the child"
        fork.check()
    still_talk(pull, push)


def test_many_forks_in_a_row(zmq, talking):
    pull, push, address = talking
    for n in range(20):

        def child(n=n):
            with zmq.Context() as context, context.socket(zmq.PUSH) as s:
                s.connect(address)
                s.send(b"child %d" % n)
                s.close()
                context.term()

        push.send(b"parent %d" % n)
        with Fork(child) as fork:
            got = {pull.recv(), pull.recv()}
            fork.check()
        assert got == {b"child %d" % n, b"parent %d" % n}


def test_garbage_collection_in_the_child_touches_nothing_of_the_parent(zmq, talking):
    pull, push, _ = talking

    def child():
        import gc
        import warnings

        warnings.simplefilter("ignore")
        context = zmq.Context()
        s = context.socket(zmq.PAIR)
        del s, context
        gc.collect()

    with Fork(child) as fork:
        fork.check()
    still_talk(pull, push)


def test_a_whole_interpreter_exit_in_the_child(zmq):
    """os.fork() and then a normal end of the program, in both processes."""
    code = """
import os, sys
ctx = zmq.Context()
a, b = ctx.socket(zmq.PAIR), ctx.socket(zmq.PAIR)
a.bind("tcp://127.0.0.1:*")
b.connect(a.LAST_ENDPOINT)
b.send(b"1")
assert a.recv() == b"1"
pid = os.fork()
if pid == 0:
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
b.send(b"2")
assert a.recv() == b"2"
ctx.destroy(linger=0)
print("good")
"""
    done = run_python(module_source(zmq) + code)
    assert done.stdout == "good\n" and done.returncode == 0, done


def test_multiprocessing_by_fork(zmq, talking):
    """As people use it: a worker process with a context of its own."""
    import multiprocessing

    pull, push, address = talking

    def work():
        with zmq.Context() as context, context.socket(zmq.PUSH) as s:
            s.connect(address)
            s.send(b"worker")
            s.close()
            context.term()

    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start()
    assert pull.recv() == b"worker"
    worker.join(30)
    assert worker.exitcode == 0
    still_talk(pull, push)


def test_a_listener_of_the_program_survives_in_its_children(zmq, make):
    """USE_FD: as workers of a pre-forking server, they accept from it, waiting in accept(); the
    parent goes on, and closing it there does not close it here."""
    rep = make(zmq.REP)
    listener = socket.create_server(("127.0.0.1", 0))
    where = listener.getsockname()
    rep.use_fd = os.dup(listener.fileno())
    rep.bind(f"tcp://127.0.0.1:{where[1]}")

    def child():
        listener.close()
        own = socket.socket(fileno=rep_fd)
        accepted, _ = own.accept()
        with accepted:
            accepted.sendall(b"child")

    rep_fd = rep.use_fd
    with Fork(child) as fork:
        rep.close()
        eventually(lambda: not is_open(rep_fd))
        listener.close()
        with socket.create_connection(where, timeout=10) as client:
            assert client.recv(10) == b"child"
        fork.check()


def test_workers_take_what_their_parent_leaves_of_a_listener(zmq, make):
    """USE_FD: parent and child accept from one; each connection is served by one of them, and the
    parent does not wait in accept() for one that the child has taken."""
    rep = make(zmq.REP)
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    rep.use_fd = os.dup(listener.fileno())
    rep.bind(f"tcp://127.0.0.1:{address[1]}")

    def child():
        answered = 0
        while answered < 20:
            try:
                accepted, _ = listener.accept()
            except BlockingIOError:  # epoll: while the parent looks, it is not a blocking one
                continue
            with accepted:
                accepted.sendall(b"child")
            answered += 1

    with Fork(child) as fork:
        taken = 0
        while taken < 20:
            with socket.create_connection(address, timeout=10) as client:
                rep.poll(0)
                first = client.recv(1)  # 0xFF: a greeting
                taken += first == b"c"
                assert first in (b"c", b"\xff")
        fork.check()
    listener.close()


# --- ours only: what libzmq leaves undefined -----------------------------------------------------


@pytest.fixture
def ours(on_libzmq):
    if on_libzmq:
        pytest.skip("undefined with libzmq: hangs, asserts, or steals from the parent")


def test_inherited_sockets_answer_with_an_error_in_the_child(zmq, ctx, talking, ours):
    """D14: every call, at once; they neither hang nor take anything from the parent."""
    pull, push, _ = talking
    push.send(b"for the parent")
    pull.poll()

    def child():
        for call in (
            lambda: pull.recv(),
            lambda: pull.recv(zmq.DONTWAIT),
            lambda: push.send(b"x"),
            lambda: push.send(b"x", copy=False),
            lambda: pull.poll(0),
            lambda: zmq.zmq_poll([(pull, zmq.POLLIN)], 0),
            lambda: pull.get(zmq.EVENTS),
            lambda: push.set(zmq.LINGER, 0),
            lambda: pull.bind("tcp://127.0.0.1:*"),
            lambda: push.connect("tcp://127.0.0.1:1"),
            lambda: ctx.socket(zmq.PUSH),
        ):
            try:
                call()
            except zmq.ZMQError:
                continue
            raise AssertionError("no error")

    with Fork(child) as fork:
        fork.check()
    assert pull.recv() == b"for the parent"
    still_talk(pull, push)


def descriptors() -> set[str]:
    out = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            out.add(fd + " " + os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # that of the listing itself
            pass
    return out


def test_a_child_does_not_hold_on_to_the_parent_s_connections(zmq, make, ours):
    """D14: while the child lives, the parent closes, and its peers see that."""
    pull = make(zmq.PULL)
    bind(pull)
    port = port_of(pull)
    reading, writing = os.pipe()
    with RawListener() as server, RawPeer.connect(port) as below:
        push = make(zmq.PUSH)
        push.connect(server.endpoint)
        with server.accept() as above:
            above.handshake("PULL")
            below.handshake("PUSH")
            connected(push)

            def child():
                os.close(writing)
                below.close()
                above.close()
                server.close()
                pull.close()
                push.close()
                os.read(reading, 1)  # lives until the parent closes its end

            with Fork(child) as fork:
                push.close()
                pull.close()
                assert above.closed_by_peer() and below.closed_by_peer()
                assert not fork.ended()

                def refuses() -> bool:
                    with socket.socket() as client:
                        return client.connect_ex(("127.0.0.1", port)) != 0

                eventually(refuses)
                os.close(writing)
                fork.check()
    os.close(reading)


def test_the_child_s_copies_can_be_closed_without_a_leak(zmq, ours):
    """D14: no descriptor of the engine is left once the inherited sockets are closed."""
    before = descriptors()
    context = zmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    push.connect(bind(pull))
    push.send(b"x")
    assert pull.recv() == b"x"
    assert pull.get(zmq.FD) >= 0

    def child():
        pull.close()
        push.close()
        context.term()
        left = {d for d in descriptors() - before if "pipe" not in d}  # the Fork's own
        assert not left, left

    with Fork(child) as fork:
        fork.check()
    still_talk(pull, push)
    context.destroy(linger=0)


def test_a_child_killed_in_the_middle_of_its_work_is_nobody_else_s_problem(zmq, talking):
    pull, push, address = talking

    def child():
        with zmq.Context() as context, context.socket(zmq.PUSH) as s:
            s.connect(address)
            while True:
                s.send_multipart([b"child", bytes(10_000), b"end"])

    with Fork(child) as fork:
        for _ in range(10):
            assert pull.recv_multipart() == [b"child", bytes(10_000), b"end"]
        os.kill(fork.pid, signal.SIGKILL)
        eventually(fork.ended)
    for n in range(100):
        push.send(b"mine %d" % n)
    got = []
    while [b"mine 99"] not in got:
        got.append(pull.recv_multipart())
    mine = [m for m in got if m[0].startswith(b"mine")]
    assert mine == [[b"mine %d" % n] for n in range(100)]
    assert all(m == [b"child", bytes(10_000), b"end"] for m in got if m not in mine)


def test_in_the_child_the_error_says_that_the_socket_was_made_before_the_fork(zmq, on_libzmq, make):
    """Whatever is asked of it; the errno is what it is."""
    if on_libzmq:
        pytest.skip("libzmq says nothing")
    importlib.import_module(f"{zmq.__name__}.devices")
    s, ours = make(zmq.PAIR), zmq.Context()
    bind(s)
    poller = zmq.Poller()
    poller.register(s)

    def child():
        calls = {
            "send": lambda: s.send(b"x", zmq.DONTWAIT),
            "send_multipart": lambda: s.send_multipart([b"x"], zmq.DONTWAIT),
            "send_many": lambda: s.send_many([b"x"], flags=zmq.DONTWAIT),
            "recv": lambda: s.recv(zmq.DONTWAIT),
            "recv_many": lambda: s.recv_many(1, flags=zmq.DONTWAIT),
            "recv_into": lambda: s.recv_into(bytearray(1), flags=zmq.DONTWAIT),
            "get": lambda: s.get(zmq.LINGER),
            "get bytes": lambda: s.get(zmq.LAST_ENDPOINT),
            "set": lambda: s.set(zmq.LINGER, 0),
            "bind": lambda: s.bind("inproc://other"),
            "connect": lambda: s.connect("inproc://other"),
            "unbind": lambda: s.unbind("inproc://other"),
            "disconnect": lambda: s.disconnect("inproc://other"),
            "monitor": lambda: s.monitor("inproc://other"),
            "poll": lambda: s.poll(0),
            "Poller": lambda: poller.poll(0),
            "stats": s.stats,
            "proxy": lambda: zmq.proxy(s, s),
            "monitored queue": lambda: zmq.devices.monitored_queue(s, s, s),
        }
        for name, call in calls.items():
            with pytest.raises(zmq.ZMQError, match="the socket was made before a fork") as info:
                call()
            wanted = zmq.ENOTSUP if name == "poll" else zmq.ENOTSOCK
            assert info.value.errno == wanted, name
        calls = {
            "socket": lambda: ours.socket(zmq.PAIR),
            "get": lambda: ours.get(zmq.IO_THREADS),
            "set": lambda: ours.set(zmq.MAX_SOCKETS, 5),
            "holders": ours.holders,
        }
        for name, call in calls.items():
            with pytest.raises(zmq.ZMQError, match="the context was made before a fork") as info:
                call()
            assert info.value.errno == zmq.EFAULT, name
        # What the child makes and closes itself is closed, and no more.
        with zmq.Context() as context:
            own = context.socket(zmq.PAIR)
            own.close()
            with pytest.raises(zmq.ZMQError) as info:
                own.send(b"x")
            assert "fork" not in str(info.value)

    with Fork(child) as forked:
        forked.check()
    with pytest.raises(zmq.Again):
        s.recv(zmq.DONTWAIT)
    ours.term()
