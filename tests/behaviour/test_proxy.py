"""proxy, proxy_steerable, monitored_queue and device (semantics.md#polls-and-proxies)."""

from __future__ import annotations

import importlib
import struct
import threading
from contextlib import contextmanager

import pytest
from support import TIMEOUT, TRANSPORTS, bind_over, drain, eventually, fresh_inproc


@pytest.fixture
def running(zmq):
    """running(function, sockets): ``function(*sockets)`` in a thread, ended by its context's term.

    The sockets belong to the thread from then on. Yields the exceptions' list and the context.
    """

    @contextmanager
    def run(function, open_sockets):
        context = zmq.Context()
        context.linger = 0
        sockets = open_sockets(context)
        ended = []

        def forward():
            try:
                ended.append(function(*sockets))
            except zmq.ZMQError as e:
                ended.append(e)
            for s in sockets:
                if s is not None:
                    s.close(linger=0)

        thread = threading.Thread(target=forward)
        thread.start()
        try:
            yield context, ended
        finally:
            # every other socket of the context must be closed by now
            context.term()
            thread.join(TIMEOUT)
            assert not thread.is_alive()

    return run


def open_in(context, kind, **options):
    s = context.socket(kind)
    s.linger = 0
    s.rcvtimeo = s.sndtimeo = int(TIMEOUT * 1000)
    for name, value in options.items():
        setattr(s, name, value)
    return s


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_a_proxy_shares_work_among_workers(zmq, running, make, ipc_address, transport):
    """Five clients, five workers; every answer comes back to who asked."""
    addresses = []

    def sockets(context):
        pair = open_in(context, zmq.ROUTER), open_in(context, zmq.DEALER)
        addresses.extend(bind_over(s, transport, ipc_address) for s in pair)
        return pair

    with running(zmq.proxy, sockets):
        clients = [make(zmq.DEALER) for _ in range(5)]
        workers = [make(zmq.DEALER) for _ in range(5)]
        for client in clients:
            client.connect(addresses[0])
        for worker in workers:
            worker.connect(addresses[1])
        for i, client in enumerate(clients):
            for j in range(10):
                client.send_multipart([b"", b"%d" % i, b"%d" % j])
        done = 0
        poller = zmq.Poller()
        for worker in workers:
            poller.register(worker, zmq.POLLIN)
        while done < 50:
            for worker, _ in poller.poll(int(TIMEOUT * 1000)):
                parts = worker.recv_multipart()
                worker.send_multipart([*parts, b"done"])
                done += 1
        for i, client in enumerate(clients):
            got = [client.recv_multipart() for _ in range(10)]
            assert sorted(got) == sorted([b"", b"%d" % i, b"%d" % j, b"done"] for j in range(10))


def test_the_end_of_the_context_ends_a_proxy(zmq, running):
    """ETERM."""
    with running(zmq.proxy, lambda c: (open_in(c, zmq.ROUTER), open_in(c, zmq.DEALER))) as (
        _,
        ended,
    ):
        assert ended == []
    (error,) = ended
    assert isinstance(error, zmq.ContextTerminated)


def test_a_proxy_shows_everything_to_its_capture_socket(zmq, running, make):
    """All parts, both directions."""
    front, back, seen = fresh_inproc(), fresh_inproc(), fresh_inproc()

    def sockets(context):
        f, b = open_in(context, zmq.ROUTER), open_in(context, zmq.DEALER)
        capture = open_in(context, zmq.PUB)
        f.bind(front)
        b.bind(back)
        capture.bind(seen)
        return f, b, capture

    with running(zmq.proxy, sockets) as (context, _):
        with (
            open_in(context, zmq.SUB, subscribe=b"") as watcher,
            open_in(context, zmq.REQ, routing_id=b"me") as req,
            open_in(context, zmq.REP) as rep,
        ):
            watcher.connect(seen)
            rep.connect(back)
            req.connect(front)
            req.send_multipart([b"a", b"b"])
            assert rep.recv_multipart() == [b"a", b"b"]
            rep.send(b"c")
            assert req.recv() == b"c"
            got = [watcher.recv_multipart() for _ in range(2)]
            assert got == [[b"me", b"", b"a", b"b"], [b"me", b"", b"c"]]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_proxy_streams_one_way(zmq, running, transport, ipc_address):
    """PULL and PUSH; nothing is lost at small high-water marks, and the order is kept."""
    addresses = []

    def sockets(context):
        pair = open_in(context, zmq.PULL, rcvhwm=5), open_in(context, zmq.PUSH, sndhwm=5)
        addresses.extend(bind_over(s, transport, ipc_address) for s in pair)
        return pair

    with running(zmq.proxy, sockets) as (context, _):
        with (
            open_in(context, zmq.PUSH, sndhwm=5) as push,
            open_in(context, zmq.PULL, rcvhwm=5) as pull,
        ):
            push.connect(addresses[0])

            def produce():
                for i in range(2000):
                    push.send_multipart([b"%d" % i, bytes(1000)])

            producer = threading.Thread(target=produce)
            producer.start()
            pull.connect(addresses[1])
            got = [pull.recv_multipart()[0] for _ in range(2000)]
            producer.join(TIMEOUT)
            assert got == [b"%d" % i for i in range(2000)]


def test_a_proxy_forwards_subscriptions(zmq, running):
    """S-86: XSUB and XPUB."""
    front, back = fresh_inproc(), fresh_inproc()

    def sockets(context):
        f, b = open_in(context, zmq.XSUB), open_in(context, zmq.XPUB)
        f.bind(front)
        b.bind(back)
        return f, b

    with running(zmq.proxy, sockets) as (context, _):
        with open_in(context, zmq.XPUB) as pub, open_in(context, zmq.SUB) as sub:
            pub.connect(front)
            sub.connect(back)
            sub.subscribe(b"T")
            assert pub.recv() == b"\x01T"
            pub.send(b"not T")
            pub.send(b"T1")
            assert sub.recv() == b"T1"
            sub.unsubscribe(b"T")
            assert pub.recv() == b"\x00T"


def test_a_proxy_of_one_socket_echoes(zmq, running):
    """proxy_single_socket: front and back are the same."""
    address = fresh_inproc()
    held = []

    def sockets(context):
        held.append(open_in(context, zmq.PAIR))
        held[0].bind(address)
        return (held[0],)

    with running(lambda s: zmq.proxy(s, s), sockets) as (context, _):
        with open_in(context, zmq.PAIR) as other:
            other.connect(address)
            for i in range(5):
                other.send_multipart([b"%d" % i, b"part"])
                assert other.recv_multipart() == [b"%d" % i, b"part"]


def test_a_device_is_a_proxy_by_an_old_name(zmq, running):
    """The type is ignored."""
    front, back = fresh_inproc(), fresh_inproc()

    def sockets(context):
        f, b = open_in(context, zmq.PULL), open_in(context, zmq.PUSH)
        f.bind(front)
        b.bind(back)
        return f, b

    with running(lambda f, b: zmq.device(zmq.QUEUE, f, b), sockets) as (context, _):
        with open_in(context, zmq.PUSH) as push, open_in(context, zmq.PULL) as pull:
            push.connect(front)
            pull.connect(back)
            push.send(b"x")
            assert pull.recv() == b"x"


# --- steerable -----------------------------------------------------------------------------------


@pytest.fixture
def steered(zmq, running):
    """A steerable PULL-to-PUSH proxy: yields (control, push, pull, ended)."""

    @contextmanager
    def steer(control_kind, steering_kind):
        front, back, control = fresh_inproc(), fresh_inproc(), fresh_inproc()

        def sockets(context):
            f, b = open_in(context, zmq.PULL), open_in(context, zmq.PUSH)
            k = open_in(context, control_kind)
            for s, address in ((f, front), (b, back), (k, control)):
                s.bind(address)
            return f, b, None, k

        with running(zmq.proxy_steerable, sockets) as (context, ended):
            with (
                open_in(context, steering_kind) as wheel,
                open_in(context, zmq.PUSH) as push,
                open_in(context, zmq.PULL) as pull,
            ):
                wheel.connect(control)
                push.connect(front)
                pull.connect(back)
                yield wheel, push, pull, ended

    return steer


def test_a_steerable_proxy_can_be_paused_and_resumed(zmq, steered, on_libzmq):
    """Nothing is forwarded in between, and nothing is lost."""
    if on_libzmq:
        pytest.skip("libzmq 4.3.5 answers, and forwards all the same")
    with steered(zmq.REP, zmq.REQ) as (wheel, push, pull, _):
        push.send(b"1")
        assert pull.recv() == b"1"
        wheel.send(b"PAUSE")
        assert wheel.recv() == b"", "a REP answers every command"
        push.send(b"2")
        assert not pull.poll(100)
        wheel.send(b"RESUME")
        assert wheel.recv() == b""
        assert pull.recv() == b"2"


@pytest.mark.parametrize("kinds", ["PAIR PAIR", "REP REQ"])
def test_a_steerable_proxy_ends_when_told(zmq, steered, kinds):
    """TERMINATE; it returns and raises nothing."""
    control, steering = (getattr(zmq, k) for k in kinds.split())
    with steered(control, steering) as (wheel, push, pull, ended):
        push.send(b"1")
        assert pull.recv() == b"1"
        wheel.send(b"TERMINATE")
        eventually(lambda: ended)
        assert not isinstance(ended[0], Exception)


def test_a_steerable_proxy_counts_what_it_forwards(zmq, steered):
    """STATISTICS: 8 numbers of 64 bits; messages are counted, bytes are of their parts."""
    with steered(zmq.REP, zmq.REQ) as (wheel, push, pull, _):
        for body in (b"1", b"22", b"333"):
            push.send(body)
            assert pull.recv() == body
        wheel.send(b"STATISTICS")
        numbers = [struct.unpack("=Q", part)[0] for part in wheel.recv_multipart()]
        assert numbers == [3, 6, 0, 0, 0, 0, 3, 6]


# --- monitored_queue -----------------------------------------------------------------------------


def monitored_queue_of(zmq):
    return importlib.import_module(f"{zmq.__name__}.devices").monitored_queue


@pytest.mark.parametrize("prefixes", [(), (b"to", b"fro")])
def test_a_monitored_queue_shows_directions(zmq, running, prefixes):
    """A prefix part, `in` and `out` by default."""
    front, back, seen = fresh_inproc(), fresh_inproc(), fresh_inproc()

    def sockets(context):
        f, b, m = (open_in(context, k) for k in (zmq.PAIR, zmq.PAIR, zmq.PUB))
        for s, address in ((f, front), (b, back), (m, seen)):
            s.bind(address)
        return f, b, m

    run = monitored_queue_of(zmq)
    with running(lambda *s: run(*s, *prefixes), sockets) as (context, _):
        with (
            open_in(context, zmq.PAIR) as a,
            open_in(context, zmq.PAIR) as b,
            open_in(context, zmq.SUB, subscribe=b"") as watcher,
        ):
            watcher.connect(seen)
            a.connect(front)
            b.connect(back)
            there, back_again = prefixes or (b"in", b"out")
            a.send_multipart([b"1", b"2"])
            assert b.recv_multipart() == [b"1", b"2"]
            b.send(b"3")
            assert a.recv_multipart() == [b"3"]
            assert watcher.recv_multipart() == [there, b"1", b"2"]
            assert watcher.recv_multipart() == [back_again, b"3"]


def test_a_monitored_queue_between_routers_swaps_the_addresses(zmq, running):
    """The first two parts, so that both sides name each other."""
    front, back, seen = fresh_inproc(), fresh_inproc(), fresh_inproc()

    def sockets(context):
        f, b, m = (open_in(context, k) for k in (zmq.ROUTER, zmq.ROUTER, zmq.PUB))
        for s, address in ((f, front), (b, back), (m, seen)):
            s.bind(address)
        return f, b, m

    with running(monitored_queue_of(zmq), sockets) as (context, _):
        with (
            open_in(context, zmq.DEALER, routing_id=b"alice") as alice,
            open_in(context, zmq.DEALER, routing_id=b"bob") as bob,
        ):
            alice.connect(front)
            bob.connect(back)

            def reaches():
                alice.send_multipart([b"bob", b"hello"])
                return bob.poll(50)

            eventually(reaches)
            assert bob.recv_multipart() == [b"alice", b"hello"]
            drain(bob, multipart=True)
            bob.send_multipart([b"alice", b"hi"])
            assert alice.recv_multipart() == [b"bob", b"hi"]
