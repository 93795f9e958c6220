"""What the options do to the descriptors, looked at from outside; and accept filters."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from support import bind_over, errno_of, monitored, rebind, wait_for_event


def look(fd: int, level: int, option: int) -> int:
    """An option of a descriptor that the engine told of; ours is a duplicate of it."""
    with socket.socket(fileno=os.dup(fd)) as s:
        return s.getsockopt(level, option)


@pytest.fixture
def connected(zmq, make):
    """connected(address, binder options, connecter options) -> (accepted fd, connected fd)"""
    alive = []  # a socket that nobody refers to is closed

    def make_connection(address="tcp://127.0.0.1:*", binder=(), connecter=()):
        a, b = make(zmq.PAIR, **dict(binder)), make(zmq.PAIR, **dict(connecter))
        alive.extend((a, b))
        am, bm = monitored(a), monitored(b)
        a.bind(address)
        b.connect(a.LAST_ENDPOINT)
        accepted = wait_for_event(am, zmq.EVENT_ACCEPTED)[-1][1]
        fd = wait_for_event(bm, zmq.EVENT_CONNECTED)[-1][1]
        wait_for_event(am, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        wait_for_event(bm, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        return accepted, fd

    yield make_connection
    alive.clear()


def test_small_messages_are_not_held_back_on_tcp(connected):
    """S-106: TCP_NODELAY on both sides, always."""
    for fd in connected():
        assert look(fd, socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def congestion_control(fd: int) -> str:
    with socket.socket(fileno=os.dup(fd)) as s:
        name = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return name.rstrip(b"\0").decode()


def test_large_messages_within_a_machine_are_not_paced(zmq, make, on_libzmq):
    """ADR 14: reno in the place of BBR on the side that sends, from the first large one on. Where
    the system's choice is another, it stays."""
    if on_libzmq:
        pytest.skip("what this engine does")
    with socket.socket() as s:
        chosen = congestion_control(s.fileno())
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    bm = monitored(b)
    a.bind("tcp://127.0.0.1:*")
    b.connect(a.LAST_ENDPOINT)
    fd = wait_for_event(bm, zmq.EVENT_CONNECTED)[-1][1]
    b.send(b"small")
    assert a.recv() == b"small"
    assert congestion_control(fd) == chosen
    b.send(bytes(100_000))
    assert len(a.recv()) == 100_000
    assert congestion_control(fd) == ("reno" if chosen.startswith("bbr") else chosen)


def test_nodelay_is_set_again_after_a_reconnect(zmq, make):
    """S-106, I-21."""
    a, b = make(zmq.PAIR), make(zmq.PAIR, reconnect_ivl=10)
    m = monitored(b)
    a.bind("tcp://127.0.0.1:*")
    address = a.LAST_ENDPOINT
    b.connect(address)
    wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)
    a.close()
    wait_for_event(m, zmq.EVENT_DISCONNECTED)
    a = make(zmq.PAIR)
    rebind(zmq, a, address)
    fd = wait_for_event(m, zmq.EVENT_CONNECTED)[-1][1]
    wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)
    assert look(fd, socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_keepalive_is_left_alone_unless_set(connected):
    """S-106, semantics.md#socket-options: CNT, IDLE and INTVL count only if KEEPALIVE is set."""
    options = {"tcp_keepalive_cnt": 3, "tcp_keepalive_idle": 7, "tcp_keepalive_intvl": 11}
    for fd in connected(binder=options, connecter=options):
        assert look(fd, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        assert look(fd, socket.IPPROTO_TCP, socket.TCP_KEEPCNT) != 3


def test_keepalive_is_set_on_both_sides(connected):
    """S-106."""
    options = {
        "tcp_keepalive": 1,
        "tcp_keepalive_cnt": 3,
        "tcp_keepalive_idle": 7,
        "tcp_keepalive_intvl": 11,
    }
    for fd in connected(binder=options, connecter=options):
        assert look(fd, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert look(fd, socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
        assert look(fd, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
        assert look(fd, socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 11


def test_keepalive_can_be_switched_off(connected):
    """S-106: 0 is "off", not "as it is"."""
    for fd in connected(binder={"tcp_keepalive": 0}, connecter={"tcp_keepalive": 0}):
        assert look(fd, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


def test_tos_marks_both_sides(connected):
    """S-106, diffserv."""
    for fd in connected(binder={"tos": 0x28}, connecter={"tos": 0x58}):
        assert look(fd, socket.IPPROTO_IP, socket.IP_TOS) in (0x28, 0x58)


def test_tos_of_each_side_is_its_own(connected):
    """S-106, diffserv."""
    accepted, fd = connected(binder={"tos": 0x28}, connecter={"tos": 0x58})
    assert look(accepted, socket.IPPROTO_IP, socket.IP_TOS) == 0x28
    assert look(fd, socket.IPPROTO_IP, socket.IP_TOS) == 0x58


def test_tos_marks_ipv6_too(connected):
    """S-106: IPV6_TCLASS."""
    options = {"tos": 0x28, "ipv6": 1}
    for fd in connected("tcp://[::1]:*", options, options):
        assert look(fd, socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 0x28


def test_the_listener_is_marked_too(zmq, make):
    """S-106: TOS and the buffers are set before listen."""
    s = make(zmq.PULL, tos=0x28, rcvbuf=32_768)
    m = monitored(s)
    s.bind("tcp://127.0.0.1:*")
    fd = wait_for_event(m, zmq.EVENT_LISTENING)[-1][1]
    assert look(fd, socket.IPPROTO_IP, socket.IP_TOS) == 0x28
    assert look(fd, socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 32_768
    assert look(fd, socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def test_buffers_have_the_size_asked_for(connected):
    """S-106: the kernel doubles what it is given."""
    options = {"sndbuf": 40_000, "rcvbuf": 50_000}
    for fd in connected(binder=options, connecter=options):
        assert look(fd, socket.SOL_SOCKET, socket.SO_SNDBUF) == 80_000
        assert look(fd, socket.SOL_SOCKET, socket.SO_RCVBUF) == 100_000


def test_buffers_are_the_systems_by_default(connected):
    """semantics.md#socket-options: -1 means that nothing is set; the kernel goes on tuning."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        plain = socket.create_connection(server.getsockname())
        wanted = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        plain.close()
    _, fd = connected()
    assert look(fd, socket.SOL_SOCKET, socket.SO_RCVBUF) == wanted


def test_maxrt_is_the_user_timeout_of_tcp(connected):
    """S-106: milliseconds, TCP_USER_TIMEOUT."""
    accepted, fd = connected(binder={"tcp_maxrt": 7000}, connecter={"tcp_maxrt": 9000})
    assert look(accepted, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
    assert look(fd, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9000


def test_options_count_for_the_next_bind_and_connect_only(zmq, make):
    """semantics.md#socket-options: a connection keeps what was set when it was asked for."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    m = monitored(b)
    a.bind("tcp://127.0.0.1:*")
    b.connect(a.LAST_ENDPOINT)
    b.tos = 0x28
    fd = wait_for_event(m, zmq.EVENT_CONNECTED)[-1][1]
    wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)
    assert look(fd, socket.IPPROTO_IP, socket.IP_TOS) == 0


def test_options_of_other_systems_change_nothing(zmq, make):
    """S-109: LOOPBACK_FASTPATH is accepted."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    for s in (a, b):
        s.setsockopt(94, 1)
        assert s.getsockopt(94) == 1
    b.connect(bind_over(a, "tcp", ""))
    b.send(b"x")
    assert a.recv() == b"x"


def test_a_socket_can_be_bound_to_a_device(zmq, make):
    """SO_BINDTODEVICE before bind; needs a right on old kernels."""
    s = make(zmq.PULL, bindtodevice=b"lo")
    m = monitored(s)
    try:
        s.bind("tcp://127.0.0.1:*")
    except zmq.ZMQError as e:
        if e.errno != errno.EPERM:
            raise
        pytest.skip("not permitted here")
    fd = wait_for_event(m, zmq.EVENT_LISTENING)[-1][1]
    with socket.socket(fileno=os.dup(fd)) as raw:
        assert raw.getsockopt(socket.SOL_SOCKET, 25, 16).rstrip(b"\0") == b"lo"
    peer = make(zmq.PUSH)
    peer.connect(s.LAST_ENDPOINT)
    peer.send(b"x")
    assert s.recv() == b"x"


def test_binding_to_a_device_that_is_not_there_fails(zmq, make):
    """BINDTODEVICE: the error comes from bind."""
    s = make(zmq.PULL, bindtodevice=b"nosuchdev0")
    assert errno_of(zmq.ZMQError, s.bind, "tcp://127.0.0.1:*") in (errno.ENODEV, errno.EPERM)


# --- accept filters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "good",
    [b"127.0.0.1", b"127.0.0.1/32", b"127.0.0.0/8", b"10.0.0.0/0", b"::1", b"::1/128", b"::/0"],
)
def test_an_accept_filter_is_an_address_with_or_without_mask(zmq, make, good):
    """S-108, tcp_accept_filter."""
    make(zmq.PULL, ipv6=1).setsockopt(zmq.TCP_ACCEPT_FILTER, good)


def test_an_ipv6_accept_filter_needs_ipv6(zmq, make):
    """S-108: resolved as an address of the socket would be."""
    s = make(zmq.PULL)
    assert errno_of(zmq.ZMQError, s.setsockopt, zmq.TCP_ACCEPT_FILTER, b"::1") == errno.EINVAL


@pytest.mark.parametrize(
    "bad",
    [
        b"256.127.0.1", b"127.0.0.1/", b"127.0.0.1/-1", b"127.0.0.1/33", b"::1/129", b"localhost",
        b"x" * 256,
    ],
)  # fmt: skip
def test_a_bad_accept_filter_is_refused(zmq, make, bad):
    """S-108, tcp_accept_filter: EINVAL."""
    s = make(zmq.PULL)
    assert errno_of(zmq.ZMQError, s.setsockopt, zmq.TCP_ACCEPT_FILTER, bad) == errno.EINVAL


@pytest.mark.parametrize("filters", [[b"127.0.0.1"], [b"10.0.0.0/8", b"127.0.0.0/8"]])
def test_an_address_inside_one_filter_may_connect(zmq, make, filters):
    """S-108: any of them."""
    s = make(zmq.PULL)
    for one in filters:
        s.setsockopt(zmq.TCP_ACCEPT_FILTER, one)
    peer = make(zmq.PUSH)
    peer.connect(bind_over(s, "tcp", ""))
    peer.send(b"x")
    assert s.recv() == b"x"


def test_an_address_outside_every_filter_is_closed(zmq, make):
    """S-108: ACCEPT_FAILED, and the peer is not served."""
    s = make(zmq.PULL)
    s.setsockopt(zmq.TCP_ACCEPT_FILTER, b"10.0.0.0/8")
    s.setsockopt(zmq.TCP_ACCEPT_FILTER, b"127.0.0.2")
    m = monitored(s)
    s.bind("tcp://127.0.0.1:*")
    port = int(s.LAST_ENDPOINT.rsplit(b":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.settimeout(10)
        assert wait_for_event(m, zmq.EVENT_ACCEPT_FAILED)[-1][0] == zmq.EVENT_ACCEPT_FAILED
        assert raw.recv(1) == b"", "closed without a greeting"


IPC_FILTERS = {
    "IPC_FILTER_UID": os.getuid,
    "IPC_FILTER_GID": os.getgid,
    "IPC_FILTER_PID": os.getpid,
}


@pytest.mark.parametrize("name", IPC_FILTERS)
def test_ipc_peers_may_be_chosen_by_their_process(zmq, make, ipc_address, name):
    """S-108, filter_ipc: uid, gid or pid as the kernel tells."""
    me = IPC_FILTERS[name]()
    s = make(zmq.PULL)
    s.setsockopt(getattr(zmq, name), me)
    s.bind(ipc_address)
    peer = make(zmq.PUSH)
    peer.connect(ipc_address)
    peer.send(b"x")
    assert s.recv() == b"x"


@pytest.mark.parametrize("name", IPC_FILTERS)
def test_ipc_peers_outside_the_filter_are_closed(zmq, make, ipc_address, name):
    """S-108, filter_ipc."""
    s = make(zmq.PULL)
    s.setsockopt(getattr(zmq, name), IPC_FILTERS[name]() + 1)
    m = monitored(s)
    s.bind(ipc_address)
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        raw.connect(ipc_address.removeprefix("ipc://"))
        wait_for_event(m, zmq.EVENT_ACCEPT_FAILED)
        assert raw.recv(1) == b""


def test_ipc_filters_of_different_kinds_add_up(zmq, make, ipc_address):
    """S-108, semantics.md#socket-options: OR-combined."""
    s = make(zmq.PULL)
    s.setsockopt(zmq.IPC_FILTER_PID, os.getpid() + 1)
    s.setsockopt(zmq.IPC_FILTER_UID, os.getuid())
    s.bind(ipc_address)
    peer = make(zmq.PUSH)
    peer.connect(ipc_address)
    peer.send(b"x")
    assert s.recv() == b"x"
