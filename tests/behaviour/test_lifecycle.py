"""Connections: how they are made, lost, made again and given up (semantics.md#connections)."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct

import pytest
from support import (
    TIMEOUT,
    RawListener,
    RawPeer,
    bind,
    connected,
    dead_endpoint,
    disconnected,
    eventually,
    monitor_events,
    next_value,
    port_of,
    rebind,
    receive,
    refused,
    send_until_full,
    waiting,
    watched,
)
from support.zmtp import greeting, ready

EVENT_CONNECT_DELAYED = 0x0002
EVENT_CONNECT_RETRIED = 0x0004
EVENT_LISTENING = 0x0008
EVENT_ACCEPTED = 0x0020
EVENT_CLOSED = 0x0080
EVENT_DISCONNECTED = 0x0200
EVENT_HANDSHAKE_FAILED_NO_DETAIL = 0x0800
EVENT_HANDSHAKE_SUCCEEDED = 0x1000


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


@pytest.mark.parametrize(
    ("kind", "other", "after", "immediate"),
    [
        ("PUSH", "PULL", errno.EAGAIN, 0),
        ("PUSH", "PULL", errno.EAGAIN, 1),
        ("DEALER", "DEALER", errno.EAGAIN, 0),
        ("DEALER", "DEALER", errno.EAGAIN, 1),
        ("ROUTER", "DEALER", errno.EHOSTUNREACH, 0),
        ("PUB", "SUB", None, 0),
    ],
)
def test_without_reconnecting_there_is_nobody_to_send_to_after_the_peer(
    zmq, make, kind, other, after, immediate
):
    """S-23, S-53: as if there had been no connect; a new one has a peer again."""
    s = make(getattr(zmq, kind), reconnect_ivl=-1, immediate=immediate)
    name = [b"n"] if kind == "ROUTER" else []

    def answer(body):
        """None: taken."""
        try:
            s.send_multipart([*name, body], zmq.DONTWAIT)
        except zmq.ZMQError as error:
            return error.errno
        return None

    for body in (b"1", b"2"):
        peer = make(getattr(zmq, other))
        if other == "SUB":
            peer.subscribe(b"")
        bind(peer)
        if name:
            s.router_mandatory, s.connect_routing_id = 1, name[0]
        with watched(s) as monitor:
            s.connect(peer.LAST_ENDPOINT)
            eventually(lambda: answer(body) is None and peer.poll(10))  # noqa: B023
            assert peer.recv_multipart() == [body]
            peer.close()
            monitor_events(monitor, until=EVENT_DISCONNECTED)
        eventually(lambda: answer(b"lost") == after)
        assert [answer(b"lost") for _ in range(3)] == [after] * 3
        if kind != "ROUTER":
            assert bool(s.events & zmq.POLLOUT) == (kind == "PUB")


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
            assert server.nobody_comes(within=0.2 if stop else TIMEOUT) == bool(stop)
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
    for interval in (100, 1000, 10_000):
        pull = make(zmq.PULL, handshake_ivl=interval)
        monitor = pull.get_monitor_socket(EVENT_HANDSHAKE_SUCCEEDED | EVENT_DISCONNECTED)
        bind(pull)
        with RawPeer.connect(port_of(pull)) as peer:
            with contextlib.suppress(EOFError, ConnectionError):
                peer.handshake("PUSH")
            if monitor.recv_multipart()[0][:2] != struct.pack("=H", EVENT_HANDSHAKE_SUCCEEDED):
                continue  # the machine is slow
            assert not peer.closed_by_peer(3 * interval / 1000)
            peer.send(b"\x00\x02hi")
            assert pull.recv() == b"hi"
            return
    raise AssertionError("no handshake was in time")


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
