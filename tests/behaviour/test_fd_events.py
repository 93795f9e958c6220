"""The contract of ``FD`` and ``EVENTS``: never a missed wake-up, and quiet once EVENTS was read."""

from __future__ import annotations

import os
import random
import select
import threading
import time

import pytest
from support import (
    TIMEOUT,
    TRANSPORTS,
    Background,
    RawListener,
    bind_over,
    drain,
    errno_of,
    eventually,
    free_port,
    fresh_inproc,
    never_readable,
    zmtp_connect,
)
from support.zmtp import greeting, ready

TOPICS_COUNT = 116
INTERLEAVINGS = int(os.environ.get("ZM_FD_INTERLEAVINGS", "20000"))


def by_select(fd, timeout):
    return bool(select.select([fd], [], [], timeout)[0])


def by_poll(fd, timeout):
    p = select.poll()
    p.register(fd, select.POLLIN)
    return bool(p.poll(timeout * 1000))


def by_epoll(fd, timeout):
    with select.epoll() as p:
        p.register(fd, select.EPOLLIN)
        return bool(p.poll(timeout))


WAYS = pytest.mark.parametrize("readable", [by_select, by_poll, by_epoll])
OVER = pytest.mark.parametrize("transport", TRANSPORTS)


def wakes_for(s, event: int, readable=by_select) -> None:
    """Waits as an event loop does: sleeps on FD, and looks at EVENTS when it is readable."""
    end = time.monotonic() + TIMEOUT
    while not s.events & event:
        left = end - time.monotonic()
        assert left > 0 and readable(s.FD, left), f"not woken for {event}"


def becomes_quiet(s, readable=by_select) -> None:
    """After EVENTS was read the descriptor is quiet, whatever waits in the socket."""
    eventually(lambda: (s.events, not readable(s.FD, 0))[1])


@pytest.fixture
def pair_of(zmq, make, ipc_address):
    def make_pair(transport, kinds="PUSH PULL", **options):
        a, b = (make(getattr(zmq, k), **options) for k in kinds.split())
        a.connect(bind_over(b, transport, ipc_address))
        if "PUB" in kinds:
            b.subscribe(b"")
        return a, b

    return make_pair


@OVER
@WAYS
def test_fd_wakes_for_a_message_and_is_quiet_once_events_was_read(
    pair_of, zmq, transport, readable
):
    """S-90, S-93: unread messages do not keep the descriptor readable."""
    push, pull = pair_of(transport)
    push.send(b"1")
    push.send(b"2")
    wakes_for(pull, zmq.POLLIN, readable)
    becomes_quiet(pull, readable)
    assert pull.events == zmq.POLLIN, "and yet there are messages"
    assert pull.recv() == b"1"
    assert pull.recv() == b"2"
    becomes_quiet(pull, readable)
    assert pull.events == 0
    push.send(b"3")
    assert readable(pull.FD, TIMEOUT), "drained, so the next message wakes again"
    wakes_for(pull, zmq.POLLIN, readable)
    assert pull.recv() == b"3"


@OVER
def test_after_a_recv_events_tells_of_the_rest(pair_of, zmq, transport):
    """S-90: whoever has received must look at EVENTS, not at the descriptor."""
    push, pull = pair_of(transport)
    for i in range(10):
        push.send(b"%d" % i)
    wakes_for(pull, zmq.POLLIN)
    got = []
    while len(got) < 10:
        wakes_for(pull, zmq.POLLIN)
        got.append(pull.recv(zmq.DONTWAIT))
    assert got == [b"%d" % i for i in range(10)]
    assert pull.events == 0


@OVER
@pytest.mark.parametrize("why", ["a message", "a peer", "room"])
def test_fd_asked_for_late_tells_what_came_before(zmq, make, ipc_address, transport, why):
    """S-91: whatever changed after EVENTS was read, also before there was a descriptor."""
    s = make(zmq.PULL if why == "a message" else zmq.PUSH, sndhwm=1)
    address = bind_over(s, transport, ipc_address)
    other = make(zmq.PUSH if why == "a message" else zmq.PULL, rcvhwm=1)
    if why == "room":
        other.connect(address)
        eventually(lambda: s.events == zmq.POLLOUT)
        sent = 0
        while s.events or ready_soon(s, zmq.POLLOUT):
            s.send(bytes(200_000), zmq.DONTWAIT)
            sent += 1
        for _ in range(sent):
            other.recv()
    else:
        assert s.events == 0
        other.connect(address)
        if why == "a message":
            other.send(b"x")
        else:
            assert other.poll(20) == 0, "time for the other side to connect"
    assert by_select(s.FD, TIMEOUT)
    wakes_for(s, zmq.POLLIN if why == "a message" else zmq.POLLOUT)


def ready_soon(s, event: int) -> bool:
    """Buffers of the kernel may have room after all, a little later."""
    return bool(s.poll(20, event))


@OVER
def test_fd_stays_the_same_descriptor(pair_of, transport):
    """FD, fileno() and every later FD are one number."""
    push, pull = pair_of(transport)
    fd = pull.FD
    assert isinstance(fd, int) and fd >= 0
    push.send(b"x")
    assert pull.recv() == b"x"
    assert pull.FD == fd == pull.fileno()
    assert push.FD != fd


@OVER
def test_fd_wakes_when_a_full_peer_has_room_again(pair_of, zmq, transport):
    """S-91: POLLOUT comes through the same descriptor."""
    push, pull = pair_of(transport, sndhwm=5, rcvhwm=5)
    body = bytes(100_000)
    sent = 0

    def fill():
        nonlocal sent
        while push.events & zmq.POLLOUT:
            push.send(body, zmq.DONTWAIT)
            sent += 1

    fill()
    # over a wire the buffers of the kernel take some more
    while not by_select(push.FD, 0.05):
        if not push.events & zmq.POLLOUT:
            break
        fill()
    fill()
    becomes_quiet(push)
    for _ in range(sent):
        assert len(pull.recv()) == len(body)
    wakes_for(push, zmq.POLLOUT)
    push.send(b"room", zmq.DONTWAIT)


@OVER
def test_fd_wakes_when_the_first_peer_comes(zmq, make, ipc_address, transport):
    """S-91: a bound PUSH becomes writable."""
    push = make(zmq.PUSH)
    address = bind_over(push, transport, ipc_address)
    becomes_quiet(push)
    assert push.events == 0
    pull = make(zmq.PULL)
    pull.connect(address)
    wakes_for(push, zmq.POLLOUT)
    push.send(b"hello", zmq.DONTWAIT)
    assert pull.recv() == b"hello"


@OVER
def test_a_peer_that_leaves_takes_writability_along(pair_of, zmq, transport):
    """S-91: POLLOUT goes with the last peer."""
    push, pull = pair_of(transport, kinds="PULL PUSH")
    wakes_for(pull, zmq.POLLOUT)
    push.close()
    eventually(lambda: pull.events == 0)


def test_fd_asked_for_late_tells_of_the_end(zmq):
    """S-91, S-92: whoever has read EVENTS, and sleeps there now, is to close the socket."""
    context = zmq.Context()
    s, later = context.socket(zmq.PULL), context.socket(zmq.PULL)
    fd = later.FD
    assert s.events == later.events == 0
    ender = Background(context.term)
    try:
        assert by_select(fd, TIMEOUT)  # it is told of the end behind the other one
        assert by_select(s.FD, 0)
        with pytest.raises(zmq.ContextTerminated):
            _ = s.events
    finally:
        s.close()
        later.close()
    ender.result()


@WAYS
def test_fd_wakes_when_the_context_ends(zmq, readable):
    """S-91, S-92: and EVENTS then raises ETERM."""
    context = zmq.Context()
    s = context.socket(zmq.PULL)
    fd = s.FD
    becomes_quiet(s, readable)
    ender = threading.Thread(target=context.term)
    ender.start()
    try:
        assert readable(fd, TIMEOUT)

        def ended():
            try:
                _ = s.events
            except zmq.ContextTerminated:
                return True
            return False

        eventually(ended)
    finally:
        s.close()
        ender.join(TIMEOUT)
    assert not ender.is_alive()


def test_events_never_blocks(zmq, make):
    """S-92: whatever the state."""
    s = make(zmq.REQ, reconnect_ivl=1000)
    assert s.events == 0
    s.connect(f"tcp://127.0.0.1:{free_port()}")
    assert s.events == zmq.POLLOUT
    s.send(b"q")
    start = time.monotonic()
    for _ in range(1000):
        assert s.events == 0
    assert time.monotonic() - start < TIMEOUT


@OVER
def test_rep_wakes_for_each_request(pair_of, zmq, transport):
    """S-90, S-72: a conversation driven by FD alone, on both sides."""
    req, rep = pair_of(transport, kinds="REQ REP")
    for i in range(50):
        wakes_for(req, zmq.POLLOUT)
        req.send(b"%d" % i, zmq.DONTWAIT)
        wakes_for(rep, zmq.POLLIN)
        body = rep.recv(zmq.DONTWAIT)
        wakes_for(rep, zmq.POLLOUT)
        rep.send(body, zmq.DONTWAIT)
        wakes_for(req, zmq.POLLIN)
        assert req.recv(zmq.DONTWAIT) == b"%d" % i


class Watcher:
    """A consumer that obeys the contract, and only the contract.

    It may sleep on the descriptor only when the last thing it did was to read EVENTS and see no
    POLLIN. Everything else it does in random order.
    """

    def __init__(self, s, pollin, rng):
        self.s, self.pollin, self.rng = s, pollin, rng
        self.poller = select.epoll()
        self.poller.register(s.FD, select.EPOLLIN)
        self.idle = False  # EVENTS said "nothing", and nothing was done since
        self.got = 0

    def look(self):
        self.idle = not self.s.events & self.pollin

    def receive(self, most):
        for _ in range(most):
            try:
                body = self.s.recv(1)
            except Exception as e:
                assert e.errno == 11, e
                break
            assert int(body) == self.got
            self.got += 1
        self.idle = False

    def step(self, outstanding: bool):
        if self.idle and outstanding:
            assert self.poller.poll(TIMEOUT), f"missed a wake-up after {self.got} messages"
            self.look()
        elif self.rng.random() < 0.5:
            self.look()
        else:
            self.receive(self.rng.randint(1, 4))


@pytest.mark.parametrize("seed", [1, 2])
@OVER
def test_no_wake_up_is_missed_in_one_thread(pair_of, zmq, transport, seed):
    """S-90, S-93: sends and receives interleaved at random."""
    push, pull = pair_of(transport)
    rng = random.Random(seed)
    watcher = Watcher(pull, zmq.POLLIN, rng)
    sent = 0
    steps = INTERLEAVINGS // 6
    for _ in range(steps):
        if sent - watcher.got < 50 and rng.random() < 0.4:
            for _ in range(rng.choice((1, 1, 1, 2, 5))):
                push.send(b"%d" % sent)
                sent += 1
        else:
            watcher.step(sent > watcher.got)
    while watcher.got < sent:
        watcher.step(True)
    watcher.poller.close()
    assert drain(pull) == []


@OVER
def test_no_wake_up_is_missed_between_two_threads(pair_of, zmq, transport):
    """S-90, S-93: the sender runs freely, in bursts and pauses of random length."""
    push, pull = pair_of(transport)
    rng = random.Random(7)
    watcher = Watcher(pull, zmq.POLLIN, rng)
    total = INTERLEAVINGS // 3
    stop = threading.Event()

    def produce():
        mine = random.Random(8)
        for i in range(total):
            push.send(b"%d" % i)
            pause = mine.random()
            if pause < 0.3:  # until the consumer has taken everything and goes to sleep
                while watcher.got <= i and not stop.is_set():
                    time.sleep(0)

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        while watcher.got < total:
            watcher.step(True)
    finally:
        stop.set()
        producer.join(TIMEOUT)
        watcher.poller.close()
    assert not producer.is_alive()


@OVER
def test_no_wake_up_is_missed_by_a_sender_at_the_mark(pair_of, zmq, transport):
    """S-91: a sender that sleeps on FD for POLLOUT, against a reader of random pace."""
    push, pull = pair_of(transport, sndhwm=3, rcvhwm=3)
    rng = random.Random(11)
    total = INTERLEAVINGS // 6
    got = []

    def consume():
        while len(got) < total:
            got.append(int(pull.recv()))
            if rng.random() < 0.02:
                time.sleep(0.0005)

    consumer = threading.Thread(target=consume)
    consumer.start()
    try:
        for i in range(total):
            wakes_for(push, zmq.POLLOUT)
            push.send(b"%d" % i, zmq.DONTWAIT)
    finally:
        consumer.join(TIMEOUT * 2)
    assert got == list(range(total))


@pytest.mark.parametrize("looks", [0, 1, 3])
def test_whoever_notices_a_loss_the_connection_comes_back(zmq, make, looks):
    """S-92: a call that sees the end of a connection may be the last one for long."""
    for _ in range(5):
        with RawListener() as mock:
            s = make(zmq.DEALER, reconnect_ivl=10)
            s.connect(mock.endpoint)
            peer = mock.accept()
            peer.handshake("DEALER", b"")
            peer.send_message(b"x")
            assert s.recv() == b"x"
            assert peer.nothing_comes(0.005), "long enough for helpers to go to sleep"
            peer.close()
            for _ in range(looks):
                _ = s.events
            mock.accept().handshake("DEALER", b"")
            s.close()


@pytest.mark.parametrize("looks", [0, 1, 3])
def test_whoever_accepts_a_peer_its_time_runs(zmq, make, looks):
    """S-92, S-27: the same for the clock of the handshake."""
    for _ in range(5):
        s = make(zmq.DEALER, handshake_ivl=50)
        s.bind("tcp://127.0.0.1:*")
        _ = s.events
        assert never_readable(s.FD, 0.005)
        with zmtp_connect(s) as peer:
            for _ in range(looks):
                _ = s.events
            assert peer.closed_by_peer()
        s.close()


@pytest.mark.parametrize("looks", [0, 1, 3])
def test_whoever_shakes_hands_the_heart_beats(zmq, make, looks):
    """S-92, S-96: and for the first PING."""
    for _ in range(5):
        s = make(zmq.DEALER, heartbeat_ivl=50)
        s.bind("tcp://127.0.0.1:*")
        with zmtp_connect(s) as peer:
            peer.send(greeting())
            peer.recv_exactly(64)
            assert peer.recv_command()[0] == b"READY"
            assert peer.nothing_comes(0.005)
            peer.send(ready("DEALER", b""))
            for _ in range(looks):
                _ = s.events
            assert peer.recv_command()[0] == b"PING"
        s.close()


CALLS_WITHOUT_EVENTS = {
    "connect": lambda zmq, s: s.connect("tcp://127.0.0.1:9"),
    "connect inproc": lambda zmq, s: s.connect(fresh_inproc()),
    "disconnect": lambda zmq, s: s.disconnect("inproc://here"),
    "TOPICS_COUNT": lambda zmq, s: s.get(TOPICS_COUNT),
    "HWM": lambda zmq, s: s.set_hwm(2000),
}


@pytest.mark.parametrize("call", CALLS_WITHOUT_EVENTS)
def test_what_comes_in_a_call_without_events_is_told(zmq, make, on_libzmq, call):
    """Only after a send or a receive does a program read EVENTS again before it waits."""
    if on_libzmq and call == "connect inproc":
        pytest.skip("libzmq may take the wake-up in, and misses it then")
    s, peer = make(zmq.XPUB), make(zmq.XSUB)
    peer.connect(bind_over(s, "tcp", ""))
    for number in range(20):
        topic = b"%d" % number
        s.connect("inproc://here")
        assert not s.events & zmq.POLLIN
        peer.send(b"\x01" + topic)
        CALLS_WITHOUT_EVENTS[call](zmq, s)
        assert by_select(s.FD, TIMEOUT)
        assert s.recv() == b"\x01" + topic


def test_what_comes_while_it_subscribes_is_told(zmq, make):
    """As where one coroutine waits for a SUB, and another one subscribes."""
    xpub, sub = make(zmq.XPUB), make(zmq.SUB)
    sub.connect(bind_over(xpub, "tcp", ""))
    sub.subscribe(b"news")
    assert xpub.recv() == b"\x01news"
    for number in range(20):
        assert not sub.events & zmq.POLLIN
        xpub.send(b"news")
        sub.subscribe(b"%d" % number)
        assert xpub.recv() == b"\x01%d" % number
        sub.subscribe(b"%d again" % number)
        assert by_select(sub.FD, TIMEOUT)
        assert sub.recv() == b"news"
        assert xpub.recv() == b"\x01%d again" % number


def test_what_comes_while_a_send_is_refused_is_told(zmq, make, on_libzmq):
    """An event loop whose send was refused for one peer of several waits for both directions."""
    if on_libzmq:
        pytest.skip("libzmq may take the wake-up in, and misses it then")
    s, peer = make(zmq.DEALER, sndhwm=1), make(zmq.DEALER, rcvhwm=1)
    s.connect(bind_over(peer, "tcp", ""))
    for number in range(10):
        with pytest.raises(zmq.Again):
            while True:
                s.send(b"x" * 50_000, zmq.DONTWAIT)
        assert not s.events & zmq.POLLIN
        peer.send(b"%d" % number)
        assert by_select(s.FD, TIMEOUT)
        with pytest.raises(zmq.Again):
            while True:
                s.send(b"x" * 50_000, zmq.DONTWAIT)
        assert by_select(s.FD, TIMEOUT)
        assert s.recv() == b"%d" % number


@pytest.mark.parametrize("early", [True, False], ids=["early", "late"])
def test_what_comes_in_a_call_of_another_socket_is_told(zmq, make, early):
    """As where a program connects one socket, sends on another, and sleeps until the first has
    something: the thread that makes the connection is the one that will wait for it."""
    sink, source = make(zmq.PULL), make(zmq.PUSH)
    source.connect(bind_over(sink, "tcp", ""))
    for number in range(40):
        push, pull = make(zmq.PUSH), make(zmq.PULL)
        address = bind_over(push, "tcp", "")
        sender = Background(lambda push=push: push.send(b"hello"))
        fd = pull.FD if early else None
        pull.connect(address)
        while not pull.events & zmq.POLLIN:
            source.send(b"%d" % number)
            assert by_select(fd or pull.FD, TIMEOUT)
        sender.result()
        assert pull.recv() == b"hello"
        push.close()
        pull.close()
        drain(sink)


def test_recv_ends_at_its_deadline(zmq, make):
    """S-95: RCVTIMEO counts from the call."""
    s = make(zmq.PULL, rcvtimeo=50)
    s.bind("tcp://127.0.0.1:*")
    start = time.monotonic()
    assert errno_of(zmq.Again, s.recv) == zmq.EAGAIN
    assert time.monotonic() - start >= 0.045


def test_other_events_do_not_put_off_the_deadline(zmq, make):
    """S-95: peers that come and go meanwhile change nothing."""
    s = make(zmq.PULL, rcvtimeo=300)
    s.bind("tcp://127.0.0.1:*")
    address = s.LAST_ENDPOINT
    stop = threading.Event()

    def disturb():
        context = zmq.Context()
        while not stop.is_set():
            peer = context.socket(zmq.PUSH)
            peer.linger = 0
            peer.connect(address)
            stop.wait(0.01)
            peer.close()
        context.term()

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        start = time.monotonic()
        assert errno_of(zmq.Again, s.recv) == zmq.EAGAIN
        assert 0.29 <= time.monotonic() - start < TIMEOUT, "as long as they come"
    finally:
        stop.set()
        disturber.join(TIMEOUT)
