"""Transports and the spelling of their endpoints (semantics.md#transports-and-endpoints)."""

from __future__ import annotations

import os
import re
import socket
import stat

import pytest
from support import (
    Background,
    RawListener,
    RawPeer,
    address_for,
    bind,
    dead_endpoint,
    eventually,
    fresh_inproc,
    module_source,
    needs_ipv6,
    port_of,
    receive,
    run_python,
    waiting,
)


def talk(one, other) -> None:
    """A message each way."""
    one.send(b"ping")
    assert other.recv() == b"ping"
    other.send_multipart([b"pong", b""])
    assert one.recv_multipart() == [b"pong", b""]


# --- tcp -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address, shown",
    [
        ("tcp://127.0.0.1:*", r"tcp://127\.0\.0\.1:\d+"),
        ("tcp://127.0.0.1:0", r"tcp://127\.0\.0\.1:[1-9]\d*"),
        ("tcp://*:*", r"tcp://0\.0\.0\.0:\d+"),
        ("tcp://*:0", r"tcp://0\.0\.0\.0:[1-9]\d*"),
        ("tcp://0.0.0.0:*", r"tcp://0\.0\.0\.0:\d+"),
        ("tcp://lo:*", r"tcp://127\.0\.0\.1:\d+"),
        ("tcp://localhost:*", r"tcp://127\.0\.0\.1:\d+"),
        ("tcp://127.0.0.2:*", r"tcp://127\.0\.0\.2:\d+"),
    ],
)
def test_tcp_can_be_bound_to(zmq, make, address, shown):
    """An address, an interface, a name or a wildcard; the endpoint shown is numeric."""
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    endpoint = bind(server, address)
    assert re.fullmatch(shown, endpoint)
    host = "127.0.0.2" if "127.0.0.2" in address else "127.0.0.1"
    client.connect(f"tcp://{host}:{port_of(server)}")
    talk(client, server)


def test_tcp_can_be_bound_to_a_given_port(zmq, make):
    with dead_endpoint() as free:
        pass
    server = make(zmq.PAIR)
    assert bind(server, free) == free


def test_the_wildcard_endpoint_can_be_connected_to(zmq, make):
    """0.0.0.0 as a target is this machine (Linux)."""
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    client.connect(bind(server, "tcp://*:*"))
    talk(client, server)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1"])
def test_a_tcp_endpoint_is_shown_as_it_was_connected_to(zmq, make, host):
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    bind(server)
    client.connect(f"tcp://{host}:{port_of(server)}")
    assert client.LAST_ENDPOINT.decode() == f"tcp://{host}:{port_of(server)}"
    talk(client, server)


def test_every_bind_to_a_wildcard_port_gets_its_own(zmq, make):
    s = make(zmq.PULL)
    assert len({bind(s) for _ in range(10)}) == 10


@needs_ipv6
@pytest.mark.parametrize(
    "address, shown",
    [
        ("tcp://[::1]:*", r"tcp://\[::1\]:\d+"),
        ("tcp://*:*", r"tcp://\[::\]:\d+"),
        ("tcp://[::]:*", r"tcp://\[::\]:\d+"),
    ],
)
def test_tcp_over_ipv6(zmq, make, address, shown):
    server, client = make(zmq.PAIR, ipv6=1), make(zmq.PAIR, ipv6=1)
    assert re.fullmatch(shown, bind(server, address))
    client.connect(f"tcp://[::1]:{port_of(server)}")
    talk(client, server)


@needs_ipv6
def test_ipv6_can_be_the_default_of_a_context(zmq):
    """IPV6 of the context, for sockets made from then on."""
    with zmq.Context() as context:
        context.set(zmq.IPV6, 1)
        with context.socket(zmq.PULL) as s:
            assert s.ipv6 == 1
            assert bind(s, "tcp://[::1]:*").startswith("tcp://[::1]:")


def test_the_source_of_a_connection_may_name_its_port(zmq, make):
    """tcp://SOURCE:PORT;TARGET:PORT"""
    with dead_endpoint() as free:
        pass
    source = free.removeprefix("tcp://")
    push = make(zmq.PUSH)
    with RawListener() as server:
        endpoint = f"tcp://{source};127.0.0.1:{server.port}"
        push.connect(endpoint)
        assert push.LAST_ENDPOINT.decode() == endpoint
        with server.accept() as peer:
            assert peer.sock.getpeername() == ("127.0.0.1", int(source.rsplit(":", 1)[1]))


def test_small_messages_are_not_held_back_by_tcp(zmq, make):
    """TCP_NODELAY: many little round trips, each its own segment, take no 40 ms each."""
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    client.connect(bind(server))

    def echo():
        for _ in range(200):
            server.send(server.recv())

    echoing = Background(echo)
    for n in range(200):
        client.send(b"%d" % n)
        assert client.recv() == b"%d" % n
    echoing.result()


def test_a_socket_listens_before_bind_returns(zmq, make):
    pull = make(zmq.PULL)
    bind(pull)
    with RawPeer.connect(port_of(pull)) as peer:
        peer.handshake("PUSH")


def test_names_are_resolved_anew_for_each_try(zmq, make):
    """A name that does not resolve is no error, and closing does not wait for it."""
    push = make(zmq.PUSH, reconnect_ivl=10)
    push.connect("tcp://no-such-host.invalid:5555")
    push.send(b"x")
    Background(lambda: push.close(linger=0)).result()


# --- ipc -----------------------------------------------------------------------------------------


def test_ipc_at_a_path(zmq, make, ipc_address):
    """The endpoint is shown as given, and there is a socket in the file system."""
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    assert bind(server, ipc_address) == ipc_address
    assert stat.S_ISSOCK(os.stat(ipc_address.removeprefix("ipc://")).st_mode)
    client.connect(ipc_address)
    assert client.LAST_ENDPOINT.decode() == ipc_address
    talk(client, server)


def test_an_ipc_path_may_be_as_long_as_the_system_allows(zmq, make, ipc_address):
    """107 characters."""
    directory = os.path.dirname(ipc_address.removeprefix("ipc://"))
    address = f"ipc://{directory}/".ljust(107 + len("ipc://"), "x")
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    client.connect(bind(server, address))
    talk(client, server)


def test_an_ipc_path_may_be_relative(zmq, make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    client.connect(bind(server, "ipc://here"))
    talk(client, server)
    assert (tmp_path / "here").exists()


def test_ipc_in_the_abstract_namespace(zmq, make):
    """ipc://@name: no file anywhere."""
    name = f"ipc://@zm-{os.getpid()}-abstract"
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    assert bind(server, name) == name
    client.connect(name)
    talk(client, server)
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect("\0" + name.removeprefix("ipc://@"))


def test_ipc_at_a_place_of_its_own(zmq, make):
    """ipc://*: a fresh directory for its owner alone, gone after close."""
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    endpoint = bind(server, "ipc://*")
    path = endpoint.removeprefix("ipc://")
    directory = os.path.dirname(path)
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    client.connect(endpoint)
    talk(client, server)
    other = make(zmq.PAIR)
    assert bind(other, "ipc://*") != endpoint
    for s in (server, other):
        s.close()
    eventually(lambda: not os.path.exists(path))
    eventually(lambda: not os.path.exists(directory))


@pytest.mark.parametrize("name", ["TMPDIR", "TEMPDIR", "TMP"])
def test_ipc_wildcards_live_where_the_environment_says(zmq, tmp_path, name):
    code = """
import os, sys
for n in ("TMPDIR", "TEMPDIR", "TMP"):
    os.environ.pop(n, None)
os.environ[sys.argv[1]] = sys.argv[2]
with zmq.Context() as context, context.socket(zmq.PULL) as s:
    s.bind("ipc://*")
    print(s.LAST_ENDPOINT.decode())
"""
    done = run_python(module_source(zmq) + code, name, tmp_path)
    assert re.fullmatch(rf"ipc://{tmp_path}/tmp\w+/socket", done.stdout.strip()), done


def test_binding_a_path_takes_it_over(zmq, make, ipc_address):
    """differences.md: relied on after crashes; new connections come to the new owner."""
    old, new, client = make(zmq.PULL), make(zmq.PULL), make(zmq.PUSH)
    bind(old, ipc_address)
    bind(new, ipc_address)
    client.connect(ipc_address)
    client.send(b"x")
    assert new.recv() == b"x"
    assert not waiting(old)


def test_a_stale_socket_file_is_no_obstacle(zmq, make, ipc_address):
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(ipc_address.removeprefix("ipc://"))
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    client.connect(bind(server, ipc_address))
    talk(client, server)


def test_an_ipc_path_may_be_connected_to_before_it_exists(zmq, make, ipc_address):
    server, client = make(zmq.PAIR), make(zmq.PAIR, reconnect_ivl=10)
    client.connect(ipc_address)
    client.send(b"early")
    server.bind(ipc_address)
    assert server.recv() == b"early"


def test_an_ipc_peer_is_known_by_its_credentials(zmq, make, ipc_address):
    """Peer-Address is localhost:UID:GID:PID."""
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    client.connect(bind(server, ipc_address))
    client.send(b"x")
    expected = f"localhost:{os.getuid()}:{os.getgid()}:{os.getpid()}"
    assert server.recv(copy=False).get("Peer-Address") == expected


# --- inproc --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bind_first", [True, False])
def test_inproc_in_either_order(zmq, make, bind_first):
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    name = fresh_inproc()
    if bind_first:
        server.bind(name)
        client.connect(name)
    else:
        client.connect(name)
        client.send(b"early")
        server.bind(name)
        assert server.recv() == b"early"
    assert server.LAST_ENDPOINT.decode() == client.LAST_ENDPOINT.decode() == name
    talk(client, server)


@pytest.mark.parametrize("name", ["a", "with space", "a/b:c@d", "x" * 200, "\u00fcml\u00e4ut"])
def test_inproc_takes_any_name(zmq, make, name):
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    server.bind(f"inproc://{name}")
    client.connect(f"inproc://{name}")
    talk(client, server)


def test_inproc_names_belong_to_a_context(zmq, make):
    """Two contexts, one name, no connection."""
    server = make(zmq.PULL)
    name = bind(server, fresh_inproc())
    with zmq.Context() as other, other.socket(zmq.PULL) as theirs, other.socket(zmq.PUSH) as push:
        theirs.bind(name)
        push.connect(name)
        push.send(b"x")
        assert theirs.recv() == b"x"
    assert not server.poll(0)


def test_inproc_connects_threads(zmq, ctx, make):
    """A request each way between two threads, 1000 times."""
    server = make(zmq.REP)
    name = bind(server, fresh_inproc())

    def client():
        with ctx.socket(zmq.REQ) as s:
            s.connect(name)
            for n in range(1000):
                s.send(b"%d" % n)
                assert s.recv() == b"re %d" % n

    asking = Background(client)
    for _ in range(1000):
        server.send(b"re " + server.recv())
    asking.result()


def test_inproc_delivers_in_order_between_threads(zmq, ctx, make):
    """Through queues that are full all the time."""
    pull = make(zmq.PULL, rcvhwm=2)
    name = bind(pull, fresh_inproc())

    def send():
        with ctx.socket(zmq.PUSH) as s:
            s.sndhwm = 3
            s.connect(name)
            for n in range(5000):
                s.send_multipart([b"%d" % n, b"tail"])

    sending = Background(send)
    assert receive(pull, 5000) == [[b"%d" % n, b"tail"] for n in range(5000)]
    sending.result()


def test_inproc_does_not_lose_what_was_sent_before_the_sender_closed(zmq, ctx, make):
    """Whatever the linger: it has arrived already."""
    pull = make(zmq.PULL)
    push = ctx.socket(zmq.PUSH)
    push.connect(bind(pull, fresh_inproc()))
    for n in range(100):
        push.send(b"%d" % n)
    push.close()
    assert receive(pull, 100) == [[b"%d" % n] for n in range(100)]


def test_inproc_messages_have_no_properties(zmq, make):
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    client.connect(bind(server, fresh_inproc()))
    client.send(b"x")
    with pytest.raises(zmq.ZMQError):
        server.recv(copy=False).get("Peer-Address")


@pytest.mark.parametrize("transport", ["inproc", "ipc", "tcp"])
@pytest.mark.parametrize("size", [0, 1, 33, 34, 255, 256, 8191, 8192, 65535, 65536, 3_000_000])
def test_every_size_arrives_as_it_was(zmq, make, transport, size, ipc_address):
    server, client = make(zmq.PAIR), make(zmq.PAIR)
    client.connect(bind(server, address_for(transport, ipc_address)))
    body = os.urandom(size)
    for copy in (True, False):
        client.send(body, copy=copy)
        assert server.recv() == body
        server.send_multipart([body, b"", body], copy=copy)
        assert [f.bytes for f in client.recv_multipart(copy=False)] == [body, b"", body]
