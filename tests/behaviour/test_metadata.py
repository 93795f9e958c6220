"""Properties of received messages (semantics.md#messages-and-properties)."""

from __future__ import annotations

import errno
import os

import pytest
from support import RawListener, bind_over, errno_of, zmtp_connect
from support.zmtp import parse_properties

METADATA = 95


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_every_part_knows_its_connection(zmq, make, ipc_address, transport):
    """Socket-Type, Peer-Address, Identity; the id of ROUTER too (prefetch)."""
    router, dealer = make(zmq.ROUTER), make(zmq.DEALER, routing_id=b"abc")
    dealer.connect(bind_over(router, transport, ipc_address))
    dealer.send_multipart([b"1", b"2"])
    frames = router.recv_multipart(copy=False)
    assert [f.bytes for f in frames] == [b"abc", b"1", b"2"]
    if transport == "tcp":
        address = "127.0.0.1"
    else:
        address = f"localhost:{os.getuid()}:{os.getgid()}:{os.getpid()}"
    for f in frames:
        assert f.get("Socket-Type") == f["Socket-Type"] == "DEALER"
        assert f.get("Peer-Address") == address
        assert f.get("Identity") == "abc"
        assert f.get(b"Identity") == "abc"
    assert [f.get(zmq.MORE) for f in frames] == [1, 1, 0]
    assert [f.more for f in frames] == [True, True, False]


def test_a_poll_before_the_recv_loses_no_property(zmq, make):
    """metadata: ROUTER looks ahead, and keeps what it saw."""
    router, dealer = make(zmq.ROUTER), make(zmq.DEALER)
    dealer.connect(bind_over(router, "tcp", ""))
    dealer.send(b"x")
    assert router.poll(30_000)
    for f in router.recv_multipart(copy=False):
        assert f.get("Socket-Type") == "DEALER"


@pytest.mark.parametrize("pair", ["PUSH PULL", "PUB SUB", "PAIR PAIR", "REQ REP"])
def test_the_type_is_that_of_the_peer(zmq, make, pair):
    """semantics.md#messages-and-properties."""
    out, into = pair.split()
    a, b = make(getattr(zmq, out)), make(getattr(zmq, into))
    if into == "SUB":
        a.close()
        a = make(zmq.XPUB)
        b.subscribe(b"")
        out = "XPUB"
    b.connect(bind_over(a, "tcp", ""))
    if out == "XPUB":
        a.recv()
    a.send(b"x")
    frame = b.recv(copy=False)
    assert frame.get("Socket-Type") == out
    assert errno_of(zmq.ZMQError, frame.get, "User-Id") == errno.EINVAL


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_frame_knows_the_descriptor_it_came_by(zmq, make, ipc_address, transport):
    """SRCFD, and the property "__fd": of the connection, and so a socket of this process. What a
    peer says of itself does not count."""
    router = make(zmq.ROUTER)
    dealers = [make(zmq.DEALER, routing_id=b"%d" % n) for n in range(2)]
    address = bind_over(router, transport, ipc_address)
    found = {}
    for dealer in dealers:
        dealer.connect(address)
        dealer.send_multipart([b"1", b"2"])
        frames = router.recv_multipart(copy=False)
        (found[frames[0].bytes],) = {f.get(zmq.SRCFD) for f in frames}
        assert [f.get("__fd") for f in frames] == [str(frames[0].get(zmq.SRCFD))] * 3
        assert frames[1][b"__fd"] == frames[1].get("__fd")
    assert len({*found.values()}) == 2
    for fd in found.values():
        assert os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")


def test_a_peer_cannot_say_what_descriptor_it_is(zmq, make):
    pull = make(zmq.PULL)
    push = make(zmq.PUSH)
    push.setsockopt(METADATA, b"X-__fd:1")
    push.connect(bind_over(pull, "tcp", ""))
    push.send(b"x")
    frame = pull.recv(copy=False)
    assert frame.get("X-__fd") == "1"
    assert os.readlink(f"/proc/self/fd/{frame.get(zmq.SRCFD)}").startswith("socket:")


def test_inproc_has_no_properties(zmq, make):
    """semantics.md#messages-and-properties."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    b.connect(bind_over(a, "inproc", ""))
    a.send(b"x")
    frame = b.recv(copy=False)
    for name in ("Socket-Type", "Peer-Address", "Identity", "User-Id", "__fd", zmq.SRCFD):
        assert errno_of(zmq.ZMQError, frame.get, name) == errno.EINVAL


def test_a_frame_of_ones_own_has_no_properties(zmq):
    """A missing property and an unknown number are EINVAL; nothing can be set."""
    frame = zmq.Frame(b"x")
    assert errno_of(zmq.ZMQError, frame.get, "Socket-Type") == errno.EINVAL
    assert frame.get(zmq.MORE) == 0
    assert errno_of(zmq.ZMQError, frame.get, 99) == errno.EINVAL
    assert errno_of(zmq.ZMQError, frame.set, zmq.MORE, 1) == errno.EINVAL
    with pytest.raises(AttributeError):
        frame.no_such_option = 1


@pytest.mark.parametrize("kind", ["DEALER", "PUSH", "PUB"])
def test_metadata_of_ones_own_is_sent_in_ready(zmq, make, kind):
    """S-100, app_meta: after Socket-Type and Identity, sorted by name."""
    with RawListener() as mock:
        s = make(getattr(zmq, kind))
        s.setsockopt(METADATA, b"X-zebra:1")
        s.setsockopt(METADATA, b"X-key:some:value")
        s.connect(mock.endpoint)
        got = mock.accept().handshake({"DEALER": "DEALER", "PUSH": "PULL", "PUB": "SUB"}[kind])
        names = [b"Socket-Type"] + [b"Identity"] * (kind == "DEALER") + [b"X-key", b"X-zebra"]
        assert list(got) == names
        assert got[b"X-key"] == b"some:value"


@pytest.mark.parametrize("pair", ["DEALER ROUTER", "REQ REP", "PUSH PULL", "PAIR PAIR"])
def test_metadata_of_the_peer_can_be_read(zmq, make, pair):
    """S-100, app_meta."""
    a, b = (make(getattr(zmq, k)) for k in pair.split())
    a.setsockopt(METADATA, b"X-hello:hello")
    a.setsockopt(METADATA, b"X-connection:primary")
    a.connect(bind_over(b, "tcp", ""))
    a.send(b"x")
    frame = b.recv(copy=False)
    assert frame.get("X-hello") == "hello"
    assert frame["X-connection"] == "primary"
    assert errno_of(zmq.ZMQError, frame.get, "X-foobar") == errno.EINVAL


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"a:b",
        b"X-:b",
        b"X-ab",
        b"X-a:",
        b":b",
        b"hello:x",
        b"abcd",
        b"X-" + b"k" * 254 + b":v",
    ],
)
def test_malformed_metadata_is_refused(zmq, make, bad):
    """semantics.md#socket-options, METADATA: `X-key:value`, key up to 255."""
    s = make(zmq.DEALER)
    assert errno_of(zmq.ZMQError, s.setsockopt, METADATA, bad) == errno.EINVAL
    s.setsockopt(METADATA, b"X-" + b"k" * 253 + b":v")


def test_properties_of_a_raw_peer_can_be_read(zmq, make):
    """S-100: whatever stood in READY; values end at their first zero byte."""
    pull = make(zmq.PULL)
    pull.bind("tcp://127.0.0.1:*")
    with zmtp_connect(pull) as peer:
        peer.handshake("PUSH", b"raw", X_One=b"1", Resource=b"here\0hidden")
        peer.send_message(b"x")
        frame = pull.recv(copy=False)
        assert frame.get("X-One") == "1"
        assert frame.get("Identity") == "raw"
        assert frame.get("Resource") == "here"


def test_the_address_of_an_ipv6_peer(zmq, make):
    """S-43: v4 peers of a dual-stack socket are mapped."""
    for bind, connect, wanted in (
        ("tcp://*:*", "tcp://127.0.0.1:{}", "::ffff:127.0.0.1"),
        ("tcp://[::1]:*", "tcp://[::1]:{}", "::1"),
    ):
        a, b = make(zmq.PULL, ipv6=1), make(zmq.PUSH, ipv6=1)
        a.bind(bind)
        b.connect(connect.format(a.LAST_ENDPOINT.rsplit(b":", 1)[1].decode()))
        b.send(b"x")
        assert a.recv(copy=False).get("Peer-Address") == wanted


def test_properties_outlive_the_connection(zmq, make):
    """A message keeps what it knows, whatever becomes of its sender and its socket."""
    a, b = make(zmq.PULL), make(zmq.PUSH)
    b.connect(bind_over(a, "tcp", ""))
    b.send(b"x")
    frame = a.recv(copy=False)
    b.close()
    a.close()
    assert frame.get("Socket-Type") == "PUSH"
    assert frame.get("Peer-Address") == "127.0.0.1"


def test_parse_properties_is_right_itself():
    """The helper, against the bytes captured in protocol.md#commands."""
    data = bytes.fromhex("0b536f636b65742d54797065000000064445414c4552")
    data += bytes.fromhex("084964656e7469747900000003616263")
    assert parse_properties(data) == {b"Socket-Type": b"DEALER", b"Identity": b"abc"}
