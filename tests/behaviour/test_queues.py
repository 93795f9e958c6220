"""Queues: high-water marks, back-pressure, dropping, conflation, batching (S-01 to S-16)."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import socket
import struct

import pytest
from support import (
    Background,
    RawListener,
    address_for,
    bind,
    connected,
    dead_endpoint,
    eventually,
    fresh_inproc,
    port_of,
    rebind,
    receive,
    refused,
    send_until_full,
    waiting,
)

TRANSPORTS = ["inproc", "ipc", "tcp"]


def numbers(messages) -> list[int]:
    """The number in the first four bytes of each message's first frame."""
    return [int.from_bytes(parts[0][:4], "big") for parts in messages]


@pytest.fixture
def pipeline(zmq, make):
    """pipeline(send_hwm, recv_hwm) -> a PUSH and the PULL it is connected to, over inproc."""

    def make_pipeline(send_hwm: int, recv_hwm: int):
        push, pull = make(zmq.PUSH, sndhwm=send_hwm), make(zmq.PULL, rcvhwm=recv_hwm)
        push.connect(bind(pull, fresh_inproc()))
        pull.poll(0)  # libzmq's PULL learns of its new peer in calls only
        return push, pull

    return make_pipeline


def test_the_high_water_mark_counts_messages_and_not_frames(zmq, make):
    """S-01: with SNDHWM=1 one message of five parts fits, a second message does not."""
    push = make(zmq.PUSH, sndhwm=1)
    with dead_endpoint() as nowhere:
        push.connect(nowhere)
        push.send_multipart([b"part"] * 5, zmq.DONTWAIT)
        with refused(zmq, errno.EAGAIN):
            push.send(b"second", zmq.DONTWAIT)


def test_the_high_water_mark_does_not_count_bytes(zmq, make):
    """S-01: three messages of a megabyte are three."""
    push = make(zmq.PUSH, sndhwm=3)
    with dead_endpoint() as nowhere:
        push.connect(nowhere)
        assert send_until_full(zmq, push, 10, bytes(1_000_000)) == 3


def test_the_high_water_mark_holds_for_each_peer_by_itself(zmq, make):
    """S-01: two pipes of two messages each take four."""
    push = make(zmq.PUSH, sndhwm=2)
    with dead_endpoint() as one, dead_endpoint() as two:
        push.connect(one)
        push.connect(two)
        assert send_until_full(zmq, push, 10) == 4


def test_a_started_message_can_always_be_finished(zmq, make):
    """S-02: the count moves on the last frame, so a message is taken whole or not at all."""
    push = make(zmq.PUSH, sndhwm=2)
    with dead_endpoint() as nowhere:
        push.connect(nowhere)
        push.send(b"first", zmq.DONTWAIT)
        for _ in range(20):
            push.send(b"part", zmq.DONTWAIT | zmq.SNDMORE)
        push.send(b"last", zmq.DONTWAIT)
        with refused(zmq, errno.EAGAIN):
            push.send(b"third", zmq.DONTWAIT | zmq.SNDMORE)


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_a_stream_transport_takes_a_finite_number_and_delivers_all_of_it_in_order(
    zmq, make, transport, ipc_address
):
    """S-03: SNDHWM + kernel buffers + RCVHWM; how many that is, nobody promises."""
    push, pull = make(zmq.PUSH, sndhwm=1), make(zmq.PULL, rcvhwm=1)
    push.connect(bind(pull, address_for(transport, ipc_address)))
    taken = 0
    while push.poll(200, zmq.POLLOUT):
        push.send(taken.to_bytes(4, "big") + bytes(100_000))
        taken += 1
        assert taken < 2_000, "200 MB in flight with a high-water mark of one"
    assert taken >= 2
    assert numbers(receive(pull, taken)) == list(range(taken))
    assert not pull.poll(0)


@pytest.mark.parametrize("connecter", ["PUSH", "PULL"])
@pytest.mark.parametrize(
    "send_hwm, recv_hwm, capacity", [(1000, 1000, 2000), (1, 1, 2), (3, 4, 7), (1, 1000, 1001)]
)
def test_an_inproc_queue_holds_both_high_water_marks_together(
    zmq, make, connecter, send_hwm, recv_hwm, capacity
):
    """S-04"""
    push, pull = make(zmq.PUSH, sndhwm=send_hwm), make(zmq.PULL, rcvhwm=recv_hwm)
    first, then = (pull, push) if connecter == "PUSH" else (push, pull)
    then.connect(bind(first, fresh_inproc()))
    assert send_until_full(zmq, push, capacity + 100) == capacity
    assert numbers(waiting(pull)) == list(range(capacity))


@pytest.mark.parametrize("send_hwm, recv_hwm", [(0, 1), (1, 0), (0, 0)])
def test_an_inproc_queue_has_no_limit_if_either_end_has_none(zmq, pipeline, send_hwm, recv_hwm):
    """S-04: 0 means unlimited."""
    push, pull = pipeline(send_hwm, recv_hwm)
    assert send_until_full(zmq, push, 5_000) == 5_000
    assert numbers(receive(pull, 5_000)) == list(range(5_000))


def test_an_inproc_connection_made_before_the_bind_has_the_same_capacity_afterwards(zmq, make):
    """S-04: both ends count once the name is bound, provided nothing was queued before."""
    push, pull = make(zmq.PUSH, sndhwm=3), make(zmq.PULL, rcvhwm=4)
    name = fresh_inproc()
    push.connect(name)
    pull.bind(name)
    assert send_until_full(zmq, push, 20) == 7


def test_before_the_bind_only_the_connecter_counts(zmq, make):
    """S-05: 3 fit before the bind; whether the bind makes room at once is left open (3 to 7)."""
    push, pull = make(zmq.PUSH, sndhwm=3), make(zmq.PULL, rcvhwm=4)
    name = fresh_inproc()
    push.connect(name)
    assert send_until_full(zmq, push, 20) == 3
    pull.bind(name)
    more = send_until_full(zmq, push, 20)
    assert 0 <= more <= 4
    assert numbers(receive(pull, 3 + more)) == [0, 1, 2, *range(more)]
    eventually(lambda: push.poll(0, zmq.POLLOUT))


def test_a_full_sender_wakes_only_when_the_reader_made_some_room(zmq, pipeline):
    """S-06: the low-water mark. Hysteresis: more than one read is needed, at most all."""
    push, pull = pipeline(10, 10)
    assert send_until_full(zmq, push, 100) == 20
    reads = 0
    while not push.poll(0, zmq.POLLOUT):
        assert pull.recv(zmq.DONTWAIT) == reads.to_bytes(4, "big")
        reads += 1
    assert 1 < reads <= 20
    push.send(b"goes again", zmq.DONTWAIT)


def test_reads_make_room_by_halves_of_the_queue_only(zmq, pipeline):
    """S-06, of a sender that was never full: so no more is under way than both marks together,
    whatever the reader does until it has read half."""
    push, pull = pipeline(10, 10)
    for i in range(9):
        push.send(i.to_bytes(4, "big"))
        assert numbers([pull.recv_multipart()]) == [i]
    assert send_until_full(zmq, push, 100) == 11
    assert numbers([pull.recv_multipart()]) == [0]
    assert push.poll(0, zmq.POLLOUT)
    assert send_until_full(zmq, push, 100) == 10


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_raising_a_high_water_mark_makes_room_in_live_connections(zmq, pipeline, side):
    """S-07: 1+1 becomes 1+5."""
    push, pull = pipeline(1, 1)
    if side == "sender":
        push.sndhwm = 5
    else:
        pull.rcvhwm = 5
    assert push.poll(0, zmq.POLLOUT)
    assert send_until_full(zmq, push, 100) == 6


def test_lowering_a_high_water_mark_drops_nothing(zmq, pipeline, on_libzmq):
    """S-07: what was accepted stays; the new mark holds from then on.

    libzmq's sender is then stuck for good: the reader still counts by the old low-water mark.
    """
    push, pull = pipeline(10, 1)
    assert send_until_full(zmq, push, 100) == 11
    push.sndhwm = 2
    assert not push.poll(0, zmq.POLLOUT)
    assert numbers(receive(pull, 11)) == list(range(11))
    if not on_libzmq:
        eventually(lambda: push.poll(0, zmq.POLLOUT))
        assert send_until_full(zmq, push, 100) == 2, "the eleventh read is half of a half"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_back_pressure_loses_nothing(zmq, make, transport, ipc_address):
    """S-08: the receiver stops reading at its RCVHWM and takes up exactly where it stopped."""
    push, pull = make(zmq.PUSH, sndhwm=10), make(zmq.PULL, rcvhwm=1)
    push.connect(bind(pull, address_for(transport, ipc_address)))
    count, wide = 5_000, bytes(3_000)

    def send():
        for n in range(count):
            push.send_multipart([n.to_bytes(4, "big"), wide if n % 7 == 0 else b""])

    sender = Background(send)
    for n in range(count):
        assert pull.recv_multipart() == [n.to_bytes(4, "big"), wide if n % 7 == 0 else b""]
    sender.result()


def test_a_stopped_reader_stops_the_sender(zmq, make):
    """S-08: nobody reads, so the sender is blocked in the end, not buffered without bound."""
    push, pull = make(zmq.PUSH, sndhwm=1, sndtimeo=200), make(zmq.PULL, rcvhwm=1)
    push.connect(bind(pull))
    with refused(zmq, errno.EAGAIN):
        for _ in range(1_000):
            push.send(bytes(200_000))
    assert len(pull.recv()) == 200_000


@pytest.fixture
def publisher(zmq, make):
    """publisher(send_hwm, *recv_hwms) -> an XPUB and its subscribers to everything, over inproc."""

    def make_publisher(send_hwm: int, *recv_hwms: int, **options):
        pub = make(zmq.XPUB, sndhwm=send_hwm, **options)
        name = bind(pub, fresh_inproc())
        subs = [make(zmq.SUB, rcvhwm=hwm, rcvtimeo=0) for hwm in recv_hwms]
        for s in subs:
            s.subscribe(b"")
            s.connect(name)
        eventually(lambda: pub.poll(0))
        for _ in subs:  # reading the subscription is what makes sure that it holds
            if pub.poll(100):
                assert pub.recv() == b"\x01"
        return pub, subs

    return make_publisher


def test_a_publisher_drops_the_newest_for_a_slow_subscriber_only(zmq, publisher):
    """S-09: 5+5 over inproc keeps exactly the first 10; the other subscriber gets everything."""
    pub, (slow, fast) = publisher(5, 5, 0)
    for n in range(30):
        assert pub.poll(0, zmq.POLLOUT)
        pub.send_multipart([n.to_bytes(4, "big"), b"tail"], zmq.DONTWAIT)
    assert pub.poll(0, zmq.POLLOUT)
    whole = [[n.to_bytes(4, "big"), b"tail"] for n in range(30)]
    assert waiting(slow) == whole[:10]
    assert waiting(fast) == whole


def test_a_slow_subscriber_misses_runs_of_messages(zmq, publisher):
    """S-10: once it missed one it misses more, until it has read down to the low-water mark."""
    pub, (sub,) = publisher(5, 5)
    got, n = [], 0
    for _ in range(200):
        for _ in range(3):
            pub.send(n.to_bytes(4, "big"))
            n += 1
        if sub.poll(0):
            got += numbers([[sub.recv()]])
        pub.poll(0)
    got += numbers(waiting(sub))
    assert got == sorted(set(got))
    assert got[:10] == list(range(10))
    gaps = [b - a - 1 for a, b in itertools.pairwise(got) if b - a > 1]
    assert len(gaps) > 5
    assert sum(gaps) / len(gaps) > 2, "losses come one by one"


def test_a_publisher_that_must_not_drop_says_that_it_is_full(zmq, publisher):
    """S-11: XPUB_NODROP: 10 sends, then EAGAIN, and what was refused reaches nobody."""
    pub, (slow, fast) = publisher(5, 5, 0, xpub_nodrop=1)
    assert send_until_full(zmq, pub, 100) == 10
    assert numbers(waiting(fast)) == list(range(10))
    assert numbers(waiting(slow)) == list(range(10))
    eventually(lambda: send_until_full(zmq, pub, 1))
    assert numbers(waiting(fast)) == numbers(waiting(slow)) == [0]


def test_a_full_subscriber_refuses_only_what_it_subscribed_to(zmq, make):
    """S-11: XPUB_NODROP looks at the matching pipes alone."""
    pub = make(zmq.XPUB, sndhwm=1, xpub_nodrop=1)
    full, other = make(zmq.SUB, rcvhwm=1), make(zmq.SUB, rcvhwm=0)
    name = bind(pub, fresh_inproc())
    full.subscribe(b"a")
    other.subscribe(b"b")
    for s in (full, other):
        s.connect(name)
        assert pub.recv() in (b"\x01a", b"\x01b")
    pub.send(b"a1")
    pub.send(b"a2")
    with refused(zmq, errno.EAGAIN):
        pub.send(b"a3", zmq.DONTWAIT)
    pub.send(b"b1", zmq.DONTWAIT)
    assert other.recv() == b"b1"


def test_conflate_keeps_only_the_last_message(conflating):
    """S-12"""
    sender, receiver = conflating
    for n in range(5):
        sender.send(b"%d" % n)
    eventually(lambda: receiver.recv() == b"4")
    assert not receiver.poll(0)


@pytest.fixture(params=["PUSH-PULL", "DEALER-DEALER", "PUB-SUB"])
def conflating(request, zmq, make):
    """A sender and a receiver that conflates, over inproc."""
    send_kind, recv_kind = request.param.split("-")
    sender, receiver = make(getattr(zmq, send_kind)), make(getattr(zmq, recv_kind), conflate=1)
    if recv_kind == "SUB":
        receiver.subscribe(b"")
    receiver.connect(bind(sender, fresh_inproc()))
    if send_kind != "PUB":
        connected(sender)
    else:  # until the subscription has arrived
        eventually(lambda: (sender.send(b"0"), receiver.poll(10))[1])
        receiver.recv()
    return sender, receiver


def test_conflate_keeps_one_message_while_there_is_no_connection(zmq, make):
    """S-12: the high-water mark means nothing to a conflating queue."""
    push, pull = make(zmq.PUSH, conflate=1, sndhwm=1), make(zmq.PULL)
    with dead_endpoint() as nowhere:
        push.reconnect_ivl = 10
        push.connect(nowhere)
        for n in range(100):
            push.send(b"%d" % n, zmq.DONTWAIT)
    rebind(zmq, pull, nowhere)
    assert pull.recv() == b"99"
    assert not pull.poll(50)


def test_conflate_takes_multipart_messages_apart(zmq, make):
    """S-12: frames conflate one by one, as with libzmq: documented as not to be combined."""
    push, pull = make(zmq.PUSH), make(zmq.PULL, conflate=1)
    pull.connect(bind(push, fresh_inproc()))
    push.send_multipart([b"x", b"y"])
    push.send_multipart([b"x2", b"y2"])
    assert pull.recv_multipart() == [b"y2"]
    assert not pull.poll(0)


@pytest.mark.parametrize("kind", ["PAIR", "ROUTER", "XPUB", "REP"])
def test_conflate_does_nothing_for_types_it_is_not_for(zmq, make, kind):
    """S-12: accepted everywhere, effective for DEALER, PULL, PUSH, PUB and SUB only."""
    s = make(getattr(zmq, kind), conflate=1)
    assert s.conflate == 1
    if kind == "PAIR":
        peer = make(zmq.PAIR)
        peer.connect(bind(s, fresh_inproc()))
        peer.send(b"one")
        peer.send(b"two")
        assert receive(s, 2) == [[b"one"], [b"two"]]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_conflate_leaves_requests_and_replies_whole(zmq, make, transport, ipc_address):
    """S-12: a REQ or REP that conflates would take its own envelopes apart."""
    rep, req = make(zmq.REP, conflate=1), make(zmq.REQ, conflate=1)
    req.connect(bind(rep, address_for(transport, ipc_address)))
    req.send(b"question")
    assert rep.recv() == b"question"
    rep.send(b"answer")
    assert req.recv() == b"answer"


def test_conflate_replaces_what_poll_has_seen(zmq, make):
    """S-12: the message that is read is the last one by then, not by the time of the poll."""
    push, pull = make(zmq.PUSH), make(zmq.PULL, conflate=1)
    pull.connect(bind(push, fresh_inproc()))
    push.send(b"1")
    assert pull.poll(30_000)
    push.send(b"2")
    push.send(b"3")
    assert pull.recv() == b"3"
    assert not pull.poll(0)


def test_conflate_keeps_all_subscriptions(zmq, make, on_libzmq):
    """S-12: it is messages that it keeps the last of."""
    if on_libzmq:
        pytest.skip("libzmq conflates subscriptions too")
    pub, sub = make(zmq.PUB), make(zmq.SUB, conflate=1)
    sub.connect(bind(pub, fresh_inproc()))
    sub.subscribe(b"A")
    sub.subscribe(b"B")
    pub.send(b"A1")
    assert sub.recv() == b"A1"


def _segments_in(sock: socket.socket) -> int:
    """How many TCP segments with data came in (tcp_info.tcpi_data_segs_in, Linux 4.6)."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    return struct.unpack_from("=I", info, 152)[0]


def test_queued_small_messages_share_sends(zmq, make):
    """S-13: 1000 messages of 64 bytes leave in far fewer than 1000 segments."""
    push = make(zmq.PUSH, sndhwm=0)
    with RawListener() as server:
        push.connect(server.endpoint)
        for _ in range(1000):
            push.send(bytes(64))
        with server.accept() as peer:
            peer.handshake("PULL")
            before = _segments_in(peer.sock)
            peer.recv_exactly(1000 * 66)
            assert _segments_in(peer.sock) - before < 200


def test_a_burst_on_a_live_connection_shares_sends(zmq, make):
    """S-13: also without a backlog, a tight loop of sends is not a send call each."""
    push = make(zmq.PUSH, sndhwm=0)
    with RawListener() as server:
        push.connect(server.endpoint)
        with server.accept() as peer:
            peer.handshake("PULL")
            connected(push)
            before = _segments_in(peer.sock)
            for _ in range(5000):
                push.send(bytes(64))
            peer.recv_exactly(5000 * 66)
            assert _segments_in(peer.sock) - before < 2500


@pytest.mark.parametrize("count", [1, 2, 50])
def test_messages_leave_without_any_further_call(zmq, make, count):
    """S-14: whatever the engine does to batch, the last message of a burst is not kept back."""
    push = make(zmq.PUSH)
    with RawListener() as server:
        push.connect(server.endpoint)
        with server.accept() as peer:
            peer.handshake("PULL")
            connected(push)
            for turn in range(3):
                for n in range(count):
                    push.send(b"%04d" % n)
                for n in range(count):
                    assert peer.recv_exactly(6) == b"\x00\x04%04d" % n, turn


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_sender_that_never_waits_gets_through_in_the_end(zmq, make, transport, ipc_address):
    """S-15: room may show late to a loop of DONTWAIT sends, but it shows."""
    push, pull = make(zmq.PUSH, sndhwm=2), make(zmq.PULL, rcvhwm=2)
    push.connect(bind(pull, address_for(transport, ipc_address)))
    connected(push)
    payload = bytes(200_000)
    sent = 0
    while push.poll(50, zmq.POLLOUT):
        push.send(payload)
        sent += 1
    receive(pull, sent)
    eventually(lambda: send_until_full(zmq, push, 1, payload))
    assert len(pull.recv()) == 200_004


def _resident() -> int:
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif("san.so" in os.environ.get("LD_PRELOAD", ""), reason="sanitizers keep memory")
def test_a_kept_small_frame_does_not_keep_its_surroundings(zmq, make):
    """S-16: 300 kept frames of 100 bytes, out of 77 MB, cost far less than those 77 MB."""
    push, pull = make(zmq.PUSH, sndhwm=10), make(zmq.PULL, rcvhwm=10)
    push.connect(bind(pull))
    big = bytes(256 * 1024)

    def send():
        for n in range(300):
            push.send(b"%0100d" % n)
            push.send(big)

    sender = Background(send)
    kept = []
    before = _resident()
    for _ in range(300):
        kept.append(pull.recv(copy=False))
        assert len(pull.recv(copy=False)) == len(big)
    sender.result()
    assert _resident() - before < 30_000_000
    assert [f.bytes for f in kept] == [b"%0100d" % n for n in range(300)]


@pytest.mark.parametrize("size", [10, 33, 34, 100, 1000, 5000, 9000, 70_000])
def test_a_received_frame_never_changes_afterwards(zmq, make, size):
    """S-16: what a frame shows is frozen, however much is received later."""
    push, pull = make(zmq.PUSH), make(zmq.PULL)
    push.connect(bind(pull))
    for n in range(100):
        push.send(bytes([n]) * size)
    kept = [pull.recv(copy=False) for _ in range(100)]
    for _ in range(100):
        push.send(b"\xff" * size)
        pull.recv()
    assert [f.bytes for f in kept] == [bytes([n]) * size for n in range(100)]


def _fill(send) -> None:
    """Sends until it would block for as long as SNDTIMEO says; no more than a queue can hold."""
    for _ in range(10_000):
        send()
    raise AssertionError("never full")


def _no_drop(zmq, make):
    """An XPUB that may not drop, and one slow subscriber."""
    pub, sub = make(zmq.XPUB, sndhwm=5, xpub_nodrop=1), make(zmq.SUB, rcvhwm=5)
    sub.connect(bind(pub, fresh_inproc()))
    sub.subscribe(b"")
    assert pub.recv() == b"\x01"
    return pub, lambda: pub.send(b"x"), lambda: sub.recv(zmq.DONTWAIT)


def _mandatory(zmq, make):
    """A ROUTER with a slow peer and one that has room."""
    router = make(zmq.ROUTER, sndhwm=5, router_mandatory=1)
    address = bind(router, fresh_inproc())
    slow, other = (make(zmq.DEALER, rcvhwm=5, identity=name) for name in (b"slow", b"other"))
    for dealer in (slow, other):
        dealer.connect(address)
        dealer.send(b"here")
        assert router.recv_multipart() == [dealer.identity, b"here"]
    send = functools.partial(router.send_multipart, [b"slow", b"x"])
    return router, send, lambda: (slow.recv(zmq.DONTWAIT), other)


def _stream(zmq, make):
    """A STREAM whose peer does not read; what it is sent comes by the megabyte."""
    stream = make(zmq.STREAM, sndhwm=5)
    bind(stream)
    peer = socket.create_connection(("127.0.0.1", port_of(stream)), 10)
    name, empty = stream.recv_multipart()
    assert empty == b""
    return stream, lambda: stream.send_multipart([name, bytes(1 << 20)]), peer


@pytest.fixture(params=["nodrop", "mandatory", "stream"])
def one_full_peer(request, zmq, make):
    """(socket, send, recv) where one peer is full and POLLOUT stands all the same.

    recv() reads for that peer, and raises what says so when nothing is there.
    """
    peer = None
    if request.param == "stream":
        s, send, peer = _stream(zmq, make)
    else:
        s, send, recv = {"nodrop": _no_drop, "mandatory": _mandatory}[request.param](zmq, make)
    s.sndtimeo = 50
    with pytest.raises(zmq.Again):
        _fill(send)
    assert s.events & zmq.POLLOUT
    yield s, send, (lambda: peer.recv(1 << 22, socket.MSG_DONTWAIT)) if peer else recv
    if peer:
        peer.close()


def test_a_send_to_a_full_peer_ends_in_time_though_others_have_room(zmq, one_full_peer):
    """S-11, S-59, S-64: SNDTIMEO holds where POLLOUT says nothing about this message."""
    s, send, _ = one_full_peer
    s.sndtimeo = 20
    with pytest.raises(zmq.Again):
        _fill(send)  # there may have been room, if the reader is slow to take in what it can


def test_a_send_to_a_full_peer_sleeps_until_that_one_reads(zmq, one_full_peer):
    """S-11, S-59, S-64: it does not ask again and again, and needs no other sign than room."""
    s, send, recv = one_full_peer
    s.sndtimeo = 30_000
    sending = Background(send).blocked()
    while sending.still_runs(0.001):
        with contextlib.suppress(zmq.Again, BlockingIOError):
            recv()
    sending.result()
