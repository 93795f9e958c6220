"""STREAM sockets: TCP without ZMTP (S-64)."""

from __future__ import annotations

import errno
import socket

import pytest
from support import (
    RawListener,
    RawPeer,
    errno_of,
    eventually,
    free_port,
    monitored,
    port_of,
    wait_for_event,
)
from support.zmtp import greeting


@pytest.fixture
def served(zmq, make):
    """A bound STREAM."""

    def make_served(**options):
        s = make(zmq.STREAM, **options)
        s.bind("tcp://127.0.0.1:*")
        return s

    return make_served


def receive(s, n: int) -> tuple[bytes, bytes]:
    """(id, n bytes) from one connection, however they were cut."""
    peer, data = s.recv_multipart()
    while len(data) < n:
        again, more = s.recv_multipart()
        assert again == peer
        assert more, "the connection ended"
        data += more
    return peer, data


def test_a_connection_is_told_by_an_empty_part(served):
    """S-64: [id, b""] when it comes and when it goes; ids are five bytes."""
    s = served()
    with RawPeer.connect(port_of(s)):
        peer, empty = s.recv_multipart()
        assert (len(peer), peer[0], empty) == (5, 0, b"")
    assert s.recv_multipart() == [peer, b""]


def test_bytes_go_as_they_are(served):
    """S-64: no framing, no greeting, both ways."""
    s = served()
    with RawPeer.connect(port_of(s)) as raw:
        peer, _ = s.recv_multipart()
        raw.send(b"hello")
        assert receive(s, 5) == (peer, b"hello")
        s.send_multipart([peer, b"HTTP/1.0 200 OK\r\n\r\n"])
        s.send_multipart([peer, b"more"])
        assert raw.recv_exactly(23) == b"HTTP/1.0 200 OK\r\n\r\nmore"


def test_every_part_received_belongs_to_one_connection(served):
    """S-64: [id, data], one at a time; two connections do not mix."""
    s = served()
    with RawPeer.connect(port_of(s)) as a:
        id_a, _ = s.recv_multipart()
        with RawPeer.connect(port_of(s)) as b:
            id_b, _ = s.recv_multipart()
            assert id_a != id_b
            for i in range(20):
                a.send(b"a%02d" % i)
                b.send(b"b%02d" % i)
            got = {id_a: b"", id_b: b""}
            while any(len(v) < 60 for v in got.values()):
                peer, data = s.recv_multipart()
                got[peer] += data
            assert got[id_a] == b"".join(b"a%02d" % i for i in range(20))
            assert got[id_b] == b"".join(b"b%02d" % i for i in range(20))


def test_without_notify_only_data_is_told(zmq, served):
    """S-64, semantics.md#socket-options: STREAM_NOTIFY=0."""
    s = served(stream_notify=0)
    m = monitored(s)
    with RawPeer.connect(port_of(s)) as raw:
        raw.send(b"x")
        _, data = s.recv_multipart()
        assert data == b"x"
    wait_for_event(m, zmq.EVENT_DISCONNECTED)
    _ = s.events
    assert not s.poll(0)


def test_an_empty_part_closes_the_connection(served):
    """S-64: sending [id, b""]."""
    s = served()
    with RawPeer.connect(port_of(s)) as raw:
        peer, _ = s.recv_multipart()
        s.send_multipart([peer, b""])

        def closed():
            _ = s.events
            return raw.closed_by_peer(0.02)

        eventually(closed)


def test_an_unknown_connection_is_unreachable(served, zmq):
    """S-64: EHOSTUNREACH; and so is one that has gone."""
    s = served()
    unknown = b"\0none"
    flags = zmq.SNDMORE | zmq.DONTWAIT
    assert errno_of(zmq.ZMQError, s.send, unknown, flags) == errno.EHOSTUNREACH
    with RawPeer.connect(port_of(s)):
        peer, _ = s.recv_multipart()
    assert s.recv_multipart() == [peer, b""]

    def gone():  # libzmq says EAGAIN until it has looked for more to read (S-54)
        _ = s.events
        try:
            s.send_multipart([peer, b"x"], zmq.DONTWAIT)
        except zmq.ZMQError as e:
            return e.errno == errno.EHOSTUNREACH
        return False

    eventually(gone)


def test_a_single_part_is_swallowed(served):
    """S-64: an id without MORE goes nowhere."""
    s = served()
    with RawPeer.connect(port_of(s)) as raw:
        peer, _ = s.recv_multipart()
        s.send(peer)
        s.send(b"nobody's data")
        s.send_multipart([peer, b"x"])
        assert raw.recv_exactly(1) == b"x"


def test_more_after_the_data_makes_no_difference(zmq, served):
    """S-64: each [id, data] stands for itself."""
    s = served()
    with RawPeer.connect(port_of(s)) as raw:
        peer, _ = s.recv_multipart()
        s.send(peer, zmq.SNDMORE)
        s.send(b"one", zmq.SNDMORE)
        s.send(peer, zmq.SNDMORE)
        s.send(b"two")
        assert raw.recv_exactly(6) == b"onetwo"


def test_a_connecting_stream_knows_its_id_from_routing_id(zmq, make):
    """S-64: readable after connect; the connect is told as well."""
    with RawListener() as mock:
        s = make(zmq.STREAM)
        s.connect(mock.endpoint)
        name = s.getsockopt(zmq.ROUTING_ID)
        raw = mock.accept()
        assert s.recv_multipart() == [name, b""]
        s.send_multipart([name, b"GET /"])
        assert raw.recv_exactly(5) == b"GET /"
        raw.send(b"200")
        assert receive(s, 3) == (name, b"200")


def test_a_connection_can_be_named_before_connect(zmq, make):
    """S-62, connect_rid: CONNECT_ROUTING_ID works for STREAM."""
    with RawListener() as mock:
        s = make(zmq.STREAM)
        s.connect_routing_id = b"server"
        s.connect(mock.endpoint)
        raw = mock.accept()
        assert s.recv_multipart() == [b"server", b""]
        s.send_multipart([b"server", b"hi"])
        assert raw.recv_exactly(2) == b"hi"


def test_two_streams_talk(zmq, make, served):
    """stream: both ends notified, data as bytes, end told (stream_disconnect)."""
    server, client = served(), make(zmq.STREAM)
    client.connect(server.LAST_ENDPOINT)
    there, empty = client.recv_multipart()
    assert empty == b""
    here, empty = server.recv_multipart()
    assert empty == b""
    client.send_multipart([there, b"question"])
    assert receive(server, 8) == (here, b"question")
    server.send_multipart([here, b"answer"])
    assert receive(client, 6) == (there, b"answer")
    server.send_multipart([here, b""])

    def told():
        _ = server.events
        return client.poll(20)

    eventually(told)
    assert client.recv_multipart() == [there, b""]


def test_a_stream_sees_the_greeting_of_a_dealer(zmq, make, served):
    """stream: byte for byte, and can shake hands by hand."""
    s = served()
    dealer = make(zmq.DEALER)
    dealer.connect(s.LAST_ENDPOINT)
    peer, _ = s.recv_multipart()
    assert receive(s, 10) == (peer, b"\xff" + bytes(7) + b"\x01\x7f")
    s.send_multipart([peer, greeting()])
    _, rest = receive(s, 54)
    assert rest[:54] == b"\x03\x01NULL" + bytes(48)


@pytest.mark.parametrize("size", [8191, 8192, 8193, 65_537, 1_000_000])
def test_a_stream_takes_more_than_its_buffer(served, size):
    """stream_exceeds_buffer: in pieces, complete and in order, both ways."""
    s = served()
    data = bytes(i * 7 & 0xFF for i in range(1000)) * (size // 1000 + 1)
    data = data[:size]
    with RawPeer.connect(port_of(s)) as raw:
        peer, _ = s.recv_multipart()
        sent = 0
        got = b""
        raw.sock.setblocking(False)
        while len(got) < size:
            try:
                sent += raw.sock.send(data[sent:])
            except BlockingIOError:
                pass
            while len(got) < size and s.poll(0 if sent < size else 30_000):
                piece = s.recv_multipart()
                assert piece[0] == peer
                got += piece[1]
        raw.sock.settimeout(10)
        assert got == data
        s.send_multipart([peer, data])
        assert raw.recv_exactly(size) == data


def test_a_stream_is_always_writable(served):
    """Appendix A: POLLOUT from birth."""
    assert served().events == 2


def test_a_stream_connects_again(zmq, make):
    """S-64: a new connection is told anew."""
    with RawListener() as mock:
        s = make(zmq.STREAM, reconnect_ivl=10)
        s.connect(mock.endpoint)
        first = mock.accept()
        name, empty = s.recv_multipart()
        assert empty == b""
        first.close()
        assert s.recv_multipart() == [name, b""]
        second = mock.accept()
        peer, empty = s.recv_multipart()
        assert empty == b""
        s.send_multipart([peer, b"again"])
        assert second.recv_exactly(5) == b"again"


def test_a_stream_peer_that_does_not_read_fills_up(zmq, served):
    """semantics.md#socket-types: EAGAIN at the high-water mark, the others go on."""
    s = served(sndhwm=2)
    with RawPeer.connect(port_of(s)) as deaf:
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer, _ = s.recv_multipart()

        def fill():
            for _ in range(2000):
                s.send(peer, zmq.DONTWAIT | zmq.SNDMORE)
                s.send(bytes(100_000), zmq.DONTWAIT)

        assert errno_of(zmq.Again, fill) == errno.EAGAIN
        with RawPeer.connect(port_of(s)) as raw:
            other, _ = s.recv_multipart()
            s.send_multipart([other, b"x"])
            assert raw.recv_exactly(1) == b"x"


def test_a_stream_over_ipc_works_alike_or_is_refused(zmq, make, ipc_address):
    """semantics.md#socket-types: raw TCP; whatever ipc does, it does no harm."""
    s = make(zmq.STREAM)
    try:
        s.bind(ipc_address)
    except zmq.ZMQError:
        return
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(ipc_address.removeprefix("ipc://"))
        peer, empty = s.recv_multipart()
        assert empty == b""
        s.send_multipart([peer, b"x"])
        raw.settimeout(10)
        assert raw.recv(1) == b"x"


def test_an_unreachable_stream_tells_nothing(zmq, make):
    """S-64: no connection, no message."""
    s = make(zmq.STREAM, reconnect_ivl=10)
    m = monitored(s)
    s.connect(f"tcp://127.0.0.1:{free_port()}")
    wait_for_event(m, zmq.EVENT_CONNECT_RETRIED, times=2)
    assert not s.poll(0)


# --- ROUTER_RAW -----------------------------------------------------------------------------------


def test_a_raw_router_is_told_who_comes_and_goes(zmq, make):
    """S-64: as a STREAM: an empty message each time, and bytes without framing in between."""
    router = make(zmq.ROUTER, router_raw=True)
    router.bind("tcp://127.0.0.1:*")
    with RawPeer.connect(port_of(router)) as raw:
        peer, empty = router.recv_multipart()
        assert (len(peer), empty) == (5, b"")
        raw.send(b"hello")
        assert receive(router, 5) == (peer, b"hello")
        router.send_multipart([peer, b"bytes"])
        assert raw.recv_exactly(5) == b"bytes"
    assert router.recv_multipart() == [peer, b""]


def test_a_raw_router_that_connects_is_told_each_time(zmq, make):
    router = make(zmq.ROUTER, router_raw=True, reconnect_ivl=5)
    with RawListener() as listener:
        router.connect(listener.endpoint)
        for _ in range(2):
            with listener.accept():
                peer, empty = router.recv_multipart()
                assert empty == b""
            assert router.recv_multipart() == [peer, b""]


def test_over_inproc_nothing_is_announced_and_there_is_room_again(zmq, make):
    """A link that waited for its bind: the first that is read is what the other side sent."""
    stream = make(zmq.STREAM, rcvhwm=2)
    stream.connect("inproc://plain")
    other = make(zmq.PAIR, sndhwm=2)
    other.bind("inproc://plain")
    for number in range(20):  # several times the room of both
        other.send(b"%d" % number)
        assert stream.recv_multipart()[1] == b"%d" % number
