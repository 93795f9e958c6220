"""Connections: how they are made, lost, made again and given up (semantics.md#connections)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket

import pytest
from support import (
    Background,
    Child,
    RawListener,
    RawPeer,
    bind,
    connected,
    dead_endpoint,
    eventually,
    fresh_inproc,
    module_source,
    monitor_events,
    port_of,
    receive,
    refused,
    send_until_full,
    waiting,
)
from support.zmtp import greeting, ready

EVENT_CONNECTED = 0x0001
EVENT_CONNECT_DELAYED = 0x0002
EVENT_CONNECT_RETRIED = 0x0004
EVENT_LISTENING = 0x0008
EVENT_ACCEPTED = 0x0020
EVENT_CLOSED = 0x0080
EVENT_DISCONNECTED = 0x0200
EVENT_HANDSHAKE_FAILED_NO_DETAIL = 0x0800
EVENT_HANDSHAKE_SUCCEEDED = 0x1000


def rebind(zmq, s, address: str) -> None:
    """Binds an address that an earlier socket may be just about to give up."""

    def try_it() -> bool:
        try:
            s.bind(address)
        except zmq.ZMQError as error:
            assert error.errno == errno.EADDRINUSE
            return False
        return True

    eventually(try_it)


def disconnected(s, peer: RawPeer) -> bool:
    """Has ``s`` closed its connection to this peer? Calls it, since libzmq ends pipes in calls."""
    s.get(15)  # EVENTS
    return peer.closed_by_peer(0.02)


def next_value(monitor, event: int) -> int:
    return monitor_events(monitor, until=event)[-1][1]


# --- what connect() and bind() make --------------------------------------------------------------


def test_messages_queue_for_a_peer_that_is_not_there(zmq, make):
    """S-17: up to SNDHWM, 1000 unless told otherwise."""
    push = make(zmq.PUSH)
    with dead_endpoint() as nowhere:
        push.connect(nowhere)
        assert send_until_full(zmq, push, 2000) == 1000


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_dead_endpoint_gets_its_share(zmq, make, transport, ipc_address):
    """S-17: round robin counts it in: of 10 messages 5 arrive."""
    push, pull = make(zmq.PUSH), make(zmq.PULL)
    with dead_endpoint() as nowhere:
        push.connect(nowhere if transport == "tcp" else ipc_address + "-nowhere")
        push.connect(bind(pull, "tcp://127.0.0.1:*" if transport == "tcp" else ipc_address))
        for n in range(10):
            push.send(b"%d" % n)
        got = receive(pull, 5)
        assert got == [[b"%d" % n] for n in range(1, 10, 2)]
        assert not pull.poll(50)


def test_messages_sent_before_the_peer_is_there_arrive_when_it_comes(zmq, make):
    """S-17: connect first, bind later."""
    push, pull = make(zmq.PUSH, reconnect_ivl=10), make(zmq.PULL)
    with dead_endpoint() as address:
        push.connect(address)
        for n in range(10):
            push.send(b"%d" % n)
    rebind(zmq, pull, address)
    assert receive(pull, 10) == [[b"%d" % n] for n in range(10)]


def test_immediate_sends_only_over_complete_connections(zmq, make):
    """S-18: the dead endpoint gets no share, all 10 arrive."""
    push, pull = make(zmq.PUSH, immediate=1), make(zmq.PULL)
    with dead_endpoint() as nowhere:
        push.connect(nowhere)
        push.connect(bind(pull))
        for n in range(10):
            push.send(b"%d" % n)
        assert receive(pull, 10) == [[b"%d" % n] for n in range(10)]


def test_immediate_without_a_complete_connection_refuses(zmq, make):
    """S-18: neither a dead endpoint nor an unfinished handshake is somebody to send to."""
    push = make(zmq.PUSH, immediate=1)
    with RawListener() as server, dead_endpoint() as nowhere:
        push.connect(nowhere)
        push.connect(server.endpoint)
        with server.accept() as peer:
            peer.send(greeting())
            peer.recv_exactly(64)
            assert not push.poll(50, zmq.POLLOUT)
            with refused(zmq, errno.EAGAIN):
                push.send(b"x", zmq.DONTWAIT)
            peer.send(ready("PULL"))
            connected(push)


def test_immediate_loses_what_was_queued_when_the_peer_goes(zmq, make):
    """S-18: after the loss send refuses, and the next peer gets only what is sent from then on."""
    push = make(zmq.PUSH, immediate=1, reconnect_ivl=10, sndhwm=0)
    with RawListener() as server:
        push.connect(server.endpoint)
        with server.accept() as peer:
            peer.handshake("PULL")
            connected(push)
            for _ in range(300):
                push.send(bytes(100_000))  # more than the kernel takes
        eventually(lambda: not push.poll(0, zmq.POLLOUT))
        with refused(zmq, errno.EAGAIN):
            push.send(b"x", zmq.DONTWAIT)
        with server.accept() as peer:
            peer.handshake("PULL")
            connected(push)
            push.send(b"new")
            assert peer.recv_frame() == (0, b"new")


@pytest.mark.parametrize("said", ["nothing", "half a greeting", "greeting"])
def test_a_client_that_does_not_finish_its_handshake_is_nobody_to_send_to(zmq, make, said):
    """S-19: the binder's queue exists after READY, not from the accept on (CVE-2020-15166)."""
    push = make(zmq.PUSH)
    bind(push)
    with RawPeer.connect(port_of(push)) as peer:
        peer.send({"nothing": b"", "half a greeting": greeting()[:30]}.get(said, greeting()))
        assert not push.poll(100, zmq.POLLOUT)
        with refused(zmq, errno.EAGAIN):
            push.send(b"x", zmq.DONTWAIT)
    with RawPeer.connect(port_of(push)) as peer:
        peer.handshake("PULL")
        connected(push)
        push.send(b"x")
        assert peer.recv_frame() == (0, b"x")


# --- losing and making again ---------------------------------------------------------------------


def test_after_a_reconnect_the_rest_of_the_queue_follows_in_whole_messages(zmq, make):
    """S-20: what the kernel had is lost, nothing else; a half-sent message is not continued."""
    push, pull = make(zmq.PUSH, sndhwm=0, reconnect_ivl=10), make(zmq.PULL)
    count, body = 300, bytes(50_000)
    with RawListener() as server:
        push.connect(server.endpoint)
        with server.accept() as peer:
            peer.handshake("PULL")
            for n in range(count):
                push.send_multipart([b"%04d" % n, body, b"%04d" % n])
            peer.recv_exactly(6 + 9 + 20_000)  # in the middle of the first message
    rebind(zmq, pull, server.endpoint)
    first = int(pull.recv_multipart()[0])
    assert 0 < first < count - 1
    rest = receive(pull, count - 1 - first)
    assert rest == [[b"%04d" % n, body, b"%04d" % n] for n in range(first + 1, count)]


def test_a_subscriber_subscribes_again_by_itself(zmq, make):
    """S-21: the publisher is replaced on the same port, the subscriber does nothing about it."""
    pub, sub = make(zmq.PUB), make(zmq.SUB, reconnect_ivl=10)
    sub.subscribe(b"a")
    address = bind(pub)
    sub.connect(address)
    eventually(lambda: (pub.send(b"a1"), sub.poll(10))[1])
    pub.close()
    again = make(zmq.PUB)
    rebind(zmq, again, address)
    waiting(sub)
    eventually(lambda: (again.send(b"a2"), sub.poll(10))[1])
    assert [b"a2"] in waiting(sub)


def test_subscriptions_reach_each_new_publisher_on_the_wire(zmq, make):
    """S-21: all of them, once per connection, in SUBSCRIBE commands."""
    sub = make(zmq.SUB, reconnect_ivl=10)
    for topic in (b"a", b"bb", b"ccc"):
        sub.subscribe(topic)
    with RawListener() as server:
        sub.connect(server.endpoint)
        for _ in range(3):
            with server.accept() as peer:
                peer.handshake("PUB")
                # libzmq's SUB writes them again when it is in a call
                eventually(lambda: (sub.poll(0), _readable(peer))[1])
                got = {peer.recv_frame() for _ in range(3)}
                assert got == {(4, b"\x09SUBSCRIBE" + t) for t in (b"a", b"bb", b"ccc")}


def _readable(peer: RawPeer) -> bool:
    peer.sock.settimeout(0)
    try:
        return bool(peer.sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        peer.sock.settimeout(10)


def retries(zmq, make, count: int, **options) -> list[int]:
    """The delays (ms) that a PUSH announces while its endpoint refuses it."""
    push = make(zmq.PUSH, **options)
    monitor = push.get_monitor_socket(EVENT_CONNECT_RETRIED)
    with dead_endpoint() as nowhere:
        push.connect(nowhere)
        out = [next_value(monitor, EVENT_CONNECT_RETRIED) for _ in range(count)]
    push.close()
    return out


def test_reconnect_delays_are_spread_over_once_to_twice_the_interval(zmq, make):
    """S-22: without RECONNECT_IVL_MAX: IVL + random below IVL."""
    delays = retries(zmq, make, 20, reconnect_ivl=16)
    assert all(16 <= d <= 32 for d in delays), delays
    assert len(set(delays)) > 1


def test_reconnect_delays_double_up_to_the_maximum(zmq, make):
    """S-22: with RECONNECT_IVL_MAX: no jitter."""
    delays = retries(zmq, make, 5, reconnect_ivl=5, reconnect_ivl_max=20)
    assert delays == [5, 10, 20, 20, 20]


def test_a_maximum_below_the_interval_caps_even_the_first_delay(zmq, make):
    """S-22: the code's behaviour, not the manual's."""
    assert retries(zmq, make, 3, reconnect_ivl=30, reconnect_ivl_max=10) == [10, 10, 10]


def test_a_good_connection_resets_the_doubling(zmq, make):
    """S-22"""
    push = make(zmq.PUSH, reconnect_ivl=5, reconnect_ivl_max=1000)
    monitor = push.get_monitor_socket(EVENT_CONNECT_RETRIED)
    with dead_endpoint() as address:
        push.connect(address)
        assert [next_value(monitor, EVENT_CONNECT_RETRIED) for _ in range(3)] == [5, 10, 20]
    with RawListener(int(address.rsplit(":", 1)[1])) as server, server.accept() as peer:
        peer.handshake("PULL")
        connected(push)
        monitor_events(monitor)  # those of the time before
    assert next_value(monitor, EVENT_CONNECT_RETRIED) == 5


def test_without_reconnecting_a_lost_endpoint_is_gone(zmq, make):
    """S-23: RECONNECT_IVL=-1: the peer dies, the endpoint with it; connect() brings it back."""
    push = make(zmq.PUSH, reconnect_ivl=-1)
    with RawListener() as server:
        push.connect(server.endpoint)
        with server.accept() as peer:
            peer.handshake("PULL")
            connected(push)
        eventually(lambda: not push.poll(0, zmq.POLLOUT))
        assert server.nobody_comes(within=0.2)
        with refused(zmq, errno.ENOENT):
            push.disconnect(server.endpoint)
        push.connect(server.endpoint)
        with server.accept() as peer:
            peer.handshake("PULL")
            push.send(b"again")
            assert peer.recv_frame() == (0, b"again")


def test_without_reconnecting_a_refused_connect_is_tried_once(zmq, make):
    """S-23: CONNECT_DELAYED, CLOSED, and that is it."""
    push = make(zmq.PUSH, reconnect_ivl=-1)
    monitor = push.get_monitor_socket()
    with dead_endpoint() as nowhere:
        push.connect(nowhere)
        assert [e[0] for e in monitor_events(monitor, until=EVENT_CLOSED)] == [
            EVENT_CONNECT_DELAYED,
            EVENT_CLOSED,
        ]
        assert not monitor.poll(200)


def test_reconnecting_can_stop_at_a_refusal(zmq, make):
    """S-24: RECONNECT_STOP bit 1."""
    push = make(zmq.PUSH, reconnect_ivl=5)
    push.set(109, 1)
    monitor = push.get_monitor_socket()
    with dead_endpoint() as nowhere:
        push.connect(nowhere)
        seen = [e[0] for e in monitor_events(monitor, until=EVENT_CLOSED)]
        assert seen == [EVENT_CONNECT_DELAYED, EVENT_CLOSED]
        assert not monitor.poll(100)


def test_reconnecting_can_stop_at_a_failed_handshake(zmq, make):
    """S-24: RECONNECT_STOP bit 2; without it the next attempt comes."""
    for stop in (0, 2):
        push = make(zmq.PUSH, reconnect_ivl=5)
        push.set(109, stop)
        with RawListener() as server:
            push.connect(server.endpoint)
            with server.accept() as peer:
                peer.send(greeting()[:20])
            assert server.nobody_comes(within=0.2 if stop else 5) == bool(stop)
        push.close()


def test_reconnecting_can_stop_at_disconnect(zmq, make):
    """S-24: RECONNECT_STOP bit 4: no more attempts, even with messages left over."""
    push = make(zmq.PUSH, linger=-1, reconnect_ivl=5)
    push.set(109, 4)
    monitor = push.get_monitor_socket()
    with dead_endpoint() as nowhere:
        push.connect(nowhere)
        monitor_events(monitor, until=EVENT_CONNECT_RETRIED)
        push.disconnect(nowhere)

        def quiet() -> bool:
            push.poll(0)
            monitor_events(monitor)
            return not monitor.poll(100)

        eventually(quiet)
    push.close(linger=0)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(ready("PUB"), id="incompatible socket type"),
        pytest.param(b"\x04\x06\x05HELLO", id="unknown command"),
        pytest.param(b"\x04\x0a\x05ERROR\x03400", id="error command"),
        pytest.param(b"\x04\x0a\x05READY\x0fabc", id="malformed ready"),
    ],
)
def test_a_protocol_error_ends_a_connecter_for_good(zmq, make, what):
    """S-25: one connection, no second attempt."""
    dealer = make(zmq.DEALER, reconnect_ivl=5)
    with RawListener() as server:
        dealer.connect(server.endpoint)
        with server.accept() as peer:
            peer.send(greeting())
            peer.recv_exactly(64)
            peer.send(what)
            eventually(lambda: disconnected(dealer, peer))
            assert server.nobody_comes(within=0.2)


def test_another_mechanism_ends_a_connecter_for_good(zmq, make):
    """S-25"""
    dealer = make(zmq.DEALER, reconnect_ivl=5)
    with RawListener() as server:
        dealer.connect(server.endpoint)
        with server.accept() as peer:
            peer.send(greeting(mechanism=b"PLAIN"))
            eventually(lambda: disconnected(dealer, peer))
            assert server.nobody_comes(within=0.2)


def test_a_connecter_tries_again_when_the_stream_just_ends(zmq, make):
    """S-25, the other half: a lost connection is no protocol error, at whatever stage."""
    dealer = make(zmq.DEALER, reconnect_ivl=5)
    with RawListener() as server:
        dealer.connect(server.endpoint)
        for said in (b"", greeting()[:5], greeting(), greeting() + ready("DEALER")):
            with server.accept() as peer:
                peer.send(said)
        with server.accept() as peer:
            peer.handshake("DEALER")


def test_a_connection_to_oneself_does_no_harm(zmq, make):
    """S-26: source and target are the same port, so that TCP connects the socket to itself."""
    push, pull = make(zmq.PUSH, reconnect_ivl=10), make(zmq.PULL)
    with dead_endpoint() as free:
        pass
    own = free.removeprefix("tcp://")
    push.connect(f"tcp://{own};{own}")
    push.connect(bind(pull))
    for n in range(20):
        push.send(b"%d" % n)
    got = receive(pull, 10)
    assert len({m[0] for m in got}) == 10


# --- time limits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", greeting()[:12], greeting()], ids=len)
def test_a_silent_client_is_cut_off_after_the_handshake_interval(zmq, make, said):
    """S-27: HANDSHAKE_IVL covers greeting and mechanism."""
    pull = make(zmq.PULL, handshake_ivl=150)
    monitor = pull.get_monitor_socket()
    bind(pull)
    with RawPeer.connect(port_of(pull)) as peer:
        peer.send(said)
        seen = [e[0] for e in monitor_events(monitor, until=EVENT_DISCONNECTED)]
        assert seen == [
            EVENT_LISTENING,
            EVENT_ACCEPTED,
            EVENT_HANDSHAKE_FAILED_NO_DETAIL,
            EVENT_DISCONNECTED,
        ]
        assert peer.closed_by_peer()


def test_a_silent_server_is_left_after_the_handshake_interval_and_tried_again(zmq, make):
    """S-27"""
    push = make(zmq.PUSH, handshake_ivl=100, reconnect_ivl=5)
    with RawListener() as server:
        push.connect(server.endpoint)
        for _ in range(2):
            with server.accept() as peer:
                assert peer.closed_by_peer()


def test_a_finished_handshake_stops_the_clock(zmq, make):
    """S-27: a connection that idles afterwards is left alone."""
    pull = make(zmq.PULL, handshake_ivl=100)
    bind(pull)
    with RawPeer.connect(port_of(pull)) as peer:
        peer.handshake("PUSH")
        assert not peer.closed_by_peer(0.3)
        peer.send(b"\x00\x02hi")
        assert pull.recv() == b"hi"


@contextlib.contextmanager
def black_hole():
    """A tcp endpoint where SYNs go unanswered: the queue of a listener that does not accept."""
    with RawListener(backlog=0) as server, contextlib.ExitStack() as stack:
        for _ in range(4):
            s = stack.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", server.port))
        yield server.endpoint


def test_an_unanswered_connect_is_given_up_after_the_connect_timeout(zmq, make):
    """S-27: CONNECT_TIMEOUT covers the TCP connect."""
    push = make(zmq.PUSH, connect_timeout=100, reconnect_ivl=5)
    monitor = push.get_monitor_socket()
    with black_hole() as nowhere:
        push.connect(nowhere)
        seen = [e[0] for e in monitor_events(monitor, until=EVENT_CONNECT_RETRIED)]
        assert seen == [EVENT_CONNECT_DELAYED, EVENT_CLOSED, EVENT_CONNECT_RETRIED]


def test_the_handshake_interval_does_not_cover_the_connect(zmq, make):
    """S-27"""
    push = make(zmq.PUSH, handshake_ivl=50)
    monitor = push.get_monitor_socket()
    with black_hole() as nowhere:
        push.connect(nowhere)
        monitor_events(monitor, until=EVENT_CONNECT_DELAYED)
        assert not monitor.poll(250)


def test_garbage_that_looks_like_the_oldest_protocol(zmq, make, on_libzmq):
    """S-28, differences.md: libzmq takes "GET /" for ZMTP 1.0, for ever; our clock runs on."""
    pull = make(zmq.PULL, handshake_ivl=100)
    bind(pull)
    with RawPeer.connect(port_of(pull)) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if on_libzmq:
            assert not peer.closed_by_peer(0.3)
        else:
            assert peer.closed_by_peer()
    assert not pull.poll(50)


# --- endpoints -----------------------------------------------------------------------------------


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
    assert receive(two, 4) == [[b"%d" % n] for n in range(4)]
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


# --- descriptors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_listening_descriptor_can_be_brought_along(zmq, make, transport, ipc_address):
    """S-39: USE_FD."""
    if transport == "tcp":
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(ipc_address.removeprefix("ipc://"))
        address = ipc_address
    listener.listen()
    rep, req = make(zmq.REP), make(zmq.REQ)
    rep.use_fd = listener.detach()
    rep.bind(address)
    assert rep.LAST_ENDPOINT.decode() == address
    req.connect(address)
    req.send(b"hello")
    assert rep.recv() == b"hello"
    rep.send(b"world")
    assert req.recv() == b"world"
    if transport == "ipc":
        rep.close()
        assert os.path.exists(ipc_address.removeprefix("ipc://"))


def test_a_port_can_be_bound_again_though_old_connections_linger_in_the_kernel(zmq, make):
    """S-40: SO_REUSEADDR."""
    pull = make(zmq.PULL)
    address = bind(pull)
    with RawPeer.connect(port_of(pull)) as peer:
        peer.handshake("PUSH")
        pull.close()  # the binder closes first: its side stays in TIME_WAIT
        assert peer.closed_by_peer()
    rebind(zmq, make(zmq.PULL), address)


def test_no_descriptor_is_inherited_by_programs_that_are_started(zmq, make):
    """S-40: listener, accepted and connecting sockets are close-on-exec."""
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    below, above = pull.get_monitor_socket(), push.get_monitor_socket()
    push.connect(bind(pull))
    fds = [
        next_value(below, EVENT_LISTENING),
        next_value(below, EVENT_ACCEPTED),
        next_value(above, EVENT_CONNECTED),
    ]
    assert all(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for fd in fds), fds


ACCEPT_WITHOUT_DESCRIPTORS = """
import resource, socket, struct, time
ctx = zmq.Context()
pull = ctx.socket(zmq.PULL)
pull.rcvtimeo = 10000
pull.bind("tcp://127.0.0.1:*")
monitor = pull.get_monitor_socket(zmq.EVENT_ACCEPT_FAILED)
pull.poll(1); monitor.poll(1)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
probe = socket.socket()
highest = probe.fileno()
probe.close()
resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
print(pull.LAST_ENDPOINT.rsplit(b":", 1)[1].decode(), flush=True)
assert monitor.poll(10000)
print(struct.unpack("=HI", monitor.recv_multipart()[0])[1], flush=True)
used, end = time.process_time(), time.monotonic() + 0.5
while (left := end - time.monotonic()) > 0:
    if monitor.poll(int(left * 1000) + 1):
        monitor.recv_multipart()
print(time.process_time() - used, flush=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
while not pull.poll(1):  # an unread monitor would block libzmq's I/O thread
    while monitor.poll(0):
        monitor.recv_multipart()
print(pull.recv().decode(), flush=True)
ctx.destroy(linger=0)
"""


def test_a_listening_descriptor_that_is_shut_down_is_told_of(zmq, make, on_libzmq):
    """S-39, S-41: accept() fails at once each time: the listener rests, others work on."""
    if on_libzmq:
        pytest.skip("libzmq asks again at once, and tells nobody")
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    monitor = pull.get_monitor_socket(zmq.EVENT_ACCEPT_FAILED)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pull.set(zmq.USE_FD, os.dup(listener.fileno()))
        bind(pull)
        pull.set(zmq.USE_FD, -1)
        listener.shutdown(socket.SHUT_RDWR)
        _, value, _ = monitor_events(monitor, until=zmq.EVENT_ACCEPT_FAILED)[-1]
        assert value == errno.EINVAL
        push.connect(bind(pull))
        push.send(b"x")
        assert pull.recv() == b"x"


def test_a_listener_outlives_a_want_of_descriptors(zmq, on_libzmq):
    """S-41: ACCEPT_FAILED(EMFILE). differences.md: we wait before the next try, not spin."""
    with Child(module_source(zmq) + ACCEPT_WITHOUT_DESCRIPTORS) as child:
        port = int(child.line())
        with RawPeer.connect(port) as peer:
            assert int(child.line()) == errno.EMFILE
            seconds = float(child.line())
            if not on_libzmq:
                assert seconds < 0.25, "the engine spins"
            peer.handshake("PUSH")
            peer.send(b"\x00\x02hi")
            assert child.line() == "hi"
        assert child.wait() == 0


# --- addresses -----------------------------------------------------------------------------------


def test_a_connection_can_have_a_source_address(zmq, make):
    """S-42: the part before the semicolon."""
    push = make(zmq.PUSH)
    with RawListener() as server:
        push.connect(f"tcp://127.0.0.2:0;127.0.0.1:{server.port}")
        with server.accept() as peer:
            assert peer.sock.getpeername()[0] == "127.0.0.2"
            peer.handshake("PULL")
            push.send(b"hi")
            assert peer.recv_frame() == (0, b"hi")


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 on this machine")


@needs_ipv6
@pytest.mark.parametrize(
    "host, seen", [("127.0.0.1", "::ffff:127.0.0.1"), ("[::1]", "::1"), ("localhost", None)]
)
def test_a_socket_with_ipv6_serves_both_worlds(zmq, make, host, seen):
    """S-43: dual stack; a v4 peer's address shows as a mapped one."""
    pull, push = make(zmq.PULL, ipv6=1), make(zmq.PUSH, ipv6=int(host != "127.0.0.1"))
    pull.bind("tcp://*:*")
    assert pull.LAST_ENDPOINT.startswith(b"tcp://[::]:")
    push.connect(f"tcp://{host}:{port_of(pull)}")
    push.send(b"x")
    address = pull.recv(copy=False).get("Peer-Address")
    assert address == seen or (seen is None and address in ("::ffff:127.0.0.1", "::1"))


@needs_ipv6
def test_a_v4_address_bound_with_ipv6_is_shown_mapped(zmq, make):
    """S-43"""
    pull, push = make(zmq.PULL, ipv6=1), make(zmq.PUSH)
    pull.bind("tcp://127.0.0.1:*")
    assert pull.LAST_ENDPOINT == b"tcp://[::ffff:127.0.0.1]:%d" % port_of(pull)
    push.connect(f"tcp://127.0.0.1:{port_of(pull)}")
    push.send(b"x")
    assert pull.recv() == b"x"
