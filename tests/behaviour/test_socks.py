"""Connecting through a SOCKS5 proxy (S-107; RFC 1928, RFC 1929). The proxy is this test."""

from __future__ import annotations

import socket

import pytest
from support import RawListener, deliver, monitored, wait_for_event

GRANTED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34"
TARGET = "tcp://10.11.12.13:5555"


@pytest.fixture
def proxy():
    with RawListener() as listener:
        yield listener


@pytest.fixture
def connecting(zmq, make, proxy):
    """connecting(address, **options) -> a DEALER on its way through the proxy."""
    alive = []  # a socket that nobody refers to is closed

    def make_connecting(address=TARGET, **options):
        s = make(zmq.DEALER, reconnect_ivl=10, socks_proxy=b"127.0.0.1:%d" % proxy.port, **options)
        s.connect(address)
        alive.append(s)
        return s

    yield make_connecting
    alive.clear()


def greet(peer, methods: bytes = b"\x00", chosen: int = 0) -> None:
    """The first round: version and methods offered; one is chosen."""
    assert peer.recv_exactly(2) == bytes([5, len(methods)])
    assert peer.recv_exactly(len(methods)) == methods
    peer.send(bytes([5, chosen]))


def read_request(peer) -> tuple[int, bytes, int]:
    """(address type, address, port) of the CONNECT."""
    assert peer.recv_exactly(3) == b"\x05\x01\x00"
    (kind,) = peer.recv_exactly(1)
    size = {1: 4, 4: 16}.get(kind) or peer.recv_exactly(1)[0]
    address = peer.recv_exactly(size)
    return kind, address, int.from_bytes(peer.recv_exactly(2), "big")


def converse(s, peer) -> None:
    """Behind the proxy there is ZMTP."""
    peer.handshake("DEALER", b"")
    s.send(b"ping")
    assert peer.recv_message() == [b"ping"]
    peer.send_message(b"pong")
    assert s.recv() == b"pong"


@pytest.mark.parametrize(
    ("address", "wanted", "ipv6"),
    [
        (TARGET, (1, bytes([10, 11, 12, 13]), 5555), 0),
        ("tcp://no-such-host.invalid:80", (3, b"no-such-host.invalid", 80), 0),
        ("tcp://[::1]:65535", (4, socket.inet_pton(socket.AF_INET6, "::1"), 65535), 1),
        ("tcp://::1:65535", (4, socket.inet_pton(socket.AF_INET6, "::1"), 65535), 1),
        ("tcp://[::1]:65535", (4, socket.inet_pton(socket.AF_INET6, "::1"), 65535), 0),
        ("tcp://::1:65535", (4, socket.inet_pton(socket.AF_INET6, "::1"), 65535), 0),
    ],
)
def test_the_proxy_is_asked_for_the_address_as_given(connecting, proxy, address, wanted, ipv6):
    """S-107: literals as addresses, names as names: the proxy resolves them."""
    s = connecting(address, ipv6=ipv6)
    peer = proxy.accept()
    greet(peer)
    assert read_request(peer) == wanted
    peer.send(GRANTED)
    converse(s, peer)


@pytest.mark.parametrize(
    "bound",
    [
        b"\x01\x7f\x00\x00\x01",
        b"\x03\x09localhost",
        b"\x03\x01x",
        b"\x03\xff" + b"n" * 255,
        b"\x04" + bytes(16),
    ],
    ids=["ipv4", "a name", "a short name", "a long name", "ipv6"],
)
@pytest.mark.parametrize("bytewise", [False, True])
def test_the_answer_may_name_any_address(connecting, proxy, bound, bytewise, on_libzmq):
    """S-107: it is read to its end, however it arrives, and nothing beyond."""
    if on_libzmq and len(bound) > 255:
        pytest.skip("libzmq stops reading a little before the end")
    s = connecting()
    peer = proxy.accept()
    greet(peer)
    read_request(peer)
    answer = b"\x05\x00\x00" + bound + b"\x00\x50"
    cuts = [*range(1, min(len(answer), 24)), *range(24, len(answer), 16)]
    deliver(peer, answer, cuts if bytewise else [])
    converse(s, peer)


@pytest.mark.parametrize(
    ("user", "password"), [(b"user", b"secret"), (b"u", b"p"), (b"u" * 255, b"p" * 255)]
)
def test_a_user_name_is_told_to_the_proxy(connecting, proxy, user, password):
    """S-107: method 2, RFC 1929."""
    s = connecting(socks_username=user, socks_password=password)
    peer = proxy.accept()
    version, count = peer.recv_exactly(2)
    assert version == 5 and 2 in peer.recv_exactly(count)
    peer.send(b"\x05\x02")
    login = bytes([1, len(user)]) + user + bytes([len(password)]) + password
    assert peer.recv_exactly(len(login)) == login
    peer.send(b"\x01\x00")
    assert read_request(peer)[0] == 1
    peer.send(GRANTED)
    converse(s, peer)


def test_an_empty_user_name_is_none(connecting, proxy):
    """S-107: "" goes back to method 0."""
    s = connecting(socks_username=b"", socks_password=b"")
    peer = proxy.accept()
    greet(peer)
    read_request(peer)
    peer.send(GRANTED)
    converse(s, peer)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"\x05\xff", id="no method"),
        pytest.param(b"\x05\x01", id="a method not offered"),
        pytest.param(b"\x04\x00", id="another version"),
    ],
)
def test_a_proxy_that_does_not_agree_is_tried_again(zmq, connecting, proxy, answer):
    """S-107: the first round fails like a connect."""
    s = connecting()
    peer = proxy.accept()
    assert peer.recv_exactly(3) == b"\x05\x01\x00"
    peer.send(answer)
    assert peer.closed_by_peer()
    peer = proxy.accept()
    greet(peer)
    read_request(peer)
    peer.send(GRANTED)
    converse(s, peer)


@pytest.mark.parametrize("answer", [b"\x01\x01", b"\x01\xff", b"\x05\x00"])
def test_a_refused_login_is_tried_again(connecting, proxy, answer, on_libzmq):
    """S-107: anything but 01 00."""
    if on_libzmq:
        pytest.skip("libzmq aborts when it connects again")
    connecting(socks_username=b"user", socks_password=b"wrong")
    for _ in range(2):
        peer = proxy.accept()
        _, count = peer.recv_exactly(2)
        peer.recv_exactly(count)
        peer.send(b"\x05\x02")
        peer.recv_exactly(1 + 1 + 4 + 1 + 5)
        peer.send(answer)
        assert peer.closed_by_peer()


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 7, 8, 255])
def test_a_connect_that_the_proxy_refuses_is_tried_again(connecting, proxy, code, on_libzmq):
    """S-107: every code but 0."""
    if on_libzmq:
        pytest.skip("libzmq aborts when it connects again")
    connecting()
    for _ in range(2):
        peer = proxy.accept()
        greet(peer)
        read_request(peer)
        peer.send(bytes([5, code]) + GRANTED[2:])
        assert peer.closed_by_peer()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"\x04" + GRANTED[1:], id="another version"),
        pytest.param(GRANTED[:3] + b"\x02" + GRANTED[4:], id="an unknown address type"),
    ],
)
def test_a_malformed_answer_is_tried_again(connecting, proxy, answer, on_libzmq):
    """S-107."""
    if on_libzmq:
        pytest.skip("libzmq aborts when it connects again")
    connecting()
    for _ in range(2):
        peer = proxy.accept()
        greet(peer)
        read_request(peer)
        peer.send(answer)
        assert peer.closed_by_peer()


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_proxy_that_hangs_up_is_tried_again(connecting, proxy, step):
    """S-107: at any step."""
    s = connecting()
    peer = proxy.accept()
    if step > 0:
        greet(peer)
    if step > 1:
        read_request(peer)
    peer.close()
    peer = proxy.accept()
    greet(peer)
    read_request(peer)
    peer.send(GRANTED)
    converse(s, peer)


def test_a_connection_that_breaks_behind_the_proxy_comes_back_through_it(connecting, proxy):
    """S-107, S-20."""
    s = connecting()
    for _ in range(3):
        peer = proxy.accept()
        greet(peer)
        assert read_request(peer) == (1, bytes([10, 11, 12, 13]), 5555)
        peer.send(GRANTED)
        converse(s, peer)
        peer.close()


def test_connected_is_told_once_the_proxy_agreed(zmq, make, proxy):
    """S-107: CONNECTED, then the handshake of ZMTP."""
    s = make(zmq.DEALER, socks_proxy=b"127.0.0.1:%d" % proxy.port)
    m = monitored(s)
    s.connect(TARGET)
    peer = proxy.accept()
    greet(peer)
    read_request(peer)
    peer.send(GRANTED)
    converse(s, peer)
    events = [e for e, *_ in wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)]
    assert events[-2:] == [zmq.EVENT_CONNECTED, zmq.EVENT_HANDSHAKE_SUCCEEDED]


def test_other_transports_and_binds_need_no_proxy(zmq, make, proxy, ipc_address):
    """S-107: tcp connect only."""
    for address in ("tcp://127.0.0.1:*", ipc_address):
        a = make(zmq.DEALER, socks_proxy=b"127.0.0.1:%d" % proxy.port)
        a.bind(address)
        b = make(zmq.DEALER)
        if address == ipc_address:
            b.socks_proxy = b"127.0.0.1:%d" % proxy.port
        b.connect(a.LAST_ENDPOINT)
        b.send(b"x")
        assert a.recv() == b"x"
    assert proxy.nobody_comes(0.05)
