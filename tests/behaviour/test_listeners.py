"""Descriptors that are brought along, inherited or wanting, and addresses of both families."""

from __future__ import annotations

import errno
import fcntl
import os
import socket

import pytest
from support import (
    Child,
    RawListener,
    RawPeer,
    bind,
    module_source,
    monitor_events,
    needs_ipv6,
    next_value,
    port_of,
    rebind,
)

EVENT_CONNECTED = 0x0001
EVENT_LISTENING = 0x0008
EVENT_ACCEPTED = 0x0020


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
pull.rcvtimeo = 30_000
pull.bind("tcp://127.0.0.1:*")
monitor = pull.get_monitor_socket(zmq.EVENT_ACCEPT_FAILED)
pull.poll(1); monitor.poll(1)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
probe = socket.socket()
highest = probe.fileno()
probe.close()
resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
print(pull.LAST_ENDPOINT.rsplit(b":", 1)[1].decode(), flush=True)
assert monitor.poll(30000)
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
