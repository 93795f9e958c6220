"""Endpoints: connecting twice, unbinding and disconnecting, by what names (S-29 to S-38)."""

from __future__ import annotations

import contextlib
import errno
import socket

import pytest
from support import (
    Background,
    RawListener,
    bind,
    connected,
    dead_endpoint,
    disconnected,
    eventually,
    fresh_inproc,
    monitor_events,
    port_of,
    rebind,
    receive,
    refused,
    waiting,
)

EVENT_DISCONNECTED = 0x0200


@pytest.mark.parametrize(
    "kind, connections",
    [("DEALER", 1), ("SUB", 1), ("PUB", 1), ("REQ", 1), ("PUSH", 2), ("PULL", 2), ("ROUTER", 2)],
)
def test_connecting_twice_to_one_endpoint(zmq, make, kind, connections):
    """S-29: DEALER, SUB, PUB and REQ keep to one connection, others get two."""
    s = make(getattr(zmq, kind))
    with RawListener() as server:
        s.connect(server.endpoint)
        s.connect(server.endpoint)
        with contextlib.ExitStack() as stack:
            for _ in range(connections):
                stack.enter_context(server.accept())
            assert server.nobody_comes(within=0.1)


def test_an_endpoint_that_only_lingers_is_connected_anew(zmq, make):
    """S-29, S-33: what was queued before the disconnect leaves by itself; it is no connection."""
    dealer = make(zmq.DEALER, linger=200)
    with dead_endpoint() as nowhere:
        dealer.connect(nowhere)
        dealer.send(b"left over")
        dealer.disconnect(nowhere)
        dealer.connect(nowhere)
        dealer.send(b"for the new one", zmq.DONTWAIT)
    dealer.close(linger=0)


@pytest.mark.parametrize("sender, receiver", [("PUSH", "PULL"), ("PUB", "SUB"), ("PAIR", "PAIR")])
def test_a_sender_forgets_inproc_peers_that_are_gone(zmq, make, on_libzmq, sender, receiver):
    """S-34: also one that never waits for anything."""
    if on_libzmq:
        pytest.skip("libzmq has no stats()")
    s = make(getattr(zmq, sender))
    address = bind(s, fresh_inproc())
    for _ in range(20):
        peer = make(getattr(zmq, receiver))
        peer.connect(address)
        if receiver == "SUB":
            peer.subscribe(b"")
        s.send(b"x")
        assert peer.recv() == b"x"
        peer.close()
    assert s.stats()["peers"] <= 1


def test_disconnect_ends_all_connections_to_the_endpoint(zmq, make):
    """S-30: and the second disconnect finds nothing."""
    push = make(zmq.PUSH)
    with RawListener() as server:
        push.connect(server.endpoint)
        push.connect(server.endpoint)
        with server.accept() as one, server.accept() as two:
            for peer in (one, two):
                peer.handshake("PULL")
            push.disconnect(server.endpoint)
            for peer in (one, two):
                eventually(lambda: disconnected(push, peer))  # noqa: B023
            with refused(zmq, errno.ENOENT):
                push.disconnect(server.endpoint)
            assert server.nobody_comes(within=0.2)


@pytest.mark.parametrize(
    "bound, name, known",
    [
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1:{}", True),
        ("tcp://127.0.0.1:*", "tcp://localhost:{}", True),
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*", False),
        ("tcp://127.0.0.1:*", "tcp://127.0.0.2:{}", False),
        ("tcp://127.0.0.1:*", "tcp://*:{}", False),
        ("tcp://127.0.0.1:*", "ipc:///127.0.0.1:{}", False),
        ("tcp://*:*", "tcp://0.0.0.0:{}", True),
        ("tcp://*:*", "tcp://*:{}", False),
        ("tcp://*:*", "tcp://*:*", False),
        ("tcp://*:*", "tcp://127.0.0.1:{}", False),
        ("tcp://localhost:*", "tcp://127.0.0.1:{}", True),
        ("tcp://localhost:*", "tcp://localhost:{}", True),
        ("tcp://lo:*", "tcp://127.0.0.1:{}", True),
        ("tcp://lo:*", "tcp://lo:{}", False),
        ("tcp://127.0.0.1:*", "tcp://127.1:{}", True),
        # The port is what its digits say.
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1:0{}", True),
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1:{}/", True),
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1: {} x", True),
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1:1;127.0.0.1:{}", True),
    ],
)
def test_names_that_unbind_knows(zmq, make, bound, name, known):
    """S-31: the resolved endpoint, or what resolves to it; no wildcards."""
    s = make(zmq.PULL)
    s.bind(bound)
    name = name.format(port_of(s))
    if known:
        s.unbind(name)
    with refused(zmq, errno.ENOENT):
        s.unbind(name)


@pytest.mark.parametrize(
    "bound, name, known",
    [
        ("tcp://[::1]:*", "tcp://[::1]:{}", True),
        ("tcp://[::1]:*", "tcp://::1:{}", True),
        ("tcp://::1:*", "tcp://[0:0:0:0:0:0:0:1]:{}", True),
        ("tcp://[::1%lo]:*", "tcp://[::1]:{}", True),
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1:{}", True),
        ("tcp://127.0.0.1:*", "tcp://[::ffff:127.0.0.1]:{}", True),
        ("tcp://*:*", "tcp://[::]:{}", True),
        ("tcp://*:*", "tcp://*:{}", False),
    ],
)
def test_names_that_unbind_knows_with_ipv6(zmq, make, bound, name, known):
    """S-31"""
    s = make(zmq.PULL, ipv6=1)
    s.bind(bound)
    name = name.format(port_of(s))
    if known:
        s.unbind(name)
    with refused(zmq, errno.ENOENT):
        s.unbind(name)


def test_unbind_finds_what_was_bound_with_another_ipv6_option(zmq, make, on_libzmq):
    if on_libzmq:
        pytest.skip("libzmq reads the name by today's option")
    s = make(zmq.PULL, ipv6=1)
    s.bind("tcp://127.0.0.1:*")
    s.ipv6 = 0
    s.unbind(f"tcp://127.0.0.1:{port_of(s)}")


@pytest.mark.parametrize("bound", ["ipc://*", "ipc://@{}", "inproc://*", "inproc://{}"])
def test_what_has_no_port_is_unbound_by_what_it_is_called(zmq, make, bound):
    """S-31: the last endpoint."""
    s = make(zmq.PULL)
    s.bind(bound.format(fresh_inproc()))
    s.unbind(s.LAST_ENDPOINT)
    with refused(zmq, errno.ENOENT):
        s.unbind(s.LAST_ENDPOINT)


@pytest.mark.parametrize(
    "name, error",
    [
        ("127.0.0.1:1", "EINVAL"),
        ("tcp:127.0.0.1:1", "EINVAL"),
        ("", "EINVAL"),
        ("tcp://", "EINVAL"),
        ("foo://x", "EPROTONOSUPPORT"),
        ("udp://127.0.0.1:1", "ENOCOMPATPROTO"),
        ("tcp://127.0.0.1", "ENOENT"),
    ],
)
@pytest.mark.parametrize("call", ["unbind", "disconnect"])
def test_names_that_nothing_can_have(zmq, make, call, name, error):
    """As bind and connect, where the syntax is wrong."""
    with refused(zmq, getattr(errno, error, None) or getattr(zmq, error)):
        getattr(make(zmq.PULL), call)(name)


@pytest.mark.parametrize(
    "used, name, known",
    [
        ("tcp://127.0.0.1:{}", "tcp://127.0.0.1:{}", True),
        ("tcp://localhost:{}", "tcp://localhost:{}", True),
        ("tcp://localhost:{}", "tcp://127.0.0.1:{}", False),
        ("tcp://127.0.0.1:{}", "tcp://localhost:{}", True),
        ("tcp://127.0.0.1:{}", "tcp://127.0.0.1:1", False),
    ],
)
def test_names_that_disconnect_knows(zmq, make, used, name, known):
    """S-31: the string given to connect, or one that resolves to it."""
    s = make(zmq.PULL)
    with dead_endpoint() as nowhere:
        port = nowhere.rsplit(":", 1)[1]
        s.connect(used.format(port))
        if known:
            s.disconnect(name.format(port))
        with refused(zmq, errno.ENOENT):
            s.disconnect(name.format(port))


def test_bind_and_connect_names_are_undone_by_either_call(zmq, make):
    """S-31: unbind and disconnect look into the same table."""
    s = make(zmq.DEALER)
    bound = bind(s)
    with dead_endpoint() as nowhere:
        s.connect(nowhere)
        s.unbind(nowhere)
        s.disconnect(bound)


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_unbind_ends_the_connections_it_accepted(zmq, make, transport, ipc_address):
    """S-32: those of other listeners live on."""
    push, one, two = make(zmq.PUSH), make(zmq.PULL), make(zmq.PULL)
    addresses = (
        ["tcp://127.0.0.1:*"] * 2 if transport == "tcp" else [ipc_address, ipc_address + 2 * "s"]
    )
    first, second = bind(push, addresses[0]), bind(push, addresses[1])
    monitor = one.get_monitor_socket()
    one.connect(first)
    connected(push)
    push.send(b"1")
    assert one.recv() == b"1"
    two.connect(second)
    eventually(lambda: (push.send(b"hello"), two.poll(10))[1])
    push.unbind(first)
    eventually(lambda: (push.poll(0), monitor.poll(10), _saw(monitor, EVENT_DISCONNECTED))[-1])
    waiting(one), waiting(two)
    for n in range(4):
        push.send(b"%d" % n)
    got = []
    while len(got) < 4:
        body = two.recv()
        if body != b"hello":  # of which some may be late
            got.append(body)
    assert got == [b"%d" % n for n in range(4)]
    push.unbind(second)
    eventually(lambda: not push.poll(0, zmq.POLLOUT))
    with refused(zmq, errno.EAGAIN):
        push.send(b"x", zmq.DONTWAIT)


def _saw(monitor, event: int) -> bool:
    return any(e[0] == event for e in monitor_events(monitor))


def test_unbind_stops_listening(zmq, make):
    """S-32"""
    s = make(zmq.PULL)
    s.unbind(bind(s))

    def refuses() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port_of(s))) == errno.ECONNREFUSED

    eventually(refuses)


@pytest.mark.parametrize("there", [True, False], ids=["connected", "not yet connected"])
def test_disconnect_delivers_what_is_queued(zmq, make, there):
    """S-33: LINGER -1: returns at once, and 100 of 100 arrive."""
    push, pull = make(zmq.PUSH, linger=-1, reconnect_ivl=10), make(zmq.PULL)
    with dead_endpoint() as address:
        if there:
            address = bind(pull)
        push.connect(address)
        for n in range(100):
            push.send_multipart([b"%d" % n, bytes(1000)])
        push.disconnect(address)
    if not there:
        rebind(zmq, pull, address)
    assert receive(pull, 100) == [[b"%d" % n, bytes(1000)] for n in range(100)]
    eventually(lambda: not push.poll(0, zmq.POLLOUT))


def test_disconnect_without_linger_drops_what_is_queued(zmq, make):
    """S-33: LINGER 0."""
    push, pull = make(zmq.PUSH, linger=0, reconnect_ivl=10), make(zmq.PULL)
    with dead_endpoint() as address:
        push.connect(address)
        for _ in range(10):
            push.send(b"x")
        push.disconnect(address)
        push.poll(0)
    rebind(zmq, pull, address)
    assert not pull.poll(200)


def test_unbinding_an_inproc_name_keeps_its_connections(zmq, make):
    """S-34: only the name goes; it can be bound again while the old pair still talks."""
    one, other, third, fourth = (make(zmq.PAIR) for _ in range(4))
    name = bind(one, fresh_inproc())
    other.connect(name)
    one.send(b"1")
    assert other.recv() == b"1"
    one.unbind(name)
    third.bind(name)
    fourth.connect(name)
    for a, b in ((one, other), (other, one), (third, fourth), (fourth, third)):
        a.send(b"still")
        assert b.recv() == b"still"
    with refused(zmq, errno.ENOENT):
        one.unbind(name)


def test_disconnecting_an_inproc_name_ends_the_connection(zmq, make):
    """S-34: for the side that had connected; again connected it works again."""
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    name = bind(pull, fresh_inproc())
    push.connect(name)
    push.send(b"1")
    assert pull.recv() == b"1"
    push.disconnect(name)
    eventually(lambda: (pull.poll(0), not push.poll(0, zmq.POLLOUT))[1])
    with refused(zmq, errno.EAGAIN):
        push.send(b"x", zmq.DONTWAIT)
    with refused(zmq, errno.ENOENT):
        push.disconnect(name)
    push.connect(name)
    push.send(b"2")
    assert pull.recv() == b"2"


def test_inproc_may_be_connected_long_before_it_is_bound(zmq, make):
    """S-35: by many, and nothing of what they sent is lost."""
    name = fresh_inproc()
    pushes = [make(zmq.PUSH) for _ in range(20)]
    for n, s in enumerate(pushes):
        s.connect(name)
        s.send(b"%d" % n)
    pull = make(zmq.PULL)
    pull.bind(name)
    assert sorted(int(m[0]) for m in receive(pull, 20)) == list(range(20))


def test_inproc_is_connected_and_bound_in_many_threads_at_once(zmq, ctx, make):
    """S-35"""
    name = fresh_inproc()

    def push(n: int):
        with ctx.socket(zmq.PUSH) as s:
            s.connect(name)
            for k in range(50):
                s.send(b"%d" % (n * 50 + k))

    threads = [Background(lambda n=n: push(n)) for n in range(8)]
    pull = make(zmq.PULL)
    pull.bind(name)
    assert sorted(int(m[0]) for m in receive(pull, 400)) == list(range(400))
    for t in threads:
        t.result()


@pytest.mark.parametrize("queued", [0, 3])
def test_an_inproc_name_that_nobody_binds_does_not_keep_the_context(zmq, queued):
    """S-35: even with messages waiting and LINGER -1: there is nobody to wait for."""
    ctx = zmq.Context()
    s = ctx.socket(zmq.PUSH)
    s.connect("inproc://nobody")
    for _ in range(queued):
        s.send(b"x")
    s.close()
    Background(ctx.term).result()


def test_inproc_does_not_ask_for_fitting_types(zmq, make):
    """S-36: there is no handshake; a PUSH may feed a REP."""
    push, rep = make(zmq.PUSH), make(zmq.REP)
    push.connect(bind(rep, fresh_inproc()))
    push.send_multipart([b"", b"request"])
    assert rep.recv() == b"request"


def test_the_last_endpoint_stays(zmq, make):
    """S-37: bind and connect set it, nothing clears it."""
    s = make(zmq.DEALER)
    assert s.LAST_ENDPOINT == b""
    first, second = bind(s), bind(s)
    assert first != second
    assert s.LAST_ENDPOINT.decode() == second
    with dead_endpoint() as nowhere:
        s.connect(nowhere)
        assert s.LAST_ENDPOINT.decode() == nowhere
        s.disconnect(nowhere)
    assert s.LAST_ENDPOINT.decode() == nowhere
    s.unbind(first)
    assert s.LAST_ENDPOINT.decode() == nowhere


def test_one_socket_serves_all_transports_at_once(zmq, make, ipc_address):
    """S-38"""
    rep = make(zmq.REP)
    addresses = [bind(rep), bind(rep), bind(rep, ipc_address), bind(rep, fresh_inproc())]
    for n, address in enumerate(addresses):
        req = make(zmq.REQ)
        req.connect(address)
        req.send(b"%d" % n)
        assert rep.recv() == b"%d" % n
        rep.send(b"re")
        assert req.recv() == b"re"


def test_one_socket_binds_and_connects_at_once(zmq, make, ipc_address):
    """S-38"""
    middle, one, two = make(zmq.DEALER), make(zmq.DEALER), make(zmq.DEALER)
    one.connect(bind(middle))
    middle.connect(bind(two, ipc_address))
    one.send(b"1")
    two.send(b"2")
    assert {middle.recv(), middle.recv()} == {b"1", b"2"}
