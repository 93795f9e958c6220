"""Closing sockets and ending contexts: who waits, for what, and what gets through (2.3)."""

from __future__ import annotations

import errno
import fcntl
import select
import termios
import time

import pytest
from support import (
    TIMEOUT,
    Background,
    Fork,
    RawListener,
    RawPeer,
    address_for,
    bind,
    connected,
    dead_endpoint,
    eventually,
    monitor_events,
    port_of,
    rebind,
    receive,
    refused,
    wait_until_taken,
    waiting,
    zmtp_connect,
)
from support.zmtp import MORE, frame

TRANSPORTS = ["inproc", "ipc", "tcp"]


# --- close ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_address_can_be_bound_again_after_close(zmq, make, transport, ipc_address):
    """S-44: soon, not necessarily at once; and it works: a message goes through."""
    old = make(zmq.PULL)
    address = bind(old, address_for(transport, ipc_address))
    old.close()
    new, push = make(zmq.PULL), make(zmq.PUSH)
    rebind(zmq, new, address)
    push.connect(address)
    push.send(b"hello")
    assert new.recv() == b"hello"


def test_a_peer_follows_to_the_new_owner_of_an_address(zmq, make, ipc_address):
    """S-44: it was connected to the old socket and reconnects to the new one."""
    old, push = make(zmq.PULL), make(zmq.PUSH, reconnect_ivl=10)
    push.connect(bind(old, ipc_address))
    push.send(b"1")
    assert old.recv() == b"1"
    old.close()
    new = make(zmq.PULL)
    rebind(zmq, new, ipc_address)
    eventually(lambda: (push.send(b"2"), new.poll(10))[1])
    assert waiting(new)[-1] == [b"2"]


def test_close_returns_at_once_whatever_is_queued(zmq, own_ctx, make):
    """S-44: the socket lives on in the engine until its linger ends."""
    s, pull = own_ctx.socket(zmq.PUSH), make(zmq.PULL)
    with dead_endpoint() as nowhere:
        s.linger = -1  # so it would not come back at all, if it waited
        s.connect(nowhere)
        s.send(b"x")
        s.close()
        assert s.closed
    rebind(zmq, pull, nowhere)
    assert pull.recv() == b"x"


def test_closing_twice_is_harmless(zmq, ctx):
    """S-44"""
    s = ctx.socket(zmq.PUSH)
    s.close()
    s.close()
    with refused(zmq, errno.ENOTSOCK):
        s.send(b"x")


@pytest.mark.parametrize("linger", [0, 5000, -1])
def test_linger_decides_whether_queued_messages_outlive_their_socket(zmq, own_ctx, make, linger):
    """S-45: 0: none of 10 arrives at a peer that comes later; otherwise 10 of 10."""
    push, pull = own_ctx.socket(zmq.PUSH), make(zmq.PULL)
    push.linger = linger
    push.reconnect_ivl = 10
    with dead_endpoint() as address:
        push.connect(address)
        for n in range(10):
            push.send(b"%d" % n)
        push.close()
        term = Background(own_ctx.term)
        if not linger:
            term.result()
    rebind(zmq, pull, address)
    if linger:
        assert receive(pull, 10) == [[b"%d" % n] for n in range(10)]
        term.result()
    else:
        assert not pull.poll(200)


def test_messages_on_their_way_outlive_their_socket(zmq, ctx, make):
    """S-45: more than the kernel takes at once, and close() right after the last send."""
    push, pull = ctx.socket(zmq.PUSH), make(zmq.PULL, rcvhwm=1)
    push.connect(bind(pull))
    for n in range(100):
        push.send_multipart([b"%d" % n, bytes(200_000)])
    push.close()
    for n in range(100):
        assert pull.recv_multipart() == [b"%d" % n, bytes(200_000)]


def test_queued_messages_outlive_their_socket_and_the_peer_that_did_not_take_them(zmq, make):
    """S-20, S-45: what a lingering socket has left goes to the next peer at its endpoint."""
    push = make(zmq.PUSH, linger=-1, sndhwm=0, reconnect_ivl=5)
    with RawListener() as server:
        push.connect(server.endpoint)
        with server.accept() as first:
            first.handshake("PULL")
            for n in range(200):
                push.send(n.to_bytes(4, "big") + bytes(100_000))
            first.recv_exactly(1000)  # it takes a little, and no more
            push.close()
        with server.accept() as second:
            second.handshake("PULL")
            numbers = []
            while not numbers or numbers[-1] != 199:
                flags, body = second.recv_frame()
                assert (flags, len(body)) == (2, 100_004)
                numbers.append(int.from_bytes(body[:4], "big"))
            assert numbers == list(range(numbers[0], 200))
            assert second.closed_by_peer()
        assert server.nobody_comes(within=0.1)


def test_messages_for_a_lost_peer_are_given_up_when_the_linger_is_over(zmq, own_ctx):
    """S-45: also those that were on their way to it when it went."""
    push = own_ctx.socket(zmq.PUSH)
    push.linger, push.sndhwm, push.reconnect_ivl = 100, 0, 5
    with RawListener() as server:
        push.connect(server.endpoint)
        with server.accept() as first:
            first.handshake("PULL")
            for _ in range(200):
                push.send(bytes(100_000))
            push.close()
    own_ctx.term()


def test_a_context_waits_for_the_linger_and_no_longer(zmq, own_ctx):
    """S-45: the time runs from close()."""
    s = own_ctx.socket(zmq.PUSH)
    s.linger = 300
    with dead_endpoint() as nowhere:
        s.connect(nowhere)
        s.send(b"x")
        start = time.monotonic()
        s.close()
        Background(own_ctx.term).result()
        assert time.monotonic() - start >= 0.25


def test_linger_that_is_over_early_does_not_hold_the_context(zmq, own_ctx, make):
    """S-45: 10 s were granted, delivery takes no time."""
    s, pull = own_ctx.socket(zmq.PUSH), make(zmq.PULL)
    s.linger = int(TIMEOUT * 10_000)
    s.connect(bind(pull))
    s.send(b"x")
    s.close()
    Background(own_ctx.term).result()
    assert pull.recv() == b"x"


def test_close_can_carry_its_own_linger(zmq, own_ctx):
    """S-45: close(linger=0) on a socket that would wait for ever."""
    s = own_ctx.socket(zmq.PUSH)
    with dead_endpoint() as nowhere:
        s.connect(nowhere)
        s.send(b"x")
        s.close(linger=0)
        Background(own_ctx.term).result()


def test_a_slow_handshake_is_given_its_linger(zmq, ctx):
    """S-45: what is queued goes out when the peer finally shakes hands."""
    push = ctx.socket(zmq.PUSH)
    with RawListener() as server:
        push.connect(server.endpoint)
        push.send(b"late")
        push.close()
        with server.accept() as peer:
            peer.handshake("PULL")
            assert peer.recv_frame() == (0, b"late")
            assert peer.closed_by_peer()


# --- fork ----------------------------------------------------------------------------------------


def test_a_forked_child_uses_a_context_of_its_own(zmq, make):
    """S-50: it sends to its parent, whose sockets go on as if nothing had happened."""
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    address = bind(pull)
    push.connect(address)
    push.send(b"before")
    assert pull.recv() == b"before"

    def child():
        with zmq.Context() as context, context.socket(zmq.PUSH) as s:
            s.connect(address)
            s.send(b"from the child")
            s.close()
            context.term()

    with Fork(child) as fork:
        assert pull.recv() == b"from the child"
        fork.check()
    push.send(b"after")
    assert pull.recv() == b"after"


# --- whole messages ------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [True, False], ids=["blocking", "DONTWAIT"])
def test_a_message_whose_peer_leaves_halfway_is_dropped_to_its_end(zmq, make, waits):
    """S-51: the remainder goes to nobody, and the next peer starts with the next message.

    A blocking sender notices nothing, another is told once (EAGAIN).
    """
    push, first, second = make(zmq.PUSH), make(zmq.PULL), make(zmq.PULL)
    monitor = push.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
    address = bind(push)
    first.connect(address)
    connected(push)
    push.send(b"old 1", zmq.SNDMORE)
    push.send(b"old 2", zmq.SNDMORE)
    first.close()
    monitor_events(monitor, until=zmq.EVENT_DISCONNECTED)
    second.connect(address)
    monitor_events(monitor, until=zmq.EVENT_HANDSHAKE_SUCCEEDED)
    push.poll(0)
    told = 0
    for part, more in ((b"old 3", zmq.SNDMORE), (b"old 4", zmq.SNDMORE), (b"old 5", 0)):
        try:
            push.send(part, more if waits else more | zmq.DONTWAIT)
        except zmq.Again:
            told += 1
    assert told <= (0 if waits else 1)
    push.send_multipart([b"new 1", b"new 2"])
    assert second.recv_multipart() == [b"new 1", b"new 2"]


def test_a_half_received_message_is_never_shown(zmq, make):
    """S-51: the sender dies between the parts, and within a part."""
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    address = bind(pull)
    for torn in (frame(b"1", MORE), frame(b"1", MORE) + b"\x00\x64half of it"):
        with RawPeer.connect(port_of(pull)) as peer:
            peer.handshake("PUSH")
            peer.send(frame(b"whole") + torn)
            assert pull.recv_multipart() == [b"whole"]
    push.connect(address)
    push.send_multipart([b"new", b"tail"])
    assert pull.recv_multipart() == [b"new", b"tail"]


@pytest.mark.parametrize("linger", [-1, 0])
@pytest.mark.parametrize(
    ("kind", "other"), [("PULL", "PUSH"), ("PAIR", "PAIR"), ("ROUTER", "DEALER")]
)
def test_what_arrived_before_an_unbind_can_be_read_after_it(zmq, make, kind, other, linger):
    """Whatever LINGER says: that is for what is sent. Half a message is never shown."""
    reader = make(getattr(zmq, kind), linger=linger)
    address = bind(reader)
    with zmtp_connect(reader) as peer:
        peer.handshake(other)
        for n in range(4):
            peer.send_message(b"%d" % n, b"body")
        peer.send(frame(b"half", MORE))
        assert reader.recv_multipart()[-2:] == [b"0", b"body"]
        peer.round_trip()
        reader.unbind(address)
        assert [m[-2:] for m in receive(reader, 3)] == [[b"%d" % n, b"body"] for n in (1, 2, 3)]
        assert not reader.poll(50)
        assert peer.closed_by_peer()


@pytest.mark.parametrize("closes", [False, True])
def test_an_unbound_socket_reads_what_arrived_and_sends_what_is_queued(
    zmq, make, on_libzmq, closes
):
    """S-32: both queues of a connection go to their ends, each at its own pace."""
    if on_libzmq:
        pytest.skip("libzmq sends only a part of what is queued")
    here, there = make(zmq.DEALER, linger=-1), make(zmq.DEALER, rcvhwm=1)
    address = bind(here)
    there.connect(address)
    for n in range(3):
        there.send(b"%d" % n)
    assert [here.recv(), here.recv()] == [b"0", b"1"]
    for n in range(100):
        here.send_multipart([b"%d" % n, bytes(200_000)])
    assert here.poll()
    here.unbind(address)
    if closes:
        here.close()
    for n in range(100):
        assert there.recv_multipart() == [b"%d" % n, bytes(200_000)]
    if not closes:
        assert here.recv() == b"2"


def nothing_unacknowledged(sock) -> bool:
    return fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)) == bytes(4)


@pytest.mark.parametrize(("count", "size"), [(500, 4), (1_000, 100)])
def test_what_came_before_a_failed_send_is_still_read(zmq, make, on_libzmq, count, size):
    """S-20: the peer takes nothing any more, but it had said something before."""
    if on_libzmq and count * size > 8192:
        pytest.skip("libzmq drops what it has not received itself")
    dealer = make(zmq.DEALER, rcvhwm=10)
    bind(dealer)
    with zmtp_connect(dealer) as peer:
        peer.handshake("DEALER")
        peer.send(b"".join(frame(n.to_bytes(size, "big")) for n in range(count)))
        assert dealer.recv() == bytes(size)
        eventually(lambda: nothing_unacknowledged(peer.sock))
        if on_libzmq:
            wait_until_taken(peer.sock)
        dealer.send(b"not read")
        assert select.select([peer.sock], [], [], TIMEOUT)[0]
    # It closed with this unread: the connection is reset.
    for _ in range(3):
        dealer.send(b"to nobody", zmq.DONTWAIT)
    assert [dealer.recv() for _ in range(1, count)] == [
        n.to_bytes(size, "big") for n in range(1, count)
    ]


def test_a_half_sent_message_is_taken_back_at_close(zmq, ctx, make):
    """S-51: closing in the middle of a message sends none of it."""
    pull, push = make(zmq.PULL), ctx.socket(zmq.PUSH)
    push.connect(bind(pull))
    push.send(b"whole")
    push.send(b"part", zmq.SNDMORE)
    push.close()
    assert pull.recv_multipart() == [b"whole"]
    assert not pull.poll(50)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_parts_show_when_the_last_one_is_written(zmq, make, transport, ipc_address):
    """S-52: poll says nothing after SNDMORE."""
    pull, push = make(zmq.PULL), make(zmq.PUSH)
    push.connect(bind(pull, address_for(transport, ipc_address)))
    connected(push)
    push.send(b"1", zmq.SNDMORE)
    push.send(bytes(100_000), zmq.SNDMORE)
    assert not pull.poll(50)
    with refused(zmq, errno.EAGAIN):
        pull.recv(zmq.DONTWAIT)
    push.send(b"3")
    assert pull.poll(int(TIMEOUT * 1000)) == zmq.POLLIN
    assert pull.recv_multipart() == [b"1", bytes(100_000), b"3"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_parts_of_two_senders_are_never_mixed(zmq, make, transport, ipc_address):
    """S-53: and POLLIN stays while parts remain."""
    pull, senders = make(zmq.PULL), [make(zmq.PUSH), make(zmq.PUSH)]
    address = bind(pull, address_for(transport, ipc_address))
    for n, s in enumerate(senders):
        s.connect(address)
        for _ in range(10):
            s.send_multipart([b"%d" % n] * 4)
    for _ in range(20):
        first = pull.recv()
        for k in range(3):
            assert pull.get(zmq.RCVMORE) == 1
            assert pull.poll(0) == zmq.POLLIN
            assert pull.recv(zmq.DONTWAIT) == first, k
        assert pull.get(zmq.RCVMORE) == 0
    assert not pull.poll(0)


def test_parts_are_not_mixed_while_the_other_sender_dies(zmq, make):
    """S-53: a reader in the middle of a message finishes it, whoever comes or goes."""
    pull, one = make(zmq.PULL), make(zmq.PUSH)
    one.connect(bind(pull))
    one.send_multipart([b"1a", b"1b", b"1c"])
    assert pull.recv() == b"1a"
    one.close()
    with RawPeer.connect(port_of(pull)) as peer:
        peer.handshake("PUSH")
        peer.send(frame(b"2"))
        assert pull.recv() == b"1b"
        assert pull.recv() == b"1c"
        assert pull.recv_multipart() == [b"2"]


# --- how soon ------------------------------------------------------------------------------------


def test_a_disconnected_peer_sees_the_end_of_the_stream(zmq, make):
    """S-54: in libzmq only while the socket is in calls, hence the poking."""
    s = make(zmq.DEALER)
    with RawListener() as server:
        s.connect(server.endpoint)
        with server.accept() as peer:
            peer.handshake("DEALER")
            connected(s)
            s.disconnect(server.endpoint)
            eventually(lambda: (s.get(zmq.EVENTS), peer.closed_by_peer(0.02))[1])


def test_a_closed_socket_s_peers_see_the_end_of_the_stream(zmq, make):
    """S-54: on both sides, without any further call."""
    s = make(zmq.DEALER)
    bind(s)
    with RawListener() as server, RawPeer.connect(port_of(s)) as below:
        s.connect(server.endpoint)
        with server.accept() as above:
            for peer in (above, below):
                peer.handshake("DEALER")
            s.close()
            assert above.closed_by_peer() and below.closed_by_peer()


def test_progress_needs_no_calls_of_the_application(zmq, make, on_libzmq):
    """S-54, differences.md: disconnect() is carried out while the application does nothing."""
    if on_libzmq:
        pytest.skip("libzmq ends a pipe in calls on the socket only")
    s = make(zmq.DEALER)
    with RawListener() as server:
        s.connect(server.endpoint)
        with server.accept() as peer:
            peer.handshake("DEALER")
            s.disconnect(server.endpoint)
            assert peer.closed_by_peer()
