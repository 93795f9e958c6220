"""zmq_poll, Poller, select and Socket.poll (semantics.md#polls-and-proxies)."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import threading
import time

import pytest
from support import (
    TIMEOUT,
    TRANSPORTS,
    Background,
    bind,
    bind_over,
    errno_of,
    eventually,
    fresh_inproc,
)

MS = int(TIMEOUT * 1000)


@pytest.fixture
def pair_of(zmq, make, ipc_address):
    def make_pair(kinds="PAIR PAIR", transport="inproc"):
        a, b = (make(getattr(zmq, k)) for k in kinds.split())
        b.connect(bind_over(a, transport, ipc_address))
        return a, b

    return make_pair


@pytest.fixture
def raw_pair():
    a, b = socket.socketpair()
    with a, b:
        yield a, b


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_poll_tells_what_can_be_done(zmq, pair_of, transport):
    """POLLIN and POLLOUT, as asked for."""
    a, b = pair_of(transport=transport)
    b.send(b"x")
    assert a.poll(MS) == zmq.POLLIN
    assert a.poll(MS, zmq.POLLOUT) == zmq.POLLOUT
    assert a.poll(MS, zmq.POLLIN | zmq.POLLOUT) == zmq.POLLIN | zmq.POLLOUT
    assert a.recv() == b"x"
    assert a.poll(0) == 0
    assert a.poll(0, zmq.POLLIN | zmq.POLLOUT) == zmq.POLLOUT


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_poll_wakes_for_a_message_from_another_thread(zmq, pair_of, transport):
    a, b = pair_of(transport=transport)
    got = []

    def wait():
        got.append(a.poll(MS))

    waiter = threading.Thread(target=wait)
    waiter.start()
    b.send(b"x")
    waiter.join(TIMEOUT)
    assert got == [zmq.POLLIN]


def test_poll_of_many_sockets_tells_the_ready_ones(zmq, make, ipc_address):
    """In the order in which they were given."""
    pairs = []
    for i in range(30):
        a, b = make(zmq.PULL), make(zmq.PUSH)
        b.connect(bind_over(a, TRANSPORTS[i % 3], ipc_address))
        pairs.append((a, b))
    poller = zmq.Poller()
    for a, _ in pairs:
        poller.register(a, zmq.POLLIN)
    assert poller.poll(0) == []
    for chosen in ([7], [3, 12, 29], range(30)):
        for i in chosen:
            pairs[i][1].send(b"x")
        seen = set()
        while len(seen) < len(chosen):
            for s, mask in poller.poll(MS):
                assert mask == zmq.POLLIN
                assert s.recv() == b"x"
                seen.add(s)
        assert seen == {pairs[i][0] for i in chosen}
    assert poller.poll(0) == []


def test_sockets_and_descriptors_are_polled_together(zmq, pair_of, raw_pair):
    """The number comes back for whatever has a fileno."""
    a, b = pair_of()
    left, right = raw_pair
    poller = zmq.Poller()
    poller.register(a, zmq.POLLIN)
    poller.register(left, zmq.POLLIN)
    assert poller.poll(0) == []
    right.send(b"x")
    assert poller.poll(MS) == [(left.fileno(), zmq.POLLIN)]
    b.send(b"y")
    both = {}
    while len(both) < 2:
        both = dict(poller.poll(MS))
    assert both == {a: zmq.POLLIN, left.fileno(): zmq.POLLIN}
    left.recv(1)
    assert dict(poller.poll(MS)) == {a: zmq.POLLIN}


def test_a_descriptor_wakes_a_poll_that_sleeps(zmq, pair_of, raw_pair):
    """Also when the sockets stay silent."""
    a, _ = pair_of()
    left, right = raw_pair
    got = []

    def wait():
        got.append(zmq.zmq_poll([(a, zmq.POLLIN), (left.fileno(), zmq.POLLIN)], MS))

    waiter = threading.Thread(target=wait)
    waiter.start()
    right.send(b"x")
    waiter.join(TIMEOUT)
    assert got == [[(left.fileno(), zmq.POLLIN)]]


def test_descriptors_report_errors(zmq, raw_pair):
    """POLLERR is for descriptors only; a closed one is an error."""
    left, right = raw_pair
    fd = os.dup(left.fileno())
    os.close(fd)
    ((item, mask),) = zmq.zmq_poll([(fd, zmq.POLLIN)], MS)
    assert item == fd and mask & zmq.POLLERR
    ((item, mask),) = zmq.zmq_poll([(left, zmq.POLLIN | zmq.POLLOUT)], MS)
    assert mask == zmq.POLLOUT
    right.close()
    ((item, mask),) = zmq.zmq_poll([(left, zmq.POLLIN)], MS)
    assert mask & zmq.POLLIN, "the end of the stream can be read"


def test_urgent_data_is_polled_as_pollpri(zmq):
    """POLLPRI 8."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        a = socket.create_connection(server.getsockname())
        b, _ = server.accept()
        with a, b:
            assert zmq.zmq_poll([(b, zmq.POLLPRI)], 0) == []
            a.send(b"!", socket.MSG_OOB)
            assert zmq.zmq_poll([(b, zmq.POLLPRI)], MS) == [(b.fileno(), zmq.POLLPRI)]


def test_files_and_objects_with_a_fileno_can_be_polled(zmq):
    r, w = os.pipe()
    with os.fdopen(r, "rb") as reader, os.fdopen(w, "wb", buffering=0) as writer:

        class Thing:
            def fileno(self):
                return reader.fileno()

        assert zmq.zmq_poll([(reader, zmq.POLLIN), (writer, zmq.POLLOUT)], MS) == [
            (writer.fileno(), zmq.POLLOUT)
        ]
        writer.write(b"x")
        assert zmq.zmq_poll([(Thing(), zmq.POLLIN)], MS) == [(reader.fileno(), zmq.POLLIN)]


def test_the_same_socket_may_be_given_twice(zmq, pair_of):
    a, b = pair_of()
    b.send(b"x")
    assert zmq.zmq_poll([(a, zmq.POLLIN), (a, zmq.POLLOUT), (a, zmq.POLLIN)], MS) == [
        (a, zmq.POLLIN),
        (a, zmq.POLLOUT),
        (a, zmq.POLLIN),
    ]


def test_nothing_to_poll_returns_at_once(zmq):
    """An empty Poller does not sleep."""
    assert zmq.Poller().poll(100 * MS) == []


def test_a_poll_ends_at_its_timeout(zmq, make):
    """Milliseconds; fractions are cut."""
    s = make(zmq.PULL)
    for timeout in (0, 0.9, 0.0):
        assert s.poll(timeout) == 0
    start = time.monotonic()
    assert s.poll(60) == 0
    assert time.monotonic() - start >= 0.055
    start = time.monotonic()
    assert zmq.select([s], [], [], 0.06) == ([], [], [])
    assert time.monotonic() - start >= 0.055


def test_a_ready_socket_never_waits(zmq, make):
    """The first pass does not block, whatever the timeout."""
    pub, silent = make(zmq.PUB), make(zmq.PULL)
    assert zmq.zmq_poll([(silent, zmq.POLLIN), (pub, zmq.POLLOUT)], -1) == [(pub, zmq.POLLOUT)]
    assert pub.poll(None, zmq.POLLOUT) == zmq.POLLOUT


def test_bad_items_are_refused(zmq, make):
    for bad in ("x", None, 1.5, object()):
        with pytest.raises(TypeError):
            zmq.zmq_poll([(bad, zmq.POLLIN)], 0)

    class BadFileno:
        def fileno(self):
            return "not a number"

    class RaisingFileno:
        def fileno(self):
            raise AttributeError("of something else")

    class NoFileno:
        @property
        def fileno(self):
            raise KeyError("of the attribute")

    for bad, error in (
        (BadFileno(), ValueError),
        (RaisingFileno(), ValueError),
        (NoFileno(), KeyError),
    ):
        with pytest.raises(error):
            zmq.zmq_poll([(bad, zmq.POLLIN)], 0)
    s = make(zmq.PULL)
    s.close()
    assert errno_of(zmq.ZMQError, s.poll, 0) == errno.ENOTSUP


def test_poller_keeps_a_list_of_sockets(zmq, make):
    """Register, modify, unregister."""
    a, b = make(zmq.PUB), make(zmq.PUB)
    poller = zmq.Poller()
    poller.register(a)
    poller.register(b, zmq.POLLIN)
    assert a in poller and b in poller
    assert poller.sockets == [(a, zmq.POLLIN | zmq.POLLOUT), (b, zmq.POLLIN)]
    poller.register(a, zmq.POLLOUT)
    assert poller.sockets == [(a, zmq.POLLOUT), (b, zmq.POLLIN)]
    poller.modify(b, zmq.POLLOUT)
    assert poller.poll(0) == [(a, zmq.POLLOUT), (b, zmq.POLLOUT)]
    poller.register(a, 0)
    assert a not in poller
    poller.register(a, 0)
    poller.unregister(b)
    with pytest.raises(KeyError):
        poller.unregister(b)
    assert poller.sockets == []


def test_select_is_poll_in_another_form(zmq, pair_of, raw_pair):
    """Three lists, seconds."""
    a, b = pair_of()
    left, right = raw_pair
    b.send(b"x")
    right.send(b"x")
    a.poll(MS)
    readable, writable, broken = zmq.select([a, left], [a, left], [a, left], TIMEOUT)
    assert set(readable) == {a, left.fileno()}
    assert set(writable) == {a, left.fileno()}
    assert broken == []
    assert zmq.select([b], [], [], 0) == ([], [], [])


def test_a_shadow_is_polled_like_the_socket(zmq, pair_of):
    """By handle."""
    a, b = pair_of()
    shadow = zmq.Socket.shadow(a.underlying)
    b.send(b"x")
    assert zmq.zmq_poll([(shadow, zmq.POLLIN)], MS) == [(shadow, zmq.POLLIN)]
    assert a.recv() == b"x"


@pytest.mark.parametrize("several", [False, True])
def test_the_end_of_the_context_wakes_a_poll(zmq, several):
    """S-94: ETERM out of poll(-1), with one socket or with several and a descriptor."""
    context = zmq.Context()
    sockets = [context.socket(zmq.PULL) for _ in range(3 if several else 1)]
    sockets[0].bind("tcp://127.0.0.1:*")
    r, w = os.pipe()
    items = [(s, zmq.POLLIN) for s in sockets] + [(r, zmq.POLLIN)] * several
    caught = []
    started = threading.Event()

    def wait():
        started.set()
        try:
            caught.append(zmq.zmq_poll(items, -1))
        except zmq.ZMQError as e:
            caught.append(e.errno)
        for s in sockets:
            s.close(linger=0)

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert started.wait(TIMEOUT)
    context.term()
    waiter.join(TIMEOUT)
    os.close(r)
    os.close(w)
    assert caught == [zmq.ETERM]


def test_a_signal_does_not_end_a_poll(zmq, make, on_libzmq):
    """parity.md, row 68: the handler runs, and the poll goes on to its timeout."""
    s = make(zmq.PULL)
    handled = []
    before = signal.signal(signal.SIGALRM, lambda *_: handled.append(time.monotonic()))
    try:
        start = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert s.poll(200) == 0
        end = time.monotonic()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(handled) == 1
    assert handled[0] < end
    if not on_libzmq:  # pyzmq counts what is left in whole seconds
        assert end - start >= 0.19


def test_an_exception_of_a_signal_handler_ends_a_poll(zmq, make):
    """parity.md, row 69: as KeyboardInterrupt does."""
    s = make(zmq.PULL)

    class Enough(Exception):
        pass

    def handler(*_):
        raise Enough

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Enough):
            s.poll(MS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_polling_does_not_take_messages(zmq, pair_of):
    """However often."""
    a, b = pair_of(transport="tcp")
    b.send_multipart([b"1", b"2"])
    for _ in range(100):
        assert a.poll(MS) == zmq.POLLIN
    assert a.recv() == b"1"
    assert a.poll(MS) == zmq.POLLIN, "the rest of the message"
    assert a.recv() == b"2"
    assert a.poll(0) == 0


def test_sockets_of_several_contexts_are_polled_together(zmq, make):
    """A poll is not tied to a context."""
    other = zmq.Context()
    try:
        mine, theirs = make(zmq.PULL), other.socket(zmq.PULL)
        push = make(zmq.PUSH)
        theirs.bind("tcp://127.0.0.1:*")
        mine.bind(fresh_inproc())
        push.connect(theirs.LAST_ENDPOINT)
        push.send(b"x")
        items = [(mine, zmq.POLLIN), (theirs, zmq.POLLIN)]
        assert zmq.zmq_poll(items, MS) == [(theirs, zmq.POLLIN)]
        theirs.close(linger=0)
    finally:
        other.destroy(linger=0)


def test_the_raw_descriptor_of_a_socket_agrees_with_poll(zmq, pair_of):
    """S-90: FD is for event loops; poll on the socket is level-triggered."""
    a, b = pair_of("PULL PUSH")
    b.send(b"1")
    assert select.select([a.FD], [], [], TIMEOUT)[0]
    assert a.events == zmq.POLLIN
    assert a.poll(0) == zmq.POLLIN
    assert a.poll(0) == zmq.POLLIN


@pytest.mark.parametrize("call", ["recv", "poll"])
def test_a_timer_set_while_another_thread_waits_is_kept(zmq, make, on_libzmq, call):
    """The thread that sleeps in the socket wakes for it, as if it had been set before."""
    if on_libzmq:
        pytest.skip("libzmq knows no second thread in a socket")
    waiter, other, source = make(zmq.DEALER), make(zmq.DEALER), make(zmq.DEALER)
    source.connect(bind(waiter, fresh_inproc()))
    waiter.bind("tcp://127.0.0.1:*")  # so that it waits in the kernel, where its timers are
    monitors = [s.get_monitor_socket(zmq.EVENT_CLOSED) for s in (other, waiter)]
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            attempt = stack.enter_context(socket.socket())
            attempt.setblocking(False)
            attempt.connect_ex(full.getsockname())
        wait = Background(waiter.recv if call == "recv" else waiter.poll).blocked()
        for s, timeout in ((other, 100 * MS), (waiter, 20)):
            s.connect_timeout, s.reconnect_ivl = timeout, -1
            s.connect(f"tcp://127.0.0.1:{full.getsockname()[1]}")
        poller = zmq.Poller()
        for monitor in monitors:
            poller.register(monitor, zmq.POLLIN)
        assert poller.poll(MS) == [(monitors[1], zmq.POLLIN)]
        source.send(b"x")
        wait.result()
    for s, monitor in zip((other, waiter), monitors, strict=True):
        s.disable_monitor()
        monitor.close()


def test_a_socket_that_another_thread_closes_is_left_out(zmq, make, on_libzmq):
    """The poll goes on with the rest, however it was closed, and by whichever object."""
    if on_libzmq:
        pytest.skip("libzmq knows no second thread in a socket")
    served, source = make(zmq.PULL), make(zmq.PUSH)
    source.connect(bind(served, "tcp://127.0.0.1:*"))
    plain, networked, shadowed = make(zmq.PULL), make(zmq.PULL), make(zmq.PULL)
    networked.bind("tcp://127.0.0.1:*")
    poller = zmq.Poller()
    for s in (plain, networked, shadowed, served):
        poller.register(s, zmq.POLLIN)
    wait = Background(lambda: poller.poll(MS))
    for s in (plain, networked, zmq.Socket.shadow(shadowed.underlying)):
        wait.blocked()
        s.close()
    wait.blocked()
    source.send(b"x")
    assert wait.result() == [(served, zmq.POLLIN)]
    assert poller.poll(0) == [(served, zmq.POLLIN)]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_socket_that_is_always_writable_is_heard_all_the_same(zmq, pair_of, transport):
    """What is ready now does not keep a poll from what arrives meanwhile: on the same socket, on
    another, on a descriptor."""
    a, b = pair_of("DEALER DEALER", transport)
    other, source = pair_of("PULL PUSH", transport)
    read, write = os.pipe()
    with open(read), open(write, "wb", buffering=0) as pipe:
        poller = zmq.Poller()
        poller.register(a, zmq.POLLIN | zmq.POLLOUT)
        poller.register(other, zmq.POLLIN)
        poller.register(read, zmq.POLLIN)
        assert dict(poller.poll(MS))[a] == zmq.POLLOUT
        b.send(b"1")
        source.send(b"2")
        pipe.write(b"3")
        assert (read, zmq.POLLIN) in poller.poll(MS)
        seen = {}
        end = time.monotonic() + TIMEOUT
        while len(seen) < 3 or seen[a] != zmq.POLLIN | zmq.POLLOUT:
            seen = dict(poller.poll(MS))
            assert time.monotonic() < end, seen


def test_many_silent_sockets_are_asked_for_at_once(zmq, pair_of, on_libzmq):
    """With epoll each look at a socket is a system call: many before one sleep are one."""
    if on_libzmq or zmq.backend.driver_name() != "epoll":
        pytest.skip("about the driver epoll")
    from zmq_monocoque.backend._engine import ffi, lib

    def entries():
        counts = ffi.new("zm_counts *")
        lib.zm_counts_get(counts)
        return counts.entries

    poller = zmq.Poller()
    pairs = [pair_of(transport="tcp") for _ in range(20)]
    for a, b in pairs:
        b.send(b"x")
        assert a.recv() == b"x"
        poller.register(a, zmq.POLLIN)

    def took_less(timeout, ready):  # the I/O thread may have looked at some meanwhile
        before = entries()
        assert poller.poll(timeout) == ready
        return entries() - before < len(pairs)

    eventually(lambda: took_less(1, []))
    eventually(lambda: took_less(0, []))
    other, its_peer = pair_of(transport="tcp")
    poller.register(other, zmq.POLLIN)
    its_peer.send(b"z")
    eventually(lambda: poller.poll(MS) == [(other, zmq.POLLIN)])

    def took_less_beside_a_ready_one():
        time.sleep(0.002)  # then it is time to look at the others
        return took_less(MS, [(other, zmq.POLLIN)])

    eventually(took_less_beside_a_ready_one)
    pairs[7][1].send(b"y")
    both = {(pairs[7][0], zmq.POLLIN), (other, zmq.POLLIN)}
    eventually(lambda: set(poller.poll(MS)) == both)


@pytest.mark.parametrize("timeout", [0, MS])
def test_one_of_many_is_heard_beside_one_that_is_always_ready(zmq, pair_of, timeout):
    poller = zmq.Poller()
    pairs = [pair_of(transport="tcp") for _ in range(12)]
    for a, _ in pairs[:-1]:
        poller.register(a, zmq.POLLIN)
    ready = pairs[-1][0]
    poller.register(ready, zmq.POLLOUT)
    eventually(lambda: poller.poll(timeout) == [(ready, zmq.POLLOUT)])
    for turn in range(3):
        for a, b in pairs[:-1]:
            b.send(b"%d" % turn)
            both = {(a, zmq.POLLIN), (ready, zmq.POLLOUT)}
            eventually(lambda both=both: set(poller.poll(timeout)) == both)
            assert a.recv() == b"%d" % turn
